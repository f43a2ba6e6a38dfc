//! The body of the agent: what carries out what the two brains decide.
//!
//! A shell is one mailbox and one loop: each effect becomes a call whose answer returns to the mailbox. It
//! makes no choice; whatever may be decided is decided in `scalr-core`.

pub mod options;
pub mod process;
pub mod telemetry;

pub mod clock;
pub mod scalr;

pub mod alive;
pub mod install;

pub mod cluster;
pub mod controller;
pub mod dispatch;
mod instance;
pub mod runner;
pub mod worker;
