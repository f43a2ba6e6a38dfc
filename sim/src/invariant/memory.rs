//! Memory: a brain holds what lives, and a bounded rest.

use scalr_core::{
    clock::Millis,
    controller::{Controller, Remembered},
};

use super::{Checked, Checks, Invariant};
use crate::words;
use crate::world::{World, process::ProcessId};

/// Entries that a controller may have beyond one for each open task and each Job: fences that are shut and
/// not yet answered.
const SPARE: usize = 16;

/// What always runs: heartbeat, acquire, messages, events, two watches and what restarts them.
const STANDING: usize = 16;

/// What went all at once is seen to go one by one, and by a watch that says nothing only when it is replaced.
const SEEN_MS: u64 = 360_000;

/// How much there was at most, not long ago.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peak {
    since: Millis,
    before: usize,
    now: usize,
}

impl Peak {
    /// The same, where there is so much now.
    fn of(&mut self, now: Millis, much: usize) -> usize {
        if now.since(self.since) > SEEN_MS {
            *self = Self { since: now, before: self.now, now: 0 };
        }
        self.now = self.now.max(much);
        self.now.max(self.before)
    }
}

impl Checks {
    /// While it works: no more than a few entries for each task that is open and each object that is stored.
    pub(super) fn memory(&mut self, world: &World, process: ProcessId, brain: &Controller) -> Checked {
        let open = world.truth().open() as usize;
        let stored = world.cluster().jobs().count() + world.cluster().pods().count();
        let most = 4 * self.peak.of(self.now, open + stored) + SPARE;
        let remembered = brain.remembered();
        self.remembers_at_most(process, remembered, most, 6 * most + STANDING)
    }

    /// At rest: nothing.
    pub(super) fn memory_at_rest(&self, process: ProcessId, brain: &Controller) -> Checked {
        self.remembers_at_most(process, brain.remembered(), 0, STANDING)
    }

    pub(super) fn remembers_at_most(
        &self,
        process: ProcessId,
        remembered: Remembered,
        things_max: usize,
        rest_max: usize,
    ) -> Checked {
        let Remembered { entries, objects, calls, timers, doors, events: _ } = remembered;
        let holds = entries.max(objects).max(doors) <= things_max && calls.max(timers) <= rest_max;
        if holds {
            return Ok(());
        }
        let what = format!(
            "{process} remembers {}, expected at most {things_max} of a thing",
            words::remembered(&remembered)
        );
        Err(self.broken(Invariant::BoundedMemory, None, what))
    }
}
