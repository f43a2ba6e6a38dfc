//! Examples and properties. An example is a text: one line a command, first the second in which it comes.
//!
//! Things are called by what the text called them: agents and workers by their names, runs `r1`, `r2` …,
//! tasks `t1`, `t2` … in the order in which they were made. The answer stands behind each line.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

mod desk;
mod examples_after_start;
mod examples_agents;
mod examples_launch;
mod examples_queue;
mod examples_runs;
mod examples_state;
mod properties;

use desk::Desk;
use expect_test::Expect;

/// Runs a text and compares it with its answers.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "it is called with a literal")]
fn check(text: &str, expected: Expect) {
    let mut desk = Desk::new();
    let answered: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| format!("{line} → {}\n", desk.line(line)))
        .collect();
    expected.assert_eq(&answered.concat());
    desk.holds();
}
