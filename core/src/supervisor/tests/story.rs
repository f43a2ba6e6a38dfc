//! One Supervisor, told what happens, and what it wants, as text.

use expect_test::Expect;
use scalr_protocol::{
    agent::Action,
    id::AgentId,
    task::{Finished, HookPhase, LeaseAnswer, Signal, Signals, TaskErrorCode},
};

use crate::{
    clock::Millis,
    op::Op,
    scalr::Registration,
    supervisor::{
        Supervisor,
        effect::{Stage, TaskCall, TaskEffect},
        input::{Claim, StageEnd, StageFacts, TaskAnswer, TaskInput},
        options::TaskOptions,
    },
    task_api::TaskError,
};

use super::{monitor::Monitor, text};

/// Options of every story: the defaults.
pub(super) fn options() -> TaskOptions {
    TaskOptions { seed: 7, ..TaskOptions::default() }
}

/// A claim with the server's usual times and an operation timeout of one hour.
pub(super) fn claim(action: Action, hooks: &[HookPhase]) -> Claim {
    Claim {
        action,
        is_dry: false,
        hooks: hooks.iter().map(|phase| (*phase, 1)).collect(),
        operation_timeout_ms: 3_600_000,
        lease_ttl_ms: 60_000,
        renew_ms: 20_000,
        lost_after_ms: 1_800_000,
    }
}

pub(super) fn registration() -> Registration {
    Registration { agent: AgentId::new("agent-1").expect("an id"), heartbeat_ms: 10_000, wait_ms_max: 30_000 }
}

pub(super) fn unreachable() -> TaskError {
    TaskError::Unreachable { detail: "connection refused".to_owned() }
}

pub(super) fn done() -> StageEnd {
    StageEnd::Done(StageFacts::default())
}

pub(super) fn failed(code: TaskErrorCode, exit_code: i32) -> StageEnd {
    let facts = StageFacts::default();
    StageEnd::Failed { code, message: "it said no".to_owned(), exit_code: Some(exit_code), facts }
}

pub(super) struct Story {
    pub(super) supervisor: Supervisor,
    pub(super) now: Millis,
    lines: Vec<String>,
    monitor: Monitor,
    /// Answer renewals, and say nothing of them, of polls and of wakes.
    is_serving: bool,
    is_silent: bool,
    wake: Option<Millis>,
    stage: Option<(Op, Stage)>,
    calls: Vec<(Op, TaskCall)>,
    pub(super) is_over: bool,
    /// How many lines it has printed: all of them are in whatever is spooled next.
    printed: u32,
    /// All that has happened, in order.
    #[cfg(feature = "mutants")]
    pub(super) script: Vec<(Millis, TaskInput)>,
}

impl Story {
    pub(super) fn new() -> Self {
        Self::with(options())
    }

    pub(super) fn with(options: TaskOptions) -> Self {
        Self {
            monitor: Monitor::new(options.log_chunk_bytes_max),
            supervisor: Supervisor::new(options),
            now: Millis(0),
            lines: Vec::new(),
            is_serving: false,
            is_silent: false,
            wake: None,
            stage: None,
            calls: Vec::new(),
            is_over: false,
            printed: 0,
            #[cfg(feature = "mutants")]
            script: Vec::new(),
        }
    }

    /// A story that begins where the first stage does, with a server that renews the lease. Time begins at
    /// zero.
    pub(super) fn confirmed(action: Action, hooks: &[HookPhase]) -> Self {
        Self::confirmed_with(options(), claim(action, hooks))
    }

    pub(super) fn confirmed_with(options: TaskOptions, claim: Claim) -> Self {
        let mut story = Self::with(options);
        story.is_silent = true;
        story.is_serving = true;
        story.input(TaskInput::Began);
        story.input(TaskInput::RunnerReady);
        story.answer(TaskAnswer::Registered(Ok(registration())));
        story.answer(TaskAnswer::Start(Ok(claim)));
        story.is_silent = false;
        story
    }

    /// Ends stages well, without a word, until this one runs.
    pub(super) fn until(mut self, stage: Stage) -> Self {
        self.is_silent = true;
        while self.stage.is_some_and(|(_, running)| running != stage) {
            self.end(done());
        }
        assert!(self.stage.is_some(), "the work has no {}", stage.name());
        self.is_silent = false;
        self
    }

    /// From now on nobody answers renewals.
    pub(super) fn server_leaves(&mut self) -> &mut Self {
        self.is_serving = false;
        self
    }

    pub(super) fn server_returns(&mut self) -> &mut Self {
        self.is_serving = true;
        if self.calls.iter().any(|(_, call)| matches!(call, TaskCall::Lease { .. })) {
            self.answer(TaskAnswer::Lease(Ok(LeaseAnswer { ttl_ms: 60_000, signal: None })));
        }
        self
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "inputs are made where they happen")]
    pub(super) fn input(&mut self, input: TaskInput) -> &mut Self {
        if let TaskInput::Answer { op, .. } = &input {
            self.calls.retain(|(named, _)| named != op);
        }
        if let TaskInput::StageEnded { op, .. } = &input {
            self.stage = self.stage.filter(|(named, _)| named != op);
        }
        #[cfg(feature = "mutants")]
        self.script.push((self.now, input.clone()));
        let mut out = Vec::new();
        let before = self.supervisor.clone();
        self.supervisor.step(self.now, input.clone(), &mut out);
        self.monitor.watch(self.now, &before, &self.supervisor, &input, &out);
        let is_quiet = self.is_serving && is_routine(&input, &out);
        if !self.is_silent {
            let line = (!is_quiet).then(|| format!("{} {}", self.now, text::input(&input)));
            self.lines.extend(line);
            let told = out.iter().filter(|effect| !self.is_serving || !is_hidden(effect));
            self.lines.extend(told.map(|effect| format!("    {}", text::effect(effect))));
        }
        for effect in out {
            self.carry_out(effect);
        }
        self.serve();
        self
    }

    fn carry_out(&mut self, effect: TaskEffect) {
        match effect {
            TaskEffect::Call { op, call } => self.calls.push((op, call)),
            TaskEffect::Abandon { op } => self.calls.retain(|(named, _)| *named != op),
            TaskEffect::Begin { op, stage, .. } => self.stage = Some((op, stage)),
            TaskEffect::WakeAt(at) => self.wake = Some(at),
            TaskEffect::Exit { .. } => self.is_over = true,
            TaskEffect::Print(_) => self.printed += 1,
            TaskEffect::Signal { .. }
            | TaskEffect::Drain
            | TaskEffect::Log(_)
            | TaskEffect::DismissRunner => {}
        }
    }

    fn serve(&mut self) {
        let lease = self.calls.iter().find(|(_, call)| matches!(call, TaskCall::Lease { .. }));
        if self.is_serving
            && let Some((op, _)) = lease
        {
            let answer = TaskAnswer::Lease(Ok(LeaseAnswer { ttl_ms: 60_000, signal: None }));
            self.input(TaskInput::Answer { op: *op, answer });
        }
    }

    /// Answers the call in flight that takes such an answer.
    #[track_caller]
    pub(super) fn answer(&mut self, answer: TaskAnswer) -> &mut Self {
        let op = self
            .calls
            .iter()
            .find(|(_, call)| {
                matches!(
                    (call, &answer),
                    (TaskCall::Register, TaskAnswer::Registered(_))
                        | (TaskCall::Start, TaskAnswer::Start(_))
                        | (TaskCall::Lease { .. }, TaskAnswer::Lease(_))
                        | (TaskCall::Signals { .. }, TaskAnswer::Signals(_))
                        | (TaskCall::Append { .. }, TaskAnswer::Appended(_))
                        | (TaskCall::Finish(_), TaskAnswer::Finish(_))
                )
            })
            .map(|(op, _)| *op);
        let op = op.unwrap_or_else(|| panic!("no call awaits {answer:?}\n{}", self.text()));
        self.input(TaskInput::Answer { op, answer })
    }

    #[track_caller]
    pub(super) fn signal(&mut self, signal: Signal) -> &mut Self {
        self.answer(TaskAnswer::Signals(Ok(Signals { last: 1, signals: vec![signal] })))
    }

    /// The same after the pause between two polls.
    #[track_caller]
    pub(super) fn signal_again(&mut self, signal: Signal) -> &mut Self {
        self.pass_s(1).signal(signal)
    }

    #[track_caller]
    pub(super) fn appended(&mut self, answer: Result<u64, TaskError>) -> &mut Self {
        self.answer(TaskAnswer::Appended(answer))
    }

    #[track_caller]
    pub(super) fn finished(&mut self, answer: Result<Finished, TaskError>) -> &mut Self {
        self.answer(TaskAnswer::Finish(answer))
    }

    /// Ends the running stage.
    #[track_caller]
    pub(super) fn end(&mut self, end: StageEnd) -> &mut Self {
        let Some((op, _)) = self.stage else { panic!("nothing runs\n{}", self.text()) };
        self.input(TaskInput::StageEnded { op, end })
    }

    pub(super) fn spooled(&mut self, bytes: u64) -> &mut Self {
        let lines = self.printed;
        self.input(TaskInput::Spooled { bytes, lines })
    }

    /// The console grows by what the tool has written, and the last line of ours is not in it yet.
    pub(super) fn spooled_without_our_line(&mut self, bytes: u64) -> &mut Self {
        let lines = self.printed.saturating_sub(1);
        self.input(TaskInput::Spooled { bytes, lines })
    }

    pub(super) fn stop(&mut self, grace_s: u64) -> &mut Self {
        self.input(TaskInput::Stop { grace_ms: grace_s * 1000 })
    }

    /// Lets time pass, waking the Supervisor whenever it asked to be.
    pub(super) fn pass(&mut self, ms: u64) -> &mut Self {
        let end = self.now + ms;
        while let Some(at) = self.wake.filter(|at| *at <= end && !self.is_over) {
            self.wake = None;
            self.now = self.now.max(at);
            self.input(TaskInput::Wake);
        }
        self.now = end;
        self
    }

    /// Lets time pass until a call of this name is in flight.
    #[track_caller]
    pub(super) fn pass_until(&mut self, call: &str) -> &mut Self {
        while !self.calls.iter().any(|(_, made)| text::call(made).starts_with(call)) {
            let Some(at) = self.wake else { panic!("nothing is to come\n{}", self.text()) };
            self.pass(at.since(self.now));
        }
        self
    }

    pub(super) fn pass_s(&mut self, seconds: u64) -> &mut Self {
        self.pass(seconds * 1000)
    }

    /// Leaves out what was said so far.
    pub(super) fn forget(&mut self) -> &mut Self {
        self.lines.clear();
        self
    }

    /// Leaves out all effects but those that contain one of the words; what came in is left out too.
    pub(super) fn forget_all_but(&mut self, words: &[&str]) -> &mut Self {
        let mut moment = String::new();
        let mut kept = Vec::new();
        for line in &self.lines {
            match line.strip_prefix("    ") {
                Some(effect) if words.iter().any(|word| effect.contains(word)) => {
                    kept.push(format!("{moment} {effect}"));
                }
                Some(_) => {}
                None => moment = line.split(' ').next().unwrap_or("").to_owned(),
            }
        }
        self.lines = kept;
        self
    }

    fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line, "\n"]).collect()
    }

    /// The last thing that was wanted ends in this.
    #[track_caller]
    pub(super) fn expect_text(&self, end: &str) {
        assert!(self.text().contains(end), "{}", self.text());
    }

    /// It has told the process to exit with this code, and has wanted nothing of the kinds named.
    #[track_caller]
    pub(super) fn expect_exit(&self, code: u8, unwanted: &[&str]) {
        assert_eq!(self.lines.last(), Some(&format!("    exit {code}")), "{}", self.text());
        for effect in self.lines.iter().filter(|line| line.starts_with("    op")) {
            assert!(unwanted.iter().all(|word| !effect.contains(word)), "{}", self.text());
        }
    }

    /// Nobody answers the append, if one is in flight.
    pub(super) fn fail_append(&mut self) -> &mut Self {
        if self.calls.iter().any(|(_, call)| matches!(call, TaskCall::Append { .. })) {
            self.appended(Err(unreachable()));
        }
        self
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "reads as one call with the macro")]
    pub(super) fn check(&mut self, expected: Expect) -> &mut Self {
        expected.assert_eq(&self.text());
        self.forget()
    }
}

/// Whether a server that serves makes this not worth a line.
fn is_routine(input: &TaskInput, out: &[TaskEffect]) -> bool {
    match input {
        TaskInput::Wake => out.iter().all(is_hidden),
        TaskInput::Answer { answer: TaskAnswer::Lease(Ok(answer)), .. } => answer.signal.is_none(),
        TaskInput::Answer { .. }
        | TaskInput::Began
        | TaskInput::RunnerReady
        | TaskInput::RunnerGone { .. }
        | TaskInput::StageEnded { .. }
        | TaskInput::Spooled { .. }
        | TaskInput::Stop { .. } => false,
    }
}

/// What would only be noise in a story about something else.
fn is_hidden(effect: &TaskEffect) -> bool {
    match effect {
        TaskEffect::WakeAt(_) | TaskEffect::Abandon { .. } => true,
        TaskEffect::Call { call, .. } => matches!(call, TaskCall::Lease { .. } | TaskCall::Signals { .. }),
        TaskEffect::Begin { .. }
        | TaskEffect::Signal { .. }
        | TaskEffect::Drain
        | TaskEffect::Print(_)
        | TaskEffect::Log(_)
        | TaskEffect::DismissRunner
        | TaskEffect::Exit { .. } => false,
    }
}
