//! From a scenario that breaks a promise to a small one that breaks the same: fewer faults, runs and
//! controllers, fewer features, shorter times. Our own minimiser, since removing a run must not move
//! another's luck, and since one try costs a millisecond.
//!
//! It must never call a scenario a smaller one that breaks another promise.

mod simpler;

use crate::{
    fault::{Fault, What},
    invariant::{Invariant, Violation},
    scenario::Scenario,
    trial,
    world::{
        cluster::ClusterFault,
        setup::TaskNumber,
        snag::{Moment, Planned, Snag, Strike, Who},
    },
};

/// How many scenarios are tried at most: a second or two.
pub const TRIES_MAX: u32 = 800;

/// A scenario that was made small.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrunk {
    /// The scenario.
    pub scenario: Scenario,
    /// How it breaks the promise.
    pub violation: Violation,
    /// How many scenarios were tried.
    pub tries: u32,
}

struct Shrinker<'a> {
    best: Scenario,
    violation: Violation,
    wanted: Invariant,
    tries: u32,
    run: &'a mut dyn FnMut(&Scenario) -> Option<Violation>,
}

/// Makes a scenario smaller that breaks a promise.
pub fn shrink(scenario: &Scenario, violation: &Violation) -> Shrunk {
    shrink_by(scenario, violation, &mut |scenario| trial::run(scenario).violation)
}

/// Makes a scenario smaller for which `run` says a violation of the same promise.
pub fn shrink_by(
    scenario: &Scenario,
    violation: &Violation,
    run: &mut dyn FnMut(&Scenario) -> Option<Violation>,
) -> Shrunk {
    let mut shrinker = Shrinker {
        best: scenario.clone(),
        violation: violation.clone(),
        wanted: violation.invariant,
        tries: 0,
        run,
    };
    loop {
        let before = shrinker.best.clone();
        shrinker.drop_faults();
        shrinker.drop_runs();
        shrinker.drop_controllers();
        shrinker.simplify();
        if shrinker.best == before || shrinker.tries >= TRIES_MAX {
            break;
        }
    }
    Shrunk { scenario: shrinker.best, violation: shrinker.violation, tries: shrinker.tries }
}

impl Shrinker<'_> {
    /// Whether this one breaks the same promise; then it is the best so far.
    fn keeps(&mut self, scenario: Scenario) -> bool {
        if self.tries >= TRIES_MAX || scenario == self.best {
            return false;
        }
        self.tries += 1;
        match (self.run)(&scenario) {
            Some(violation) if violation.invariant == self.wanted => {
                self.best = scenario;
                self.violation = violation;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Takes away as many faults as it can: halves first, then ever smaller parts.
    fn drop_faults(&mut self) {
        let mut part = self.best.faults.len();
        while part > 0 {
            let mut from = 0;
            while from < self.best.faults.len() {
                let mut smaller = self.best.clone();
                let to = (from + part).min(smaller.faults.len());
                smaller.faults.drain(from..to);
                if !self.keeps(smaller) {
                    from += part;
                }
            }
            part /= 2;
        }
    }

    /// The last ones first: then the others keep their numbers, and their luck.
    fn drop_runs(&mut self) {
        let mut run = self.best.world.runs.len();
        while run > 0 {
            run -= 1;
            if self.best.world.runs.len() > 1 && run < self.best.world.runs.len() {
                let smaller = without_run(&self.best, u32::try_from(run).unwrap_or(u32::MAX));
                self.keeps(smaller);
            }
        }
    }

    fn drop_controllers(&mut self) {
        let mut place = self.best.world.controllers.len();
        while place > 0 {
            place -= 1;
            if self.best.world.controllers.len() > 1 && place < self.best.world.controllers.len() {
                let smaller = without_controller(&self.best, u32::try_from(place).unwrap_or(u32::MAX));
                self.keeps(smaller);
            }
        }
    }

    fn simplify(&mut self) {
        for change in simpler::CHANGES {
            let mut simpler = self.best.clone();
            change(&mut simpler);
            self.keeps(simpler);
        }
        for place in 0..self.best.faults.len() {
            for change in simpler::FAULT_CHANGES {
                let mut simpler = self.best.clone();
                change(&mut simpler.faults[place]);
                self.keeps(simpler);
            }
        }
        for place in 0..self.best.world.runs.len() {
            for change in simpler::RUN_CHANGES {
                let mut simpler = self.best.clone();
                change(&mut simpler.world.runs[place]);
                self.keeps(simpler);
            }
        }
    }
}

fn without_run(scenario: &Scenario, gone: u32) -> Scenario {
    let mut smaller = scenario.clone();
    smaller.world.runs.remove(gone as usize);
    let moved = |run: u32| match run.cmp(&gone) {
        std::cmp::Ordering::Less => Some(run),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(run - 1),
    };
    let rename = Rename { run: &moved, controller: &Some };
    smaller.faults = scenario.faults.iter().filter_map(|fault| rename.fault(fault)).collect();
    smaller
}

fn without_controller(scenario: &Scenario, gone: u32) -> Scenario {
    let mut smaller = scenario.clone();
    smaller.world.controllers.remove(gone as usize);
    let moved = |place: u32| match place.cmp(&gone) {
        std::cmp::Ordering::Less => Some(place),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(place - 1),
    };
    let rename = Rename { run: &Some, controller: &moved };
    smaller.faults = scenario.faults.iter().filter_map(|fault| rename.fault(fault)).collect();
    smaller
}

/// Another numbering of runs and controllers; a fault of one that is gone is gone too.
struct Rename<'a> {
    run: &'a dyn Fn(u32) -> Option<u32>,
    controller: &'a dyn Fn(u32) -> Option<u32>,
}

impl Rename<'_> {
    fn fault(&self, fault: &Fault) -> Option<Fault> {
        let what = match &fault.what {
            What::Snag(snag) => What::Snag(self.snag(snag)?),
            What::Strike(planned) => What::Strike(self.planned(planned)?),
        };
        Some(Fault { id: fault.id, what })
    }

    fn task(&self, task: TaskNumber) -> Option<TaskNumber> {
        Some(TaskNumber { run: (self.run)(task.run)?, ..task })
    }

    fn who(&self, who: Who) -> Option<Who> {
        Some(match who {
            Who::Controller(place) => Who::Controller((self.controller)(place)?),
            Who::WorkersOf(task) => Who::WorkersOf(self.task(task)?),
            Who::Controllers | Who::Workers => who,
        })
    }

    fn snag(&self, snag: &Snag) -> Option<Snag> {
        let task = match snag.task {
            Some(task) => Some(self.task(task)?),
            None => None,
        };
        let who = match snag.who {
            Some(who) => Some(self.who(who)?),
            None => None,
        };
        Some(Snag { task, who, ..snag.clone() })
    }

    fn planned(&self, planned: &Planned) -> Option<Planned> {
        let when = match planned.when {
            Moment::At(at_ms) => Moment::At(at_ms),
            Moment::When { task, is, nth, after_ms } => {
                Moment::When { task: self.task(task)?, is, nth, after_ms }
            }
        };
        let what = match planned.what.clone() {
            Strike::Approve { run } => Strike::Approve { run: (self.run)(run)? },
            Strike::Discard { run } => Strike::Discard { run: (self.run)(run)? },
            Strike::Cancel { run, force } => Strike::Cancel { run: (self.run)(run)?, force },
            Strike::Crash { who, rebirth } => Strike::Crash { who: self.who(who)?, rebirth },
            Strike::KillRunner { task, is_oom } => Strike::KillRunner { task: self.task(task)?, is_oom },
            Strike::Terminate { who, rebirth } => Strike::Terminate { who: self.who(who)?, rebirth },
            Strike::Pause { who, for_ms } => Strike::Pause { who: self.who(who)?, for_ms },
            Strike::Drift { who, drift_ppm } => Strike::Drift { who: self.who(who)?, drift_ppm },
            Strike::Jump { who, ahead_ms } => Strike::Jump { who: self.who(who)?, ahead_ms },
            Strike::Cut { who, from, for_ms } => Strike::Cut { who: self.who(who)?, from, for_ms },
            Strike::Snag(snag) => Strike::Snag(self.snag(&snag)?),
            Strike::Cluster(fault) => Strike::Cluster(self.cluster(fault)?),
            what @ (Strike::ScalrDown { .. }
            | Strike::ScalrSlow { .. }
            | Strike::ScalrRefuses { .. }
            | Strike::RevokePoolToken { .. }
            | Strike::Heal) => what,
        };
        Some(Planned { when, what })
    }

    /// A fault of the cluster names its tasks wherever it likes: by its JSON.
    fn cluster(&self, fault: ClusterFault) -> Option<ClusterFault> {
        let mut value = serde_json::to_value(&fault).ok()?;
        self.json(&mut value)?;
        serde_json::from_value(value).ok()
    }

    fn json(&self, value: &mut serde_json::Value) -> Option<()> {
        use serde_json::Value;
        match value {
            Value::Object(members) => {
                let is_task =
                    members.len() == 2 && members.contains_key("run") && members.contains_key("action");
                if is_task {
                    let run = u32::try_from(members.get("run")?.as_u64()?).ok()?;
                    members.insert("run".to_owned(), (self.run)(run)?.into());
                    return Some(());
                }
                members.values_mut().try_for_each(|member| self.json(member))
            }
            Value::Array(elements) => elements.iter_mut().try_for_each(|element| self.json(element)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(()),
        }
    }
}
