//! A controller in the small world, a step at a time, with bad luck; and what must hold at each step.

use std::collections::BTreeMap;

use scalr_protocol::{agent::TaskAt, id::TaskId};

use super::{
    answers::failed,
    properties::check_indexes,
    story::options,
    world::{Dice, Namespace, Server, State, Work},
};
use crate::{
    clock::Millis,
    cluster::{Container, Disruption, JobName, Kind, Uid, Version, WatchEnd, WatchEvent},
    controller::{
        Controller, ControllerOptions,
        effect::{ClusterCall, ControllerExit, Effect, ScalrCall},
        input::{Answer, Input},
    },
    op::Op,
};

const CAPACITY: u32 = 3;
const TASKS: u64 = 6;

/// A controller in a world, a step at a time.
pub(super) struct Life {
    pub(super) seed: u64,
    pub(super) dice: Dice,
    pub(super) now: Millis,
    pub(super) brain: Controller,
    pub(super) wake_at: Option<Millis>,
    pub(super) server: Server,
    pub(super) cluster: Namespace,
    /// The calls of the living process.
    pub(super) calls: Vec<(Op, Effect)>,
    pub(super) zombies: Vec<(Millis, Op, Effect)>,
    pub(super) watches: BTreeMap<Op, (Kind, Version)>,
    pub(super) sessions: u32,
    /// The session of the living process, by its own account.
    pub(super) session: Option<u32>,
    pub(super) has_faults: bool,
    /// The last heartbeat, and of which session.
    beat: Option<(Op, Option<u32>)>,
    /// Whether this process was answered a heartbeat.
    pub(super) was_answered: bool,
    pub(super) names: BTreeMap<TaskAt, JobName>,
    pub(super) exit: Option<ControllerExit>,
    pub(super) steps: u64,
    /// Whether a request may be carried out after it was answered with an error.
    has_late_requests: bool,
    /// What happened, where somebody will read it.
    pub(super) log: Option<Vec<String>>,
}

impl Life {
    pub(super) fn new(seed: u64) -> Self {
        Self::begin(seed, None)
    }

    /// One that is written down, which takes several times as long.
    pub(super) fn told(seed: u64) -> Self {
        Self::begin(seed, Some(Vec::new()))
    }

    fn begin(seed: u64, log: Option<Vec<String>>) -> Self {
        let mut server = Server::default();
        for n in 0..TASKS {
            server.submit(&TaskId::new(&format!("t{n}")).unwrap());
        }
        let mut life = Self {
            seed,
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
            beat: None,
            was_answered: false,
            names: BTreeMap::new(),
            exit: None,
            steps: 0,
            has_late_requests: seed.is_multiple_of(3),
            log,
        };
        life.input(Input::Began);
        life
    }

    fn options(seed: u64) -> ControllerOptions {
        ControllerOptions { capacity: CAPACITY, look_ahead: 4, startup_timeout_ms: 15_000, seed, ..options() }
    }

    pub(super) fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        if let Some(log) = &mut self.log {
            log.push(format!("{} > {}", self.now, cut(&format!("{input:?}"))));
        }
        self.brain.step(self.now, input, &mut out);
        for effect in out {
            if let Some(log) = &mut self.log
                && let Some((_, text)) = super::story::render(&effect)
            {
                log.push(format!("{}     {text}", self.now));
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
            Effect::Scalr { call: ScalrCall::Heartbeat(..), op } => {
                // Those of sessions that have ended may still be under way.
                let is_open = |beat: &(Op, Option<u32>)| {
                    beat.1 == self.session && self.calls.iter().any(|(op, _)| *op == beat.0)
                };
                assert!(!self.beat.as_ref().is_some_and(is_open), "two heartbeats");
                self.beat = Some((*op, self.session));
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

    pub(super) fn crash(&mut self) {
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
        if let Some(log) = &mut self.log {
            log.push(format!("{} crash", self.now));
        }
        self.input(Input::Began);
    }

    /// Answers one of the calls under way.
    fn answer_one(&mut self) {
        if self.calls.is_empty() {
            return;
        }
        let at = usize::try_from(self.dice.roll(self.calls.len() as u64)).unwrap();
        let (op, call) = self.calls.remove(at);
        let luck = if self.has_faults { self.dice.roll(10) } else { 9 };
        let answer = match luck {
            0 => failed(&call, 0),
            1 => failed(&call, 5_000),
            2 => {
                self.carry_out(&call);
                failed(&call, 0)
            }
            3 if self.has_late_requests => {
                self.zombies.push((self.now, op, call.clone()));
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

    pub(super) fn end_job(&mut self, uid: &Uid, is_cut_off: bool) {
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

    pub(super) fn turn(&mut self) {
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
                // What is left to wait for after the healing takes long.
                let ms = self.dice.roll(if self.has_faults { 3_000 } else { 20_000 });
                self.advance(ms);
            }
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.server.tasks.values().all(|task| matches!(task.state, State::Over { .. }))
            && self.cluster.jobs.is_empty()
            && self.brain.board.entries.is_empty()
    }
}

fn cut(text: &str) -> String {
    text.chars().take(160).collect()
}
