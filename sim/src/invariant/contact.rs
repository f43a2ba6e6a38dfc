//! Contact: what a worker owes to Scalr's patience, and a controller to a lease.

use scalr_core::{clock::Millis, supervisor::effect::StopSignal};
use scalr_protocol::id::Fence;

use super::{Checked, Checks, Invariant, hands::status_of};
use crate::words;
use crate::world::{World, process::ProcessId, setup::TaskNumber};

/// A brain that is awake does what is due at once.
const AT_ONCE_MS: u64 = 100;

/// How long a tool takes at most from the kill to its end.
const KILL_MS: u64 = 2_000;

impl Checks {
    /// A task is lent: had the last who had it done anything to lose it?
    pub(super) fn lease_kept(
        &mut self,
        world: &World,
        number: TaskNumber,
        process: ProcessId,
        fence: Fence,
    ) -> Checked {
        let watched = self.tasks.entry(number).or_default();
        let before = watched.lent.replace((process, fence));
        let (granted, was_claimed) = (watched.granted, std::mem::take(&mut watched.was_claimed));
        let Some((holder, old)) = before.filter(|(_, old)| *old != fence) else { return Ok(()) };
        // Whoever shuts its door may hear of that later than the next of the grant.
        if self.hands.values().any(|hands| hands.has_shut((number, old))) {
            return Ok(());
        }
        let was_calm = self.was_calm(granted);
        let is_there = status_of(world, holder).is_some_and(|status| !status.is_draining);
        self.require(!was_calm || !is_there || was_claimed, Invariant::LaunchLease, number, || {
            format!("its lease under fence {} lapsed, and {holder} lives", old.0)
        })
    }

    /// The door of a grant is shut: its lease has not lapsed.
    pub(super) fn door_shut(&mut self, number: TaskNumber, fence: Fence) {
        let watched = self.tasks.entry(number).or_default();
        if watched.lent.is_some_and(|(_, under)| under == fence) {
            watched.lent = None;
        }
    }

    /// A worker has heard that its lease was renewed by what it sent then.
    #[expect(clippy::unnecessary_wraps, reason = "one of the arms of a match, which are checks")]
    pub(super) fn renewed(&mut self, number: TaskNumber, process: ProcessId, sent: Millis) -> Checked {
        let acked = &mut self.tasks.entry(number).or_default().acked;
        let at = acked.entry(process).or_default();
        *at = sent.max(*at);
        Ok(())
    }

    /// A worker signals what runs.
    pub(super) fn signaled(
        &mut self,
        world: &World,
        number: TaskNumber,
        process: ProcessId,
        signal: StopSignal,
    ) -> Checked {
        self.stops_in_time(world, number, process)?;
        self.is_given_its_time(world, number, process, signal)?;
        let is_drained = self.tasks.get(&number).is_some_and(|watched| watched.drained.contains(&process));
        self.require(is_drained, Invariant::DrainBeforeSignal, number, || {
            format!("{process} sends {}, and nobody takes what the tool still says", words::signal(signal))
        })?;
        self.has_a_reason(world, number, process)?;
        self.tasks.entry(number).or_default().signaled.entry(process).or_insert(self.now);
        Ok(())
    }

    /// Something of a worker's happens to user code now: had it heard nothing for so long that it had to stop
    /// before, it has.
    pub(super) fn stops_in_time(&self, world: &World, number: TaskNumber, process: ProcessId) -> Checked {
        let is_over = world.truth().task(number).is_none_or(|truth| truth.end.is_some());
        let is_alive = world.clock_of(process).is_some();
        if is_over || !is_alive || self.loses_time(number) {
            return Ok(());
        }
        let Some(watched) = self.tasks.get(&number) else { return Ok(()) };
        let Some(acked) = watched.acked.get(&process) else { return Ok(()) };
        let lost_ms = world.scalr().settings().timings.lost_after_ms;
        let stop_ms = world.setup().workers.options.stop_timeout_ms.min(lost_ms / 2);
        let stop_at = *acked + (lost_ms - stop_ms) + AT_ONCE_MS;
        let was_told = watched.signaled.get(&process).is_some_and(|at| *at <= stop_at);
        self.require(self.now <= stop_at || was_told, Invariant::StopsInTime, number, || {
            format!("{process} was last heard by what it sent at {acked}, and stops only now")
        })?;
        let last = *acked + lost_ms + KILL_MS;
        self.require(self.now <= last, Invariant::StopsInTime, number, || {
            format!("{process} was last heard by what it sent at {acked}, and its code runs until now")
        })
    }
}
