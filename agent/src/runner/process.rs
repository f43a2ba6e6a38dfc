//! One command: started in its own process group with its own environment, its output on one pipe.
//!
//! Never passes on the runner's environment, and never signals a leader whose status was already taken: its
//! pid may be another's by then.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal as Unix, WaitStatus, kill_process, kill_process_group};
use tokio::net::unix::pipe;

use super::frame::{CommandKind, Ended, Exec, Failed, Signal};

/// The code a shell gives for a program that is not there.
const NOT_FOUND: i32 = 127;
/// The code a shell gives for a program that is there and can't be run.
const NOT_EXECUTABLE: i32 = 126;
/// The code for what has nothing to do with the program: the folder, the machine.
const NOT_STARTED: i32 = 1;

/// A command that was started.
#[derive(Debug)]
pub(super) struct Process {
    /// The worker's name for it.
    pub(super) id: u64,
    kind: CommandKind,
    leader: Pid,
    ended: Option<Ended>,
    interrupted: bool,
    oom_kills_before: Option<u64>,
}

impl Process {
    /// Starts it, and gives the end of the pipe that its output and errors come from.
    pub(super) fn start(exec: &Exec) -> Result<(Self, pipe::Receiver), Failed> {
        let failed = |code, message: String| Failed { id: exec.id, code, message };
        let machine = |error: io::Error| failed(NOT_STARTED, format!("no pipe for the output: {error}"));
        let Some((program, arguments)) = exec.argv.split_first() else {
            return Err(failed(NOT_STARTED, "no program: argv is empty".into()));
        };
        // Looked at first: in the child a missing folder and a missing program are the same error.
        if !Path::new(&exec.cwd).is_absolute() || !fs::metadata(&exec.cwd).is_ok_and(|cwd| cwd.is_dir()) {
            return Err(failed(NOT_STARTED, format!("`{}`: no such folder to start in", exec.cwd)));
        }
        let (output, write_end) = io::pipe().map_err(machine)?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output)).map_err(machine)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(&exec.env).current_dir(&exec.cwd);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        // One pipe for both, so that their order is kept.
        command.stdin(Stdio::null()).stdout(write_end.try_clone().map_err(machine)?).stderr(write_end);
        let oom_kills_before = oom_kills();
        let child = command.spawn().map_err(|error| refused(exec, program, &error))?;
        let leader = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let leader = leader.ok_or_else(|| failed(NOT_STARTED, "the kernel gave no pid".into()))?;
        let process =
            Self { id: exec.id, kind: exec.kind, leader, ended: None, interrupted: false, oom_kills_before };
        Ok((process, output))
    }

    /// Takes note of a child's end, in case it is the leader.
    pub(super) fn note_end(&mut self, pid: Pid, status: WaitStatus) {
        if pid == self.leader {
            let code = status.exit_status().map(Ended::Code);
            self.ended = code.or_else(|| status.terminating_signal().map(Ended::Signal));
        }
    }

    /// How the leader ended, once it has.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// How many processes the kernel has killed for memory since the start, where it says.
    pub(super) fn oom_kills(&self) -> Option<u64> {
        Some(oom_kills()?.saturating_sub(self.oom_kills_before?))
    }

    /// Sends an interrupt or a SIGTERM as the command's kind has it; SIGKILL is not its business, since it
    /// goes to every descendant.
    pub(super) fn signal(&mut self, signal: Signal) {
        if self.ended.is_some() {
            return;
        }
        let sent = match (self.kind, signal) {
            (CommandKind::Tool, Signal::Interrupt) if self.interrupted => Ok(()),
            (CommandKind::Tool, Signal::Interrupt) => {
                self.interrupted = true;
                kill_process(self.leader, Unix::INT)
            }
            (CommandKind::Tool, Signal::Terminate) => {
                tracing::warn!(command = self.id, "a tool gets no SIGTERM: it would be its second interrupt");
                Ok(())
            }
            (CommandKind::Hook | CommandKind::Shell, Signal::Interrupt) => {
                kill_process_group(self.leader, Unix::INT)
            }
            (CommandKind::Hook | CommandKind::Shell, Signal::Terminate) => {
                kill_process_group(self.leader, Unix::TERM)
            }
            (CommandKind::Tool | CommandKind::Hook | CommandKind::Shell, Signal::Kill) => Ok(()),
        };
        if let Err(error) = sent {
            tracing::warn!(command = self.id, ?signal, %error, "failed to signal a command");
        }
    }
}

/// Says why a program could not be started, with the code that a shell would give.
fn refused(exec: &Exec, program: &str, error: &io::Error) -> Failed {
    let is_path = program.contains('/');
    let (code, message) = if error.kind() == io::ErrorKind::PermissionDenied {
        (NOT_EXECUTABLE, format!("`{program}`: not executable"))
    } else if error.kind() != io::ErrorKind::NotFound {
        (NOT_EXECUTABLE, format!("`{program}`: {error}"))
    } else if is_path && Path::new(&exec.cwd).join(program).exists() {
        (NOT_FOUND, format!("`{program}`: its interpreter was not found"))
    } else if is_path {
        (NOT_FOUND, format!("`{program}`: not found"))
    } else {
        let path = exec.env.get("PATH").map_or("", String::as_str);
        (NOT_FOUND, format!("`{program}`: not found in PATH `{path}`"))
    };
    Failed { id: exec.id, code, message }
}

/// Reads the count of processes killed for memory in our own cgroup (v2); none where it can't be told.
fn oom_kills() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let events = Path::new("/sys/fs/cgroup").join(group).join("memory.events");
    let events = fs::read_to_string(events).ok()?;
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
