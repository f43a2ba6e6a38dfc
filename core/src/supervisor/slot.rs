//! One kind of call, of which at most one is in flight: sent when due, given up when its answer does not
//! come, made again after a backoff.
//!
//! It never decides what an answer means.

use crate::{
    backoff,
    clock::Millis,
    mutant::{Mutant, planted},
    op::{Op, Ops},
    scalr::ScalrError,
    task_api::TaskError,
};

use super::{effect::TaskEffect, options::RETRY_AFTER_MS_MAX};

/// Which call, for the dice, and how long its answer is waited for. The adapters have bounds of their own;
/// these are for answers that never come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SlotKind {
    Register,
    Start,
    Lease,
    Signals,
    Append,
    Finish,
    /// Not a call: the backoff of a stage that could not reach anybody.
    Stage,
}

impl SlotKind {
    fn salt(self) -> u64 {
        match self {
            Self::Register => 1,
            Self::Start => 2,
            Self::Lease => 3,
            Self::Signals => 4,
            Self::Append => 5,
            Self::Finish => 6,
            Self::Stage => 7,
        }
    }

    /// In milliseconds.
    fn patience_ms(self) -> u64 {
        match self {
            // Two of them fit into one lease of 60 s, with their backoff.
            Self::Lease => 15_000,
            Self::Register | Self::Start | Self::Finish => 30_000,
            // The poll itself waits for up to 30 s.
            Self::Signals => 45_000,
            // A full chunk at 20 KB/s.
            Self::Append => 60_000,
            // Stages are not given up by this clock.
            Self::Stage => u64::MAX,
        }
    }
}

/// The state of one kind of call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    kind: SlotKind,
    /// How long an answer is waited for, in milliseconds.
    pub(super) patience_ms: u64,
    in_flight: Option<Op>,
    /// When the one in flight, or the last one, was sent.
    pub(super) sent: Millis,
    /// How many have failed in a row.
    pub(super) failed: u32,
    /// No call before this moment.
    pub(super) due: Millis,
    /// Nor before this one, whatever has changed meanwhile: the server has asked for it.
    pub(super) asked_until: Millis,
}

impl Slot {
    pub(super) fn new(kind: SlotKind) -> Self {
        Self {
            kind,
            patience_ms: kind.patience_ms(),
            in_flight: None,
            sent: Millis(0),
            failed: 0,
            due: Millis(0),
            asked_until: Millis(0),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    pub(super) fn is_due(&self, now: Millis) -> bool {
        self.is_idle() && now >= self.due
    }

    /// Names the call that is made now.
    pub(super) fn send(&mut self, ops: &mut Ops, now: Millis) -> Op {
        let op = ops.draw();
        self.in_flight = Some(op);
        self.sent = now;
        op
    }

    /// Whether this answers the call in flight; it then no longer is.
    pub(super) fn take(&mut self, op: Op) -> bool {
        let is_ours = self.in_flight == Some(op);
        if is_ours {
            self.in_flight = None;
        }
        is_ours
    }

    pub(super) fn succeeded(&mut self, due: Millis) {
        self.failed = 0;
        self.due = due.max(self.asked_until);
    }

    /// There is a reason for the next call now: it goes as soon as the server wants to hear it.
    pub(super) fn soon(&mut self, now: Millis) {
        self.due = self.due.min(now.max(self.asked_until));
    }

    pub(super) fn failed(&mut self, now: Millis, seed: u64, at_least_ms: u64) {
        self.failed = self.failed.saturating_add(1);
        let is_ignored = planted(Mutant::PatienceIgnored);
        let at_least_ms = if is_ignored { 0 } else { at_least_ms.min(RETRY_AFTER_MS_MAX) };
        self.asked_until = self.asked_until.max(now + at_least_ms);
        self.due = now + backoff::wait_ms(seed, self.kind.salt(), self.failed, at_least_ms);
    }

    /// As `failed`, with no jitter beyond `ms_max` unless the server asked for more.
    pub(super) fn failed_within(&mut self, now: Millis, seed: u64, at_least_ms: u64, ms_max: u64) {
        self.failed(now, seed, at_least_ms);
        if at_least_ms == 0 {
            self.due = self.due.min(now + ms_max.max(1));
        }
    }

    /// Gives up the call in flight if its answer is overdue.
    pub(super) fn expire(&mut self, now: Millis, out: &mut Vec<TaskEffect>) -> bool {
        let is_overdue = self.in_flight.is_some() && now >= self.sent + self.patience_ms;
        if is_overdue {
            self.abandon(out);
        }
        is_overdue
    }

    pub(super) fn abandon(&mut self, out: &mut Vec<TaskEffect>) {
        if let Some(op) = self.in_flight.take() {
            out.push(TaskEffect::Abandon { op });
        }
    }

    /// When it has something to do next.
    pub(super) fn wake(&self) -> Millis {
        if self.is_idle() { self.due } else { self.sent + self.patience_ms }
    }
}

/// What stands for an answer that did not come.
pub(super) fn no_answer() -> TaskError {
    TaskError::Unreachable { detail: "nothing came in time".to_owned() }
}

/// The same for a registration.
pub(super) fn no_registration() -> ScalrError {
    ScalrError::Unreachable { detail: "nothing came in time".to_owned() }
}

/// Whether the call is simply to be made again, and what the server asked to wait.
pub(super) fn retry_after_ms(error: &TaskError) -> Option<u64> {
    match error {
        TaskError::RateLimited { retry_after_ms } => Some(*retry_after_ms),
        TaskError::Unreachable { .. } => Some(0),
        TaskError::AlreadyStarted
        | TaskError::FenceStale
        | TaskError::Canceled
        | TaskError::Finished
        | TaskError::ClaimExpired
        | TaskError::Lost
        | TaskError::Closed
        | TaskError::Differs { .. }
        | TaskError::Unauthorized { .. }
        | TaskError::SessionExpired
        | TaskError::NotFound
        | TaskError::TooLarge { .. }
        | TaskError::DigestMismatch
        | TaskError::Refused { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_has_asked_for_holds_whatever_changes_meanwhile() {
        let mut slot = Slot::new(SlotKind::Append);
        slot.failed(Millis(1_000), 7, 5_000);
        slot.soon(Millis(2_000));
        assert_eq!(slot.due, Millis(6_000), "a reason to call now does not make it sooner");
        slot.succeeded(Millis(2_000));
        assert_eq!(slot.due, Millis(6_000), "nor does an answer to something else");
        slot.soon(Millis(7_000));
        assert_eq!(slot.due, Millis(6_000));
    }
}
