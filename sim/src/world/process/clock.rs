//! The clock of a process: it may begin anywhere, run fast or slow, and be set, as real ones are.
//!
//! It must never run backwards.

use scalr_core::clock::Millis;

use super::super::setup::ClockSetup;

/// A clock against the world's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// What it showed, and what the world's did, when its rate changed last.
    base: Millis,
    world: Millis,
    pub(super) drift_ppm: i32,
}

impl Clock {
    pub(super) fn new(setup: ClockSetup) -> Self {
        Self { base: Millis(setup.origin_ms), world: Millis(0), drift_ppm: setup.drift_ppm }
    }

    fn rate(self) -> u64 {
        u64::try_from(1_000_000 + i64::from(self.drift_ppm).max(-900_000)).unwrap_or(1_000_000)
    }

    pub(super) fn at(self, world: Millis) -> Millis {
        let since = u128::from(world.since(self.world)) * u128::from(self.rate()) / 1_000_000;
        self.base + u64::try_from(since).unwrap_or(u64::MAX)
    }

    /// The first moment of the world at which it shows this.
    pub(super) fn world_at(self, local: Millis) -> Millis {
        if local == Millis::NEVER {
            return Millis::NEVER;
        }
        let since = (u128::from(local.since(self.base)) * 1_000_000).div_ceil(u128::from(self.rate()));
        self.world + u64::try_from(since).unwrap_or(u64::MAX)
    }

    pub(super) fn change(&mut self, now: Millis, ahead_ms: u64, drift_ppm: i32) {
        *self = Self { base: self.at(now) + ahead_ms, world: now, drift_ppm };
    }
}
