//! The Scalr as a server: one owner of the pure state, and the routes round it.
//!
//! Every change goes one way: a handler makes a command, [`Server::apply`] stamps it, applies it, journals
//! it, and only then is it answered. Who waits for something watches a counter and asks again. It must never
//! hold the state's lock over an await, and never answer what is not in the journal.

#![expect(
    clippy::result_large_err,
    reason = "a refusal is what the protocol says it is, and is made once a request"
)]

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::Router;
use scalr_protocol::{
    error::{ApiError, ErrorCode},
    task::Tool,
};
use tokio::{net::TcpListener, sync::watch, time::sleep_until};

use crate::{
    journal::JournalError,
    state::{Command, Reply, Settings, Stamp, State, Token},
};

mod agent_api;
mod answer;
mod bytes;
mod clock;
mod connection;
mod credentials;
mod faults;
mod inspect;
mod openapi;
mod owner;
mod page;
mod public_api;
mod routes;
mod state_api;
mod task_api;

use self::{bytes::Store, clock::ServingClock, faults::Faults, owner::Owner};
pub use credentials::{Credentials, write_private};
pub use routes::{ROUTES, Route, Takes, Who};

/// A timer that fires without effect is asked again after this, so that it can't spin.
const TIMER_REST: Duration = Duration::from_millis(50);

/// How long a stop waits for requests in flight: longer than any that is not an upload, shorter than what
/// supervisors wait before they kill.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Why a server can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The files.
    #[error("the data folder can't be used: {0}")]
    Store(io::Error),
    /// What the journal holds is not what this version writes.
    #[error("the data folder was written by another version ({0}); use that one, or another --data-dir")]
    Unreadable(serde_json::Error),
    /// The socket.
    #[error("the server stopped listening: {0}")]
    Listen(io::Error),
    /// A token that was asked for can't be had.
    #[error("the token can't be issued: {0}")]
    Token(ApiError),
}

/// A running Scalr, without its socket. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Server {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    owner: Mutex<Owner>,
    clock: ServingClock,
    store: Store,
    tools: Vec<Tool>,
    faults: Faults,
    log_locks: task_api::LogLocks,
    /// Grows with every change.
    version: watch::Sender<u64>,
    /// Grows when somebody who waits for work or messages should look.
    wake: watch::Sender<u64>,
    /// Why nothing can be acknowledged any more; waiting ends then, too.
    ended: watch::Sender<Option<String>>,
}

impl Server {
    /// A server that keeps everything in a temporary folder.
    pub fn temporary(settings: Settings) -> Result<Self, ServerError> {
        Self::open(settings, Vec::new(), None)
    }

    /// A server that keeps everything in a folder, and goes on from what it holds. Of the tools it tells
    /// where their zips are.
    pub fn open(settings: Settings, tools: Vec<Tool>, data_dir: Option<&Path>) -> Result<Self, ServerError> {
        let (owner, now_ms) = Owner::recovered(settings.clone(), data_dir)?;
        let store = Store::open(data_dir).map_err(ServerError::Store)?;
        for (task, bytes) in owner.logs() {
            store.cut_log(&task, bytes).map_err(ServerError::Store)?;
        }
        let server = Self { inner: Arc::new(Inner::new(owner, now_ms, store, tools)) };
        server.owner().begin(settings, &server.stamp())?;
        Ok(server)
    }

    /// Applies a command, and journals it if it changed anything.
    pub fn apply(&self, command: Command) -> Result<Reply, ApiError> {
        let mut owner = self.owner();
        if self.inner.ended.borrow().is_some() {
            return Err(ApiError::new(ErrorCode::Unavailable, "the server is stopping"));
        }
        let reply = owner.apply(&self.stamp(), command).map_err(|e| {
            let why = e.to_string();
            self.inner.ended.send_replace(Some(why.clone()));
            ApiError::new(ErrorCode::Unavailable, why)
        });
        self.inner.wake.send_if_modified(|wake| replaced(wake, owner.state.wake()));
        self.inner.version.send_if_modified(|version| replaced(version, owner.state.version()));
        reply?
    }

    /// Jumps ahead in time, as if the server had served for `ms` with nobody calling.
    pub fn advance(&self, ms: u64) -> Result<(), ApiError> {
        self.inner.clock.skip(ms);
        self.apply(Command::Tick).map(drop)
    }

    /// A tool by name and version, with the place of its zip if it was told.
    fn tool(&self, name: &str, version: &str) -> Tool {
        let known = self.inner.tools.iter().find(|tool| tool.name == name && tool.version == version);
        known.cloned().unwrap_or_else(|| Tool {
            name: name.to_owned(),
            version: version.to_owned(),
            url: None,
            sha256: None,
        })
    }

    /// Reads the state.
    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.owner().state)
    }

    /// Reads the state for a person.
    fn read_as<T>(&self, bearer: &Token, read: impl FnOnce(&State) -> T) -> Result<T, ApiError> {
        let owner = self.owner();
        owner.state.authorise_user(bearer)?;
        Ok(read(&owner.state))
    }

    /// Asks again whenever the counter grows, until there is something or the wait is over. What is asked is
    /// told how long it may still wait.
    async fn wait<T>(
        &self,
        counter: &watch::Sender<u64>,
        wait_ms: u64,
        mut ask: impl FnMut(u64) -> Result<Option<T>, ApiError>,
    ) -> Result<Option<T>, ApiError> {
        let clock = &self.inner.clock;
        let wait_ms = wait_ms.min(self.read(|state| state.settings().timings.wait_ms_max));
        let until_ms = clock.now_ms() + wait_ms;
        let (mut counter, mut ended) = (counter.subscribe(), self.inner.ended.subscribe());
        loop {
            counter.borrow_and_update();
            let ending = ended.borrow_and_update().is_some();
            let left_ms = if ending { 0 } else { until_ms.saturating_sub(clock.now_ms()) };
            let found = ask(left_ms)?;
            if found.is_some() || left_ms == 0 {
                return Ok(found);
            }
            // Whichever came first: the next turn looks again.
            tokio::select! {
                _ = counter.changed() => {}
                _ = ended.changed() => {}
                () = sleep_until(clock.instant_of(until_ms)) => {}
            }
        }
    }

    /// The next number of the wait for work.
    fn wakes(&self) -> &watch::Sender<u64> {
        &self.inner.wake
    }

    /// The next number of any change.
    fn versions(&self) -> &watch::Sender<u64> {
        &self.inner.version
    }

    fn stamp(&self) -> Stamp {
        Stamp { now_ms: self.inner.clock.now_ms(), wall: clock::wall(), entropy: rand::random() }
    }

    /// A panic in the state machine is a defect; what it left is still what is answered for.
    fn owner(&self) -> MutexGuard<'_, Owner> {
        self.inner.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies due timers for as long as the server lives.
    async fn run_timers(&self) {
        let mut versions = self.inner.version.subscribe();
        let mut resting_until = self.inner.clock.instant_of(0);
        loop {
            versions.borrow_and_update();
            let deadline_ms = self.read(State::next_deadline_ms);
            let Some(deadline_ms) = deadline_ms else {
                if versions.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let due = self.inner.clock.instant_of(deadline_ms).max(resting_until);
            tokio::select! {
                changed = versions.changed() => if changed.is_err() { return },
                () = sleep_until(due) => {
                    // A tick refuses nothing; a journal that fails ends the server elsewhere.
                    drop(self.apply(Command::Tick));
                    resting_until = due + TIMER_REST;
                }
            }
        }
    }

    /// Ends every wait, so that a graceful stop need not sit out long polls.
    fn end(&self) {
        self.inner.ended.send_if_modified(|ended| {
            let is_first = ended.is_none();
            if is_first {
                *ended = Some(String::new());
            }
            is_first
        });
    }
}

impl Inner {
    fn new(owner: Owner, now_ms: u64, store: Store, tools: Vec<Tool>) -> Self {
        Self {
            version: watch::Sender::new(owner.state.version()),
            wake: watch::Sender::new(owner.state.wake()),
            ended: watch::Sender::new(None),
            owner: Mutex::new(owner),
            clock: ServingClock::starting_at(now_ms),
            store,
            tools,
            faults: Faults::default(),
            log_locks: task_api::LogLocks::default(),
        }
    }
}

fn replaced(number: &mut u64, new: u64) -> bool {
    let grew = *number != new;
    *number = new;
    grew
}

/// The routes of a server, for a socket or for a test.
pub fn app(server: Server) -> Router {
    routes::router(server)
}

/// Serves until `shutdown` ends, or nothing can be acknowledged any more. Requests in flight are answered;
/// long polls end at once.
pub async fn serve(
    listener: TcpListener,
    server: Server,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServerError> {
    let mut ended = server.inner.ended.subscribe();
    let stop = {
        let server = server.clone();
        async move {
            tokio::select! {
                () = shutdown => server.end(),
                // Only a journal that failed ends it from inside.
                _ = ended.wait_for(Option::is_some) => {}
            }
        }
    };
    let timers = {
        let server = server.clone();
        tokio::spawn(async move { server.run_timers().await })
    };
    let app = app(server.clone()).into_make_service_with_connect_info::<connection::Switch>();
    let serving = axum::serve(connection::Switched(listener), app).with_graceful_shutdown(stop);
    let overdue = {
        let mut ended = server.inner.ended.subscribe();
        async move {
            // It can't fail while this function holds the server.
            drop(ended.wait_for(Option::is_some).await);
            tokio::time::sleep(STOP_WITHIN).await;
        }
    };
    let outcome = tokio::select! {
        done = serving.into_future() => done,
        () = overdue => Ok(()),
    };
    timers.abort();
    outcome.map_err(ServerError::Listen)?;
    match server.inner.ended.borrow().as_deref() {
        None | Some("") => Ok(()),
        Some(why) => Err(ServerError::Listen(io::Error::other(why.to_owned()))),
    }
}

/// Where a listener can be reached from this machine.
pub fn local_url(address: SocketAddr) -> String {
    let host = if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { address.ip().to_string() };
    let host = if address.is_ipv6() && !address.ip().is_unspecified() { format!("[{host}]") } else { host };
    format!("http://{host}:{}", address.port())
}
