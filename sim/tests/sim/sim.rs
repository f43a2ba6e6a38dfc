//! All simulation tests: their names begin with `sim`.

mod cells;
mod command;
mod determinism;
mod document;
mod erlang;
mod metamorphic;
#[cfg(feature = "mutants")]
mod mutants;
mod pairs;
mod regressions;
mod scenario_files;
mod scenarios;
mod schema;
mod seeds;
mod sweep;
