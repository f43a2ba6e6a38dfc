//! Everything that is simulated, in one binary: `cargo test sim` runs it all.
//!
//! Work is counted, never timed: `SIM_SCENARIOS` says how many scenarios, and their seeds come from the
//! commit, so that every commit tries others and each can be met again.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

#[cfg(test)]
mod sim;
