//! What the work consists of: the stages of each action, what kind of thing each is, and what has become of
//! them.
//!
//! It decides nothing about time; a stage that runs code of the user's is begun once.

use std::collections::VecDeque;

use scalr_protocol::{
    agent::Action,
    blob::BlobKind,
    task::{HookPhase, Outcome, Summary, TaskError, TaskErrorCode},
};

use crate::{
    mutant::{Mutant, planted},
    {clock::Millis, op::Op},
};

use super::{
    effect::Stage,
    input::Claim,
    options::MESSAGE_BYTES_MAX,
    slot::{Slot, SlotKind},
};

/// What a stage is, as far as stopping it is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum StageKind {
    /// Ours, before the work: given up at once.
    Fetch,
    /// A command of the tool: one interrupt, then the wait, then a kill.
    Tool,
    /// A command of the user's: interrupt, terminate, kill.
    Hook,
    /// Ours, after a plan: what the apply will need.
    Artifact,
    /// Ours, after an apply: its state, which is worth waiting for.
    SaveState,
    /// The tool's, after an apply: no interrupt, since all that it does is save.
    PushState,
}

impl StageKind {
    pub(super) fn of(stage: Stage) -> Self {
        match stage {
            Stage::Configuration | Stage::SavedPlan | Stage::Tool => Self::Fetch,
            Stage::Init | Stage::Plan | Stage::Show | Stage::Apply => Self::Tool,
            Stage::Hooks(_) => Self::Hook,
            Stage::Upload(BlobKind::ErroredState) => Self::SaveState,
            Stage::Upload(_) => Self::Artifact,
            Stage::PushState => Self::PushState,
        }
    }
}

/// Whether a task whose stop kept this stage from being done can't be called a success. What an apply does
/// cannot be undone by a hook or an upload after it; a plan is one only with everything that belongs to it.
pub(super) fn is_needed(stage: Stage) -> bool {
    match stage {
        Stage::Hooks(HookPhase::PostApply) | Stage::Upload(BlobKind::ErroredState) | Stage::PushState => {
            false
        }
        Stage::Hooks(HookPhase::PreInit | HookPhase::PrePlan | HookPhase::PostPlan | HookPhase::PreApply)
        | Stage::Configuration
        | Stage::SavedPlan
        | Stage::Tool
        | Stage::Init
        | Stage::Plan
        | Stage::Show
        | Stage::Apply
        | Stage::Upload(_) => true,
    }
}

/// Whether it is the command that the task is for.
pub(super) fn is_main(stage: Stage) -> bool {
    matches!(stage, Stage::Plan | Stage::Apply)
}

/// The stage that has begun and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Running {
    pub(super) op: Op,
    pub(super) stage: Stage,
    pub(super) begun: Millis,
    pub(super) interrupted: Option<Millis>,
    pub(super) terminated: Option<Millis>,
    pub(super) killed: Option<Millis>,
    /// When the runner was lost under it.
    pub(super) orphaned: Option<Millis>,
}

impl Running {
    pub(super) fn new(op: Op, stage: Stage, begun: Millis) -> Self {
        Self { op, stage, begun, interrupted: None, terminated: None, killed: None, orphaned: None }
    }
}

/// How the plan or the apply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MainEnd {
    pub(super) at: Millis,
    pub(super) exit_code: Option<i32>,
}

/// What went wrong by itself, without a stop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Failure {
    pub(super) outcome: Outcome,
    pub(super) exit_code: Option<i32>,
    pub(super) error: TaskError,
    /// Whether the plan or the apply itself failed, so that the hooks after it still run.
    pub(super) is_main: bool,
}

impl Failure {
    pub(super) fn new(code: TaskErrorCode, message: &str) -> Self {
        let error = task_error(code, message);
        Self { outcome: outcome_of(code), exit_code: None, error, is_main: false }
    }

    pub(super) fn unsupported(action: Action) -> Self {
        let message = format!("the agent does not support the action {}", action.as_str());
        Self::new(TaskErrorCode::UnsupportedAction, &message)
    }

    pub(super) fn runner_lost(detail: &str) -> Self {
        Self::new(TaskErrorCode::RunnerLost, &format!("the runner is gone: {detail}"))
    }
}

/// An error whose message is as long as the protocol allows.
pub(super) fn task_error(code: TaskErrorCode, message: &str) -> TaskError {
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    TaskError { code, message: message[..end].to_owned() }
}

/// Whether the user's code said no, or something else went wrong.
fn outcome_of(code: TaskErrorCode) -> Outcome {
    match code {
        TaskErrorCode::InitFailed
        | TaskErrorCode::PlanFailed
        | TaskErrorCode::ApplyFailed
        | TaskErrorCode::HookFailed
        | TaskErrorCode::PolicyFailed => Outcome::Failed,
        TaskErrorCode::ConfigurationInvalid
        | TaskErrorCode::ToolUnavailable
        | TaskErrorCode::SettingInvalid
        | TaskErrorCode::OomSoftLimit
        | TaskErrorCode::OomKilled
        | TaskErrorCode::Timeout
        | TaskErrorCode::Canceled
        | TaskErrorCode::ForceCanceled
        | TaskErrorCode::WorkerShutdown
        | TaskErrorCode::RunnerLost
        | TaskErrorCode::LeaseLost
        | TaskErrorCode::StatePushFailed
        | TaskErrorCode::UploadFailed
        | TaskErrorCode::UnsupportedAction
        | TaskErrorCode::Internal => Outcome::Errored,
    }
}

/// The work of the task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Work {
    /// What is still to be done, in order.
    pub(super) queue: VecDeque<Stage>,
    pub(super) running: Option<Running>,
    /// The backoff of a stage that could not reach anybody.
    pub(super) retry: Slot,
    pub(super) main: Option<MainEnd>,
    pub(super) summary: Option<Summary>,
    /// The first thing that went wrong by itself.
    pub(super) failure: Option<Failure>,
    /// Why that state is not pushed.
    pub(super) push_failure: Option<String>,
    /// A stop kept something from being done that belongs to a success.
    pub(super) is_cut_short: bool,
}

impl Work {
    pub(super) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            running: None,
            retry: Slot::new(SlotKind::Stage),
            main: None,
            summary: None,
            failure: None,
            push_failure: None,
            is_cut_short: false,
        }
    }

    /// Records what went wrong; only the first counts.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    /// Queues the stages of the claim's action.
    pub(super) fn lay_out(&mut self, claim: &Claim) {
        let stages: &[Stage] = match claim.action {
            Action::Plan => &PLAN,
            Action::Apply => &APPLY,
            Action::PolicyCheck | Action::CostEstimate | Action::Checkov | Action::Unknown => &[],
        };
        let has_hooks = |phase| claim.hooks.iter().any(|(named, count)| *named == phase && *count > 0);
        self.queue = stages
            .iter()
            .copied()
            .filter(|stage| match stage {
                Stage::Hooks(phase) => has_hooks(*phase),
                Stage::Configuration
                | Stage::SavedPlan
                | Stage::Tool
                | Stage::Init
                | Stage::Plan
                | Stage::Show
                | Stage::Apply
                | Stage::PushState => true,
                Stage::Upload(kind) => *kind != BlobKind::PlanFile || !planted(Mutant::PlanFileNotUploaded),
            })
            .collect();
    }
}

const PLAN: [Stage; 11] = [
    Stage::Configuration,
    Stage::Tool,
    Stage::Hooks(HookPhase::PreInit),
    Stage::Init,
    Stage::Hooks(HookPhase::PrePlan),
    Stage::Plan,
    Stage::Hooks(HookPhase::PostPlan),
    Stage::Show,
    Stage::Upload(BlobKind::PlanFile),
    Stage::Upload(BlobKind::PlanJson),
    Stage::Upload(BlobKind::LockFile),
];

// A state that the apply could not push is saved before the hooks after it run: they may take long.
const APPLY: [Stage; 8] = [
    Stage::Configuration,
    Stage::SavedPlan,
    Stage::Tool,
    Stage::Hooks(HookPhase::PreInit),
    Stage::Init,
    Stage::Hooks(HookPhase::PreApply),
    Stage::Apply,
    Stage::Hooks(HookPhase::PostApply),
];
