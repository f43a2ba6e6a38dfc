//! The calls under way: what each is for, and what its answer or its silence means.

use std::collections::{BTreeMap, BTreeSet};

use scalr_protocol::agent::TaskAt;

use super::{
    Controller, Turn,
    effect::{ClusterCall, ControllerExit, Effect, NoteLevel, ScalrCall},
    events::Event,
    input::Answer,
    options::{ANSWER_MS, HEARTBEAT_ANSWER_MS},
    timers::Timer,
};
use crate::{
    backoff,
    clock::Millis,
    cluster::{ClusterError, Kind, Uid},
    mutant::{Mutant, planted},
    op::Op,
    scalr::ScalrError,
};

/// What a call is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Call {
    Register,
    Deregister,
    /// Whether it said that the agent is draining.
    Heartbeat {
        is_draining: bool,
    },
    Acquire,
    Messages,
    Events(Vec<Event>),
    Release(TaskAt),
    Failed(TaskAt),
    Lost(TaskAt),
    List(Kind),
    Watch(Kind),
    Create(TaskAt),
    Delete(Uid),
}

/// A call under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    pub(super) call: Call,
    pub(super) sent: Millis,
    /// When it is given up.
    due: Millis,
    /// In which session it was made.
    pub(super) generation: u32,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Calls {
    flights: BTreeMap<Op, Flight>,
    by_due: BTreeSet<(Millis, Op)>,
}

impl Calls {
    fn insert(&mut self, op: Op, flight: Flight) {
        if flight.due < Millis::NEVER {
            self.by_due.insert((flight.due, op));
        }
        self.flights.insert(op, flight);
    }

    pub(super) fn remove(&mut self, op: Op) -> Option<Flight> {
        let flight = self.flights.remove(&op)?;
        self.by_due.remove(&(flight.due, op));
        Some(flight)
    }

    fn first_due(&self) -> Option<(Millis, Op)> {
        self.by_due.first().copied()
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    /// Whether a call of this kind is under way.
    pub(super) fn any(&self, is_it: impl Fn(&Call) -> bool) -> bool {
        self.flights.values().any(|flight| is_it(&flight.call))
    }
}

/// What to do about a call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Make it again, but not before this has passed.
    Retry(u64),
    /// Make it again in the next session.
    Park,
    /// It won't ever succeed.
    Drop(String),
}

impl Controller {
    pub(super) fn call_scalr(&mut self, turn: &mut Turn<'_>, is_for: Call, call: ScalrCall) -> Op {
        let waits_ms = match &call {
            ScalrCall::Heartbeat(..) => HEARTBEAT_ANSWER_MS,
            ScalrCall::Acquire(_, acquire) => ANSWER_MS.saturating_add(acquire.wait_ms),
            ScalrCall::Messages(_, _, wait_ms) => ANSWER_MS.saturating_add(*wait_ms),
            ScalrCall::Register(_)
            | ScalrCall::Deregister(_)
            | ScalrCall::Release(..)
            | ScalrCall::LaunchEvents(..)
            | ScalrCall::LaunchFailed(..)
            | ScalrCall::WorkerLost(..) => ANSWER_MS,
        };
        let op = self.fly(turn, is_for, waits_ms);
        turn.out.push(Effect::Scalr { op, call });
        op
    }

    pub(super) fn call_cluster(&mut self, turn: &mut Turn<'_>, is_for: Call, call: ClusterCall) -> Op {
        let op = self.fly(turn, is_for, ANSWER_MS);
        turn.out.push(Effect::Cluster { op, call });
        op
    }

    fn fly(&mut self, turn: &mut Turn<'_>, call: Call, waits_ms: u64) -> Op {
        let op = self.ops.draw();
        let due = turn.now + waits_ms;
        let generation = self.session.generation;
        self.calls.insert(op, Flight { call, sent: turn.now, due, generation });
        self.timers.set_by(Timer::Calls, due);
        op
    }

    /// Drops a call whose answer is no longer wanted.
    pub(super) fn abandon(&mut self, turn: &mut Turn<'_>, op: Op) {
        self.calls.remove(op);
        turn.out.push(Effect::Abandon { op });
    }

    /// Calls that nobody answered are taken as unanswered: they may have had their effect.
    pub(super) fn give_up_calls(&mut self, turn: &mut Turn<'_>) {
        while let Some((due, op)) = self.calls.first_due() {
            if due > turn.now {
                self.timers.set_by(Timer::Calls, due);
                return;
            }
            let Some(flight) = self.calls.remove(op) else { return };
            turn.out.push(Effect::Abandon { op });
            if flight.call == Call::Acquire {
                self.session.expect_late(op);
            }
            let detail = format!("given up after {} ms", turn.now.since(flight.sent));
            let answer = silence(&flight.call, detail);
            self.dispatch(turn, op, flight, answer);
        }
    }

    pub(super) fn answered(&mut self, turn: &mut Turn<'_>, op: Op, answer: Answer) {
        match self.calls.remove(op) {
            Some(flight) => self.dispatch(turn, op, flight, answer),
            None => self.late(turn, op, answer),
        }
    }

    fn dispatch(&mut self, turn: &mut Turn<'_>, op: Op, flight: Flight, answer: Answer) {
        match (flight.call.clone(), answer) {
            (Call::Register, Answer::Registered(result)) => self.registered(turn, op, &flight, result),
            (Call::Deregister, Answer::Deregistered(result)) => self.deregistered(turn, op, &flight, result),
            (Call::Heartbeat { is_draining }, Answer::Heartbeat(result)) => {
                self.heartbeat_answered(turn, op, &flight, is_draining, result);
            }
            (Call::Acquire, Answer::Acquired(result)) => self.acquired(turn, op, &flight, result),
            (Call::Messages, Answer::Messages(result)) => self.messages_answered(turn, op, &flight, result),
            (Call::Events(events), Answer::LaunchEvents(result)) => {
                self.events_answered(turn, op, &flight, events, result);
            }
            (Call::Release(key), Answer::Released(result))
            | (Call::Failed(key), Answer::LaunchFailed(result)) => {
                self.door_answered(turn, op, &flight, &key, result);
            }
            (Call::Lost(key), Answer::WorkerLost(result)) => {
                self.loss_answered(turn, op, &flight, &key, result);
            }
            (Call::List(kind), Answer::Listed(result)) => self.listed(turn, op, kind, result),
            (Call::Watch(kind), Answer::Watching(result)) => self.watching(turn, op, kind, result),
            (Call::Create(key), Answer::Created(result)) => self.created(turn, op, &key, result),
            (Call::Delete(uid), Answer::Deleted(result)) => self.deleted(turn, op, &uid, result),
            // An answer to something else: the call goes on.
            (_, _) => self.calls.insert(op, flight),
        }
    }

    /// What a failed call to Scalr means for the session, and for itself.
    pub(super) fn scalr_failed(&mut self, turn: &mut Turn<'_>, flight: &Flight, error: ScalrError) -> Then {
        match error {
            ScalrError::Unauthorized { detail } => {
                let is_of_pool = matches!(flight.call, Call::Register | Call::Acquire);
                if !is_of_pool && flight.generation == self.session.generation {
                    self.session.is_refused = true;
                }
                self.unauthorized(turn, detail);
                Then::Park
            }
            ScalrError::SessionExpired => {
                if flight.generation == self.session.generation {
                    self.session_lost(turn);
                }
                Then::Park
            }
            ScalrError::ProtocolUnsupported { detail } => {
                self.exit(turn, ControllerExit::Refused { detail: detail.clone() });
                Then::Drop(detail)
            }
            ScalrError::RateLimited { .. } if planted(Mutant::ScalrsPatienceIgnored) => Then::Retry(0),
            ScalrError::RateLimited { retry_after_ms } => Then::Retry(retry_after_ms),
            ScalrError::QuotaExceeded { .. }
            | ScalrError::NameInUse { .. }
            | ScalrError::Draining
            | ScalrError::Unreachable { .. } => Then::Retry(0),
            ScalrError::Refused { status, detail } => {
                let said = format!("{status}: {detail}");
                turn.note(NoteLevel::Warning, format!("Scalr refused a call with {said}"));
                Then::Drop(said)
            }
        }
    }

    /// When a call that has failed `attempts` times in a row is made again.
    pub(super) fn retry_at(&self, now: Millis, op: Op, attempts: u32, at_least_ms: u64) -> Millis {
        if planted(Mutant::RetriesWithoutBackoff) {
            return now + 1;
        }
        now + backoff::wait_ms(self.options.seed, op.0, attempts, at_least_ms)
    }
}

/// What stands for an answer that never came.
fn silence(call: &Call, detail: String) -> Answer {
    let scalr = ScalrError::Unreachable { detail: detail.clone() };
    let cluster = ClusterError::Unreachable { detail };
    match call {
        Call::Register => Answer::Registered(Err(scalr)),
        Call::Deregister => Answer::Deregistered(Err(scalr)),
        Call::Heartbeat { .. } => Answer::Heartbeat(Err(scalr)),
        Call::Acquire => Answer::Acquired(Err(scalr)),
        Call::Messages => Answer::Messages(Err(scalr)),
        Call::Events(_) => Answer::LaunchEvents(Err(scalr)),
        Call::Release(_) => Answer::Released(Err(scalr)),
        Call::Failed(_) => Answer::LaunchFailed(Err(scalr)),
        Call::Lost(_) => Answer::WorkerLost(Err(scalr)),
        Call::List(_) => Answer::Listed(Err(cluster)),
        Call::Watch(_) => Answer::Watching(Err(cluster)),
        Call::Create(_) => Answer::Created(Err(cluster)),
        Call::Delete(_) => Answer::Deleted(Err(cluster)),
    }
}
