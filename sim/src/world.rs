//! Everything that happens: one clock, one heap, one step at a time.
//!
//! A step takes the next event, hands it to whom it concerns, and files what follows. In reading order:
//! [`setup`] is what a world is told and [`snag`] how it is made to go wrong; `event` the heap; `users` make
//! runs; [`process`] the real brains and their calls; `scalr` the server; [`cluster`] what runs Jobs, and
//! `wire` the way to it; `pods` and `tool` what runs in them; `strikes` what goes wrong; [`truth`] what
//! really was; [`score`] says it in words; [`digest`] is the hash of it all.
//!
//! It must never take a step whose outcome depends on anything but the setup.

pub mod cluster;
pub mod digest;
mod event;
mod look;
mod pods;
pub mod process;
mod scalr;
pub mod score;
pub mod setup;
pub mod snag;
mod strikes;
mod tool;
pub mod truth;
mod users;
mod wire;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, hash::Hash, sync::Arc};

use fake_scalr::state::{State, status::RunStatus};
use scalr_core::{
    clock::Millis,
    cluster::JobName,
    controller::{Controller, effect::Effect},
    supervisor::{Supervisor, effect::TaskEffect},
};
use scalr_protocol::id::RunId;

use self::{
    cluster::{ClusterModel, PodKey, Reaction, Stimulus},
    digest::Digest64,
    event::{Event, Heap},
    pods::PodRun,
    process::{Process, ProcessId, Seat},
    scalr::Server,
    setup::{Setup, TaskNumber},
    snag::Strike,
    strikes::Strikes,
    truth::{Fact, FactKind, Truth},
    users::Users,
    wire::KnownJob,
};
use crate::luck::{Luck, Purpose};

const TIE: Purpose = Purpose::named("tie");

/// After so many steps the whole state goes into the hash.
const WHOLE_EVERY: u64 = 1_000;

/// A made-up world with the real brains in it. A clone goes its own way from here.
#[derive(Clone, Debug)]
pub struct World {
    setup: Arc<Setup>,
    luck: Luck,
    now: Millis,
    heap: Heap,
    steps: u64,
    digest: Digest64,
    is_hashed: bool,
    seats: Vec<Seat>,
    processes: BTreeMap<ProcessId, Box<Process>>,
    next_process: u32,
    scalr: Server,
    cluster: ClusterModel,
    pods: BTreeMap<PodKey, PodRun>,
    /// What each Job was made for, by its name.
    jobs: BTreeMap<JobName, KnownJob>,
    users: Users,
    strikes: Strikes,
    truth: Truth,
    /// What the last step was, and its lines in a score, if one is kept.
    happening: Happening,
    score: Option<Vec<score::Line>>,
    scratch: Scratch,
}

/// Buffers that are empty between steps.
#[derive(Clone, Debug, Default)]
struct Scratch {
    reactions: Vec<Vec<Reaction>>,
    effects: Vec<Effect>,
    task_effects: Vec<TaskEffect>,
}

/// One step of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventRecord {
    /// Its number, from 1.
    pub number: u64,
    /// When it was.
    pub at: Millis,
    /// What it was, in short.
    pub what: Happening,
}

/// What a step was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Happening {
    /// A controller took something in, or its process began.
    Controller(u32),
    /// A worker of this task did.
    Worker(TaskNumber),
    /// Scalr did something.
    Scalr,
    /// The cluster did something.
    Cluster,
    /// A container or a command in it did something.
    Pod,
    /// Something came for a process that is no more.
    Nobody,
    /// A user did something.
    User,
    /// Something went wrong, or was put right, on purpose.
    Strike,
}

impl World {
    /// A world before its first moment. The same setup gives the same history.
    pub fn new(setup: Setup) -> Self {
        let luck = Luck::new(setup.seed);
        let mut world = Self {
            luck,
            now: Millis(0),
            heap: Heap::default(),
            steps: 0,
            digest: Digest64::default(),
            is_hashed: true,
            seats: vec![Seat::default(); setup.controllers.len()],
            processes: BTreeMap::new(),
            next_process: 1,
            scalr: Server::new(&setup.scalr, luck),
            cluster: ClusterModel::new(&setup.cluster),
            pods: BTreeMap::new(),
            jobs: BTreeMap::new(),
            users: Users::default(),
            strikes: Strikes::new(&setup),
            truth: Truth::default(),
            happening: Happening::Scalr,
            score: None,
            scratch: Scratch::default(),
            setup: Arc::new(setup),
        };
        world.file_the_plan();
        world
    }

    /// Takes the next event, if there is one.
    pub fn step(&mut self) -> Option<EventRecord> {
        loop {
            let (at, event) = self.heap.pop()?;
            self.now = self.now.max(at);
            if let Some(score) = &mut self.score {
                score.clear();
            }
            if self.take(event) {
                break;
            }
        }
        self.steps += 1;
        if self.is_hashed && self.steps.is_multiple_of(WHOLE_EVERY) {
            self.hash_all();
        }
        Some(EventRecord { number: self.steps, at: self.now, what: self.happening })
    }

    /// Takes every event up to a moment; the clock then shows that moment.
    pub fn run_until(&mut self, at: Millis) {
        while self.heap.next_at().is_some_and(|next| next <= at) {
            self.step();
        }
        self.now = self.now.max(at);
    }

    /// Takes events until every run of the setup is over, or until a moment. Says whether they are.
    pub fn run_until_over(&mut self, at: Millis) -> bool {
        while !self.is_over() && self.heap.next_at().is_some_and(|next| next <= at) {
            self.step();
        }
        self.is_over()
    }

    /// Whether every run of the setup was made and is over.
    pub fn is_over(&self) -> bool {
        self.users.open == 0
    }

    /// What time it is in this world.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// How many events were taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How many events are to come.
    pub fn pending(&self) -> usize {
        self.heap.len()
    }

    /// The rolling hash of all that happened so far.
    pub fn digest(&self) -> u64 {
        self.digest.value()
    }

    /// Whether histories are hashed: they are, but for what-if.
    pub fn set_hashed(&mut self, is_hashed: bool) {
        self.is_hashed = is_hashed;
    }

    /// What it was told.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// What really was.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Forgets the facts so far, once they are checked.
    pub fn forget_facts(&mut self) {
        self.truth.forget_facts();
    }

    /// The server's state.
    pub fn scalr(&self) -> &State {
        self.scalr.state()
    }

    /// Whether the server serves.
    pub fn is_scalr_up(&self) -> bool {
        self.scalr.is_up()
    }

    /// The cluster's own truth.
    pub fn cluster(&self) -> &ClusterModel {
        &self.cluster
    }

    /// The controllers that live, by their place in the setup.
    pub fn controllers(&self) -> impl Iterator<Item = (u32, ProcessId, &Controller)> {
        self.seats.iter().enumerate().filter_map(|(place, seat)| {
            let id = seat.process?;
            match &self.processes.get(&id)?.brain {
                process::Brain::Controller { brain, .. } => Some((u32::try_from(place).ok()?, id, &**brain)),
                process::Brain::Worker(_) => None,
            }
        })
    }

    /// The workers that live.
    pub fn workers(&self) -> impl Iterator<Item = (TaskNumber, ProcessId, &Supervisor)> {
        self.processes.iter().filter_map(|(id, process)| {
            let shell = process.worker()?;
            Some((shell.number, *id, &shell.brain))
        })
    }

    /// The clock of a process, as it shows now.
    pub fn clock_of(&self, process: ProcessId) -> Option<Millis> {
        self.processes.get(&process).map(|process| process.now(self.now))
    }

    /// The server's name of a run of the setup, once it was made.
    pub fn run_id(&self, run: u32) -> Option<&RunId> {
        self.users.run_id(run)
    }

    /// How far a run of the setup has come; none before it was made.
    pub fn run_status(&self, run: u32) -> Option<RunStatus> {
        self.scalr.state().run_status(self.run_id(run)?)
    }

    /// Lets something happen now, before anything else does.
    pub fn strike(&mut self, strike: Strike) {
        self.push(self.now, 0, Event::Struck(Box::new(strike)));
    }

    /// Files an event. Those of one key keep their order at equal times.
    fn push(&mut self, at: Millis, key: u64, event: Event) {
        let tie = self.luck.draw(TIE, key, at.0);
        self.heap.push(at, tie, event);
    }

    fn file_the_plan(&mut self) {
        let setup = Arc::clone(&self.setup);
        for (place, controller) in setup.controllers.iter().enumerate() {
            let seat = u32::try_from(place).unwrap_or(u32::MAX);
            self.push(Millis(controller.begins_ms), u64::from(seat), Event::Begin { seat });
        }
        self.file_runs();
        self.file_strikes();
    }

    /// Hands an event to whom it concerns. Says whether it was any.
    fn take(&mut self, event: Event) -> bool {
        self.happening = self.whose(&event);
        match event {
            Event::Begin { seat } => self.begin_controller(seat),
            Event::Mail { process, mail } => self.deliver(process, mail),
            Event::Alarm { process, number } => return self.ring(process, number),
            Event::Resume { process, number } => self.resume(process, Some(number)),
            Event::Reap { process, rebirth } => self.reap(process, rebirth),
            Event::AtScalr(call) => self.at_scalr(*call),
            Event::PollDue { poll } => return self.poll_is_due(poll),
            Event::ScalrTick => return self.scalr_tick(),
            Event::ScalrUp { number } => self.scalr_up(number),
            Event::AtCluster(request) => self.at_cluster(*request),
            Event::Cluster(internal) => self.react(Stimulus::Internal(internal)),
            Event::Pod { pod, what } => return self.take_pod_event(pod, what),
            Event::Own { process, number } => return self.own_is_done(process, number),
            Event::CreateRun { run } => self.create_run(run),
            Event::Approve { run } => self.approve(run),
            Event::Strike { index } => return self.strike_planned(index),
            Event::Struck(strike) => return self.strike_now(*strike),
        }
        true
    }

    /// What an event is, in short.
    fn whose(&self, event: &Event) -> Happening {
        match event {
            Event::Begin { seat } => Happening::Controller(*seat),
            Event::Mail { process, .. }
            | Event::Alarm { process, .. }
            | Event::Resume { process, .. }
            | Event::Reap { process, .. }
            | Event::Own { process, .. } => match self.processes.get(process).map(|process| &process.brain) {
                Some(process::Brain::Controller { seat, .. }) => Happening::Controller(*seat),
                Some(process::Brain::Worker(shell)) => Happening::Worker(shell.number),
                None => Happening::Nobody,
            },
            Event::AtScalr(_) | Event::PollDue { .. } | Event::ScalrTick | Event::ScalrUp { .. } => {
                Happening::Scalr
            }
            Event::AtCluster(_) | Event::Cluster(_) => Happening::Cluster,
            Event::Pod { .. } => Happening::Pod,
            Event::CreateRun { .. } | Event::Approve { .. } => Happening::User,
            Event::Strike { .. } | Event::Struck(_) => Happening::Strike,
        }
    }

    /// Writes a fact down, and lets happen what waits for it.
    fn note(&mut self, number: TaskNumber, what: FactKind) {
        if self.score.is_some() {
            self.say_fact(&Fact { at: self.now, task: number, what: what.clone() });
        }
        if let Some((milestone, nth)) = self.truth.note(self.now, number, what) {
            self.milestone(number, milestone, nth);
        }
    }

    /// Everything that brains and server hold, into the hash.
    fn hash_all(&mut self) {
        let digest = &mut self.digest;
        for (id, process) in &self.processes {
            id.hash(digest);
            match &process.brain {
                process::Brain::Controller { brain, .. } => brain.hash(digest),
                process::Brain::Worker(shell) => shell.brain.hash(digest),
            }
        }
        let state = self.scalr.state();
        (state.version(), state.wake(), state.next_deadline_ms()).hash(digest);
        (self.truth.open(), self.truth.running(), self.pods.len(), self.heap.len()).hash(digest);
        for (number, task) in self.truth.tasks() {
            (number, task.end, task.console_bytes, task.code.len(), task.confirms.len()).hash(digest);
        }
    }
}
