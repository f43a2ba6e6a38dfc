//! docs/simulator.md names every fault and every promise as the code has them.

use std::fmt::Write as _;

use sim::{fault::FaultId, invariant::Invariant};

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
