//! The queue, in order, and who wants more of it.

use std::{cmp::Reverse, collections::BTreeSet};

use scalr_protocol::{
    agent::{Acquire, Acquired, Action, Grant, Presets},
    error::{ApiError, ErrorCode},
    id::{AgentId, TaskId},
};
use serde::{Deserialize, Serialize};

use super::{Now, Reply, State, Token, agents::Waiter, tasks::Phase};

/// As many tasks one acquire may bring, the agents' own look-ahead: who wants more asks again.
const GRANTS_MAX: usize = 1_000;

/// A task's place in the queue: the higher priority first, then the older. It keeps it whatever happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Place {
    priority: Reverse<i32>,
    order: u64,
    task: TaskId,
}

impl Place {
    pub(super) fn new(priority: i32, order: u64, task: TaskId) -> Self {
        Self { priority: Reverse(priority), order, task }
    }
}

impl State {
    pub(super) fn enter_queue(&mut self, action: Action, place: Place) {
        self.queue.entry(action).or_default().insert(place);
        self.say_there_is_work();
    }

    pub(super) fn leave_queue(&mut self, action: Action, place: &Place) {
        if let Some(places) = self.queue.get_mut(&action) {
            places.remove(place);
        }
    }

    /// Wakes whoever waits for work.
    pub(super) fn say_there_is_work(&mut self) {
        self.hint += 1;
        self.work_hint = self.hint;
        self.touch_and_wake();
    }

    /// A session whose pool token still stands may take work.
    pub(super) fn authorise_acquire(&self, bearer: &Token, agent: &AgentId) -> Result<(), ApiError> {
        self.authorise_agent(bearer, agent)?;
        self.agents.get(agent).map_or(Ok(()), |agent| self.refuse_revoked(&agent.pool_token))
    }

    /// Call 4. The answer is empty when there is nothing for this agent now; it then counts as waiting.
    pub(super) fn acquire(&mut self, now: Now, id: &AgentId, ask: &Acquire) -> Result<Reply, ApiError> {
        let wait_ms_max = self.settings.timings.wait_ms_max;
        if ask.wait_ms > wait_ms_max {
            let detail = format!("`wait-ms` is {}: wait at most {wait_ms_max} ms and ask again", ask.wait_ms);
            return Err(ApiError::new(ErrorCode::Invalid, detail).at("/data/attributes/wait-ms"));
        }
        if self.agents.get(id).is_some_and(|agent| agent.is_draining) {
            return Err(ApiError::new(
                ErrorCode::Draining,
                "its last heartbeat said that it takes no more work",
            ));
        }
        // Where a poll is looked at again, what its agent's heartbeats have said since holds.
        let until_ms = now.ms + ask.wait_ms;
        let waiter = self.waiters.get(id).filter(|waiter| waiter.until_ms == until_ms);
        let slots = waiter.map_or(ask.slots, |waiter| waiter.slots.min(ask.slots));
        // What is only to be held comes after everybody's free slots.
        let size = |tasks: u64| usize::try_from(tasks).unwrap_or(usize::MAX).min(GRANTS_MAX);
        let (slots_now, others) = (size(u64::from(slots)), size(self.free_of_others(now, id)));
        let room = size(u64::from(slots) + u64::from(ask.ahead));
        let mut picked = self.pick(now, id, &ask.actions, room + others);
        let held = picked.split_off(slots_now.min(picked.len()));
        let held = held.into_iter().skip(others).filter(|task| !self.is_on_its_way(now, task));
        picked.extend(held.take(room - slots_now));
        if picked.is_empty() && ask.slots > 0 && ask.wait_ms > 0 {
            // Not a fact that must survive: neither journaled nor counted as a change.
            self.waiters.insert(id.clone(), Waiter { asked: ask.slots, slots, until_ms });
        } else {
            self.waiters.remove(id);
        }
        let tasks = picked.iter().map(|task| self.grant(now, id, task)).collect();
        Ok(Reply::Acquired(Acquired { tasks }))
    }

    /// The first of the queue that this agent can do and may have. It steps over nothing but what this agent
    /// gave back within the last half minute.
    fn pick(&self, now: Now, agent: &AgentId, actions: &[Action], room: usize) -> Vec<TaskId> {
        let actions: BTreeSet<Action> = actions.iter().copied().collect();
        let mut heads: Vec<_> = actions
            .iter()
            .filter_map(|action| self.queue.get(action))
            .map(|places| places.iter().filter(|place| !self.is_avoided(now, place, agent)).peekable())
            .collect();
        let mut picked = Vec::new();
        while picked.len() < room {
            let first = heads
                .iter_mut()
                .filter_map(|head| head.peek().copied().map(|place| (place, head)))
                .min_by(|(one, _), (other, _)| one.cmp(other));
            let Some((place, head)) = first else { break };
            head.next();
            picked.push(place.task.clone());
        }
        picked
    }

    fn is_avoided(&self, now: Now, place: &Place, agent: &AgentId) -> bool {
        self.tasks
            .get(&place.task)
            .and_then(|task| task.avoid.as_ref())
            .is_some_and(|(avoided, until_ms)| avoided == agent && now.ms < *until_ms)
    }

    /// Whether it was given back for somebody's free slot a moment ago: who has one may be between two asks.
    fn is_on_its_way(&self, now: Now, task: &TaskId) -> bool {
        let avoid = self.tasks.get(task).and_then(|task| task.avoid.as_ref());
        avoid.is_some_and(|(_, until_ms)| now.ms < *until_ms)
    }

    /// Lends a task to an agent under a new fence.
    fn grant(&mut self, now: Now, agent: &AgentId, id: &TaskId) -> Grant {
        let ttl_ms = self.settings.timings.launch_lease_ms;
        self.change_task(id, |task| {
            task.fence = task.fence.next();
            task.is_granted = true;
            task.has_job = false;
            task.note = None;
            task.avoid = None;
            task.agent = Some(agent.clone());
            task.phase = Phase::Leased { until_ms: now.ms + ttl_ms };
        });
        let (Some(task), Some(workspace)) =
            (self.tasks.get(id), self.tasks.get(id).and_then(|task| self.workspaces.get(&task.workspace)))
        else {
            unreachable!("a task in the queue is there, and so is its workspace")
        };
        Grant {
            id: id.clone(),
            fence: task.fence,
            ttl_ms,
            action: task.action,
            stage: task.action.as_str().to_owned(),
            run: task.run.clone(),
            workspace: task.workspace.clone(),
            workspace_name: workspace.name.clone(),
            environment: self.environment.clone(),
            environment_name: self.settings.environment_name.clone(),
            account: self.account.clone(),
            account_name: self.settings.account_name.clone(),
            queued_at: task.queued_at,
            // By the wall clock: it goes on while the server is away, and nothing is decided on it here.
            queued_for_ms: u64::try_from(now.wall.duration_since(task.queued_at).as_millis()).unwrap_or(0),
            priority: task.priority,
            presets: Presets::default(),
        }
    }

    /// How many of its unlaunched tasks this agent should give back: its share of the free slots of others
    /// that wait empty-handed. What does not divide goes to the first holders.
    pub(super) fn wanted(&self, now: Now, id: &AgentId) -> u32 {
        let Some(own) = self.unlaunched.get(id).copied() else { return 0 };
        let free = self.free_of_others(now, id);
        let holders = self.unlaunched.len() as u64;
        let rank = self.unlaunched.range(..id.clone()).count() as u64;
        let share = free / holders + u64::from(rank < free % holders);
        u32::try_from(share).unwrap_or(u32::MAX).min(own)
    }

    /// The free slots of the agents but this one that wait empty-handed.
    fn free_of_others(&self, now: Now, id: &AgentId) -> u64 {
        self.waiters
            .iter()
            .filter(|(agent, waiter)| *agent != id && now.ms < waiter.until_ms)
            .map(|(_, waiter)| u64::from(waiter.slots))
            .sum()
    }
}
