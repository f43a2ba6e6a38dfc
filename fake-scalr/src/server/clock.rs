//! The one reader of clocks and dice: what the pure state machine takes as inputs is drawn here.
//!
//! Its milliseconds count the time in which a server serves: after a restart they go on where the journal
//! ends, so that no lease ends sooner than its full length.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use tokio::time::Instant;

/// The serving time of one process.
#[derive(Debug)]
pub(super) struct ServingClock {
    base_ms: u64,
    started: Instant,
    /// What was jumped over on request.
    skipped_ms: AtomicU64,
}

impl ServingClock {
    /// A clock that goes on from `base_ms`.
    pub(super) fn starting_at(base_ms: u64) -> Self {
        Self { base_ms, started: Instant::now(), skipped_ms: AtomicU64::new(0) }
    }

    /// Milliseconds of serving, over all processes of this data folder.
    pub(super) fn now_ms(&self) -> u64 {
        let served_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.origin_ms().saturating_add(served_ms)
    }

    /// Jumps ahead: as if the server had served for so long with nobody calling.
    pub(super) fn skip(&self, ms: u64) {
        self.skipped_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn origin_ms(&self) -> u64 {
        self.base_ms.saturating_add(self.skipped_ms.load(Ordering::Relaxed))
    }

    /// When that is, for a sleep.
    pub(super) fn instant_of(&self, now_ms: u64) -> Instant {
        self.started + std::time::Duration::from_millis(now_ms.saturating_sub(self.origin_ms()))
    }
}

/// The time of day, for people.
#[expect(clippy::disallowed_methods, reason = "this is the adapter that reads the clock")]
pub(super) fn wall() -> Timestamp {
    Timestamp::now()
}
