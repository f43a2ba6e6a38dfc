//! Short stories: what happened, and what the Controller did about it; then properties.

#![expect(clippy::needless_raw_string_hashes, reason = "snapshots stand as expect-test writes them")]

mod answers;
mod before_start;
mod capacity;
mod cluster_views;
mod leases;
mod life;
#[cfg(feature = "mutants")]
mod mutants;
mod names;
mod nonsense;
mod properties;
mod restart;
mod stopping;
mod story;
mod trouble;
mod world;
