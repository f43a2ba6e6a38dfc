//! What controllers owe: work that is taken, waits that are explained.

use std::collections::BTreeMap;

use scalr_core::{clock::Millis, controller::Controller};

use super::{Checked, Checks, Invariant};
use crate::{
    fault::FaultId,
    scenario::Scenario,
    world::{World, process::ProcessId, setup::TaskNumber},
};

/// A free controller waits no longer while another can't launch what it holds: what is given back reaches it
/// by the next heartbeat of the holder, and its next acquire.
const IDLE_MS: u64 = 30_000;

/// For so long Scalr does not offer a task to who gave it back for balance.
const NOT_OFFERED_MS: u64 = 30_000;

/// A task that has just come is planned within this.
const UNEXPLAINED_MS: u64 = 2_000;

/// How long after everything has healed nothing is expected of balance.
const CALM_MS: u64 = 60_000;

/// What is remembered of the controllers.
#[derive(Clone, Debug)]
pub(super) struct Fleet {
    runs: u64,
    heals_at: Millis,
    has_faults: bool,
    /// How each controller looked after its last step.
    seats: BTreeMap<u32, Seen>,
    /// Since when one has been free while another holds.
    idle_since: Option<Millis>,
    /// Held tasks without an explanation, and since when.
    unexplained: BTreeMap<(ProcessId, TaskNumber), Millis>,
    steps: u64,
    /// When each process has last given something back for balance: Scalr does not offer it again at once.
    gave_back: BTreeMap<ProcessId, Millis>,
    /// When the creation of a Job was last asked for.
    pub(super) last_job_asked: Millis,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    process: ProcessId,
    is_ready: bool,
    is_draining: bool,
    free: u32,
    held: usize,
}

impl Fleet {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            runs: scenario.world.runs.len() as u64,
            heals_at: scenario.heals_at(),
            has_faults: !scenario.faults.is_empty() || !scenario.world.snags.is_empty(),
            seats: BTreeMap::new(),
            idle_since: None,
            unexplained: BTreeMap::new(),
            steps: 0,
            gave_back: BTreeMap::new(),
            last_job_asked: Millis(0),
        }
    }

    /// A wait that begins anew.
    pub(super) fn forget_wait(&mut self, number: TaskNumber) {
        self.unexplained.retain(|(_, waiting), _| *waiting != number);
    }

    /// Something was given back for balance.
    pub(super) fn gave_back(&mut self, now: Millis, process: ProcessId) {
        self.gave_back.insert(process, now);
    }

    pub(super) fn runs(&self) -> u64 {
        self.runs
    }
}

impl Checks {
    /// A controller has taken a step.
    pub(super) fn controller(&mut self, world: &World, seat: u32) -> Checked {
        let Some((process, brain)) = world.controller_at(seat) else {
            self.fleet.seats.remove(&seat);
            return Ok(());
        };
        if self.fleet.seats.get(&seat).is_none_or(|seen| seen.process != process) {
            self.began(world, process);
        }
        let status = brain.status();
        let seen = Seen {
            process,
            is_ready: status.is_ready,
            is_draining: status.is_draining,
            free: status.free,
            held: status.held,
        };
        self.fleet.seats.insert(seat, seen);
        self.balance(world)?;
        self.fleet.steps += 1;
        // Held tasks are looked at now and then: a wait without a reason lasts.
        // Who is suspended explains nothing.
        let is_awake = !self.excuses.any(&[FaultId::A10]);
        if is_awake && status.held > 0 && self.fleet.steps.is_multiple_of(4) {
            self.explained(world, process, brain)?;
        }
        if self.fleet.steps.is_multiple_of(16) {
            for (number, truth) in world.truth().tasks() {
                self.calls(number, truth)?;
            }
        }
        Ok(())
    }

    fn balance(&mut self, world: &World) -> Checked {
        let fleet = &mut self.fleet;
        // Who has died holds nothing.
        fleet.seats.retain(|seat, seen| world.controller_at(*seat).is_some_and(|(id, _)| id == seen.process));
        if fleet.seats.len() < 2 || (fleet.has_faults && self.now < fleet.heals_at + CALM_MS) {
            fleet.idle_since = None;
            return Ok(());
        }
        let works = |seen: &&Seen| seen.is_ready && !seen.is_draining;
        let idle = fleet.seats.values().filter(works).find(|seen| seen.free > 0 && seen.held == 0);
        let holds = fleet.seats.values().find(|seen| seen.free == 0 && seen.held > 0);
        let (Some(idle), Some(holds)) = (idle.copied(), holds.copied()) else {
            fleet.idle_since = None;
            return Ok(());
        };
        // A slot is free only where a Job could be made.
        if world.cluster().is_quota_full() {
            fleet.idle_since = None;
            return Ok(());
        }
        let since = *fleet.idle_since.get_or_insert(self.now);
        // What somebody gave back for balance he is not offered for a while.
        let not_before =
            fleet.gave_back.get(&idle.process).map_or(since, |at| since.max(*at + NOT_OFFERED_MS));
        let waited_ms = self.now.since(not_before);
        if waited_ms > IDLE_MS {
            let what = format!(
                "{:?} has had {} free slots for {waited_ms} ms while {:?} holds {} tasks",
                idle.process, idle.free, holds.process, holds.held
            );
            return Err(self.broken(Invariant::WorkConserving, None, what));
        }
        Ok(())
    }

    /// Whether every task that is held has a reason.
    fn explained(&mut self, world: &World, process: ProcessId, brain: &Controller) -> Checked {
        let Some(local) = world.clock_of(process) else { return Ok(()) };
        for (number, truth) in world.truth().tasks() {
            let Some(id) = truth.id.as_ref().filter(|_| truth.end.is_none()) else { continue };
            let key = (process, number);
            let said = brain.explain(local, id);
            if said.is_none_or(|said| !said.starts_with("it has just arrived") && !said.is_empty()) {
                self.fleet.unexplained.remove(&key);
                continue;
            }
            let since = *self.fleet.unexplained.entry(key).or_insert(self.now);
            let waited_ms = self.now.since(since);
            self.require(waited_ms <= UNEXPLAINED_MS, Invariant::Explained, number, || {
                format!("{process:?} has held it for {waited_ms} ms without a reason")
            })?;
        }
        Ok(())
    }
}
