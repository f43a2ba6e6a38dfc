//! What can be asked of the simulator from a terminal.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use scalr_core::clock::Millis;
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
        #[command(flatten)]
        what: Played,
        /// Prints one line for each event
        #[arg(long)]
        trace: bool,
    },
    /// Says why a task waited, interval by interval, and what became of it
    Explain {
        #[command(flatten)]
        what: Played,
        /// A run's place in the scenario and its stage, such as 3:plan or 0:apply
        #[arg(long, value_parser = task, required_unless_present = "at")]
        task: Option<TaskNumber>,
        /// Only what is so at this moment, of all tasks where none is named: 90s, 1500ms, 2m, 1h
        #[arg(long, value_parser = moment)]
        at: Option<Millis>,
    },
    /// Prints the JSON Schema of scenario files
    Schema,
    /// Makes a scenario that breaks a promise small, prints it, and tells its story on stderr
    Shrink {
        #[command(flatten)]
        what: Played,
    },
    /// Prints the hash of the history of each of so many generated scenarios
    #[command(hide = true)]
    Digest {
        #[command(flatten)]
        of: Drawn,
    },
    /// Runs so many generated scenarios and counts
    #[command(hide = true)]
    Drill {
        #[command(flatten)]
        of: Drawn,
    },
    /// Runs every fault, and with --pairs every pair, in every canonical workload, and counts
    #[command(hide = true)]
    Pairs {
        /// Of the examples
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Pairs of kinds too
        #[arg(long)]
        pairs: bool,
        /// Only the first of so many equal parts, for two processes at once: 0/2 and 1/2
        #[arg(long, value_parser = part, default_value = "0/1")]
        part: (usize, usize),
    },
    /// Runs a day of many runs without checks or hashes, and counts
    #[command(hide = true)]
    Load {
        /// How many runs
        #[arg(long, default_value_t = 10_000)]
        runs: u32,
        /// How many of them begin in an hour
        #[arg(long, default_value_t = 600)]
        hourly: u32,
        /// With all checks and the hash
        #[arg(long)]
        checked: bool,
    },
    /// Compares the waits of a queue without memory with Erlang's formula
    #[command(hide = true)]
    Queue {
        /// How many tasks may run at once
        #[arg(long)]
        servers: u32,
        /// How many arrive, in all replications
        #[arg(long)]
        arrivals: u32,
        /// In how many equal parts, each with dice of its own
        #[arg(long, default_value_t = 1)]
        replications: u32,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Only prints the scenario of one replication
        #[arg(long)]
        print: bool,
    },
}

/// A scenario and its dice.
#[derive(Debug, Args)]
pub(crate) struct Played {
    /// A scenario file
    pub(crate) scenario: PathBuf,
    /// The seed of all dice, instead of the scenario's own
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

/// Generated scenarios: those of seeds in a row.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Drawn {
    /// How many
    #[arg(long, default_value_t = 1_000)]
    pub(crate) seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
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

/// A moment as a score prints it, or in a larger unit. Three digits behind the point count.
fn moment(said: &str) -> Result<Millis, String> {
    let expected = "expected a time with its unit, such as 90s, 1500ms, 2m or 1h";
    let digits = said.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let unit_ms: u64 = match said.get(digits.len()..).unwrap_or_default() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(expected.to_owned()),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let whole: u64 = whole.parse().map_err(|_| expected)?;
    let thousandths: u64 =
        format!("{part:0<3}").get(..3).and_then(|part| part.parse().ok()).ok_or(expected)?;
    let ms = whole.checked_mul(unit_ms).ok_or(expected)?;
    Ok(Millis(ms.checked_add(thousandths * unit_ms / 1_000).ok_or(expected)?))
}

fn part(said: &str) -> Result<(usize, usize), String> {
    let expected = "expected a part and how many there are, such as 0/2";
    let (part, of) = said.split_once('/').ok_or(expected)?;
    let (part, of) = (part.parse().map_err(|_| expected)?, of.parse().map_err(|_| expected)?);
    if part < of { Ok((part, of)) } else { Err(expected.to_owned()) }
}
