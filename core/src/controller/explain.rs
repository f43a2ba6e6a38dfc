//! What people may ask: why a task waits, and how things stand.

use scalr_protocol::id::TaskId;

use super::{
    Controller,
    entry::{Entry, Standing},
};
use crate::{clock::Millis, scheduler::HoldReason};

/// How things stand, for logs and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Status {
    /// Tasks that wait here for a Job.
    pub held: usize,
    /// Jobs in the namespace that are not over, whoever launched them.
    pub live: usize,
    /// Jobs that are being made, or may have been.
    pub creating: usize,
    /// How many own Jobs may wait for their pods.
    pub window: u32,
    /// How many more Jobs could be launched now.
    pub free: u32,
    /// Whether Scalr has answered for everything that is here.
    pub is_ready: bool,
    /// Whether it is stopping.
    pub is_draining: bool,
}

/// How much is remembered, in entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Remembered {
    /// Tasks under fences.
    pub entries: usize,
    /// Jobs and pods.
    pub objects: usize,
    /// Calls under way.
    pub calls: usize,
    /// Timers.
    pub timers: usize,
    /// Doors and deletions under way or waiting.
    pub doors: usize,
    /// Events that wait to be told.
    pub events: usize,
}

impl Controller {
    /// How much is remembered: no more than what lives asks for, but for a bounded number of ends.
    pub fn remembered(&self) -> Remembered {
        let indexes = [
            self.board.queue.len(),
            self.board.live.len(),
            self.board.ghosts.len(),
            self.board.uncertain.len(),
            self.board.closing.len(),
            self.board.podless.len(),
        ];
        Remembered {
            entries: self.board.entries.len().max(indexes.into_iter().max().unwrap_or(0)),
            objects: self.board.jobs.len() + self.board.pods.len(),
            calls: self.calls.len(),
            timers: self.timers.len(),
            doors: self.doors.len() + self.doors_open.len() + self.deletions.len(),
            events: self.outbox.len(),
        }
    }

    /// Why a task that waits here for its Job does so, by the last plan.
    pub fn hold_reason(&self, task: &TaskId) -> Option<&HoldReason> {
        let entry = self.board.get(self.board.newest(task)?)?;
        entry.holding.as_ref().filter(|_| entry.is_queued())?.reason.as_ref()
    }

    /// How things stand.
    pub fn status(&self) -> Status {
        Status {
            held: self.board.queue.len(),
            live: self.board.live.len(),
            creating: self.board.ghosts.len(),
            window: self.window.size(),
            free: self.capacity().free,
            is_ready: self.session.is_ready,
            is_draining: self.drain.is_some(),
        }
    }

    /// Why a task that is here has not started, in one sentence; nothing of one that is not here or needs no
    /// launching any more.
    pub fn explain(&self, now: Millis, task: &TaskId) -> Option<String> {
        let key = self.board.newest(task)?;
        let entry = self.board.get(key)?;
        match entry.standing {
            Standing::Claimed => return Some("a worker has claimed it and is about to start it".to_owned()),
            Standing::Started | Standing::Ended | Standing::Shut | Standing::Other => return None,
            Standing::Unasked | Standing::Held => {}
        }
        let holding = entry.holding.as_ref()?;
        if entry.door.is_some() {
            return Some("it is being given back to Scalr".to_owned());
        }
        if entry.is_launched {
            let since = now.since(entry.launched_at) / 1_000;
            let trouble = self.board.pods_of(entry).find_map(|pod| pod.trouble.as_ref());
            let podless = self.podless_trouble(entry);
            let state = match trouble.map(|t| &t.message).or(podless.map(|t| &t.message)) {
                Some(message) => message.as_str(),
                None if !entry.had_pod => "it has no pod yet",
                None => "its worker has not claimed it yet",
            };
            return Some(format!("its Job was made {since} s ago: {state}"));
        }
        if let Some(creation) = &entry.creation {
            let since = now.since(creation.sent) / 1_000;
            return Some(format!("its Job is being made, {since} s ago for the last time"));
        }
        let Some(reason) = &holding.reason else {
            return Some("it has just arrived and is about to be planned".to_owned());
        };
        let ahead = self.planning.order.iter().take_while(|other| *other != key);
        let ahead = ahead.filter(|other| self.board.get(other).is_some_and(Entry::is_queued)).count();
        Some(format!("number {} of {} waiting here: {reason}", ahead + 1, self.board.queue.len()))
    }
}
