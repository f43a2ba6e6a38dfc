//! The simulator from a terminal: run a scenario and read it like a score, ask why a task waited.
//!
//! It decides nothing: options, the scenario, the run, and what is printed of it. Bad options and bad files
//! end with 64, a broken promise with 1.

mod count;
mod explain;
mod options;
mod out;
mod score;

use std::{fs, process::ExitCode};

use clap::Parser;
use sim::erlang::{self, Queue};
use sim::scenario::{BadScenario, Scenario};

use options::{Command, Options, Played};
use out::{Out, complain};

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
    let mut out = Out::new();
    let played = play(&options.command, &mut out);
    if let Err(error) = out.end() {
        complain!("sim: can't write to standard output: {error}");
        return ExitCode::FAILURE;
    }
    match played {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(bad) => {
            complain!("{bad}");
            ExitCode::from(USAGE)
        }
    }
}

/// Does what is asked. Says whether every promise was kept.
fn play(command: &Command, out: &mut Out) -> Result<bool, String> {
    Ok(match command {
        Command::Run { what, trace } => score::run(&read(what)?, *trace, out),
        Command::Explain { what, task, at } => explain::explain(&read(what)?, *task, *at, out)?,
        Command::Schema => {
            out.print(format_args!("{}", Scenario::schema()));
            true
        }
        Command::Shrink { what } => score::shrink(&read(what)?, out),
        Command::Digest { of } => count::digest(*of, out),
        Command::Drill { of } => count::drill(*of, out),
        Command::Pairs { seed, pairs, part } => count::pairs(*seed, *pairs, *part, out),
        Command::Load { runs, hourly, checked } => count::load(*runs, *hourly, *checked, out),
        Command::Queue { servers, arrivals, seed, print: true, .. } => {
            let queue = Queue { servers: *servers, arrivals: *arrivals, seed: *seed };
            out.print(format_args!("{}", erlang::scenario(queue).write()));
            true
        }
        Command::Queue { servers, arrivals, replications, seed, print: false } => {
            count::queue(*servers, *arrivals, *replications, *seed, out)
        }
    })
}

fn read(what: &Played) -> Result<Scenario, String> {
    let name = what.scenario.display().to_string();
    let bytes = fs::read(&what.scenario).map_err(|error| BadScenario::unopened(&name, &error));
    let read = bytes.and_then(|bytes| Scenario::read_bytes(&name, &bytes));
    let mut scenario = read.map_err(|bad| bad.to_string())?;
    scenario.world.seed = what.seed.unwrap_or(scenario.world.seed);
    Ok(scenario)
}
