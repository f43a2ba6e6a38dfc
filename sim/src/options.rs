//! What can be asked of the simulator from a terminal.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use scalr_protocol::agent::Action;
use sim::world::setup::TaskNumber;

/// Years in seconds: the real brains of the agent in a made-up cluster.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a scenario, and says what came of it
    Run {
        /// A scenario file
        scenario: PathBuf,
        /// The seed of all dice, instead of the scenario's own
        #[arg(long)]
        seed: Option<u64>,
        /// Prints one line for each event
        #[arg(long)]
        trace: bool,
    },
    /// Says why a task waited, and what became of it
    Explain {
        /// A scenario file
        scenario: PathBuf,
        /// A run's place in the scenario and its stage, such as 3:plan or 0:apply
        #[arg(long, value_parser = task)]
        task: TaskNumber,
        /// The seed of all dice, instead of the scenario's own
        #[arg(long)]
        seed: Option<u64>,
    },
}

fn task(said: &str) -> Result<TaskNumber, String> {
    let expected = "expected a run's place and its stage, such as 3:plan";
    let (run, stage) = said.split_once(':').ok_or(expected)?;
    let run = run.parse().map_err(|_| expected)?;
    let action = match stage {
        "plan" => Action::Plan,
        "apply" => Action::Apply,
        _ => return Err(expected.to_owned()),
    };
    Ok(TaskNumber { run, action })
}
