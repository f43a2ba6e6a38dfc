//! What must hold after every step, whatever came in. Every story and every property runs under it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    clock::Millis,
    op::Op,
    supervisor::{
        Supervisor,
        effect::{FinishOutline, Stage, StopSignal, TaskCall, TaskEffect},
        input::{TaskAnswer, TaskInput},
    },
};

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a thing that has happened")]
pub(super) struct Monitor {
    chunk_bytes_max: u64,
    has_begun: bool,
    is_runner_ready: bool,
    is_registered: bool,
    is_confirmed: bool,
    is_stopping: bool,
    is_over: bool,
    /// What is in flight, by kind.
    calls: BTreeMap<&'static str, (Op, TaskCall)>,
    stages: BTreeMap<Op, Stage>,
    begun_user_code: BTreeSet<Stage>,
    running: Option<Op>,
    signals: BTreeSet<(Op, StopSignal)>,
    finish: Option<FinishOutline>,
    spooled: u64,
    acked: u64,
    wake: Option<Millis>,
}

fn kind(call: &TaskCall) -> &'static str {
    match call {
        TaskCall::Register => "register",
        TaskCall::Start => "start",
        TaskCall::Lease { .. } => "lease",
        TaskCall::Signals { .. } => "signals",
        TaskCall::Append { .. } => "append",
        TaskCall::Finish(_) => "finish",
    }
}

impl Monitor {
    pub(super) fn new(chunk_bytes_max: u64) -> Self {
        Self { chunk_bytes_max, ..Self::default() }
    }

    /// Takes in one step that was made.
    #[track_caller]
    pub(super) fn watch(
        &mut self,
        now: Millis,
        before: &Supervisor,
        after: &Supervisor,
        input: &TaskInput,
        out: &[TaskEffect],
    ) {
        if self.is_over {
            assert_eq!((before, out), (after, &[][..]), "after its exit nothing happens");
        }
        self.take_in(input);
        assert!(out.len() <= 24, "a step does a bounded number of things: {out:#?}");
        if self.wake.is_some_and(|at| at <= now) {
            self.wake = None;
        }
        for effect in out {
            assert!(!self.is_over, "the exit is the last effect: {out:#?}");
            self.check(now, effect);
        }
        assert!(
            self.is_over || !self.has_begun || self.wake.is_some(),
            "it always has something to wait for"
        );
        let mut again = Vec::new();
        after.clone().step(now, TaskInput::Wake, &mut again);
        assert_eq!(again, [], "a step does all that is due");
    }

    fn take_in(&mut self, input: &TaskInput) {
        match input {
            TaskInput::Began => self.has_begun = true,
            TaskInput::RunnerReady => self.is_runner_ready = true,
            TaskInput::Spooled { bytes, .. } => self.spooled = self.spooled.max(*bytes),
            TaskInput::StageEnded { op, .. } => self.running = self.running.filter(|running| running != op),
            TaskInput::Answer { op, answer } => self.answered(*op, answer),
            // What ran in it has ended with it, whether its end is heard of or not.
            TaskInput::RunnerGone { .. } => {
                self.running = self.running.filter(|op| !self.stages[op].is_user_code());
            }
            TaskInput::Wake | TaskInput::Stop { .. } => {}
        }
    }

    fn answered(&mut self, op: Op, answer: &TaskAnswer) {
        let of = match answer {
            TaskAnswer::Registered(_) => "register",
            TaskAnswer::Start(_) => "start",
            TaskAnswer::Lease(_) => "lease",
            TaskAnswer::Signals(_) => "signals",
            TaskAnswer::Appended(_) => "append",
            TaskAnswer::Finish(_) => "finish",
        };
        if self.calls.get(of).is_none_or(|(named, _)| *named != op) {
            return;
        }
        self.calls.remove(of);
        match answer {
            TaskAnswer::Registered(result) => self.is_registered |= result.is_ok(),
            TaskAnswer::Lease(result) => self.is_confirmed |= result.is_ok(),
            TaskAnswer::Appended(Ok(bytes)) if *bytes <= self.spooled => self.acked = *bytes,
            TaskAnswer::Finish(Ok(finished)) => match finished {
                scalr_protocol::task::Finished::Whole => {}
                scalr_protocol::task::Finished::LogIncomplete { log_bytes }
                | scalr_protocol::task::Finished::Late { log_bytes } => self.acked = *log_bytes,
            },
            TaskAnswer::Start(_)
            | TaskAnswer::Signals(_)
            | TaskAnswer::Appended(_)
            | TaskAnswer::Finish(Err(_)) => {}
        }
    }

    fn check(&mut self, now: Millis, effect: &TaskEffect) {
        match effect {
            TaskEffect::Call { op, call } => self.called(*op, call),
            TaskEffect::Abandon { op } => {
                let before = self.calls.len();
                self.calls.retain(|_, (named, _)| named != op);
                assert_eq!(self.calls.len() + 1, before, "only what is in flight is abandoned");
            }
            TaskEffect::Begin { op, stage, .. } => self.begun(*op, *stage),
            TaskEffect::Signal { op, signal } => self.signaled(*op, *signal),
            TaskEffect::Drain => {
                assert!(!self.is_stopping, "a stop begins once");
                self.is_stopping = true;
            }
            TaskEffect::WakeAt(at) => {
                assert!(*at > now, "a moment that has passed makes the shell spin");
                assert_ne!(self.wake, Some(*at), "only a changed moment is said");
                self.wake = Some(*at);
            }
            TaskEffect::Exit { .. } => {
                assert!(self.calls.is_empty(), "what is in flight is abandoned: {:?}", self.calls);
                self.is_over = true;
            }
            TaskEffect::Print(_) | TaskEffect::Log(_) | TaskEffect::DismissRunner => {}
        }
    }

    fn called(&mut self, op: Op, call: &TaskCall) {
        match call {
            TaskCall::Register => {}
            TaskCall::Start => {
                assert!(self.is_runner_ready && self.is_registered, "claims only what can be run");
            }
            TaskCall::Lease { phase } => {
                assert_eq!(phase == "confirm", !self.is_confirmed, "the first lease is the confirm");
            }
            TaskCall::Signals { .. } => assert!(self.is_confirmed),
            TaskCall::Append { from, to } => {
                assert!(self.is_confirmed, "no byte before the confirm");
                assert_eq!(*from, self.acked, "an append begins where the server is");
                assert!(from < to && *to <= self.spooled && to - from <= self.chunk_bytes_max);
            }
            TaskCall::Finish(outline) => {
                assert!(self.is_confirmed && self.running.is_none(), "an outcome only after the work");
                assert!(outline.log_bytes <= self.spooled);
                let first = self.finish.get_or_insert_with(|| outline.clone());
                assert_eq!(first, outline, "there is one outcome");
            }
        }
        let old = self.calls.insert(kind(call), (op, call.clone()));
        assert_eq!(old, None, "one call of a kind at a time");
    }

    fn begun(&mut self, op: Op, stage: Stage) {
        assert!(self.is_confirmed, "nothing begins before the confirm is acknowledged");
        assert!(self.finish.is_none(), "nothing begins after the outcome");
        if stage.is_user_code() {
            assert!(!self.is_stopping || stage == Stage::PushState, "{} after a stop", stage.name());
            assert!(self.begun_user_code.insert(stage), "{} begins a second time", stage.name());
        }
        self.stages.insert(op, stage);
        self.running = Some(op);
    }

    fn signaled(&mut self, op: Op, signal: StopSignal) {
        let stage = self.stages.get(&op).expect("only what has begun is signaled");
        assert!(self.signals.insert((op, signal)), "{} gets a second {signal:?}", stage.name());
        assert!(!self.signals.contains(&(op, StopSignal::Kill)) || signal == StopSignal::Kill);
        if !matches!(stage, Stage::Hooks(_)) {
            assert_ne!(signal, StopSignal::Terminate, "for a tool it is the second interrupt");
        }
        // A stage that was given up is over for us.
        if signal == StopSignal::Kill {
            self.running = self.running.filter(|running| *running != op);
        }
    }
}
