//! Every single fault and every pair of kinds, in every workload that everybody knows. The seed of what they
//! are examples of comes from the commit.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use sim::{
    invariant::Violation,
    pairs::{self, Bench, Case},
    shrink, story, trial, workload,
};

use super::seeds;

const THREADS: usize = 2;

/// How many pairs are tried where nobody says `SIM_PAIRS=all`: drawn by the seed, so that other commits try
/// others.
const PAIRS: u64 = 6_000;

/// So many examples of a single fault are tried: not every one finds its moment in every workload.
const EXAMPLES: u64 = 5;

/// What cases add up to.
#[derive(Default)]
struct Total {
    scenarios: u64,
    faults: u64,
    events: u64,
    /// Cases none of whose faults found its moment.
    idle: u64,
    broken: Vec<(Case, u64, Violation)>,
}

/// Tries so many examples of each case, until something of one has happened.
fn run(seed: u64, cases: &[Case], examples: u64) -> Total {
    let bench = Bench::default();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut total = Total::default();
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut fired = 0;
            for seed in (0..examples).map(|example| seed.wrapping_add(example)) {
                let trial = trial::run(&bench.scenario(*case, seed));
                fired = trial.fired.values().sum::<u64>();
                total.scenarios += 1;
                total.events += trial.steps;
                total.broken.extend(trial.violation.map(|violation| (*case, seed, violation)));
                if fired > 0 {
                    break;
                }
            }
            total.faults += fired;
            total.idle += u64::from(fired == 0);
        }
        total
    };
    let mut all = Total::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let total = worker.join().expect("no scenario panics");
            all.scenarios += total.scenarios;
            all.faults += total.faults;
            all.events += total.events;
            all.idle += total.idle;
            all.broken.extend(total.broken);
        }
    });
    all.broken.sort_by_key(|(case, ..)| *case);
    all
}

#[track_caller]
fn check(what: &str, seed: u64, cases: &[Case], examples: u64) {
    let total = run(seed, cases, examples);
    println!(
        "{what}: {} cases in {} workloads, {} scenarios, {} faults fired, {} events, {} cases never fired",
        cases.len(),
        workload::canonical().len(),
        total.scenarios,
        total.faults,
        total.events,
        total.idle
    );
    if total.broken.is_empty() {
        return;
    }
    let bench = Bench::default();
    let mut text = format!("{} cases break a promise\n", total.broken.len());
    let mut told = Vec::new();
    for (case, seed, violation) in &total.broken {
        let _ = writeln!(text, "{}, seed {seed}: {violation}", bench.name(*case));
        if !told.contains(&violation.invariant) {
            told.push(violation.invariant);
            let shrunk = shrink::shrink(&bench.scenario(*case, *seed), violation);
            let _ = writeln!(text, "{}\n{}", story::tell(&shrunk.scenario), shrunk.scenario.write());
        }
    }
    panic!("{text}");
}

#[test]
fn no_workload_breaks_a_promise_when_nothing_goes_wrong() {
    for (name, scenario) in workload::canonical() {
        let trial = trial::run(&scenario);
        assert_eq!(trial.violation, None, "{name}");
    }
}

#[test]
fn no_single_fault_breaks_a_promise() {
    let (seed, called) = seeds::seed();
    println!("seed {called}");
    check("singles", seed, &pairs::singles(), EXAMPLES);
}

#[test]
fn no_pair_of_faults_breaks_a_promise() {
    let (seed, called) = seeds::seed();
    println!("seed {called}");
    let mut pairs = pairs::pairs();
    if !seeds::is_said("SIM_PAIRS", "all") {
        let wanted = usize::try_from(seeds::count("SIM_PAIRS", PAIRS)).unwrap();
        // Another part of them each time: every so manieth, from a place that the seed says.
        let every = pairs.len().div_ceil(wanted.max(1));
        let from = usize::try_from(seed % every as u64).unwrap();
        pairs = pairs.into_iter().skip(from).step_by(every).collect();
    }
    check("pairs", seed, &pairs, 1);
}
