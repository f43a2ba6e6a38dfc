//! The server from outside: as a router without a socket, and as the real binary.

#![expect(
    clippy::format_collect,
    clippy::format_push_string,
    clippy::needless_raw_string_hashes,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "tests: helpers may fail loudly, reports are texts as expect-test writes them, tables are long"
)]

mod bad_input;
mod commands;
mod console;
mod durability;
mod faults;
mod fixture;
mod following;
mod openapi;
mod public;
mod state_backend;
mod unlock;
