//! The two brains of the agent, and the seams through which they touch the world.
//!
//! [`Controller`](controller::Controller) dispatches many tasks, [`Supervisor`](supervisor::Supervisor) sees
//! one through. Both are pure: an input is one thing that happened, an effect is one call to make, and
//! `step` turns the first into the second. What is not in an effect is not done, and carrying one out
//! makes no choice. A simulator can put them through years of bad luck, because nothing here does IO, reads
//! a clock, throws dice, looks at the environment or needs an async runtime.
//!
//! In reading order: [`clock`], [`backoff`] and [`op`] are what both brains share; [`scalr`], [`task_api`]
//! and [`cluster`] are the seams, and [`refusal`] says what a server's no means at them; [`scheduler`] is the
//! pluggable part; then the two brains. The suites that every implementation of a seam must pass are in
//! `contract` (feature `contract`), wrong changes that a simulator must catch in [`mutant`] (feature
//! `mutants`).

pub mod backoff;
pub mod clock;
pub mod op;

pub mod cluster;
pub mod scalr;
pub mod task_api;

pub mod refusal;

pub mod controller;
pub mod scheduler;
pub mod supervisor;

pub mod mutant;

#[cfg(feature = "contract")]
#[expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a contract is a test: it panics where it is broken"
)]
pub mod contract;

pub use scalr_protocol as protocol;
