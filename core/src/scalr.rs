//! The seam to Scalr for an agent: what a controller calls, and a worker until it has claimed its task.

use scalr_protocol::{
    agent::{
        Acquire, Acquired, Heartbeat, HeartbeatAnswer, LaunchEvents, LaunchFailed, Messages, Register,
        Release, WorkerLost,
    },
    id::{AgentId, TaskId},
};
use serde::{Deserialize, Serialize};

/// What the controller needs of Scalr. An implementation makes each call once: retries are the brains'.
///
/// It keeps the tokens: `register` stores the session's, and every other call uses the newest. Where the
/// pool token comes from a file and was refused, it is read again, once, before `Unauthorized` is said.
pub trait Scalr: Send + Sync {
    /// Call 1. Idempotent for one instance: a repeat takes over from itself. After an error the agent may be
    /// registered.
    fn register(&self, request: &Register) -> impl Future<Output = Result<Registration, ScalrError>> + Send;

    /// Call 2. Idempotent. After an error the leases may have been renewed.
    fn heartbeat(
        &self,
        agent: &AgentId,
        request: &Heartbeat,
    ) -> impl Future<Output = Result<HeartbeatAnswer, ScalrError>> + Send;

    /// Call 3. Idempotent: an agent that is gone already is success.
    fn deregister(&self, agent: &AgentId) -> impl Future<Output = Result<(), ScalrError>> + Send;

    /// Call 4. Waits up to `wait-ms`. Not idempotent: after an error tasks may be held that nobody heard of;
    /// their launch leases lapse, or the next acquire brings others.
    fn acquire(
        &self,
        agent: &AgentId,
        request: &Acquire,
    ) -> impl Future<Output = Result<Acquired, ScalrError>> + Send;

    /// Call 5. Idempotent. After an error the door may be shut.
    fn release(
        &self,
        task: &TaskId,
        request: &Release,
    ) -> impl Future<Output = Result<Door, ScalrError>> + Send;

    /// Call 6. Idempotent enough: a doubled event is shown once. After an error some may be recorded.
    fn launch_events(
        &self,
        agent: &AgentId,
        request: &LaunchEvents,
    ) -> impl Future<Output = Result<(), ScalrError>> + Send;

    /// Call 7. Idempotent: one failure counts once. After an error the door may be shut.
    fn launch_failed(
        &self,
        task: &TaskId,
        request: &LaunchFailed,
    ) -> impl Future<Output = Result<Door, ScalrError>> + Send;

    /// Call 8. Idempotent. After an error the reason may be attached.
    fn worker_lost(
        &self,
        task: &TaskId,
        request: &WorkerLost,
    ) -> impl Future<Output = Result<WorkerLostAnswer, ScalrError>> + Send;

    /// Call 9. Waits up to `wait_ms`; hints only.
    fn messages(
        &self,
        agent: &AgentId,
        after: u64,
        wait_ms: u64,
    ) -> impl Future<Output = Result<Messages, ScalrError>> + Send;
}

/// Who the agent now is, and how the server wants to be called. The session's token stays in the adapter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Registration {
    /// The agent.
    pub agent: AgentId,
    /// How often to send a heartbeat.
    pub heartbeat_ms: u64,
    /// The longest wait that a long poll may ask for.
    pub wait_ms_max: u64,
}

/// What became of a task's door, by which a worker would come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Door {
    /// Nobody can start it under this fence any more (200, or 410 `fence-stale`): its Job may be deleted.
    Shut,
    /// It has started (409 `already-started`, or has even finished): its Job is left alone.
    Started,
    /// A worker has claimed it (409 `claimed`): its Job is left alone, and the next heartbeat asks again.
    Claimed,
}

/// What the server did with a `worker-lost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WorkerLostAnswer {
    /// The reason is attached.
    Noted,
    /// The task has not started (409 `not-started`): what was lost was only a launch.
    NotStarted,
    /// The task has finished (409 `finished`): the worker was quicker.
    Finished,
}

/// Why a call to Scalr brought no answer that its caller hoped for. One variant for each thing that the
/// caller does differently.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum ScalrError {
    /// 401, also after the token was read again: take no more work, drain, exit non-zero.
    #[error("the token was refused: {detail}")]
    Unauthorized {
        /// What the server said.
        detail: String,
    },
    /// 410 `session-expired`, or the agent is unknown: register again.
    #[error("the session has ended")]
    SessionExpired,
    /// 403 `quota-exceeded`: try again in place.
    #[error("the quota of agents is used up: {detail}")]
    QuotaExceeded {
        /// What the server said.
        detail: String,
    },
    /// 409 `name-in-use`: another live agent has the name; try again in place.
    #[error("the agent's name is in use: {detail}")]
    NameInUse {
        /// What the server said.
        detail: String,
    },
    /// 409 `draining`: this agent has said that it takes no more work.
    #[error("the agent is draining")]
    Draining,
    /// 426: no common version; nothing will help.
    #[error("the server does not speak this protocol version: {detail}")]
    ProtocolUnsupported {
        /// What the server said.
        detail: String,
    },
    /// 429, or 503 with `Retry-After`.
    #[error("the server asks to come back later")]
    RateLimited {
        /// After how long.
        retry_after_ms: u64,
    },
    /// No answer, a cut answer or a 5xx: the call may or may not have been carried out.
    #[error("no answer: {detail}")]
    Unreachable {
        /// What happened.
        detail: String,
    },
    /// Any other refusal: the call was not carried out, and will not be when repeated.
    #[error("refused with {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the server said.
        detail: String,
    },
}
