//! Stopping with a deadline: take no more, give back what did not start, leave what did, say goodbye.

use scalr_protocol::agent::{ReleaseReason, TaskAt};

use super::{
    Controller, Turn,
    calls::{Call, Flight, Then},
    effect::{ControllerExit, NoteLevel, ScalrCall},
    entry::{DoorCall, Entry},
    options::{EXIT_MS, UNAUTHORIZED_GRACE_MS},
    timers::Timer,
};
use crate::{
    clock::Millis,
    mutant::{Mutant, planted},
    op::Op,
    scalr::ScalrError,
};

/// A stop under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Drain {
    deadline: Millis,
    exit: ControllerExit,
}

impl Controller {
    pub(super) fn stop(&mut self, turn: &mut Turn<'_>, grace_ms: u64) {
        // Some of it is the process's own: to write its last lines and to end.
        let grace_ms = grace_ms - (grace_ms / 4).min(EXIT_MS);
        self.begin_drain(turn, turn.now + grace_ms, ControllerExit::Stopped);
    }

    /// A token is no longer good: no more work; what is held is given back while that is still possible.
    pub(super) fn unauthorized(&mut self, turn: &mut Turn<'_>, detail: String) {
        if !matches!(self.drain, Some(Drain { exit: ControllerExit::Unauthorized { .. }, .. })) {
            turn.note(NoteLevel::Error, format!("the token was refused: {detail}"));
            let deadline = turn.now + UNAUTHORIZED_GRACE_MS;
            self.begin_drain(turn, deadline, ControllerExit::Unauthorized { detail });
        }
    }

    fn begin_drain(&mut self, turn: &mut Turn<'_>, deadline: Millis, exit: ControllerExit) {
        if let Some(drain) = &mut self.drain {
            // Told again: sooner if need be, and with the worse ending.
            drain.deadline = drain.deadline.min(deadline);
            if exit != ControllerExit::Stopped {
                drain.exit = exit;
            }
            let deadline = drain.deadline;
            self.timers.set(Timer::Deadline, deadline);
            return;
        }
        turn.note(NoteLevel::Info, "draining");
        self.drain = Some(Drain { deadline, exit });
        self.timers.set(Timer::Deadline, deadline);
        if let Some(op) = self.session.acquire.take() {
            self.abandon(turn, op);
            // The server may have granted already: what still comes is given back.
            self.session.expect_late(op);
        }
        if let Some(op) = self.session.messages.take() {
            self.abandon(turn, op);
        }
        self.drop_hold_events();
        for key in self.to_give_back() {
            self.shut(turn, &key, DoorCall::Release(ReleaseReason::Drain));
        }
        self.heartbeat_soon(turn);
        self.replan(turn);
    }

    /// Held tasks without a Job, but for those whose creation is being answered.
    fn to_give_back(&self) -> Vec<TaskAt> {
        if planted(Mutant::ReleaseOnStopSkipped) {
            return Vec::new();
        }
        let is_left = |entry: &Entry| entry.is_launched && !planted(Mutant::LaunchedReleasedOnStop);
        self.board
            .entries
            .iter()
            .filter(|(_, entry)| {
                let is_awaited = entry.creation.as_ref().is_some_and(|creation| creation.op.is_some());
                entry.holding.is_some() && !is_left(entry) && !is_awaited
            })
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Whether the session must be there for something still.
    pub(super) fn may_register(&self) -> bool {
        self.drain.is_none() || !self.board.closing.is_empty()
    }

    /// Ends a stop as soon as everything is answered.
    pub(super) fn finish_drain(&mut self, turn: &mut Turn<'_>) {
        if self.over.is_some() || self.drain.is_none() || self.session.deregister.is_some() {
            return;
        }
        let is_making = self.calls.any(|call| matches!(call, Call::Create(_) | Call::Delete(_)));
        if is_making || self.session.is_registering() {
            return;
        }
        if planted(Mutant::ReleaseOnStopSkipped) {
            return self.exit_drained(turn);
        }
        if !self.session.is_live() {
            if self.session.is_refused || self.board.closing.is_empty() || !self.has_begun {
                self.exit_drained(turn);
            }
            return;
        }
        let is_told = self.session.is_draining_told || !self.jobs.is_synced || !self.pods.is_synced;
        let is_telling = self.calls.any(|call| matches!(call, Call::Lost(_)));
        if is_told
            && !is_telling
            && self.board.closing.is_empty()
            && self.outbox.is_idle()
            && self.timers.at(&Timer::Deregister).is_none()
        {
            self.deregister(turn);
        }
    }

    pub(super) fn deregister(&mut self, turn: &mut Turn<'_>) {
        if self.drain.is_none() || self.session.deregister.is_some() {
            return;
        }
        let Some(agent) = self.session.registration().map(|registration| registration.agent.clone()) else {
            return;
        };
        let call = ScalrCall::Deregister(agent);
        self.session.deregister = Some(self.call_scalr(turn, Call::Deregister, call));
    }

    pub(super) fn deregistered(
        &mut self,
        turn: &mut Turn<'_>,
        op: Op,
        flight: &Flight,
        result: Result<(), ScalrError>,
    ) {
        if self.session.deregister != Some(op) {
            return;
        }
        self.session.deregister = None;
        let Err(error) = result else { return self.exit_drained(turn) };
        self.session.deregister_attempts = self.session.deregister_attempts.saturating_add(1);
        match self.scalr_failed(turn, flight, error) {
            Then::Retry(at_least_ms) => {
                let attempts = self.session.deregister_attempts;
                let at = self.retry_at(turn.now, op, attempts, at_least_ms);
                self.timers.set(Timer::Deregister, at);
            }
            // There is nothing left to deregister.
            Then::Park | Then::Drop(_) => self.exit_drained(turn),
        }
    }

    /// The stop is over, or its time is.
    pub(super) fn exit_drained(&mut self, turn: &mut Turn<'_>) {
        if let Some(drain) = &self.drain {
            let exit = drain.exit.clone();
            self.exit(turn, exit);
        }
    }

    pub(super) fn exit(&mut self, turn: &mut Turn<'_>, exit: ControllerExit) {
        if self.over.is_none() {
            turn.note(NoteLevel::Info, "exiting");
            self.over = Some(exit);
        }
    }
}
