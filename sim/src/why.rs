//! Why a task has not started, or is not over, in one true sentence: Scalr's while no controller has it, the
//! controller's until its Job is made, then what the cluster and the worker do.
//!
//! It must never guess: what nobody knows is left out.

use fake_scalr::state::status::TaskStatus;
use scalr_core::clock::Millis;
use scalr_protocol::{agent::Action, id::TaskId};

use crate::world::{World, setup::TaskNumber};

/// One sentence, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// `scalr`, `cluster`, `worker`, or the name of an agent.
    pub who: String,
    /// The sentence, without its full stop.
    pub what: String,
}

impl Why {
    fn new(who: &str, what: impl Into<String>) -> Self {
        Self { who: who.to_owned(), what: what.into() }
    }
}

/// A time in which one sentence was true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Since when.
    pub from: Millis,
    /// Until when.
    pub to: Millis,
    /// The sentence.
    pub why: Why,
}

/// Why a task is not over; nothing where its run is not made yet, or where there is nothing to come.
pub fn why(world: &World, task: TaskNumber) -> Option<Why> {
    let run = world.run_id(task.run)?;
    let Some(truth) = world.truth().task(task) else {
        let is_dry = world.setup().runs.get(task.run as usize).is_some_and(|run| run.is_dry);
        if world.run_status(task.run)?.is_terminal() || (is_dry && task.action == Action::Apply) {
            return None;
        }
        let plan = TaskNumber { action: Action::Plan, ..task };
        let is_planned = world.truth().task(plan).is_some_and(|plan| plan.end.is_some());
        if task.action == Action::Apply && !is_planned {
            return Some(Why::new("scalr", "its plan is not over yet"));
        }
        return Some(Why::new("scalr", world.scalr().run(run)?.waiting_reason?));
    };
    if truth.end.is_some() {
        return None;
    }
    let id = truth.id.as_ref()?;
    let scalr = || Some(Why::new("scalr", world.scalr().run(run)?.waiting_reason?));
    match world.scalr().glance(id)?.status {
        TaskStatus::Queued | TaskStatus::Unreachable => scalr(),
        TaskStatus::Leased => held(world, id).or_else(scalr),
        TaskStatus::Claimed => Some(Why::new("worker", "a worker has claimed it and is about to start it")),
        TaskStatus::Started => Some(worked_at(world, task)),
        TaskStatus::Finished | TaskStatus::Lost => None,
    }
}

/// The sentence of the controller that has it, or of the cluster once there is a pod.
fn held(world: &World, id: &TaskId) -> Option<Why> {
    let (who, said) = world.controllers().find_map(|(_, process, brain)| {
        let said = brain.explain(world.clock_of(process)?, id)?;
        Some((world.name_of(process), said))
    })?;
    let is_launched = said.starts_with("its Job was made");
    if is_launched && let Some(progress) = world.cluster().progress_of(id) {
        return Some(Why::new("cluster", progress));
    }
    Some(Why::new(&who, timeless(&said)))
}

fn worked_at(world: &World, task: TaskNumber) -> Why {
    // One that is confirmed, or else one that may be and does not know yet.
    let mut workers: Vec<_> = world.workers().filter(|(number, ..)| *number == task).collect();
    workers.sort_by_key(|(_, _, brain)| !brain.status().is_confirmed);
    match workers.first() {
        Some((_, process, _)) if world.is_suspended(*process) => {
            Why::new("worker", "its worker is suspended")
        }
        Some((_, _, brain)) => {
            let status = brain.status();
            let stopping = if status.is_stopping { ", and is stopping" } else { "" };
            Why::new("worker", format!("its worker is at {}{stopping}", status.phase))
        }
        None => Why::new("cluster", "its worker is gone, and Scalr does not know yet"),
    }
}

/// A sentence without how long ago something was: that is told by the interval.
fn timeless(text: &str) -> String {
    let Some((before, after)) = text.split_once(" s ago") else { return text.to_owned() };
    let before = before.trim_end_matches(|character: char| character.is_ascii_digit());
    let before = before.trim_end_matches([' ', ',']);
    format!("{before}{}", after.trim_start_matches(" for the last time"))
}

/// The intervals of one task, one after the other, as a world goes on.
#[derive(Clone, Debug, Default)]
pub struct Intervals {
    done: Vec<Interval>,
    open: Option<(Millis, Why)>,
}

impl Intervals {
    /// Looks at the world after a step.
    pub fn look(&mut self, world: &World, task: TaskNumber) {
        let why = why(world, task);
        if self.open.as_ref().map(|(_, why)| why) == why.as_ref() {
            return;
        }
        self.close(world.now());
        self.open = why.map(|why| (world.now(), why));
    }

    /// All of them, the last one up to now.
    pub fn end(mut self, now: Millis) -> Vec<Interval> {
        self.close(now);
        self.done
    }

    fn close(&mut self, now: Millis) {
        let Some((from, why)) = self.open.take() else { return };
        if from < now {
            self.done.push(Interval { from, to: now, why });
        }
    }
}
