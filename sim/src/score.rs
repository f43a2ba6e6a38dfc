//! A run as lines for people: one an event in fixed columns, or what concerns one task.

use std::{fs, path::Path};

use sim::{
    World,
    invariant::{Checks, Violation},
    scenario::{BadScenario, Scenario},
    trial,
    world::setup::TaskNumber,
};

/// No line of a score is longer: two lines of a wide terminal.
const LINE_MAX: usize = 600;

/// What lies deeper in a thing is left out.
const DEPTH_MAX: u32 = 7;

/// Runs a scenario and prints what came of it. Says whether every promise was kept.
pub(crate) fn run(path: &Path, seed: Option<u64>, is_traced: bool) -> Result<bool, BadScenario> {
    let scenario = read(path, seed)?;
    let mut world = World::new(scenario.setup(scenario.world.seed));
    if is_traced {
        world.keep_score();
    }
    let mut checks = Checks::new(&scenario);
    let ended = trial::watch(&mut world, &scenario, &mut checks, &mut |world| {
        if let Some(score) = world.score() {
            print_event(world, score);
        }
    });
    let fired = world.truth().fired().len();
    println!(
        "{} events until {}, {fired} faults fired, {} runs over, hash {:016x}, seed {}",
        world.steps(),
        world.now(),
        scenario.world.runs.len() - usize::try_from(open(&world)).unwrap_or(0),
        world.digest(),
        scenario.world.seed
    );
    Ok(said(ended))
}

fn open(world: &World) -> u32 {
    let runs = 0..u32::try_from(world.setup().runs.len()).unwrap_or(u32::MAX);
    let is_open = |run: &u32| !world.run_status(*run).is_some_and(|status| status.is_terminal());
    u32::try_from(runs.filter(is_open).count()).unwrap_or(u32::MAX)
}

fn said(ended: Result<(), Violation>) -> bool {
    match ended {
        Ok(()) => true,
        Err(violation) => {
            println!("{violation}");
            false
        }
    }
}

/// When, the how manieth, to whom, and then what came in and what was wanted.
fn print_event(world: &World, score: &str) {
    let mut lines = score.lines();
    let Some(first) = lines.next() else { return };
    let mut line = shortened(first.split_once(' ').map_or(first, |(_, what)| what));
    for more in lines {
        line.push_str(if more.starts_with(' ') { " → " } else { " ; " });
        line.push_str(&shortened(more.trim_start()));
    }
    let end = line.floor_char_boundary(LINE_MAX);
    line.truncate(end);
    println!("{:>12} {:>6} {line}", world.now().to_string(), world.steps());
}

/// A debug text without what lies deep inside.
fn shortened(text: &str) -> String {
    let mut short = String::new();
    let mut depth = 0_u32;
    for character in text.chars() {
        let closes = matches!(character, '}' | ')' | ']');
        depth = if closes { depth.saturating_sub(1) } else { depth };
        if depth < DEPTH_MAX {
            short.push(character);
        }
        if matches!(character, '{' | '(' | '[') {
            depth += 1;
            if depth == DEPTH_MAX {
                short.push('…');
            }
        }
    }
    short
}

/// Prints what became of a task, and for each change of it why it waited.
pub(crate) fn explain(path: &Path, task: TaskNumber, seed: Option<u64>) -> Result<bool, BadScenario> {
    let scenario = read(path, seed)?;
    let mut world = World::new(scenario.setup(scenario.world.seed));
    let mut checks = Checks::new(&scenario);
    let mut told = Told::default();
    let ended = trial::watch(&mut world, &scenario, &mut checks, &mut |world| told.look(world, task));
    if told.lines == 0 {
        println!("{task} was never queued");
    }
    Ok(said(ended))
}

#[derive(Default)]
struct Told {
    why: String,
    lines: u64,
}

impl Told {
    fn look(&mut self, world: &World, task: TaskNumber) {
        for fact in world.truth().facts().iter().filter(|fact| fact.task == task) {
            self.say(world, &sim::story::fact_line(fact));
        }
        let Some(truth) = world.truth().task(task).filter(|truth| truth.end.is_none()) else { return };
        let Some(id) = &truth.id else { return };
        let why = world.controllers().find_map(|(seat, process, brain)| {
            let said = brain.explain(world.clock_of(process)?, id)?;
            Some(format!("controller {seat}: {said}"))
        });
        let why = why.unwrap_or_default();
        // How long ago something was changes all the time, and says nothing new.
        let is_new = without_digits(&why) != without_digits(&self.why);
        if is_new && !why.is_empty() {
            self.say(world, &format!("{} {task}: {why}", world.now()));
        }
        self.why = why;
    }

    fn say(&mut self, _world: &World, line: &str) {
        self.lines += 1;
        println!("{line}");
    }
}

fn without_digits(text: &str) -> String {
    text.chars().filter(|character| !character.is_ascii_digit()).collect()
}

fn read(path: &Path, seed: Option<u64>) -> Result<Scenario, BadScenario> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| BadScenario {
        file: name.clone(),
        line: 1,
        field: ".".to_owned(),
        expected: format!("{error}, expected a scenario file"),
    })?;
    let mut scenario = Scenario::read(&name, &text)?;
    if let Some(seed) = seed {
        scenario.world.seed = seed;
    }
    Ok(scenario)
}
