//! From a scenario that breaks a promise to a small one that breaks the same: fewer faults, runs and
//! controllers, fewer features, shorter times. Our own minimiser, since removing a run must not move
//! another's luck, and since one try costs a millisecond.
//!
//! It must never call a scenario a smaller one that breaks another promise.

mod simpler;
mod without;

use self::without::{Orphans, without_controller, without_run};
use crate::{
    fault::{Fault, What},
    invariant::{Invariant, Violation},
    luck,
    scenario::Scenario,
    trial,
};

/// How many scenarios are tried at most: a second or two.
pub const TRIES_MAX: u32 = 800;

/// Under how many other dice a scenario is tried that lacks a run: what breaks the promise is still there,
/// but it may have lost its luck.
const OTHER_DICE: u64 = 4;

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

    /// Halves first, then one by one; the last ones first: then the others keep their numbers, and their
    /// luck.
    fn drop_runs(&mut self) {
        let mut part = self.best.world.runs.len() / 2;
        while part > 1 {
            let mut to = self.best.world.runs.len();
            while to > part {
                let from = to - part;
                let smaller = (from..to).rev().fold(self.best.clone(), |it, run| {
                    without_run(&it, u32::try_from(run).unwrap_or(u32::MAX), Orphans::Dropped)
                });
                self.keeps(smaller);
                to = from.min(self.best.world.runs.len());
            }
            part /= 2;
        }
        let mut run = self.best.world.runs.len();
        while run > 0 {
            run -= 1;
            if self.best.world.runs.len() > 1 && run < self.best.world.runs.len() {
                self.drop_run(u32::try_from(run).unwrap_or(u32::MAX));
            }
        }
    }

    fn drop_run(&mut self, run: u32) {
        let smaller = without_run(&self.best, run, Orphans::Dropped);
        let adopted = without_run(&self.best, run, Orphans::Adopted);
        if !self.keeps(smaller.clone()) && (adopted.faults == smaller.faults || !self.keeps(adopted.clone()))
        {
            self.keeps_under_other_dice(&adopted);
        }
    }

    fn drop_controllers(&mut self) {
        let mut place = self.best.world.controllers.len();
        while place > 0 {
            place -= 1;
            if self.best.world.controllers.len() > 1 && place < self.best.world.controllers.len() {
                let smaller = without_controller(&self.best, u32::try_from(place).unwrap_or(u32::MAX));
                if !self.keeps(smaller.clone()) {
                    self.keeps_under_other_dice(&smaller);
                }
            }
        }
    }

    /// Whether this one breaks the promise under dice near its own.
    fn keeps_under_other_dice(&mut self, scenario: &Scenario) -> bool {
        (1..=OTHER_DICE).any(|number| {
            let mut other = scenario.clone();
            other.world.seed = luck::mix(scenario.world.seed ^ number);
            self.keeps(other)
        })
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
