//! Sees that something in the folder of Jobs has changed, without looking all the time.
//!
//! inotify tells of files that appear, and of locks that were let go (their files are closed then). A slow
//! look besides catches what it does not tell; where there is no inotify, a quick one takes its place.

use std::{
    future::pending,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::inotify::{CreateFlags, WatchFlags, add_watch, init},
    io::Errno,
};
use tokio::{net::unix::pipe::Receiver, time::sleep};

/// How often is looked while there are Jobs: waits of the sweep end this much late at most.
const LOOK_MS: u64 = 1_000;
/// How often is looked while there are none.
const IDLE_LOOK_MS: u64 = 30_000;
/// How often is looked while there are Jobs and no inotify: half of what a Job's end may go unseen.
const BLIND_LOOK_MS: u64 = 100;
/// How long after a first change is looked: most come together, and a closed file's lock is let go right
/// after the closing was told.
const GATHER_MS: u64 = 5;

/// What sees changes.
#[derive(Debug)]
pub(super) struct Eyes {
    /// Not a pipe, but read like one.
    inotify: Option<Receiver>,
}

impl Eyes {
    /// Begins to watch the folder of Jobs.
    pub(super) fn open(jobs: &Path) -> Self {
        let inotify = || -> io::Result<Receiver> {
            let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let flags =
                WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
            add_watch(&inotify, jobs, flags)?;
            Receiver::from_owned_fd_unchecked(inotify)
        };
        let inotify = inotify().inspect_err(|error| {
            tracing::warn!(%error, "no inotify for the folder of Jobs: looking every {BLIND_LOOK_MS} ms instead");
        });
        Self { inotify: inotify.ok() }
    }

    /// Watches these folders as well; those that are watched already stay so, and those that are gone are
    /// forgotten.
    pub(super) fn add(&mut self, folders: impl IntoIterator<Item = PathBuf>) {
        let Some(inotify) = &self.inotify else { return };
        for folder in folders {
            let flags = WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::CLOSE_WRITE;
            match add_watch(inotify, folder, flags) {
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => {
                    tracing::warn!(%error, "inotify has no room: looking every {BLIND_LOOK_MS} ms instead");
                    self.inotify = None;
                    return;
                }
            }
        }
    }

    /// Resolves when it is time to look.
    pub(super) async fn wake(&mut self, are_jobs: bool) {
        let look_ms = match (&self.inotify, are_jobs) {
            (Some(_), true) => LOOK_MS,
            (None, true) => BLIND_LOOK_MS,
            (Some(_) | None, false) => IDLE_LOOK_MS,
        };
        tokio::select! {
            () = self.changed() => sleep(Duration::from_millis(GATHER_MS)).await,
            () = sleep(Duration::from_millis(look_ms)) => {}
        }
    }

    /// Resolves when something was told, and forgets it: the look that follows sees all of it.
    async fn changed(&self) {
        let Some(inotify) = &self.inotify else { return pending().await };
        if inotify.readable().await.is_err() {
            // The runtime is going down.
            return pending().await;
        }
        let mut told = [0; 4096];
        // Ends when nothing is left to read.
        while inotify.try_read(&mut told).is_ok_and(|bytes| bytes > 0) {}
    }
}
