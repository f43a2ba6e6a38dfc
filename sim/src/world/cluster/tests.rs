//! The cluster told as stories, and what must hold whatever happens.

mod api;
mod basics;
mod bench;
mod faults;
mod nodes;
mod properties;
