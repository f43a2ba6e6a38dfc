//! Jobs as folders and processes of this machine, for laptops and tests.
//!
//! A Job is a folder that appears by one rename, so that making it is idempotent over controllers and
//! restarts. A keeper process of ours starts its worker and runner, reaps them and writes how they ended;
//! locks prove who lives. Workers outlive the controller.
//!
//! It claims no isolation: user code runs as the user whom the agent runs as, sees his files and could signal
//! his processes. And it never reports an end without proof: an exit that the keeper wrote after all of it
//! was gone, or locks that nobody holds any more.

mod eyes;
mod folder;
mod history;
pub mod keeper;
mod lock;
mod options;
mod place;
mod podinfo;
mod process;
mod sweep;
mod watch;

use std::{
    collections::BTreeMap,
    fs, io,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use scalr_core::{
    clock::Clock as _,
    cluster::{Cluster, ClusterError, Consistency, Job, JobName, JobSpec, Kind, Listing, Uid, Version},
};
use tokio::{
    process::{Child, Command},
    sync::watch as channel,
    task::JoinHandle,
};

use self::{
    eyes::Eyes,
    folder::{Folder, Part, Seen, Stored},
    history::{History, Next},
    place::Place,
    sweep::{Sweep, signal_parts},
    watch::State,
};
pub use self::{options::LocalOptions, watch::LocalWatch};
use crate::clock::BootClock;

/// How long a Job's name may be: that of a Kubernetes Job.
const NAME_BYTES_MAX: usize = 63;

/// Jobs as folders and processes of this machine. Clones are the same cluster; the last one that is dropped
/// ends its watches, and no Job.
#[derive(Clone, Debug)]
pub struct LocalCluster {
    shared: Arc<Shared>,
    state: Arc<channel::Sender<State>>,
    _eyes: Arc<Ending>,
}

/// What the cluster, its watches and its eyes share.
#[derive(Debug)]
struct Shared {
    options: LocalOptions,
    place: Place,
    /// Held from a look at the folder until it is history, so that looks enter it in their order.
    looking: Mutex<()>,
    history: Mutex<History>,
}

/// A task that ends when this is dropped.
#[derive(Debug)]
struct Ending(JoinHandle<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl LocalCluster {
    /// Takes the data folder, making what is missing of it, and begins to sweep it. Wants a tokio runtime.
    ///
    /// # Errors
    /// What is wrong with the folder: it can't be made or written to, holds what is not ours, or its path
    /// is not UTF-8.
    pub fn open(options: LocalOptions) -> io::Result<Self> {
        if options.data_dir.to_str().is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "its path is not UTF-8: choose another"));
        }
        let place = Place::open(&options.data_dir)?;
        let node = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let node = if node.trim().is_empty() { "local" } else { node.trim() };
        let mut eyes = Eyes::open(place.jobs());
        let history = Mutex::new(History::new(node.into()));
        let shared = Arc::new(Shared { options, place, looking: Mutex::new(()), history });
        let state = Arc::new(channel::Sender::new(State::Changed(0)));
        let task = tokio::spawn({
            let (shared, state) = (Arc::clone(&shared), Arc::clone(&state));
            async move {
                let mut sweep = Sweep::default();
                loop {
                    let are_jobs;
                    (sweep, eyes, are_jobs) = tend(&shared, &state, sweep, eyes).await;
                    eyes.wake(are_jobs).await;
                }
            }
        });
        Ok(Self { shared, state, _eyes: Arc::new(Ending(task)) })
    }

    /// Runs a call that waits for files where nobody waits for it.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Shared, &channel::Sender<State>) -> Result<T, ClusterError> + Send + 'static,
    ) -> Result<T, ClusterError> {
        let (shared, state) = (Arc::clone(&self.shared), Arc::clone(&self.state));
        tokio::task::spawn_blocking(move || call(&shared, &state))
            .await
            .unwrap_or_else(|error| Err(ClusterError::Unreachable { detail: error.to_string() }))
    }
}

/// Looks and sweeps once. What it was given comes back, with whether there are Jobs.
async fn tend(
    shared: &Arc<Shared>,
    state: &Arc<channel::Sender<State>>,
    mut sweep: Sweep,
    mut eyes: Eyes,
) -> (Sweep, Eyes, bool) {
    let (shared, state) = (Arc::clone(shared), Arc::clone(state));
    let tended = tokio::task::spawn_blocking(move || {
        // Before the look, so that nothing comes between.
        let names = shared.place.job_names().unwrap_or_default();
        eyes.add(names.iter().map(|name| shared.place.job(name).path().to_owned()));
        let look = shared.look(&state).unwrap_or_default();
        let bounds = shared.options.bounds();
        sweep.sweep(&shared.place, &bounds, &look, BootClock.now());
        (sweep, eyes, !look.is_empty())
    });
    match tended.await {
        Ok(tended) => tended,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is going down.
        Err(_) => std::future::pending().await,
    }
}

impl Shared {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at all Jobs, enters what changed into the history, and tells the watches.
    fn look(&self, state: &channel::Sender<State>) -> Result<BTreeMap<JobName, Seen>, ClusterError> {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let look = self.read();
        let is_changed = match &look {
            Ok(look) => self.history().take(look),
            Err(_) => false,
        };
        state.send_if_modified(|state| match (&look, &state) {
            (Ok(_), State::Changed(n)) if is_changed => {
                *state = State::Changed(n + 1);
                true
            }
            (Ok(_), State::Broken(_)) => {
                *state = State::Changed(0);
                true
            }
            (Err(error), State::Changed(_)) => {
                tracing::warn!(%error, "the folder of Jobs can't be read");
                *state = State::Broken(error.to_string());
                true
            }
            (Ok(_), State::Changed(_)) | (Err(_), State::Broken(_)) => false,
        });
        look
    }

    fn read(&self) -> Result<BTreeMap<JobName, Seen>, ClusterError> {
        let place = &self.place;
        let names = place.job_names().map_err(|error| unreadable(place.jobs(), &error))?;
        let mut look = BTreeMap::new();
        for name in names {
            let folder = place.job(&name);
            match folder.look() {
                Ok(Some(seen)) => {
                    look.insert(name, seen);
                }
                Ok(None) => {}
                // Nothing of it runs, and the sweep removes it.
                Err(_) if folder.is_wreck() => {}
                Err(error) => return Err(unreadable(folder.path(), &error)),
            }
        }
        Ok(look)
    }

    /// Makes a Job, or finds it. The keeper that was started comes with it.
    fn create(&self, spec: &JobSpec) -> Result<Option<Child>, ClusterError> {
        let failed = |error: io::Error| failure(&self.place, &error);
        check_name(&spec.name)?;
        let names = self.place.names().map_err(failed)?;
        let folder = self.place.job(&spec.name);
        if let Some(seen) = folder.look().map_err(failed)? {
            return found(spec, &seen).map(|()| None);
        }
        let uid: Uid = format!("{:032x}", rand::random::<u128>()).as_str().into();
        let coming = self.place.coming(&spec.name, &uid);
        let stored = Stored { uid: uid.clone(), spec: spec.clone() };
        let orders = self.options.orders(&self.place, &folder, spec);
        let made = coming.make(&stored, &orders).and_then(|lock| {
            fs::rename(coming.path(), folder.path())?;
            Ok(lock)
        });
        let lock = made.map_err(|error| {
            // What is left is rubbish, and swept as such.
            place::remove_tree(coming.path()).ok();
            failed(error)
        })?;
        let started = self.start_keeper(&folder, lock);
        drop(names);
        started.map(Some).map_err(|error| {
            if let Err(error) = self.place.remove_job(&spec.name, &uid) {
                tracing::warn!(%error, job = %spec.name, "failed to remove a Job that could not be started");
            }
            let program = self.options.keeper_command.first().map(|program| program.display().to_string());
            let detail = format!("the keeper `{}` can't be started: {error}", program.unwrap_or_default());
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) {
                ClusterError::Refused { detail }
            } else {
                ClusterError::Unreachable { detail }
            }
        })
    }

    /// Starts a keeper that has the lock from its first moment on: there is no time in which the Job seems
    /// dead.
    fn start_keeper(&self, folder: &Folder, lock: fs::File) -> io::Result<Child> {
        let [program, arguments @ ..] = &self.options.keeper_command[..] else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let log = folder.open_log(Part::Keeper)?;
        let environment = self.options.worker_environment.iter().map(|(name, value)| (name, value.expose()));
        Command::new(program)
            .args(arguments)
            .arg("--job")
            .arg(folder.path())
            .current_dir(folder.path())
            .env_clear()
            .envs(environment)
            .stdin(lock)
            .stdout(log.try_clone()?)
            .stderr(Stdio::from(log))
            .spawn()
    }

    fn delete(&self, name: &JobName, uid: &Uid) -> io::Result<()> {
        if check_name(name).is_err() {
            return Ok(());
        }
        let folder = self.place.job(name);
        let is_there = || Ok::<_, io::Error>(folder.look()?.filter(|seen| seen.stored.uid == *uid));
        if is_there()?.is_none() {
            return Ok(());
        }
        match folder.mark_deleting(uid) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            marked => marked?,
        }
        // After the mark: a keeper that ends now has either seen it, or has left an end to be seen here.
        match is_there()? {
            Some(seen) if seen.is_settled => self.place.remove_job(name, uid),
            Some(seen) if seen.is_kept => signal_parts(&self.place, &folder, uid, &[Part::Keeper]),
            // Without a keeper it is the sweep's.
            Some(_) | None => Ok(()),
        }
    }
}

impl Cluster for LocalCluster {
    type Watch = LocalWatch;

    async fn list(&self, kind: Kind, _consistency: Consistency) -> Result<Listing, ClusterError> {
        // Every list looks at the folder.
        self.call(move |shared, state| {
            shared.look(state)?;
            Ok(shared.history().listing(kind))
        })
        .await
    }

    async fn watch(&self, kind: Kind, after: Version) -> Result<LocalWatch, ClusterError> {
        if self.shared.history().after(kind, after.0) == Next::Forgotten {
            return Err(ClusterError::Gone);
        }
        Ok(LocalWatch::new(Arc::clone(&self.shared), self.state.subscribe(), kind, after))
    }

    async fn create(&self, job: &JobSpec) -> Result<Job, ClusterError> {
        let spec = job.clone();
        let (job, keeper) = self
            .call(move |shared, state| {
                let keeper = shared.create(&spec)?;
                shared.look(state)?;
                let job = shared.history().job(&spec.name);
                let detail = "the Job was made and is gone already".to_owned();
                Ok((job.ok_or(ClusterError::Unreachable { detail })?, keeper))
            })
            .await?;
        if let Some(mut keeper) = keeper {
            // Only to be reaped: what it did is in the folder.
            tokio::spawn(async move { keeper.wait().await });
        }
        Ok(job)
    }

    async fn delete(&self, name: &JobName, uid: &Uid) -> Result<(), ClusterError> {
        let (name, uid) = (name.clone(), uid.clone());
        self.call(move |shared, state| {
            shared.delete(&name, &uid).map_err(|error| failure(&shared.place, &error))?;
            shared.look(state)?;
            Ok(())
        })
        .await
    }
}

/// Whether the Job that is there is the one that is asked for.
fn found(spec: &JobSpec, seen: &Seen) -> Result<(), ClusterError> {
    if (&seen.stored.spec.task, seen.stored.spec.fence) != (&spec.task, spec.fence) {
        Err(ClusterError::NameTaken)
    } else if seen.is_deleting || seen.end.is_some() {
        Err(ClusterError::Over)
    } else {
        Ok(())
    }
}

/// A name becomes a folder's.
fn check_name(name: &JobName) -> Result<(), ClusterError> {
    let text = name.as_str();
    let fits = (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits {
        return Ok(());
    }
    let shown: String = text.chars().take(NAME_BYTES_MAX).collect();
    let detail =
        format!("`{shown}` is no name of a Job: 1 to {NAME_BYTES_MAX} lower-case letters, digits or `-`");
    Err(ClusterError::Refused { detail })
}

fn unreadable(path: &std::path::Path, error: &io::Error) -> ClusterError {
    ClusterError::Unreachable { detail: format!("`{}` can't be read: {error}", path.display()) }
}

/// What a failure of the folder means for the caller.
fn failure(place: &Place, error: &io::Error) -> ClusterError {
    let detail = format!("`{}`: {error}", place.jobs().display());
    let kind = error.kind();
    if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        ClusterError::QuotaExceeded { detail }
    } else if matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) {
        ClusterError::Refused { detail }
    } else {
        ClusterError::Unreachable { detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_waited_for_and_a_locked_one_refuses() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place::open(folder.path()).expect("a place");
        let errnos = [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT, rustix::io::Errno::ROFS];
        let errnos = errnos.into_iter().chain([rustix::io::Errno::ACCESS, rustix::io::Errno::IO]);
        let said: Vec<_> = errnos.map(|errno| failure(&place, &errno.into()).to_string()).collect();
        let data = folder.path().canonicalize().expect("its path").display().to_string();
        expect_test::expect![[r"
            a quota leaves no room: `DATA/jobs`: No space left on device (os error 28)
            a quota leaves no room: `DATA/jobs`: Disk quota exceeded (os error 122)
            refused: `DATA/jobs`: Read-only file system (os error 30)
            refused: `DATA/jobs`: Permission denied (os error 13)
            no answer: `DATA/jobs`: Input/output error (os error 5)"]]
        .assert_eq(&said.join("\n").replace(&data, "DATA"));
    }
}
