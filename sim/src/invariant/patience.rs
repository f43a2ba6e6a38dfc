//! Patience: whoever is asked to come back later does, and where the cluster takes Jobs again more are made.

use scalr_core::scheduler::HoldReason;
use scalr_protocol::id::Fence;

use super::{Checked, Checks, Invariant, hands::Hands};
use crate::{
    fault::FaultId,
    words,
    world::{World, process::ProcessId, setup::TaskNumber, snag::CallKind},
};

/// A Job that was made within this takes room in the window as long as no pod of it is seen: a second less
/// than it may.
const FRESH_MS: u64 = 14_000;

/// By how many Jobs a window has grown, made while only it kept others waiting: a windowful waits still, and
/// a windowful has got its pods; of a large one that comes at once only half counts.
fn grown_by(window: usize) -> usize {
    if window <= 3 { 2 * window + 1 } else { 3 * window + 2 }
}

impl Checks {
    /// Nobody has come back before he was asked to.
    pub(super) fn comes_back_later(&mut self, world: &World) -> Checked {
        let hurried = world.truth().hurried();
        let Some(hurry) = hurried.get(self.hurried..).and_then(<[_]>::first).copied() else { return Ok(()) };
        self.hurried = hurried.len();
        // A call for another grant is another call. Which Jobs may be made when has a rule of its own; a
        // clock that runs wrong has its own idea of it.
        let watched = hurry.task.and_then(|task| self.tasks.get(&task));
        let is_another = watched.is_some_and(|watched| watched.granted > hurry.asked);
        if is_another
            || hurry.kind == CallKind::CreateJob
            || self.any(&[FaultId::A10, FaultId::A11, FaultId::A12])
        {
            return Ok(());
        }
        let what = format!(
            "{} calls to {} at {}, and was asked not to before {}",
            hurry.process,
            words::call(hurry.kind),
            hurry.at,
            hurry.until
        );
        Err(self.broken(Invariant::ComesBackLater, hurry.task, what))
    }

    /// A Job is made for the first time: where only the window keeps others waiting, and Jobs have got their
    /// pods, it has grown.
    pub(super) fn window_has_grown(
        &mut self,
        world: &World,
        number: TaskNumber,
        process: ProcessId,
    ) -> Checked {
        let now = self.now;
        // Whose Job somebody deletes takes no room any more; a clock that runs wrong has its own idea of it.
        let is_sure = !self.any(&[
            FaultId::A10,
            FaultId::A11,
            FaultId::A12,
            FaultId::K11,
            FaultId::K12,
            FaultId::K13,
            FaultId::K14,
        ]);
        let Some((_, _, brain)) = world.controllers().find(|(_, id, _)| *id == process) else {
            return Ok(());
        };
        let waits = |reason: &HoldReason| matches!(reason, HoldReason::Window { .. });
        let ids = world.truth().open_tasks().filter_map(|(_, truth)| truth.id.as_ref());
        let is_limited = ids.filter_map(|id| brain.hold_reason(id)).any(waits);
        let window = brain.status().window;
        let hands = self.hands(process);
        if !is_limited || !is_sure {
            hands.limited.clear();
            return Ok(());
        }
        hands.limited.retain(|(of, at)| *of == window && now.since(*at) <= FRESH_MS);
        hands.limited.push((window, now));
        let made = hands.limited.len();
        let most = grown_by(window as usize);
        self.require(made <= most, Invariant::SlowsDown, number, || {
            format!(
                "{process} makes its {} Job within {FRESH_MS} ms, others wait only for its window, and that \
                 stays {window}",
                words::ordinal(made as u64)
            )
        })
    }

    /// A Job is made while the last word was that there is no room: one at a time tries.
    pub(super) fn tries_alone(&self, world: &World, number: TaskNumber, process: ProcessId) -> Checked {
        let is_shut = self.hands.get(&process).is_some_and(Hands::is_shut);
        let flights = world.calls_of(process).filter(|(kind, _)| *kind == CallKind::CreateJob).count();
        self.require(!is_shut || flights <= 1, Invariant::SlowsDown, number, || {
            format!("{process} makes a Job while it makes another, and the last word was that none is taken")
        })
    }

    /// A Job is made for the first time: its task is lent still.
    pub(super) fn is_lent_still(
        &self,
        world: &World,
        number: TaskNumber,
        (process, fence): (ProcessId, Fence),
    ) -> Checked {
        use fake_scalr::state::status::TaskStatus;
        // Who loses his session, his time or his name loses his leases, and may hear of it late.
        let is_sure = !self.any(&[
            FaultId::S3,
            FaultId::S10,
            FaultId::S13,
            FaultId::A8,
            FaultId::A10,
            FaultId::A11,
            FaultId::A12,
        ]);
        let id = world.truth().task(number).and_then(|truth| truth.id.as_ref());
        let Some(glance) = id.and_then(|id| world.scalr().glance(id)).filter(|_| is_sure) else {
            return Ok(());
        };
        let was_lent = self.tasks.get(&number).and_then(|watched| watched.lent) == Some((process, fence));
        let has_lapsed = was_lent && glance.status == TaskStatus::Queued;
        self.require(!has_lapsed, Invariant::LeaseBeforeJob, number, || {
            format!("{process} makes its Job for fence {}, and the lease of that has lapsed", fence.0)
        })
    }
}
