//! Scenario files of the simulator.

use sim::scenario::Scenario;

use crate::{Met, Target, mutate::Shape};

pub(crate) const TARGET: Target = Target {
    name: "scenario",
    about: "a scenario file is read and written as it was, or told where and why in one line",
    shape: Shape::Json,
    words: &[
        "\"version\":1",
        "\"world\"",
        "\"runs\"",
        "\"faults\"",
        "\"chaos-ms\"",
        "\"strike\"",
        "\"snag\"",
    ],
    classes: &[
        "read",
        "no text",
        "no JSON",
        "another version",
        "an unknown field",
        "an unknown variant",
        "a missing field",
        "a wrong type or value",
        "too much",
        "a place that is not there",
        "none of any",
        "a mistake of another kind",
    ],
    inputs: 15_000,
    run,
};

fn run(input: &[u8], met: &mut Met) {
    met.see(match Scenario::read_bytes("f", input) {
        Ok(scenario) => {
            assert_eq!(Scenario::read("written", &scenario.write()), Ok(scenario));
            "read"
        }
        Err(bad) => {
            let said = bad.to_string();
            assert!(!said.contains('\n') && said.contains("expected"), "{said:?}");
            let lines = input.split(|byte| *byte == b'\n').count();
            assert!((1..=lines).contains(&bad.line), "{said:?} of {lines} lines");
            assert!((1..=input.len() + 1).contains(&bad.column), "{said:?} of {} bytes", input.len());
            class_of(&said)
        }
    });
}

fn class_of(said: &str) -> &'static str {
    let classes = [
        ("no UTF-8", "no text"),
        ("expected JSON", "no JSON"),
        ("expected the end of the file", "no JSON"),
        ("unknown field", "an unknown field"),
        ("unknown variant", "an unknown variant"),
        ("missing field", "a missing field"),
        ("invalid type", "a wrong type or value"),
        ("invalid value", "a wrong type or value"),
        ("expected at most", "too much"),
        ("the place of one of", "a place that is not there"),
        ("expected at least one", "none of any"),
        (": version: ", "another version"),
    ];
    let known = classes.iter().find(|(words, _)| said.contains(words)).map(|(_, class)| *class);
    known.unwrap_or("a mistake of another kind")
}
