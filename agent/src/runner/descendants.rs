//! Every process below this one: counts them out, and kills them.
//!
//! The runner is a child subreaper: a process whose parent died becomes its child, so that none can leave by
//! forking twice. Never signals a process that is not below us: each is looked at again through its pidfd.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, kill_process, pidfd_open, pidfd_send_signal,
};

use crate::process::kill_children;

/// Makes orphans below this process its own children.
pub(super) fn adopt() -> rustix::io::Result<()> {
    rustix::process::set_child_subreaper(Some(getpid()))
}

/// Takes the status of every child that has ended, and says whether any child is left. With [`adopt`], no
/// child left means no descendant left: an orphan would be a child.
pub(super) fn reap(mut ended: impl FnMut(Pid, WaitStatus)) -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => ended(pid, status),
            Ok(None) => return true,
            Err(Errno::INTR) => {}
            Err(_no_child) => return false,
        }
    }
}

/// One line of the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    parent: i32,
    /// Ticks since boot at its start: with the pid, the identity of a process.
    started: u64,
}

/// Sends SIGKILL to every descendant that is there now. Those forked meanwhile are the next call's, but for
/// the children: they are chased.
pub(super) fn kill_all() {
    kill_children(None);
    let own = getpid().as_raw_nonzero().get();
    let table = process_table();
    for pid in below(own, &table) {
        if let (Some(row), Some(pid)) = (table.get(&pid), Pid::from_raw(pid)) {
            kill(pid, *row);
        }
    }
    kill_children(None);
}

/// Kills one process, if the pid still names the one that was seen. That it is gone already is success.
fn kill(pid: Pid, seen: Row) {
    let sent = match pidfd_open(pid, PidfdFlags::empty()) {
        // From here on the descriptor names one process; was the pid given to another before?
        Ok(process) if row(pid.as_raw_nonzero().get()).is_some_and(|now| now.started == seen.started) => {
            pidfd_send_signal(process, Signal::KILL)
        }
        Ok(_another) => Ok(()),
        // Sandboxes with kernels of their own may have no pidfd.
        Err(Errno::NOSYS) => kill_process(pid, Signal::KILL),
        Err(error) => Err(error),
    };
    match sent {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => tracing::warn!(pid = pid.as_raw_nonzero().get(), %error, "failed to kill a descendant"),
    }
}

/// All pids whose chain of parents leads to `top`, without itself.
fn below(top: i32, table: &BTreeMap<i32, Row>) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, row) in table {
        children.entry(row.parent).or_default().push(*pid);
    }
    let mut found = BTreeSet::new();
    let mut next = vec![top];
    while let Some(parent) = next.pop() {
        for pid in children.get(&parent).into_iter().flatten() {
            if *pid != top && found.insert(*pid) {
                next.push(*pid);
            }
        }
    }
    found
}

fn process_table() -> BTreeMap<i32, Row> {
    let Ok(entries) = fs::read_dir("/proc") else {
        tracing::warn!("no /proc: descendants can't be found");
        return BTreeMap::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, row(pid)?))).collect()
}

/// The parent of a process; none when it is gone.
pub(super) fn parent(pid: i32) -> Option<i32> {
    row(pid).map(|row| row.parent)
}

fn row(pid: i32) -> Option<Row> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads `pid (name) state ppid … starttime …`. The name may hold anything, brackets and line ends too, so
/// fields are counted from the last bracket.
fn parse_stat(stat: &[u8]) -> Option<Row> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = str::from_utf8(stat.get(after_name..)?).ok()?.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    // proc(5): ppid is field 4, starttime field 22.
    let started = fields.nth(17)?.parse().ok()?;
    Some(Row { parent, started })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_row_whose_name_is_hostile() {
        let stat = b"42 (a) R 1 (b\n) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 0 0\n";
        assert_eq!(parse_stat(stat), Some(Row { parent: 7, started: 123_456 }));
        assert_eq!(parse_stat(b"42 (a"), None);
        assert_eq!(parse_stat(b"42 (a) S"), None);
    }

    #[test]
    fn reads_its_own_row() {
        let own = row(getpid().as_raw_nonzero().get()).expect("/proc is there");
        assert_eq!(Some(own.parent), rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()));
        assert!(own.started > 0);
    }

    #[test]
    fn below_are_children_of_children_and_nobody_else() {
        let row = |parent| Row { parent, started: 1 };
        let table = BTreeMap::from([
            (1, row(0)),
            (10, row(1)),
            (11, row(10)),
            (12, row(11)),
            (13, row(10)),
            (20, row(1)),
            (21, row(20)),
        ]);
        assert_eq!(below(10, &table), BTreeSet::from([11, 12, 13]));
        assert_eq!(below(12, &table), BTreeSet::new());
    }

    #[test]
    fn a_table_that_changed_under_the_reader_ends_the_walk_all_the_same() {
        let row = |parent| Row { parent, started: 1 };
        assert_eq!(below(10, &BTreeMap::from([(10, row(11)), (11, row(10))])), BTreeSet::from([11]));
    }
}
