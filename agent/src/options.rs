//! Every option and variable of the agent, and the only reader of the environment.
//!
//! The names are those of the public agent where it has them. Values are parsed once, here, into types; a
//! bad one is one line and exit code 64.

mod value;

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::BoolishValueParser};
use scalr_protocol::secret::Secret;
use url::Url;

pub use self::value::{PolicyOption, Seconds, ToolPath};
use self::value::{policy_option, seconds, token, tool_path, url};
use crate::{
    cluster::{Driver, TemplateKind, local::keeper::KeeperOptions},
    runner,
};

/// Exit code for options that can't be used (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// An option whose value can't be used, found after all of them were read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadOption(pub String);

/// An open Scalr agent: polls an agent pool and runs each stage of a run as a Job of its own
#[derive(Debug, Parser)]
#[command(name = "scalr-agent", version, max_term_width = 110, subcommand_required = true)]
pub struct Options {
    /// What to be
    #[command(subcommand)]
    pub command: Command,
}

/// What a process of the agent can be.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Poll an agent pool for tasks and launch them as Jobs
    Controller(Box<ControllerArgs>),
    /// Supervise one task: started by a Job
    Worker(Box<WorkerArgs>),
    /// Execute the commands of one task in the user's image: started by a Job
    Runner(RunnerArgs),
    /// Copy this program to where another container runs it from: started by a Job
    Install(InstallArgs),
    /// Say by the exit code whether a worker or a runner is alive: started by a kubelet
    Probe(ProbeArgs),
    /// Show or apply the custom resource of the task template
    Crd(CrdArgs),
    /// Keep the processes of one Job of the local driver
    #[command(hide = true)]
    Keeper(KeeperArgs),
}

/// How to speak to Scalr.
#[derive(Debug, Args)]
pub struct ScalrArgs {
    /// Address of Scalr; by default the one that the token was issued by
    #[arg(long, env = "SCALR_URL", value_parser = url)]
    pub url: Option<Url>,
    /// Token of the agent pool
    #[arg(long, env = "SCALR_AGENT_TOKEN", hide_env_values = true, value_parser = token, conflicts_with = "token_file")]
    pub token: Option<Secret>,
    /// File with the token of the agent pool, read again when the token is refused
    #[arg(long, env = "SCALR_AGENT_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Name of the agent, unique in its pool; by default the host's name
    #[arg(long, env = "SCALR_AGENT_NAME")]
    pub name: Option<String>,
    /// Certificate authorities to trust instead of the system's: a PEM file, or PEM as base64
    #[arg(long, env = "SCALR_AGENT_CA_CERT", hide_env_values = true)]
    pub ca_cert: Option<String>,
}

/// How to log.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Form of the log lines
    #[arg(long, env = "SCALR_AGENT_LOG_FORMAT", default_value = "plain")]
    pub log_format: LogFormat,
    /// Log what only a developer wants to know
    #[arg(long, env = "SCALR_AGENT_DEBUG", value_parser = BoolishValueParser::new(), default_value = "false",
          default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub debug: bool,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For terminals and files
    Plain,
    /// With colours
    Dev,
    /// One JSON object a line
    Json,
}

impl LogFormat {
    /// As the options write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Dev => "dev",
            Self::Json => "json",
        }
    }
}

/// Where things are, and how long they may take: what controller and worker share.
#[derive(Debug, Args)]
pub struct TaskArgs {
    /// Folder for the data of runs
    #[arg(long, env = "SCALR_AGENT_DATA_DIR", default_value = "/var/lib/scalr-agent")]
    pub data_dir: PathBuf,
    /// Folder for binaries, providers and modules that runs share; by default the data folder
    #[arg(long, env = "SCALR_AGENT_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Program to use for a tool that is neither cached nor offered for download, as NAME=PATH; may be
    /// repeated
    #[arg(long = "tool-path", env = "SCALR_AGENT_TOOL_PATHS", value_delimiter = ',', value_parser = tool_path)]
    pub tool_paths: Vec<ToolPath>,
    /// How long a tool that was interrupted may take to stop, before it is killed
    #[arg(long, env = "SCALR_AGENT_STOP_TIMEOUT", default_value = "10m", value_parser = seconds)]
    pub stop_timeout: Seconds,
    /// How long a worker may live after SIGTERM: the Job's grace period
    #[arg(long, env = "SCALR_AGENT_WORKER_GRACE_SHUTDOWN_TIMEOUT", default_value = "360", value_parser = seconds)]
    pub worker_grace: Seconds,
}

/// How to reach Kubernetes, and what is there.
#[derive(Debug, Args)]
pub struct KubernetesArgs {
    /// File that says where the API server is; by default the service account of this process's pod
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the Jobs and of the task template; by default the pod's own, or the file's
    #[arg(long, env = "SCALR_AGENT_KUBERNETES_NAMESPACE")]
    pub namespace: Option<String>,
    /// Name of the task template, an `AgentTask`
    #[arg(long, env = "SCALR_AGENT_KUBERNETES_JOB_TEMPLATE", default_value = "scalr-agent-task")]
    pub job_template: String,
    /// Name of an `AgentTaskTemplate` to use as the task template instead
    #[arg(long, env = "SCALR_AGENT_KUBERNETES_TASK_TEMPLATE")]
    pub task_template: Option<String>,
}

impl KubernetesArgs {
    /// The task template: its kind and its name.
    pub fn template(&self) -> (TemplateKind, &str) {
        match &self.task_template {
            Some(name) => (TemplateKind::AgentTaskTemplate, name),
            None => (TemplateKind::AgentTask, &self.job_template),
        }
    }
}

/// Options of the controller.
#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// How to speak to Scalr.
    #[command(flatten)]
    pub scalr: ScalrArgs,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
    /// Where things are.
    #[command(flatten)]
    pub task: TaskArgs,
    /// What runs Jobs: `kubernetes-job`, or `local`, processes on this machine without isolation
    #[arg(long, env = "SCALR_AGENT_DRIVER", default_value = "local")]
    pub driver: Driver,
    /// How many Jobs may be in flight
    #[arg(long, env = "SCALR_AGENT_CONCURRENCY", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub concurrency: u32,
    /// Policy that orders the queue
    #[arg(long, env = "SCALR_AGENT_SCHEDULER", default_value = "fifo")]
    pub scheduler: String,
    /// Option of the policy, as NAME=VALUE; may be repeated
    #[arg(long = "scheduler-option", env = "SCALR_AGENT_SCHEDULER_OPTIONS", value_delimiter = ',', value_parser = policy_option)]
    pub scheduler_options: Vec<PolicyOption>,
    /// How to reach Kubernetes.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,
    /// First part of every Job's name; by default the task template's basename, or `scalr-agent`
    #[arg(long, env = "SCALR_AGENT_KUBERNETES_TASK_BASENAME")]
    pub basename: Option<String>,
    /// How long a launched task may take to start, not counting the wait for a node
    #[arg(long, env = "SCALR_AGENT_KUBERNETES_TASK_STARTUP_TIMEOUT_SECONDS", default_value = "180", value_parser = seconds)]
    pub startup_timeout: Seconds,
    /// How long stopping may take after SIGTERM
    #[arg(long, env = "SCALR_AGENT_WORKER_DRAIN_TIMEOUT", default_value = "180", value_parser = seconds)]
    pub drain_timeout: Seconds,
    /// How long a finished Job stays to be looked at, where no task template says it
    #[arg(long, env = "SCALR_AGENT_JOB_TTL", default_value = "60", value_parser = seconds)]
    pub job_ttl: Seconds,
    /// Launch nothing; hold what comes
    #[arg(long, env = "SCALR_AGENT_PAUSED", value_parser = BoolishValueParser::new(), default_value = "false",
          default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub paused: bool,
}

/// Options of the worker.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// How to speak to Scalr.
    #[command(flatten)]
    pub scalr: ScalrArgs,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
    /// Where things are.
    #[command(flatten)]
    pub task: TaskArgs,
    /// Folder with the pod's labels and annotations, which name the task
    #[arg(long, env = "SCALR_AGENT_PODINFO", default_value = "/etc/podinfo")]
    pub podinfo: PathBuf,
    /// Socket of the runner
    #[arg(long, env = "SCALR_AGENT_RUNNER_SOCKET", default_value = "/run/scalr-agent/runner.sock")]
    pub socket: PathBuf,
    /// Folder of the run, the same for worker and runner; by default as in a pod: `run` in the data folder
    /// for the worker, and for the runner where the chart mounts its parts
    #[arg(long, env = "SCALR_AGENT_RUN_DIR")]
    pub run_dir: Option<PathBuf>,
    /// File to write again and again, for a probe to see that the worker is alive
    #[arg(long, env = "SCALR_AGENT_ALIVE_FILE")]
    pub alive_file: Option<PathBuf>,
    /// Which driver has started it, for people
    #[arg(long, env = "SCALR_AGENT_DRIVER", default_value = "local")]
    pub driver: Driver,
    /// How long to wait for the runner to come up
    #[arg(long, env = "SCALR_AGENT_RUNNER_WAIT", default_value = "2m", value_parser = seconds)]
    pub runner_wait: Seconds,
}

/// Options of the runner.
#[derive(Debug, Args)]
pub struct RunnerArgs {
    /// Where to listen for the worker
    #[arg(long, env = "SCALR_AGENT_RUNNER_SOCKET", default_value = "/run/scalr-agent/runner.sock")]
    pub socket: PathBuf,
    /// File to write again and again, for a probe to see that the runner is alive
    #[arg(long, env = "SCALR_AGENT_ALIVE_FILE")]
    pub alive_file: Option<PathBuf>,
    /// How long a tool may go on after its worker is gone and it was interrupted, before it is killed
    #[arg(long, env = "SCALR_AGENT_STOP_TIMEOUT", default_value = "10m", value_parser = seconds)]
    pub stop_timeout: Seconds,
    /// How long to wait for the worker to come; not less than the controller's startup timeout
    #[arg(long, env = "SCALR_AGENT_WORKER_WAIT", default_value = "10m", value_parser = seconds)]
    pub worker_wait: Seconds,
    /// How long the runner may live after SIGTERM: the Job's grace period, if it is known
    #[arg(long, env = "SCALR_AGENT_WORKER_GRACE_SHUTDOWN_TIMEOUT", value_parser = seconds)]
    pub grace: Option<Seconds>,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Options of the copy.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Folder to copy into; made if it is missing
    pub folder: PathBuf,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Options of the probe.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// File that the worker or runner writes again and again
    #[arg(long, env = "SCALR_AGENT_ALIVE_FILE")]
    pub alive_file: PathBuf,
    /// How long ago it may have been written at most
    #[arg(long, env = "SCALR_AGENT_ALIVE_WITHIN", default_value = "10", value_parser = seconds)]
    pub within: Seconds,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Options about the custom resource.
#[derive(Debug, Args)]
pub struct CrdArgs {
    /// What to do with it
    #[command(subcommand)]
    pub command: CrdCommand,
}

/// What can be done with the custom resource.
#[derive(Debug, Subcommand)]
pub enum CrdCommand {
    /// Print it as YAML
    Print(CrdPrintArgs),
    /// Apply it to the cluster, server-side; needs rights over the whole cluster
    Apply(CrdApplyArgs),
}

/// Options of the printed custom resource.
#[derive(Debug, Args)]
pub struct CrdPrintArgs {
    /// Of which kind
    #[arg(long, default_value = "agent-task")]
    pub kind: CrdKind,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Options of the applied custom resource.
#[derive(Debug, Args)]
pub struct CrdApplyArgs {
    /// Of which kind
    #[arg(long, default_value = "agent-task")]
    pub kind: CrdKind,
    /// File that says where the API server is; by default the service account of this process's pod
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// The kinds of custom resource that hold a task template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CrdKind {
    /// `atasks.scalr.io`
    AgentTask,
    /// `agenttasktemplates.scalr.io`
    AgentTaskTemplate,
}

impl From<CrdKind> for TemplateKind {
    fn from(kind: CrdKind) -> Self {
        match kind {
            CrdKind::AgentTask => Self::AgentTask,
            CrdKind::AgentTaskTemplate => Self::AgentTaskTemplate,
        }
    }
}

/// Options of the keeper.
#[derive(Debug, Args)]
pub struct KeeperArgs {
    /// Folder of the Job
    #[arg(long)]
    pub job: PathBuf,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// What a worker of the local driver inherits from its controller: how to reach the outside, and nothing
/// else of the environment.
const INHERITED: [&str; 11] = [
    "PATH",
    "HOME",
    "LANG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// The variables of this process that a worker of the local driver inherits.
pub fn inherited_environment() -> Vec<(OsString, OsString)> {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
    let value = |name: &str| std::env::var_os(name);
    INHERITED.iter().filter_map(|name| Some((OsString::from(name), value(name)?))).collect()
}

impl Command {
    /// How this process logs.
    pub fn log(&self) -> &LogArgs {
        match self {
            Self::Controller(args) => &args.log,
            Self::Worker(args) => &args.log,
            Self::Runner(args) => &args.log,
            Self::Install(args) => &args.log,
            Self::Probe(args) => &args.log,
            Self::Crd(CrdArgs { command: CrdCommand::Print(args) }) => &args.log,
            Self::Crd(CrdArgs { command: CrdCommand::Apply(args) }) => &args.log,
            Self::Keeper(args) => &args.log,
        }
    }
}

impl From<RunnerArgs> for runner::Options {
    fn from(args: RunnerArgs) -> Self {
        let inherited = |name: &str| {
            let value = inherited_environment().into_iter().find(|(known, _)| known == name);
            value.and_then(|(_, value)| value.into_string().ok()).unwrap_or_default()
        };
        Self {
            socket: args.socket,
            connect_wait_ms: args.worker_wait.as_ms(),
            orphan_wait_ms: args.stop_timeout.as_ms(),
            grace_ms: args.grace.map(Seconds::as_ms),
            path: inherited("PATH"),
            home: inherited("HOME"),
        }
    }
}

impl From<KeeperArgs> for KeeperOptions {
    fn from(args: KeeperArgs) -> Self {
        Self { job: args.job }
    }
}
