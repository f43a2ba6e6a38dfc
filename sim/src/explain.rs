//! Why a task waited, interval by interval, and what became of it.

use scalr_core::clock::Millis;
use scalr_protocol::agent::Action;
use sim::{
    World,
    invariant::Checks,
    scenario::Scenario,
    story, trial,
    why::{self, Intervals},
    world::{score::short, setup::TaskNumber, truth::FactKind},
};

use crate::out::say;
use crate::{out::Out, score::said};

/// Prints why a task waited; with a moment, only what is so then, of all tasks where none is named.
pub(crate) fn explain(
    scenario: &Scenario,
    task: Option<TaskNumber>,
    at: Option<Millis>,
    out: &mut Out,
) -> Result<bool, String> {
    let count = scenario.world.runs.len();
    if let Some(task) = task
        && task.run as usize >= count
    {
        return Err(format!("--task {}: the scenario has {count} runs, the first is 0", short(task)));
    }
    Ok(match (task, at) {
        (Some(task), None) => all_of(scenario, task, out),
        (task, Some(at)) => at_moment(scenario, task, at, out),
        // The options see to it that one is there.
        (None, None) => true,
    })
}

/// What is so at a moment.
fn at_moment(scenario: &Scenario, task: Option<TaskNumber>, at: Millis, out: &mut Out) -> bool {
    let mut world = World::new(scenario.setup(scenario.world.seed));
    // Nothing comes of a task any more once all are over.
    if !world.run_until_over(at.min(scenario.deadline())) {
        world.run_until(at.min(scenario.deadline()));
    }
    let mut is_anything = false;
    let runs = 0..u32::try_from(scenario.world.runs.len()).unwrap_or(u32::MAX);
    let all = runs.flat_map(|run| [Action::Plan, Action::Apply].map(|action| TaskNumber { run, action }));
    for number in all.filter(|number| task.is_none_or(|task| task == *number)) {
        let truth = world.truth().task(number);
        is_anything |= truth.is_some() || task.is_some();
        let end = truth.and_then(|truth| truth.end.as_ref());
        match (why::why(&world, number), end) {
            (Some(why), _) => {
                let since = truth.map_or(String::new(), |truth| format!(", queued at {}", truth.queued));
                say!(out, "{:<9} {}: {}{since}", short(number), why.who, why.what);
            }
            (None, Some(end)) => {
                say!(out, "{:<9} over since {}: {}", short(number), end.at, outcome(&world, number));
            }
            (None, None) if task.is_some() => say!(out, "{:<9} not queued", short(number)),
            (None, None) => {}
        }
    }
    if !is_anything {
        say!(out, "at {at} nothing is queued");
    }
    true
}

/// A line of the account of a task.
struct Entry {
    at: Millis,
    /// How long it was so; nothing of what only happens.
    for_ms: Option<u64>,
    who: String,
    what: String,
}

fn all_of(scenario: &Scenario, task: TaskNumber, out: &mut Out) -> bool {
    let mut world = World::new(scenario.setup(scenario.world.seed));
    let mut checks = Checks::new(scenario);
    let mut intervals = Intervals::default();
    let mut entries = Vec::new();
    let mut told = 0;
    let ended = trial::watch(&mut world, scenario, &mut checks, &mut |world| {
        intervals.look(world, task);
        for fact in world.truth().facts().iter().filter(|fact| fact.task == task) {
            if is_news(&fact.what) {
                let what = story::fact_what(fact);
                entries.push(Entry { at: fact.at, for_ms: None, who: String::new(), what });
            }
        }
        for fired in world.truth().fired().iter().skip(told) {
            told += 1;
            let fault = scenario.fault_of(fired.what).and_then(|place| scenario.faults.get(place));
            if let Some(fault) = fault.filter(|_| fired.task.is_none_or(|of| of == task)) {
                let what = format!("{}: {}", fault.id, fault.id.about());
                entries.push(Entry { at: fired.at, for_ms: None, who: "!!".to_owned(), what });
            }
        }
    });
    for interval in intervals.end(world.now()) {
        let for_ms = Some(interval.to.since(interval.from));
        entries.push(Entry { at: interval.from, for_ms, who: interval.why.who, what: interval.why.what });
    }
    // What only happens stands before what is so from then on.
    entries.sort_by_key(|entry| (entry.at, entry.for_ms.is_some()));
    say!(out, "{} under seed {}", short(task), scenario.world.seed);
    if !entries.is_empty() {
        say!(out, "{:>12} {:>12}  {:<12} what", "at", "for", "who");
    }
    for Entry { at, for_ms, who, what } in &entries {
        let lasts = for_ms.map_or(String::new(), |for_ms| Millis(for_ms).to_string());
        say!(out, "{:>12} {lasts:>12}  {who:<12} {what}", at.to_string());
    }
    say!(out, "{}", ending(&world, task));
    said(ended, out)
}

/// What the intervals do not say by themselves.
fn is_news(what: &FactKind) -> bool {
    matches!(
        what,
        FactKind::Queued
            | FactKind::Granted { .. }
            | FactKind::Released { .. }
            | FactKind::LaunchFailed { .. }
            | FactKind::WorkerBegan { .. }
            | FactKind::WorkerEnded { .. }
            | FactKind::Confirmed { .. }
            | FactKind::Interrupted { .. }
            | FactKind::Overstayed { .. }
            | FactKind::Late { .. }
            | FactKind::Ended { .. }
    )
}

/// How long it waited and worked, and how it ended.
fn ending(world: &World, task: TaskNumber) -> String {
    let Some(truth) = world.truth().task(task) else {
        let status = world.run_status(task.run).map_or("not made".to_owned(), |status| status.to_string());
        return format!("it was never queued; its run is {status}");
    };
    let Some(end) = truth.end else { return "it is not over".to_owned() };
    if let Some(confirm) = truth.confirms.first() {
        let waited = Millis(confirm.at.since(truth.queued));
        let worked = Millis(end.at.since(confirm.at));
        format!("waited {waited}, then worked {worked}: {}", outcome(world, task))
    } else {
        let waited = Millis(end.at.since(truth.queued));
        format!("waited {waited} and never started: {}", outcome(world, task))
    }
}

/// How a task ended, and what its run says of it.
fn outcome(world: &World, task: TaskNumber) -> String {
    let Some(end) = world.truth().task(task).and_then(|truth| truth.end) else {
        return "not over".to_owned();
    };
    let mut text = match end.outcome {
        Some(outcome) => format!("{} ({outcome:?})", end.status).to_lowercase(),
        None => end.status.to_string(),
    };
    let run = world.run_id(task.run).and_then(|id| world.scalr().run(id));
    if let Some(message) = run.and_then(|run| run.error_message) {
        text.push_str("; the run says: ");
        text.push_str(&message);
    }
    text
}
