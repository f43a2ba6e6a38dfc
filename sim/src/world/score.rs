//! What each step of a world was, in words for people.
//!
//! A line is about one thing: an input of a brain and what it then wanted, something that happened to a task,
//! something that went wrong. It must never cost anything where nobody reads, nor decide anything.

mod controller;
mod worker;

use serde::Serialize;

use scalr_core::{controller::input::Input, supervisor::input::TaskInput};
use scalr_protocol::id::{Fence, TaskId};

use super::{
    World,
    process::{Brain, ProcessId, Wish},
    setup::TaskNumber,
    snag::Strike,
    truth::{Fact, FactKind},
};

/// One line of a score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whose it is: an agent's name, a task's worker, `scalr`, `cluster`, or `!!` for what goes wrong.
    pub who: String,
    /// What happened.
    pub what: String,
    /// Whether it is what a brain wanted because of the line before.
    pub is_wish: bool,
}

impl std::fmt::Display for ProcessId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}", self.0)
    }
}

impl World {
    /// From now on each step leaves lines.
    pub fn keep_score(&mut self) {
        self.score = Some(Vec::new());
    }

    /// The lines of the last step; none where no score is kept.
    pub fn score(&self) -> &[Line] {
        self.score.as_deref().unwrap_or_default()
    }

    /// The name of a controller's agent, or the task of a worker.
    pub fn name_of(&self, process: ProcessId) -> String {
        match self.processes.get(&process).map(|process| &process.brain) {
            Some(Brain::Controller { seat, .. }) => {
                let setup = self.setup.controllers.get(*seat as usize);
                setup.map_or_else(|| format!("controller {seat}"), |setup| setup.name.clone())
            }
            Some(Brain::Worker(shell)) => format!("worker {}", short(shell.number)),
            None => "nobody".to_owned(),
        }
    }

    fn names(&self) -> Names<'_> {
        Names(self)
    }

    fn say(&mut self, who: String, what: String, is_wish: bool) {
        if let Some(score) = &mut self.score {
            score.push(Line { who, what, is_wish });
        }
    }

    pub(super) fn say_fact(&mut self, fact: &Fact) {
        if self.score.is_none() {
            return;
        }
        let who = match fact.what {
            FactKind::Queued
            | FactKind::Granted { .. }
            | FactKind::Released { .. }
            | FactKind::Claimed { .. }
            | FactKind::Confirmed { .. }
            | FactKind::FinishSent { .. }
            | FactKind::LaunchFailed { .. }
            | FactKind::Uploaded { .. }
            | FactKind::Ended { .. }
            | FactKind::Late { .. } => "scalr",
            FactKind::JobAsked { .. }
            | FactKind::DeleteAsked { .. }
            | FactKind::WorkerBegan { .. }
            | FactKind::WorkerEnded { .. }
            | FactKind::Stopped { .. }
            | FactKind::Overstayed { .. } => "cluster",
            FactKind::CodeBegan { .. }
            | FactKind::CodeEnded { .. }
            | FactKind::Interrupted { .. }
            | FactKind::StateLeft { .. } => "runner",
            // What went out and what came in is told already.
            FactKind::DoorSent { .. }
            | FactKind::CreateSent { .. }
            | FactKind::CreateAnswered { .. }
            | FactKind::Renewed { .. }
            | FactKind::Drained { .. }
            | FactKind::Signaled { .. }
            | FactKind::UploadSent { .. } => return,
        };
        let what = format!("{} {}", short(fact.task), crate::story::fact_what(fact));
        self.say(who.to_owned(), what, false);
    }

    pub(super) fn say_input(&mut self, id: ProcessId, input: &Input) {
        if self.score.is_some() {
            let what = controller::input(input, self.names());
            self.say(self.name_of(id), what, false);
        }
    }

    pub(super) fn say_task_input(&mut self, id: ProcessId, input: &TaskInput) {
        if self.score.is_some() {
            self.say(self.name_of(id), worker::input(input), false);
        }
    }

    pub(super) fn say_wish(&mut self, id: ProcessId, wish: &Wish) {
        if self.score.is_none() {
            return;
        }
        let what = match wish {
            Wish::Controller(effect) => controller::effect(effect, self.names()),
            Wish::Worker(effect) => worker::effect(effect),
        };
        if let Some(what) = what {
            self.say(self.name_of(id), what, true);
        }
    }

    pub(super) fn say_snag(&mut self, what: &impl Serialize, fate: &impl Serialize) {
        if self.score.is_some() {
            self.say("!!".to_owned(), format!("{}: {}", word(what), word(fate)), false);
        }
    }

    pub(super) fn say_strike(&mut self, strike: &Strike) {
        if self.score.is_some() {
            self.say("!!".to_owned(), word(strike), false);
        }
    }
}

/// How tasks are called.
#[derive(Clone, Copy)]
struct Names<'a>(&'a World);

impl Names<'_> {
    fn task(self, id: &TaskId) -> String {
        self.0.truth.number_of(id).map_or_else(|| id.as_str().to_owned(), short)
    }

    /// With its fence, where that is not the first.
    fn at(self, id: &TaskId, fence: Fence) -> String {
        let task = self.task(id);
        if fence.0 == 1 { task } else { format!("{task}#{}", fence.0) }
    }
}

/// A task as it is named on the command line: `3:plan`.
pub fn short(task: TaskNumber) -> String {
    format!("{}:{}", task.run, task.action.as_str())
}

/// A value as it is written in a scenario file, without the quotes of names.
fn word(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default().replace('"', "")
}

/// Several things in a row.
fn listed(things: impl Iterator<Item = String>) -> String {
    let things: Vec<String> = things.collect();
    if things.is_empty() { "nothing".to_owned() } else { things.join(", ") }
}
