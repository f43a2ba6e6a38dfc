//! Asking for tasks, and for hints that there are some.

use scalr_protocol::agent::{
    Acquire, Acquired, Action, Grant, Hint, LaunchFailure, Messages, ReleaseReason, TaskAt,
};

use super::{
    Controller, Turn,
    calls::{Call, Flight, Then},
    effect::{NoteLevel, ScalrCall},
    entry::{DoorCall, Failure, Holding, Standing},
    input::Answer,
    options::{AHEAD_WAIT_MS, POLL_SPACING_MS},
    timers::Timer,
};
use crate::{
    clock::Millis,
    mutant::{Mutant, planted},
    op::Op,
    scalr::ScalrError,
};

impl Controller {
    /// Asks for tasks unless there is a reason not to: none before the first heartbeat is answered, none
    /// while stopping, and none beyond the look-ahead. While paused tasks are only held, so that each can be
    /// told why it waits; an agent with a free slot gets them by rebalance.
    pub(super) fn acquire_if_room(&mut self, turn: &mut Turn<'_>) {
        if self.timers.at(&Timer::Acquire).is_none() {
            self.acquire(turn);
        }
    }

    /// Tells Scalr soon of room that an acquire which waits there has promised and others have taken since.
    pub(super) fn take_back_room(&mut self, turn: &mut Turn<'_>) {
        if self.session.acquire.is_some() && self.slots() < self.session.acquire_slots {
            self.heartbeat_soon(turn);
        }
    }

    pub(super) fn acquire(&mut self, turn: &mut Turn<'_>) {
        let is_wanted = (self.session.is_ready || planted(Mutant::AcquiresBeforeFirstHeartbeat))
            && self.session.acquire.is_none()
            && (self.drain.is_none() || planted(Mutant::AcquiresWhileDraining));
        let Some(registration) = self.session.registration() else { return };
        if !is_wanted {
            return;
        }
        let held = u32::try_from(self.board.queue.len()).unwrap_or(u32::MAX);
        let slots = self.slots();
        let ahead = self.options.look_ahead.saturating_sub(held);
        if slots == 0 && ahead == 0 {
            return;
        }
        let slots = if planted(Mutant::LookAheadCountedAsWanted) { slots + ahead } else { slots };
        let longest = self.options.poll_wait_ms.min(registration.wait_ms_max);
        let wait_ms = if slots == 0 { longest.min(AHEAD_WAIT_MS) } else { longest };
        let request = Acquire { slots, ahead, actions: self.options.actions.clone(), wait_ms };
        let call = ScalrCall::Acquire(registration.agent.clone(), request);
        self.session.acquire_asked = slots;
        self.session.acquire_slots = slots;
        self.session.acquire = Some(self.call_scalr(turn, Call::Acquire, call));
    }

    pub(super) fn acquired(
        &mut self,
        turn: &mut Turn<'_>,
        op: Op,
        flight: &Flight,
        result: Result<Acquired, ScalrError>,
    ) {
        if self.session.acquire == Some(op) {
            self.session.acquire = None;
        }
        match result {
            Ok(Acquired { tasks }) if tasks.is_empty() => {
                self.session.acquire_attempts = 0;
                self.timers.set(Timer::Acquire, turn.now.max(flight.sent + POLL_SPACING_MS));
            }
            Ok(Acquired { tasks }) => {
                self.session.acquire_attempts = 0;
                for grant in tasks {
                    self.granted(turn, flight.sent, grant);
                }
                // The plan that this asks for asks for more.
                self.replan(turn);
            }
            Err(error) => {
                turn.note(NoteLevel::Warning, format!("acquiring failed: {error}"));
                self.session.acquire_attempts = self.session.acquire_attempts.saturating_add(1);
                let at_least_ms = match self.scalr_failed(turn, flight, error) {
                    Then::Retry(at_least_ms) => at_least_ms,
                    Then::Park | Then::Drop(_) => 0,
                };
                let at = self.retry_at(turn.now, op, self.session.acquire_attempts, at_least_ms);
                self.timers.set(Timer::Acquire, at);
            }
        }
    }

    /// An answer to a call that nobody waits for. Only tasks that it brings are of interest: they are held
    /// like any other, or given back.
    pub(super) fn late(&mut self, turn: &mut Turn<'_>, op: Op, answer: Answer) {
        if let Answer::Acquired(Ok(acquired)) = answer
            && self.session.take_late(op)
        {
            for grant in acquired.tasks {
                // When it was sent is forgotten: its lease counts as lapsed until a heartbeat renews it.
                self.granted(turn, Millis::default(), grant);
            }
            self.heartbeat_soon(turn);
            self.replan(turn);
        }
    }

    /// Takes one grant of an acquire that was sent at `sent`.
    fn granted(&mut self, turn: &mut Turn<'_>, sent: Millis, grant: Grant) {
        let key = TaskAt { id: grant.id.clone(), fence: grant.fence };
        if self.board.newest(&grant.id).is_some_and(|newest| newest.fence > key.fence) {
            return;
        }
        let older: Vec<TaskAt> = self.board.of_task(&grant.id).filter(|old| **old != key).cloned().collect();
        for old in older {
            // A higher fence was granted: this one is held no more. What is left of it is asked about.
            self.stop_launch(&old);
            self.heartbeat_soon(turn);
            self.look(turn, &old);
        }
        let lease_until = if sent == Millis::default() { sent } else { sent + grant.ttl_ms };
        let queued_at = turn.now - grant.queued_for_ms;
        let action = grant.action;
        let is_waiting = self.hold(&key, grant, queued_at, lease_until);
        if !is_waiting {
            // Known already, or a Job of it was seen before: it is ours, and supervised.
        } else if self.drain.is_some() {
            self.shut(turn, &key, DoorCall::Release(ReleaseReason::Drain));
        } else if action == Action::Unknown || !self.options.actions.contains(&action) {
            let failure = Failure {
                reason: LaunchFailure::UnsupportedAction,
                message: format!("this agent can't do the action `{}`", action.as_str()),
                diagnostics: String::new(),
                is_retryable: false,
            };
            self.shut(turn, &key, DoorCall::failed(key.fence, failure));
        }
        if lease_until <= turn.now {
            self.heartbeat_soon(turn);
        }
        self.look(turn, &key);
    }

    /// Enters a grant. Says whether it is new and waits for a Job.
    fn hold(&mut self, key: &TaskAt, grant: Grant, queued_at: Millis, lease_until: Millis) -> bool {
        let order = self.board.next_grant();
        let entry = self.board.entries.entry(key.clone()).or_default();
        match entry.standing {
            Standing::Ended | Standing::Shut | Standing::Started | Standing::Claimed => return false,
            Standing::Unasked | Standing::Held | Standing::Other => {}
        }
        entry.standing = Standing::Held;
        // The first content stays: a Job may have been made of it.
        entry.grant.get_or_insert_with(|| Box::new(grant));
        if let Some(holding) = &mut entry.holding {
            holding.lease_until = holding.lease_until.max(lease_until);
            return false;
        }
        entry.holding = Some(Holding::new(order, queued_at, lease_until));
        entry.is_witnessed = !entry.is_launched && !entry.had_pod;
        !entry.is_launched
    }

    /// Waits for hints. They only make things sooner.
    pub(super) fn poll_messages(&mut self, turn: &mut Turn<'_>) {
        if self.timers.at(&Timer::Messages).is_none() {
            self.messages(turn);
        }
    }

    pub(super) fn messages(&mut self, turn: &mut Turn<'_>) {
        if self.session.messages.is_some() || !self.session.is_ready || self.drain.is_some() {
            return;
        }
        let Some(registration) = self.session.registration() else { return };
        let wait_ms = self.options.poll_wait_ms.min(registration.wait_ms_max);
        let call = ScalrCall::Messages(registration.agent.clone(), self.session.last_message, wait_ms);
        self.session.messages = Some(self.call_scalr(turn, Call::Messages, call));
    }

    pub(super) fn messages_answered(
        &mut self,
        turn: &mut Turn<'_>,
        op: Op,
        flight: &Flight,
        result: Result<Messages, ScalrError>,
    ) {
        if self.session.messages != Some(op) {
            return;
        }
        self.session.messages = None;
        match result {
            Ok(messages) => {
                self.session.messages_attempts = 0;
                self.session.last_message = self.session.last_message.max(messages.last);
                for hint in messages.hints {
                    match hint {
                        Hint::Cancel { task } if self.board.newest(&task).is_some() => {
                            self.heartbeat_soon(turn);
                        }
                        // Whoever waits in an acquire is answered by it.
                        Hint::Cancel { .. } | Hint::Work | Hint::Unknown => {}
                    }
                }
                self.timers.set(Timer::Messages, turn.now.max(flight.sent + POLL_SPACING_MS));
            }
            Err(error) => {
                self.session.messages_attempts = self.session.messages_attempts.saturating_add(1);
                let at_least_ms = match self.scalr_failed(turn, flight, error) {
                    Then::Retry(at_least_ms) => at_least_ms,
                    Then::Park | Then::Drop(_) => 0,
                };
                let at = self.retry_at(turn.now, op, self.session.messages_attempts, at_least_ms);
                self.timers.set(Timer::Messages, at);
            }
        }
    }
}
