//! Everything the Controller waits for by the clock: one ordered table, one wake at a time.

use std::collections::{BTreeMap, BTreeSet};

use scalr_protocol::agent::TaskAt;

use crate::{
    clock::Millis,
    cluster::{Kind, Uid},
};

/// What is to be done then.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// Make a plan.
    Plan,
    /// Register.
    Register,
    /// Send a heartbeat.
    Heartbeat,
    /// Ask for tasks.
    Acquire,
    /// Ask for messages.
    Messages,
    /// Send launch events.
    Events,
    /// Deregister.
    Deregister,
    /// Give up calls that nobody answers.
    Calls,
    /// List or watch a kind.
    Feed(Kind),
    /// Replace a watch that says nothing.
    Silence(Kind),
    /// A launch lease may have lapsed.
    Lease,
    /// Creations may be tried again.
    Gate,
    /// Jobs may have got no pods for a while.
    Window,
    /// Exit, whatever is left.
    Deadline,
    /// Make its Job again, or give up knowing whether it was made.
    Create(TaskAt),
    /// A task that could not be launched may be planned again.
    Retry(TaskAt),
    /// It has taken too long to start.
    Startup(TaskAt),
    /// Shut its door.
    Door(TaskAt),
    /// Say that its worker is lost.
    Loss(TaskAt),
    /// Delete a Job.
    Delete(Uid),
}

impl Timer {
    /// Whether it comes to nothing without a session.
    pub(super) fn needs_session(&self) -> bool {
        match self {
            Self::Heartbeat
            | Self::Acquire
            | Self::Messages
            | Self::Events
            | Self::Deregister
            | Self::Door(_)
            | Self::Loss(_) => true,
            Self::Plan
            | Self::Register
            | Self::Calls
            | Self::Feed(_)
            | Self::Silence(_)
            | Self::Lease
            | Self::Gate
            | Self::Window
            | Self::Deadline
            | Self::Create(_)
            | Self::Retry(_)
            | Self::Startup(_)
            | Self::Delete(_) => false,
        }
    }
}

/// The table. A timer stands in it once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Timers {
    by_time: BTreeSet<(Millis, Timer)>,
    at: BTreeMap<Timer, Millis>,
}

impl Timers {
    /// Sets a timer, moving it if it was set.
    pub(super) fn set(&mut self, timer: Timer, at: Millis) {
        match self.at.get_mut(&timer) {
            Some(old) if *old == at => return,
            Some(old) => {
                self.by_time.remove(&(*old, timer.clone()));
                *old = at;
            }
            None => {
                self.at.insert(timer.clone(), at);
            }
        }
        self.by_time.insert((at, timer));
    }

    /// Sets a timer unless it would fire sooner already.
    pub(super) fn set_by(&mut self, timer: Timer, at: Millis) {
        if self.at.get(&timer).is_none_or(|old| at < *old) {
            self.set(timer, at);
        }
    }

    /// Forgets a timer.
    pub(super) fn clear(&mut self, timer: &Timer) {
        if let Some(old) = self.at.remove(timer) {
            self.by_time.remove(&(old, timer.clone()));
        }
    }

    /// When a timer fires, if it is set.
    pub(super) fn at(&self, timer: &Timer) -> Option<Millis> {
        self.at.get(timer).copied()
    }

    /// How many are set.
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// When the next one fires.
    pub(super) fn next(&self) -> Option<Millis> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes all that are due. What they set is due at the next wake, so that no wake is endless.
    pub(super) fn take_due(&mut self, now: Millis) -> Vec<Timer> {
        let mut due = Vec::new();
        while let Some((at, _)) = self.by_time.first()
            && *at <= now
            && let Some((_, timer)) = self.by_time.pop_first()
        {
            self.at.remove(&timer);
            due.push(timer);
        }
        due
    }
}
