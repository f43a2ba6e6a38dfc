//! What really was: which containers ran, which user code began when and under which fence, what the server
//! granted. No brain ever sees it; invariants are checked against it.
//!
//! Facts come in the order in which they happened, each once. It must never hold a belief.

mod fact;

use std::collections::{BTreeMap, BTreeSet};

pub use self::fact::{CreateAnswer, Fact, FactKind, JobOwner, Milestone};
use super::{
    cluster::PodKey,
    process::ProcessId,
    setup::TaskNumber,
    snag::{CallKind, Leg},
};
use fake_scalr::state::status::TaskStatus;
use scalr_core::{clock::Millis, supervisor::effect::Stage};
use scalr_protocol::{
    agent::Action,
    id::{Fence, TaskId},
    task::Outcome,
};

/// What is true of one task by now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TaskTruth {
    /// The server's name for it.
    pub id: Option<TaskId>,
    /// When it was queued.
    pub queued: Millis,
    /// When user code began for the first time.
    pub began: Option<Millis>,
    /// Who was confirmed, in order; more than one is a broken promise.
    pub confirms: Vec<Confirm>,
    /// Every interval of user code, in order.
    pub code: Vec<UserCode>,
    /// How many bytes of console the worker of the confirm has spooled.
    pub console_bytes: u64,
    /// How it ended at the server.
    pub end: Option<End>,
    /// How many calls about it each kind has cost, as they were sent.
    pub calls: BTreeMap<CallKind, u32>,
    /// How often each milestone has been reached.
    pub reached: BTreeMap<Milestone, u32>,
}

/// A confirm as the server gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Confirm {
    /// When.
    pub at: Millis,
    /// To whom.
    pub process: ProcessId,
    /// Under which fence.
    pub fence: Fence,
}

/// User code from begin to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserCode {
    /// Which.
    pub stage: Stage,
    /// Where.
    pub pod: PodKey,
    /// For whom.
    pub process: ProcessId,
    /// Of the Job for which fence.
    pub fence: Fence,
    /// When it began.
    pub from: Millis,
    /// When it ended, if it has.
    pub to: Option<Millis>,
    /// How.
    pub exit_code: Option<i32>,
    /// Whether what an apply had done was lost with it.
    pub is_state_lost: bool,
}

/// How a task ended at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// When.
    pub at: Millis,
    /// Finished or lost.
    pub status: TaskStatus,
    /// Its outcome, if its worker said one.
    pub outcome: Option<Outcome>,
    /// What its worker said after the loss.
    pub late: Option<Outcome>,
}

/// When a call came before its caller was asked to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hurry {
    /// When it was sent.
    pub at: Millis,
    /// By whom.
    pub process: ProcessId,
    /// Which call.
    pub kind: CallKind,
    /// About which task, if about one.
    pub task: Option<TaskNumber>,
    /// When its caller was asked.
    pub asked: Millis,
    /// Before when it should not have been.
    pub until: Millis,
}

/// A fault that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fired {
    /// When.
    pub at: Millis,
    /// Which.
    pub what: FiredWhat,
    /// The task that it concerned.
    pub task: Option<TaskNumber>,
    /// How far that task was: its last milestone.
    pub phase: Option<Milestone>,
}

/// Which fault has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FiredWhat {
    /// A snag, by its number: those of the setup first, in order, then those that came later.
    Snag {
        /// Its number.
        number: usize,
        /// What it happened to.
        call: CallKind,
        /// Where.
        leg: Leg,
    },
    /// A strike of the setup, by its place.
    Strike(usize),
}

/// Where a task stands among those of its run.
fn place_of(number: TaskNumber) -> usize {
    usize::from(number.action == Action::Apply)
}

/// All that is true.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// By run, its plan and its apply.
    tasks: Vec<[Option<Box<TaskTruth>>; 2]>,
    numbers: BTreeMap<TaskId, TaskNumber>,
    facts: Vec<Fact>,
    fired: Vec<Fired>,
    /// How many calls of each kind were sent, whatever they were about.
    calls: BTreeMap<CallKind, u64>,
    /// Controllers that were killed because their grace was over, and when.
    overstayed: Vec<(Millis, ProcessId)>,
    hurried: Vec<Hurry>,
    /// Commands that run now, in whatever pod.
    running: u32,
    /// Tasks that are queued and not terminal.
    open: BTreeSet<TaskNumber>,
}

impl Truth {
    /// What is true of a task; none before it is queued.
    pub fn task(&self, number: TaskNumber) -> Option<&TaskTruth> {
        self.tasks.get(number.run as usize)?[place_of(number)].as_deref()
    }

    /// Every task that was ever queued.
    pub fn tasks(&self) -> impl Iterator<Item = (TaskNumber, &TaskTruth)> {
        self.tasks.iter().enumerate().flat_map(|(run, stages)| {
            let run = u32::try_from(run).unwrap_or(u32::MAX);
            let number = move |action| TaskNumber { run, action };
            let [plan, apply] = stages;
            let plan = plan.as_deref().map(|task| (number(Action::Plan), task));
            plan.into_iter().chain(apply.as_deref().map(|task| (number(Action::Apply), task)))
        })
    }

    /// Those of them that are not terminal: what they cost does not grow with what is over.
    pub fn open_tasks(&self) -> impl Iterator<Item = (TaskNumber, &TaskTruth)> {
        self.open.iter().filter_map(|number| Some((*number, self.task(*number)?)))
    }

    fn task_mut(&mut self, number: TaskNumber) -> &mut TaskTruth {
        let run = number.run as usize;
        if self.tasks.len() <= run {
            self.tasks.resize(run + 1, [None, None]);
        }
        self.tasks[run][place_of(number)].get_or_insert_default()
    }

    /// Which task of the workload the server means.
    pub fn number_of(&self, id: &TaskId) -> Option<TaskNumber> {
        self.numbers.get(id).copied()
    }

    /// What has happened and was not taken yet.
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// The faults that have happened, in order.
    pub fn fired(&self) -> &[Fired] {
        &self.fired
    }

    /// How many tasks are queued and not terminal.
    pub fn open(&self) -> u32 {
        u32::try_from(self.open.len()).unwrap_or(u32::MAX)
    }

    /// The controllers that were killed because their grace was over, though nothing had suspended them.
    pub fn overstayed(&self) -> &[(Millis, ProcessId)] {
        &self.overstayed
    }

    pub(crate) fn hurry(&mut self, hurry: Hurry) {
        self.hurried.push(hurry);
    }

    /// Calls that came before their callers were asked to come back.
    pub fn hurried(&self) -> &[Hurry] {
        &self.hurried
    }

    pub(crate) fn overstay(&mut self, at: Millis, process: ProcessId) {
        self.overstayed.push((at, process));
    }

    /// How many commands of users run now.
    pub fn running(&self) -> u32 {
        self.running
    }

    /// Forgets the facts so far: whoever checks them has.
    pub(super) fn forget_facts(&mut self) {
        self.facts.clear();
    }

    pub(super) fn fire(&mut self, at: Millis, what: FiredWhat, task: Option<TaskNumber>) {
        let phase = task.and_then(|task| self.task(task)).and_then(TaskTruth::phase);
        self.fired.push(Fired { at, what, task, phase });
    }

    pub(super) fn queued(&mut self, at: Millis, number: TaskNumber, id: &TaskId) {
        self.numbers.insert(id.clone(), number);
        let task = self.task_mut(number);
        task.id = Some(id.clone());
        task.queued = at;
        self.open.insert(number);
    }

    /// How many calls of a kind were sent, by anybody about anything.
    pub fn calls(&self, kind: CallKind) -> u64 {
        self.calls.get(&kind).copied().unwrap_or(0)
    }

    pub(super) fn count_call(&mut self, number: Option<TaskNumber>, kind: CallKind) {
        *self.calls.entry(kind).or_default() += 1;
        if let Some(number) = number {
            *self.task_mut(number).calls.entry(kind).or_default() += 1;
        }
    }

    pub(super) fn spooled(&mut self, number: TaskNumber, process: ProcessId, bytes: u64) {
        let task = self.task_mut(number);
        if task.confirms.last().is_some_and(|confirm| confirm.process == process) {
            task.console_bytes = bytes;
        }
    }

    /// Whether this process was confirmed.
    pub(super) fn is_confirmed(&self, number: TaskNumber, process: ProcessId) -> bool {
        self.task(number).is_some_and(|task| task.confirms.iter().any(|confirm| confirm.process == process))
    }

    /// Writes a fact down. Says which milestone was reached, and for how often.
    pub(crate) fn note(
        &mut self,
        at: Millis,
        number: TaskNumber,
        what: FactKind,
    ) -> Option<(Milestone, u32)> {
        match &what {
            FactKind::CodeBegan { .. } => self.running += 1,
            FactKind::CodeEnded { .. } => self.running -= 1,
            FactKind::Ended { .. } => {
                self.open.remove(&number);
            }
            FactKind::Queued
            | FactKind::Granted { .. }
            | FactKind::Released { .. }
            | FactKind::DoorSent { .. }
            | FactKind::LaunchFailed { .. }
            | FactKind::CreateSent { .. }
            | FactKind::CreateAnswered { .. }
            | FactKind::Renewed { .. }
            | FactKind::Drained { .. }
            | FactKind::Signaled { .. }
            | FactKind::StateLeft { .. }
            | FactKind::UploadSent { .. }
            | FactKind::Uploaded { .. }
            | FactKind::Stopped { .. }
            | FactKind::Overstayed { .. }
            | FactKind::JobAsked { .. }
            | FactKind::DeleteAsked { .. }
            | FactKind::WorkerBegan { .. }
            | FactKind::WorkerEnded { .. }
            | FactKind::Claimed { .. }
            | FactKind::Confirmed { .. }
            | FactKind::Interrupted { .. }
            | FactKind::FinishSent { .. }
            | FactKind::Late { .. } => {}
        }
        let task = self.task_mut(number);
        task.take(at, &what);
        let reached = what.milestone().map(|milestone| {
            let times = task.reached.entry(milestone).or_default();
            *times += 1;
            (milestone, *times)
        });
        self.facts.push(Fact { at, task: number, what });
        reached
    }
}

impl TaskTruth {
    fn take(&mut self, at: Millis, what: &FactKind) {
        match *what {
            FactKind::Confirmed { process, fence } => self.confirms.push(Confirm { at, process, fence }),
            FactKind::CodeBegan { process, pod, fence, stage, .. } => {
                self.began.get_or_insert(at);
                self.code.push(UserCode {
                    stage,
                    pod,
                    process,
                    fence,
                    from: at,
                    to: None,
                    exit_code: None,
                    is_state_lost: false,
                });
            }
            FactKind::CodeEnded { pod, stage, exit_code, is_state_lost } => {
                let is_it =
                    |code: &&mut UserCode| code.pod == pod && code.stage == stage && code.to.is_none();
                if let Some(code) = self.code.iter_mut().rev().find(is_it) {
                    code.to = Some(at);
                    code.exit_code = Some(exit_code);
                    code.is_state_lost = is_state_lost;
                }
            }
            FactKind::Ended { status, outcome, .. } => {
                self.end = Some(End { at, status, outcome, late: None });
            }
            FactKind::Late { outcome } => {
                if let Some(end) = &mut self.end {
                    end.late = Some(outcome);
                }
            }
            FactKind::Queued
            | FactKind::Granted { .. }
            | FactKind::Released { .. }
            | FactKind::DoorSent { .. }
            | FactKind::LaunchFailed { .. }
            | FactKind::CreateSent { .. }
            | FactKind::CreateAnswered { .. }
            | FactKind::Renewed { .. }
            | FactKind::Drained { .. }
            | FactKind::Signaled { .. }
            | FactKind::StateLeft { .. }
            | FactKind::UploadSent { .. }
            | FactKind::Uploaded { .. }
            | FactKind::Stopped { .. }
            | FactKind::Overstayed { .. }
            | FactKind::JobAsked { .. }
            | FactKind::DeleteAsked { .. }
            | FactKind::WorkerBegan { .. }
            | FactKind::WorkerEnded { .. }
            | FactKind::Claimed { .. }
            | FactKind::Interrupted { .. }
            | FactKind::FinishSent { .. } => {}
        }
    }

    /// The furthest milestone that it has reached, in the order of a life.
    pub fn phase(&self) -> Option<Milestone> {
        self.reached.keys().copied().filter(|milestone| *milestone <= Milestone::Ended).max()
    }
}
