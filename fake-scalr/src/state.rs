//! Everything the fake Scalr knows, and `apply`, the one way to change it.
//!
//! Pure: time, ids and tokens come from a [`Stamp`], so that the same commands give the same state, in a
//! journal's replay as in a simulation. It must never do IO, read a clock or throw dice, and it holds no
//! bytes of logs, blobs, configurations or states: only offsets, lengths and digests.
//!
//! In reading order: `command` is what can be asked, `tokens` who may ask it, `agents` and `tasks` are what
//! happens before a start, `execution` what happens after it, `runs` and `workspaces` the public side, `locks`
//! a workspace's state, `views` and `reasons` what may be read.

pub mod command;
pub mod ids;
pub mod settings;
pub mod status;
pub mod tokens;
pub mod views;

pub use command::{AgentCall, Command, PublicCall, Reply, StateCall, TaskCall};
pub use settings::{Settings, Timings};
pub use tokens::{Key, Token};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// When, and with which fresh randomness, a command is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Time in which the server has served, in milliseconds; it survives restarts and never goes back.
    pub now_ms: u64,
    /// The time of day, for people only.
    pub wall: Timestamp,
    /// Fresh and unguessable: tokens come from it.
    pub entropy: [u8; 16],
}
