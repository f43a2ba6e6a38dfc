//! Dispatch: which of the held tasks becomes a Job, when, and what becomes of those that don't.
//!
//! One `step` for each thing that happened. It never blocks, never fails and never looks at anything but
//! its arguments and itself.

pub mod effect;
pub mod input;
