//! Every option, flag and variable. It is the only reader of the environment, and it must never act: it says
//! what is wanted, or in one line what is wrong with it.

use std::{net::SocketAddr, path::PathBuf};

use clap::{
    Args, Parser, Subcommand,
    error::{ContextKind, ContextValue},
};
use scalr_protocol::{
    id::RunId,
    secret::Secret,
    task::{Hook, Tool},
};
use tracing_subscriber::EnvFilter;
use url::Url;

mod value;
pub use value::Setting;
#[cfg(test)]
mod tests;

/// How a user's mistake in the options ends: `EX_USAGE` of sysexits.h.
pub const EXIT_USAGE: u8 = 64;

/// A Scalr that fits in a terminal, and the commands to use it.
#[derive(Debug, Parser)]
#[command(name = "fake-scalr", version, subcommand_required = true, max_term_width = 110)]
pub struct Options {
    /// How much is logged.
    #[command(flatten)]
    pub log: Log,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How much is logged, to stderr.
#[derive(Args, Clone, Debug)]
pub struct Log {
    /// What is logged, as `tracing` filters it: off, error, warn, info, debug, trace.
    #[arg(long = "log", global = true, env = "FAKE_SCALR_LOG", default_value = "warn", value_parser = value::log)]
    directives: String,
}

impl Log {
    /// The filter; its directives were checked when they were read.
    pub fn filter(&self) -> EnvFilter {
        EnvFilter::builder().parse_lossy(&self.directives)
    }
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Be a Scalr: serve the agent protocol, the public API and a page.
    Serve(Serve),
    /// Run a folder: pack it, create a run, show its console, and wait for its end; a plan with changes waits
    /// for `approve` first, unless --auto-apply is given.
    Submit(Box<Submit>),
    /// List the runs, the newest first.
    Runs(Runs),
    /// Approve a planned run, so that it is applied.
    Approve(OneRun),
    /// Discard a planned run.
    Discard(OneRun),
    /// Cancel a run.
    Cancel(Cancel),
    /// Print the console of a run.
    Logs(OneRun),
    /// List the agents.
    Agents(Listing),
    /// Lock a workspace, so that no run of it starts.
    Lock(Lock),
    /// Unlock a workspace and its state, and say who held it.
    Unlock(Unlock),
}

/// Which server, and as whom.
#[derive(Args, Clone, Debug)]
pub struct Connection {
    /// Where the server is.
    #[arg(long, env = "SCALR_URL", default_value = "http://127.0.0.1:8010", value_parser = value::url)]
    pub url: Url,
    /// A token for people, as `serve` prints it.
    #[arg(long, env = "SCALR_TOKEN", hide_env_values = true, value_parser = value::secret)]
    pub token: Secret,
}

/// Options of `serve`.
#[derive(Args, Debug)]
pub struct Serve {
    /// Where to listen. Port 0 takes a free one.
    #[arg(long, env = "FAKE_SCALR_LISTEN", default_value = "127.0.0.1:8010", value_parser = value::address)]
    pub listen: SocketAddr,
    /// Where others reach it, if not where it listens.
    #[arg(long, env = "FAKE_SCALR_URL", value_parser = value::url)]
    pub url: Option<Url>,
    /// Where to keep everything, so that a kill loses nothing that was acknowledged. Without it everything is
    /// gone when the server stops.
    #[arg(long, env = "FAKE_SCALR_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Write the address and the tokens to this file, as `KEY=value` lines.
    #[arg(long)]
    pub credentials: Option<PathBuf>,
    /// The token of the agent pool; without it one is drawn.
    #[arg(long, env = "FAKE_SCALR_AGENT_TOKEN", hide_env_values = true, value_parser = value::secret)]
    pub agent_token: Option<Secret>,
    /// The token for people; without it one is drawn.
    #[arg(long, env = "FAKE_SCALR_USER_TOKEN", hide_env_values = true, value_parser = value::secret)]
    pub user_token: Option<Secret>,
    /// A tool and where its zip is; the first one is the default of new workspaces.
    #[arg(long = "tool", value_name = "NAME@VERSION[=URL#SHA256]", value_parser = value::tool)]
    pub tools: Vec<Tool>,
    /// Durations, all of time in which the server serves.
    #[command(flatten)]
    pub timing: Timing,
}

/// Durations of the protocol, in milliseconds; what is not given is as the protocol says.
#[derive(Args, Clone, Copy, Debug, Default)]
#[command(next_help_heading = "Timing")]
pub struct Timing {
    /// How often agents send a heartbeat [default: 10s].
    #[arg(long = "heartbeat-every", value_name = "DURATION", value_parser = value::duration_ms)]
    pub heartbeat_ms: Option<u64>,
    /// After how long without a heartbeat an agent is offline [default: 30s].
    #[arg(long = "offline-after", value_name = "DURATION", value_parser = value::duration_ms)]
    pub offline_after_ms: Option<u64>,
    /// After how long offline an agent is forgotten [default: 4h].
    #[arg(long = "purge-after", value_name = "DURATION", value_parser = value::duration_ms)]
    pub purge_after_ms: Option<u64>,
    /// How long a launch lease lasts [default: 1m].
    #[arg(long = "launch-lease", value_name = "DURATION", value_parser = value::duration_ms)]
    pub launch_lease_ms: Option<u64>,
    /// How long a claim waits for its confirm [default: 1m].
    #[arg(long = "confirm-within", value_name = "DURATION", value_parser = value::duration_ms)]
    pub confirm_within_ms: Option<u64>,
    /// How long a task's lease lasts before the task is unreachable [default: 1m].
    #[arg(long = "lease-ttl", value_name = "DURATION", value_parser = value::duration_ms)]
    pub lease_ttl_ms: Option<u64>,
    /// How often a worker renews its lease [default: 20s].
    #[arg(long = "renew-every", value_name = "DURATION", value_parser = value::duration_ms)]
    pub renew_ms: Option<u64>,
    /// After how long without a renewal a task is lost [default: 30m].
    #[arg(long = "lost-after", value_name = "DURATION", value_parser = value::duration_ms)]
    pub lost_after_ms: Option<u64>,
}

/// Options of `submit`.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Submit {
    /// The folder to run.
    pub dir: PathBuf,
    /// The workspace, made if it is missing; by default the folder's name.
    #[arg(long, short)]
    pub workspace: Option<String>,
    /// Apply without asking; else a planned run waits for `fake-scalr approve`, and so does this.
    #[arg(long)]
    pub auto_apply: bool,
    /// Destroy what the workspace has.
    #[arg(long)]
    pub destroy: bool,
    /// Only plan.
    #[arg(long)]
    pub dry: bool,
    /// Print the run's id, and do not wait for its end.
    #[arg(long)]
    pub no_wait: bool,
    /// A variable of the configuration. The workspace keeps it, as all that follow.
    #[arg(long = "var", value_name = "KEY=VALUE", value_parser = value::terraform_setting)]
    pub vars: Vec<Setting>,
    /// A variable that must not be seen.
    #[arg(long = "sensitive-var", value_name = "KEY=VALUE", value_parser = value::terraform_setting)]
    pub sensitive_vars: Vec<Setting>,
    /// A variable whose value is an HCL expression.
    #[arg(long = "hcl-var", value_name = "KEY=EXPRESSION", value_parser = value::terraform_setting)]
    pub hcl_vars: Vec<Setting>,
    /// An environment variable of the run.
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = value::shell_setting)]
    pub envs: Vec<Setting>,
    /// An environment variable that must not be seen.
    #[arg(long = "sensitive-env", value_name = "KEY=VALUE", value_parser = value::shell_setting)]
    pub sensitive_envs: Vec<Setting>,
    /// Where in the folder the configuration is.
    #[arg(long, value_name = "PATH", value_parser = value::inner_path)]
    pub working_directory: Option<String>,
    /// A file of variables, relative to the working directory.
    #[arg(long = "var-file", value_name = "PATH", value_parser = value::inner_path)]
    pub var_files: Vec<String>,
    /// A command around a stage: pre-init, pre-plan, post-plan, pre-apply or post-apply.
    #[arg(long = "hook", value_name = "PHASE=COMMAND", value_parser = value::hook)]
    pub hooks: Vec<Hook>,
    /// The tool.
    #[arg(long, value_name = "NAME@VERSION", value_parser = value::tool)]
    pub tool: Option<Tool>,
    /// How long a stage may take, in whole minutes; the workspace's own is 60m.
    #[arg(long, value_name = "DURATION", value_parser = value::minutes)]
    pub timeout: Option<u64>,
    /// Which server, and as whom.
    #[command(flatten)]
    pub connection: Connection,
}

/// Options of `runs`.
#[derive(Args, Debug)]
pub struct Runs {
    /// Only those of this workspace.
    #[arg(long, short)]
    pub workspace: Option<String>,
    /// How the list is printed, and from where.
    #[command(flatten)]
    pub listing: Listing,
}

/// Options of every list.
#[derive(Args, Debug)]
pub struct Listing {
    /// Print the server's own JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server, and as whom.
    #[command(flatten)]
    pub connection: Connection,
}

/// Options of what is done to one run.
#[derive(Args, Debug)]
pub struct OneRun {
    /// The run, such as `run-1`.
    pub run: RunId,
    /// Which server, and as whom.
    #[command(flatten)]
    pub connection: Connection,
}

/// Options of `cancel`.
#[derive(Args, Debug)]
pub struct Cancel {
    /// Kill the tool instead of interrupting it. What it was doing is not recorded in the state.
    #[arg(long)]
    pub force: bool,
    /// Which run, and where.
    #[command(flatten)]
    pub of: OneRun,
}

/// Options of `lock`.
#[derive(Args, Debug)]
pub struct Lock {
    /// Why, for those who wait.
    #[arg(long)]
    pub reason: Option<String>,
    /// Which workspace, and where.
    #[command(flatten)]
    pub of: OneWorkspace,
}

/// Options of `unlock`.
#[derive(Args, Debug)]
pub struct Unlock {
    /// Take the state's lock also from a task that is not over. What it writes from then on may be lost.
    #[arg(long)]
    pub force: bool,
    /// Which workspace, and where.
    #[command(flatten)]
    pub of: OneWorkspace,
}

/// Options of what is done to one workspace.
#[derive(Args, Debug)]
pub struct OneWorkspace {
    /// The workspace, by name or id.
    pub workspace: String,
    /// Which server, and as whom.
    #[command(flatten)]
    pub connection: Connection,
}

/// A user's mistake as one line, or the help that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum NotRun {
    /// Help or the version, for stdout; no mistake.
    Asked(String),
    /// What is wrong, for stderr, without a newline.
    Mistake(String),
}

impl Options {
    /// Reads the options of this process.
    pub fn of_process() -> Result<Self, NotRun> {
        Self::try_parse().map_err(|e| not_run(&e))
    }

    /// Reads options from words; the first is the program's name.
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, NotRun> {
        Self::try_parse_from(words).map_err(|e| not_run(&e))
    }
}

/// clap's own report has a usage and tips over several lines: the first paragraph says what is wrong.
fn not_run(error: &clap::Error) -> NotRun {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return NotRun::Asked(text);
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return NotRun::Mistake("no command was given; `fake-scalr --help` lists them".to_owned());
    }
    let no_token = error.kind() == clap::error::ErrorKind::MissingRequiredArgument
        && matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::Strings(missing))
            if missing.iter().any(|option| option.starts_with("--token ")));
    let remedy = if no_token { "set SCALR_TOKEN, which `fake-scalr serve` prints; " } else { "" };
    let paragraph = without_secrets(text.split("\n\n").next().unwrap_or_default(), error);
    let what = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    NotRun::Mistake(format!("{what}; {remedy}`--help` tells what is possible"))
}

/// Options whose values must not be shown, not even when they are wrong.
const SECRET: [&str; 5] = ["--token", "--agent-token", "--user-token", "--sensitive-var", "--sensitive-env"];

fn without_secrets(text: &str, error: &clap::Error) -> String {
    let (Some(ContextValue::String(option)), Some(ContextValue::String(value))) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue))
    else {
        return text.to_owned();
    };
    let name = option.split_whitespace().next().unwrap_or_default();
    if SECRET.contains(&name) { text.replace(&format!("'{value}' "), "") } else { text.to_owned() }
}
