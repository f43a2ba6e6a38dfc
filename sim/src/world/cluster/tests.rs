//! The cluster told as stories, and what must hold whatever happens.

#![expect(
    clippy::needless_raw_string_hashes,
    clippy::needless_pass_by_value,
    reason = "snapshots stand as expect-test writes them"
)]

mod api;
mod basics;
mod bench;
mod faults;
mod nodes;
mod properties;
mod watches;
