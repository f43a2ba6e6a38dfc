//! Controllers: heartbeats with their verdicts, messages, and what they do with a task before it starts.

use std::collections::VecDeque;

use jiff::Timestamp;
use scalr_protocol::{
    agent::{
        AgentStatus, Heartbeat, HeartbeatAnswer, Hint, LaunchEventKind, LaunchEvents, LaunchFailed, Messages,
        Release, ReleaseReason, TaskAt, TaskVerdict, Verdict, WorkerLost,
    },
    error::{ApiError, ErrorCode},
    id::{AgentId, Fence, InstanceId, TaskId},
};
use serde::{Deserialize, Serialize};

use super::{
    Now, Reply, State, Token,
    ids::PoolTokenId,
    reasons,
    tasks::{End, LaunchNote, Phase},
    timers::Timer,
    tokens::{forbidden, not_found},
};

/// As many canceled tasks are hinted at; the heartbeat tells of the rest.
const CANCEL_HINTS_MAX: usize = 100;
/// As many events one batch may have.
const LAUNCH_EVENTS_MAX: usize = 100;
/// As many characters of an event's message are kept.
const EVENT_CHARS_MAX: usize = 256;

/// One life of a controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Agent {
    pub(super) name: String,
    pub(super) instance: InstanceId,
    pub(super) token: Token,
    pub(super) pool_token: PoolTokenId,
    pub(super) version: String,
    pub(super) os: String,
    pub(super) driver: String,
    pub(super) capacity: u32,
    /// As it last said; whether it is offline is known here.
    pub(super) status: AgentStatus,
    pub(super) error_message: Option<String>,
    /// None before the first heartbeat.
    pub(super) slots: Option<u32>,
    pub(super) is_draining: bool,
    pub(super) is_offline: bool,
    /// When it will be offline, or forgotten.
    pub(super) due_ms: u64,
    pub(super) last_seen_at: Timestamp,
    pub(super) created_at: Timestamp,
    pub(super) cancels: VecDeque<(u64, TaskId)>,
}

impl Agent {
    /// Its entry among the timers.
    pub(super) fn timer(&self, id: &AgentId) -> (u64, Timer) {
        (self.due_ms, Timer::Agent(id.clone()))
    }
}

/// An acquire that waits empty-handed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiter {
    /// How many free slots it named.
    pub(super) asked: u32,
    /// How many of those its agent's last heartbeat leaves.
    pub(super) slots: u32,
    pub(super) until_ms: u64,
}

impl State {
    /// Call 2.
    pub(super) fn heartbeat(
        &mut self,
        now: Now,
        bearer: &Token,
        id: &AgentId,
        beat: &Heartbeat,
    ) -> Result<Reply, ApiError> {
        self.authorise_agent(bearer, id)?;
        if beat.status == AgentStatus::Offline {
            let detail = "`offline` is said by the server only; an agent is idle, busy or errored";
            return Err(ApiError::new(ErrorCode::Invalid, detail).at("/data/attributes/status"));
        }
        let due_ms = now.ms + self.settings.timings.offline_after_ms;
        let has_changed = self.change_agent(id, |agent| {
            let before = (agent.status, agent.is_offline, agent.is_draining, agent.slots);
            agent.status = beat.status;
            agent.error_message.clone_from(&beat.error_message);
            agent.slots = Some(beat.slots);
            agent.is_draining = beat.draining;
            agent.is_offline = false;
            agent.due_ms = due_ms;
            agent.last_seen_at = now.wall;
            before != (agent.status, agent.is_offline, agent.is_draining, agent.slots)
        });
        if has_changed {
            self.wake += 1;
        }
        if beat.draining {
            self.waiters.remove(id);
        } else if let Some(waiter) = self.waiters.get_mut(id) {
            // A newer word than its acquire's: others may have taken the room since, or given it back.
            waiter.slots = waiter.asked.min(beat.slots);
        }
        let verdicts = beat.tasks.iter().map(|task| self.verdict(now, id, task)).collect();
        Ok(Reply::Heartbeat(HeartbeatAnswer { wanted: self.wanted(now, id), verdicts }))
    }

    /// The first verdict that fits, in the protocol's order.
    fn verdict(&mut self, now: Now, agent: &AgentId, at: &TaskAt) -> TaskVerdict {
        let ttl_ms = self.settings.timings.launch_lease_ms;
        let verdict = match self.tasks.get(&at.id) {
            Some(task) if task.fence == at.fence && task.is_granted => match &task.phase {
                Phase::Ended { .. } if task.is_confirmed() => Verdict::Ended,
                Phase::Ended { .. } => Verdict::Dead,
                Phase::Started { .. } | Phase::Unreachable { .. } => Verdict::Started,
                Phase::Claimed { .. } => Verdict::Claimed,
                Phase::Leased { .. } if task.agent.as_ref() != Some(agent) => Verdict::HeldByOther,
                Phase::Leased { .. } | Phase::Queued { .. } => Verdict::Held,
            },
            // A fence above the current one was granted to nobody either.
            Some(_) | None => Verdict::Stale,
        };
        let is_held = verdict == Verdict::Held;
        if is_held {
            self.change_task(&at.id, |task| {
                task.agent = Some(agent.clone());
                task.phase = Phase::Leased { until_ms: now.ms + ttl_ms };
            });
        }
        TaskVerdict { id: at.id.clone(), fence: at.fence, verdict, ttl_ms: is_held.then_some(ttl_ms) }
    }

    /// Call 9. Work is said once, however much there is.
    pub(super) fn messages(&self, bearer: &Token, id: &AgentId, after: u64) -> Result<Reply, ApiError> {
        self.authorise_agent(bearer, id)?;
        let mut hints = Vec::new();
        if self.work_hint > after {
            hints.push(Hint::Work);
        }
        let cancels = self.agents.get(id).map(|agent| agent.cancels.iter()).into_iter().flatten();
        hints.extend(
            cancels
                .filter(|(number, _)| *number > after)
                .map(|(_, task)| Hint::Cancel { task: task.clone() }),
        );
        Ok(Reply::Messages(Messages { last: self.hint, hints }))
    }

    /// Tells the holder of a task that it was canceled.
    pub(super) fn hint_cancel(&mut self, task: &TaskId) {
        let holder = self.tasks.get(task).and_then(|task| task.agent.clone());
        self.hint += 1;
        let number = self.hint;
        if let Some(agent) = holder.and_then(|agent| self.agents.get_mut(&agent)) {
            if agent.cancels.len() >= CANCEL_HINTS_MAX {
                agent.cancels.pop_front();
            }
            agent.cancels.push_back((number, task.clone()));
        }
        self.touch_and_wake();
    }

    /// Call 5.
    pub(super) fn release(
        &mut self,
        now: Now,
        bearer: &Token,
        id: &TaskId,
        release: &Release,
    ) -> Result<Reply, ApiError> {
        let agent = self.authorise_session(bearer)?;
        if self.may_shut(&agent, id, release.fence)? {
            self.shut_door(id, Some(agent.clone()));
            match release.reason {
                ReleaseReason::Drain => {}
                ReleaseReason::Rebalance => {
                    let until_ms = now.ms + self.settings.timings.rebalance_ms;
                    self.change_task(id, |task| task.avoid = Some((agent, until_ms)));
                }
            }
        }
        Ok(Reply::Done)
    }

    /// Call 7.
    pub(super) fn launch_failed(
        &mut self,
        now: Now,
        bearer: &Token,
        id: &TaskId,
        failure: &LaunchFailed,
    ) -> Result<Reply, ApiError> {
        let agent = self.authorise_session(bearer)?;
        if self.may_shut(&agent, id, failure.fence)? {
            self.shut_door(id, Some(agent));
            let sentence = reasons::of_launch_failure(failure);
            self.count_failure(now, id, sentence, failure.retryable);
        }
        Ok(Reply::Done)
    }

    /// Whether the door of this fence is open, and this agent's to shut. No, without an error, where it
    /// has shut it before, or where the task was canceled behind it.
    fn may_shut(&self, agent: &AgentId, id: &TaskId, fence: Fence) -> Result<bool, ApiError> {
        let task = self.tasks.get(id).ok_or_else(|| not_found("task", id.as_str()))?;
        if task.shut.as_ref().is_some_and(|(shut, by)| *shut == fence && by == agent) {
            return Ok(false);
        }
        if fence != task.fence || !task.is_granted {
            let detail = format!("the fence is {fence}, and the task is at {}: the door is shut", task.fence);
            return Err(ApiError::new(ErrorCode::FenceStale, detail));
        }
        match &task.phase {
            Phase::Queued { .. } => Ok(true),
            Phase::Leased { .. } if task.agent.as_ref() == Some(agent) => Ok(true),
            // Not 410: that would say that the door is shut, and the Job may be the other's.
            Phase::Leased { .. } => Err(forbidden("another agent holds the task under this fence")),
            Phase::Claimed { .. } => {
                Err(ApiError::new(ErrorCode::Claimed, "ask again when it is confirmed or not"))
            }
            Phase::Ended { end: End::Canceled | End::Unlaunched, .. } => Ok(false),
            Phase::Started { .. }
            | Phase::Unreachable { .. }
            | Phase::Ended { end: End::Finished(_) | End::Lost, .. } => {
                Err(ApiError::new(ErrorCode::AlreadyStarted, "its worker was confirmed"))
            }
        }
    }

    /// Call 6. Events of older fences and of unknown tasks say nothing any more and are left out.
    pub(super) fn launch_events(
        &mut self,
        _now: Now,
        bearer: &Token,
        id: &AgentId,
        events: LaunchEvents,
    ) -> Result<Reply, ApiError> {
        self.authorise_agent(bearer, id)?;
        if events.events.len() > LAUNCH_EVENTS_MAX {
            let detail = format!("{} events: send at most {LAUNCH_EVENTS_MAX}", events.events.len());
            return Err(ApiError::new(ErrorCode::Invalid, detail).at("/data/attributes/events"));
        }
        for event in events.events {
            let is_current = self.tasks.get(&event.task).is_some_and(|task| {
                task.fence == event.fence && task.is_granted && !task.is_confirmed() && !task.is_terminal()
            });
            if is_current {
                let message = event.message.chars().take(EVENT_CHARS_MAX).collect();
                self.change_task(&event.task, |task| {
                    task.has_job |= event.kind != LaunchEventKind::Held;
                    task.note = Some(LaunchNote { kind: event.kind, message });
                });
                self.wake += 1;
            }
        }
        Ok(Reply::Done)
    }

    /// Call 8.
    pub(super) fn worker_lost(
        &mut self,
        now: Now,
        bearer: &Token,
        id: &TaskId,
        loss: &WorkerLost,
    ) -> Result<Reply, ApiError> {
        self.authorise_session(bearer)?;
        let task = self.tasks.get(id).ok_or_else(|| not_found("task", id.as_str()))?;
        if !task.is_confirmed() || task.claim.as_ref().is_some_and(|claim| claim.fence != loss.fence) {
            let detail = format!("nothing was confirmed under fence {}", loss.fence);
            return Err(ApiError::new(ErrorCode::NotStarted, detail));
        }
        if task.is_terminal() {
            return Err(ApiError::new(ErrorCode::Finished, "its outcome is known"));
        }
        let sentence = reasons::of_worker_loss(loss);
        let proof_ms = self.settings.timings.lost_after_proof_ms;
        if task.loss.as_ref() == Some(&sentence) && (!loss.ended || task.lost_after_ms <= proof_ms) {
            return Ok(Reply::Done);
        }
        self.change_task(id, |task| {
            task.loss = Some(sentence);
            if loss.ended && task.lost_after_ms > proof_ms {
                task.lost_after_ms = proof_ms;
                if let Phase::Started { lost_ms, .. } | Phase::Unreachable { lost_ms } = &mut task.phase {
                    *lost_ms = (*lost_ms).min(now.ms + proof_ms);
                }
            }
        });
        Ok(Reply::Done)
    }

    /// What this agent holds.
    pub(super) fn leased_by(&self, agent: &AgentId) -> Vec<TaskId> {
        self.leases.get(agent).into_iter().flatten().cloned().collect()
    }

    /// Changes a controller, and its timer with it.
    fn change_agent<T>(&mut self, id: &AgentId, change: impl FnOnce(&mut Agent) -> T) -> T {
        let Some(agent) = self.agents.get_mut(id) else {
            unreachable!("an agent lives as long as its session")
        };
        let before = agent.timer(id);
        let result = change(agent);
        let after = agent.timer(id);
        if before != after {
            self.timers.remove(&before);
            self.timers.insert(after);
        }
        self.touch();
        result
    }

    /// Nothing was heard for too long: offline, then forgotten. Leases have timers of their own.
    pub(super) fn agent_is_due(&mut self, now: Now, id: &AgentId) {
        let purge_ms = now.ms + self.settings.timings.purge_after_ms;
        if self.agents.get(id).is_some_and(|agent| agent.is_offline) {
            self.forget_agent(now, id);
        } else {
            self.waiters.remove(id);
            self.change_agent(id, |agent| {
                agent.is_offline = true;
                agent.due_ms = purge_ms;
            });
            self.wake += 1;
        }
    }

    /// After a restart of the server, an agent has its full time again.
    pub(super) fn restart_agent(&mut self, now: Now, id: &AgentId) {
        let timings = self.settings.timings.clone();
        self.change_agent(id, |agent| {
            agent.due_ms =
                now.ms + if agent.is_offline { timings.purge_after_ms } else { timings.offline_after_ms };
        });
    }
}
