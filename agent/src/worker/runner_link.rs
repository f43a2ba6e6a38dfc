//! The worker's end of the runner's socket.
//!
//! User code may have taken the runner over, so nothing it says is believed beyond its own run: frames are
//! bounded, ids must be those of the running command, each thing is said as often as it may be and no more;
//! the first word out of order ends the link. Never reads ahead: what nobody asks for stays in the socket,
//! which is what slows a tool whose console can't be delivered.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{sleep, timeout};

pub use crate::runner::frame::{CommandKind, Ended, Exited, Hello, Signal, StateOrder};

use crate::runner::frame::{Decoder, Exec, Failed, FrameError, Message, ToRunner, ToWorker, VERSION};
use crate::runner::socket;

/// Time between two looks for the socket. The runner starts in tens of milliseconds.
const LOOK_AGAIN_MS: u64 = 20;
/// How long a connected runner may take to say hello: it does so before anything else.
const HELLO_WAIT_MS: u64 = 10_000;
/// How long the runner may take to read a message: its loop never waits for anything else.
const WRITE_WAIT_MS: u64 = 10_000;
/// Longest message of the runner that is passed on, in characters. It may be shown to users.
const MESSAGE_CHARS_MAX: usize = 1_000;
/// No command runs.
const NONE: u64 = 0;

/// Why there is no link to the runner, or no more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nobody listened on the socket in time.
    #[error("no runner on its socket after {waited_ms} ms: {source}")]
    NoRunner {
        /// How long was waited.
        waited_ms: u64,
        /// What the last try said.
        source: io::Error,
    },
    /// The runner is gone, or has said something it may not say.
    #[error("the runner is gone: {0}")]
    Gone(Gone),
    /// A command is running; there is one at a time.
    #[error("a command is running already")]
    Busy,
    /// The command can't be told to the runner: arguments and environment are over the bound.
    #[error("the command does not fit: {0}")]
    DoesNotFit(FrameError),
}

/// Why the runner is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// It closed the connection: it ended, or was killed.
    #[error("it closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// It did not say hello, or did not read, in time.
    #[error("no answer in {0} ms")]
    Silent(u64),
    /// It said something that it may not say: it is not to be believed any more.
    #[error("it broke the protocol: {0}")]
    Nonsense(String),
}

/// A command to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments; a program without a slash is looked for in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment: the command gets exactly this.
    pub env: BTreeMap<String, String>,
    /// The folder it starts in, absolute, as the runner sees it.
    pub cwd: String,
    /// How it may be stopped.
    pub kind: CommandKind,
    /// The state that it works with, to be reached through a relay; none where its output is for a program.
    pub state: Option<StateOrder>,
}

/// Something the runner said. The ids are those that [`RunnerLink::exec`] gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunnerEvent {
    /// Output and errors of the running command, in order; 1 byte to 64 KiB.
    Output {
        /// The command.
        id: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The command has ended, all its output was given before, and nothing of it is left running.
    Exited(Exited),
    /// The command did not start.
    Failed {
        /// The command.
        id: u64,
        /// 127 not found, 126 not executable, 1 anything else.
        code: i32,
        /// Why, in one line.
        message: String,
    },
    /// The runner got a SIGTERM; it does nothing about it itself. At most once.
    Stopping {
        /// How long it has before it is killed, where it knows.
        grace_ms: Option<u64>,
    },
    /// The runner is gone. Nothing but this comes after it.
    Gone(Gone),
}

/// Tells the runner what to do.
#[derive(Debug)]
pub struct RunnerLink {
    writer: OwnedWriteHalf,
    hello: Hello,
    last_id: u64,
    /// The command that runs, as the two halves of the link see it.
    running: Arc<AtomicU64>,
}

/// What the runner says, as it is asked for.
#[derive(Debug)]
pub struct RunnerEvents {
    reader: OwnedReadHalf,
    decoder: Decoder,
    running: Arc<AtomicU64>,
    stopping_said: bool,
    gone: Option<Gone>,
}

impl RunnerLink {
    /// Connects to the runner, waiting up to `wait_ms` for its socket, and hears its hello.
    pub async fn connect(path: &Path, wait_ms: u64) -> Result<(Self, RunnerEvents), LinkError> {
        let stream = reach(path, wait_ms).await?;
        let (reader, writer) = stream.into_split();
        let running = Arc::new(AtomicU64::new(NONE));
        let mut events = RunnerEvents {
            reader,
            decoder: Decoder::default(),
            running: Arc::clone(&running),
            stopping_said: false,
            gone: None,
        };
        let hello = match timeout(Duration::from_millis(HELLO_WAIT_MS), events.receive()).await {
            Ok(Ok(ToWorker::Hello(hello))) if hello.version == VERSION => hello,
            Ok(Ok(ToWorker::Hello(hello))) => {
                let message = format!("frames of version {}, expected {VERSION}", hello.version);
                return Err(LinkError::Gone(Gone::Nonsense(message)));
            }
            Ok(Ok(_other)) => return Err(LinkError::Gone(Gone::Nonsense("no hello".to_owned()))),
            Ok(Err(gone)) => return Err(LinkError::Gone(gone)),
            Err(_elapsed) => return Err(LinkError::Gone(Gone::Silent(HELLO_WAIT_MS))),
        };
        Ok((Self { writer, hello, last_id: NONE, running }, events))
    }

    /// What the runner said of itself. Its paths come from the user's image: they are good for the
    /// environment of commands in that image and for nothing else.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Starts a command and gives its id. How it ends comes as an event, [`RunnerEvent::Exited`] or
    /// [`RunnerEvent::Failed`]; another one can start once that was taken.
    pub async fn exec(&mut self, command: Command) -> Result<u64, LinkError> {
        let id = self.last_id + 1;
        let Command { argv, env, cwd, kind, state } = command;
        let exec = ToRunner::Exec(Exec { id, argv, env, cwd, kind, state });
        let frame = exec.frame().map_err(LinkError::DoesNotFit)?;
        // Before it is sent, since the answer may be read at once.
        self.running
            .compare_exchange(NONE, id, Ordering::AcqRel, Ordering::Acquire)
            .map_err(|_running| LinkError::Busy)?;
        self.last_id = id;
        self.write(&frame).await?;
        Ok(id)
    }

    /// Signals the command as its kind has it. A tool is interrupted once, whatever is asked, and never gets
    /// a SIGTERM; a command that has ended gets nothing. From here on its output no longer waits for the
    /// worker.
    pub async fn signal(&mut self, id: u64, signal: Signal) -> Result<(), LinkError> {
        self.tell(ToRunner::Signal { id, signal }).await
    }

    /// From now on the command is never slowed: output that is not taken in time is thrown away, and counted
    /// in [`Exited::dropped_bytes`].
    pub async fn drain(&mut self, id: u64) -> Result<(), LinkError> {
        self.tell(ToRunner::Drain { id }).await
    }

    /// Ends the visit: the runner exits. A command that still runs is ended as if the worker were lost.
    pub async fn bye(mut self) -> Result<(), LinkError> {
        self.tell(ToRunner::Bye).await
    }

    async fn tell(&mut self, message: ToRunner) -> Result<(), LinkError> {
        let frame = message.frame().map_err(LinkError::DoesNotFit)?;
        self.write(&frame).await
    }

    async fn write(&mut self, frame: &[u8]) -> Result<(), LinkError> {
        match timeout(Duration::from_millis(WRITE_WAIT_MS), self.writer.write_all(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(LinkError::Gone(Gone::Broken(error.to_string()))),
            Err(_elapsed) => Err(LinkError::Gone(Gone::Silent(WRITE_WAIT_MS))),
        }
    }
}

impl RunnerEvents {
    /// The next thing the runner says. May be dropped and asked again without loss. After
    /// [`RunnerEvent::Gone`] it says so again and again.
    pub async fn next(&mut self) -> RunnerEvent {
        if let Some(gone) = &self.gone {
            return RunnerEvent::Gone(gone.clone());
        }
        let event = self.receive().await.and_then(|message| self.check(message));
        event.unwrap_or_else(|gone| {
            self.gone = Some(gone.clone());
            RunnerEvent::Gone(gone)
        })
    }

    async fn receive(&mut self) -> Result<ToWorker, Gone> {
        loop {
            match self.decoder.take() {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(error) => return Err(Gone::Nonsense(error.to_string())),
            }
            match self.reader.read_buf(self.decoder.room()).await {
                Ok(0) => return Err(Gone::Closed),
                Ok(_read) => {}
                Err(error) => return Err(Gone::Broken(error.to_string())),
            }
        }
    }

    /// Whether the runner may say this now.
    fn check(&mut self, message: ToWorker) -> Result<RunnerEvent, Gone> {
        match message {
            ToWorker::Hello(_) => Err(Gone::Nonsense("a second hello".to_owned())),
            ToWorker::Output { id, bytes } if id == self.running.load(Ordering::Acquire) => {
                Ok(RunnerEvent::Output { id, bytes })
            }
            ToWorker::Output { id, .. } => Err(not_running(id)),
            ToWorker::Exited(exited) => {
                self.end(exited.id)?;
                Ok(RunnerEvent::Exited(exited))
            }
            ToWorker::Error(Failed { id, code, message }) => {
                self.end(id)?;
                Ok(RunnerEvent::Failed { id, code, message: one_line(&message) })
            }
            ToWorker::Stopping { .. } if self.stopping_said => {
                Err(Gone::Nonsense("a second stop".to_owned()))
            }
            ToWorker::Stopping { grace_ms } => {
                self.stopping_said = true;
                Ok(RunnerEvent::Stopping { grace_ms })
            }
        }
    }

    fn end(&self, id: u64) -> Result<(), Gone> {
        if id == NONE {
            return Err(not_running(id));
        }
        let ended = self.running.compare_exchange(id, NONE, Ordering::AcqRel, Ordering::Acquire);
        ended.map(|_id| ()).map_err(|_running| not_running(id))
    }
}

fn not_running(id: u64) -> Gone {
    Gone::Nonsense(format!("command {id} is not running"))
}

/// What may be shown of a message: one line without control characters, bounded.
fn one_line(message: &str) -> String {
    let shown = message.chars().take(MESSAGE_CHARS_MAX);
    shown.map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// Connects once somebody listens there.
async fn reach(path: &Path, wait_ms: u64) -> Result<UnixStream, LinkError> {
    let mut waited_ms = 0;
    loop {
        match socket::connect(path).await {
            Ok(stream) => return Ok(stream),
            // Not there yet, not listening yet, its mode not set yet; or strangers queue for it.
            Err(error)
                if waited_ms < wait_ms
                    && matches!(
                        error.kind(),
                        io::ErrorKind::NotFound
                            | io::ErrorKind::ConnectionRefused
                            | io::ErrorKind::PermissionDenied
                            | io::ErrorKind::WouldBlock
                    ) =>
            {
                sleep(Duration::from_millis(LOOK_AGAIN_MS)).await;
                waited_ms += LOOK_AGAIN_MS;
            }
            Err(source) => return Err(LinkError::NoRunner { waited_ms, source }),
        }
    }
}

#[cfg(test)]
mod tests;
