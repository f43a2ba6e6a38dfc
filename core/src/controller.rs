//! Dispatch: which of the held tasks becomes a Job, when, and what becomes of those that don't.
//!
//! One `step` for each thing that happened. It never blocks, never fails and never looks at anything but
//! its arguments and itself.
//!
//! Facts come in by [`session`] (Scalr), [`watch`] (the cluster) and [`timers`]; they land on the [`board`],
//! one entry for each task under each fence. After every change of an entry, `look` draws what follows from
//! it: [`launch`] before the start, [`loss`] after it, [`door`] where a door has to be shut. What waits for
//! a Job is planned all at once, in [`planning`].

pub mod effect;
pub mod input;
pub mod options;

mod acquire;
mod board;
mod calls;
mod create;
mod door;
mod drain;
mod entry;
mod events;
mod explain;
mod feeds;
mod heartbeat;
mod launch;
mod loss;
mod name;
mod planning;
mod session;
mod timers;
mod unanswered;
mod watch;
mod window;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use scalr_protocol::agent::TaskAt;

use self::{
    board::Board,
    calls::Calls,
    door::Deletion,
    drain::Drain,
    effect::{ControllerExit, Effect, Note, NoteLevel},
    entry::{Entry, Standing},
    events::Outbox,
    input::Input,
    planning::Planning,
    session::Session,
    timers::{Timer, Timers},
    watch::Feed,
    window::Window,
};
pub use self::{
    explain::{Remembered, Status},
    options::ControllerOptions,
};
use crate::{
    clock::Millis,
    cluster::{JobName, Kind, Uid},
    mutant::{Mutant, planted},
    op::{Op, Ops},
};

/// The brain that dispatches. It remembers nothing that Scalr and the cluster could not tell a new one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Controller {
    options: ControllerOptions,
    ops: Ops,
    calls: Calls,
    timers: Timers,
    /// The moment that was last asked for.
    armed: Option<Millis>,
    /// The latest moment that was told: time never goes back.
    now: Millis,
    session: Session,
    jobs: Feed,
    pods: Feed,
    board: Board,
    window: Window,
    planning: Planning,
    outbox: Outbox,
    /// Doors that wait for one of few places.
    doors: BTreeSet<TaskAt>,
    doors_open: BTreeSet<Op>,
    deletions: BTreeMap<Uid, Deletion>,
    drain: Option<Drain>,
    has_begun: bool,
    over: Option<ControllerExit>,
}

/// One step in the making.
struct Turn<'a> {
    now: Millis,
    out: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    fn note(&mut self, level: NoteLevel, message: impl Into<String>) {
        self.out.push(Effect::Log(Note { level, message: message.into(), task: None, job: None }));
    }

    fn note_task(
        &mut self,
        level: NoteLevel,
        message: impl Into<String>,
        key: &TaskAt,
        job: Option<&JobName>,
    ) {
        let (task, job) = (Some(key.id.clone()), job.cloned());
        self.out.push(Effect::Log(Note { level, message: message.into(), task, job }));
    }
}

impl Controller {
    /// One that knows nothing yet. Its first input is [`Input::Began`].
    pub fn new(options: ControllerOptions) -> Self {
        Self {
            options,
            ops: Ops::default(),
            calls: Calls::default(),
            timers: Timers::default(),
            armed: None,
            now: Millis::default(),
            session: Session::default(),
            jobs: Feed::new(Kind::Jobs),
            pods: Feed::new(Kind::Pods),
            board: Board::default(),
            window: Window::default(),
            planning: Planning::default(),
            outbox: Outbox::default(),
            doors: BTreeSet::new(),
            doors_open: BTreeSet::new(),
            deletions: BTreeMap::new(),
            drain: None,
            has_begun: false,
            over: None,
        }
    }

    /// Takes one thing that happened and adds what is to be done about it. Total: anything may come at any
    /// time, and what makes no sense changes nothing.
    pub fn step(&mut self, now: Millis, input: Input, out: &mut Vec<Effect>) {
        if self.over.is_some() {
            return;
        }
        self.now = self.now.max(now);
        let mut turn = Turn { now: self.now, out };
        let turn = &mut turn;
        match input {
            Input::Began => self.begin(turn),
            Input::Wake => {
                self.armed = None;
                for timer in self.timers.take_due(turn.now) {
                    self.fire(turn, timer);
                }
            }
            Input::Answer { op, answer } => self.answered(turn, op, answer),
            Input::Watched { op, kind, event } => self.watched(turn, op, kind, event),
            Input::Stop { grace_ms } => self.stop(turn, grace_ms),
            Input::Paused(is_paused) => self.pause(turn, is_paused),
        }
        self.finish_drain(turn);
        match &self.over {
            // Nothing comes after it.
            Some(exit) => turn.out.push(Effect::Exit(exit.clone())),
            None => self.arm(turn),
        }
    }

    fn begin(&mut self, turn: &mut Turn<'_>) {
        if self.has_begun {
            return;
        }
        self.has_begun = true;
        self.feed(turn, Kind::Jobs);
        self.feed(turn, Kind::Pods);
        self.register(turn);
    }

    fn pause(&mut self, turn: &mut Turn<'_>, is_paused: bool) {
        if self.planning.is_paused != is_paused {
            self.planning.is_paused = is_paused;
            turn.note(NoteLevel::Info, if is_paused { "dispatch paused" } else { "dispatch resumed" });
            self.replan(turn);
        }
    }

    fn fire(&mut self, turn: &mut Turn<'_>, timer: Timer) {
        if self.over.is_some() {
            return;
        }
        if timer.needs_session() && !self.session.is_live() {
            self.session.park(timer);
            return;
        }
        match timer {
            Timer::Plan => self.plan(turn),
            Timer::Register => self.register(turn),
            Timer::Heartbeat => self.heartbeat(turn),
            Timer::Acquire => self.acquire(turn),
            Timer::Messages => self.messages(turn),
            Timer::Events => self.send_events(turn),
            Timer::Deregister => self.deregister(turn),
            Timer::Calls => self.give_up_calls(turn),
            Timer::Feed(kind) => self.feed(turn, kind),
            Timer::Silence(kind) => self.watch_again(turn, kind),
            Timer::Lease => self.lease_lapsed(turn),
            Timer::Gate => self.open_gate(turn),
            Timer::Window => self.check_window(turn),
            Timer::Deadline => self.exit_drained(turn),
            Timer::Create(key) => self.create_again(turn, &key),
            Timer::Retry(key) => self.unblock(turn, &key),
            Timer::Startup(key) => self.startup_elapsed(turn, &key),
            Timer::Door(key) => self.knock(turn, &key),
            Timer::Loss(key) => self.tell_loss(turn, &key),
            Timer::Delete(uid) => self.delete_again(turn, &uid),
        }
    }

    /// Draws what follows from all that is known of a task under a fence. Called after every change of it,
    /// and harmless at any other time.
    fn look(&mut self, turn: &mut Turn<'_>, key: &TaskAt) {
        let Some(entry) = self.board.get(key) else { return };
        match entry.standing {
            Standing::Shut => {
                self.stop_launch(key);
                self.delete_jobs(turn, key);
            }
            Standing::Ended | Standing::Other | Standing::Claimed => self.stop_launch(key),
            Standing::Started => {
                self.stop_launch(key);
                self.look_at_worker(turn, key);
            }
            Standing::Unasked | Standing::Held => self.look_at_launch(turn, key),
        }
        self.index(turn, key);
    }

    /// Brings the indexes in line, and plans again when there is more or less room.
    fn index(&mut self, turn: &mut Turn<'_>, key: &TaskAt) {
        self.count_end(turn.now, key);
        self.board.index(turn.now, key);
        // Not only what this call has changed: a Job that went and a lease that was given up come before it.
        let room = (self.board.occupied(), self.board.podless.len(), self.board.queue.len());
        let has_changed = std::mem::replace(&mut self.planning.room, room) != room;
        if has_changed && !planted(Mutant::RoomOfGoneJobUnplanned) {
            self.replan(turn);
        }
        self.arm_window();
    }

    /// The task is no longer launched from here.
    fn stop_launch(&mut self, key: &TaskAt) {
        self.board.let_go(key);
        for timer in [Timer::Startup(key.clone()), Timer::Retry(key.clone())] {
            self.timers.clear(&timer);
        }
        let Some(entry) = self.board.entries.get_mut(key) else { return };
        entry.startup = None;
        entry.failure = None;
        entry.told.hold_due = None;
        if entry.door.as_ref().is_some_and(|door| door.op.is_none()) {
            entry.door = None;
            self.doors.remove(key);
            self.timers.clear(&Timer::Door(key.clone()));
        }
    }

    fn entry(&mut self, key: &TaskAt) -> Option<&mut Entry> {
        self.board.entries.get_mut(key)
    }

    fn note_job(&self, turn: &mut Turn<'_>, level: NoteLevel, message: impl Into<String>, key: &TaskAt) {
        let name = self.board.get(key).and_then(|entry| entry.name.clone());
        turn.note_task(level, message, key, name.as_ref());
    }

    /// Asks to be woken when the next timer is due, unless that was asked already.
    fn arm(&mut self, turn: &mut Turn<'_>) {
        if let Some(next) = self.timers.next()
            && self.armed != Some(next)
        {
            self.armed = Some(next);
            turn.out.push(Effect::WakeAt(next));
        }
    }
}
