//! One task, seen through: claim, confirm, stages, stop, finish.
//!
//! It sees lengths and exits, never bytes, and counts the console as spooled, after masking. One `step` for
//! each thing that happened; it never blocks, never fails and never looks at anything but its arguments
//! and itself.
//!
//! A step first notes what the input says, then does everything that has become due: a second step at the
//! same moment, with nothing new, does nothing. In reading order: `claim` (from the begin to the confirm),
//! `lease` (renewals and signals), `stages` (what there is to do), `work` (one after the other), `stop`,
//! `console`, `finish`, `timers`; `slot` is the one way in which a call is made again, `options` holds every
//! bound.
//!
//! What the shell owes it, besides the contracts at the inputs and effects: `Spooled` for all output of a
//! stage before that stage's `StageEnded`; `Spooled` after each `Print`; an end for every `Begin`, also one
//! that was killed; the digest in a finish over exactly `log_bytes` bytes.

pub mod effect;
pub mod input;
pub mod options;

mod claim;
mod console;
mod finish;
mod lease;
mod slot;
mod stages;
mod stop;
mod timers;
mod work;

#[cfg(test)]
mod tests;

use crate::{
    clock::Millis,
    controller::effect::{Note, NoteLevel},
    op::{Op, Ops},
};

use console::Console;
use effect::TaskEffect;
use finish::Delivery;
use input::{Claim, TaskAnswer, TaskInput};
use lease::{Renewal, SignalPoll};
use options::TaskOptions;
use slot::{Slot, SlotKind};
use stages::Work;
use stop::{Grace, Stop};

/// How far the task has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase {
    /// Not yet begun.
    New,
    /// Nothing is ours yet.
    Claiming,
    /// The task may be ours; nothing may run.
    Confirming,
    /// Stages run.
    Working,
    /// The outcome is decided.
    Delivering,
    /// The process has been told to exit; nothing happens any more.
    Over,
}

/// Whether commands can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Runner {
    Awaited,
    Ready,
    Gone,
}

/// The brain of one worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Supervisor {
    options: TaskOptions,
    ops: Ops,
    phase: Phase,
    began: Millis,
    runner: Runner,
    register: Slot,
    is_registered: bool,
    start: Slot,
    claim: Option<Claim>,
    /// When the confirm was acknowledged; the operation timeout counts from here.
    confirmed: Millis,
    renewal: Renewal,
    signals: SignalPoll,
    has_met_unknown_signal: bool,
    work: Work,
    stop: Option<Stop>,
    grace: Option<Grace>,
    console: Console,
    delivery: Delivery,
    /// The last `WakeAt` that was asked for and has not come.
    wake: Millis,
}

/// What a person would want to know of a Supervisor.
#[expect(clippy::struct_excessive_bools, reason = "a view for people; no decision is taken on it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status {
    /// What it is doing.
    pub phase: &'static str,
    /// Whether the confirm was acknowledged: user code may run, or has.
    pub is_confirmed: bool,
    /// Whether a stop has begun.
    pub is_stopping: bool,
    /// Whether the last renewal got no answer.
    pub is_unreachable: bool,
    /// Bytes of the console that the server does not have yet.
    pub log_bytes_behind: u64,
    /// Whether the process was told to exit.
    pub is_over: bool,
}

impl Supervisor {
    /// A Supervisor to which nothing has happened yet.
    pub fn new(options: TaskOptions) -> Self {
        Self {
            ops: Ops::default(),
            phase: Phase::New,
            began: Millis(0),
            runner: Runner::Awaited,
            register: Slot::new(SlotKind::Register),
            is_registered: false,
            start: Slot::new(SlotKind::Start),
            claim: None,
            confirmed: Millis(0),
            renewal: Renewal::new(),
            signals: SignalPoll::new(),
            has_met_unknown_signal: false,
            work: Work::new(),
            stop: None,
            grace: None,
            console: Console::new(options.log_chunk_bytes_max),
            delivery: Delivery::new(),
            wake: Millis::NEVER,
            options,
        }
    }

    /// Takes in one thing that happened and says, in order, what is to be done about it. Answers that nobody
    /// waits for, and ends of stages that do not run, change nothing.
    pub fn step(&mut self, now: Millis, input: TaskInput, out: &mut Vec<TaskEffect>) {
        if self.phase == Phase::Over {
            return;
        }
        self.note(now, input, out);
        self.expire(now, out);
        self.leave_in_time(now, out);
        self.advance_claim(now, out);
        self.advance_work(now, out);
        self.advance_lease(now, out);
        self.advance_console(now, out);
        self.advance_delivery(now, out);
        self.set_wake(now, out);
    }

    /// What it is doing, in a word: the phase of its leases.
    pub fn phase(&self) -> &'static str {
        match self.phase {
            Phase::New => "new",
            Phase::Claiming => "claim",
            Phase::Confirming => "confirm",
            Phase::Working => {
                let running = self.work.running.map(|running| running.stage);
                running.or(self.work.queue.front().copied()).map_or("work", effect::Stage::name)
            }
            Phase::Delivering => "finish",
            Phase::Over => "over",
        }
    }

    /// What a person would want to know.
    pub fn status(&self) -> Status {
        Status {
            phase: self.phase(),
            is_confirmed: self.phase != Phase::Over && self.phase > Phase::Confirming,
            is_stopping: self.is_stopping(),
            is_unreachable: self.renewal.is_unreachable(),
            log_bytes_behind: self.console.behind(),
            is_over: self.phase == Phase::Over,
        }
    }

    fn note(&mut self, now: Millis, input: TaskInput, out: &mut Vec<TaskEffect>) {
        match input {
            TaskInput::Began => self.began(now),
            TaskInput::Wake => {}
            TaskInput::RunnerReady => self.runner_ready(),
            TaskInput::RunnerGone { detail } => self.runner_gone(now, &detail, out),
            TaskInput::Answer { op, answer } => self.answered(now, op, answer, out),
            TaskInput::StageEnded { op, end } => self.stage_ended(now, op, end, out),
            TaskInput::Spooled { bytes, lines } => self.console.grew(bytes, lines),
            TaskInput::Stop { grace_ms } => self.told_to_stop(now, grace_ms, out),
        }
    }

    /// Hands an answer to whoever asked; one that answers no call in flight is dropped.
    fn answered(&mut self, now: Millis, op: Op, answer: TaskAnswer, out: &mut Vec<TaskEffect>) {
        match answer {
            TaskAnswer::Registered(answer) => {
                if self.register.take(op) {
                    self.registered(now, answer, out);
                }
            }
            TaskAnswer::Start(answer) => {
                if self.start.take(op) {
                    self.started(now, answer, out);
                }
            }
            TaskAnswer::Lease(answer) => {
                if self.renewal.slot.take(op) {
                    self.lease_answered(now, answer, out);
                }
            }
            TaskAnswer::Signals(answer) => {
                if self.signals.slot.take(op) {
                    self.signals_answered(now, answer, out);
                }
            }
            TaskAnswer::Appended(answer) => {
                if self.console.slot.take(op) {
                    self.appended(now, answer, out);
                }
            }
            TaskAnswer::Finish(answer) => {
                if self.delivery.slot.take(op) {
                    self.finish_answered(now, answer, out);
                }
            }
        }
    }

    /// Calls whose answer does not come have failed like those that nobody answered.
    fn expire(&mut self, now: Millis, out: &mut Vec<TaskEffect>) {
        if self.register.expire(now, out) {
            self.registered(now, Err(slot::no_registration()), out);
        }
        if self.start.expire(now, out) {
            self.started(now, Err(slot::no_answer()), out);
        }
        if self.renewal.slot.expire(now, out) {
            self.lease_answered(now, Err(slot::no_answer()), out);
        }
        if self.signals.slot.expire(now, out) {
            self.signals_answered(now, Err(slot::no_answer()), out);
        }
        if self.console.slot.expire(now, out) {
            self.appended(now, Err(slot::no_answer()), out);
        }
        if self.delivery.slot.expire(now, out) {
            self.finish_answered(now, Err(slot::no_answer()), out);
        }
    }

    /// Ends it: the runner may go, nobody's answer is wanted any more.
    fn exit(&mut self, code: u8, out: &mut Vec<TaskEffect>) {
        self.phase = Phase::Over;
        out.push(TaskEffect::DismissRunner);
        let slots = [
            &mut self.register,
            &mut self.start,
            &mut self.renewal.slot,
            &mut self.signals.slot,
            &mut self.console.slot,
            &mut self.delivery.slot,
        ];
        for slot in slots {
            slot.abandon(out);
        }
        out.push(TaskEffect::Exit { code });
    }

    #[expect(clippy::unused_self, reason = "reads like the other effects where it is called")]
    fn log(&self, level: NoteLevel, message: &str, out: &mut Vec<TaskEffect>) {
        out.push(TaskEffect::Log(Note { level, message: message.to_owned(), task: None, job: None }));
    }
}
