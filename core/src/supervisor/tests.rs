//! Stories (one for each rule, as text) and properties (over nonsense, and over a small world of faults).

#![expect(clippy::needless_raw_string_hashes, reason = "snapshots stand as expect-test writes them")]

mod claim_stories;
mod console_stories;
mod environment;
mod finish_stories;
mod lease_stories;
mod monitor;
#[cfg(feature = "mutants")]
mod mutants;
mod nonsense;
mod server;
mod stage_model;
mod stop_stories;
mod story;
mod text;
mod work_stories;
