//! The folder of one Job: all that is known of it, so that any process can go on where another died.
//!
//! ```text
//! spec.json             the Job and its UID                  keeper.json        what its keeper has to do
//! podinfo/…             what the worker learns of its task   data/              the worker's own
//! keeper.lock           held by the keeper while it lives    keeper.pid         its number
//! worker.lock           held by the worker and its children  runner.lock        likewise, user code included
//! worker.exit           exit code, once nothing is left      runner.exit        likewise
//! worker.pid runner.pid their numbers                        runner.sock        between the two
//! *.log                 what each said                       deleting-<uid>     it is to go
//! end.json              how it ended: the last thing written
//! ```
//!
//! A file is whole or absent. What a folder says never goes back: an end stays an end.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::process::Pid;
use scalr_core::cluster::{Container, JobEnd, JobSpec, Uid};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{lock, podinfo};

/// The exit code of a process whose end nobody saw: most likely it was killed.
const UNSEEN_EXIT: i32 = 137;
/// The exit code of a process that could not be started, as container runtimes have it.
pub(super) const START_FAILED_EXIT: i32 = 128;

const SPEC: &str = "spec.json";
const ORDERS: &str = "keeper.json";
const END: &str = "end.json";

/// The three processes of a Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Starts the others and sees them through.
    Keeper,
    /// Supervises.
    Worker,
    /// Executes.
    Runner,
}

impl Part {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Keeper => "keeper",
            Self::Worker => "worker",
            Self::Runner => "runner",
        }
    }
}

/// A Job as it was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    /// Drawn when it was made.
    pub(super) uid: Uid,
    /// What was asked for.
    pub(super) spec: JobSpec,
}

/// What a keeper has to do. Holds no secret: those are in its environment, for the worker alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    /// The worker's program and arguments.
    pub(super) worker: Vec<String>,
    /// The runner's program and arguments.
    pub(super) runner: Vec<String>,
    /// All of the runner's environment.
    pub(super) runner_environment: Vec<(String, String)>,
    /// How long a Job that is deleted may take to stop.
    pub(super) grace_ms: u64,
    /// How long the runner may go on after its worker is gone.
    pub(super) runner_wait_ms: u64,
    /// How large one log may become.
    pub(super) log_bytes_max: u64,
}

/// What a folder says.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The Job as it was made.
    pub(super) stored: Stored,
    /// Whether it is to go.
    pub(super) is_deleting: bool,
    /// How it ended.
    pub(super) end: Option<JobEnd>,
    /// Whether that is written, and nothing is left to do but remove the folder.
    pub(super) is_settled: bool,
    /// Whether its keeper lives.
    pub(super) is_kept: bool,
    /// The worker.
    pub(super) worker: Container,
    /// The runner and all that it started.
    pub(super) runner: Container,
}

/// The folder of one Job.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn podinfo(&self) -> PathBuf {
        self.0.join("podinfo")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.0.join("runner.sock")
    }

    pub(super) fn lock(&self, part: Part) -> PathBuf {
        self.0.join(format!("{}.lock", part.as_str()))
    }

    pub(super) fn log(&self, part: Part) -> PathBuf {
        self.0.join(format!("{}.log", part.as_str()))
    }

    fn deleting(&self, uid: &Uid) -> PathBuf {
        self.0.join(format!("deleting-{uid}"))
    }

    /// Makes the folder with all that a Job begins with; the keeper's lock is taken and handed to the caller.
    pub(super) fn make(&self, stored: &Stored, orders: &Orders) -> io::Result<File> {
        private_folder(&self.0)?;
        private_folder(&self.podinfo())?;
        private_folder(&self.data())?;
        fs::write(self.podinfo().join("labels"), podinfo::labels(&stored.spec))?;
        fs::write(self.podinfo().join("annotations"), podinfo::annotations(&stored.spec))?;
        self.write(ORDERS, &serde_json::to_vec_pretty(orders)?)?;
        self.write(SPEC, &serde_json::to_vec_pretty(stored)?)?;
        lock::hold(&self.lock(Part::Keeper))
    }

    /// The Job as it was made; none when there is no such folder.
    pub(super) fn stored(&self) -> io::Result<Option<Stored>> {
        self.read(SPEC)
    }

    /// What the keeper has to do.
    pub(super) fn orders(&self) -> io::Result<Orders> {
        self.read(ORDERS)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// All that the folder says; none when it is gone.
    pub(super) fn look(&self) -> io::Result<Option<Seen>> {
        let Some(stored) = self.stored()? else { return Ok(None) };
        // The keeper first: once it is gone nothing new is started or written, so what is read after that
        // holds.
        let is_kept = lock::is_held(&self.lock(Part::Keeper))? == Some(true);
        let worker = self.container(Part::Worker, is_kept)?;
        let runner = self.container(Part::Runner, is_kept)?;
        let written: Option<JobEnd> = self.read(END)?;
        let is_settled = written.is_some();
        let are_gone = [&worker, &runner].iter().all(|c| matches!(c, Container::Terminated { .. }));
        let end = match written {
            Some(end) => Some(end),
            None if !is_kept && are_gone => Some(JobEnd::Failed { reason: "KeeperLost".to_owned() }),
            None => None,
        };
        let is_deleting = self.deleting(&stored.uid).try_exists()?;
        // A folder that was removed meanwhile seems to have lost its files one by one.
        if !self.0.join(SPEC).try_exists()? {
            return Ok(None);
        }
        Ok(Some(Seen { stored, is_deleting, end, is_settled, is_kept, worker, runner }))
    }

    /// Whether nobody can know any more what it was for, and nothing of it runs.
    pub(super) fn is_wreck(&self) -> bool {
        let is_unreadable = match self.look() {
            Ok(seen) => seen.is_none(),
            Err(error) => matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof),
        };
        let is_free = |part| matches!(lock::is_held(&self.lock(part)), Ok(None | Some(false)));
        is_unreadable && [Part::Keeper, Part::Worker, Part::Runner].into_iter().all(is_free)
    }

    /// A container, by proof only: an exit that the keeper wrote, or without a keeper a lock that nobody
    /// holds.
    fn container(&self, part: Part, is_kept: bool) -> io::Result<Container> {
        if let Some(exit_code) = self.read(&exit_name(part))? {
            return Ok(Container::Terminated { exit_code, is_oom: false });
        }
        let unseen = Container::Terminated { exit_code: UNSEEN_EXIT, is_oom: false };
        Ok(match (lock::is_held(&self.lock(part))?, is_kept) {
            (None, true) => Container::Waiting,
            (Some(true), false) | (Some(_), true) => Container::Running,
            (None | Some(false), false) => unseen,
        })
    }

    /// Whether this part was ever begun.
    pub(super) fn was_begun(&self, part: Part) -> io::Result<bool> {
        self.lock(part).try_exists()
    }

    pub(super) fn write_exit(&self, part: Part, exit_code: i32) -> io::Result<()> {
        self.write(&exit_name(part), exit_code.to_string().as_bytes())
    }

    pub(super) fn write_end(&self, end: &JobEnd) -> io::Result<()> {
        self.write(END, &serde_json::to_vec(end)?)
    }

    pub(super) fn write_pid(&self, part: Part, pid: Pid) -> io::Result<()> {
        self.write(&pid_name(part), pid.as_raw_pid().to_string().as_bytes())
    }

    /// The number of this part's process, if it was written.
    pub(super) fn pid(&self, part: Part) -> io::Result<Option<Pid>> {
        Ok(self.read(&pid_name(part))?.and_then(Pid::from_raw))
    }

    /// Marks the Job of this UID, and no other, as one that is to go.
    pub(super) fn mark_deleting(&self, uid: &Uid) -> io::Result<()> {
        private_file().create(true).append(true).open(self.deleting(uid)).map(drop)
    }

    /// Where this part's output goes.
    pub(super) fn open_log(&self, part: Part) -> io::Result<File> {
        private_file().create(true).append(true).open(self.log(part))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        match fs::read(self.0.join(name)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whole or not at all; whoever is killed in between leaves a file that nobody reads.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let beside = self.0.join(format!(".{name}.{}", std::process::id()));
        private_file().create(true).truncate(true).write(true).open(&beside)?.write_all(bytes)?;
        fs::rename(beside, self.0.join(name))
    }
}

/// Only for the user whom the agent runs as: plans and variables are secret.
pub(super) fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn exit_name(part: Part) -> String {
    format!("{}.exit", part.as_str())
}

fn pid_name(part: Part) -> String {
    format!("{}.pid", part.as_str())
}
