//! The stages of the small world: how long they take, how they end, and what signals do to them.

use scalr_protocol::{blob::BlobKind, task::TaskErrorCode};

use crate::{
    op::Op,
    supervisor::{
        effect::{Stage, StopSignal},
        input::{StageEnd, StageFacts, TaskInput},
    },
};

/// Dice of a seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

#[derive(Default)]
pub(super) struct StageModel {
    running: Option<(Op, Stage)>,
    pub(super) begun: u64,
    pub(super) spooled: u64,
    /// How many lines of the Supervisor's own are in the console.
    pub(super) lines: u32,
    /// The exit code of the plan or the apply, if its end was heard of.
    pub(super) main_exit: Option<i32>,
    /// How many needed stages ended badly.
    pub(super) bad_ends: u64,
    is_runner_gone: bool,
}

fn code(stage: Stage) -> TaskErrorCode {
    match stage {
        Stage::Configuration | Stage::SavedPlan => TaskErrorCode::ConfigurationInvalid,
        Stage::Tool => TaskErrorCode::ToolUnavailable,
        Stage::Hooks(_) => TaskErrorCode::HookFailed,
        Stage::Init => TaskErrorCode::InitFailed,
        Stage::Plan | Stage::Show => TaskErrorCode::PlanFailed,
        Stage::Apply => TaskErrorCode::ApplyFailed,
        Stage::PushState => TaskErrorCode::StatePushFailed,
        Stage::Upload(_) => TaskErrorCode::UploadFailed,
    }
}

fn failed(stage: Stage, exit_code: i32, has_errored_state: bool) -> StageEnd {
    let exit_code = stage.is_user_code().then_some(exit_code);
    let facts = StageFacts { has_errored_state, ..StageFacts::default() };
    StageEnd::Failed { code: code(stage), message: "no".to_owned(), exit_code, facts }
}

impl StageModel {
    /// The console grows by so many bytes.
    pub(super) fn spool(&mut self, bytes: u64) -> TaskInput {
        self.spooled += bytes;
        TaskInput::Spooled { bytes: self.spooled, lines: self.lines }
    }

    /// How long the stage will take, and how it will end.
    pub(super) fn begin(
        &mut self,
        dice: &mut Dice,
        op: Op,
        stage: Stage,
        failures: u64,
        is_troubled: bool,
    ) -> (u64, StageEnd) {
        assert!(self.running.is_none(), "one stage at a time");
        assert!(!self.is_runner_gone || !stage.is_user_code(), "no command without a runner");
        self.running = Some((op, stage));
        self.begun += 1;
        let lasts_ms = if stage.is_user_code() { dice.below(400_000) } else { dice.below(5_000) };
        let end = if is_troubled && !stage.is_user_code() {
            StageEnd::Unreachable { detail: "reset".to_owned(), retry_after_ms: dice.below(20_000) }
        } else if dice.below(100) < failures {
            failed(stage, 1, stage == Stage::Apply && dice.below(2) == 0)
        } else {
            StageEnd::Done(StageFacts::default())
        };
        (lasts_ms, end)
    }

    /// When and how a stage ends that got a signal; none if that changes nothing.
    pub(super) fn signaled(
        &mut self,
        dice: &mut Dice,
        op: Op,
        signal: StopSignal,
    ) -> Option<(u64, StageEnd)> {
        let (_, stage) = self.running.filter(|(running, _)| *running == op)?;
        match signal {
            StopSignal::Interrupt | StopSignal::Terminate => match dice.below(4) {
                // It does not listen, or it was about to be done.
                0 => None,
                1 => Some((dice.below(60_000), StageEnd::Done(StageFacts::default()))),
                _ => Some((dice.below(900_000), failed(stage, 130, stage == Stage::Apply))),
            },
            // What the kernel holds does not even end now.
            StopSignal::Kill if dice.below(20) == 0 => {
                self.running = None;
                Some((100_000_000, failed(stage, 137, false)))
            }
            StopSignal::Kill => Some((dice.below(3_000), failed(stage, 137, false))),
        }
    }

    /// The runner is gone: what ran in it, and its end, if that is heard of.
    pub(super) fn runner_gone(&mut self, dice: &mut Dice) -> Option<(Op, Option<StageEnd>)> {
        self.is_runner_gone = true;
        let (op, stage) = self.running.filter(|(_, stage)| stage.is_user_code())?;
        if dice.below(2) == 0 {
            self.running = None;
            return Some((op, None));
        }
        let end = StageEnd::Failed {
            code: TaskErrorCode::RunnerLost,
            message: "connection closed".to_owned(),
            exit_code: None,
            facts: StageFacts { has_errored_state: stage == Stage::Apply, ..StageFacts::default() },
        };
        Some((op, Some(end)))
    }

    /// The Supervisor hears of an end.
    pub(super) fn ended(&mut self, op: Op, end: &StageEnd) {
        let Some((_, stage)) = self.running.take_if(|(running, _)| *running == op) else { return };
        let exit_code = match end {
            StageEnd::Done(_) => Some(0),
            StageEnd::Failed { exit_code, .. } => *exit_code,
            StageEnd::Unreachable { .. } => return,
        };
        if matches!(stage, Stage::Plan | Stage::Apply) {
            self.main_exit = exit_code;
        }
        let is_saving = matches!(stage, Stage::PushState | Stage::Upload(BlobKind::ErroredState));
        if matches!(end, StageEnd::Failed { .. }) && !is_saving {
            self.bad_ends += 1;
        }
    }
}
