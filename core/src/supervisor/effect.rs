//! What a Supervisor can want: the alphabet of its effects. Each is one call or one act; carrying it out
//! makes no choice.

use scalr_protocol::{
    blob::BlobKind,
    task::{HookPhase, Outcome, Summary, TaskError},
};
use serde::{Deserialize, Serialize};

use crate::{clock::Millis, controller::effect::Note, op::Op};

/// One call to make, or one thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TaskEffect {
    /// Call Scalr.
    Call {
        /// The call's name.
        op: Op,
        /// The call.
        call: TaskCall,
    },
    /// Drop a call: its answer is no longer wanted.
    Abandon {
        /// Which.
        op: Op,
    },
    /// Begin a stage. It ends by exactly one [`TaskInput::StageEnded`](super::input::TaskInput::StageEnded).
    Begin {
        /// The stage's name for its end, and for signals to it.
        op: Op,
        /// What to do.
        stage: Stage,
        /// The exit code of the command around which an after-hook runs.
        exit_code: Option<i32>,
    },
    /// Signal the command of a stage. Without one, or after its end, nothing happens.
    Signal {
        /// The stage.
        op: Op,
        /// How.
        signal: StopSignal,
    },
    /// From now on the command's output is read whatever happens to the spool, so that it can't hang on a
    /// full pipe.
    Drain,
    /// A line of ours in the console, such as why the run is being stopped. The shell masks and spools it.
    Print(String),
    /// Send [`TaskInput::Wake`](super::input::TaskInput::Wake) at this moment. A new one replaces the old.
    WakeAt(Millis),
    /// Say something to whoever operates the agent.
    Log(Note),
    /// Tell the runner that it may go.
    DismissRunner,
    /// The process is done, with this exit code. Everything spooled has been delivered or given up.
    Exit {
        /// 0 unless the agent itself failed.
        code: u8,
    },
}

/// A call of [`Scalr`](crate::scalr::Scalr) or [`TaskApi`](crate::task_api::TaskApi). The shell adds what
/// never changes: the task, the fence, the key of the start.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TaskCall {
    /// Call 1, as this task's worker.
    Register,
    /// Call 10.
    Start,
    /// Call 11; the first is the confirm.
    Lease {
        /// What the worker is doing.
        phase: String,
    },
    /// Call 12.
    Signals {
        /// The number of the last signal seen.
        after: u64,
        /// How long to wait.
        wait_ms: u64,
    },
    /// Call 13: these bytes of the spooled console.
    Append {
        /// Number of the first byte.
        from: u64,
        /// Number of the byte after the last.
        to: u64,
    },
    /// Call 15. The shell adds the console's digest and what was uploaded.
    Finish(FinishOutline),
}

/// An outcome, as far as it was decided here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FinishOutline {
    /// How the task ended.
    pub outcome: Outcome,
    /// The exit code of the command that decided it.
    pub exit_code: Option<i32>,
    /// What went wrong.
    pub error: Option<TaskError>,
    /// What the plan would change.
    pub summary: Option<Summary>,
    /// The console's length.
    pub log_bytes: u64,
}

/// One step of a task's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Fetch the configuration and unpack it, write variables and the backend override.
    Configuration,
    /// Fetch the saved plan and its lock file.
    SavedPlan,
    /// Have the tool.
    Tool,
    /// Run the hooks of a phase.
    Hooks(HookPhase),
    /// The tool's `init`.
    Init,
    /// The tool's `plan`.
    Plan,
    /// The tool's `show -json` of the saved plan.
    Show,
    /// The tool's `apply` of the saved plan.
    Apply,
    /// Push a state that the tool could not push.
    PushState,
    /// Upload a file. One that need not be there and is not is done.
    Upload(BlobKind),
}

impl Stage {
    /// Its name, as leases and logs show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::SavedPlan => "saved-plan",
            Self::Tool => "tool",
            Self::Hooks(phase) => phase.as_str(),
            Self::Init => "init",
            Self::Plan => "plan",
            Self::Show => "show",
            Self::Apply => "apply",
            Self::PushState => "push-state",
            Self::Upload(kind) => kind.as_str(),
        }
    }

    /// Whether it runs code of the user's.
    pub fn is_user_code(self) -> bool {
        match self {
            Self::Hooks(_) | Self::Init | Self::Plan | Self::Show | Self::Apply | Self::PushState => true,
            Self::Configuration | Self::SavedPlan | Self::Tool | Self::Upload(_) => false,
        }
    }
}

/// How to stop a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StopSignal {
    /// SIGINT: to a tool's leader, to a hook's group.
    Interrupt,
    /// SIGTERM: to a hook's group, never to a tool.
    Terminate,
    /// SIGKILL to every descendant.
    Kill,
}
