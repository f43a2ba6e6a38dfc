//! The worker: does one task with Scalr's tokens in its hands, and runs none of the user's code itself.

pub mod beneath;
pub mod commands;
pub mod configuration;
pub mod declared;
pub mod environment;
pub mod masking;
pub mod paths;
pub mod plan_json;
pub mod runner_link;
pub mod spool;
pub mod tools;
pub mod uploads;
pub mod variables;
