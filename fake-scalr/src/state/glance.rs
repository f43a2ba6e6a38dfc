//! What a simulator looks at after every command: a few facts, without a copy of anything.

use scalr_protocol::{
    agent::Action,
    id::{Fence, RunId, TaskId, WorkspaceId},
    task::Outcome,
};

use super::{
    State,
    status::{RunStatus, TaskStatus},
    tasks::Task,
    timers::Timer,
};

/// A task at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskGlance {
    /// How far it has come.
    pub status: TaskStatus,
    /// The current fence.
    pub fence: Fence,
    /// Whether a worker was ever confirmed.
    pub is_confirmed: bool,
    /// What its worker said.
    pub outcome: Option<Outcome>,
    /// What its worker said after the loss.
    pub late: Option<Outcome>,
    /// How many bytes of its console are stored.
    pub log_bytes: u64,
    /// How many signals there are for its worker.
    pub signals: usize,
}

impl TaskGlance {
    fn of(task: &Task) -> Self {
        Self {
            status: task.status(),
            fence: task.fence,
            is_confirmed: task.is_confirmed(),
            outcome: task.finish.as_ref().map(|finish| finish.outcome),
            late: task.late.as_ref().map(|late| late.outcome),
            log_bytes: task.log_bytes,
            signals: task.signals.len(),
        }
    }
}

impl State {
    /// One task at a glance.
    pub fn glance(&self, id: &TaskId) -> Option<TaskGlance> {
        self.tasks.get(id).map(TaskGlance::of)
    }

    /// The tasks that were made after this one, or all, the oldest first.
    pub fn tasks_after(&self, last: Option<&TaskId>) -> impl Iterator<Item = (&TaskId, &RunId, Action)> {
        let from = last.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let range = self.tasks.range::<TaskId, _>((from, std::ops::Bound::Unbounded));
        range.map(|(id, task)| (id, &task.run, task.action))
    }

    /// The tasks for whom something happens by itself until this moment, on the clock of
    /// [`Stamp::now_ms`](super::Stamp::now_ms).
    pub fn due_tasks(&self, now_ms: u64) -> impl Iterator<Item = &TaskId> {
        let due = self.timers.iter().take_while(move |(due_ms, _)| *due_ms <= now_ms);
        due.filter_map(|(_, timer)| match timer {
            Timer::Task(id) => Some(id),
            Timer::Agent(_) => None,
        })
    }

    /// How far a run has come.
    pub fn run_status(&self, id: &RunId) -> Option<RunStatus> {
        self.runs.get(id).map(|run| run.status)
    }

    /// The task that a run is at.
    pub fn run_task(&self, id: &RunId) -> Option<&TaskId> {
        self.runs.get(id)?.current_task()
    }

    /// The workspace of a run.
    pub fn run_workspace(&self, id: &RunId) -> Option<&WorkspaceId> {
        self.runs.get(id).map(|run| &run.workspace)
    }
}
