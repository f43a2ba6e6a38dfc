//! The data folder: `jobs/<job>` and `runs/<run>`, and the one lock under which names in them appear and
//! vanish.
//!
//! A name appears by a rename of something whole and vanishes by a rename to something nobody reads, so
//! whoever is killed on the way leaves rubbish at worst. It never removes what it did not make: both folders
//! carry a mark of ours.

use std::{
    collections::BTreeSet,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use scalr_core::cluster::{JobName, Uid};
use scalr_protocol::id::RunId;

use super::{
    folder::{Folder, Seen, private_folder},
    lock,
};
use crate::worker::beneath;

/// Marks a folder as ours; that of `jobs` is the lock.
const MARK: &str = ".scalr-agent";
/// The begin of a name that is about to appear.
const COMING: &str = ".new-";
/// The begin of a name that has vanished.
const GOING: &str = ".gone-";
/// How often the lock is tried again, and how long one tries: it is held for a few renames, so whoever holds
/// it for 5 s is stopped or stuck, and the caller had better say so.
const LOCK_RETRY_MS: u64 = 5;
const LOCK_TRIES_MAX: u32 = 1_000;

/// The data folder, by its path without links.
#[derive(Clone, Debug)]
pub(super) struct Place {
    jobs: PathBuf,
    runs: PathBuf,
}

/// The lock under which names appear and vanish. While it is held a Job is either there or not yet started.
#[derive(Debug)]
pub(super) struct Names {
    _lock: File,
}

impl Place {
    /// Makes what is missing of the data folder.
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(data_dir)?;
        let root = data_dir.canonicalize()?;
        let place = Self { jobs: root.join("jobs"), runs: root.join("runs") };
        claim(&place.jobs)?;
        claim(&place.runs)?;
        Ok(place)
    }

    /// The data folder that the folder of a Job lies in.
    pub(super) fn of_job(job: &Path) -> io::Result<Self> {
        let jobs = job.parent().ok_or(io::ErrorKind::NotFound)?;
        let root = jobs.parent().ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { jobs: jobs.to_owned(), runs: root.join("runs") })
    }

    pub(super) fn jobs(&self) -> &Path {
        &self.jobs
    }

    pub(super) fn job(&self, name: &JobName) -> Folder {
        Folder::at(self.jobs.join(name.as_str()))
    }

    pub(super) fn run(&self, run: &RunId) -> PathBuf {
        self.runs.join(run.as_str())
    }

    /// Where a Job is made before it appears.
    pub(super) fn coming(&self, name: &JobName, uid: &Uid) -> Folder {
        Folder::at(self.jobs.join(format!("{COMING}{name}-{uid}")))
    }

    /// Takes the lock. Blocks for a moment, or fails.
    pub(super) fn names(&self) -> io::Result<Names> {
        let path = self.jobs.join(MARK);
        let file = File::open(&path)?;
        for _ in 0..LOCK_TRIES_MAX {
            match lock::hold_open(&file) {
                Ok(()) => return Ok(Names { _lock: file }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(LOCK_RETRY_MS));
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("another process holds the lock of `{}`", path.display()),
        ))
    }

    /// The names of the Jobs that are there.
    pub(super) fn job_names(&self) -> io::Result<Vec<JobName>> {
        Ok(names_in(&self.jobs)?
            .iter()
            .filter(|name| !name.starts_with('.'))
            .map(|name| name.as_str().into())
            .collect())
    }

    /// Lets the Job of this UID vanish, if it is there, and removes what it left.
    pub(super) fn remove_job(&self, name: &JobName, uid: &Uid) -> io::Result<()> {
        let gone = self.jobs.join(format!("{GOING}{name}-{uid}"));
        let names = self.names()?;
        let folder = self.job(name);
        if folder.stored()?.is_none_or(|stored| stored.uid != *uid) {
            return Ok(());
        }
        fs::rename(folder.path(), &gone)?;
        drop(names);
        remove_tree(&gone)
    }

    /// Lets the folder of every run vanish that no live Job is for, and says what is left to remove. `ending`
    /// counts as ended: its keeper asks, and has seen that nothing of it runs.
    pub(super) fn vacate_runs(&self, ending: Option<&Uid>) -> io::Result<Vec<PathBuf>> {
        let is_mark = |run: &String| run == MARK;
        if names_in(&self.runs)?.iter().all(is_mark) {
            return Ok(Vec::new());
        }
        let names = self.names()?;
        let runs = names_in(&self.runs)?;
        let mut live = BTreeSet::new();
        if runs.iter().any(|run| !run.starts_with('.')) {
            for job in self.job_names()? {
                // One that can't be read may be for any of them.
                let Some(Seen { stored, end: None, .. }) = self.job(&job).look()? else { continue };
                if Some(&stored.uid) != ending {
                    live.insert(stored.spec.run.as_str().to_owned());
                }
            }
        }
        let mut gone = Vec::new();
        for run in runs {
            if run.starts_with(GOING) {
                gone.push(self.runs.join(run));
            } else if !run.starts_with('.') && !live.contains(&run) {
                // Two that go one after the other must not get in each other's way.
                let path = self.runs.join(format!("{GOING}{:016x}-{run}", rand::random::<u64>()));
                fs::rename(self.runs.join(run), &path)?;
                gone.push(path);
            }
        }
        // The run's next worker makes it anew: it is out of the way before another Job of the run can appear.
        drop(names);
        Ok(gone)
    }

    /// Removes what killed processes left half made or half removed, and what a machine that lost its power
    /// left of Jobs.
    pub(super) fn remove_rubbish(&self) -> io::Result<()> {
        let is_rubbish = |name: &String| {
            name.starts_with(COMING)
                || name.starts_with(GOING)
                || (!name.starts_with('.') && Folder::at(self.jobs.join(name)).is_wreck())
        };
        if !names_in(&self.jobs)?.iter().any(is_rubbish) {
            return Ok(());
        }
        // Whoever makes one holds the lock, so those that are seen now are nobody's.
        let names = self.names()?;
        let mut gone = Vec::new();
        for name in names_in(&self.jobs)?.into_iter().filter(is_rubbish) {
            let mut path = self.jobs.join(&name);
            if !name.starts_with('.') {
                tracing::warn!(job = name, "its folder can't be read and nothing of it runs: it is removed");
                path = self.jobs.join(format!("{GOING}{name}"));
                fs::rename(self.jobs.join(&name), &path)?;
            }
            gone.push(path);
        }
        drop(names);
        remove_trees(&gone)
    }
}

/// Makes a folder ours, if it is not yet; it must not be anybody else's.
fn claim(path: &Path) -> io::Result<()> {
    match private_folder(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let mark = path.join(MARK);
    if mark.try_exists()? {
        return Ok(());
    }
    if !names_in(path)?.iter().all(|name| name == MARK) {
        let detail =
            format!("`{}` holds files that are not the agent's: choose another data folder", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, detail));
    }
    File::options().create(true).append(true).open(mark).map(drop)
}

fn names_in(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        // Whatever has another kind of name is not ours.
        names.extend(entry?.file_name().into_string().ok());
    }
    Ok(names)
}

/// Removes all of them: one that can't be removed does not keep the others. The first error comes at the end.
pub(super) fn remove_trees(paths: &[PathBuf]) -> io::Result<()> {
    let mut result = Ok(());
    for path in paths {
        result = result.and(remove_tree(path));
    }
    result
}

/// Removes a folder with all in it, whatever user code has made of it: locked against itself, or deeper than
/// there are descriptors. A link in its place is removed itself.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_dir() => return fs::remove_file(path),
        Ok(_folder) => {}
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let empty = || beneath::Folder::open(path)?.remove_all(usize::MAX);
    let opened = fs::set_permissions(path, Permissions::from_mode(0o700));
    let removed = opened.and_then(|()| empty().map_err(io::Error::other)).and_then(|()| fs::remove_dir(path));
    match removed {
        // Two at once get in each other's way: whoever finds nothing any more has what he wanted.
        Err(_) if !path.try_exists()? => Ok(()),
        other => other,
    }
}
