//! The smallest scenario that catches each planted mutant: it still does, the sound brains come through it,
//! and its story is short. `just mutants --keep sim/tests/mutants` hunts them anew.

use std::{fs, path::PathBuf};

use scalr_core::mutant::Mutant;
use sim::{mutants, scenario::Scenario, story, trial};

/// Half of what is kept must be no larger.
const TASKS_MEDIAN: usize = 2;
const FAULTS_MEDIAN: usize = 2;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/mutants")
}

fn kept(mutant: Mutant) -> Scenario {
    let path = folder().join(format!("{}.json", mutant.name()));
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; `just mutants --keep` makes it", path.display()));
    Scenario::read(mutant.name(), &text).unwrap_or_else(|bad| panic!("{bad}"))
}

#[test]
fn every_mutant_is_caught_by_a_small_scenario() {
    let mut missed = Vec::new();
    for mutant in Mutant::ALL.iter().copied() {
        let scenario = kept(mutant);
        if let Some(violation) = trial::run(&scenario).violation {
            missed.push(format!("{}: the sound brains too: {violation}", mutant.name()));
        } else if mutants::broken_by(mutant, &scenario).is_none() {
            missed.push(format!("{}: it keeps every promise", mutant.name()));
        }
    }
    assert!(missed.is_empty(), "`just mutants --keep` hunts anew:\n{}", missed.join("\n"));
}

#[test]
fn every_mutants_story_is_short() {
    for mutant in Mutant::ALL.iter().copied() {
        let lines = mutants::story_of(mutant, &kept(mutant)).lines().count();
        assert!(lines <= story::LINES_MAX, "{}: {lines} lines", mutant.name());
    }
}

#[test]
fn half_of_the_mutants_need_two_tasks_and_two_faults_at_most() {
    let scenarios: Vec<_> = Mutant::ALL.iter().map(|mutant| (*mutant, kept(*mutant))).collect();
    let tasks = scenarios.iter().map(|(mutant, scenario)| mutants::tasks_until(*mutant, scenario));
    let faults = scenarios.iter().map(|(_, scenario)| scenario.faults.len());
    assert!(median(tasks.collect()) <= TASKS_MEDIAN);
    assert!(median(faults.collect()) <= FAULTS_MEDIAN);
}

fn median(mut values: Vec<usize>) -> usize {
    values.sort_unstable();
    values[values.len() / 2]
}
