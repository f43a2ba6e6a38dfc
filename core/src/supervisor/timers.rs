//! When to be woken: the nearest moment that lies ahead, asked for only when it changes.
//!
//! A moment that has come was acted upon in its step; what it then waits for is something else, so it never
//! makes the shell spin.

use crate::clock::Millis;

use super::{Phase, Supervisor, effect::TaskEffect};

/// The nearest moment that lies ahead.
pub(super) struct Nearest {
    now: Millis,
    at: Millis,
}

impl Nearest {
    pub(super) fn offer(&mut self, at: Millis) {
        if at > self.now {
            self.at = self.at.min(at);
        }
    }
}

impl Supervisor {
    pub(super) fn set_wake(&mut self, now: Millis, out: &mut Vec<TaskEffect>) {
        if self.phase == Phase::Over {
            return;
        }
        if self.wake <= now {
            self.wake = Millis::NEVER;
        }
        let mut nearest = Nearest { now, at: Millis::NEVER };
        self.offer_claim(&mut nearest);
        self.offer_lease(&mut nearest);
        self.offer_work(&mut nearest);
        self.offer_console(&mut nearest);
        self.offer_delivery(now, &mut nearest);
        if nearest.at != self.wake && nearest.at != Millis::NEVER {
            self.wake = nearest.at;
            out.push(TaskEffect::WakeAt(nearest.at));
        }
    }
}
