//! One thing that happened to a task, and what has become true by it.

use fake_scalr::state::status::TaskStatus;
use scalr_core::{
    clock::Millis,
    cluster::{ClusterError, Job},
    supervisor::effect::{Stage, StopSignal},
};
use scalr_protocol::{
    agent::ReleaseReason,
    blob::BlobKind,
    id::{AgentId, Fence},
    task::Outcome,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{cluster::PodKey, process::ProcessId, setup::TaskNumber};

/// Something that has become true of a task; may become true again under another fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Milestone {
    /// The server has queued it.
    Queued,
    /// The server has lent it to a controller.
    Granted,
    /// The creation of a Job for it has reached the API server.
    JobAsked,
    /// The process of a worker for it has begun.
    WorkerBegan,
    /// A worker has claimed it.
    Claimed,
    /// A worker was confirmed.
    Confirmed,
    /// The runner has begun a command of `init`, a hook or anything else of the user's.
    CodeBegan,
    /// `init` has begun.
    InitBegan,
    /// `plan` has begun.
    PlanBegan,
    /// `apply` has begun: there may be side effects from now on.
    ApplyBegan,
    /// The plan or the apply has ended in the runner.
    MainEnded,
    /// The worker has said how it ended, for the first time.
    FinishSent,
    /// It is terminal at the server.
    Ended,
    /// A controller has asked for the deletion of its Job.
    DeleteAsked,
    /// The container of a worker for it has ended.
    WorkerEnded,
}

/// One thing that happened to a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fact {
    /// When, by the world's clock.
    pub at: Millis,
    /// To which task.
    pub task: TaskNumber,
    /// What.
    pub what: FactKind,
}

/// What can happen to a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FactKind {
    /// The server has queued it for the first time.
    Queued,
    /// The server has lent it.
    Granted {
        /// To whom.
        agent: AgentId,
        /// Whose process asked.
        process: ProcessId,
        /// Under which fence.
        fence: Fence,
    },
    /// The server has taken it back from a controller.
    Released {
        /// Whose call.
        process: ProcessId,
        /// Which fence was shut.
        fence: Fence,
        /// Why.
        reason: ReleaseReason,
    },
    /// A controller has sent the call that shuts its door.
    DoorSent {
        /// Whose call.
        process: ProcessId,
        /// Which fence it names.
        fence: Fence,
        /// Why the task is given back; none where its launch has failed.
        reason: Option<ReleaseReason>,
    },
    /// The server has taken the word of a controller that it could not be started.
    LaunchFailed {
        /// Whose call.
        process: ProcessId,
        /// Which fence was shut.
        fence: Fence,
    },
    /// A controller has sent the creation of a Job.
    CreateSent {
        /// Whose call.
        process: ProcessId,
        /// For which fence.
        fence: Fence,
    },
    /// A controller has heard what came of the creation of a Job.
    CreateAnswered {
        /// Whose call.
        process: ProcessId,
        /// For which fence.
        fence: Fence,
        /// What.
        answer: CreateAnswer,
    },
    /// The creation of a Job has reached the API server.
    JobAsked {
        /// Whose call.
        process: ProcessId,
        /// For which fence.
        fence: Fence,
    },
    /// The deletion of its Job has reached the API server.
    DeleteAsked {
        /// Whose call.
        process: ProcessId,
        /// Of the Job for which fence.
        fence: Fence,
        /// What the server had to say of the task then, and its fence.
        status: TaskStatus,
        /// The server's fence then.
        current: Fence,
        /// Whether a worker or a runner of the Job still ran.
        is_running: bool,
        /// Whose Job has that UID, if any has.
        of: JobOwner,
    },
    /// The process of a worker has begun.
    WorkerBegan {
        /// Which.
        process: ProcessId,
        /// In which pod.
        pod: PodKey,
        /// Of the Job for which fence.
        fence: Fence,
    },
    /// The process of a worker has ended.
    WorkerEnded {
        /// Which.
        process: ProcessId,
        /// In which pod.
        pod: PodKey,
        /// Its exit code.
        exit_code: i32,
    },
    /// A worker has claimed it.
    Claimed {
        /// Which.
        process: ProcessId,
        /// Under which fence.
        fence: Fence,
    },
    /// A worker was confirmed, for the first time for this process.
    Confirmed {
        /// Which.
        process: ProcessId,
        /// Under which fence.
        fence: Fence,
    },
    /// A worker has heard that its lease was renewed.
    Renewed {
        /// Which.
        process: ProcessId,
        /// When the renewal was sent.
        sent: Millis,
    },
    /// The runner has begun a command.
    CodeBegan {
        /// Of which worker.
        process: ProcessId,
        /// In which pod.
        pod: PodKey,
        /// Of the Job for which fence.
        fence: Fence,
        /// Which.
        stage: Stage,
        /// Whether its worker had seen the answer to its confirm: never false in a sound agent.
        is_confirmed: bool,
    },
    /// The command has ended in the runner.
    CodeEnded {
        /// In which pod.
        pod: PodKey,
        /// Which.
        stage: Stage,
        /// Its exit code; 128 + n for signal n.
        exit_code: i32,
        /// Whether what it had done was lost with it: killed, or told twice, in mid-apply.
        is_state_lost: bool,
    },
    /// The tool was told to stop.
    Interrupted {
        /// In which pod.
        pod: PodKey,
        /// For how often, from 1.
        nth: u32,
    },
    /// A worker has told its runner to take all output from now on, whatever becomes of it.
    Drained {
        /// Which.
        process: ProcessId,
    },
    /// A worker has signaled a command.
    Signaled {
        /// Which.
        process: ProcessId,
        /// How.
        signal: StopSignal,
    },
    /// An apply has left a state that it could not push.
    StateLeft {
        /// Of which worker.
        process: ProcessId,
    },
    /// A worker has sent a file.
    UploadSent {
        /// Which.
        process: ProcessId,
        /// What.
        kind: BlobKind,
    },
    /// The server has a file of a worker.
    Uploaded {
        /// Whose.
        process: ProcessId,
        /// What.
        kind: BlobKind,
    },
    /// One of its pods was told to stop.
    Stopped {
        /// Which.
        pod: PodKey,
        /// What is left to it.
        grace_ms: u64,
    },
    /// A worker was killed because its grace was over.
    Overstayed {
        /// Which.
        process: ProcessId,
    },
    /// A worker has said how it ended.
    FinishSent {
        /// Which.
        process: ProcessId,
        /// The outcome.
        outcome: Outcome,
        /// The exit code that decided it.
        exit_code: Option<i32>,
        /// How long the console is, as it says.
        log_bytes: u64,
    },
    /// It has become terminal at the server.
    Ended {
        /// Finished or lost.
        status: TaskStatus,
        /// Its outcome, if its worker said one.
        outcome: Option<Outcome>,
        /// Whether it was ever confirmed.
        was_confirmed: bool,
    },
    /// An outcome came after the loss.
    Late {
        /// Which.
        outcome: Outcome,
    },
}

/// What a controller hears of the creation of a Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CreateAnswer {
    /// It is there.
    Made,
    /// It was there, and is over or going.
    Over,
    /// Nothing that says whether it is there.
    Unheard,
    /// To come back later.
    Later {
        /// After how long.
        retry_after_ms: u64,
    },
    /// There is no room, or no template.
    NoRoom,
    /// It is refused for good.
    Refused,
}

impl CreateAnswer {
    /// What this answer says.
    pub(in super::super) fn of(answer: &Result<Job, ClusterError>) -> Self {
        match answer {
            Ok(_) => Self::Made,
            Err(ClusterError::Over) => Self::Over,
            Err(ClusterError::Unreachable { .. } | ClusterError::Gone) => Self::Unheard,
            Err(ClusterError::RateLimited { retry_after_ms }) => {
                Self::Later { retry_after_ms: *retry_after_ms }
            }
            Err(
                ClusterError::QuotaExceeded { .. }
                | ClusterError::Template { .. }
                | ClusterError::NotAllowed { .. },
            ) => Self::NoRoom,
            Err(ClusterError::Refused { .. } | ClusterError::NameTaken) => Self::Refused,
        }
    }
}

/// Whose Job it is that a deletion names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobOwner {
    /// That of the task and fence which the name was given for.
    Own,
    /// No Job has this UID any more.
    Nobody,
    /// One of ours with another name, or for another grant.
    Another,
    /// Somebody else's.
    Foreign,
}

impl FactKind {
    /// What has become true by it.
    pub fn milestone(&self) -> Option<Milestone> {
        Some(match self {
            Self::Queued => Milestone::Queued,
            Self::Granted { .. } => Milestone::Granted,
            Self::JobAsked { .. } => Milestone::JobAsked,
            Self::DeleteAsked { .. } => Milestone::DeleteAsked,
            Self::WorkerBegan { .. } => Milestone::WorkerBegan,
            Self::WorkerEnded { .. } => Milestone::WorkerEnded,
            Self::Claimed { .. } => Milestone::Claimed,
            Self::Confirmed { .. } => Milestone::Confirmed,
            Self::CodeBegan { stage: Stage::Init, .. } => Milestone::InitBegan,
            Self::CodeBegan { stage: Stage::Plan, .. } => Milestone::PlanBegan,
            Self::CodeBegan { stage: Stage::Apply, .. } => Milestone::ApplyBegan,
            Self::CodeBegan { .. } => Milestone::CodeBegan,
            Self::CodeEnded { stage: Stage::Plan | Stage::Apply, .. } => Milestone::MainEnded,
            Self::FinishSent { .. } => Milestone::FinishSent,
            Self::Ended { .. } => Milestone::Ended,
            Self::Released { .. }
            | Self::DoorSent { .. }
            | Self::LaunchFailed { .. }
            | Self::CreateSent { .. }
            | Self::CreateAnswered { .. }
            | Self::Renewed { .. }
            | Self::CodeEnded { .. }
            | Self::Interrupted { .. }
            | Self::Drained { .. }
            | Self::Signaled { .. }
            | Self::StateLeft { .. }
            | Self::UploadSent { .. }
            | Self::Uploaded { .. }
            | Self::Stopped { .. }
            | Self::Overstayed { .. }
            | Self::Late { .. } => return None,
        })
    }
}
