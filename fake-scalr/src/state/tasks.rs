//! A task: its phases, and the ways from one to the next. Whatever else knows of a task (queue, leases,
//! timers) is derived from it in [`State::change_task`], so that it can't say something else.

use std::collections::BTreeMap;

use jiff::Timestamp;
use scalr_protocol::{
    agent::{Action, LaunchEventKind},
    blob::{BlobKind, BlobRef},
    id::{AgentId, Fence, InstanceId, RunId, TaskId, WorkspaceId},
    task::{Finish, Outcome, Signal},
};
use serde::{Deserialize, Serialize};

use super::{
    Key, Now, State, Token,
    ids::{PoolTokenId, fixed},
    queue::Place,
    status::TaskStatus,
    timers::Timer,
};

/// One stage of a run, as work for an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) run: RunId,
    pub(super) workspace: WorkspaceId,
    pub(super) action: Action,
    pub(super) place: Place,
    pub(super) priority: i32,
    pub(super) queued_at: Timestamp,
    /// The current fence, and whether it was ever granted: a fence that shut a door was not.
    pub(super) fence: Fence,
    pub(super) is_granted: bool,
    /// Whether a Job was reported under this fence.
    pub(super) has_job: bool,
    pub(super) phase: Phase,
    /// Who holds it, or held it last.
    pub(super) agent: Option<AgentId>,
    pub(super) note: Option<LaunchNote>,
    /// Which door was shut last, and by whom: a repeat is answered as the first time.
    pub(super) shut: Option<(Fence, AgentId)>,
    /// To whom it is not offered, and until when.
    pub(super) avoid: Option<(AgentId, u64)>,
    /// How often its launch failed, and why it did so last.
    pub(super) attempts: u32,
    pub(super) last_failure: Option<String>,
    pub(super) workers: BTreeMap<InstanceId, Worker>,
    pub(super) claim: Option<Claim>,
    pub(super) signals: Vec<Signal>,
    pub(super) log_bytes: u64,
    pub(super) blobs: BTreeMap<BlobKind, BlobRef>,
    /// How long nothing may be heard; shorter once its end is proved.
    pub(super) lost_after_ms: u64,
    /// What the worker is doing, as it last said.
    pub(super) worker_phase: String,
    pub(super) loss: Option<String>,
    pub(super) finish: Option<Finish>,
    /// What was delivered after it was lost.
    pub(super) late: Option<Finish>,
    /// When it became terminal.
    pub(super) ended_ms: Option<u64>,
}

/// How far a task has come, and until when it stays there by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// It may be granted, unless only its last holder, or who sees its Job, may have it back until then.
    Queued {
        adopt_until_ms: Option<u64>,
    },
    Leased {
        until_ms: u64,
    },
    Claimed {
        until_ms: u64,
    },
    Started {
        until_ms: u64,
        lost_ms: u64,
    },
    Unreachable {
        lost_ms: u64,
    },
    /// Until when what its worker still has is taken; none when that is over.
    Ended {
        end: End,
        open_until_ms: Option<u64>,
    },
}

/// How a task became terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    /// Its worker said so.
    Finished(Outcome),
    /// Canceled before the confirm.
    Canceled,
    /// It could not be launched.
    Unlaunched,
    /// Nothing was heard for lost-after.
    Lost,
}

/// What an agent said last about a task that has not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LaunchNote {
    pub(super) kind: LaunchEventKind,
    pub(super) message: String,
}

/// A registered worker: a contender for its task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Worker {
    pub(super) agent: AgentId,
    pub(super) name: String,
    pub(super) token: Token,
    pub(super) pool_token: PoolTokenId,
    pub(super) fence: Fence,
}

/// The one process that may do the task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) fence: Fence,
    pub(super) key: Option<Key>,
    pub(super) worker: String,
    pub(super) instance: InstanceId,
    pub(super) task_token: Token,
    pub(super) run_token: Token,
    pub(super) is_confirmed: bool,
    pub(super) last_seen_at: Timestamp,
}

impl Task {
    /// Whether its user code may have begun.
    pub(super) fn is_confirmed(&self) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.is_confirmed)
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// When something happens to it by itself.
    pub(super) fn due_ms(&self) -> Option<u64> {
        match &self.phase {
            Phase::Queued { adopt_until_ms } => {
                let avoid_until_ms = self.avoid.as_ref().map(|(_, until_ms)| *until_ms);
                adopt_until_ms.iter().copied().chain(avoid_until_ms).min()
            }
            Phase::Leased { until_ms } | Phase::Claimed { until_ms } => Some(*until_ms),
            Phase::Started { until_ms, lost_ms } => Some(*until_ms.min(lost_ms)),
            Phase::Unreachable { lost_ms } => Some(*lost_ms),
            Phase::Ended { open_until_ms, .. } => *open_until_ms,
        }
    }

    fn place_in_queue(&self) -> Option<&Place> {
        (self.phase == Phase::Queued { adopt_until_ms: None }).then_some(&self.place)
    }

    fn holder(&self) -> Option<&AgentId> {
        matches!(self.phase, Phase::Leased { .. }).then_some(self.agent.as_ref()).flatten()
    }

    pub(super) fn status(&self) -> TaskStatus {
        match &self.phase {
            Phase::Queued { .. } => TaskStatus::Queued,
            Phase::Leased { .. } => TaskStatus::Leased,
            Phase::Claimed { .. } => TaskStatus::Claimed,
            Phase::Started { .. } => TaskStatus::Started,
            Phase::Unreachable { .. } => TaskStatus::Unreachable,
            Phase::Ended { end: End::Lost, .. } => TaskStatus::Lost,
            Phase::Ended { end: End::Finished(_) | End::Canceled | End::Unlaunched, .. } => {
                TaskStatus::Finished
            }
        }
    }
}

/// What the tables hold of a task, taken before and after a change.
struct Entries {
    due_ms: Option<u64>,
    place: Option<Place>,
    holder: Option<AgentId>,
    is_unlaunched: bool,
    status: TaskStatus,
    signals: usize,
    is_avoiding: bool,
}

impl Entries {
    fn of(task: &Task) -> Self {
        let holder = task.holder().cloned();
        Self {
            due_ms: task.due_ms(),
            place: task.place_in_queue().cloned(),
            is_unlaunched: holder.is_some() && !task.has_job,
            holder,
            status: task.status(),
            signals: task.signals.len(),
            is_avoiding: task.avoid.is_some(),
        }
    }
}

impl State {
    /// Changes a task, and every table that says something of it.
    pub(super) fn change_task<T>(&mut self, id: &TaskId, change: impl FnOnce(&mut Task) -> T) -> T {
        let Some(task) = self.tasks.get_mut(id) else {
            unreachable!("who changes a task has looked it up, and tasks are never forgotten")
        };
        let action = task.action;
        let before = Entries::of(task);
        let result = change(task);
        let after = Entries::of(task);
        self.touch();
        if before.due_ms != after.due_ms {
            if let Some(due_ms) = before.due_ms {
                self.timers.remove(&(due_ms, Timer::Task(id.clone())));
            }
            if let Some(due_ms) = after.due_ms {
                self.timers.insert((due_ms, Timer::Task(id.clone())));
            }
        }
        if before.place != after.place {
            if let Some(place) = &before.place {
                self.leave_queue(action, place);
            }
            if let Some(place) = &after.place {
                self.enter_queue(action, place.clone());
            }
        } else if before.is_avoiding && !after.is_avoiding && after.place.is_some() {
            self.say_there_is_work();
        }
        if before.holder != after.holder {
            if let Some(agent) = &before.holder {
                self.forget_lease(agent, id);
            }
            if let Some(agent) = &after.holder {
                self.leases.entry(agent.clone()).or_default().insert(id.clone());
            }
        }
        if (before.holder.as_ref(), before.is_unlaunched) != (after.holder.as_ref(), after.is_unlaunched) {
            self.count_unlaunched(before.holder.filter(|_| before.is_unlaunched), false);
            self.count_unlaunched(after.holder.filter(|_| after.is_unlaunched), true);
        }
        if before.status != after.status || before.signals != after.signals || after.due_ms.is_none() {
            self.wake += 1;
        }
        result
    }

    fn forget_lease(&mut self, agent: &AgentId, id: &TaskId) {
        if let Some(tasks) = self.leases.get_mut(agent) {
            tasks.remove(id);
            if tasks.is_empty() {
                self.leases.remove(agent);
            }
        }
    }

    fn count_unlaunched(&mut self, agent: Option<AgentId>, is_one_more: bool) {
        let Some(agent) = agent else { return };
        let count = self.unlaunched.get(&agent).copied().unwrap_or(0);
        match if is_one_more { count + 1 } else { count.saturating_sub(1) } {
            0 => self.unlaunched.remove(&agent),
            count => self.unlaunched.insert(agent, count),
        };
    }

    /// A new task, queued.
    pub(super) fn queue_task(&mut self, now: Now, run: RunId, action: Action, priority: i32) -> TaskId {
        let id = fixed(TaskId::new(&self.new_id(now, "atask")));
        let Some(workspace) = self.runs.get(&run).map(|run| run.workspace.clone()) else {
            unreachable!("a task is made for a run that is there")
        };
        let place = Place::new(priority, self.made, id.clone());
        let task = Task {
            run,
            workspace,
            action,
            place: place.clone(),
            priority,
            queued_at: now.wall,
            fence: Fence(0),
            is_granted: false,
            has_job: false,
            phase: Phase::Queued { adopt_until_ms: None },
            agent: None,
            note: None,
            shut: None,
            avoid: None,
            attempts: 0,
            last_failure: None,
            workers: BTreeMap::new(),
            claim: None,
            signals: Vec::new(),
            log_bytes: 0,
            blobs: BTreeMap::new(),
            lost_after_ms: self.settings.timings.lost_after_ms,
            worker_phase: String::new(),
            loss: None,
            finish: None,
            late: None,
            ended_ms: None,
        };
        self.tasks.insert(id.clone(), task);
        self.enter_queue(action, place);
        self.touch_and_wake();
        id
    }

    /// The launch lease is over, by time or with its holder: the fence stays, and a Job that exists may still
    /// be adopted by whoever sees it.
    pub(super) fn lapse(&mut self, now: Now, id: &TaskId) {
        let adopt_only_ms = self.settings.timings.adopt_only_ms;
        self.change_task(id, |task| {
            task.phase = Phase::Queued { adopt_until_ms: task.has_job.then_some(now.ms + adopt_only_ms) };
        });
    }

    /// Shuts the door on everything that was launched under the current fence, and queues the task again.
    pub(super) fn shut_door(&mut self, id: &TaskId, by: Option<AgentId>) {
        self.change_task(id, |task| {
            task.shut = by.map(|agent| (task.fence, agent));
            task.fence = task.fence.next();
            task.is_granted = false;
            task.has_job = false;
            task.claim = None;
            task.note = None;
            task.phase = Phase::Queued { adopt_until_ms: None };
        });
    }

    /// One more launch came to nothing. After too many, or where another would do no better, the task and its
    /// run are given up.
    pub(super) fn count_failure(&mut self, now: Now, id: &TaskId, failure: String, is_retryable: bool) {
        let attempts_max = self.settings.launch_attempts_max;
        let is_over = self.change_task(id, |task| {
            task.attempts += 1;
            task.last_failure = Some(failure);
            !is_retryable || task.attempts >= attempts_max
        });
        if is_over {
            self.end_task(now, id, End::Unlaunched);
        }
    }

    /// Makes a task terminal, and lets its run follow.
    pub(super) fn end_task(&mut self, now: Now, id: &TaskId, end: End) {
        let timings = &self.settings.timings;
        let (late_ms, log_open_ms) = (timings.late_ms, timings.log_open_ms);
        self.change_task(id, |task| {
            let open_ms = match end {
                End::Lost => Some(late_ms),
                End::Finished(_) => {
                    let whole = task.finish.as_ref().is_none_or(|finish| finish.log.bytes <= task.log_bytes);
                    (!whole).then_some(log_open_ms)
                }
                End::Canceled | End::Unlaunched => None,
            };
            task.ended_ms = Some(now.ms);
            task.phase = Phase::Ended { end, open_until_ms: open_ms.map(|ms| now.ms + ms) };
        });
        self.follow_task(now, id, end);
    }

    /// What happens to a task by itself, when it is due.
    pub(super) fn task_is_due(&mut self, now: Now, id: &TaskId) {
        let Some(task) = self.tasks.get(id) else { return };
        match task.phase.clone() {
            Phase::Queued { .. } => self.change_task(id, |task| {
                if task.avoid.as_ref().is_some_and(|(_, until_ms)| *until_ms <= now.ms) {
                    task.avoid = None;
                }
                if let Phase::Queued { adopt_until_ms } = &mut task.phase {
                    *adopt_until_ms = adopt_until_ms.filter(|until_ms| *until_ms > now.ms);
                }
            }),
            Phase::Leased { .. } => self.lapse(now, id),
            Phase::Claimed { .. } => {
                let worker = task.claim.as_ref().map(|claim| claim.worker.clone()).unwrap_or_default();
                self.shut_door(id, None);
                self.count_failure(now, id, format!("worker {worker} claimed it and did not confirm"), true);
            }
            Phase::Started { lost_ms, .. } if lost_ms > now.ms => {
                self.change_task(id, |task| task.phase = Phase::Unreachable { lost_ms });
            }
            Phase::Started { .. } | Phase::Unreachable { .. } => self.end_task(now, id, End::Lost),
            Phase::Ended { end, .. } => {
                self.change_task(id, |task| task.phase = Phase::Ended { end, open_until_ms: None });
            }
        }
    }
}
