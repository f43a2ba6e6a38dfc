//! Creations that went unanswered. Each may still be carried out: now, or after its repeat was answered and
//! the Job of that has gone again.
//!
//! It never forgets such a request before a list that was sent when it could no longer act: until then it
//! takes room, and pods that have ended prove nothing.

use scalr_protocol::agent::{ReleaseReason, TaskAt};

use super::{
    Controller, Turn,
    entry::{Creation, DoorCall, Entry, Standing},
    options::{CREATE_LOOK_MS, CREATE_UNRESOLVED_MS, SETTLE_STEP_MS},
    timers::Timer,
};
use crate::{
    clock::Millis,
    cluster::Kind,
    mutant::{Mutant, planted},
    op::Op,
};

impl Creation {
    /// When none of its requests can act any more. Those that end together are looked at by one list.
    fn expires(&self) -> Millis {
        Millis((self.unanswered + CREATE_UNRESOLVED_MS).0.next_multiple_of(SETTLE_STEP_MS))
    }
}

impl Controller {
    pub(super) fn create_unanswered(&mut self, turn: &mut Turn<'_>, op: Op, key: &TaskAt) {
        let Some(entry) = self.entry(key) else { return };
        if planted(Mutant::UnansweredCreateForgotten) {
            entry.creation = None;
            return self.look(turn, key);
        }
        // Even where its Job was seen: a second request may make it once more when the first one's is gone.
        if let Some(creation) = &mut entry.creation {
            creation.is_uncertain = true;
            creation.unanswered = turn.now;
        }
        self.repeat(turn, op, key, 0);
    }

    /// It is still not known whether its Job was made: asked again by the same request, not before this has
    /// passed.
    pub(super) fn repeat(&mut self, turn: &mut Turn<'_>, op: Op, key: &TaskAt, at_least_ms: u64) {
        let is_draining = self.drain.is_some();
        if let Some(creation) = self.entry(key).and_then(|entry| entry.creation.as_mut()) {
            creation.attempts = creation.attempts.saturating_add(1);
            let attempts = creation.attempts;
            let at_least_ms = if planted(Mutant::RepeatDropsRetryAfter) { 0 } else { at_least_ms };
            let at = self.retry_at(turn.now, op, attempts, at_least_ms);
            self.timers.set(Timer::Create(key.clone()), at);
        }
        if is_draining && self.board.get(key).is_some_and(|e| e.holding.is_some() && !e.is_launched) {
            self.shut(turn, key, DoorCall::Release(ReleaseReason::Drain));
        }
        self.look(turn, key);
    }

    /// Its Job is known to be, or to have been.
    pub(super) fn creation_answered(&mut self, turn: &mut Turn<'_>, key: &TaskAt) {
        let Some(entry) = self.entry(key) else { return };
        match entry.creation.take_if(|creation| !creation.is_uncertain) {
            Some(_) => self.timers.clear(&Timer::Create(key.clone())),
            // An earlier request may make it once more when this one has gone.
            None => self.timers.set(Timer::Create(key.clone()), turn.now),
        }
    }

    /// An unanswered creation: made again under its name if the task is still ours to launch; otherwise, and
    /// when its repeats have only been refused since, waited for until it can't act.
    pub(super) fn create_again(&mut self, turn: &mut Turn<'_>, key: &TaskAt) {
        let Some(entry) = self.board.get(key) else { return };
        let Some(creation) = entry.creation.as_ref().filter(|creation| creation.op.is_none()) else { return };
        let is_repeated = turn.now < creation.expires() && self.is_repeated(entry);
        let Some(holding) = entry.holding.as_ref().filter(|_| is_repeated) else {
            return self.outlive(turn, key);
        };
        let is_shut = self.planning.gate.as_ref().is_some_and(|gate| !gate.is_ajar || self.is_creating())
            && !planted(Mutant::RepeatDropsRetryAfter);
        if self.planning.is_paused || is_shut || holding.lease_until <= turn.now || !self.session.is_ready {
            // As for every other task: launched when the reason has gone.
            self.timers.set(Timer::Create(key.clone()), turn.now + CREATE_LOOK_MS);
            return;
        }
        let attempts = creation.attempts;
        self.create(turn, key, attempts, true);
    }

    /// Whether its creation is to be repeated. Once its Job was seen it never is, whatever became of it.
    fn is_repeated(&self, entry: &Entry) -> bool {
        matches!(entry.standing, Standing::Held | Standing::Unasked)
            && entry.holding.is_some()
            && entry.door.is_none()
            && !entry.is_launched
            && self.drain.is_none()
    }

    /// Asks for a list once none of the requests can act any more.
    fn outlive(&mut self, turn: &mut Turn<'_>, key: &TaskAt) {
        let Some(creation) = self.board.get(key).and_then(|entry| entry.creation.as_ref()) else { return };
        let expires = creation.expires();
        if turn.now < expires {
            self.timers.set(Timer::Create(key.clone()), expires);
            return;
        }
        let is_asked = self.jobs.list.is_some() && self.jobs.listed_at >= Some(expires);
        if !is_asked {
            self.jobs.needs_list = true;
            if self.timers.at(&Timer::Feed(Kind::Jobs)).is_none() {
                self.feed(turn, Kind::Jobs);
            }
        }
        self.timers.set(Timer::Create(key.clone()), turn.now + CREATE_LOOK_MS);
    }

    /// Forgets the requests that could no longer act when the list was sent that has just been taken. Where
    /// they have made nothing the task waits for a Job like any other.
    pub(super) fn settle_creations(&mut self, turn: &mut Turn<'_>, sent: Millis) {
        let is_settled = |key: &&TaskAt| {
            self.board.get(key).is_some_and(|entry| {
                let is_over = |creation: &Creation| creation.op.is_none() && creation.expires() <= sent;
                entry.creation.as_ref().is_some_and(is_over)
            })
        };
        let settled: Vec<TaskAt> = self.board.uncertain.iter().filter(is_settled).cloned().collect();
        for key in settled {
            self.timers.clear(&Timer::Create(key.clone()));
            if let Some(entry) = self.entry(&key) {
                entry.creation = None;
                // A Job of it may have come and gone unseen.
                entry.is_witnessed &= entry.is_launched;
            }
            self.look(turn, &key);
        }
    }
}
