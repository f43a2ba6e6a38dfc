//! All simulation tests: their names begin with `sim`.

mod scenarios;
mod seeds;
mod sweep;
