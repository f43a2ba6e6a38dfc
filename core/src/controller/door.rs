//! Shutting doors and deleting Jobs, in this order.
//!
//! A Job is deleted only when Scalr has said that nothing was or will be confirmed under its fence: by the
//! answer to a release or a launch failure, or by a verdict. It is deleted by UID, and never because of what
//! the cluster says.

use scalr_protocol::agent::{LaunchFailed, Release, TaskAt};

use super::{
    Controller, Turn,
    calls::{Call, Flight, Then},
    effect::{ClusterCall, NoteLevel, ScalrCall},
    entry::{Door as DoorInHand, DoorCall, Entry, Standing},
    options::{DELETE_AGAIN_MS, DOORS_MAX, KNOCK_AGAIN_MS},
    timers::Timer,
};
use crate::{
    clock::Millis,
    cluster::{ClusterError, Job, Uid},
    mutant::{Mutant, planted},
    op::Op,
    scalr::{Door, ScalrError},
};

/// A Job that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Deletion {
    op: Option<Op>,
    sent: Millis,
    attempts: u32,
}

impl Controller {
    /// Shuts the door of a task, unless that is under way.
    pub(super) fn shut(&mut self, turn: &mut Turn<'_>, key: &TaskAt, call: DoorCall) {
        let Some(entry) = self.entry(key) else { return };
        let is_refused = entry.refused_until.is_some_and(|until| turn.now < until);
        if entry.door.is_some() || entry.standing.is_final() || is_refused {
            return;
        }
        entry.door = Some(DoorInHand { call, op: None, attempts: 0 });
        entry.told.hold_due = None;
        self.timers.clear(&Timer::Startup(key.clone()));
        self.index(turn, key);
        self.knock(turn, key);
        if planted(Mutant::DeleteBeforeRelease) {
            self.delete_jobs(turn, key);
        }
    }

    /// Makes the call, or waits for one of few places.
    pub(super) fn knock(&mut self, turn: &mut Turn<'_>, key: &TaskAt) {
        let is_full = self.doors_open.len() >= DOORS_MAX;
        let is_live = self.session.is_live();
        let Some(entry) = self.board.get(key) else { return };
        let Some(door) = &entry.door else { return };
        if door.op.is_some() {
            return;
        }
        if !is_live {
            self.session.park(Timer::Door(key.clone()));
            if self.timers.at(&Timer::Register).is_none() {
                // A stop may have found no reason for a session until now.
                self.timers.set(Timer::Register, turn.now);
            }
            return;
        }
        if is_full {
            self.doors.insert(key.clone());
            return;
        }
        self.doors.remove(key);
        let is_wrong = door.attempts > 0 && planted(Mutant::DoorRetriedUnderNewestFence);
        let newest = if is_wrong { self.board.newest(&key.id) } else { None };
        let fence = newest.unwrap_or(key).fence;
        let (is_for, call) = match &door.call {
            DoorCall::Release(reason) => {
                let release = Release { fence, reason: *reason };
                (Call::Release(key.clone()), ScalrCall::Release(key.id.clone(), release))
            }
            DoorCall::Failed(failed) => {
                let failed = LaunchFailed { fence, ..failed.as_ref().clone() };
                (Call::Failed(key.clone()), ScalrCall::LaunchFailed(key.id.clone(), failed))
            }
        };
        let op = self.call_scalr(turn, is_for, call);
        self.doors_open.insert(op);
        if let Some(door) = self.entry(key).and_then(|entry| entry.door.as_mut()) {
            door.op = Some(op);
        }
    }

    pub(super) fn door_answered(
        &mut self,
        turn: &mut Turn<'_>,
        op: Op,
        flight: &Flight,
        key: &TaskAt,
        result: Result<Door, ScalrError>,
    ) {
        self.doors_open.remove(&op);
        let failed = match result {
            Ok(door) => {
                self.close(key, op);
                self.door_stands(turn, key, door);
                None
            }
            Err(error) => Some(self.scalr_failed(turn, flight, error)),
        };
        if let Some(then) = failed {
            self.door_failed(turn, op, key, &then);
        }
        while self.doors_open.len() < DOORS_MAX
            && self.session.is_live()
            && let Some(next) = self.doors.pop_first()
        {
            self.knock(turn, &next);
        }
    }

    fn door_failed(&mut self, turn: &mut Turn<'_>, op: Op, key: &TaskAt, then: &Then) {
        let Some(entry) = self.entry(key) else { return };
        let Some(door) = entry.door.as_mut().filter(|door| door.op == Some(op)) else { return };
        door.op = None;
        door.attempts = door.attempts.saturating_add(1);
        let attempts = door.attempts;
        match then {
            Then::Retry(at_least_ms) => {
                let at = self.retry_at(turn.now, op, attempts, *at_least_ms);
                self.timers.set(Timer::Door(key.clone()), at);
            }
            Then::Park => self.timers.set(Timer::Door(key.clone()), turn.now),
            Then::Drop(_) => {
                // It is not ours to give back: the next verdict says whose it is.
                entry.door = None;
                entry.refused_until = Some(turn.now + KNOCK_AGAIN_MS);
                if let Some(holding) = &mut entry.holding {
                    holding.lease_until = Millis::default();
                }
                self.heartbeat_soon(turn);
            }
        }
        self.look(turn, key);
    }

    fn close(&mut self, key: &TaskAt, op: Op) {
        if let Some(entry) = self.entry(key)
            && entry.door.as_ref().is_some_and(|door| door.op == Some(op))
        {
            entry.door = None;
        }
    }

    /// Deletes what is left of a task whose door is shut. Finished Jobs are the cluster's to clear away.
    pub(super) fn delete_jobs(&mut self, turn: &mut Turn<'_>, key: &TaskAt) {
        let Some(entry) = self.board.get(key).filter(|_| !planted(Mutant::ShutJobKept)) else { return };
        let doomed: Vec<Uid> = self
            .board
            .jobs_of(entry)
            .filter(|job| !job.is_deleting && self.board.live.contains(&job.uid))
            .filter(|job| {
                self.deletions.get(&job.uid).is_none_or(|deletion| {
                    deletion.op.is_none()
                        && self.timers.at(&Timer::Delete(job.uid.clone())).is_none()
                        && turn.now.since(deletion.sent) >= DELETE_AGAIN_MS
                })
            })
            .map(|job| job.uid.clone())
            .collect();
        for uid in doomed {
            self.delete(turn, &uid, 0);
        }
    }

    fn delete(&mut self, turn: &mut Turn<'_>, uid: &Uid, attempts: u32) {
        let Some(job) = self.board.jobs.get(uid) else { return };
        let key = TaskAt { id: job.task.clone(), fence: job.fence };
        let is_shut = |entry: &Entry| {
            entry.standing == Standing::Shut || (planted(Mutant::DeleteBeforeRelease) && entry.door.is_some())
        };
        if !self.board.get(&key).is_some_and(is_shut) {
            return;
        }
        let Job { name, uid: doomed, .. } = self.board.to_delete(job).clone();
        turn.note_task(NoteLevel::Info, "deleting a Job that can't start", &key, Some(&name));
        let op = self.call_cluster(turn, Call::Delete(uid.clone()), ClusterCall::Delete(name, doomed));
        self.deletions.insert(uid.clone(), Deletion { op: Some(op), sent: turn.now, attempts });
    }

    pub(super) fn delete_again(&mut self, turn: &mut Turn<'_>, uid: &Uid) {
        let attempts = self.deletions.get(uid).map_or(0, |deletion| deletion.attempts);
        self.delete(turn, uid, attempts);
    }

    pub(super) fn deleted(
        &mut self,
        turn: &mut Turn<'_>,
        op: Op,
        uid: &Uid,
        result: Result<(), ClusterError>,
    ) {
        let Some(deletion) = self.deletions.get_mut(uid).filter(|deletion| deletion.op == Some(op)) else {
            return;
        };
        deletion.op = None;
        let at_least_ms = match result {
            Ok(()) => return,
            Err(ClusterError::RateLimited { retry_after_ms }) => {
                self.window.halve(turn.now);
                retry_after_ms
            }
            Err(error) => {
                turn.note(NoteLevel::Warning, format!("deleting a Job failed: {error}"));
                0
            }
        };
        let Some(deletion) = self.deletions.get_mut(uid) else { return };
        deletion.attempts = deletion.attempts.saturating_add(1);
        let attempts = deletion.attempts;
        let at = self.retry_at(turn.now, op, attempts, at_least_ms);
        self.timers.set(Timer::Delete(uid.clone()), at);
    }

    /// A Job is gone: nobody deletes it any more.
    pub(super) fn forget_deletion(&mut self, uid: &Uid) {
        self.deletions.remove(uid);
        self.timers.clear(&Timer::Delete(uid.clone()));
    }
}
