//! The simulator from a terminal: run a scenario and read it like a score, ask why a task waited.
//!
//! It decides nothing: options, the scenario, the run, and what is printed of it. Bad options and bad files
//! end with 64, a broken promise with 1.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a terminal")]

mod options;
mod score;

use std::process::ExitCode;

use clap::Parser;

use options::{Command, Options};

/// What shells have for bad options.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let is_asked = !error.use_stderr();
            // Where even that can't be printed, the exit code says it.
            let _printed = error.print();
            return if is_asked { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    let played = match &options.command {
        Command::Run { scenario, seed, trace } => score::run(scenario, *seed, *trace),
        Command::Explain { scenario, task, seed } => score::explain(scenario, *task, *seed),
    };
    match played {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(bad) => {
            eprintln!("{bad}");
            ExitCode::from(USAGE)
        }
    }
}
