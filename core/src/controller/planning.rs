//! Which of the waiting tasks is launched now, and why the others are not: all at once, some
//! milliseconds after the first input that matters, and at no other time.

use std::collections::BTreeMap;

use scalr_protocol::{
    agent::{ReleaseReason, TaskAt},
    id::TaskId,
};

use super::{
    Controller, Turn,
    board::Board,
    calls::Call,
    entry::{DoorCall, Entry},
    options::ENDED_MAX,
    timers::Timer,
};
use crate::{
    clock::Millis,
    mutant::{Mutant, planted},
    op::Op,
    scheduler::{self, Capacity, Ended, HoldReason, Live, LiveTasks, Memory, Plan, Queued, View},
};

/// What planning remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Planning {
    /// Launch nothing.
    pub(super) is_paused: bool,
    /// Something that concerns every creation.
    pub(super) gate: Option<Gate>,
    /// How many tasks others would launch at once; answered once a heartbeat.
    pub(super) wanted: u32,
    /// Who is held, in the order in which they would be launched.
    pub(super) order: Vec<TaskAt>,
    /// How much room was taken, how many Jobs had no pod, and how many tasks waited, when that was last
    /// looked at: only to notice a change.
    pub(super) room: (u32, usize, usize),
    memory: Memory,
    ended: Vec<Ended>,
}

/// Creations fail for a reason that is not their task's: one at a time tries whether it still holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Gate {
    reason: HoldReason,
    attempts: u32,
    /// Whether one may try.
    pub(super) is_ajar: bool,
}

impl Controller {
    /// Something changed that a plan may depend on.
    pub(super) fn replan(&mut self, turn: &mut Turn<'_>) {
        self.timers.set_by(Timer::Plan, turn.now + self.options.planning_delay_ms);
    }

    /// Creations fail for everybody: none for a while, then one.
    pub(super) fn shut_gate(&mut self, turn: &mut Turn<'_>, op: Op, reason: HoldReason, at_least_ms: u64) {
        if planted(Mutant::RefusedCreateRepeatedAtOnce) {
            return;
        }
        let attempts = match &self.planning.gate {
            None => 1,
            Some(gate) if gate.is_ajar => gate.attempts.saturating_add(1),
            // Of several that were under way, each says what the first has said.
            Some(gate) => gate.attempts,
        };
        self.planning.gate = Some(Gate { reason, attempts, is_ajar: false });
        let at = self.retry_at(turn.now, op, attempts, at_least_ms);
        // Who asked for more patience before still does.
        let at = self.timers.at(&Timer::Gate).map_or(at, |asked| asked.max(at));
        self.timers.set(Timer::Gate, at);
    }

    pub(super) fn open_gate(&mut self, turn: &mut Turn<'_>) {
        if let Some(gate) = &mut self.planning.gate {
            gate.is_ajar = true;
        }
        self.replan(turn);
    }

    /// A lease may have lapsed: its task is held, and asked about.
    pub(super) fn lease_lapsed(&mut self, turn: &mut Turn<'_>) {
        self.replan(turn);
        if self.session.is_live() {
            self.heartbeat_soon(turn);
        }
    }

    /// How many Jobs may be made now, and what the next one would wait for. Derived from what is live.
    pub(super) fn capacity(&self) -> Capacity {
        let cap = self.options.capacity;
        let by_cap = cap.saturating_sub(self.board.occupied());
        let window = self.window.size();
        let by_window = window.saturating_sub(self.podless());
        let limit =
            if by_cap <= by_window { HoldReason::InFlightCap { cap } } else { HoldReason::Window { window } };
        let free = by_cap.min(by_window);
        match &self.planning.gate {
            // What must change first is told: where there is no room anyway, nobody can try the gate.
            Some(gate) if free > 0 || planted(Mutant::OldQuotaToldAsReason) => {
                let free = match (gate.is_ajar, planted(Mutant::GateTriedByAll)) {
                    (true, true) => free,
                    (true, false) if !self.is_creating() => free.min(1),
                    (_, _) => 0,
                };
                Capacity { free, limit: gate.reason.clone() }
            }
            Some(_) | None => Capacity { free, limit },
        }
    }

    /// Whether a request for a Job is under way.
    pub(super) fn is_creating(&self) -> bool {
        self.calls.any(|call| matches!(call, Call::Create(_)))
    }

    /// How many more Jobs could be launched at once, by tasks that are not here yet.
    pub(super) fn slots(&self) -> u32 {
        if self.planning.is_paused || self.drain.is_some() {
            return 0;
        }
        let held = u32::try_from(self.board.queue.len()).unwrap_or(u32::MAX);
        self.capacity().free.saturating_sub(held)
    }

    pub(super) fn plan(&mut self, turn: &mut Turn<'_>) {
        self.timers.clear(&Timer::Plan);
        let capacity = self.capacity();
        let reason = self.reason_for_all();
        let unrenewed = HoldReason::ScalrUnreachable;
        let mut queue = Vec::with_capacity(self.board.queue.len());
        let mut keys: BTreeMap<TaskId, TaskAt> = BTreeMap::new();
        let mut lapses: Option<Millis> = None;
        for key in self.board.queue.values() {
            let Some(queued) = self.board.get(key).and_then(|entry| {
                let until = entry.holding.as_ref()?.lease_until;
                if until > turn.now {
                    lapses = Some(lapses.map_or(until, |at| at.min(until)));
                }
                queued(entry, turn.now, reason.as_ref(), &unrenewed)
            }) else {
                continue;
            };
            keys.insert(queued.task.clone(), key.clone());
            queue.push(queued);
        }
        let ended = std::mem::take(&mut self.planning.ended);
        let view = View {
            now: turn.now,
            options: &self.options.scheduler_options,
            queue,
            live: LiveTasks::new(Box::new(|| live(&self.board))),
            capacity: capacity.clone(),
            ended: &ended,
        };
        let policy = scheduler::by_name(&self.options.scheduler).unwrap_or(&scheduler::fifo::Fifo);
        let plan = policy.plan(&view, &mut self.planning.memory);
        let plan = trusted(&view, plan);
        drop(view);
        if let Some(at) = lapses {
            self.timers.set(Timer::Lease, at);
        }
        self.carry_out(turn, plan, &mut keys);
        // What it did itself is no reason for another.
        self.timers.clear(&Timer::Plan);
        self.acquire_if_room(turn);
        self.take_back_room(turn);
    }

    fn carry_out(&mut self, turn: &mut Turn<'_>, plan: Plan, keys: &mut BTreeMap<TaskId, TaskAt>) {
        for task in plan.launch {
            if let Some(key) = keys.remove(&task) {
                self.launch(turn, &key);
            }
        }
        self.planning.order.clear();
        let mut wanted = std::mem::take(&mut self.planning.wanted);
        if wanted > 0 && planted(Mutant::LaunchedTaskRebalanced) {
            for key in self.board.launched() {
                self.shut(turn, &key, DoorCall::Release(ReleaseReason::Rebalance));
            }
        }
        for (task, reason) in plan.hold {
            let Some(key) = keys.remove(&task) else { continue };
            let class = reason.class();
            if let Some(holding) = self.entry(&key).and_then(|entry| entry.holding.as_mut()) {
                holding.reason = (!planted(Mutant::HoldWithoutReason)).then_some(reason);
            }
            if wanted > 0 && self.drain.is_none() {
                // Somebody else can launch it now, and we can't.
                wanted -= 1;
                self.shut(turn, &key, DoorCall::Release(ReleaseReason::Rebalance));
            } else {
                self.tell_hold(turn, &key, class);
                self.planning.order.push(key);
            }
        }
    }

    /// What keeps every task from being launched, whatever the policy says.
    pub(super) fn reason_for_all(&self) -> Option<HoldReason> {
        if self.drain.is_some() {
            Some(HoldReason::Draining)
        } else if self.planning.is_paused {
            Some(HoldReason::Paused)
        } else if !self.session.is_ready {
            Some(HoldReason::Recovering)
        } else {
            None
        }
    }

    /// Tells the policy, in the next plan, that a task has ended.
    pub(super) fn count_end(&mut self, now: Millis, key: &TaskAt) {
        let Some(entry) = self.board.get(key) else { return };
        let is_over = !entry.is_counted
            && entry.is_launched
            && entry.standing.is_final()
            && self.board.jobs_of(entry).all(|job| self.board.is_over(entry, job));
        let Some(entry) = self.board.entries.get_mut(key).filter(|_| is_over) else { return };
        entry.is_counted = true;
        if let Some(grant) = &entry.grant
            && self.planning.ended.len() < ENDED_MAX
        {
            self.planning.ended.push(Ended {
                task: grant.id.clone(),
                workspace: grant.workspace.clone(),
                action: grant.action,
                duration_ms: now.since(entry.launched_at),
            });
        }
    }
}

/// A waiting task as a policy sees it.
fn queued<'a>(
    entry: &'a Entry,
    now: Millis,
    for_all: Option<&'a HoldReason>,
    unrenewed: &'a HoldReason,
) -> Option<Queued<'a>> {
    let (grant, holding) = (entry.grant.as_ref()?, entry.holding.as_ref()?);
    let may_have_lapsed = holding.lease_until <= now && !planted(Mutant::LapsedLeaseLaunched);
    let blocked = for_all.or_else(|| may_have_lapsed.then_some(unrenewed)).or(holding.blocked.as_ref());
    Some(Queued {
        task: &grant.id,
        fence: grant.fence,
        action: grant.action,
        workspace: &grant.workspace,
        environment: &grant.environment,
        account: &grant.account,
        priority: grant.priority,
        queued_at: holding.queued_at,
        blocked,
    })
}

/// Everything that takes room, as a policy sees it.
fn live(board: &Board) -> Vec<Live<'_>> {
    let jobs = board.live.iter().filter_map(|uid| board.jobs.get(uid)).filter_map(|job| {
        let key = TaskAt { id: job.task.clone(), fence: job.fence };
        board.entries.get_key_value(&key)
    });
    let ghosts = board.ghosts.iter().filter_map(|key| board.entries.get_key_value(key));
    jobs.chain(ghosts)
        .map(|(key, entry)| Live {
            task: &key.id,
            workspace: entry.grant.as_ref().map(|grant| &grant.workspace),
            account: entry.grant.as_ref().map(|grant| &grant.account),
            since: match &entry.creation {
                Some(creation) if !entry.is_launched => creation.sent,
                Some(_) | None => entry.launched_at,
            },
        })
        .collect()
}

/// The plan as far as it keeps what every policy promises. A policy that does not can't break the caps
/// or leave a task without a reason.
fn trusted(view: &View<'_>, plan: Plan) -> Plan {
    let mut open: BTreeMap<&TaskId, Option<&HoldReason>> =
        view.queue.iter().map(|queued| (queued.task, queued.blocked)).collect();
    let mut kept = Plan::default();
    for task in plan.launch {
        if kept.launch.len() < view.capacity.free as usize && open.get(&task) == Some(&None) {
            open.remove(&task);
            kept.launch.push(task);
        }
    }
    for (task, reason) in plan.hold {
        if open.remove(&task).is_some() {
            kept.hold.push((task, reason));
        }
    }
    let forgotten = view
        .queue
        .iter()
        .filter(|queued| open.contains_key(queued.task))
        .map(|queued| (queued.task.clone(), queued.blocked.unwrap_or(&view.capacity.limit).clone()));
    kept.hold.extend(forgotten);
    kept
}
