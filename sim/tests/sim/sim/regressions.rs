//! Scenarios that once broke a promise, and must not again.
//!
//! The sweep leaves two files of each that it finds under `target/tmp/sim`: the scenario, and its test. Moved
//! to `sim/tests/regressions` they are here.

use sim::{scenario::Scenario, story, trial};

/// This scenario breaks no promise.
fn regression(text: &str) {
    let scenario = match Scenario::read("the scenario", text) {
        Ok(scenario) => scenario,
        Err(bad) => panic!("{bad}"),
    };
    if let Some(violation) = trial::run(&scenario).violation {
        panic!("{violation}\n{}", story::tell(&scenario));
    }
}

include!(concat!(env!("OUT_DIR"), "/regressions.rs"));
