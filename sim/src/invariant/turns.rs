//! Turns: whose Job is made first.

use scalr_core::scheduler::HoldReason;

use super::{Checked, Checks, Invariant};
use crate::world::{World, process::ProcessId, setup::TaskNumber};

/// Of two that were queued so shortly after each other either may go first: how long ago each was is only
/// known as exactly as answers are quick.
const TOGETHER_MS: u64 = 2_000;

impl Checks {
    /// A task is launched for the first time: nobody waits here who was queued before it, and could as well.
    pub(super) fn in_turn(&self, world: &World, number: TaskNumber, process: ProcessId) -> Checked {
        // Since when a task is queued is only known as well as the answer that granted it was quick.
        if !self.tasks.get(&number).is_some_and(|watched| self.was_calm(watched.granted)) {
            return Ok(());
        }
        if !self.is_calm() {
            return Ok(());
        }
        let Some((seat, _, brain)) = world.controllers().find(|(_, id, _)| *id == process) else {
            return Ok(());
        };
        if world.setup().controllers.get(seat as usize).is_none_or(|setup| setup.scheduler != "fifo") {
            return Ok(());
        }
        let priority =
            |number: TaskNumber| world.setup().runs.get(number.run as usize).map(|run| run.priority);
        let Some(own) = world.truth().task(number) else { return Ok(()) };
        for (other, truth) in world.truth().open_tasks() {
            let Some(id) = truth.id.as_ref().filter(|_| other != number) else {
                continue;
            };
            let is_more_urgent = priority(other) > priority(number);
            let is_before = is_more_urgent
                || priority(other) == priority(number) && truth.queued + TOGETHER_MS < own.queued;
            let is_held = matches!(
                brain.hold_reason(id),
                Some(HoldReason::InFlightCap { .. } | HoldReason::Window { .. } | HoldReason::Policy { .. })
            );
            let was_planned = self.tasks.get(&other).is_some_and(|watched| {
                self.now.since(watched.granted) > TOGETHER_MS && self.was_calm(watched.granted)
            });
            self.require(!(is_before && is_held && was_planned), Invariant::NoStarvation, other, || {
                let why = if is_more_urgent { ", and is less urgent" } else { "" };
                format!("{process} launches {number} first, which was queued at {}{why}", own.queued)
            })?;
        }
        Ok(())
    }
}
