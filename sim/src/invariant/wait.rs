//! Waits: every one has a reason, and the reason is so.

use std::collections::BTreeMap;

use fake_scalr::state::status::TaskStatus;
use scalr_core::{clock::Millis, controller::Controller, scheduler::HoldReason};
use scalr_protocol::id::TaskId;

use super::{Checked, Checks, Invariant, room::is_over};
use crate::world::{World, process::ProcessId, setup::TaskNumber, snag::CallKind};

/// A task that has just come is planned within this.
const UNEXPLAINED_MS: u64 = 2_000;

/// What is lent is known of by who has it within this: an answer's way.
const UNKNOWN_MS: u64 = 5_000;

/// A reason that has gone is noticed within this: what is seen of the cluster is seconds old.
const NOTICED_MS: u64 = 20_000;

/// A reason that only trying again can find gone is found so within this: two of the longest backoffs.
const TRIED_MS: u64 = 75_000;

/// What is remembered of waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits {
    /// Held tasks without an explanation, and since when.
    unexplained: BTreeMap<(ProcessId, TaskNumber), Millis>,
    /// Reasons that are not so, by their class, and since when.
    untrue: BTreeMap<(ProcessId, &'static str), Millis>,
    /// How often each had been suspended when it was looked at last.
    pauses: BTreeMap<ProcessId, u64>,
}

/// What a reason is compared with.
struct Truly {
    /// Jobs that take room, those that are being made counted.
    taken: usize,
    /// Jobs of this process that have no pod yet.
    podless: usize,
    is_quota_full: bool,
    is_ready: bool,
    is_draining: bool,
}

impl Checks {
    /// A wait that begins anew.
    pub(super) fn forget_wait(&mut self, number: TaskNumber) {
        self.waits.unexplained.retain(|(_, waiting), _| *waiting != number);
    }

    /// A controller makes a Job: what it says of room is what it now knows.
    pub(super) fn moved(&mut self, process: ProcessId) {
        self.waits.untrue.retain(|(who, _), _| *who != process);
    }

    /// Whether every task that a controller holds has a reason, and a true one.
    pub(super) fn explained(&mut self, world: &World, process: ProcessId, brain: &Controller) -> Checked {
        // Who is suspended explains nothing, and knows nothing of the meantime when he wakes. He may have
        // been so between two looks.
        let pauses = world.pauses_of(process);
        let was_suspended = self.waits.pauses.insert(process, pauses).is_some_and(|before| before != pauses);
        if was_suspended || world.is_suspended(process) {
            self.waits.unexplained.retain(|(who, _), _| *who != process);
            self.waits.untrue.retain(|(who, _), _| *who != process);
        }
        if world.is_suspended(process) {
            return Ok(());
        }
        let Some(local) = world.clock_of(process) else { return Ok(()) };
        let is_calm = self.is_calm();
        let truly = is_calm.then(|| self.truly(world, process, brain));
        let mut false_now = Vec::new();
        for (number, truth) in world.truth().open_tasks() {
            let Some(id) = truth.id.as_ref() else { continue };
            let said = brain.explain(local, id);
            let is_said = match &said {
                Some(said) => !said.starts_with("it has just arrived") && !said.is_empty(),
                // Another may have adopted it.
                None => !(is_calm && self.is_lent_to(world, process, number) && !is_explained(world, id)),
            };
            let key = (process, number);
            if is_said {
                self.waits.unexplained.remove(&key);
            } else {
                let most_ms = if said.is_some() { UNEXPLAINED_MS } else { UNKNOWN_MS };
                let since = *self.waits.unexplained.entry(key).or_insert(self.now);
                let waited_ms = self.now.since(since);
                self.require(waited_ms <= most_ms, Invariant::Explained, number, || {
                    format!("{process} has held it for {waited_ms} ms without a reason")
                })?;
            }
            if let (Some(truly), Some(reason)) = (&truly, brain.hold_reason(id))
                && let Some(most_ms) = truly.is_untrue(reason)
            {
                false_now.push((number, reason, most_ms));
            }
        }
        self.untrue(process, &false_now)
    }

    /// Nobody says for long what is not so.
    fn untrue(&mut self, process: ProcessId, false_now: &[(TaskNumber, &HoldReason, u64)]) -> Checked {
        let is_said = |class| false_now.iter().any(|(_, reason, _)| reason.class() == class);
        self.waits.untrue.retain(|(who, class), _| *who != process || is_said(*class));
        for (number, reason, most_ms) in false_now {
            let since = *self.waits.untrue.entry((process, reason.class())).or_insert(self.now);
            let waited_ms = self.now.since(since);
            self.require(waited_ms <= *most_ms, Invariant::Explained, *number, || {
                format!("{process} says for {waited_ms} ms why it waits, and it is not so: {reason}")
            })?;
        }
        Ok(())
    }

    fn is_lent_to(&self, world: &World, process: ProcessId, number: TaskNumber) -> bool {
        // A grant that got lost in bad weather is nobody's until its lease has lapsed.
        let watched = self.tasks.get(&number).filter(|watched| self.was_calm(watched.granted));
        let lent = watched.and_then(|watched| watched.lent);
        let id = world.truth().task(number).and_then(|task| task.id.as_ref());
        let glance = id.and_then(|id| world.scalr().glance(id));
        glance.is_some_and(|glance| {
            glance.status == TaskStatus::Leased && lent == Some((process, glance.fence))
        })
    }

    fn truly(&self, world: &World, process: ProcessId, brain: &Controller) -> Truly {
        let cluster = world.cluster();
        let in_flight = world.calls_of(process).filter(|(kind, _)| *kind == CallKind::CreateJob).count();
        let being_made = in_flight + self.hands.get(&process).map_or(0, |hands| hands.unheard(self.now));
        let live = cluster.jobs().filter(|job| !is_over(world, job)).count();
        let orphans =
            cluster.pods().filter(|(_, pod)| !cluster.jobs().any(|job| job.uid == pod.job_uid)).count();
        let podless = cluster.jobs().filter(|job| cluster.is_podless(&job.task, job.fence)).count();
        let status = brain.status();
        Truly {
            taken: live + orphans + being_made,
            podless: podless + being_made,
            is_quota_full: cluster.is_quota_full(),
            is_ready: status.is_ready,
            is_draining: status.is_draining,
        }
    }
}

/// Whether any controller explains it.
fn is_explained(world: &World, id: &TaskId) -> bool {
    world.controllers().any(|(_, process, brain)| {
        world.clock_of(process).is_some_and(|local| brain.explain(local, id).is_some())
    })
}

impl Truly {
    /// If this reason is not so: for how long it may still be said.
    fn is_untrue(&self, reason: &HoldReason) -> Option<u64> {
        let (is_so, most_ms) = match reason {
            HoldReason::InFlightCap { cap } => (self.taken >= *cap as usize, NOTICED_MS),
            HoldReason::Window { window } => (self.podless >= *window as usize, NOTICED_MS),
            HoldReason::Quota { .. } => (self.is_quota_full, TRIED_MS),
            // In calm weather nobody refuses a Job but for its quota.
            HoldReason::CreateRetry { .. } | HoldReason::Template { .. } => (false, TRIED_MS),
            HoldReason::ScalrUnreachable => (false, NOTICED_MS),
            HoldReason::Recovering => (!self.is_ready, UNEXPLAINED_MS),
            HoldReason::Draining => (self.is_draining, UNEXPLAINED_MS),
            // Nobody can pause a controller here.
            HoldReason::Paused => (false, 0),
            HoldReason::Policy { .. } => (true, 0),
        };
        (!is_so).then_some(most_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_is_not_so_is_known() {
        let truly = Truly { taken: 1, podless: 0, is_quota_full: false, is_ready: true, is_draining: false };
        let detail = String::new();
        let untrue = [
            HoldReason::InFlightCap { cap: 2 },
            HoldReason::Window { window: 1 },
            HoldReason::Quota { detail: detail.clone() },
            HoldReason::CreateRetry { reason: detail.clone() },
            HoldReason::Template { detail: detail.clone() },
            HoldReason::ScalrUnreachable,
            HoldReason::Recovering,
            HoldReason::Draining,
            HoldReason::Paused,
        ];
        assert!(untrue.iter().all(|reason| truly.is_untrue(reason).is_some()));
        let truly = Truly { taken: 2, podless: 1, is_quota_full: true, is_ready: false, is_draining: true };
        let so = [
            HoldReason::InFlightCap { cap: 2 },
            HoldReason::Window { window: 1 },
            HoldReason::Quota { detail: detail.clone() },
            HoldReason::Recovering,
            HoldReason::Draining,
            HoldReason::Policy { reason: detail },
        ];
        assert!(so.iter().all(|reason| truly.is_untrue(reason).is_none()));
    }
}
