//! What can happen to a Controller: the alphabet of its inputs.

use scalr_protocol::agent::{Acquired, HeartbeatAnswer, Messages};
use serde::{Deserialize, Serialize};

use crate::{
    cluster::{ClusterError, Job, Kind, Listing, WatchEnd, WatchEvent},
    op::Op,
    scalr::{Door, Registration, ScalrError, WorkerLostAnswer},
};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Input {
    /// The process began. Always the first input, once.
    Began,
    /// The moment of an [`Effect::WakeAt`](super::effect::Effect::WakeAt) has come. Too many are harmless.
    Wake,
    /// A call was answered, or failed.
    Answer {
        /// Which call.
        op: Op,
        /// What came back.
        answer: Answer,
    },
    /// A watch says something.
    Watched {
        /// The [`ClusterCall::Watch`](super::effect::ClusterCall::Watch) it belongs to.
        op: Op,
        /// Of which kind.
        kind: Kind,
        /// What.
        event: WatchEvent,
    },
    /// Stop, within this time: SIGTERM.
    Stop {
        /// How long the process may still live.
        grace_ms: u64,
    },
    /// Launch nothing, or launch again. Held tasks stay held.
    Paused(bool),
}

/// What came back from a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// To `Register`.
    Registered(Result<Registration, ScalrError>),
    /// To `Heartbeat`.
    Heartbeat(Result<HeartbeatAnswer, ScalrError>),
    /// To `Deregister`.
    Deregistered(Result<(), ScalrError>),
    /// To `Acquire`.
    Acquired(Result<Acquired, ScalrError>),
    /// To `Release`.
    Released(Result<Door, ScalrError>),
    /// To `LaunchEvents`.
    LaunchEvents(Result<(), ScalrError>),
    /// To `LaunchFailed`.
    LaunchFailed(Result<Door, ScalrError>),
    /// To `WorkerLost`.
    WorkerLost(Result<WorkerLostAnswer, ScalrError>),
    /// To `Messages`.
    Messages(Result<Messages, ScalrError>),
    /// To `List`.
    Listed(Result<Listing, ClusterError>),
    /// To `Watch`: it has begun, or it has not. What it says comes as [`Input::Watched`].
    Watching(Result<(), ClusterError>),
    /// To `CreateJob`.
    Created(Result<Job, ClusterError>),
    /// To `DeleteJob`.
    Deleted(Result<(), ClusterError>),
}

impl From<WatchEnd> for WatchEvent {
    fn from(end: WatchEnd) -> Self {
        Self::Ended(end)
    }
}
