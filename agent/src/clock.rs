//! The clock of a real machine: monotone, and it counts the time in which the machine was suspended, so
//! that a lease that ran out while a laptop slept is seen to have run out.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use scalr_core::clock::{Clock, Millis};

/// How long at most one sleep lasts. tokio's timers stand still while the machine is suspended, so a long
/// sleep is cut into short ones and the real clock is asked after each.
const NAP_MS_MAX: u64 = 10_000;

/// `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Millis {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        Millis(seconds * 1_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000)
    }

    async fn wake_at(&self, at: Millis) {
        loop {
            let left_ms = at.since(self.now());
            if left_ms == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(left_ms.min(NAP_MS_MAX))).await;
        }
    }
}

/// The time of day, for what people read. Nothing is decided by it.
#[expect(clippy::disallowed_methods, reason = "this is the adapter that reads the clock")]
pub fn wall() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
