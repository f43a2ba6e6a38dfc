//! Launch events: what happens to tasks before their start, in batches.
//!
//! They are for people. Nothing depends on them but a little latency, so they are never in the way.

use std::collections::{BTreeSet, VecDeque};

use scalr_protocol::agent::{LaunchEvent, LaunchEventKind, LaunchEvents, TaskAt};

use super::{
    Controller, Turn,
    calls::{Call, Flight, Then},
    effect::{NoteLevel, ScalrCall},
    entry::cut,
    options::{EVENTS_BATCH, EVENTS_LATER_MS, EVENTS_MAX, EVENTS_SOON_MS, HOLD_TOLD_MS},
    timers::Timer,
};
use crate::{
    mutant::{Mutant, planted},
    {clock::Millis, op::Op, scalr::ScalrError, scheduler::HoldReason},
};

/// The longest message of an event, in bytes: the protocol allows as many characters.
const MESSAGE_BYTES_MAX: usize = 256;

/// One event, until it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Event {
    key: TaskAt,
    at: Millis,
    kind: LaunchEventKind,
    message: String,
}

/// Events that wait to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Outbox {
    waiting: VecDeque<Event>,
    /// Whose hold is to be told, and when. An entry's own `hold_due` says whether it still is.
    holds: BTreeSet<(Millis, TaskAt)>,
    op: Option<Op>,
    attempts: u32,
    /// Scalr has asked for none before this.
    not_before: Millis,
}

impl Outbox {
    /// Whether nothing waits and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.op.is_none()
    }

    /// How many wait to be sent or told.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.holds.len()
    }

    fn push(&mut self, event: Event) {
        self.waiting.push_back(event);
        if self.waiting.len() > EVENTS_MAX {
            self.waiting.pop_front();
        }
    }
}

impl Controller {
    /// Tells what happened to a task of ours, once.
    pub(super) fn tell(&mut self, turn: &mut Turn<'_>, key: &TaskAt, kind: LaunchEventKind, message: String) {
        let Some(entry) = self.entry(key) else { return };
        if entry.holding.is_none() || !entry.told.kinds.insert(kind) {
            return;
        }
        let message = cut(message, MESSAGE_BYTES_MAX);
        self.outbox.push(Event { key: key.clone(), at: turn.now, kind, message });
        self.events_by(turn.now + EVENTS_SOON_MS);
    }

    /// The hold of a task has been planned: tells a change of class, not too often.
    pub(super) fn tell_hold(&mut self, turn: &mut Turn<'_>, key: &TaskAt, class: &'static str) {
        let Some(entry) = self.board.entries.get_mut(key) else { return };
        let told_at = match entry.told.hold {
            Some((told, _)) if told == class => {
                entry.told.hold_due = None;
                return;
            }
            Some((_, at)) => Some(at + HOLD_TOLD_MS),
            None => None,
        };
        if entry.told.hold_due.is_none() {
            let due = told_at.unwrap_or_default().max(turn.now + EVENTS_LATER_MS);
            entry.told.hold_due = Some(due);
            self.outbox.holds.insert((due, key.clone()));
            self.events_by(due);
        }
    }

    fn events_by(&mut self, at: Millis) {
        if self.outbox.op.is_none() {
            self.timers.set_by(Timer::Events, at.max(self.outbox.not_before));
        }
    }

    /// Holds whose time has come become events, as many as fit into a batch.
    fn collect_holds(&mut self, now: Millis) {
        while self.outbox.waiting.len() < EVENTS_BATCH
            && let Some((due, _)) = self.outbox.holds.first()
            && *due <= now
            && let Some((due, key)) = self.outbox.holds.pop_first()
        {
            let Some(entry) = self.board.entries.get_mut(&key) else { continue };
            if entry.told.hold_due != Some(due) {
                continue;
            }
            entry.told.hold_due = None;
            let reason = entry.holding.as_ref().and_then(|holding| holding.reason.as_ref());
            let Some(reason) = reason.filter(|_| entry.is_queued()) else { continue };
            entry.told.hold = Some((reason.class(), now));
            let message = cut(HoldReason::to_string(reason), MESSAGE_BYTES_MAX);
            self.outbox.push(Event { key, at: now, kind: LaunchEventKind::Held, message });
        }
    }

    pub(super) fn send_events(&mut self, turn: &mut Turn<'_>) {
        if self.outbox.op.is_some() {
            return;
        }
        let Some(agent) = self.session.registration().map(|registration| registration.agent.clone()) else {
            return;
        };
        self.collect_holds(turn.now);
        let size = self.outbox.waiting.len().min(EVENTS_BATCH);
        if size == 0 {
            if let Some((due, _)) = self.outbox.holds.first() {
                self.timers.set(Timer::Events, *due);
            }
            return;
        }
        let batch: Vec<Event> = self.outbox.waiting.drain(..size).collect();
        let events = batch
            .iter()
            .map(|event| LaunchEvent {
                task: event.key.id.clone(),
                fence: event.key.fence,
                ago_ms: turn.now.since(event.at),
                kind: event.kind,
                message: event.message.clone(),
            })
            .collect();
        let call = ScalrCall::LaunchEvents(agent, LaunchEvents { events });
        self.outbox.op = Some(self.call_scalr(turn, Call::Events(batch), call));
    }

    pub(super) fn events_answered(
        &mut self,
        turn: &mut Turn<'_>,
        op: Op,
        flight: &Flight,
        events: Vec<Event>,
        result: Result<(), ScalrError>,
    ) {
        if self.outbox.op != Some(op) {
            return;
        }
        self.outbox.op = None;
        let then = match result {
            Ok(()) => {
                self.outbox.attempts = 0;
                return self.send_events(turn);
            }
            Err(error) => self.scalr_failed(turn, flight, error),
        };
        self.outbox.attempts = self.outbox.attempts.saturating_add(1);
        let at = match &then {
            Then::Retry(at_least_ms) => {
                if !planted(Mutant::EventsHurried) {
                    self.outbox.not_before = turn.now + *at_least_ms;
                }
                self.retry_at(turn.now, op, self.outbox.attempts, *at_least_ms)
            }
            Then::Park | Then::Drop(_) => turn.now + EVENTS_LATER_MS,
        };
        match then {
            Then::Drop(_) => turn.note(NoteLevel::Warning, "launch events were refused and dropped"),
            Then::Retry(_) | Then::Park => {
                for event in events.into_iter().rev() {
                    self.outbox.waiting.push_front(event);
                }
            }
        }
        self.timers.set(Timer::Events, at);
    }

    /// What is only about waiting interests nobody any more.
    pub(super) fn drop_hold_events(&mut self) {
        self.outbox.holds.clear();
        self.outbox.waiting.retain(|event| event.kind != LaunchEventKind::Held);
    }
}
