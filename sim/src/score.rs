//! A run as lines for people: one an event in fixed columns, then what came of it all.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::out::Out;
use crate::out::{complain, say};
use scalr_core::clock::Millis;
use sim::{
    World,
    fault::FaultId,
    invariant::{Checks, Violation},
    scenario::Scenario,
    shrink as minimise, story, trial,
    world::{score::Line, snag::Strike, truth::FiredWhat},
};

/// No line of a score is longer: two lines of a wide terminal.
const LINE_MAX: usize = 320;

/// Runs a scenario and prints what came of it. Says whether every promise was kept.
pub(crate) fn run(scenario: &Scenario, is_traced: bool, out: &mut Out) -> bool {
    let mut world = World::new(scenario.setup(scenario.world.seed));
    let mut printer = Printer::default();
    if is_traced {
        world.keep_score();
        say!(out, "{:>12} {:>7}  {:<16} what", "time", "event", "who");
    }
    let mut checks = Checks::new(scenario);
    let ended = trial::watch(&mut world, scenario, &mut checks, &mut |world| {
        if is_traced {
            printer.print(world, scenario, out);
        }
    });
    if is_traced {
        say!(out);
    }
    out.print(format_args!("{}", summary(scenario, &world)));
    match ended {
        Ok(()) => {
            say!(out, "promises  all kept");
            true
        }
        Err(violation) => {
            say!(out, "promises  broken: {violation}\n\n{}", story::tell(scenario).trim_end());
            false
        }
    }
}

/// Makes a scenario small that breaks a promise, and prints it. Says whether none was broken.
pub(crate) fn shrink(scenario: &Scenario, out: &mut Out) -> bool {
    let Some(violation) = trial::run(scenario).violation else {
        complain!("no promise is broken: there is nothing to make smaller");
        return true;
    };
    let small = minimise::shrink(scenario, &violation);
    let (runs, faults) = (small.scenario.world.runs.len(), small.scenario.faults.len());
    complain!("{runs} runs and {faults} faults are left, after {} tries\n", small.tries);
    complain!("{}", story::tell(&small.scenario));
    out.print(format_args!("{}", small.scenario.write()));
    false
}

#[derive(Default)]
struct Printer {
    /// How many faults were told.
    told: usize,
}

impl Printer {
    /// When, the how manieth, who, and then what came in and what was wanted. What follows at once from the
    /// same event stands below it, without its time.
    fn print(&mut self, world: &World, scenario: &Scenario, out: &mut Out) {
        let mut stamp = format!("{:>12} {:>7}", world.now().to_string(), world.steps());
        let mut lines = world.score().iter().peekable();
        while let Some(Line { who, what, .. }) = lines.next() {
            let mut text = what.clone();
            while let Some(wish) = lines.next_if(|line| line.is_wish) {
                let _ = write!(text, " → {}", wish.what);
            }
            if text == "wakes" {
                continue;
            }
            if who == "!!" {
                self.name(world, scenario, &mut text);
            }
            let end = text.floor_char_boundary(LINE_MAX);
            text.truncate(end);
            say!(out, "{stamp:>20}  {who:<16} {text}");
            stamp = String::new();
        }
    }

    /// Adds the fault of the catalogue that something is an example of.
    fn name(&mut self, world: &World, scenario: &Scenario, text: &mut String) {
        let fired = world.truth().fired();
        for fired in fired.iter().skip(self.told) {
            if let Some(id) = fault_id(scenario, fired.what) {
                let _ = write!(text, " ({id})");
            }
        }
        self.told = fired.len();
    }
}

fn fault_id(scenario: &Scenario, fired: FiredWhat) -> Option<FaultId> {
    scenario.fault_of(fired).and_then(|place| scenario.faults.get(place)).map(|fault| fault.id)
}

/// What came of a run, in a few lines.
fn summary(scenario: &Scenario, world: &World) -> String {
    let mut text = String::new();
    if !scenario.about.is_empty() {
        let _ = writeln!(text, "about     {}", scenario.about);
    }
    let _ = writeln!(
        text,
        "seed      {}, {} events until {}, hash {:016x}",
        scenario.world.seed,
        world.steps(),
        world.now(),
        world.digest()
    );
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    for run in (0..).take(scenario.world.runs.len()) {
        let status = world.run_status(run).map_or("not made".to_owned(), |status| status.to_string());
        *outcomes.entry(status).or_default() += 1;
    }
    let count = scenario.world.runs.len();
    let how = counted(outcomes.into_iter());
    let _ = writeln!(
        text,
        "runs      {}",
        if count == 0 { "none".to_owned() } else { format!("{count}: {how}") }
    );
    let (mut waits, mut works) = (Vec::new(), Vec::new());
    for (_, task) in world.truth().tasks() {
        if let Some(confirm) = task.confirms.first() {
            waits.push(confirm.at.since(task.queued));
            works.extend(task.end.map(|end| end.at.since(confirm.at)));
        }
    }
    let _ = writeln!(text, "waits     {}", spread(waits, "from queued to started"));
    let _ = writeln!(text, "work      {}", spread(works, "from started to over"));
    let _ = writeln!(text, "faults    {}", faults(scenario, world));
    text
}

fn counted<T: std::fmt::Display>(counts: impl Iterator<Item = (T, u32)>) -> String {
    counts.map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

/// The middle and the end of many times.
fn spread(mut times: Vec<u64>, what: &str) -> String {
    times.sort_unstable();
    let part = |thousandths: usize| {
        let rank = (times.len() * thousandths).div_ceil(1_000).max(1);
        Millis(times.get(rank - 1).copied().unwrap_or(0)).to_string()
    };
    if times.is_empty() {
        return "none".to_owned();
    }
    let (half, most, all) = (part(500), part(950), part(1_000));
    format!("{} {what}: half within {half}, 95 of 100 within {most}, all within {all}", times.len())
}

fn faults(scenario: &Scenario, world: &World) -> String {
    let mut fired: BTreeMap<FaultId, u32> = BTreeMap::new();
    let mut others = 0_u32;
    for one in world.truth().fired() {
        match fault_id(scenario, one.what) {
            Some(id) => *fired.entry(id).or_default() += 1,
            // The last strike is the healing, which every scenario has.
            None => others += u32::from(!is_heal(world, one.what)),
        }
    }
    let mut text = format!("{} planned, of these fired: ", scenario.faults.len());
    text.push_str(&if fired.is_empty() {
        "none".to_owned()
    } else {
        let times = |(id, count)| if count == 1 { format!("{id}") } else { format!("{id} ×{count}") };
        fired.into_iter().map(times).collect::<Vec<_>>().join(", ")
    });
    if others > 0 {
        let _ = write!(text, "; and {others} snags and strikes of the world's own");
    }
    text
}

fn is_heal(world: &World, fired: FiredWhat) -> bool {
    match fired {
        FiredWhat::Strike(place) => {
            world.setup().strikes.get(place).is_some_and(|strike| strike.what == Strike::Heal)
        }
        FiredWhat::Snag { .. } => false,
    }
}

/// The first promise that was broken, if one was.
pub(crate) fn said(ended: Result<(), Violation>, out: &mut Out) -> bool {
    match ended {
        Ok(()) => true,
        Err(violation) => {
            say!(out, "\npromise broken: {violation}");
            false
        }
    }
}
