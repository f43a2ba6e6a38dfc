//! How long a call for the state is held: what to do next, from what has come of it and how things stand.
//!
//! Pure: time and dice are inputs. It never says to give up while nothing stops, short of its bound.

use scalr_core::clock::Millis;

/// How long a call is held while nothing stops. As long as a serving Scalr waits for a worker before it calls
/// a task lost (its default): where all of Scalr is away the worker stops the tool earlier, so this is for a
/// Scalr that renews leases and can't keep a state.
const HOLD_MS_MAX: u64 = 30 * 60 * 1_000;
/// The pause after the first try. It doubles.
const PAUSE_MS: u64 = 500;
/// The longest pause: a state is saved at most this long after Scalr is back, and a thousand runs that hold
/// one are a hundred calls a second.
const PAUSE_MS_MAX: u64 = 10_000;
/// The longest pause that a server may ask for.
const RETRY_AFTER_MS_MAX: u64 = 60_000;
/// How long one try may be silent, in both directions, while nothing stops: what a server may need to store a
/// large state.
const SILENCE_MS_MAX: u64 = 60_000;
/// The same once a stop has begun: more than a server that is well takes. Where packets vanish, a tool that
/// does ten things at once spends less than a minute on it, since it saves its state once for each and three
/// times more; sixty things would still fit into a stop.
const QUICK_SILENCE_MS_MAX: u64 = 4_000;
/// How long the one try of a stop may take in all, while its bytes move: 500 MB at 20 MB/s.
const QUICK_MS_MAX: u64 = 25_000;

/// How things stand with the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Nothing stops.
    Calm,
    /// A stop has begun, and a worker is there for what the tool saves: better soon in `errored.tfstate` than
    /// late at Scalr.
    Stopping {
        /// When it began.
        since: Millis,
    },
    /// The worker is gone. What the tool saves beside itself is lost with the pod, so Scalr is waited for
    /// while there is time.
    Alone {
        /// When the tool must be let go.
        until: Millis,
    },
}

impl Mood {
    /// Since when the tool must not be held up; none while it may be.
    fn in_haste_since(self, now: Millis) -> Option<Millis> {
        match self {
            Self::Calm => None,
            Self::Stopping { since } => Some(since),
            Self::Alone { until } => (now >= until).then_some(until),
        }
    }

    /// Whether a try that began then, and in which bytes last moved then, is to be given up.
    pub(super) fn ends_try(self, now: Millis, began: Millis, moved: Millis) -> bool {
        match self.in_haste_since(now) {
            None => now.since(moved) >= SILENCE_MS_MAX || now.since(began) >= HOLD_MS_MAX,
            Some(since) => {
                now.since(moved) >= QUICK_SILENCE_MS_MAX || now.since(began.max(since)) >= QUICK_MS_MAX
            }
        }
    }
}

/// What to do with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Make a try now.
    Try,
    /// Look again then, or when the mood changes.
    WaitUntil(Millis),
    /// Tell the tool that there is no answer.
    GiveUp,
}

/// A call that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    since: Millis,
    /// Tries that came to nothing.
    failures: u32,
    /// The same, of those that ended in haste.
    hasty_failures: u32,
    next_at: Millis,
}

impl Held {
    pub(super) fn new(now: Millis) -> Self {
        Self { since: now, failures: 0, hasty_failures: 0, next_at: now }
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn next(&self, now: Millis, mood: Mood) -> Next {
        if mood.in_haste_since(now).is_some() {
            return if self.hasty_failures == 0 { Next::Try } else { Next::GiveUp };
        }
        let end = match mood {
            Mood::Calm | Mood::Stopping { .. } => self.since + HOLD_MS_MAX,
            Mood::Alone { until } => until,
        };
        if self.failures > 0 && now >= end {
            Next::GiveUp
        } else if now >= self.next_at {
            Next::Try
        } else {
            Next::WaitUntil(self.next_at.min(end))
        }
    }

    /// A try came to nothing; the server may have said when to come back. `dice` is any number.
    pub(super) fn failed(&mut self, now: Millis, mood: Mood, retry_after_ms: u64, dice: u64) {
        let longest = (PAUSE_MS << self.failures.min(16)).min(PAUSE_MS_MAX);
        // Between a half and the whole, so that runs that were cut off together do not come back together.
        let pause_ms = longest / 2 + dice % (longest / 2 + 1);
        self.next_at = now + pause_ms.max(retry_after_ms.min(RETRY_AFTER_MS_MAX));
        self.failures = self.failures.saturating_add(1);
        if mood.in_haste_since(now).is_some() {
            self.hasty_failures = self.hasty_failures.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests;
