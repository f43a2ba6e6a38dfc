//! The worker, the runner, and all that came of them. Every orphan among them becomes a child of the keeper,
//! so none is lost from sight, however often it forked.

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use rustix::{
    io::{Errno, FdFlags, fcntl_setfd},
    process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait},
};
use scalr_core::cluster::JobEnd;

use super::{Deadline, failed, in_ms};
use crate::{
    cluster::local::{
        folder::{Folder, Orders, Part, START_FAILED_EXIT},
        lock, process,
    },
    process::kill_children,
};

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    /// It runs.
    Alive(Pid),
    /// It has ended; what it started may not have.
    Ended(i32),
    /// It has ended with all that it started, and that is written.
    Gone(i32),
}

/// Both, and what has been asked of them.
pub(super) struct Family {
    folder: Folder,
    orders: Orders,
    worker: Member,
    runner: Member,
    is_stopping: bool,
    is_killing: bool,
    /// The disk did not take an exit at the last try.
    is_unwritten: bool,
}

impl Family {
    /// Starts both: the runner without anything of our environment, the worker with all of it. One that can't
    /// be started has ended.
    pub(super) fn start(folder: Folder, orders: Orders) -> Self {
        let member = |part: Part, started: io::Result<Pid>| match started {
            Ok(pid) => {
                // Only needed once we are gone, which may be at the next step.
                if let Err(error) = folder.write_pid(part, pid) {
                    tracing::warn!(%error, "failed to write the number of the {}", part.as_str());
                }
                Member::Alive(pid)
            }
            Err(error) => {
                tracing::error!(%error, "failed to start the {}", part.as_str());
                Member::Ended(START_FAILED_EXIT)
            }
        };
        let runner = spawn(&folder, Part::Runner, &orders.runner, Some(&orders.runner_environment));
        let runner = member(Part::Runner, runner);
        let worker = match runner {
            Member::Alive(_) => spawn(&folder, Part::Worker, &orders.worker, None),
            Member::Ended(_) | Member::Gone(_) => Err(io::Error::other("the runner could not be started")),
        };
        let worker = member(Part::Worker, worker);
        Self { folder, orders, worker, runner, is_stopping: false, is_killing: false, is_unwritten: false }
    }

    pub(super) fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Whether the worker is gone and the runner is being waited for.
    pub(super) fn is_runner_alone(&self) -> bool {
        !self.is_killing && matches!((self.worker, self.runner), (Member::Gone(_), Member::Alive(_)))
    }

    /// Whether something was killed and is not gone yet, or has ended and is not written yet.
    pub(super) fn is_ending(&self) -> bool {
        let are_gone = matches!((self.worker, self.runner), (Member::Gone(_), Member::Gone(_)));
        let has_ended = [self.worker, self.runner].iter().any(|member| matches!(member, Member::Ended(_)));
        self.is_killing || are_gone || has_ended
    }

    /// Passes the Job's deletion on, once: to the two, and never to what they started. Says how long they
    /// have.
    pub(super) fn stop(&mut self) -> Deadline {
        if self.is_stopping {
            return None;
        }
        self.is_stopping = true;
        for member in [self.worker, self.runner] {
            if let Member::Alive(pid) = member {
                // Our own child, and not yet waited for: the number is still its own.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        Some(in_ms(self.orders.grace_ms))
    }

    /// Whether nothing runs any more, and only the disk does not take that.
    pub(super) fn waits_for_disk(&self) -> io::Result<bool> {
        let has_ended = |member| !matches!(member, Member::Alive(_));
        Ok(self.is_unwritten && has_ended(self.worker) && has_ended(self.runner) && kill_all(None)? == 0)
    }

    /// Lets the two go on, should user code have stopped one: nobody else would, and the Job would stay for
    /// ever. To who runs it means nothing.
    pub(super) fn wake(&self) {
        for member in [self.worker, self.runner] {
            if let Member::Alive(pid) = member {
                let _ = kill_process(pid, Signal::CONT);
            }
        }
    }

    /// Ends all that is left, from now on.
    pub(super) fn kill(&mut self) {
        self.is_killing = true;
    }

    /// Reaps, kills what is to be killed, and writes what has ended; true when nothing is left.
    pub(super) fn settle(&mut self) -> io::Result<bool> {
        self.reap()?;
        self.is_unwritten = false;
        if self.is_killing {
            kill_all(None)?;
            self.reap()?;
        }
        if let Member::Ended(code) = self.worker
            && self.is_written(Part::Worker, code)
        {
            self.worker = Member::Gone(code);
        }
        if let Member::Ended(code) = self.runner {
            // As in a pod, where a container's first process takes all others along. What the worker has
            // below it is spared.
            let worker = if let Member::Alive(pid) = self.worker { Some(pid) } else { None };
            if kill_all(worker)? == 0 && self.is_written(Part::Runner, code) {
                self.runner = Member::Gone(code);
            }
        }
        Ok(matches!((self.worker, self.runner), (Member::Gone(_), Member::Gone(_))) && kill_all(None)? == 0)
    }

    /// Writes an exit. Where the disk is full it is written later: to go away now would leave what runs to
    /// itself.
    fn is_written(&mut self, part: Part, code: i32) -> bool {
        let written = self.folder.write_exit(part, code);
        if let Err(error) = &written {
            tracing::warn!(%error, code, "failed to write the exit of the {}", part.as_str());
        }
        self.is_unwritten |= written.is_err();
        written.is_ok()
    }

    fn reap(&mut self) -> io::Result<()> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    for member in [&mut self.worker, &mut self.runner] {
                        if *member == Member::Alive(pid) {
                            *member = Member::Ended(exit_code(status));
                        }
                    }
                }
                Ok(None) | Err(Errno::CHILD) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Cuts logs that have become too large: the newest part is kept.
    pub(super) fn bound_logs(&self) {
        for part in [Part::Keeper, Part::Worker, Part::Runner] {
            let path = self.folder.log(part);
            let Ok(log) = fs::metadata(&path) else { continue };
            if log.len() > self.orders.log_bytes_max
                && let Err(error) = cut(&path, self.orders.log_bytes_max / 2)
            {
                tracing::warn!(%error, "failed to cut the log of the {}", part.as_str());
            }
        }
    }

    /// How the Job ended.
    pub(super) fn end(&self) -> JobEnd {
        match (self.worker, self.runner) {
            _ if self.is_stopping => failed("Deleted"),
            (Member::Gone(0), Member::Gone(0)) => JobEnd::Complete,
            (Member::Gone(START_FAILED_EXIT), Member::Gone(_)) => failed("StartError"),
            (Member::Gone(0), Member::Gone(code)) => failed(&format!("the runner exited with {code}")),
            (Member::Gone(code), Member::Gone(_)) => failed(&format!("the worker exited with {code}")),
            (Member::Alive(_) | Member::Ended(_), _) | (_, Member::Alive(_) | Member::Ended(_)) => {
                unreachable!("asked once both are gone")
            }
        }
    }
}

/// Sends SIGKILL to all that run below us, but `apart` and what runs below it; says how many there were.
fn kill_all(apart: Option<Pid>) -> io::Result<usize> {
    let left = process::below(getpid(), apart)?;
    for process in &left {
        if let Err(error) = process.signal(Signal::KILL) {
            tracing::warn!(pid = process.pid.as_raw_pid(), %error, "failed to kill a process of the Job");
        }
    }
    // One that forks and ends all the time is in no table, but never without us for its parent in the end.
    Ok(left.len().max(kill_children(apart)))
}

fn exit_code(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => unreachable!("neither stops nor continuations were waited for"),
    }
}

/// Starts one of the two in a group of its own, with its lock, which all that it starts inherits in turn.
fn spawn(
    folder: &Folder,
    part: Part,
    command: &[String],
    environment: Option<&[(String, String)]>,
) -> io::Result<Pid> {
    let [program, arguments @ ..] = command else { return Err(io::ErrorKind::InvalidInput.into()) };
    let log = folder.open_log(part)?;
    let lock = lock::hold(&folder.lock(part))?;
    // Nothing else is started before the lock is closed here.
    fcntl_setfd(&lock, FdFlags::empty())?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder.path()).process_group(0);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    if let Some(environment) = environment {
        command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
    }
    let child = command.spawn()?;
    Ok(Pid::from_child(&child))
}

/// Keeps the last `bytes` of a log in `<log>.1` and begins it anew. Its writers append, so they go on at the
/// begin.
fn cut(path: &std::path::Path, bytes: u64) -> io::Result<()> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut log = fs::OpenOptions::new().read(true).write(true).open(path)?;
    let length = log.metadata()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut older = path.as_os_str().to_owned();
    older.push(".1");
    io::copy(&mut (&log).take(bytes), &mut fs::File::create(older)?)?;
    log.set_len(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_cut_to_its_newest_part_and_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("worker.log");
        let mut writer = fs::OpenOptions::new().create(true).append(true).open(&path).expect("a log");
        io::Write::write_all(&mut writer, b"old and new").expect("written");
        cut(&path, 3).expect("cut");
        io::Write::write_all(&mut writer, b"newer").expect("written");
        assert_eq!(fs::read_to_string(folder.path().join("worker.log.1")).expect("a log"), "new");
        assert_eq!(fs::read_to_string(&path).expect("a log"), "newer");
    }
}
