//! What a reaction needs besides the model: the moment, the dice, and a place for what follows; and timers
//! whose old events do nothing.

use scalr_core::clock::Millis;

use super::alphabet::{Internal, Reaction};
use crate::luck::{Luck, Purpose, Span};

/// One reaction in progress.
pub(super) struct Turn<'a> {
    /// The moment.
    pub(super) now: Millis,
    /// The dice.
    pub(super) luck: &'a Luck,
    /// What follows.
    pub(super) out: &'a mut Vec<Reaction>,
}

impl Turn<'_> {
    /// Asks for an event of the cluster's own.
    pub(super) fn later(&mut self, at: Millis, event: Internal) {
        self.out.push(Reaction::Later { after_ms: at.since(self.now), event });
    }

    /// How long something takes this time.
    pub(super) fn span(&self, purpose: Purpose, object: u64, attempt: u64, span: &Span) -> u64 {
        self.luck.span(purpose, object, attempt, span)
    }
}

/// When something is due, if it is. Setting it again makes its older events meaningless: one that comes at
/// another moment than the one that is set does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Timer(Option<Millis>);

impl Timer {
    /// Due at this moment and at no other.
    pub(super) fn set(&mut self, turn: &mut Turn<'_>, at: Millis, event: Internal) {
        if self.0 != Some(at) {
            self.0 = Some(at);
            turn.later(at, event);
        }
    }

    /// Due at this moment at the latest.
    pub(super) fn set_by(&mut self, turn: &mut Turn<'_>, at: Millis, event: Internal) {
        if self.0.is_none_or(|due| at < due) {
            self.set(turn, at, event);
        }
    }

    /// Not due.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// Whether it is due at all.
    pub(super) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Whether an event that comes now is the one; then it is due no more.
    pub(super) fn ring(&mut self, now: Millis) -> bool {
        let is_due = self.0.is_some_and(|due| due <= now);
        if is_due {
            self.0 = None;
        }
        is_due
    }
}
