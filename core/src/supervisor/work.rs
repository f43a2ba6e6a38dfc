//! The stages one after the other: what begins next, and what an end means.
//!
//! Never begins anything before the confirm, nor a stage that runs code of the user's after a stop has begun
//! (pushing a saved state excepted), nor a stage twice that may have run code of the user's.

use scalr_protocol::{
    blob::BlobKind,
    task::{HookPhase, TaskErrorCode},
};

use crate::{
    clock::Millis,
    controller::effect::NoteLevel,
    mutant::{Mutant, planted},
    op::Op,
};

use super::{
    Phase, Runner, Supervisor,
    effect::{Stage, TaskEffect},
    input::{StageEnd, StageFacts},
    stages::{Failure, MainEnd, Running, StageKind, is_main, is_needed},
    stop::StopReason,
    timers::Nearest,
};

impl Supervisor {
    /// Gives up what can't be done any more and begins what is next; without a next, the delivery begins.
    pub(super) fn advance_work(&mut self, now: Millis, out: &mut Vec<TaskEffect>) {
        if self.phase != Phase::Working {
            return;
        }
        if now >= self.operation_deadline() {
            self.begin_stop(now, StopReason::Timeout, out);
        }
        if now >= self.self_stop_at() {
            self.begin_stop(now, StopReason::LeaseLost, out);
        }
        self.escalate(now, out);
        if self.work.running.is_some() {
            return;
        }
        self.prune(now);
        if self.work.queue.is_empty() {
            self.begin_delivery(now, out);
        } else if now >= self.work.retry.due {
            self.begin_next(now, out);
        }
    }

    fn begin_next(&mut self, now: Millis, out: &mut Vec<TaskEffect>) {
        let Some(stage) = self.work.queue.pop_front() else { return };
        let op = self.ops.draw();
        self.work.running = Some(Running::new(op, stage, now));
        let exit_code = match stage {
            Stage::Hooks(HookPhase::PostPlan | HookPhase::PostApply) => {
                self.work.main.and_then(|main| main.exit_code)
            }
            Stage::Hooks(HookPhase::PreInit | HookPhase::PrePlan | HookPhase::PreApply)
            | Stage::Configuration
            | Stage::SavedPlan
            | Stage::Tool
            | Stage::Init
            | Stage::Plan
            | Stage::Show
            | Stage::Apply
            | Stage::PushState
            | Stage::Upload(_) => None,
        };
        out.push(TaskEffect::Begin { op, stage, exit_code });
    }

    /// When the work has taken too long.
    pub(super) fn operation_deadline(&self) -> Millis {
        match &self.claim {
            Some(_) if planted(Mutant::OperationTimeoutIgnored) => Millis::NEVER,
            Some(claim) if !self.is_stopping() => self.confirmed + claim.operation_timeout_ms,
            Some(_) | None => Millis::NEVER,
        }
    }

    /// Drops from the queue what may not begin any more, and notes what that means.
    fn prune(&mut self, now: Millis) {
        for stage in std::mem::take(&mut self.work.queue) {
            if self.may_begin(stage, now) {
                self.work.queue.push_back(stage);
            } else {
                self.dropped(stage);
            }
        }
    }

    fn may_begin(&self, stage: Stage, now: Millis) -> bool {
        let has_runner = self.runner == Runner::Ready;
        let is_stopping = self.is_stopping() && !planted(Mutant::WorkGoesOnAfterStop);
        let failure = self.work.failure.as_ref();
        match StageKind::of(stage) {
            StageKind::SaveState => now < self.save_until(),
            StageKind::PushState => has_runner && !self.is_forced() && now < self.save_until(),
            StageKind::Artifact => failure.is_none() && !self.work.is_cut_short && now < self.kill_at(),
            StageKind::Fetch => !is_stopping && failure.is_none() && has_runner,
            StageKind::Tool | StageKind::Hook => {
                let is_after_main = matches!(stage, Stage::Hooks(HookPhase::PostPlan | HookPhase::PostApply));
                !is_stopping && has_runner && failure.is_none_or(|failure| failure.is_main && is_after_main)
            }
        }
    }

    fn dropped(&mut self, stage: Stage) {
        match StageKind::of(stage) {
            StageKind::PushState => {
                self.work.push_failure.get_or_insert_with(|| "there was no way to push it".to_owned());
            }
            // Whether there is a state at all is not known after a kill; where there is, pushing it follows.
            StageKind::SaveState => {}
            StageKind::Fetch | StageKind::Tool | StageKind::Hook | StageKind::Artifact => {
                if self.is_stopping() {
                    self.work.is_cut_short |= is_needed(stage);
                } else {
                    // Nothing else drops a stage while nothing has failed.
                    self.work.fail(Failure::runner_lost("it went away during the run"));
                }
            }
        }
    }

    /// Until when saving the state is tried.
    pub(super) fn save_until(&self) -> Millis {
        let grace = self.grace.as_ref().map_or(Millis::NEVER, |grace| grace.finish_by);
        let away = self.renewal.is_lost || self.renewal.is_unreachable();
        let patience = match (&self.stop, &self.work.main) {
            _ if away => self.delivery.until,
            (Some(stop), Some(main)) => stop.kill_at.max(main.at + self.options.stop_timeout_ms),
            (Some(stop), None) => stop.kill_at,
            (None, Some(_) | None) => Millis::NEVER,
        };
        grace.min(patience)
    }

    pub(super) fn stage_ended(&mut self, now: Millis, op: Op, end: StageEnd, out: &mut Vec<TaskEffect>) {
        let Some(running) = self.work.running.take_if(|running| running.op == op) else { return };
        if self.phase != Phase::Working {
            return;
        }
        let stage = running.stage;
        match end {
            StageEnd::Done(facts) => {
                self.work.retry.succeeded(now);
                self.main_ended(now, &running, Some(0), facts);
            }
            StageEnd::Failed { .. } if stage == Stage::Init && planted(Mutant::FailedInitRepeated) => {
                self.work.retry.failed(now, self.options.seed, 0);
                self.work.queue.push_front(stage);
            }
            StageEnd::Failed { code, message, exit_code, facts } => {
                self.main_ended(now, &running, exit_code, facts);
                self.stage_failed(&running, code, &message, exit_code, facts, out);
            }
            // The same stage again. Never one that runs code of the user's, whatever the shell says.
            StageEnd::Unreachable { detail, retry_after_ms }
                if !stage.is_user_code() || planted(Mutant::StageRepeatedAfterUnreachable) =>
            {
                self.work.retry.failed(now, self.options.seed, retry_after_ms);
                self.work.queue.push_front(stage);
                if self.work.retry.failed == 1 {
                    let text = format!("{} is tried again: {detail}", stage.name());
                    self.log(NoteLevel::Warning, &text, out);
                }
            }
            StageEnd::Unreachable { detail, retry_after_ms: _ } => {
                let facts = StageFacts::default();
                self.main_ended(now, &running, None, facts);
                self.stage_failed(&running, TaskErrorCode::Internal, &detail, None, facts, out);
            }
        }
    }

    /// Notes what the end of the plan or the apply says.
    fn main_ended(&mut self, now: Millis, running: &Running, exit_code: Option<i32>, facts: StageFacts) {
        if let Some(summary) = facts.summary {
            self.work.summary = Some(summary);
        }
        if !is_main(running.stage) {
            return;
        }
        self.work.main = Some(MainEnd { at: now, exit_code });
        if running.stage == Stage::Apply {
            if facts.has_errored_state && !planted(Mutant::ErroredStateNotPushed) {
                self.work.queue.push_front(Stage::PushState);
            }
            // Who was killed or lost could not say whether a state lies there; if none does, this is nothing.
            let may_have_state =
                facts.has_errored_state || running.killed.is_some() || running.orphaned.is_some();
            if may_have_state && !planted(Mutant::ErroredStateNotUploaded) {
                self.work.queue.push_front(Stage::Upload(BlobKind::ErroredState));
            }
        }
    }

    fn stage_failed(
        &mut self,
        running: &Running,
        code: TaskErrorCode,
        message: &str,
        exit_code: Option<i32>,
        facts: StageFacts,
        out: &mut Vec<TaskEffect>,
    ) {
        let stage = running.stage;
        match StageKind::of(stage) {
            StageKind::SaveState => {
                self.log(NoteLevel::Error, &format!("the state could not be kept: {message}"), out);
            }
            StageKind::PushState => {
                self.log(NoteLevel::Error, &format!("the state could not be pushed: {message}"), out);
                self.work.push_failure.get_or_insert_with(|| message.to_owned());
            }
            StageKind::Fetch | StageKind::Tool | StageKind::Hook | StageKind::Artifact => {
                if self.is_stopping() {
                    // The stop ended it, or came first: the stop is the reason.
                    self.work.is_cut_short |= is_needed(stage);
                    return;
                }
                let (code, message) = if running.orphaned.is_some() {
                    (TaskErrorCode::RunnerLost, format!("the runner is gone: {message}"))
                } else if facts.is_oom {
                    (TaskErrorCode::OomKilled, message.to_owned())
                } else {
                    (code, message.to_owned())
                };
                let failure = Failure { exit_code, is_main: is_main(stage), ..Failure::new(code, &message) };
                self.work.fail(failure);
            }
        }
    }

    /// The runner went away while the task was being worked on.
    pub(super) fn runner_lost(&mut self, now: Millis, detail: &str, out: &mut Vec<TaskEffect>) {
        self.log(NoteLevel::Error, &format!("the runner is gone: {detail}"), out);
        let Some(running) = &mut self.work.running else { return };
        match StageKind::of(running.stage) {
            // Its end may still come, and knows what lies in the run folder.
            StageKind::Tool | StageKind::Hook | StageKind::PushState => running.orphaned = Some(now),
            // What is fetched can't be used any more.
            StageKind::Fetch => {
                if !self.is_stopping() {
                    self.work.fail(Failure::runner_lost(detail));
                }
                self.kill(now, out);
            }
            StageKind::Artifact | StageKind::SaveState => {}
        }
    }

    pub(super) fn offer_work(&self, nearest: &mut Nearest) {
        if self.phase != Phase::Working {
            return;
        }
        nearest.offer(self.operation_deadline());
        nearest.offer(self.self_stop_at());
        if self.work.running.is_some() {
            self.offer_escalation(nearest);
        } else {
            nearest.offer(self.work.retry.due);
            nearest.offer(self.save_until());
            nearest.offer(self.kill_at());
        }
    }
}
