//! Where seeds come from: the commit, or what somebody says.

use std::process::Command;

use sim::luck::key_of;

/// The seed of this run, and how it is called.
pub(super) fn seed() -> (u64, String) {
    if let Some(said) = option("SIM_SEED") {
        return (said.parse().unwrap_or_else(|_| key_of(&said)), said);
    }
    match commit() {
        Some(commit) => (key_of(&commit), commit),
        None => (key_of("no commit"), "no commit".to_owned()),
    }
}

fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let commit = String::from_utf8(output.stdout).ok()?;
    Some(commit.trim().to_owned()).filter(|commit| !commit.is_empty())
}

/// How many scenarios are to be run.
pub(super) fn scenarios() -> u64 {
    count("SIM_SCENARIOS", 100_000)
}

/// A number of work that somebody may change.
pub(super) fn count(name: &str, usual: u64) -> u64 {
    match option(name) {
        None => usual,
        Some(said) => match said.replace('_', "").parse() {
            Ok(count) => count,
            Err(error) => panic!("{name} is {said:?}, expected a number: {error}"),
        },
    }
}

/// Whether somebody says exactly this.
pub(super) fn is_said(name: &str, what: &str) -> bool {
    option(name).as_deref() == Some(what)
}

#[expect(clippy::disallowed_methods, reason = "how much is tested is told by the environment")]
fn option(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
