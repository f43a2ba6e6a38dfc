//! The words on the socket between worker and runner, and their bounds: a kind, a length, a payload.
//!
//! Both ends live here, so that they can't drift apart; one binary is both ends. The bytes of either end are
//! hostile to the other: a frame over its bound, of an unknown kind or with a payload that is not its kind's
//! is an error, and nothing is allocated on the word of a length.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of these frames. Both ends come from one binary; it only guards against a mixed installation.
pub const VERSION: u32 = 1;
/// Kind and length, before each payload.
pub const HEADER_BYTES: usize = 5;
/// The id of the command, before the bytes of an `Output`.
const OUTPUT_ID_BYTES: usize = 8;
/// Most bytes of output in one frame: what a pipe holds, so that one read empties it.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// The largest message to the runner. Linux takes 2 MiB of arguments and environment (a quarter of an 8 MiB
/// stack); JSON may double that.
pub const TO_RUNNER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest message from the runner that is not output: a `PATH` fits with room.
pub const TO_WORKER_BYTES_MAX: usize = 32 * 1024;

const EXEC: u8 = 0x01;
const SIGNAL: u8 = 0x02;
const DRAIN: u8 = 0x03;
const BYE: u8 = 0x04;
const HELLO: u8 = 0x81;
const OUTPUT: u8 = 0x82;
const EXITED: u8 = 0x83;
const STOPPING: u8 = 0x84;
const ERROR: u8 = 0x85;

/// What a command is, which decides how it may be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandKind {
    /// An `IaC` tool. It gets one SIGINT in its life, its leader process only, and never a SIGTERM: for
    /// Terraform that is the second interrupt, and state is lost.
    Tool,
    /// A hook of the user: signals go to its process group.
    Hook,
    /// Any other command, signalled as a hook is.
    Shell,
}

/// A request to start a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// The worker's name for it; each is used once, and none is 0.
    pub id: u64,
    /// Program and arguments; a program without a slash is looked for in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment: the command gets exactly this.
    pub env: BTreeMap<String, String>,
    /// The folder it starts in, absolute.
    pub cwd: String,
    /// How it may be stopped.
    pub kind: CommandKind,
    /// The state that it works with, if it may be reached through a relay of the runner's.
    #[serde(default)]
    pub state: Option<StateOrder>,
}

/// Where the state of a run is. Where a relay can be had, the runner sends the command there by the variables
/// `TF_HTTP_…`; otherwise it leaves them as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateOrder {
    /// The run's id: its relay always has the same address.
    pub run: String,
    /// The state at Scalr, an absolute URL.
    pub upstream: String,
    /// A folder of the run's, absolute, for states on their way.
    pub spool: String,
    /// The authorities whom the worker trusts for Scalr, as PEM; none where it trusts those of its system.
    #[serde(default)]
    pub authorities: Option<String>,
}

/// A signal for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// SIGINT: once in the life of a tool and to its leader; to the group of a hook.
    Interrupt,
    /// SIGTERM to the group of a hook; a tool never gets it.
    Terminate,
    /// SIGKILL to every descendant of the runner.
    Kill,
}

/// What the worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToRunner {
    /// Start a command. One runs at a time.
    Exec(Exec),
    /// Signal it. For a command that has ended it means nothing.
    Signal {
        /// The command.
        id: u64,
        /// The signal.
        signal: Signal,
    },
    /// From now on its output never stops it: what the worker does not take is thrown away.
    Drain {
        /// The command.
        id: u64,
    },
    /// The worker is done.
    Bye,
}

/// What the runner says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the runner.
    pub version: u32,
    /// The user id that commands run as.
    pub uid: u32,
    /// The group id that commands run as.
    pub gid: u32,
    /// `PATH` as the image sets it; empty where it sets none.
    pub path: String,
    /// `HOME` as the image sets it; empty where it sets none.
    pub home: String,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// The end of a command: all its output was sent before, and no descendant is left but `survivors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    /// The command.
    pub id: u64,
    /// How its leader ended.
    pub ended: Ended,
    /// How many processes of the runner's cgroup the kernel killed for memory meanwhile, where it says.
    pub oom_kills: Option<u64>,
    /// Bytes of output that were thrown away after a stop had begun.
    pub dropped_bytes: u64,
    /// Whether descendants outlived SIGKILL by the runner's bound: something in the kernel holds them.
    pub survivors: bool,
}

/// A command that did not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The command.
    pub id: u64,
    /// What a shell would have made of it: 127 not found, 126 not executable; 1 for anything else.
    pub code: i32,
    /// Why, in one line.
    pub message: String,
}

/// What the runner says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWorker {
    /// First of all, once.
    Hello(Hello),
    /// Standard output and error of a command, in the order they were written. Never empty.
    Output {
        /// The command.
        id: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A command has ended.
    Exited(Exited),
    /// The runner got a SIGTERM; it does nothing about it itself. Said once.
    Stopping {
        /// How long the runner has before it is killed, where it was told.
        grace_ms: Option<u64>,
    },
    /// A command did not start.
    Error(Failed),
}

/// Why bytes are no frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No such kind in this direction.
    #[error("frame of unknown kind {0:#04x}")]
    Kind(u8),
    /// Longer than its kind may be.
    #[error("frame of kind {kind:#04x} with {bytes} bytes, {bytes_max} are allowed")]
    TooLong {
        /// Its kind.
        kind: u8,
        /// What its header says.
        bytes: usize,
        /// What its kind may have.
        bytes_max: usize,
    },
    /// The payload is not what its kind holds.
    #[error("frame of kind {0:#04x} with a payload that is not of its kind")]
    Payload(u8),
}

/// One direction of the socket.
pub trait Message: Sized {
    /// Most payload bytes of a kind; none for a kind that this direction has not.
    fn bytes_max(kind: u8) -> Option<usize>;
    /// Reads a payload within its bound.
    fn read(kind: u8, payload: &[u8]) -> Result<Self, FrameError>;
    /// The whole frame, header included; an error when it is over its bound.
    fn frame(&self) -> Result<Vec<u8>, FrameError>;
}

#[derive(Serialize, Deserialize)]
struct SignalPayload {
    id: u64,
    signal: Signal,
}

#[derive(Serialize, Deserialize)]
struct DrainPayload {
    id: u64,
}

#[derive(Serialize, Deserialize)]
struct StoppingPayload {
    grace_ms: Option<u64>,
}

fn json<T: DeserializeOwned>(kind: u8, payload: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(payload).map_err(|_| FrameError::Payload(kind))
}

fn to_json<T: Serialize>(kind: u8, value: &T) -> Result<Vec<u8>, FrameError> {
    serde_json::to_vec(value).map_err(|_| FrameError::Payload(kind))
}

fn framed<M: Message>(kind: u8, payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    let bytes_max = M::bytes_max(kind).ok_or(FrameError::Kind(kind))?;
    let too_long = FrameError::TooLong { kind, bytes: payload.len(), bytes_max };
    let bytes = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= bytes_max).ok_or(too_long)?;
    let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
    frame.push(kind);
    frame.extend_from_slice(&bytes.to_be_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

impl Message for ToRunner {
    fn bytes_max(kind: u8) -> Option<usize> {
        matches!(kind, EXEC | SIGNAL | DRAIN | BYE).then_some(TO_RUNNER_BYTES_MAX)
    }

    fn read(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        match kind {
            EXEC => json(kind, payload).map(Self::Exec),
            SIGNAL => json(kind, payload).map(|SignalPayload { id, signal }| Self::Signal { id, signal }),
            DRAIN => json(kind, payload).map(|DrainPayload { id }| Self::Drain { id }),
            BYE if payload.is_empty() => Ok(Self::Bye),
            BYE => Err(FrameError::Payload(kind)),
            unknown => Err(FrameError::Kind(unknown)),
        }
    }

    fn frame(&self) -> Result<Vec<u8>, FrameError> {
        let (kind, payload) = match self {
            Self::Exec(exec) => (EXEC, to_json(EXEC, exec)?),
            Self::Signal { id, signal } => {
                (SIGNAL, to_json(SIGNAL, &SignalPayload { id: *id, signal: *signal })?)
            }
            Self::Drain { id } => (DRAIN, to_json(DRAIN, &DrainPayload { id: *id })?),
            Self::Bye => (BYE, Vec::new()),
        };
        framed::<Self>(kind, &payload)
    }
}

impl Message for ToWorker {
    fn bytes_max(kind: u8) -> Option<usize> {
        match kind {
            OUTPUT => Some(OUTPUT_ID_BYTES + OUTPUT_BYTES_MAX),
            HELLO | EXITED | STOPPING | ERROR => Some(TO_WORKER_BYTES_MAX),
            _unknown => None,
        }
    }

    fn read(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        match kind {
            HELLO => json(kind, payload).map(Self::Hello),
            OUTPUT => {
                let (id, bytes) = payload.split_first_chunk().ok_or(FrameError::Payload(kind))?;
                if bytes.is_empty() {
                    return Err(FrameError::Payload(kind));
                }
                Ok(Self::Output { id: u64::from_be_bytes(*id), bytes: bytes.to_vec() })
            }
            EXITED => json(kind, payload).map(Self::Exited),
            STOPPING => json(kind, payload).map(|StoppingPayload { grace_ms }| Self::Stopping { grace_ms }),
            ERROR => json(kind, payload).map(Self::Error),
            unknown => Err(FrameError::Kind(unknown)),
        }
    }

    fn frame(&self) -> Result<Vec<u8>, FrameError> {
        let (kind, payload) = match self {
            Self::Hello(hello) => (HELLO, to_json(HELLO, hello)?),
            Self::Output { id, bytes } => (OUTPUT, [id.to_be_bytes().as_slice(), bytes].concat()),
            Self::Exited(exited) => (EXITED, to_json(EXITED, exited)?),
            Self::Stopping { grace_ms } => {
                (STOPPING, to_json(STOPPING, &StoppingPayload { grace_ms: *grace_ms })?)
            }
            Self::Error(failed) => (ERROR, to_json(ERROR, failed)?),
        };
        framed::<Self>(kind, &payload)
    }
}

/// Takes bytes as they come and gives frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// How far `buffer` has been taken.
    taken: usize,
}

impl Decoder {
    /// Where the next read goes, to be appended to. With one read at a time, and all frames taken between
    /// two, it never holds more than one frame and one read.
    pub fn room(&mut self) -> &mut Vec<u8> {
        self.buffer.reserve(OUTPUT_BYTES_MAX);
        &mut self.buffer
    }

    /// The next whole frame, if it is there. After an error the stream is of no more use.
    pub fn take<M: Message>(&mut self) -> Result<Option<M>, FrameError> {
        let rest = &self.buffer[self.taken..];
        let Some(([kind, length @ ..], rest)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            self.compact();
            return Ok(None);
        };
        let bytes_max = M::bytes_max(*kind).ok_or(FrameError::Kind(*kind))?;
        let bytes = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if bytes > bytes_max {
            return Err(FrameError::TooLong { kind: *kind, bytes, bytes_max });
        }
        let Some(payload) = rest.get(..bytes) else {
            self.compact();
            return Ok(None);
        };
        let message = M::read(*kind, payload)?;
        self.taken += HEADER_BYTES + bytes;
        Ok(Some(message))
    }

    /// Forgets what was taken, so that the next read finds room in front.
    fn compact(&mut self) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests;
