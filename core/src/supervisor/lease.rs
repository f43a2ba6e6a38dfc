//! Renewals and signals: what keeps the task ours, and what the server wants of it.
//!
//! A server that is away interrupts nobody: the work goes on, and only shortly before the task would be lost
//! the workload is stopped. That moment counts from when the last acknowledged renewal was *sent*, since the
//! server may have taken it as early as that.

use scalr_protocol::task::{LeaseAnswer, Signal, Signals};

use crate::{
    clock::Millis,
    controller::effect::NoteLevel,
    mutant::{Mutant, planted},
    task_api::TaskError,
};

use super::{
    Phase, Supervisor,
    effect::{TaskCall, TaskEffect},
    input::Claim,
    options::SIGNALS_PAUSE_MS,
    slot::{self, Slot, SlotKind},
    stop::StopReason,
    timers::Nearest,
};

/// The lease of this task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Renewal {
    pub(super) slot: Slot,
    renew_ms: u64,
    lost_after_ms: u64,
    /// When the last acknowledged renewal was sent.
    acked_sent: Millis,
    /// The server has said that there is nothing to renew: lost, canceled, finished.
    pub(super) is_over: bool,
    /// The server has said that the task is lost.
    pub(super) is_lost: bool,
}

impl Renewal {
    pub(super) fn new() -> Self {
        Self {
            slot: Slot::new(SlotKind::Lease),
            renew_ms: 0,
            lost_after_ms: 0,
            acked_sent: Millis(0),
            is_over: false,
            is_lost: false,
        }
    }

    pub(super) fn claimed(&mut self, now: Millis, claim: &Claim) {
        // A server that says 0 must not be called without end.
        self.renew_ms = claim.renew_ms.max(100);
        self.lost_after_ms = claim.lost_after_ms;
        self.slot.patience_ms = self.slot.patience_ms.min(claim.lease_ttl_ms / 4).max(100);
        self.slot.due = now;
        if planted(Mutant::UserCodeBeforeConfirm) {
            self.acked_sent = now;
        }
    }

    pub(super) fn renewed(&mut self, now: Millis) {
        self.acked_sent = if planted(Mutant::LostAfterFromAnswer) { now } else { self.slot.sent };
        // Renewals are spaced from send to send; one that took longer than that is followed at once.
        self.slot.succeeded(now.max(self.slot.sent + self.renew_ms));
    }

    /// When the workload begins to stop by itself.
    fn self_stop_at(&self, stop_timeout_ms: u64) -> Millis {
        self.acked_sent + (self.lost_after_ms - stop_timeout_ms.min(self.lost_after_ms / 2))
    }

    /// When the server may have given the task up; nothing of the user's runs after it.
    pub(super) fn lost_at(&self) -> Millis {
        self.acked_sent + self.lost_after_ms
    }

    /// Whether the last renewal got no answer.
    pub(super) fn is_unreachable(&self) -> bool {
        !self.is_over && self.slot.failed > 0
    }
}

/// The poll for signals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SignalPoll {
    pub(super) slot: Slot,
    after: u64,
    pub(super) wait_ms: u64,
    is_over: bool,
}

impl SignalPoll {
    pub(super) fn new() -> Self {
        Self { slot: Slot::new(SlotKind::Signals), after: 0, wait_ms: 0, is_over: false }
    }
}

impl Supervisor {
    /// Sends the confirm, renewals and polls that are due.
    pub(super) fn advance_lease(&mut self, now: Millis, out: &mut Vec<TaskEffect>) {
        match self.phase {
            Phase::Confirming | Phase::Working | Phase::Delivering => {}
            Phase::New | Phase::Claiming | Phase::Over => return,
        }
        if self.wants_renewals() && self.renewal.slot.is_due(now) {
            let phase = self.phase().to_owned();
            let op = self.renewal.slot.send(&mut self.ops, now);
            out.push(TaskEffect::Call { op, call: TaskCall::Lease { phase } });
        }
        if self.wants_signals() && self.signals.slot.is_due(now) {
            let op = self.signals.slot.send(&mut self.ops, now);
            let call = TaskCall::Signals { after: self.signals.after, wait_ms: self.signals.wait_ms };
            out.push(TaskEffect::Call { op, call });
        }
    }

    /// Until the outcome is recorded: a finish that waits for the log must not let the lease lapse.
    fn wants_renewals(&self) -> bool {
        let is_paused = planted(Mutant::RenewalsPauseDuringStage) && self.work.running.is_some();
        !self.renewal.is_over && !self.delivery.is_recorded && !is_paused
    }

    fn wants_signals(&self) -> bool {
        self.phase == Phase::Working && !self.renewal.is_over && !self.signals.is_over
    }

    /// When the lease has run out so far that the work must stop by itself.
    pub(super) fn self_stop_at(&self) -> Millis {
        if self.renewal.is_over || self.is_stopping() || planted(Mutant::GoesOnAfterLostAfter) {
            return Millis::NEVER;
        }
        self.renewal.self_stop_at(self.options.stop_timeout_ms)
    }

    pub(super) fn offer_lease(&self, nearest: &mut Nearest) {
        match self.phase {
            Phase::Confirming | Phase::Working | Phase::Delivering => {}
            Phase::New | Phase::Claiming | Phase::Over => return,
        }
        if self.wants_renewals() {
            nearest.offer(self.renewal.slot.wake());
        }
        if self.wants_signals() {
            nearest.offer(self.signals.slot.wake());
        }
    }

    pub(super) fn lease_answered(
        &mut self,
        now: Millis,
        answer: Result<LeaseAnswer, TaskError>,
        out: &mut Vec<TaskEffect>,
    ) {
        let answer = answer.or_else(believed);
        if self.phase == Phase::Confirming {
            self.confirm_answered(now, answer, out);
            return;
        }
        match answer {
            Ok(answer) => {
                if self.renewal.slot.failed > 0 {
                    self.log(NoteLevel::Info, "the server renews the lease again", out);
                }
                self.renewal.renewed(now);
                self.obey(now, answer.signal, out);
            }
            Err(error) => self.lease_refused(now, &error, out),
        }
    }

    fn lease_refused(&mut self, now: Millis, error: &TaskError, out: &mut Vec<TaskEffect>) {
        match error {
            TaskError::Canceled => self.lease_over(now, StopReason::Canceled, error, out),
            TaskError::Lost => {
                self.renewal.is_lost = true;
                self.lease_over(now, StopReason::LeaseLost, error, out);
            }
            TaskError::Finished
            | TaskError::AlreadyStarted
            | TaskError::FenceStale
            | TaskError::ClaimExpired
            | TaskError::Closed => self.lease_over(now, StopReason::LeaseLost, error, out),
            TaskError::Unreachable { .. }
            | TaskError::RateLimited { .. }
            | TaskError::Differs { .. }
            | TaskError::Unauthorized { .. }
            | TaskError::SessionExpired
            | TaskError::NotFound
            | TaskError::TooLarge { .. }
            | TaskError::DigestMismatch
            | TaskError::Refused { .. } => {
                let at_least_ms = slot::retry_after_ms(error).unwrap_or(0);
                let (seed, renew_ms) = (self.options.seed, self.renewal.renew_ms);
                self.renewal.slot.failed_within(now, seed, at_least_ms, renew_ms);
                if planted(Mutant::StopsAtFirstMissedRenewal) {
                    self.begin_stop(now, StopReason::LeaseLost, out);
                }
                if self.renewal.slot.failed == 1 {
                    let text = format!("the lease could not be renewed; the work goes on: {error}");
                    self.log(NoteLevel::Warning, &text, out);
                }
            }
        }
    }

    /// The task is terminal at the server: the workload ends, the delivery goes on.
    pub(super) fn lease_over(
        &mut self,
        now: Millis,
        reason: StopReason,
        error: &TaskError,
        out: &mut Vec<TaskEffect>,
    ) {
        if self.renewal.is_over {
            return;
        }
        self.renewal.is_over = true;
        self.renewal.slot.abandon(out);
        self.signals.slot.abandon(out);
        // After a finish whose answer was lost this says that it has come: asked again at once.
        self.delivery.slot.soon(now);
        if self.phase == Phase::Working {
            self.log(NoteLevel::Warning, &format!("the lease is over: {error}"), out);
            self.begin_stop(now, reason, out);
        }
    }

    pub(super) fn signals_answered(
        &mut self,
        now: Millis,
        answer: Result<Signals, TaskError>,
        out: &mut Vec<TaskEffect>,
    ) {
        match answer {
            Ok(answer) => {
                self.signals.after = self.signals.after.max(answer.last);
                self.signals.slot.succeeded(now.max(self.signals.slot.sent + SIGNALS_PAUSE_MS));
                for signal in answer.signals {
                    self.obey(now, Some(signal), out);
                }
            }
            Err(error) => match slot::retry_after_ms(&error) {
                Some(at_least_ms) => self.signals.slot.failed(now, self.options.seed, at_least_ms),
                None => match error {
                    // A renewal says what is the matter, and is asked for at once.
                    TaskError::Canceled
                    | TaskError::Finished
                    | TaskError::Lost
                    | TaskError::Closed
                    | TaskError::AlreadyStarted
                    | TaskError::FenceStale
                    | TaskError::ClaimExpired => {
                        self.signals.is_over = true;
                        self.renewal.slot.soon(now);
                    }
                    TaskError::Differs { .. }
                    | TaskError::Unauthorized { .. }
                    | TaskError::SessionExpired
                    | TaskError::NotFound
                    | TaskError::TooLarge { .. }
                    | TaskError::DigestMismatch
                    | TaskError::RateLimited { .. }
                    | TaskError::Unreachable { .. }
                    | TaskError::Refused { .. } => {
                        self.signals.slot.failed(now, self.options.seed, 0);
                    }
                },
            },
        }
    }

    /// Does what the server wants.
    pub(super) fn obey(&mut self, now: Millis, signal: Option<Signal>, out: &mut Vec<TaskEffect>) {
        match signal {
            Some(Signal::Cancel) if planted(Mutant::CancelIgnoredAtWork) => {}
            Some(Signal::Cancel) => self.begin_stop(now, StopReason::Canceled, out),
            Some(Signal::ForceCancel) if planted(Mutant::ForceCancelWaits) => {
                self.begin_stop(now, StopReason::Canceled, out);
            }
            Some(Signal::ForceCancel) => self.begin_stop(now, StopReason::ForceCanceled, out),
            // A renewal repeats its signal with every answer: said once.
            Some(Signal::Unknown) if !self.has_met_unknown_signal => {
                self.has_met_unknown_signal = true;
                self.log(NoteLevel::Warning, "a signal that this version does not know was ignored", out);
            }
            Some(Signal::Unknown) | None => {}
        }
    }
}

/// What a refused lease is taken for: a refusal, unless a mutant takes it for a yes.
fn believed(error: TaskError) -> Result<LeaseAnswer, TaskError> {
    let is_gone = matches!(error, TaskError::ClaimExpired | TaskError::FenceStale);
    let is_yes = (is_gone && planted(Mutant::FenceUnchecked))
        || (error == TaskError::Canceled && planted(Mutant::CancelIgnoredBeforeStart));
    if is_yes { Ok(LeaseAnswer { ttl_ms: 0, signal: None }) } else { Err(error) }
}
