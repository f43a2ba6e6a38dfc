//! What must hold in every world, whatever goes wrong in it: checked after every event, against what really
//! was, and named as in the project's catalogue.
//!
//! A check costs as much as what has changed, never as much as what there is. In reading order: `task` is
//! what may happen to one task and `last_word` how it ends, `code` what runs of the user's and `contact` and
//! `duty` what its worker owes meanwhile; `hands` what a controller may do, `room` how much of it, `turns` in
//! which order, `wait` what it says meanwhile, `fleet` what all of them owe; `ground` what holds in the
//! cluster; `rest` what must be left when all is over. `catalogue` has the names. It must never look into a
//! brain for what is true: beliefs are only asked for what they explain.

mod catalogue;
mod code;
mod contact;
mod duty;
mod excuse;
mod fleet;
mod ground;
mod hands;
mod last_word;
mod memory;
mod overdue;
mod patience;
mod rest;
mod room;
mod task;
mod turns;
mod wait;
mod weather;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use scalr_core::clock::Millis;

pub use self::catalogue::Invariant;
use self::{
    excuse::Excuses, fleet::Fleet, hands::Hands, memory::Peak, overdue::Overdue, room::Room, task::Watched,
    wait::Waits, weather::Weather,
};
use crate::{
    fault::FaultId,
    scenario::Scenario,
    words,
    world::{EventRecord, Happening, World, process::ProcessId, setup::TaskNumber},
};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When.
    pub at: Millis,
    /// At which event.
    pub step: u64,
    /// About which task, if it is about one.
    pub task: Option<TaskNumber>,
    /// What happened.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {} (event {})", self.invariant, self.at, self.step)?;
        if let Some(task) = self.task {
            write!(f, ", {task}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// So many events of one moment are a circle.
const AT_ONCE_MAX: u64 = 20_000;

/// So many steps of one process in a second are a circle, and so many more for each run.
const A_SECOND_MAX: u64 = 400;
const A_SECOND_MAX_OF_RUN: u64 = 60;

/// Everything that is checked, and what has to be remembered for it.
#[derive(Clone, Debug)]
pub struct Checks {
    excuses: Excuses,
    tasks: BTreeMap<TaskNumber, Watched>,
    fleet: Fleet,
    rooms: BTreeMap<ProcessId, Room>,
    hands: BTreeMap<ProcessId, Hands>,
    waits: Waits,
    peak: Peak,
    cluster_steps: u64,
    /// How many controllers were known to have been killed at the end of their grace.
    overstayed: usize,
    /// How many calls were known to have come too soon.
    hurried: usize,
    overdue: Overdue,
    weather: Weather,
    /// The last moment, and how many events it had.
    moment: (Millis, u64),
    /// The last second, and how many steps each process had in it.
    second: (u64, BTreeMap<Happening, u64>),
    marks: BTreeMap<&'static str, u64>,
    now: Millis,
    step: u64,
}

type Checked = Result<(), Violation>;

impl Checks {
    /// What must hold in a world of this scenario.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            excuses: Excuses::of(scenario),
            tasks: BTreeMap::new(),
            fleet: Fleet::new(scenario),
            rooms: BTreeMap::new(),
            hands: BTreeMap::new(),
            waits: Waits::default(),
            peak: Peak::default(),
            cluster_steps: 0,
            overstayed: 0,
            hurried: 0,
            overdue: Overdue::default(),
            weather: Weather::new(scenario),
            moment: (Millis(0), 0),
            second: (0, BTreeMap::new()),
            marks: BTreeMap::new(),
            now: Millis(0),
            step: 0,
        }
    }

    /// What was seen at least once, and how often.
    pub fn marks(&self) -> BTreeMap<&'static str, u64> {
        self.marks.clone()
    }

    /// Checks what a step has changed. The facts are still there.
    pub fn after(&mut self, world: &World, record: EventRecord) -> Checked {
        self.now = record.at;
        self.step = record.number;
        self.weather.look(world.truth().fired());
        for fact in world.truth().facts() {
            self.fact(world, fact)?;
        }
        self.circles(record)?;
        self.comes_back_later(world)?;
        match record.what {
            Happening::Controller(seat) => self.controller(world, seat),
            Happening::Worker(task) => self.worker(world, task),
            Happening::Cluster | Happening::Pod => self.volumes_now_and_then(world),
            Happening::Scalr | Happening::User | Happening::Strike | Happening::Nobody => Ok(()),
        }
    }

    /// A scenario that has more events than it could have.
    pub fn runs_in_circles(&self, world: &World) -> Violation {
        let what = format!("{} events, and no end", world.steps());
        self.broken(Invariant::BoundedApi, None, what)
    }

    fn circles(&mut self, record: EventRecord) -> Checked {
        let (moment, events) = &mut self.moment;
        if *moment == record.at {
            *events += 1;
            if *events > AT_ONCE_MAX {
                let what = format!("more than {AT_ONCE_MAX} events at one moment");
                return Err(self.broken(Invariant::BoundedApi, None, what));
            }
        } else {
            (*moment, *events) = (record.at, 1);
        }
        if !matches!(record.what, Happening::Controller(_) | Happening::Worker(_)) {
            return Ok(());
        }
        let (second, steps) = &mut self.second;
        if *second != record.at.0 / 1_000 {
            *second = record.at.0 / 1_000;
            steps.clear();
        }
        let count = steps.entry(record.what).or_default();
        *count += 1;
        let most = A_SECOND_MAX + A_SECOND_MAX_OF_RUN * self.fleet.runs();
        if *count > most {
            let what = format!("{} took more than {most} steps in a second", words::whose(record.what));
            return Err(self.broken(Invariant::BoundedApi, None, what));
        }
        Ok(())
    }

    /// Whether nothing has gone wrong yet, or what went wrong is long over.
    fn is_calm(&self) -> bool {
        self.was_calm(self.now)
    }

    fn was_calm(&self, since: Millis) -> bool {
        self.weather.was_calm(since)
    }

    /// The same as far as it concerns controllers.
    fn is_clear(&self) -> bool {
        self.weather.was_clear(self.now)
    }

    /// Whether something of one of these kinds has happened.
    fn any(&self, kinds: &[FaultId]) -> bool {
        self.weather.any(kinds)
    }

    /// Whether something keeps calls from Scalr, or their answers from who called.
    fn is_scalr_troubled(&self) -> bool {
        self.any(&excuse::OF_SCALR)
    }

    /// Whether time may have been taken from the workers of this task.
    fn loses_time(&self, number: TaskNumber) -> bool {
        self.weather.is_foul() && self.excuses.loses_time(number)
    }

    /// Whether somebody may have deleted Jobs of this task.
    fn is_deleted(&self, number: TaskNumber) -> bool {
        self.weather.is_foul() && self.excuses.is_deleted(number)
    }

    /// Whether a user may have canceled the run of this task.
    fn is_canceled(&self, number: TaskNumber, by_force: bool) -> bool {
        self.weather.is_foul() && self.excuses.is_canceled(number, by_force)
    }

    fn broken(&self, invariant: Invariant, task: Option<TaskNumber>, what: String) -> Violation {
        Violation { invariant, at: self.now, step: self.step, task, what }
    }

    fn require(
        &self,
        holds: bool,
        invariant: Invariant,
        task: TaskNumber,
        what: impl FnOnce() -> String,
    ) -> Checked {
        if holds { Ok(()) } else { Err(self.broken(invariant, Some(task), what())) }
    }

    fn mark(&mut self, name: &'static str) {
        *self.marks.entry(name).or_default() += 1;
    }
}
