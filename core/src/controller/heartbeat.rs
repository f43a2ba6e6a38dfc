//! The heartbeat: it names every task and Job, and its verdicts say what each is.

use scalr_protocol::agent::{AgentStatus, Heartbeat, HeartbeatAnswer, TaskAt, TaskVerdict, Verdict};

use super::{
    Controller, Turn,
    calls::{Call, Flight, Then},
    effect::{NoteLevel, ScalrCall},
    entry::{DoorCall, Entry, Holding, Standing},
    options::{HEARTBEAT_MS_MAX, HEARTBEAT_SPACING_MS},
    timers::Timer,
};
use crate::{
    clock::Millis,
    mutant::{Mutant, planted},
    op::Op,
    scalr::{Door, ScalrError},
};

impl Controller {
    /// Registered, and both kinds listed: whatever comes first waits for the others.
    pub(super) fn first_heartbeat(&mut self, turn: &mut Turn<'_>) {
        if self.session.is_live() && self.session.heartbeat.is_none() && !self.session.is_ready {
            self.heartbeat(turn);
        }
    }

    pub(super) fn heartbeat(&mut self, turn: &mut Turn<'_>) {
        if !self.jobs.is_synced || !self.pods.is_synced {
            return;
        }
        if self.session.heartbeat.is_some() {
            self.session.wants_verdict = true;
            return;
        }
        if turn.now < self.session.heartbeat_not_before {
            self.timers.set(Timer::Heartbeat, self.session.heartbeat_not_before);
            return;
        }
        let Some(registration) = self.session.registration() else { return };
        let (agent, heartbeat_ms) = (registration.agent.clone(), registration.heartbeat_ms);
        let request = self.heartbeat_request();
        let is_draining = request.draining;
        self.session.wants_verdict = false;
        self.session.heartbeat_sent = Some(turn.now);
        let call = ScalrCall::Heartbeat(agent, request);
        self.session.heartbeat = Some(self.call_scalr(turn, Call::Heartbeat { is_draining }, call));
        self.timers
            .set(Timer::Heartbeat, turn.now + heartbeat_ms.clamp(HEARTBEAT_SPACING_MS, HEARTBEAT_MS_MAX));
    }

    fn heartbeat_request(&mut self) -> Heartbeat {
        let mut tasks = Vec::new();
        for (key, entry) in &self.board.entries {
            if entry.is_named(self.board.has_unfinished_job(entry)) {
                tasks.push(key.clone());
            }
        }
        for key in &tasks {
            if let Some(entry) = self.board.entries.get_mut(key) {
                entry.is_asked = true;
            }
        }
        let error_message = self.cluster_trouble();
        let status = match (&error_message, self.board.is_busy()) {
            (Some(_), _) => AgentStatus::Errored,
            (None, true) => AgentStatus::Busy,
            (None, false) => AgentStatus::Idle,
        };
        let (slots, draining) = (self.slots(), self.drain.is_some());
        self.session.acquire_slots = self.session.acquire_asked.min(slots);
        Heartbeat { status, error_message, slots, draining, tasks }
    }

    /// A verdict is wanted that is asked for from now on.
    pub(super) fn heartbeat_soon(&mut self, turn: &mut Turn<'_>) {
        if self.session.heartbeat.is_some() {
            self.session.wants_verdict = true;
            return;
        }
        let spaced = self.session.heartbeat_sent.map_or(turn.now, |sent| sent + HEARTBEAT_SPACING_MS);
        let at = spaced.max(turn.now).max(self.session.heartbeat_not_before);
        self.timers.set_by(Timer::Heartbeat, at);
    }

    pub(super) fn heartbeat_answered(
        &mut self,
        turn: &mut Turn<'_>,
        op: Op,
        flight: &Flight,
        is_draining: bool,
        result: Result<HeartbeatAnswer, ScalrError>,
    ) {
        if self.session.heartbeat != Some(op) {
            return;
        }
        self.session.heartbeat = None;
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => return self.heartbeat_failed(turn, op, flight, error),
        };
        self.session.heartbeat_attempts = 0;
        self.session_proved();
        self.session.is_draining_told |= is_draining;
        for verdict in answer.verdicts {
            self.judge(turn, op, flight.sent, verdict);
        }
        if self.drain.is_none() {
            self.planning.wanted = answer.wanted;
        }
        if answer.wanted > 0 || !self.session.is_ready {
            self.replan(turn);
        }
        self.session.is_ready = true;
        if self.session.wants_verdict {
            self.heartbeat_soon(turn);
        }
        self.poll_messages(turn);
        self.acquire_if_room(turn);
    }

    fn heartbeat_failed(&mut self, turn: &mut Turn<'_>, op: Op, flight: &Flight, error: ScalrError) {
        turn.note(NoteLevel::Warning, format!("a heartbeat failed: {error}"));
        self.session.heartbeat_attempts = self.session.heartbeat_attempts.saturating_add(1);
        match self.scalr_failed(turn, flight, error) {
            // Never slower than the usual beat: leases hang on it.
            Then::Retry(0) => {
                let at = self.retry_at(turn.now, op, self.session.heartbeat_attempts, 0);
                self.timers.set_by(Timer::Heartbeat, at);
            }
            Then::Retry(at_least_ms) => {
                let at = self.retry_at(turn.now, op, 1, at_least_ms);
                // Nothing that wants a verdict soon makes it sooner.
                if !planted(Mutant::HeartbeatHurried) {
                    self.session.heartbeat_not_before = turn.now + at_least_ms;
                }
                self.timers.set(Timer::Heartbeat, at);
            }
            Then::Park | Then::Drop(_) => {}
        }
    }

    /// Takes one verdict, given by the heartbeat `op` that was sent at `sent`.
    fn judge(&mut self, turn: &mut Turn<'_>, op: Op, sent: Millis, said: TaskVerdict) {
        let mut key = TaskAt { id: said.id, fence: said.fence };
        if planted(Mutant::VerdictFenceUnchecked) {
            key = self.board.newest(&key.id).cloned().unwrap_or(key);
        }
        let Some(entry) = self.board.entries.get_mut(&key) else { return };
        entry.is_asked = false;
        let (before, was_held) = (entry.standing, entry.holding.is_some());
        let standing = match said.verdict {
            // What was once confirmed is never touched again, whatever a forgetful server says.
            Verdict::Stale | Verdict::Dead if entry.standing == Standing::Started => Standing::Ended,
            Verdict::Dead if planted(Mutant::DeadVerdictIgnored) => entry.standing,
            Verdict::Stale | Verdict::Dead => Standing::Shut,
            Verdict::Ended if planted(Mutant::EndedReadAsDead) => Standing::Shut,
            Verdict::Claimed if planted(Mutant::ClaimedJobDeleted) => Standing::Shut,
            Verdict::HeldByOther if planted(Mutant::OthersJobDeleted) => Standing::Shut,
            Verdict::Ended => Standing::Ended,
            Verdict::Started => Standing::Started,
            Verdict::Claimed => Standing::Claimed,
            Verdict::HeldByOther => Standing::Other,
            Verdict::Held => Standing::Held,
        };
        // What was learned after the heartbeat was sent stands, unless this is the end.
        let is_older = op <= entry.standing_mark && !standing.is_final();
        let is_back = entry.standing == Standing::Started && !standing.is_final();
        if !entry.standing.is_final() && !is_older && (!is_back || standing == Standing::Started) {
            entry.standing = standing;
            match standing {
                Standing::Held => self.held(turn, op, &key, sent + said.ttl_ms.unwrap_or(0)),
                Standing::Started => self.confirm_loss(turn, op, &key),
                Standing::Unasked
                | Standing::Other
                | Standing::Claimed
                | Standing::Ended
                | Standing::Shut => {}
            }
        }
        // Most verdicts say again what is known, and only lengthen a lease. What is final and asked about has
        // something left to be cleared away.
        let is_news = |entry: &Entry| {
            entry.standing != before
                || entry.standing.is_final()
                || entry.holding.is_some() != was_held
                || entry.is_done()
        };
        if self.board.get(&key).is_some_and(is_news) {
            self.look(turn, &key);
        }
    }

    /// The lease is ours: renewed, or adopted with a Job that an earlier process made.
    fn held(&mut self, turn: &mut Turn<'_>, op: Op, key: &TaskAt, lease_until: Millis) {
        let is_new = self.board.get(key).is_some_and(|entry| entry.holding.is_none());
        if is_new && !planted(Mutant::AdoptedLaunchKept) {
            let order = self.board.next_grant();
            let queued_at = turn.now;
            let now = turn.now;
            if let Some(entry) = self.entry(key) {
                let queued_at = entry.grant.as_ref().map_or(queued_at, |g| now - g.queued_for_ms);
                entry.holding = Some(Holding::new(order, queued_at, lease_until));
                if entry.grant.is_none() && !entry.is_launched {
                    // Nothing tells what it was: it can't be launched, so its Job was all there was.
                    entry.is_launched = true;
                    entry.launched_at = now;
                }
            }
            turn.note_task(NoteLevel::Info, "adopted", key, None);
        }
        let Some(entry) = self.entry(key) else { return };
        if let Some(holding) = &mut entry.holding {
            let had_lapsed = holding.lease_until <= turn.now;
            holding.lease_until = holding.lease_until.max(lease_until);
            if had_lapsed {
                self.replan(turn);
            }
        }
        let failure = self.board.get(key).and_then(|entry| entry.failure.as_ref());
        if let Some((mark, failure)) = failure
            && *mark < op
            && self.drain.is_none()
        {
            let call = DoorCall::failed(key.fence, failure.clone());
            self.shut(turn, key, call);
        }
    }

    /// What the answer of a release or a launch failure says of the task.
    pub(super) fn door_stands(&mut self, turn: &mut Turn<'_>, key: &TaskAt, door: Door) {
        let mark = self.ops.last();
        let Some(entry) = self.entry(key) else { return };
        if !entry.standing.is_final() {
            entry.standing = match door {
                Door::Shut if entry.standing == Standing::Started => Standing::Ended,
                Door::Shut => Standing::Shut,
                Door::Started if planted(Mutant::StartedDoorReadAsShut) => Standing::Shut,
                Door::Started => Standing::Started,
                Door::Claimed if entry.standing == Standing::Started => Standing::Started,
                Door::Claimed => Standing::Claimed,
            };
            entry.standing_mark = mark;
        }
        match door {
            Door::Shut => {}
            Door::Started | Door::Claimed => self.heartbeat_soon(turn),
        }
        self.look(turn, key);
    }
}
