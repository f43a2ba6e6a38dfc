//! Processes of this machine, as `/proc` shows them. A signal reaches the very process that was seen, never
//! another that got its number since.

use std::{fs, io, path::Path};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// Its number.
    pub(super) pid: Pid,
    parent: i32,
    /// When it started, in ticks since boot: with the number it names the process.
    started: u64,
    is_zombie: bool,
}

impl Process {
    fn seen(pid: Pid) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
        Self::from_stat(pid, &stat)
    }

    /// Reads `proc_pid_stat(5)`. The command's name may hold anything, so the fields are counted after its
    /// last bracket.
    fn from_stat(pid: Pid, stat: &str) -> Option<Self> {
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        Some(Self { pid, parent, started, is_zombie: matches!(state, "Z" | "X") })
    }

    /// Sends it a signal; false when it is gone.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<bool> {
        let Ok(handle) = pidfd_open(self.pid, PidfdFlags::empty()) else { return Ok(false) };
        // The number can't be given to another while we look through the handle of the first.
        if Self::seen(self.pid).map(|now| now.started) != Some(self.started) {
            return Ok(false);
        }
        match pidfd_send_signal(&handle, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether it has this file open.
    fn has_open(&self, file: &Path) -> bool {
        // Other users' processes can't be looked into, and none of ours is another user's.
        let Ok(open) = fs::read_dir(format!("/proc/{}/fd", self.pid.as_raw_pid())) else { return false };
        open.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == file))
    }
}

/// All processes that run.
fn all() -> io::Result<Vec<Process>> {
    let mut seen = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        // What ended while we looked is left out.
        seen.extend(pid.and_then(Process::seen).filter(|process| !process.is_zombie));
    }
    Ok(seen)
}

/// All that run below `root`, but `apart` and what runs below that.
pub(super) fn below(root: Pid, apart: Option<Pid>) -> io::Result<Vec<Process>> {
    let apart = apart.map(Pid::as_raw_pid);
    let mut left = all()?;
    let mut parents = vec![root.as_raw_pid()];
    let mut found = Vec::new();
    while let Some(parent) = parents.pop() {
        left.retain(|process| {
            let is_child = process.parent == parent;
            if is_child && Some(process.pid.as_raw_pid()) != apart {
                parents.push(process.pid.as_raw_pid());
                found.push(*process);
            }
            !is_child
        });
    }
    Ok(found)
}

/// All that have this file open, by its path without links.
pub(super) fn holders(file: &Path) -> io::Result<Vec<Process>> {
    let mut seen = all()?;
    seen.retain(|process| process.has_open(file));
    Ok(seen)
}

/// The process of this number, if it has this file open.
pub(super) fn holder(pid: Pid, file: &Path) -> Option<Process> {
    Process::seen(pid).filter(|process| process.has_open(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_brackets_is_no_field() {
        let stat = "42 (a) S 1 (b)) Z 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 991 0 0";
        let process = Process::from_stat(Pid::INIT, stat).expect("a process");
        assert_eq!((process.parent, process.started, process.is_zombie), (7, 991, true));
    }

    #[test]
    fn who_has_a_file_open_is_found_and_reached() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().canonicalize().expect("its path");
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .stdin(fs::File::open(&path).expect("open"))
            .spawn()
            .expect("a process");
        let pid = Pid::from_child(&child);
        let found = holder(pid, &path).expect("it has it open");
        assert!(holders(&path).expect("a list").contains(&found));
        assert!(below(rustix::process::getpid(), None).expect("a list").contains(&found));
        assert!(!below(rustix::process::getpid(), Some(pid)).expect("a list").contains(&found));
        let stranger = Process { started: found.started + 1, ..found };
        assert!(
            !stranger.signal(Signal::KILL).expect("asked"),
            "another process of that number is left alone"
        );
        assert!(found.signal(Signal::KILL).expect("asked"));
        child.wait().expect("it ends");
        assert!(!found.signal(Signal::KILL).expect("asked"));
    }
}
