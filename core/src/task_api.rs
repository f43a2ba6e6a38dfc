//! The seam to Scalr for one task: what a worker calls once it has a session.

use scalr_protocol::{
    blob::{BlobKind, BlobRef},
    id::{Fence, TaskId},
    task::{Finish, Finished, Lease, LeaseAnswer, Signals, Started},
};
use serde::{Deserialize, Serialize};

/// The calls of one task. An implementation makes each call once: retries are the brain's.
///
/// It keeps the task's token, which `start` brings; the run's token is part of what `start` answers.
pub trait TaskApi: Send + Sync {
    /// A blob's bytes as they come.
    type Bytes: BlobBytes;

    /// Call 10: the compare-and-set. `key` is drawn in memory and never stored; a repeat with the same key
    /// gets the same answer while claimed and unconfirmed. After [`TaskError::Unreachable`] the task may be
    /// claimed by this key.
    fn start(
        &self,
        task: &TaskId,
        fence: Fence,
        key: &str,
    ) -> impl Future<Output = Result<Started, TaskError>> + Send;

    /// Call 11: confirms, then renews. Idempotent.
    fn lease(
        &self,
        task: &TaskId,
        request: &Lease,
    ) -> impl Future<Output = Result<LeaseAnswer, TaskError>> + Send;

    /// Call 12: waits up to `wait_ms` for signals after number `after`.
    fn signals(
        &self,
        task: &TaskId,
        after: u64,
        wait_ms: u64,
    ) -> impl Future<Output = Result<Signals, TaskError>> + Send;

    /// Call 13: appends `bytes`, the first of which is number `offset`. Idempotent. Answers how many bytes
    /// the server now has, also where it has more or fewer than was thought (416).
    fn append(
        &self,
        task: &TaskId,
        offset: u64,
        bytes: bytes::Bytes,
    ) -> impl Future<Output = Result<u64, TaskError>> + Send;

    /// Call 14, GET. The reader must check the digest.
    fn blob(
        &self,
        task: &TaskId,
        kind: BlobKind,
    ) -> impl Future<Output = Result<Self::Bytes, TaskError>> + Send;

    /// Call 14, PUT: uploads the open file, from its begin. Idempotent by digest.
    fn put_blob(
        &self,
        task: &TaskId,
        blob: &BlobRef,
        file: std::fs::File,
    ) -> impl Future<Output = Result<(), TaskError>> + Send;

    /// Call 15: records exactly one outcome. Idempotent.
    fn finish(
        &self,
        task: &TaskId,
        request: &Finish,
    ) -> impl Future<Output = Result<Finished, TaskError>> + Send;
}

/// A blob's bytes as they come.
pub trait BlobBytes: Send {
    /// The next piece; none at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<bytes::Bytes>, TaskError>> + Send;
}

/// Why a call of a task brought no answer that its caller hoped for. One variant for each thing that the
/// caller does differently.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum TaskError {
    /// 409 `already-started`: another process has the task. Exit 0, having run nothing.
    #[error("another worker has started the task")]
    AlreadyStarted,
    /// 410 `fence-stale`: this launch was given up. Exit 0, having run nothing.
    #[error("the launch was given up: the fence is stale")]
    FenceStale,
    /// 409 `canceled`: the task is terminal.
    #[error("the task was canceled")]
    Canceled,
    /// 409 `finished`: the task is terminal.
    #[error("the task has finished")]
    Finished,
    /// 410 `claim-expired`: the claim was not confirmed in time; nothing may run.
    #[error("the claim was not confirmed in time")]
    ClaimExpired,
    /// 410 `lost`: the server has given the task up. The workload ends, the delivery goes on.
    #[error("the server has declared the task lost")]
    Lost,
    /// 410 `closed`: the time to deliver has passed.
    #[error("the time to deliver has passed")]
    Closed,
    /// 409 `differs`: another outcome or content is recorded.
    #[error("something else is recorded already: {detail}")]
    Differs {
        /// What the server said.
        detail: String,
    },
    /// 401 or 403, also after the token was read again.
    #[error("the token was refused: {detail}")]
    Unauthorized {
        /// What the server said.
        detail: String,
    },
    /// 410 `session-expired` at `start`: register again.
    #[error("the session has ended")]
    SessionExpired,
    /// 404 for a blob.
    #[error("there is no such file")]
    NotFound,
    /// 413.
    #[error("too large: {detail}")]
    TooLarge {
        /// What the server said.
        detail: String,
    },
    /// What came is not what its digest promised.
    #[error("the content does not match its digest")]
    DigestMismatch,
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
    /// Any other refusal.
    #[error("refused with {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the server said.
        detail: String,
    },
}
