//! A Scalr that fits in a terminal, to run and to test agents against.
//!
//! [`state`] is everything it knows, and the one way to change it: pure, so that a simulator may own one.
//! The rest is feature `server`: [`journal`] keeps what was acknowledged, [`server`] speaks HTTP round the
//! state, [`client`] speaks to it as a person does, [`resource`] is what the two say to each other, and
//! [`commands`] are what a person types, as [`options`] reads it.
//!
//! It is no Scalr: it has one account, one environment and one agent pool, and it never reaches out.

pub mod state;

#[cfg(feature = "server")]
pub mod client;
#[cfg(feature = "server")]
pub mod commands;
#[cfg(feature = "server")]
pub mod journal;
#[cfg(feature = "server")]
pub mod options;
#[cfg(feature = "server")]
pub mod resource;
#[cfg(feature = "server")]
pub mod server;

/// The path under which the public API lives, as at Scalr.
#[cfg(feature = "server")]
pub const PUBLIC_BASE_PATH: &str = "/api/iacp/v3";

/// The header of an output that says whether nothing will follow: `true` or `false`.
#[cfg(feature = "server")]
pub const OUTPUT_ENDED_HEADER: &str = "output-ended";
