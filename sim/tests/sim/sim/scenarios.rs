//! The run that counts: so many scenarios, each with another few things that go wrong.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use sim::{fault::FaultId, generate, invariant::Violation, scenario::Scenario, shrink, story};

use super::{
    cells::{self, Cells},
    seeds,
    sweep::{Total, sweep},
};

/// After so many that break a promise no new ones are begun.
const BROKEN_MAX: u64 = 20;

#[test]
fn a_hundred_thousand_scenarios() {
    let (seed, called) = seeds::seed();
    println!("seed {called}");
    let total = sweep(seed, seeds::scenarios(), seeds::count("SIM_BROKEN_MAX", BROKEN_MAX));
    println!("{} scenarios, {} faults fired", total.scenarios, total.faults());
    print!("{}", details(&total));
    assert!(total.broken.is_empty(), "{}", failures(&total));
    let unseen = unseen(&total);
    assert!(unseen.is_empty(), "never met, though it can be:\n{}", unseen.join("\n"));
}

fn details(total: &Total) -> String {
    let mut text = format!("{} events\nfaults by kind:\n", total.events);
    let mut kinds: BTreeMap<FaultId, u64> = BTreeMap::new();
    for ((id, _), count) in &total.fired {
        *kinds.entry(*id).or_default() += count;
    }
    for id in FaultId::ALL {
        let said = match (kinds.get(id), id.why_not()) {
            (Some(count), _) => count.to_string(),
            (None, Some(why)) => format!("never: {why}"),
            (None, None) => "not hit".to_owned(),
        };
        let _ = writeln!(text, "  {id}: {said}");
    }
    text.push_str("seen:\n");
    for (mark, count) in &total.marks {
        let _ = writeln!(text, "  {mark}: {count}");
    }
    tell_cells(&mut text, &cells::look(&total.fired));
    text
}

fn tell_cells(text: &mut String, cells: &Cells) {
    let _ = writeln!(text, "{} cells of fault kind and task phase hit", cells.hit.len());
    for (id, phase) in &cells.missed {
        let _ = writeln!(text, "  missed: {id} at {}", cells::called(*phase));
    }
    for (id, phases, why) in &cells.excused {
        let phases: Vec<_> = phases.iter().map(|phase| cells::called(*phase)).collect();
        let _ = writeln!(text, "  not {id} at {}: {why}", phases.join(", "));
    }
}

/// What so many scenarios should have met and have not.
fn unseen(total: &Total) -> Vec<String> {
    if total.scenarios < cells::SURE_FROM {
        return Vec::new();
    }
    let missed = cells::look(&total.fired).missed;
    let cells = missed.iter().map(|(id, phase)| format!("{id} at {}", cells::called(*phase)));
    let marks = cells::MARKS.iter().filter(|mark| !total.marks.contains_key(*mark));
    cells.chain(marks.map(|mark| format!("{mark:?}"))).collect()
}

/// Every promise that was broken: how often, and the story of a small example.
fn failures(total: &Total) -> String {
    let mut text = format!("{} scenarios break a promise\n", total.broken.len());
    let mut by_invariant: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (number, shape, violation) in &total.broken {
        by_invariant.entry(violation.invariant).or_default().push((*number, *shape, violation.clone()));
    }
    for (invariant, examples) in by_invariant {
        let (number, shape, violation) = &examples[0];
        let _ =
            writeln!(text, "\n{invariant}: {} times, first in scenario {number} ({shape:?})", examples.len());
        let shrunk = shrink::shrink(&generate::scenario(*shape), violation);
        let _ = writeln!(text, "{}", story::tell(&shrunk.scenario));
        let kept = keep(&shrunk.scenario, &shrunk.violation);
        let _ = writeln!(text, "{} tries; kept in {}", shrunk.tries, kept.display());
    }
    text
}

/// Writes a scenario and its ready test where they can be taken from.
fn keep(scenario: &Scenario, violation: &Violation) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sim");
    fs::create_dir_all(&folder).expect("a folder under target can be made");
    let id = violation.invariant.name().to_lowercase().replace(' ', "_");
    let name = format!("{id}_{:08x}", scenario.world.seed & 0xffff_ffff);
    let path = folder.join(format!("{name}.json"));
    fs::write(&path, scenario.write()).expect("a scenario can be written");
    fs::write(folder.join(format!("{name}.rs")), story::ready_test(&name, violation))
        .expect("a test can be written");
    path
}
