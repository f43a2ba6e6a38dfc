//! Work that is counted: so many scenarios, hashes, runs, waits. How long it takes is for who has a watch.
//!
//! Each prints one line, with its numbers first, so that a script can read it.

use sim::{
    World,
    erlang::{self, Queue, Waits},
    generate::{self, Shape},
    invariant::Checks,
    luck::{Luck, Purpose, Span},
    pairs::{self as cases, Bench, Case},
    scenario::Scenario,
    story, trial,
    world::{
        cluster::setup::PoolSetup,
        setup::{ControllerSetup, RunSetup},
    },
};

use crate::out::say;
use crate::{options::Drawn, out::Out};

/// No more broken promises are named.
const NAMED_MAX: usize = 20;

const ARRIVES: Purpose = Purpose::named("arrives");

fn seeds(of: Drawn) -> impl Iterator<Item = u64> {
    (0..of.seeds).map(move |place| of.seed.wrapping_add(place))
}

/// One hash a seed.
pub(crate) fn digest(of: Drawn, out: &mut Out) -> bool {
    for seed in seeds(of) {
        let trial = trial::run(&generate::scenario(Shape::of(seed)));
        say!(out, "{seed} {:016x}", trial.digest);
    }
    true
}

/// Scenarios, faults, events, and how many break a promise; those are named.
pub(crate) fn drill(of: Drawn, out: &mut Out) -> bool {
    let (mut faults, mut events, mut broken) = (0, 0, Vec::new());
    for seed in seeds(of) {
        let trial = trial::run(&generate::scenario(Shape::of(seed)));
        faults += trial.fired.values().sum::<u64>();
        events += trial.steps;
        broken.extend(trial.violation.map(|violation| (seed, violation)));
    }
    say!(out, "{} scenarios, {faults} faults fired, {events} events, {} broken", of.seeds, broken.len());
    for (seed, violation) in broken.iter().take(NAMED_MAX) {
        say!(out, "seed {seed}: {violation}");
    }
    broken.is_empty()
}

/// Cases, faults, events, and how many break a promise; those are named.
pub(crate) fn pairs(seed: u64, has_pairs: bool, (part, of): (usize, usize), out: &mut Out) -> bool {
    let mut all: Vec<Case> = cases::singles();
    if has_pairs {
        all.extend(cases::pairs());
    }
    let bench = Bench::default();
    let (mut count, mut faults, mut events, mut broken) = (0, 0, 0, Vec::new());
    for case in all.into_iter().skip(part).step_by(of) {
        let trial = trial::run(&bench.scenario(case, seed));
        count += 1;
        faults += trial.fired.values().sum::<u64>();
        events += trial.steps;
        broken.extend(trial.violation.map(|violation| (case, violation)));
    }
    say!(out, "{count} cases, {faults} faults fired, {events} events, {} broken", broken.len());
    for (case, violation) in broken.iter().take(NAMED_MAX) {
        say!(out, "{}: {violation}", bench.name(*case));
    }
    broken.is_empty()
}

/// Runs, tasks, events and hours of a cluster that is large enough, as a what-if takes it.
pub(crate) fn load(runs: u32, hourly: u32, is_checked: bool, out: &mut Out) -> bool {
    let scenario = busy(runs, hourly.max(1));
    let mut world = World::new(scenario.setup(scenario.world.seed));
    let mut violation = None;
    if is_checked {
        let mut checks = Checks::new(&scenario);
        violation = trial::watch(&mut world, &scenario, &mut checks, &mut |_| {}).err();
    } else {
        world.set_hashed(false);
        while !world.is_over() && world.step().is_some() {
            world.forget_facts();
        }
    }
    let tasks = world.truth().tasks().count();
    say!(out, "{runs} runs, {tasks} tasks, {} events, {} hours", world.steps(), world.now().0 / 3_600_000);
    if let Some(violation) = &violation {
        say!(out, "{violation}\n{}", story::tell(&scenario));
    }
    violation.is_none()
}

/// Plans and applies of many workspaces, with room for all of them.
fn busy(runs: u32, hourly: u32) -> Scenario {
    let mut scenario = Scenario::default();
    let world = &mut scenario.world;
    world.controllers = vec![ControllerSetup { capacity: 200, ..ControllerSetup::default() }];
    world.cluster.pools = vec![PoolSetup { count: 30, min: 30, max: 30, ..PoolSetup::default() }];
    let luck = Luck::new(world.seed);
    let gap = Span::Exponential { mean: 3_600_000 / u64::from(hourly) };
    let mut at_ms = 1_000;
    for place in 0..runs {
        at_ms += luck.span(ARRIVES, u64::from(place), 0, &gap);
        world.runs.push(RunSetup { at_ms, workspace: place % 1_000, ..RunSetup::default() });
    }
    scenario.chaos_ms = at_ms;
    scenario
}

/// How far the mean wait is from Erlang's.
pub(crate) fn queue(servers: u32, arrivals: u32, replications: u32, seed: u64, out: &mut Out) -> bool {
    let replications = replications.max(1);
    let mut waits = Waits::default();
    let mut means = Vec::new();
    for replication in 0..replications {
        let seed = seed.wrapping_add(u64::from(replication));
        let replication = erlang::run(Queue { servers, arrivals: arrivals / replications, seed });
        means.push(replication.mean_ms());
        waits.add(replication);
    }
    let expected_ms = erlang::expected_ms(servers);
    let percent = |mean_ms: f64, of_ms: f64| (mean_ms / of_ms - 1.0) * 100.0;
    say!(
        out,
        "{servers} servers, {} counted, {} events, {:.1} s waited, {:.1} s expected, {:+.2} % off it, \
         give or take {:.2} %, {:+.3} % off the recursion over the same draws, {:+.4} % in slots",
        waits.count,
        waits.events,
        waits.mean_ms() / 1_000.0,
        expected_ms / 1_000.0,
        percent(waits.mean_ms(), expected_ms),
        standard_error(&means) / expected_ms * 100.0,
        percent(waits.mean_ms(), waits.ideal_mean_ms()),
        waits.overhead() * 100.0
    );
    true
}

/// Of a mean of means: what luck alone may make of it. None for a single one.
#[expect(clippy::cast_precision_loss, reason = "a few replications")]
fn standard_error(means: &[f64]) -> f64 {
    let count = means.len() as f64;
    let mean = means.iter().sum::<f64>() / count;
    let squares: f64 = means.iter().map(|each| (each - mean).powi(2)).sum();
    (squares / (count * (count - 1.0).max(1.0))).sqrt()
}
