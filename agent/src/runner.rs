//! The other end of the socket: runs commands in the user's image, for one worker.
//!
//! It never holds a credential but those of the run that the worker puts into a command's environment, never
//! passes its own environment on, never leaves a process behind, and asks nothing of the image: no user
//! database, no `/tmp`, no shell.
//!
//! [`frame`] is what is said, `socket` where; a `session` is one worker's visit, with at most one `process`
//! at a time, its `descendants` below it, an `outbox` that slows it when the worker is slow, and a [`relay`]
//! between it and its state.

mod descendants;
pub mod frame;
mod outbox;
mod process;
pub mod relay;
mod session;
pub(crate) mod socket;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use frame::{Hello, VERSION};
use session::{Farewell, Session};

/// How long a tool that lost its worker may take to stop after its one interrupt: as long as a canceled one.
pub const ORPHAN_WAIT_MS: u64 = 10 * 60 * 1000;
/// How long the runner waits for its worker. The worker's image is on the node when the runner comes up,
/// since the init container has it too: who has not come by now has ended or can't be made. Three times what
/// a launch may take by default, after which the controller clears it away.
pub const CONNECT_WAIT_MS: u64 = 10 * 60 * 1000;

/// What a runner has to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; any length.
    pub socket: PathBuf,
    /// How long it waits for the worker, in ms; see [`CONNECT_WAIT_MS`].
    pub connect_wait_ms: u64,
    /// How long a tool may go on after its worker was lost, in ms; see [`ORPHAN_WAIT_MS`].
    pub orphan_wait_ms: u64,
    /// How long it has between SIGTERM and SIGKILL, in ms, where that is known. Only told to the worker.
    pub grace_ms: Option<u64>,
    /// `PATH` of the image; told to the worker, since commands get only what it gives them.
    pub path: String,
    /// `HOME` of the image; likewise.
    pub home: String,
}

/// Serves one worker to its end: listens, takes one connection, removes the socket, runs what it is told.
///
/// Exits 0 when the worker said goodbye, or was lost or never came before a stop, with nothing running; 1
/// when it was lost in mid-command, or what it said made no sense.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    descendants::adopt().context("failed to become the parent of orphans")?;
    // Before the first command: a child that ends unseen would be waited for in vain. As process 1 we would
    // not be stopped by any signal without a handler.
    let children = signal(SignalKind::child()).context("failed to watch for ended processes")?;
    let mut stops = Stops::watch().context("failed to watch for SIGTERM")?;
    let Some(stream) = accept(&options, &mut stops).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    let hello = Hello {
        version: VERSION,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        path: options.path,
        home: options.home,
    };
    let session = Session::new(stream, children, stops, options.orphan_wait_ms, options.grace_ms);
    match session.serve(hello).await {
        Farewell::Idle => Ok(ExitCode::SUCCESS),
        Farewell::InMidCommand => {
            tracing::error!("the worker was lost in mid-command; the command has been brought to an end");
            Ok(ExitCode::FAILURE)
        }
        Farewell::Nonsense(error) => bail!("failed to read what the worker said: {error}"),
    }
}

/// Waits for the one connection; none when the runner is stopped before.
async fn accept(options: &Options, stops: &mut Stops) -> anyhow::Result<Option<UnixStream>> {
    let socket = &options.socket;
    let listener = socket::listen(socket)
        .with_context(|| format!("failed to listen on `{}` (is its folder there?)", socket.display()))?;
    let accepted = tokio::select! {
        accepted = of_worker(&listener) => Some(accepted),
        () = stops.next() => None,
        () = sleep(Duration::from_millis(options.connect_wait_ms)) => {
            bail!("no worker connected to `{}` in {} ms", socket.display(), options.connect_wait_ms)
        }
    };
    // Nobody else gets in: no path leads to the socket, and those who queued before are refused.
    match std::fs::remove_file(socket) {
        // Somebody was faster, who may write to its folder.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => other.with_context(|| format!("failed to remove `{}`", socket.display()))?,
    }
    drop(listener);
    match accepted {
        Some(connection) => Ok(Some(connection.context("failed to take the worker's connection")?)),
        None => Ok(None),
    }
}

/// The first connection that is no stranger's.
async fn of_worker(listener: &UnixListener) -> io::Result<UnixStream> {
    let mut was_said = false;
    loop {
        let (stream, _address) = listener.accept().await?;
        if socket::may_be_worker(&stream) {
            return Ok(stream);
        }
        if !was_said {
            tracing::warn!("a process that is not this Job's worker connects to its socket: it is refused");
        }
        was_said = true;
    }
}

/// The signals by which a process is asked to stop. All mean the same: tell the worker.
#[derive(Debug)]
struct Stops {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Stops {
    fn watch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next one. May be dropped and asked again.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
