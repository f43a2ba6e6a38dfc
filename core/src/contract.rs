//! The suites that every implementation of a seam must pass.

pub mod cluster;
pub mod scalr;
