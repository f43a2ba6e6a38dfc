//! The cluster told as stories, and what must hold whatever happens.

mod basics;
mod bench;
