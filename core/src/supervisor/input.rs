//! What can happen to a Supervisor: the alphabet of its inputs.

use scalr_protocol::{
    agent::Action,
    task::{Finished, HookPhase, LeaseAnswer, Signals, Summary, TaskErrorCode},
};
use serde::{Deserialize, Serialize};

use crate::{
    op::Op,
    scalr::{Registration, ScalrError},
    task_api::TaskError,
};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TaskInput {
    /// The process began. Always the first input, once.
    Began,
    /// The moment of a [`TaskEffect::WakeAt`](super::effect::TaskEffect::WakeAt) has come. Too many are
    /// harmless.
    Wake,
    /// The runner has answered on its socket.
    RunnerReady,
    /// The runner's connection is gone, or it never came up. A stage that runs in it is also ended.
    RunnerGone {
        /// What happened.
        detail: String,
    },
    /// A call was answered, or failed.
    Answer {
        /// Which call.
        op: Op,
        /// What came back.
        answer: TaskAnswer,
    },
    /// A stage has ended.
    StageEnded {
        /// The [`TaskEffect::Begin`](super::effect::TaskEffect::Begin) it belongs to.
        op: Op,
        /// How.
        end: StageEnd,
    },
    /// The console has grown to this length, after masking. Coalesced: the newest is what counts.
    Spooled {
        /// Its whole length.
        bytes: u64,
        /// How many [`Print`](super::effect::TaskEffect::Print)ed lines are in it, from the first on.
        lines: u32,
    },
    /// Stop, within this time: SIGTERM to the worker, or the runner's word that it got one.
    Stop {
        /// How long the process may still live.
        grace_ms: u64,
    },
}

/// What came back from a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TaskAnswer {
    /// To `Register`.
    Registered(Result<Registration, ScalrError>),
    /// To `Start`. The shell keeps the payload and the tokens; this is what decisions need.
    Start(Result<Claim, TaskError>),
    /// To `Lease`.
    Lease(Result<LeaseAnswer, TaskError>),
    /// To `Signals`.
    Signals(Result<Signals, TaskError>),
    /// To `Append`: how many bytes the server now has.
    Appended(Result<u64, TaskError>),
    /// To `Finish`.
    Finish(Result<Finished, TaskError>),
}

/// A successful claim, as far as decisions depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// What to do.
    pub action: Action,
    /// Whether the run ends after its plan.
    pub is_dry: bool,
    /// The phases that have hooks, and how many.
    pub hooks: Vec<(HookPhase, u32)>,
    /// From the confirm to the begin of the stop.
    pub operation_timeout_ms: u64,
    /// How long a renewal lasts.
    pub lease_ttl_ms: u64,
    /// How often to renew.
    pub renew_ms: u64,
    /// After how long without a renewal the task is lost.
    pub lost_after_ms: u64,
}

/// How a stage ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StageEnd {
    /// It did what it should.
    Done(StageFacts),
    /// It did not, and would not if repeated.
    Failed {
        /// The class.
        code: TaskErrorCode,
        /// One sentence, masked.
        message: String,
        /// The command's exit code, where a command ran to its end.
        exit_code: Option<i32>,
        /// What is known all the same.
        facts: StageFacts,
    },
    /// Scalr (or where a tool is downloaded from) could not be reached: nothing of the user's ran, and the
    /// stage may be begun again.
    Unreachable {
        /// What happened.
        detail: String,
        /// At least this long, if the server said so.
        retry_after_ms: u64,
    },
}

/// What a stage found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StageFacts {
    /// What a plan would change, as its JSON says.
    pub summary: Option<Summary>,
    /// A state that the tool could not push lies in the run folder.
    pub has_errored_state: bool,
    /// The command was killed for its memory.
    pub is_oom: bool,
}
