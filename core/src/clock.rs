//! Time as a seam: the brains are told what time it is, and ask to be woken.

use std::{fmt, ops};

use serde::{Deserialize, Serialize};

/// A moment of one process, in milliseconds since some origin of its own. It never goes back, and it counts
/// the time in which the machine was suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// A moment that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// How long ago `earlier` was, in milliseconds; 0 if it lies ahead.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl ops::Add<u64> for Millis {
    type Output = Self;

    fn add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl ops::Sub<u64> for Millis {
    type Output = Self;

    fn sub(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}s", self.0 / 1000, self.0 % 1000)
    }
}

/// The clock of a process. In production it counts suspension; in simulation it is the world's heap.
pub trait Clock: Send + Sync {
    /// What time it is.
    fn now(&self) -> Millis;

    /// Resolves once `now` has reached `at`.
    fn wake_at(&self, at: Millis) -> impl Future<Output = ()> + Send;
}
