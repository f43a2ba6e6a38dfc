//! One task, seen through: claim, confirm, stages, stop, finish.
//!
//! It sees lengths and exits, never bytes, and counts the console as spooled, after masking. One `step` for
//! each thing that happened; it never blocks, never fails and never looks at anything but its arguments
//! and itself.

pub mod effect;
pub mod input;
