//! A small world: a server with faults until it heals, stages that take their time, signals. Whatever
//! happens, the run comes to its end, and the outcome tells the truth.

use std::collections::BTreeMap;

use proptest::prelude::*;
use scalr_protocol::{
    agent::Action,
    task::{HookPhase, Outcome, Signal},
};

use crate::{
    clock::Millis,
    op::Op,
    supervisor::{
        Supervisor,
        effect::{Stage, StopSignal, TaskCall, TaskEffect},
        input::{TaskAnswer, TaskInput},
        options::TaskOptions,
    },
    task_api::TaskError,
};

use super::{
    monitor::Monitor,
    server::Server,
    stage_model::{Dice, StageModel},
    story::{claim, registration},
    text::Transcript,
};

/// One run: what is asked for, and what goes wrong.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    seed: u64,
    action: Action,
    hooks: Vec<HookPhase>,
    /// How many calls of a hundred go wrong until the server heals.
    trouble: u64,
    /// How many stages of a hundred end badly.
    failures: u64,
    heals_s: u64,
    cancel_s: Option<u64>,
    force_s: Option<u64>,
    /// When, and with which grace.
    stop_s: Option<(u64, u64)>,
    runner_gone_s: Option<u64>,
}

#[derive(Clone, Debug)]
enum Event {
    Input(TaskInput),
    /// A call reaches the server, whose answer is then sent or not.
    Arrives(Op, TaskCall),
    Wake(Millis),
    Cancel(Signal),
}

struct World {
    scenario: Scenario,
    now: Millis,
    dice: Dice,
    heap: BTreeMap<(Millis, u64), Event>,
    pushed: u64,
    supervisor: Supervisor,
    monitor: Monitor,
    transcript: Transcript,
    server: Server,
    stages: StageModel,
    wake: Millis,
    calls: u64,
    is_outcome_sent: bool,
    leave_by: Millis,
    exit: Option<u8>,
}

impl World {
    fn new(scenario: Scenario) -> Self {
        let options = TaskOptions { seed: scenario.seed, ..TaskOptions::default() };
        let mut world = Self {
            now: Millis(0),
            dice: Dice(scenario.seed),
            heap: BTreeMap::new(),
            pushed: 0,
            monitor: Monitor::new(options.log_chunk_bytes_max),
            transcript: Transcript::default(),
            supervisor: Supervisor::new(options),
            server: Server::new(claim(scenario.action, &scenario.hooks)),
            stages: StageModel::default(),
            wake: Millis::NEVER,
            calls: 0,
            is_outcome_sent: false,
            leave_by: Millis::NEVER,
            exit: None,
            scenario,
        };
        world.push(0, Event::Input(TaskInput::Began));
        world.push(700, Event::Input(TaskInput::RunnerReady));
        world
    }

    fn push(&mut self, in_ms: u64, event: Event) {
        self.pushed += 1;
        self.heap.insert((self.now + in_ms, self.pushed), event);
    }

    /// Plays until the process exits.
    fn play(&mut self) {
        let Scenario { cancel_s, force_s, stop_s, runner_gone_s, .. } = self.scenario.clone();
        if let Some(at) = cancel_s {
            self.push(at * 1000, Event::Cancel(Signal::Cancel));
        }
        if let Some(at) = force_s {
            self.push(at * 1000, Event::Cancel(Signal::ForceCancel));
        }
        if let Some((at, grace_s)) = stop_s {
            self.push(at * 1000, Event::Input(TaskInput::Stop { grace_ms: grace_s * 1000 }));
        }
        if let Some(at) = runner_gone_s {
            let detail = "connection closed".to_owned();
            self.push(at * 1000, Event::Input(TaskInput::RunnerGone { detail }));
        }
        for _ in 0..1_000_000 {
            let Some(((at, _), event)) = self.heap.pop_first() else { break };
            self.now = at;
            match event {
                Event::Input(input) => self.step(input),
                Event::Arrives(op, call) => self.arrives(op, &call),
                Event::Wake(at) if at == self.wake => self.step(TaskInput::Wake),
                Event::Wake(_) => {}
                Event::Cancel(signal) => self.server.signals.push(signal),
            }
            if self.exit.is_some() {
                return;
            }
        }
        panic!("it came to no end: {:?}", self.supervisor.status());
    }

    #[expect(clippy::needless_pass_by_value, reason = "inputs are made where they happen")]
    fn step(&mut self, input: TaskInput) {
        match &input {
            TaskInput::Stop { grace_ms } => self.leave_by = self.leave_by.min(self.now + *grace_ms),
            TaskInput::RunnerGone { .. } => {
                // The end of what ran in it may be heard of, or not.
                if let Some((op, end)) = self.stages.runner_gone(&mut self.dice) {
                    self.unschedule(op);
                    if let Some(end) = end {
                        self.push(300, Event::Input(TaskInput::StageEnded { op, end }));
                    }
                }
            }
            // Under a grace the outcome goes out before the end of what was killed is heard of.
            TaskInput::StageEnded { .. } if self.is_outcome_sent => {}
            TaskInput::StageEnded { op, end } => self.stages.ended(*op, end),
            TaskInput::Began
            | TaskInput::Wake
            | TaskInput::RunnerReady
            | TaskInput::Answer { .. }
            | TaskInput::Spooled { .. } => {}
        }
        let mut out = Vec::new();
        let before = self.supervisor.clone();
        self.supervisor.step(self.now, input.clone(), &mut out);
        self.transcript.note(self.now, &input, &out);
        self.monitor.watch(self.now, &before, &self.supervisor, &input, &out);
        for effect in out {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: TaskEffect) {
        match effect {
            TaskEffect::Call { op, call } => {
                self.calls += 1;
                self.is_outcome_sent |= matches!(call, TaskCall::Finish(_));
                let latency_ms = 1 + self.dice.below(200);
                self.push(latency_ms, Event::Arrives(op, call));
            }
            TaskEffect::Begin { op, stage, .. } => self.begin(op, stage),
            TaskEffect::Signal { op, signal } => self.signal(op, signal),
            TaskEffect::Print(line) => {
                self.stages.lines += 1;
                let spooled = self.stages.spool(line.len() as u64 + 1);
                self.push(1, Event::Input(spooled));
            }
            TaskEffect::WakeAt(at) => {
                self.wake = at;
                self.push(at.since(self.now), Event::Wake(at));
            }
            TaskEffect::Exit { code } => self.exit = Some(code),
            TaskEffect::Abandon { .. }
            | TaskEffect::Drain
            | TaskEffect::Log(_)
            | TaskEffect::DismissRunner => {}
        }
    }

    fn is_troubled(&mut self) -> bool {
        self.now < Millis(self.scenario.heals_s * 1000) && self.dice.below(100) < self.scenario.trouble
    }

    fn begin(&mut self, op: Op, stage: Stage) {
        let is_troubled = self.is_troubled();
        let (lasts_ms, end) =
            self.stages.begin(&mut self.dice, op, stage, self.scenario.failures, is_troubled);
        let spooled = self.stages.spool(self.dice.below(3_000_000));
        let half_ms = lasts_ms / 2;
        self.push(half_ms, Event::Input(spooled));
        self.push(lasts_ms, Event::Input(TaskInput::StageEnded { op, end }));
    }

    fn signal(&mut self, op: Op, signal: StopSignal) {
        if let Some((in_ms, end)) = self.stages.signaled(&mut self.dice, op, signal) {
            self.unschedule(op);
            self.push(in_ms + 2, Event::Input(TaskInput::StageEnded { op, end }));
        }
    }

    /// The stage does not end as it would have; what it has written is spooled now.
    fn unschedule(&mut self, op: Op) {
        let spooled = self.stages.spool(0);
        self.push(1, Event::Input(spooled));
        self.heap.retain(|_, event| {
            !matches!(event, Event::Input(TaskInput::StageEnded { op: named, .. }) if *named == op)
        });
    }

    /// The call has its effect or not, and its answer comes, or is lost, or comes twice, or never.
    fn arrives(&mut self, op: Op, call: &TaskCall) {
        let trouble = if self.is_troubled() { self.dice.below(6) } else { 6 };
        let unreachable = TaskError::Unreachable { detail: "reset".to_owned() };
        let answer = match trouble {
            0 => refuse(call, unreachable),
            1 => refuse(call, TaskError::RateLimited { retry_after_ms: self.dice.below(90_000) }),
            2 => return,
            3 => {
                self.server.answer(self.now, call);
                return;
            }
            4 => {
                self.server.answer(self.now, call);
                refuse(call, unreachable)
            }
            _ => self.server.answer(self.now, call),
        };
        let wait_ms = match call {
            // A long poll is held for as long as nothing is to be said.
            TaskCall::Signals { wait_ms, .. } => *wait_ms,
            TaskCall::Register
            | TaskCall::Start
            | TaskCall::Lease { .. }
            | TaskCall::Append { .. }
            | TaskCall::Finish(_) => self.dice.below(200),
        };
        if trouble == 5 {
            self.push(wait_ms + 50, Event::Input(TaskInput::Answer { op, answer: answer.clone() }));
        }
        self.push(wait_ms, Event::Input(TaskInput::Answer { op, answer }));
    }

    fn check_the_end(&self) {
        let Some(code) = self.exit else { panic!("it has not ended") };
        let status = self.supervisor.status();
        assert!(status.is_over && self.now <= self.leave_by, "the grace is kept");
        assert!(self.calls < 500 + self.now.0 / 200, "{} calls in {}", self.calls, self.now);
        let Some(recorded) = &self.server.recorded else {
            let may_fail = !self.server.is_confirmed() || self.leave_by != Millis::NEVER;
            assert!(may_fail, "a confirmed task has an outcome");
            assert!(self.server.is_confirmed() || self.stages.begun == 0, "nothing runs unconfirmed");
            return;
        };
        assert!(code == 0 || self.leave_by != Millis::NEVER, "the outcome was delivered");
        // An outcome that was sent ahead of a stuck log leaves an hour for it.
        if self.leave_by == Millis::NEVER && self.scenario.heals_s < 3_600 {
            assert_eq!(self.server.log, recorded.log_bytes, "the whole log was delivered");
            assert_eq!(self.stages.spooled, recorded.log_bytes, "the outcome has the whole log");
        }
        self.check_the_truth(recorded.outcome, recorded.exit_code);
    }

    fn check_the_truth(&self, outcome: Outcome, exit_code: Option<i32>) {
        let main = self.stages.main_exit;
        match outcome {
            Outcome::Succeeded => {
                assert_eq!((main, exit_code), (Some(0), Some(0)), "a success ran to its end");
                if self.scenario.action == Action::Plan {
                    assert_eq!(self.stages.bad_ends, 0, "a plan is whole");
                }
            }
            Outcome::Canceled => {
                assert!(!self.server.signals.is_empty() && exit_code == main, "somebody canceled it");
                assert!(self.scenario.action == Action::Plan || main != Some(0), "the apply was not done");
            }
            Outcome::Failed => assert!(self.stages.bad_ends > 0, "something said no"),
            Outcome::Errored => {
                let has_reason = self.stages.bad_ends > 0
                    || self.scenario.runner_gone_s.is_some()
                    || self.scenario.stop_s.is_some()
                    || self.now > Millis(1_200_000);
                assert!(has_reason, "something went wrong");
            }
        }
    }
}

fn refuse(call: &TaskCall, error: TaskError) -> TaskAnswer {
    match call {
        TaskCall::Register => TaskAnswer::Registered(Ok(registration())),
        TaskCall::Start => TaskAnswer::Start(Err(error)),
        TaskCall::Lease { .. } => TaskAnswer::Lease(Err(error)),
        TaskCall::Signals { .. } => TaskAnswer::Signals(Err(error)),
        TaskCall::Append { .. } => TaskAnswer::Appended(Err(error)),
        TaskCall::Finish(_) => TaskAnswer::Finish(Err(error)),
    }
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let phases = vec![HookPhase::PreInit, HookPhase::PostPlan, HookPhase::PostApply];
    let sometimes = |within: u64| proptest::option::weighted(0.25, 0..within);
    (
        any::<u64>(),
        prop_oneof![Just(Action::Plan), Just(Action::Apply)],
        proptest::sample::subsequence(phases, 0..=3),
        prop_oneof![2 => Just(0_u64), 3 => 0..60_u64, 1 => Just(100)],
        prop_oneof![2 => Just(0_u64), 1 => 0..40_u64],
        prop_oneof![2 => 0..600_u64, 1 => 0..10_000_u64],
        (sometimes(900), sometimes(900), sometimes(900)),
        proptest::option::weighted(0.25, (0..900_u64, 0..400_u64)),
    )
        .prop_map(|(seed, action, hooks, trouble, failures, heals_s, (cancel, force, gone), stop_s)| {
            Scenario {
                seed,
                action,
                hooks,
                trouble,
                failures,
                heals_s,
                cancel_s: cancel,
                force_s: force,
                stop_s,
                runner_gone_s: gone,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn every_run_comes_to_an_end_that_tells_the_truth(scenario in scenarios()) {
        let mut world = World::new(scenario);
        world.play();
        world.check_the_end();
    }
}

/// A grace of seconds within a cancel: the kill is heard of while the outcome is on its way.
#[test]
fn an_end_that_is_heard_of_after_the_outcome_changes_nothing() {
    let mut world = World::new(Scenario {
        seed: 17_546_012_815_729_087_736,
        action: Action::Apply,
        hooks: vec![HookPhase::PreInit],
        trouble: 0,
        failures: 0,
        heals_s: 742,
        cancel_s: Some(641),
        force_s: None,
        stop_s: Some((738, 7)),
        runner_gone_s: None,
    });
    world.play();
    world.check_the_end();
}
