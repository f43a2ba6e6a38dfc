//! What a controller does for Jobs whose keepers can't do it any more, and for those that ended some time
//! ago.
//!
//! It goes by what the folders say, so whichever controller comes next goes on with it. Only its waits are
//! its own: one that was begun by a controller that died begins anew, and so gets longer, never shorter.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
};

use rustix::process::Signal;
use scalr_core::{
    clock::Millis,
    cluster::{Container, JobEnd, JobName, Uid},
};

use super::{
    folder::{Folder, Part, Seen},
    keeper::end_job,
    place::{Names, Place, remove_trees},
    process,
};

/// How long things may take, all in milliseconds.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "units last in names, everywhere")]
pub(super) struct Bounds {
    /// How long a finished Job stays.
    pub(super) ttl_ms: u64,
    /// How long one stays that failed.
    pub(super) failed_ttl_ms: u64,
    /// How long a Job that is deleted may take to stop.
    pub(super) grace_ms: u64,
    /// How long a runner may go on after its worker is gone.
    pub(super) runner_wait_ms: u64,
}

/// Since when something is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wait {
    /// For the time to live of a finished Job.
    Ttl,
    /// For a Job without a keeper to stop.
    Grace,
    /// For a runner without a worker and a keeper to stop.
    Runner,
}

/// The waits of one controller.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    since: BTreeMap<(Uid, Wait), Millis>,
    /// What went wrong the last time: said once, not each second.
    trouble: Option<String>,
}

impl Sweep {
    /// Does what is due. What fails is tried again the next time.
    pub(super) fn sweep(
        &mut self,
        place: &Place,
        bounds: &Bounds,
        look: &BTreeMap<JobName, Seen>,
        now: Millis,
    ) {
        let trouble = self.try_sweep(place, bounds, look, now).err().map(|error| error.to_string());
        if let Some(error) = &trouble
            && trouble != self.trouble
        {
            tracing::warn!(error, "failed to clean up after Jobs");
        }
        self.trouble = trouble;
    }

    /// One Job that can't be swept does not keep the others from it: the first error comes at the end.
    fn try_sweep(
        &mut self,
        place: &Place,
        bounds: &Bounds,
        look: &BTreeMap<JobName, Seen>,
        now: Millis,
    ) -> io::Result<()> {
        self.since.retain(|(uid, _), _| look.values().any(|seen| seen.stored.uid == *uid));
        let mut result = Ok(());
        for (name, seen) in look {
            result = result.and(self.sweep_job(place, bounds, name, seen, now));
        }
        let runs = place.vacate_runs(None).and_then(|gone| remove_trees(&gone));
        result.and(runs).and(place.remove_rubbish())
    }

    fn sweep_job(
        &mut self,
        place: &Place,
        bounds: &Bounds,
        name: &JobName,
        seen: &Seen,
        now: Millis,
    ) -> io::Result<()> {
        let folder = place.job(name);
        let uid = &seen.stored.uid;
        match &seen.end {
            Some(end) if !seen.is_settled => settle(place, &folder, seen, end),
            Some(_) if seen.is_deleting => place.remove_job(name, uid),
            Some(end) => {
                let ttl_ms = match end {
                    JobEnd::Complete => bounds.ttl_ms,
                    JobEnd::Failed { .. } => bounds.failed_ttl_ms,
                };
                if self.waited(uid, Wait::Ttl, now) >= ttl_ms { place.remove_job(name, uid) } else { Ok(()) }
            }
            None if !seen.is_kept => self.end_orphans(place, &folder, bounds, seen, now),
            None if seen.is_deleting => signal_parts(place, &folder, uid, &[Part::Keeper]),
            None => Ok(()),
        }
    }

    /// The keeper is gone, and something of the Job runs.
    fn end_orphans(
        &mut self,
        place: &Place,
        folder: &Folder,
        bounds: &Bounds,
        seen: &Seen,
        now: Millis,
    ) -> io::Result<()> {
        let uid = &seen.stored.uid;
        if !folder.was_begun(Part::Worker)? {
            // Nobody will start one any more, and without it nothing of the user's can have begun.
            return kill_holders(place, folder, uid);
        }
        if seen.is_deleting {
            let is_first = !self.since.contains_key(&(uid.clone(), Wait::Grace));
            if self.waited(uid, Wait::Grace, now) >= bounds.grace_ms {
                return kill_holders(place, folder, uid);
            }
            // Never to a tool: for it this would be the signal to leave everything as it is.
            return if is_first {
                signal_parts(place, folder, uid, &[Part::Worker, Part::Runner])
            } else {
                Ok(())
            };
        }
        let is_runner_alone = matches!(seen.worker, Container::Terminated { .. });
        if is_runner_alone && self.waited(uid, Wait::Runner, now) >= bounds.runner_wait_ms {
            return kill_holders(place, folder, uid);
        }
        Ok(())
    }

    /// For how long it has been waited, in milliseconds; the first to ask begins.
    fn waited(&mut self, uid: &Uid, wait: Wait, now: Millis) -> u64 {
        match self.since.entry((uid.clone(), wait)) {
            Entry::Occupied(since) => now.since(*since.get()),
            Entry::Vacant(vacant) => {
                vacant.insert(now);
                0
            }
        }
    }
}

/// The lock on names, if the folder is still that Job's: another controller may have been faster.
fn still(place: &Place, folder: &Folder, uid: &Uid) -> io::Result<Option<Names>> {
    let names = place.names()?;
    Ok(folder.stored()?.is_some_and(|stored| stored.uid == *uid).then_some(names))
}

/// Writes the end of a Job whose keeper was killed and of which nothing runs.
fn settle(place: &Place, folder: &Folder, seen: &Seen, end: &JobEnd) -> io::Result<()> {
    let Some(_names) = still(place, folder, &seen.stored.uid)? else { return Ok(()) };
    for (part, container) in [(Part::Worker, &seen.worker), (Part::Runner, &seen.runner)] {
        if let Container::Terminated { exit_code, .. } = container {
            folder.write_exit(part, *exit_code)?;
        }
    }
    end_job(folder, end)
}

/// Sends SIGTERM to these processes of a Job, where they live. A keeper heeds the first and no other; one
/// that has not written its number yet looks for the mark of deletion right after it.
pub(super) fn signal_parts(place: &Place, folder: &Folder, uid: &Uid, parts: &[Part]) -> io::Result<()> {
    let Some(_names) = still(place, folder, uid)? else { return Ok(()) };
    for part in parts {
        let Some(pid) = folder.pid(*part)? else { continue };
        if let Some(process) = process::holder(pid, &folder.lock(*part)) {
            process.signal(Signal::TERM)?;
        }
    }
    Ok(())
}

/// Sends SIGKILL to all that hold the lock of worker or runner: the two, and what inherited it from them.
fn kill_holders(place: &Place, folder: &Folder, uid: &Uid) -> io::Result<()> {
    let Some(_names) = still(place, folder, uid)? else { return Ok(()) };
    for part in [Part::Worker, Part::Runner] {
        for process in process::holders(&folder.lock(part))? {
            process.signal(Signal::KILL)?;
        }
    }
    Ok(())
}
