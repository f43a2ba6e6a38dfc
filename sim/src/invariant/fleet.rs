//! What controllers owe: work that is taken, waits that are explained.

use std::collections::{BTreeMap, VecDeque};

use scalr_core::{clock::Millis, controller::Status};

use super::{Checked, Checks, Invariant, room::is_over};
use crate::{
    fault::FaultId,
    scenario::Scenario,
    words,
    world::{World, process::ProcessId, setup::TaskNumber, snag::CallKind},
};

/// A free controller waits no longer while another can't launch what it holds: what is given back reaches it
/// by the next heartbeat of the holder, and its next acquire.
const IDLE_MS: u64 = 30_000;

/// For so long Scalr does not offer a task to who gave it back for balance.
const NOT_OFFERED_MS: u64 = 30_000;

/// A controller that begins knows all that is there within this: a list, a heartbeat, and one that failed.
const RECOVERED_MS: u64 = 30_000;

/// A controller with room asks for work again within this: the longest backoff, and an answer's way.
const ASKED_MS: u64 = 40_000;

/// How many of the last Jobs are remembered.
const JOBS_ASKED_MAX: usize = 256;

/// What is remembered of the controllers.
#[derive(Clone, Debug)]
pub(super) struct Fleet {
    /// Since when nodes have been coming for tasks.
    pub(super) coming: BTreeMap<TaskNumber, Millis>,
    runs: u64,
    /// How each controller looked after its last step.
    pub(super) seats: BTreeMap<u32, Seen>,
    /// Since when one has been free while another holds.
    idle_since: Option<Millis>,
    /// Since when each has been busy finding out what is there, or has had room and not asked for work.
    lost: BTreeMap<ProcessId, Millis>,
    lazy: BTreeMap<ProcessId, Millis>,
    steps: u64,
    /// When each process has last given something back for balance: Scalr does not offer it again at once.
    gave_back: BTreeMap<ProcessId, Millis>,
    /// When each of the last Jobs was asked for.
    jobs_asked: VecDeque<Millis>,
    /// When somebody last heard that there is no room in the namespace.
    pub(super) no_room: Millis,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) process: ProcessId,
    is_ready: bool,
    pub(super) is_draining: bool,
    /// When it was first seen to be stopping, if it is.
    pub(super) stops_since: Millis,
    free: u32,
    held: usize,
}

impl Fleet {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            coming: BTreeMap::new(),
            runs: scenario.world.runs.len() as u64,
            seats: BTreeMap::new(),
            idle_since: None,
            lost: BTreeMap::new(),
            lazy: BTreeMap::new(),
            steps: 0,
            gave_back: BTreeMap::new(),
            jobs_asked: VecDeque::new(),
            no_room: Millis(0),
        }
    }

    /// Something was given back for balance.
    pub(super) fn gave_back(&mut self, now: Millis, process: ProcessId) {
        self.gave_back.insert(process, now);
    }

    /// A Job was asked for.
    pub(super) fn job_asked(&mut self, now: Millis) {
        self.jobs_asked.push_back(now);
        if self.jobs_asked.len() > JOBS_ASKED_MAX {
            self.jobs_asked.pop_front();
        }
    }

    /// Whether a Job was asked for so shortly before or after.
    pub(super) fn is_race(&self, at: Millis, within_ms: u64) -> bool {
        self.jobs_asked.iter().any(|asked| asked.since(at).max(at.since(*asked)) <= within_ms)
    }

    pub(super) fn runs(&self) -> u64 {
        self.runs
    }
}

impl Checks {
    /// A controller has taken a step.
    pub(super) fn controller(&mut self, world: &World, seat: u32) -> Checked {
        self.none_overstayed(world)?;
        let Some((process, brain)) = world.controller_at(seat) else {
            return self.left(world, seat);
        };
        self.silence_ends(world, process)?;
        if self.fleet.steps.is_multiple_of(4) {
            self.gives_launches_up(world, process)?;
            self.look_for_nodes(world);
        }
        if self.fleet.seats.get(&seat).is_none_or(|seen| seen.process != process) {
            self.began(world, process);
        }
        let status = brain.status();
        let before = self.fleet.seats.get(&seat).filter(|seen| seen.process == process && seen.is_draining);
        let seen = Seen {
            process,
            is_ready: status.is_ready,
            is_draining: status.is_draining,
            stops_since: before.map_or(self.now, |seen| seen.stops_since),
            free: status.free,
            held: status.held,
        };
        self.fleet.seats.insert(seat, seen);
        self.look_at_window(process, status);
        self.asks_in_turn(world, process, status)?;
        self.balance(world)?;
        self.recovers(world, process, status)?;
        self.fleet.steps += 1;
        // Held tasks are looked at now and then: a wait without a reason lasts.
        if self.fleet.steps.is_multiple_of(4) {
            self.explained(world, process, brain)?;
            self.nothing_is_overdue(world)?;
        }
        if self.fleet.steps.is_multiple_of(16) {
            self.memory(world, process, brain)?;
            for (number, truth) in world.truth().open_tasks() {
                self.calls(number, truth)?;
            }
        }
        Ok(())
    }

    /// Controllers that were killed at the end of their grace had not ended in it.
    fn none_overstayed(&mut self, world: &World) -> Checked {
        let overstayed = world.truth().overstayed();
        if overstayed.len() > self.overstayed {
            self.overstayed = overstayed.len();
            // A clock that runs wrong has its own idea of a grace.
            if !self.any(&[FaultId::A11, FaultId::A12, FaultId::A10]) {
                let what = format!(
                    "{} was told to stop, and is killed at the end of its grace",
                    overstayed.last().map_or("it".to_owned(), |(_, process)| process.to_string())
                );
                return Err(self.broken(Invariant::ShutdownInTime, None, what));
            }
        }
        Ok(())
    }

    /// A controller finds out what is there soon, and then works.
    pub(super) fn recovers(&mut self, world: &World, process: ProcessId, status: Status) -> Checked {
        let (now, is_calm) = (self.now, self.is_calm());
        let is_excused = !is_calm || status.is_draining || world.is_suspended(process);
        let live = || world.cluster().jobs().filter(|job| !is_over(world, job)).count();
        let is_lost = !is_excused && (!status.is_ready || status.live + status.creating < live());
        let is_asking = || world.calls_of(process).any(|(kind, _)| kind == CallKind::Acquire);
        let is_lazy = !is_excused && status.is_ready && status.free as usize > status.held && !is_asking();
        let lost_ms = since(&mut self.fleet.lost, process, now, is_lost);
        let lazy_ms = since(&mut self.fleet.lazy, process, now, is_lazy);
        if lost_ms > RECOVERED_MS {
            let what =
                format!("{process} has not known what is there for {lost_ms} ms: {}", words::status(&status));
            return Err(self.broken(Invariant::Recovers, None, what));
        }
        if lazy_ms > ASKED_MS {
            let what = format!(
                "{process} has had room for {lazy_ms} ms, and asks for nothing: {}",
                words::status(&status)
            );
            return Err(self.broken(Invariant::Recovers, None, what));
        }
        Ok(())
    }

    fn balance(&mut self, world: &World) -> Checked {
        let fleet = &mut self.fleet;
        // Pods and nodes may be in trouble: rooms are counted in Jobs. While calls get lost, or what is seen
        // is old, or controllers come and go, nobody can know in half a minute who has room: that is no
        // promise then, and would be an alarm for nothing.
        // Who has died holds nothing.
        fleet.seats.retain(|seat, seen| world.controller_at(*seat).is_some_and(|(id, _)| id == seen.process));
        if fleet.seats.len() < 2 || !self.weather.was_clear(self.now) {
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
                "{} has had {} for {waited_ms} ms while {} holds {}",
                idle.process,
                words::count(u64::from(idle.free), "free slot"),
                holds.process,
                words::count(holds.held as u64, "task")
            );
            return Err(self.broken(Invariant::WorkConserving, None, what));
        }
        Ok(())
    }
}

/// For how long something has been so by now.
fn since(table: &mut BTreeMap<ProcessId, Millis>, process: ProcessId, now: Millis, is_so: bool) -> u64 {
    if is_so {
        now.since(*table.entry(process).or_insert(now))
    } else {
        table.remove(&process);
        0
    }
}
