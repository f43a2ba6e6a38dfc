//! Many scenarios on two threads, and what they add up to.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sim::{
    fault::FaultId,
    generate::{self, Shape},
    invariant::Violation,
    trial::{self, Trial},
    world::truth::Milestone,
};

/// As many as the smallest machine has that this is meant for.
const THREADS: u64 = 2;

/// How many scenarios proptest draws with one runner.
const BATCH: u64 = 64;

/// What many scenarios add up to.
#[derive(Clone, Debug, Default)]
pub(super) struct Total {
    pub(super) scenarios: u64,
    pub(super) events: u64,
    pub(super) fired: BTreeMap<(FaultId, Option<Milestone>), u64>,
    pub(super) marks: BTreeMap<&'static str, u64>,
    pub(super) broken: Vec<(u64, Shape, Violation)>,
}

impl Total {
    pub(super) fn faults(&self) -> u64 {
        self.fired.values().sum()
    }

    fn add(&mut self, number: u64, shape: Shape, trial: Trial) {
        self.scenarios += 1;
        self.events += trial.steps;
        for (cell, count) in trial.fired {
            *self.fired.entry(cell).or_default() += count;
        }
        for (mark, count) in trial.marks {
            *self.marks.entry(mark).or_default() += count;
        }
        if let Some(violation) = trial.violation {
            self.broken.push((number, shape, violation));
        }
    }

    fn merge(&mut self, other: Self) {
        self.scenarios += other.scenarios;
        self.events += other.events;
        for (cell, count) in other.fired {
            *self.fired.entry(cell).or_default() += count;
        }
        for (mark, count) in other.marks {
            *self.marks.entry(mark).or_default() += count;
        }
        self.broken.extend(other.broken);
    }
}

/// The shapes of scenarios: small mostly.
pub(super) fn shapes() -> impl Strategy<Value = Shape> {
    let runs = proptest::prop_oneof![5 => 1..=2_u32, 3 => 2..=4_u32, 1 => 4..=Shape::RUNS_MAX];
    let faults =
        proptest::prop_oneof![2 => 0..=0_u32, 5 => 1..=3_u32, 9 => 3..=6_u32, 3 => 6..=Shape::FAULTS_MAX];
    let controllers = proptest::prop_oneof![3 => 1..=1_u32, 2 => 2..=2_u32, 1 => 3..=Shape::CONTROLLERS_MAX];
    (proptest::num::u64::ANY, runs, controllers, faults).prop_map(|(seed, runs, controllers, faults)| Shape {
        seed,
        runs,
        controllers,
        faults,
    })
}

/// The shapes of one batch: the same for ever.
pub(super) fn batch(seed: u64, batch: u64) -> Vec<Shape> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&batch.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let shapes = shapes();
    (0..BATCH).map(|_| shapes.new_tree(&mut runner).expect("every shape is one").current()).collect()
}

/// Runs so many scenarios of a seed. After `broken_max` that break a promise no new ones are begun.
pub(super) fn sweep(seed: u64, scenarios: u64, broken_max: u64) -> Total {
    let next = AtomicU64::new(0);
    let broken = AtomicU64::new(0);
    let is_enough = AtomicBool::new(false);
    let worker = || {
        let mut total = Total::default();
        while !is_enough.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let first = number * BATCH;
            if first >= scenarios {
                break;
            }
            for (place, shape) in (first..scenarios).zip(batch(seed, number)) {
                let trial = trial::run(&generate::scenario(shape));
                if trial.violation.is_some() && broken.fetch_add(1, Ordering::Relaxed) + 1 >= broken_max {
                    is_enough.store(true, Ordering::Relaxed);
                }
                total.add(place, shape, trial);
            }
        }
        total
    };
    let mut total = Total::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            total.merge(worker.join().expect("no scenario panics"));
        }
    });
    total.broken.sort_by_key(|(number, ..)| *number);
    total
}
