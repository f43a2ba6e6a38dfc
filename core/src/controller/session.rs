//! Who the agent is to Scalr: register, and register again when the session has ended.

use std::collections::BTreeSet;

use scalr_protocol::agent::{Mode, Register};

use super::{
    Controller, Turn,
    calls::{Call, Flight, Then},
    effect::{ControllerExit, NoteLevel, ScalrCall},
    options::LATE_ACQUIRES_MAX,
    timers::Timer,
};
use crate::{
    clock::Millis,
    mutant::{Mutant, planted},
    op::Op,
    scalr::{Registration, ScalrError},
};

/// The session, and the calls that exist once in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; all combinations occur")]
pub(super) struct Session {
    live: Option<Registration>,
    registering: Option<Op>,
    /// Which registration it is: answers of older ones say nothing of it.
    pub(super) generation: u32,
    /// Registrations that failed, or came to nothing, in a row.
    attempts: u32,
    /// Whether a heartbeat that named everything has been answered: nothing is acquired before.
    pub(super) is_ready: bool,
    /// Whether even this session's token is refused.
    pub(super) is_refused: bool,
    pub(super) heartbeat: Option<Op>,
    pub(super) heartbeat_sent: Option<Millis>,
    pub(super) heartbeat_attempts: u32,
    /// Scalr has asked for no heartbeat before this.
    pub(super) heartbeat_not_before: Millis,
    /// Something wants a verdict that the heartbeat under way can't bring.
    pub(super) wants_verdict: bool,
    /// Whether Scalr knows that nothing more is taken.
    pub(super) is_draining_told: bool,
    pub(super) acquire: Option<Op>,
    /// How many free slots it named.
    pub(super) acquire_asked: u32,
    /// How many of those the last word of it or of a heartbeat since leaves.
    pub(super) acquire_slots: u32,
    pub(super) acquire_attempts: u32,
    /// Acquires that were given up, whose answers still bring tasks.
    late_acquires: BTreeSet<Op>,
    pub(super) messages: Option<Op>,
    pub(super) messages_attempts: u32,
    pub(super) last_message: u64,
    pub(super) deregister: Option<Op>,
    pub(super) deregister_attempts: u32,
    /// What waits for a session.
    parked: BTreeSet<Timer>,
}

impl Session {
    pub(super) fn is_live(&self) -> bool {
        self.live.is_some() && !self.is_refused
    }

    pub(super) fn registration(&self) -> Option<&Registration> {
        if self.is_refused { None } else { self.live.as_ref() }
    }

    pub(super) fn is_registering(&self) -> bool {
        self.registering.is_some()
    }

    pub(super) fn park(&mut self, timer: Timer) {
        self.parked.insert(timer);
    }

    /// An acquire is given up; what it brings is taken nevertheless.
    pub(super) fn expect_late(&mut self, op: Op) {
        self.late_acquires.insert(op);
        if self.late_acquires.len() > LATE_ACQUIRES_MAX {
            self.late_acquires.pop_first();
        }
    }

    /// Whether this is the late answer of an acquire. Said once.
    pub(super) fn take_late(&mut self, op: Op) -> bool {
        self.late_acquires.remove(&op)
    }
}

impl Controller {
    pub(super) fn register(&mut self, turn: &mut Turn<'_>) {
        if self.session.is_registering() || self.session.live.is_some() || !self.may_register() {
            return;
        }
        if planted(Mutant::SessionNotRenewed) && self.session.generation > 0 {
            return;
        }
        let options = &self.options;
        let request = Register {
            name: options.name.clone(),
            instance_id: options.instance_id.clone(),
            version: options.version.clone(),
            os: options.os.clone(),
            driver: options.driver.clone(),
            mode: Mode::Controller,
            capacity: options.capacity,
            task: None,
            fence: None,
        };
        self.session.registering = Some(self.call_scalr(turn, Call::Register, ScalrCall::Register(request)));
    }

    pub(super) fn registered(
        &mut self,
        turn: &mut Turn<'_>,
        op: Op,
        flight: &Flight,
        result: Result<Registration, ScalrError>,
    ) {
        if self.session.registering != Some(op) {
            return;
        }
        self.session.registering = None;
        let error = match result {
            Ok(registration) => return self.begin_session(turn, registration),
            Err(error) => error,
        };
        self.session.attempts = self.session.attempts.saturating_add(1);
        turn.note(NoteLevel::Warning, format!("registering failed: {error}"));
        let at_least_ms = match self.scalr_failed(turn, flight, error) {
            Then::Retry(at_least_ms) => at_least_ms,
            // A session can't have ended before it began; a refused token drains.
            Then::Park => 0,
            Then::Drop(detail) => return self.exit(turn, ControllerExit::Refused { detail }),
        };
        let at = self.retry_at(turn.now, op, self.session.attempts, at_least_ms);
        self.timers.set(Timer::Register, at);
    }

    fn begin_session(&mut self, turn: &mut Turn<'_>, registration: Registration) {
        let session = &mut self.session;
        session.live = Some(registration);
        session.generation = session.generation.wrapping_add(1);
        session.is_ready = false;
        session.is_refused = false;
        session.is_draining_told = false;
        session.last_message = 0;
        turn.note(NoteLevel::Info, "registered");
        self.timers.clear(&Timer::Register);
        for key in std::mem::take(&mut self.doors) {
            self.timers.set(Timer::Door(key), turn.now);
        }
        for timer in std::mem::take(&mut self.session.parked) {
            self.timers.set(timer, turn.now);
        }
        self.first_heartbeat(turn);
    }

    /// The session has ended: there may be another at once, but not in a circle.
    pub(super) fn session_lost(&mut self, turn: &mut Turn<'_>) {
        if self.session.live.take().is_none() {
            return;
        }
        turn.note(NoteLevel::Warning, "the session has ended; registering again");
        self.session.is_ready = false;
        // Their answers find nobody who waits; what they bring is still taken.
        self.session.heartbeat = None;
        self.session.messages = None;
        if let Some(op) = self.session.acquire.take() {
            self.calls.remove(op);
            self.session.expect_late(op);
        }
        if self.session.attempts == 0 {
            self.session.attempts = 1;
            self.register(turn);
        } else {
            let at = self.retry_at(turn.now, self.ops.last(), self.session.attempts, 0);
            self.session.attempts = self.session.attempts.saturating_add(1);
            self.timers.set(Timer::Register, at);
        }
        self.replan(turn);
    }

    /// A heartbeat was answered: the session is good.
    pub(super) fn session_proved(&mut self) {
        self.session.attempts = 0;
    }
}
