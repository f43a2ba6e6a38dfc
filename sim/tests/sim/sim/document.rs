//! docs/simulator.md names every fault and every promise as the code has them, and every mutant the promise
//! that catches it.

use std::{fmt::Write as _, fs, path::PathBuf};

use scalr_core::mutant::Mutant;
use sim::{fault::FaultId, invariant::Invariant, scenario::Scenario};

fn page() -> &'static str {
    include_str!("../../../../docs/simulator.md")
}

#[track_caller]
fn check(section: &str) {
    assert!(page().contains(section), "docs/simulator.md must have this table:\n\n{section}");
}

/// `S1 POLL_TIMEOUT` as two cells.
fn cells(name: &str) -> String {
    let (id, rest) = name.split_once(' ').expect("an id and a name");
    format!("{id} | {rest}")
}

#[test]
fn every_fault_is_in_the_documents() {
    let mut table = String::from("| id | name | what goes wrong |\n| --- | --- | --- |\n");
    for id in FaultId::ALL.iter().filter(|id| id.why_not().is_none()) {
        let _ = writeln!(table, "| {} | {} |", cells(id.name()), id.about());
    }
    check(&table);
}

#[test]
fn every_fault_that_does_not_apply_says_why() {
    let mut table = String::from("| id | name | why it is never drawn |\n| --- | --- | --- |\n");
    for id in FaultId::ALL {
        if let Some(why) = id.why_not() {
            let _ = writeln!(table, "| {} | {why} |", cells(id.name()));
        }
    }
    check(&table);
}

#[test]
fn every_promise_is_in_the_documents() {
    let mut table = String::from("| id | name | what is promised |\n| --- | --- | --- |\n");
    for invariant in Invariant::ALL {
        let _ = writeln!(table, "| {} | {} |", cells(invariant.name()), invariant.about());
    }
    check(&table);
}

#[test]
fn every_workload_is_in_the_documents() {
    for (name, scenario) in sim::workload::canonical() {
        check(&format!("| {name} | {} |\n", scenario.about));
    }
}

/// What is kept of a mutant says by which promise it was caught; so does the mutant.
#[test]
fn every_mutant_names_the_promise_that_catches_it() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/mutants");
    for mutant in Mutant::ALL {
        let path = folder.join(format!("{}.json", mutant.name()));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let kept = Scenario::read(mutant.name(), &text).unwrap_or_else(|bad| panic!("{bad}")).about;
        let caught = Invariant::ALL.iter().find(|promise| kept.contains(&format!(": {} ", promise.name())));
        let caught = caught.unwrap_or_else(|| panic!("{}: {kept}", path.display()));
        let (id, name) = caught.name().split_once(' ').expect("an id and a name");
        let named = format!("{id} `{name}`");
        assert!(mutant.about().contains(&named), "{}: {} is not in {}", mutant.name(), named, mutant.about());
    }
}
