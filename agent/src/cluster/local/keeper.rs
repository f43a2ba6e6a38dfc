//! The keeper of one Job: starts its worker and its runner, reaps them and all that they leave behind, writes
//! how each ended, and cleans up. It outlives the controller that started it.
//!
//! It never starts anything twice, and never writes an end before nothing is left to end. If it is killed
//! itself, the locks of the others say what still runs, and a controller's sweep ends the Job.

mod family;

use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    pin::Pin,
    process::ExitCode,
    time::Duration,
};

use rustix::process::{getpid, set_child_subreaper, setsid};
use scalr_core::cluster::JobEnd;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Sleep, sleep},
};

use self::family::Family;
use super::{
    folder::{Folder, Part, START_FAILED_EXIT, Stored},
    lock,
    place::{Place, remove_tree},
};

/// How often the logs are looked at: they may become this much larger than their bound. So often, too, worker
/// and runner are woken.
const LOG_LOOK_MS: u64 = 5_000;
/// How often is looked whether what was killed is gone: at first quickly, since it mostly is at once. There
/// is no bound to how often, since a Job of which something runs is not over; a process that can't be killed
/// is the kernel's to explain.
const KILL_LOOK_MS_MIN: u64 = 10;
const KILL_LOOK_MS_MAX: u64 = 1_000;

/// How often it is tried to write the Job's end, on a disk that is full, and how long between: a minute.
/// After that the next sweep does it.
const END_TRIES_MAX: u32 = 60;
const END_RETRY_MS: u64 = 1_000;

/// What a keeper has to know; the rest is in the folder.
#[derive(Clone, Debug)]
pub struct KeeperOptions {
    /// The folder of the Job.
    pub job: PathBuf,
}

/// Why a keeper did not keep.
#[derive(Debug, thiserror::Error)]
enum KeeperError {
    #[error("another keeper has `{}`", .0.display())]
    Taken(PathBuf),
    #[error("`{}` is no Job of a local driver", .0.display())]
    NoJob(PathBuf),
    #[error("the Job was begun by a keeper that is gone: nothing is started twice")]
    Begun,
    #[error("failed to keep the Job")]
    Io(#[from] io::Error),
}

/// Sees one Job through to its end. Exits 0 when the Job has ended, however it did.
///
/// It leads a session of its own, has all of its descendants as children in the end, and takes SIGTERM as the
/// Job's deletion.
pub async fn run(options: KeeperOptions) -> ExitCode {
    match keep(&options.job).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(job = %options.job.display(), error = &error as &dyn std::error::Error, "{error}");
            ExitCode::FAILURE
        }
    }
}

async fn keep(job: &Path) -> Result<(), KeeperError> {
    let path = job.canonicalize().map_err(|_| KeeperError::NoJob(job.to_owned()))?;
    let place = Place::of_job(&path)?;
    let folder = Folder::at(path);
    let stored = folder.stored()?.ok_or_else(|| KeeperError::NoJob(job.to_owned()))?;
    let _lock = take_lock(&folder)?;
    // Fails only for one that leads a group already, such as one started by hand: no terminal reaches it
    // either.
    let _ = setsid();
    set_child_subreaper(Some(getpid())).map_err(io::Error::from)?;
    let mut signals = Signals::watch()?;
    // In this order: whoever marks the Job after that finds whom to tell.
    folder.write_pid(Part::Keeper, getpid())?;
    let Some(seen) = folder.look()? else { return Ok(()) };
    if seen.is_settled {
        return Ok(());
    }
    if folder.was_begun(Part::Worker)? || folder.was_begun(Part::Runner)? {
        return Err(KeeperError::Begun);
    }
    let end = if seen.is_deleting {
        [Part::Worker, Part::Runner]
            .into_iter()
            .try_for_each(|part| folder.write_exit(part, START_FAILED_EXIT))?;
        failed("Deleted")
    } else {
        let mut family = Family::start(folder.clone(), folder.orders()?);
        while !attend(&mut family, &mut signals).await? {
            make_room(&place, &stored);
            sleep(Duration::from_millis(KILL_LOOK_MS_MAX)).await;
        }
        family.end()
    };
    Ok(finish(&place, &folder, &stored, &end).await?)
}

fn failed(reason: &str) -> JobEnd {
    JobEnd::Failed { reason: reason.to_owned() }
}

/// The lock that says that this process lives: the standard input, if the driver gave it, else taken here.
fn take_lock(folder: &Folder) -> Result<Option<std::fs::File>, KeeperError> {
    let path = folder.lock(Part::Keeper);
    let taken = |error: io::Error| {
        let is_taken = error.kind() == io::ErrorKind::WouldBlock;
        if is_taken { KeeperError::Taken(folder.path().to_owned()) } else { KeeperError::Io(error) }
    };
    let stdin = rustix::fs::fstat(io::stdin()).map_err(io::Error::from)?;
    let is_given =
        std::fs::metadata(&path).is_ok_and(|lock| (lock.dev(), lock.ino()) == (stdin.st_dev, stdin.st_ino));
    if is_given {
        // Stays open, and with it locked, as long as this process lives.
        return lock::hold_open(io::stdin()).map(|()| None).map_err(taken);
    }
    lock::hold(&path).map(Some).map_err(taken)
}

/// What the kernel tells a keeper.
struct Signals {
    child: Signal,
    terminate: Signal,
    interrupt: Signal,
    /// Not heeded, but caught: a terminal that closes ends nothing.
    _hangup: Signal,
}

impl Signals {
    fn watch() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// One wait that began when it was made, or none.
type Deadline = Option<Pin<Box<Sleep>>>;

fn in_ms(ms: u64) -> Pin<Box<Sleep>> {
    Box::pin(sleep(Duration::from_millis(ms)))
}

async fn passed(deadline: &mut Deadline) {
    match deadline {
        Some(sleep) => sleep.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Waits until nothing of the family is left and that is written; false once only the disk keeps it from
/// that.
async fn attend(family: &mut Family, signals: &mut Signals) -> io::Result<bool> {
    let (mut grace, mut patience): (Deadline, Deadline) = (None, None);
    let mut look_ms = KILL_LOOK_MS_MIN;
    while !family.settle()? {
        if family.is_runner_alone() && patience.is_none() {
            patience = Some(in_ms(family.orders().runner_wait_ms));
            family.wake();
        }
        let wait_ms = if family.is_ending() {
            look_ms = (look_ms * 2).min(KILL_LOOK_MS_MAX);
            look_ms
        } else {
            look_ms = KILL_LOOK_MS_MIN;
            LOG_LOOK_MS
        };
        tokio::select! {
            _ = signals.child.recv() => {}
            _ = signals.terminate.recv() => grace = family.stop().or(grace),
            _ = signals.interrupt.recv() => grace = family.stop().or(grace),
            () = passed(&mut grace) => { grace = None; family.kill(); }
            () = passed(&mut patience) => { patience = None; family.kill(); }
            () = sleep(Duration::from_millis(wait_ms)) => {
                family.bound_logs();
                family.wake();
            }
        }
        if family.waits_for_disk()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes the run's folder, which may be what fills the disk. What can't be removed is the next sweep's.
fn make_room(place: &Place, stored: &Stored) {
    match place.vacate_runs(Some(&stored.uid)) {
        Ok(gone) => gone.iter().for_each(|path| remove(path)),
        Err(error) => tracing::warn!(%error, "failed to let the run's folder go"),
    }
}

fn remove(path: &Path) {
    if let Err(error) = remove_tree(path) {
        tracing::warn!(%error, path = %path.display(), "failed to remove the run's folder");
    }
}

/// Writes the end of a Job of which nothing runs any more.
async fn finish(place: &Place, folder: &Folder, stored: &Stored, end: &JobEnd) -> io::Result<()> {
    // What can't be removed here is the next sweep's.
    let mut gone = place.vacate_runs(Some(&stored.uid)).unwrap_or_else(|error| {
        tracing::warn!(%error, "failed to let the run's folder go");
        Vec::new()
    });
    for _ in 0..END_TRIES_MAX {
        match end_job(folder, end) {
            Ok(()) => break,
            Err(error) => tracing::warn!(%error, "failed to write the Job's end"),
        }
        // What the run has left may be what fills the disk.
        gone.drain(..).for_each(|path| remove(&path));
        sleep(Duration::from_millis(END_RETRY_MS)).await;
    }
    gone.drain(..).for_each(|path| remove(&path));
    // Whoever marks it after this look sees the end, and removes it himself.
    if folder.look()?.is_some_and(|seen| seen.is_deleting) {
        place.remove_job(&stored.spec.name, &stored.uid)?;
    }
    Ok(())
}

/// Removes the socket and writes the end: the last thing that a folder says.
pub(super) fn end_job(folder: &Folder, end: &JobEnd) -> io::Result<()> {
    match std::fs::remove_file(folder.socket()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => folder.write_end(end),
    }
}
