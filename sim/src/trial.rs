//! One scenario, from its first moment until everything is at rest, watched all the way.
//!
//! It must never look at anything that the [`invariant`](crate::invariant)s are not told too.

use std::collections::BTreeMap;

use scalr_core::clock::Millis;

use crate::{
    fault::FaultId,
    invariant::{Checks, Violation},
    scenario::Scenario,
    world::{
        World,
        snag::Strike,
        truth::{Fired, Milestone},
    },
};

/// More steps than this make no scenario of ours: it goes in a circle.
const STEPS_MAX: u64 = 2_000_000;

/// How often it is looked whether everything is at rest.
const LOOK_MS: u64 = 5_000;

/// How long everything must stay at rest.
const REST_MS: u64 = 25_000;

/// How long after the last run is over everything must be at rest: finished Jobs are kept for a minute, a
/// node that died takes minutes to be missed, and a runner whose worker never came waits for it for ten.
const SETTLE_MS: u64 = 1_800_000;

/// What came of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The hash of its whole history.
    pub digest: u64,
    /// How many events it had.
    pub steps: u64,
    /// When it ended.
    pub ended: Millis,
    /// The faults that happened, by kind and by how far their task was.
    pub fired: BTreeMap<(FaultId, Option<Milestone>), u64>,
    /// What was seen at least once.
    pub marks: BTreeMap<&'static str, u64>,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
}

/// Runs a scenario under the dice of its own seed.
pub fn run(scenario: &Scenario) -> Trial {
    let mut world = World::new(scenario.setup(scenario.world.seed));
    let mut checks = Checks::new(scenario);
    let violation = watch(&mut world, scenario, &mut checks, &mut |_| {}).err();
    Trial {
        digest: world.digest(),
        steps: world.steps(),
        ended: world.now(),
        fired: fired(scenario, world.truth().fired()),
        marks: checks.marks(),
        violation,
    }
}

/// Runs a world of this scenario to its end, and shows it after every step.
pub fn watch(
    world: &mut World,
    scenario: &Scenario,
    checks: &mut Checks,
    each: &mut dyn FnMut(&World),
) -> Result<(), Violation> {
    let mut step = |world: &mut World, checks: &mut Checks| -> Result<bool, Violation> {
        let Some(record) = world.step() else { return Ok(false) };
        each(world);
        let checked = checks.after(world, record);
        world.forget_facts();
        if world.steps() > STEPS_MAX {
            return checked.and(Err(checks.runs_in_circles(world)));
        }
        checked.map(|()| true)
    };
    while !world.is_over() {
        if world.now() > scenario.deadline() {
            return Err(checks.not_over(world));
        }
        if !step(world, checks)? {
            return Err(checks.not_over(world));
        }
    }
    // Whatever is still broken by now concerns no run any more.
    if world.now() < scenario.heals_at() {
        world.strike(Strike::Heal);
    }
    let deadline = world.now() + SETTLE_MS;
    let mut rests_since = None;
    loop {
        let until = world.now() + LOOK_MS;
        while world.next_at().is_some_and(|next| next <= until) {
            step(world, checks)?;
        }
        world.run_until(until);
        match (checks.at_rest(world), rests_since) {
            (Ok(()), None) => rests_since = Some(world.now()),
            (Ok(()), Some(since)) if world.now().since(since) >= REST_MS => return checks.at_end(world),
            (Ok(()), Some(_)) => {}
            (Err(violation), _) if world.now() > deadline => return Err(violation),
            (Err(_), _) => rests_since = None,
        }
    }
}

/// The faults of a scenario that happened, by kind and phase.
fn fired(scenario: &Scenario, fired: &[Fired]) -> BTreeMap<(FaultId, Option<Milestone>), u64> {
    let mut counted = BTreeMap::new();
    for Fired { what, phase, .. } in fired {
        if let Some(fault) = scenario.fault_of(*what).and_then(|place| scenario.faults.get(place)) {
            *counted.entry((fault.id, *phase)).or_default() += 1;
        }
    }
    counted
}
