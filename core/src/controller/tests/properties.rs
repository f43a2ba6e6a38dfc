//! What must hold whatever happens: with nonsense for answers, and in a small world with bad luck.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use scalr_protocol::{
    agent::TaskAt,
    id::{AgentId, TaskId},
};

use super::{
    story::options,
    world::{Dice, Namespace, Server, State, Work},
};
use crate::{
    clock::Millis,
    cluster::{ClusterError, Container, Disruption, JobName, Kind, Uid, Version, WatchEnd, WatchEvent},
    controller::{
        Controller, ControllerOptions,
        effect::{ClusterCall, ControllerExit, Effect, ScalrCall},
        input::{Answer, Input},
        timers::Timer,
    },
    op::Op,
    scalr::{Registration, ScalrError, WorkerLostAnswer},
};

const CAPACITY: u32 = 3;
const TASKS: u64 = 6;

/// A controller in a world, a step at a time.
struct Life {
    dice: Dice,
    now: Millis,
    brain: Controller,
    wake_at: Option<Millis>,
    server: Server,
    cluster: Namespace,
    /// The calls of the living process.
    calls: Vec<(Op, Effect)>,
    zombies: Vec<(Millis, Op, Effect)>,
    watches: BTreeMap<Op, (Kind, Version)>,
    sessions: u32,
    /// The session of the living process, by its own account.
    session: Option<u32>,
    has_faults: bool,
    /// Whether this process was answered a heartbeat.
    was_answered: bool,
    names: BTreeMap<TaskAt, JobName>,
    exit: Option<ControllerExit>,
    steps: u64,
    log: Vec<String>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut server = Server::default();
        for n in 0..TASKS {
            server.submit(&TaskId::new(&format!("t{n}")).unwrap());
        }
        let mut life = Self {
            dice: Dice(seed),
            now: Millis(1_000),
            brain: Controller::new(Self::options(seed)),
            wake_at: None,
            server,
            cluster: Namespace::default(),
            calls: Vec::new(),
            zombies: Vec::new(),
            watches: BTreeMap::new(),
            sessions: 0,
            session: None,
            has_faults: true,
            was_answered: false,
            names: BTreeMap::new(),
            exit: None,
            steps: 0,
            log: Vec::new(),
        };
        life.input(Input::Began);
        life
    }

    fn options(seed: u64) -> ControllerOptions {
        ControllerOptions { capacity: CAPACITY, look_ahead: 4, startup_timeout_ms: 15_000, seed, ..options() }
    }

    fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.log.push(format!("{} > {}", self.now, cut(&format!("{input:?}"))));
        self.brain.step(self.now, input, &mut out);
        for effect in out {
            if let Some((_, text)) = super::story::render(&effect) {
                self.log.push(format!("{}     {text}", self.now));
            }
            self.check_effect(&effect);
            match &effect {
                Effect::Scalr { op, .. } | Effect::Cluster { op, .. } => self.calls.push((*op, effect)),
                Effect::Abandon { op } => {
                    let at = self.calls.iter().position(|(other, _)| other == op);
                    let call = at.map(|at| self.calls.remove(at));
                    // It may be carried out nevertheless, and answered.
                    let call = call.filter(|_| self.dice.roll(2) == 0);
                    self.zombies.extend(call.map(|(op, call)| (self.now, op, call)));
                    self.watches.remove(op);
                }
                Effect::WakeAt(at) => self.wake_at = Some(*at),
                Effect::Exit(exit) => self.exit = Some(exit.clone()),
                Effect::Log(_) => {}
            }
        }
        self.steps += 1;
        assert!(self.cluster.live() <= CAPACITY as usize, "more Jobs than may be");
        // Dear, so not after each.
        if self.steps.is_multiple_of(7) {
            check_indexes(&self.brain);
        }
    }

    fn check_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Scalr { call: ScalrCall::Acquire(..), .. } => {
                assert!(self.was_answered, "acquires before the first heartbeat is answered");
            }
            Effect::Scalr { call: ScalrCall::Heartbeat(..), .. } => {
                let beats = self
                    .calls
                    .iter()
                    .filter(|(_, call)| matches!(call, Effect::Scalr { call: ScalrCall::Heartbeat(..), .. }));
                // After a session has ended, the one before may still be under way.
                assert!(beats.count() <= 1, "two heartbeats");
            }
            Effect::Scalr { call: ScalrCall::WorkerLost(id, lost), .. } if lost.ended => {
                let at = TaskAt { id: id.clone(), fence: lost.fence };
                let runs = self.cluster.really_running.iter().any(|(of, _)| *of == at);
                assert!(!runs, "proof of the end of {id}, which runs");
            }
            Effect::Cluster { call: ClusterCall::Create(spec), .. } => {
                let at = TaskAt { id: spec.task.clone(), fence: spec.fence };
                let name = self.names.entry(at).or_insert_with(|| spec.name.clone());
                assert_eq!(*name, spec.name, "two names for one grant");
            }
            Effect::Cluster { call: ClusterCall::Delete(_, uid), .. } => {
                if let Some(job) = self.cluster.jobs.get(uid) {
                    let task = self.server.tasks.get(&job.task);
                    let is_shut = task.is_none_or(|task| {
                        job.fence < task.fence || task.state == State::Over { was_started: false }
                    });
                    assert!(is_shut, "deletes {} whose door is open: {task:?}", job.name);
                }
            }
            Effect::Scalr { .. }
            | Effect::Cluster { .. }
            | Effect::Abandon { .. }
            | Effect::WakeAt(_)
            | Effect::Log(_)
            | Effect::Exit(_) => {}
        }
    }

    fn advance(&mut self, ms: u64) {
        let end = self.now + ms;
        let mut wakes = 0;
        while let Some(at) = self.wake_at.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.wake_at = None;
            self.server.tick(self.now);
            self.input(Input::Wake);
            wakes += 1;
            assert!(wakes < 2_000, "wakes without end");
        }
        self.now = end;
        self.server.tick(self.now);
    }

    fn crash(&mut self) {
        // What was sent is carried out or not; nobody hears of it.
        for (_, call) in std::mem::take(&mut self.calls) {
            if self.dice.roll(2) == 0 {
                self.carry_out(&call);
            }
        }
        self.zombies.clear();
        self.watches.clear();
        self.wake_at = None;
        self.was_answered = false;
        self.session = None;
        self.exit = None;
        let seed = self.dice.roll(u64::MAX);
        self.brain = Controller::new(Self::options(seed));
        self.log.push(format!("{} crash", self.now));
        self.input(Input::Began);
    }

    /// Answers one of the calls under way.
    fn answer_one(&mut self) {
        let Some((op, call)) = self.dice.pick(&self.calls.clone()) else { return };
        self.calls.retain(|(other, _)| *other != op);
        let luck = if self.has_faults { self.dice.roll(10) } else { 9 };
        let answer = match luck {
            0 => failed(&call, 0),
            1 => failed(&call, 5_000),
            2 => {
                self.carry_out(&call);
                failed(&call, 0)
            }
            _ => self.carry_out(&call),
        };
        if let (Effect::Cluster { call: ClusterCall::Watch(kind, version), .. }, Answer::Watching(Ok(()))) =
            (&call, &answer)
        {
            self.watches.insert(op, (*kind, *version));
        }
        if matches!(answer, Answer::Registered(Ok(_))) {
            self.session = self.server.session;
        }
        self.was_answered |= matches!(answer, Answer::Heartbeat(Ok(_)));
        self.input(Input::Answer { op, answer: answer.clone() });
        if self.has_faults && self.dice.roll(8) == 0 {
            self.input(Input::Answer { op, answer });
        }
    }

    /// What a call does, and says.
    fn carry_out(&mut self, call: &Effect) -> Answer {
        match call {
            Effect::Scalr { call, .. } => self.carry_out_scalr(call),
            Effect::Cluster { call, .. } => match call {
                ClusterCall::List(kind, _) => Answer::Listed(Ok(self.cluster.list(*kind))),
                ClusterCall::Watch(..) => Answer::Watching(Ok(())),
                ClusterCall::Create(spec) => {
                    let luck = if self.has_faults { self.dice.roll(12) } else { 11 };
                    let detail = "bad luck".to_owned();
                    Answer::Created(match luck {
                        0 => Err(ClusterError::QuotaExceeded { detail }),
                        1 => Err(ClusterError::Template { detail }),
                        2 => Err(ClusterError::Refused { detail }),
                        _ => self.cluster.create(spec),
                    })
                }
                ClusterCall::Delete(_, uid) => {
                    if self.dice.roll(2) == 0 {
                        self.cluster.change_job(uid, |job| job.is_deleting = true);
                    } else {
                        self.end_job(&uid.clone(), false);
                    }
                    Answer::Deleted(Ok(()))
                }
            },
            Effect::Abandon { .. } | Effect::WakeAt(_) | Effect::Log(_) | Effect::Exit(_) => {
                unreachable!("only calls are kept")
            }
        }
    }

    fn carry_out_scalr(&mut self, call: &ScalrCall) -> Answer {
        if let ScalrCall::Register(_) = call {
            self.sessions += 1;
            self.server.session = Some(self.sessions);
            let agent = AgentId::new("agent-1").unwrap();
            return Answer::Registered(Ok(Registration { agent, heartbeat_ms: 10_000, wait_ms_max: 30_000 }));
        }
        if self.session.is_none() || self.session != self.server.session {
            return failed_scalr(call, ScalrError::SessionExpired);
        }
        match call {
            ScalrCall::Register(_) => unreachable!("answered above"),
            ScalrCall::Heartbeat(_, request) => {
                let wanted = if self.has_faults { u32::try_from(self.dice.roll(3)).unwrap() } else { 0 };
                Answer::Heartbeat(Ok(self.server.heartbeat(self.now, request, wanted)))
            }
            ScalrCall::Deregister(_) => {
                self.server.forget_session();
                Answer::Deregistered(Ok(()))
            }
            ScalrCall::Acquire(_, request) => Answer::Acquired(Ok(self.server.acquire(self.now, request))),
            ScalrCall::Release(task, request) => {
                Answer::Released(Ok(self.server.shut(task, request.fence, false, true)))
            }
            ScalrCall::LaunchFailed(task, request) => {
                let door = self.server.shut(task, request.fence, true, request.retryable);
                Answer::LaunchFailed(Ok(door))
            }
            ScalrCall::LaunchEvents(..) => Answer::LaunchEvents(Ok(())),
            ScalrCall::WorkerLost(task, request) => {
                let at = TaskAt { id: task.clone(), fence: request.fence };
                let state = self.server.tasks.get(task).map(|task| task.state);
                Answer::WorkerLost(Ok(match state {
                    Some(State::Started) => {
                        if request.ended {
                            self.server.silence(&at, self.now + 60_000);
                        }
                        WorkerLostAnswer::Noted
                    }
                    Some(State::Over { .. }) | None => WorkerLostAnswer::Finished,
                    Some(State::Queued | State::Leased { .. } | State::Claimed { .. }) => {
                        WorkerLostAnswer::NotStarted
                    }
                }))
            }
            ScalrCall::Messages(..) => Answer::Messages(Ok(scalr_protocol::agent::Messages::default())),
        }
    }

    /// A watch says what comes next, or ends.
    fn watch_one(&mut self) {
        let watches: Vec<Op> = self.watches.keys().copied().collect();
        let Some(op) = self.dice.pick(&watches) else { return };
        let Some((kind, after)) = self.watches.get(&op).copied() else { return };
        let luck = if self.has_faults { self.dice.roll(30) } else { 29 };
        let end = match luck {
            0 => Some(WatchEnd::Gone),
            1 => Some(WatchEnd::Eof),
            2 => Some(WatchEnd::Error { detail: "reset".to_owned() }),
            _ => None,
        };
        if let Some(end) = end {
            self.watches.remove(&op);
            self.input(Input::Watched { op, kind, event: WatchEvent::Ended(end) });
        } else if let Some((version, event)) = self.cluster.next_event(kind, after) {
            self.watches.insert(op, (kind, version));
            self.input(Input::Watched { op, kind, event });
        }
    }

    /// The cluster goes on by one thing.
    fn live_on(&mut self) {
        let jobs: Vec<Uid> = self.cluster.jobs.keys().cloned().collect();
        if let Some(job) = self.dice.pick(&jobs).and_then(|uid| self.cluster.jobs.get(&uid).cloned()) {
            let has_pod = self.cluster.pods.values().any(|pod| pod.job_uid == job.uid);
            if !has_pod && job.end.is_none() && !job.is_deleting {
                self.cluster.make_pod(&job);
            } else if job.is_deleting || (job.end.is_some() && self.dice.roll(4) == 0) {
                self.end_job(&job.uid, false);
            }
        }
        let pods: Vec<Uid> = self.cluster.work.keys().cloned().collect();
        let Some(uid) = self.dice.pick(&pods) else { return };
        let work = self.cluster.work.get(&uid).copied().unwrap_or(Work::Done);
        let Some(pod) = self.cluster.pods.get(&uid).cloned() else {
            return self.work_unseen(&uid, work);
        };
        let at = TaskAt { id: pod.task.clone(), fence: pod.fence };
        match work {
            Work::Coming if pod.worker == Container::Waiting => {
                self.cluster.really_running.insert((at, uid.clone()));
                self.cluster.change_pod(&uid, |pod| {
                    pod.worker = Container::Running;
                    pod.runner = Container::Running;
                });
            }
            Work::Coming => {
                if self.has_faults && self.dice.roll(6) == 0 {
                    self.cluster.end_pod(&uid, 1, false);
                } else if self.server.start(self.now, &at) {
                    self.cluster.work.insert(uid, Work::Claimed);
                } else {
                    self.cluster.end_pod(&uid, 0, false);
                }
            }
            Work::Claimed => {
                self.server.confirm(&at);
                self.cluster.work.insert(uid, Work::Running);
            }
            Work::Running if self.has_faults && self.dice.roll(5) == 0 => {
                self.server.silence(&at, self.now + 1_800_000);
                self.cluster.end_pod(&uid, 137, true);
            }
            Work::Running => {
                self.server.finish(&at);
                self.cluster.end_pod(&uid, 0, false);
            }
            Work::Done => {}
        }
    }

    /// A worker on a node that is cut off from the cluster, but not from Scalr.
    fn work_unseen(&mut self, uid: &Uid, work: Work) {
        let running = self.cluster.really_running.iter().find(|(_, other)| other == uid).cloned();
        if let Some((at, _)) = running
            && work != Work::Done
        {
            if work == Work::Running {
                self.server.finish(&at);
            } else {
                self.server.silence(&at, self.now + 1_800_000);
            }
            self.cluster.work.insert(uid.clone(), Work::Done);
            self.cluster.really_running.remove(&(at, uid.clone()));
        }
    }

    fn end_job(&mut self, uid: &Uid, is_cut_off: bool) {
        let pods: Vec<(Uid, TaskAt)> = self
            .cluster
            .pods
            .values()
            .filter(|pod| pod.job_uid == *uid)
            .map(|pod| (pod.uid.clone(), TaskAt { id: pod.task.clone(), fence: pod.fence }))
            .collect();
        for (pod, at) in pods {
            if !is_cut_off && self.cluster.work.get(&pod) != Some(&Work::Done) {
                self.server.silence(&at, self.now + 1_800_000);
            }
        }
        self.cluster.remove_job(uid, is_cut_off);
    }

    /// Somebody or something interferes.
    fn interfere(&mut self) {
        let jobs: Vec<Uid> = self.cluster.jobs.keys().cloned().collect();
        let pods: Vec<Uid> = self.cluster.pods.keys().cloned().collect();
        match self.dice.roll(9) {
            7 => {
                let grace_ms = self.dice.roll(60_000);
                self.input(Input::Stop { grace_ms });
            }
            0 => self.server.forget_session(),
            1 => self.crash(),
            2 => {
                let is_cut_off = self.dice.roll(2) == 0;
                if let Some(uid) = self.dice.pick(&jobs) {
                    self.end_job(&uid, is_cut_off);
                }
            }
            3 => {
                let task = TaskId::new(&format!("t{}", self.dice.roll(TASKS))).unwrap();
                self.server.cancel(&task);
            }
            4 => {
                let is_paused = self.dice.roll(2) == 0;
                self.input(Input::Paused(is_paused));
            }
            5 => {
                if let Some(uid) = self.dice.pick(&pods) {
                    self.cluster.change_pod(&uid, |pod| pod.disruption = Some(Disruption::Evicted));
                }
            }
            6 => {
                let is_cut_off = self.dice.roll(2) == 0;
                if let Some(uid) = self.dice.pick(&pods) {
                    let pod = self.cluster.pods.get(&uid).cloned();
                    if let Some(pod) = pod.filter(|_| !is_cut_off) {
                        let at = TaskAt { id: pod.task, fence: pod.fence };
                        self.server.silence(&at, self.now + 1_800_000);
                    }
                    self.cluster.remove_pod(&uid, is_cut_off);
                }
            }
            _ => {
                let ms = self.dice.roll(90_000);
                self.advance(ms);
            }
        }
    }

    fn turn(&mut self) {
        if self.exit.is_some() {
            return self.crash();
        }
        if self.dice.roll(10) == 0
            && let Some((since, op, call)) = self.zombies.pop()
            // No request lives longer.
            && self.now.since(since) < 60_000
        {
            let answer = self.carry_out(&call);
            self.input(Input::Answer { op, answer });
        }
        match self.dice.roll(20) {
            0..=6 => self.answer_one(),
            7..=11 => self.watch_one(),
            12..=14 => self.live_on(),
            15 if self.has_faults => self.interfere(),
            15..=17 => self.advance(10),
            _ => {
                let ms = self.dice.roll(3_000);
                self.advance(ms);
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.server.tasks.values().all(|task| matches!(task.state, State::Over { .. }))
            && self.cluster.jobs.is_empty()
            && self.brain.board.entries.is_empty()
    }
}

fn cut(text: &str) -> String {
    text.chars().take(160).collect()
}

fn failed(call: &Effect, retry_after_ms: u64) -> Answer {
    let detail = "lost".to_owned();
    match call {
        Effect::Scalr { call, .. } if retry_after_ms > 0 => {
            failed_scalr(call, ScalrError::RateLimited { retry_after_ms })
        }
        Effect::Scalr { call, .. } => failed_scalr(call, ScalrError::Unreachable { detail }),
        Effect::Cluster { call, .. } => {
            let error = if retry_after_ms > 0 {
                ClusterError::RateLimited { retry_after_ms }
            } else {
                ClusterError::Unreachable { detail }
            };
            match call {
                ClusterCall::List(..) => Answer::Listed(Err(error)),
                ClusterCall::Watch(..) => Answer::Watching(Err(error)),
                ClusterCall::Create(_) => Answer::Created(Err(error)),
                ClusterCall::Delete(..) => Answer::Deleted(Err(error)),
            }
        }
        Effect::Abandon { .. } | Effect::WakeAt(_) | Effect::Log(_) | Effect::Exit(_) => {
            unreachable!("only calls are answered")
        }
    }
}

fn failed_scalr(call: &ScalrCall, error: ScalrError) -> Answer {
    match call {
        ScalrCall::Register(_) => Answer::Registered(Err(error)),
        ScalrCall::Heartbeat(..) => Answer::Heartbeat(Err(error)),
        ScalrCall::Deregister(_) => Answer::Deregistered(Err(error)),
        ScalrCall::Acquire(..) => Answer::Acquired(Err(error)),
        ScalrCall::Release(..) => Answer::Released(Err(error)),
        ScalrCall::LaunchEvents(..) => Answer::LaunchEvents(Err(error)),
        ScalrCall::LaunchFailed(..) => Answer::LaunchFailed(Err(error)),
        ScalrCall::WorkerLost(..) => Answer::WorkerLost(Err(error)),
        ScalrCall::Messages(..) => Answer::Messages(Err(error)),
    }
}

/// Whatever is derived is what deriving it anew would give, and everybody who waits knows why.
pub(super) fn check_indexes(brain: &Controller) {
    let board = &brain.board;
    let mut fresh = board.clone();
    for key in board.entries.keys() {
        fresh.index(brain.now, key);
    }
    assert_eq!(*board, fresh, "an index has drifted");
    let is_planned = brain.timers.at(&Timer::Plan).is_some();
    for key in board.queue.values() {
        let reason = board.get(key).and_then(|entry| entry.holding.as_ref()?.reason.as_ref());
        assert!(reason.is_some() || is_planned, "{key:?} waits without a reason");
    }
    let queued = board.entries.values().filter(|entry| entry.is_queued()).count();
    assert_eq!(queued, board.queue.len());
}

/// Chaos, then healing: everything ends, and nothing is left over.
fn live_through(seed: u64) {
    let mut life = Life::new(seed);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..400 {
            life.turn();
        }
        life.has_faults = false;
        life.crash();
        life.input(Input::Paused(false));
        let mut turns = 0;
        while !life.is_quiet() {
            life.turn();
            turns += 1;
            assert!(turns < 60_000, "does not come to rest: {:?}\n{:#?}", life.server, life.brain.board);
        }
        life.input(Input::Stop { grace_ms: 60_000 });
        while life.exit.is_none() {
            life.turn();
        }
        assert_eq!(life.exit, Some(ControllerExit::Stopped));
    }));
    if let Err(panic) = outcome {
        let tail = life.log.len().saturating_sub(120);
        eprintln!("seed {seed}:\n{}", life.log[tail..].join("\n"));
        std::panic::resume_unwind(panic);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_ends_and_nothing_is_left_over(seed: u64) {
        live_through(seed);
    }
}

/// Luck that once found a mistake.
#[test]
fn old_mistakes_are_not_made_again() {
    for seed in [15_885_116_265_002_127_743, 3_996_250_915_747_974_545, 2_301_691_259_119_218_964] {
        live_through(seed);
    }
}

/// Deterministic: the same inputs make the same effects, and a copy is as good as the original.
#[test]
fn the_same_luck_makes_the_same_life() {
    for seed in 0..20 {
        let (mut one, mut other) = (Life::new(seed), Life::new(seed));
        for _ in 0..200 {
            one.turn();
            other.brain = other.brain.clone();
            other.turn();
        }
        assert_eq!(one.log, other.log);
        assert_eq!(one.brain, other.brain);
    }
}

#[test]
fn the_world_above_is_hard_enough() {
    // Without these it would prove little.
    let wanted = [
        "verdict: Stale",
        "verdict: Dead",
        "verdict: Ended",
        "verdict: Started",
        "verdict: Claimed",
        "verdict: Held",
        "ended=true",
        "ended=false",
        " rebalance",
        " drain",
        "delete agent",
        "launch-failed",
        "error=",
        "exit Stopped",
        "Created(Err(Over",
        "LaunchFailed(Ok(Started",
    ];
    let mut met: BTreeSet<&str> = BTreeSet::new();
    for seed in 0..150 {
        let mut life = Life::new(seed);
        for _ in 0..400 {
            life.turn();
        }
        met.extend(wanted.iter().filter(|word| life.log.iter().any(|line| line.contains(**word))).copied());
    }
    let missing: Vec<_> = wanted.iter().filter(|word| !met.contains(*word)).collect();
    assert!(missing.is_empty(), "never met: {missing:?}");
}
