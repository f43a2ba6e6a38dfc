//! In the making.
pub mod state;
