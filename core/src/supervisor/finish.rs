//! The end: the log delivered, the outcome recorded, the process gone.
//!
//! Exactly one outcome: it is decided once, when the work is over, and every finish carries the same. It is
//! sent until it is answered, for as long as the server keeps the door open; renewals go on until then. The
//! shell reports all output of a stage as spooled before it reports the stage's end, so that the length in
//! the outcome is the console's whole length.

use scalr_protocol::task::{Finished, Outcome, TaskErrorCode};

use crate::{
    clock::Millis,
    controller::effect::NoteLevel,
    mutant::{Mutant, planted},
    task_api::TaskError,
};

use super::{
    Phase, Supervisor,
    effect::{FinishOutline, TaskCall, TaskEffect},
    options::{FINISH_REFUSALS_MAX, LOG_OPEN_MS},
    slot::{self, Slot, SlotKind},
    stages::task_error,
    timers::Nearest,
};

/// How far the outcome has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Delivery {
    pub(super) slot: Slot,
    /// When the delivery is given up.
    pub(super) until: Millis,
    /// What is being delivered, once decided.
    outline: Option<FinishOutline>,
    /// The server has it.
    pub(super) is_recorded: bool,
    /// It keeps it beside `lost`: there is nothing to complete by another finish.
    is_late: bool,
    /// How often it was refused.
    refusals: u32,
}

impl Delivery {
    pub(super) fn new() -> Self {
        Self {
            slot: Slot::new(SlotKind::Finish),
            until: Millis::NEVER,
            outline: None,
            is_recorded: false,
            is_late: false,
            refusals: 0,
        }
    }
}

impl Supervisor {
    pub(super) fn begin_delivery(&mut self, now: Millis, out: &mut Vec<TaskEffect>) {
        if planted(Mutant::LateDeliverySkipped) && self.renewal.is_lost {
            self.exit(1, out);
            return;
        }
        self.phase = Phase::Delivering;
        self.delivery.until = self.delivery.until.min(now + self.options.delivery_max_ms);
        self.signals.slot.abandon(out);
    }

    pub(super) fn advance_delivery(&mut self, now: Millis, out: &mut Vec<TaskEffect>) {
        if self.phase != Phase::Delivering || (now < self.console.printed_until() && !self.is_pressed(now)) {
            return;
        }
        if self.delivery.outline.is_none() {
            self.delivery.outline = Some(self.outline());
        }
        if self.delivery.is_recorded && self.is_as_whole_as_it_gets() {
            self.exit(0, out);
            return;
        }
        if self.may_finish(now)
            && self.delivery.slot.is_due(now)
            && let Some(outline) = self.delivery.outline.clone()
        {
            let op = self.delivery.slot.send(&mut self.ops, now);
            out.push(TaskEffect::Call { op, call: TaskCall::Finish(outline) });
        }
    }

    /// Whether the grace leaves no time to wait for the log.
    fn is_pressed(&self, now: Millis) -> bool {
        self.grace.as_ref().is_some_and(|grace| now >= grace.finish_by)
    }

    /// The log goes first, unless the server refuses it, or it has been stuck for long, or time runs out.
    fn may_finish(&self, now: Millis) -> bool {
        let is_ahead = !self.delivery.is_recorded
            && (self.console.is_refused || now >= self.console.patience_ends() || self.is_pressed(now));
        self.console.is_settled() || is_ahead || planted(Mutant::FinishBeforeLog)
    }

    /// With the outcome recorded: whether there is nothing left to do for the log.
    fn is_as_whole_as_it_gets(&self) -> bool {
        let is_late_and_whole = self.delivery.is_late && self.console.is_settled();
        is_late_and_whole || self.console.is_closed() || self.console.is_refused
    }

    /// The outcome, as the work, the stop and the state's fate have made it.
    fn outline(&mut self) -> FinishOutline {
        let main_exit_code = self.work.main.and_then(|main| main.exit_code);
        let (mut outcome, exit_code, mut error) = match (&self.work.failure, &self.stop) {
            (Some(failure), _) if planted(Mutant::SuccessDespiteFailure) => {
                (Outcome::Succeeded, failure.exit_code, None)
            }
            (Some(failure), _) => (failure.outcome, failure.exit_code, Some(failure.error.clone())),
            (None, Some(stop)) if self.work.is_cut_short || planted(Mutant::CanceledDespiteSuccess) => {
                let error = task_error(stop.reason.code(), stop.reason.sentence());
                (stop.reason.outcome(), main_exit_code, Some(error))
            }
            (None, Some(_) | None) if planted(Mutant::FailureDespiteSuccess) => {
                (Outcome::Failed, main_exit_code, None)
            }
            (None, Some(_) | None) => (Outcome::Succeeded, main_exit_code, None),
        };
        if let Some(why) = &self.work.push_failure {
            let before = error.map(|error| format!("; before that: {}", error.message)).unwrap_or_default();
            let message = format!("the state could not be pushed: {why}{before}");
            error = Some(task_error(TaskErrorCode::StatePushFailed, &message));
            if outcome == Outcome::Succeeded {
                outcome = Outcome::Errored;
            }
        }
        let log_bytes = self.console.close_at_its_end();
        FinishOutline { outcome, exit_code, error, summary: self.work.summary, log_bytes }
    }

    pub(super) fn finish_answered(
        &mut self,
        now: Millis,
        answer: Result<Finished, TaskError>,
        out: &mut Vec<TaskEffect>,
    ) {
        match answer {
            Ok(Finished::Whole) => self.exit(0, out),
            Ok(Finished::LogIncomplete { log_bytes }) => {
                self.recorded(now, out);
                if log_bytes >= self.console.end() {
                    // It has all the bytes and still says so: asked again, not at once.
                    self.delivery.slot.failed(now, self.options.seed, 0);
                } else {
                    self.delivery.slot.succeeded(now);
                }
                self.console.resync(now, log_bytes);
            }
            Ok(Finished::Late { log_bytes }) => {
                self.delivery.is_recorded = true;
                self.delivery.is_late = true;
                self.renewal.slot.abandon(out);
                self.console.resync(now, log_bytes);
            }
            Err(error) => self.finish_refused(now, &error, out),
        }
    }

    /// The outcome is safe; the log stays open for a while.
    fn recorded(&mut self, now: Millis, out: &mut Vec<TaskEffect>) {
        if !self.delivery.is_recorded {
            self.delivery.is_recorded = true;
            self.delivery.until = self.delivery.until.min(now + LOG_OPEN_MS);
            self.renewal.slot.abandon(out);
        }
    }

    fn finish_refused(&mut self, now: Millis, error: &TaskError, out: &mut Vec<TaskEffect>) {
        match error {
            TaskError::Unreachable { .. } if planted(Mutant::FinishNotRetried) => {
                self.exit(u8::from(!self.delivery.is_recorded), out);
            }
            // The task has an outcome, be it another one.
            TaskError::Differs { .. } | TaskError::Canceled | TaskError::Finished => {
                self.log(NoteLevel::Error, &format!("the outcome was not taken: {error}"), out);
                self.exit(0, out);
            }
            TaskError::Closed
            | TaskError::Lost
            | TaskError::AlreadyStarted
            | TaskError::FenceStale
            | TaskError::ClaimExpired => {
                self.log(NoteLevel::Error, &format!("the outcome could not be delivered: {error}"), out);
                self.exit(u8::from(!self.delivery.is_recorded), out);
            }
            TaskError::RateLimited { .. } | TaskError::Unreachable { .. } => {
                let at_least_ms = slot::retry_after_ms(error).unwrap_or(0);
                let ms_max = self.delivery_backoff_ms_max();
                self.delivery.slot.failed_within(now, self.options.seed, at_least_ms, ms_max);
                if self.delivery.slot.failed == 1 {
                    self.log(NoteLevel::Warning, &format!("the outcome is sent again: {error}"), out);
                }
            }
            TaskError::Unauthorized { .. }
            | TaskError::SessionExpired
            | TaskError::NotFound
            | TaskError::TooLarge { .. }
            | TaskError::DigestMismatch
            | TaskError::Refused { .. } => {
                self.delivery.refusals += 1;
                self.log(NoteLevel::Error, &format!("the outcome was refused: {error}"), out);
                if self.delivery.refusals >= FINISH_REFUSALS_MAX {
                    self.exit(u8::from(!self.delivery.is_recorded), out);
                } else {
                    self.delivery.slot.failed(now, self.options.seed, 0);
                }
            }
        }
    }

    /// Leaves when time is up, whatever is still missing.
    pub(super) fn leave_in_time(&mut self, now: Millis, out: &mut Vec<TaskEffect>) {
        if self.phase == Phase::Over || now < self.leave_at() {
            return;
        }
        if self.delivery.is_recorded {
            self.log(NoteLevel::Warning, "the end of the console could not be delivered", out);
            self.exit(0, out);
        } else {
            self.log(NoteLevel::Error, "the outcome could not be delivered in time", out);
            self.exit(1, out);
        }
    }

    fn leave_at(&self) -> Millis {
        let grace = self.grace.as_ref().map_or(Millis::NEVER, |grace| grace.leave_at);
        grace.min(self.delivery.until)
    }

    pub(super) fn offer_delivery(&self, now: Millis, nearest: &mut Nearest) {
        if self.phase > Phase::Claiming {
            nearest.offer(self.leave_at());
        }
        if self.phase == Phase::Delivering {
            nearest.offer(self.console.printed_until());
            nearest.offer(self.console.patience_ends());
            nearest.offer(self.grace.as_ref().map_or(Millis::NEVER, |grace| grace.finish_by));
            if !self.delivery.slot.is_idle() || self.may_finish(now) {
                nearest.offer(self.delivery.slot.wake());
            }
        }
    }
}
