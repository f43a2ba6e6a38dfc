//! `just mutants`: whether each wrong change in a brain is caught, by which promise, and how small the
//! example can be made.
//!
//! It decides nothing: what a catch is says [`sim::mutants`]. It ends with 1 if a mutant was missed.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a terminal")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use scalr_core::mutant::{Brain, Mutant};
use sim::mutants::{self, Catch};

/// As many as the smallest machine has that this is meant for.
const THREADS: usize = 2;

/// Plants one wrong change after the other in the brains, and looks which promise catches it.
#[derive(Debug, Parser)]
struct Options {
    /// Only these, by their names
    mutants: Vec<String>,
    /// How many scenarios to run for each at most
    #[arg(long, default_value_t = 20_000)]
    scenarios: u64,
    /// The seed of all scenarios
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tells how each was caught
    #[arg(long)]
    stories: bool,
    /// Keeps the small scenario of each in this folder
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// What came of one mutant.
struct Row {
    mutant: Mutant,
    /// What was caught, if it was.
    caught: Option<Caught>,
}

struct Caught {
    by: &'static str,
    drawn: u64,
    tasks: usize,
    faults: usize,
    controllers: usize,
    tries: u32,
    shrunk_ms: u128,
    story: String,
    file: String,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let named = options.mutants.iter().map(|name| Mutant::from_name(name).ok_or(name));
    let wanted = match named.collect::<Result<Vec<_>, _>>() {
        Ok(named) if named.is_empty() => Mutant::ALL.to_vec(),
        Ok(named) => named,
        Err(name) => {
            eprintln!("there is no mutant {name:?}; core/src/mutant.rs has their names");
            return ExitCode::from(64);
        }
    };
    let rows = hunt(&wanted, &options);
    if let Some(folder) = &options.keep
        && let Err(error) = keep(folder, &rows)
    {
        eprintln!("{}: {error}", folder.display());
        return ExitCode::FAILURE;
    }
    println!("{}", table(&rows));
    if options.stories {
        for row in &rows {
            println!("\n{}: {}", row.mutant.name(), row.mutant.about());
            print!("{}", row.caught.as_ref().map_or("", |caught| &caught.story));
        }
    }
    let missed: Vec<_> =
        rows.iter().filter(|row| row.caught.is_none()).map(|row| row.mutant.name()).collect();
    if !missed.is_empty() {
        println!("missed: {}", missed.join(", "));
    }
    println!("{}", summary(&rows));
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each mutant in its turn, on two threads.
fn hunt(wanted: &[Mutant], options: &Options) -> Vec<Row> {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} {msg}");
    let bar = ProgressBar::new(wanted.len() as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let worker = || {
        while let Some((place, mutant)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            wanted.get(place).map(|mutant| (place, *mutant))
        } {
            bar.set_message(mutant.name());
            let caught = mutants::hunt(mutant, options.seed, options.scenarios);
            let row = Row { mutant, caught: caught.map(|caught| shrunk(mutant, &caught)) };
            rows.lock().unwrap_or_else(PoisonError::into_inner).push((place, row));
            bar.inc(1);
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(worker);
        }
    });
    bar.finish_and_clear();
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn shrunk(mutant: Mutant, caught: &Catch) -> Caught {
    #[expect(clippy::disallowed_methods, reason = "how long shrinking takes is what the table says")]
    let begun = Instant::now();
    let mut shrunk = mutants::shrink(mutant, caught);
    let shrunk_ms = begun.elapsed().as_millis();
    shrunk.scenario.about = format!("catches {}: {}", mutant.name(), shrunk.violation);
    let scenario = &shrunk.scenario;
    Caught {
        by: shrunk.violation.invariant.name(),
        drawn: caught.drawn,
        tasks: mutants::tasks_until(mutant, scenario),
        faults: scenario.faults.len(),
        controllers: scenario.world.controllers.len(),
        tries: shrunk.tries,
        shrunk_ms,
        story: mutants::story_of(mutant, scenario),
        file: scenario.write(),
    }
}

fn keep(folder: &Path, rows: &[Row]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for row in rows {
        if let Some(caught) = &row.caught {
            fs::write(folder.join(format!("{}.json", row.mutant.name())), &caught.file)?;
        }
    }
    Ok(())
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let shrunk_to = ["tasks", "faults", "controllers", "tries", "ms"];
    let head = ["mutant", "where", "caught by", "after scenarios"];
    table.set_header(head.iter().chain(&shrunk_to));
    for Row { mutant, caught } in rows {
        let brain = match mutant.brain() {
            Brain::Supervisor => "Supervisor",
            Brain::Controller => "Controller",
        };
        let mut cells = vec![mutant.name().to_owned(), brain.to_owned()];
        match caught {
            None => cells.push("missed".to_owned()),
            Some(caught) => {
                cells.push(caught.by.to_owned());
                cells.push(caught.drawn.to_string());
                cells.extend(
                    [caught.tasks, caught.faults, caught.controllers].map(|number| number.to_string()),
                );
                cells.extend([caught.tries.to_string(), caught.shrunk_ms.to_string()]);
            }
        }
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(head.len() - 1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn summary(rows: &[Row]) -> String {
    let caught: Vec<&Caught> = rows.iter().filter_map(|row| row.caught.as_ref()).collect();
    let of = |what: fn(&Caught) -> u128| quantiles(caught.iter().map(|caught| what(caught)).collect());
    let (tasks, tasks_p95) = of(|caught| caught.tasks as u128);
    let (faults, faults_p95) = of(|caught| caught.faults as u128);
    let (ms, ms_p95) = of(|caught| caught.shrunk_ms);
    format!(
        "{} of {} mutants caught; shrunk to {tasks} tasks and {faults} faults in {ms} ms in the median, \
         {tasks_p95}, {faults_p95} and {ms_p95} ms at the 95th percentile",
        caught.len(),
        rows.len(),
    )
}

/// The median and the 95th percentile.
fn quantiles(mut values: Vec<u128>) -> (u128, u128) {
    values.sort_unstable();
    let at = |percent: usize| values.get((values.len() * percent / 100).min(values.len().saturating_sub(1)));
    (at(50).copied().unwrap_or(0), at(95).copied().unwrap_or(0))
}
