//! What the local driver has to know.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use scalr_core::cluster::JobSpec;
use scalr_protocol::secret::Secret;

use super::{
    folder::{Folder, Orders},
    place::Place,
    sweep::Bounds,
};

/// How long a finished Job stays to be looked at: a heartbeat or two more than a controller needs to hear
/// Scalr's verdict.
const TTL_MS: u64 = 60_000;
/// How long a Job that is deleted may take to stop: the public agent's grace period of a task's pod.
const GRACE_MS: u64 = 360_000;
/// How long a runner may go on after its worker is gone: it waits 10 minutes for its tool, then kills it, and
/// needs a moment for that.
const RUNNER_WAIT_MS: u64 = 630_000;
/// How large one log of one Job may become: what a worker says at its worst, and small beside a run's own
/// files.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// What a runner gets of the worker's environment: what says where and in which language it is, and nothing
/// of ours.
const RUNNER_VARIABLES: [&str; 13] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "TERM",
    "COLORTERM",
    "TZ",
    "TMPDIR",
];

/// What the local driver has to know. Times are in milliseconds.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// Holds `jobs/` and `runs/`; made if it is missing.
    pub data_dir: PathBuf,
    /// The keeper's program and first arguments; `--job DIR` follows.
    pub keeper_command: Vec<OsString>,
    /// The worker's program and first arguments; `--podinfo`, `--socket`, `--run-dir` and `--data-dir`
    /// follow, each with an absolute path, and `--name` with the pod's.
    pub worker_command: Vec<OsString>,
    /// The runner's program and first arguments; `--socket` follows, with an absolute path.
    pub runner_command: Vec<OsString>,
    /// All of the worker's environment, the token included; of it the runner gets only `PATH`, `HOME`, `LANG`
    /// and the like. Paths in it must be absolute: worker and runner work in the Job's folder.
    pub worker_environment: Vec<(OsString, Secret)>,
    /// How long a finished Job stays.
    pub ttl_ms: u64,
    /// How long one stays that failed.
    pub failed_ttl_ms: u64,
    /// How long a Job that is deleted may take between SIGTERM and SIGKILL.
    pub grace_ms: u64,
    /// How long a runner may go on after its worker is gone. More than the runner's own wait for its tool.
    pub runner_wait_ms: u64,
    /// How large one log of one Job may become, in bytes.
    pub log_bytes_max: u64,
}

impl LocalOptions {
    /// The usual ones, with `agent_binary` as keeper, worker and runner.
    pub fn new(data_dir: PathBuf, agent_binary: &Path) -> Self {
        let command = |name: &str| vec![agent_binary.as_os_str().to_owned(), OsString::from(name)];
        Self {
            data_dir,
            keeper_command: command("keeper"),
            worker_command: command("worker"),
            runner_command: command("runner"),
            worker_environment: Vec::new(),
            ttl_ms: TTL_MS,
            failed_ttl_ms: TTL_MS,
            grace_ms: GRACE_MS,
            runner_wait_ms: RUNNER_WAIT_MS,
            log_bytes_max: LOG_BYTES_MAX,
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            ttl_ms: self.ttl_ms,
            failed_ttl_ms: self.failed_ttl_ms,
            grace_ms: self.grace_ms,
            runner_wait_ms: self.runner_wait_ms,
        }
    }

    /// What the keeper of a Job has to do.
    pub(super) fn orders(&self, place: &Place, folder: &Folder, spec: &JobSpec) -> Orders {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let socket = text(&folder.socket());
        let mut worker = texts(&self.worker_command);
        let arguments = [
            ("--podinfo", text(&folder.podinfo())),
            ("--socket", socket.clone()),
            ("--run-dir", text(&place.run(&spec.run))),
            ("--data-dir", text(&folder.data())),
            // As in a pod, where the host's name is the pod's.
            ("--name", format!("{}-0", spec.name)),
        ];
        worker.extend(arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        let mut runner = texts(&self.runner_command);
        runner.extend(["--socket".to_owned(), socket]);
        let runner_environment = self
            .worker_environment
            .iter()
            .filter_map(|(name, value)| Some((name.to_str()?, value)))
            .filter(|(name, _)| RUNNER_VARIABLES.contains(name))
            .map(|(name, value)| (name.to_owned(), value.expose().to_owned()))
            .collect();
        Orders {
            worker,
            runner,
            runner_environment,
            grace_ms: self.grace_ms,
            runner_wait_ms: self.runner_wait_ms,
            log_bytes_max: self.log_bytes_max,
        }
    }
}

fn texts(command: &[OsString]) -> Vec<String> {
    command.iter().map(|argument| argument.to_string_lossy().into_owned()).collect()
}
