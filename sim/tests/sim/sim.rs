//! All simulation tests: their names begin with `sim`.

mod cells;
mod pairs;
mod scenarios;
mod seeds;
mod sweep;
