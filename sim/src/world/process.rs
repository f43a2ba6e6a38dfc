//! A process: one real brain, its clock, its calls in flight, and its end.
//!
//! A process gets nothing once it has ended, and the world goes on carrying out what it has sent. It must
//! never decide what a brain should do.

mod adapter;
mod clock;
mod console;
mod effects;
mod ends;
mod notes;
mod worker;

use std::collections::BTreeMap;

use fake_scalr::state::Token;
use scalr_core::{
    clock::Millis,
    cluster::Kind,
    controller::{Controller, ControllerOptions, effect::Effect, input::Input},
    op::Op,
    supervisor::effect::TaskEffect,
};
use scalr_protocol::{
    agent::Action,
    id::{Fence, InstanceId},
};
use serde::{Deserialize, Serialize};

use self::clock::Clock;
pub(super) use self::{
    adapter::{is_empty, task_error},
    effects::wire_key,
    worker::{WorkerShell, made_up},
};
use super::{
    World,
    cluster::PodKey,
    event::{Event, Mail},
    setup::{ClockSetup, TaskNumber},
    snag::{CallKind, Rebirth, Who},
};
use crate::luck::Purpose;

/// One life of a process, of a controller or of a worker; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId(pub u32);

const BRAIN_SEED: Purpose = Purpose::named("brain seed");

/// A process that lives.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) brain: Brain,
    clock: Clock,
    /// The number of the newest alarm.
    alarm: u64,
    /// When that alarm is, on the process's own clock.
    alarm_at: Millis,
    /// Suspended until a resume of this number.
    paused: Option<u64>,
    pub(super) pauses: u64,
    /// What came while it was suspended.
    mailbox: Vec<Mail>,
    /// What it wanted when it was suspended in mid-step.
    held: Vec<Wish>,
    pub(super) flights: Vec<Flight>,
    pub(super) session: Option<Token>,
    /// When it was asked not to make a call again, and until when.
    pub(super) patience: BTreeMap<Asked, (Millis, Millis)>,
    /// Until when it can't reach them.
    cut_scalr: Millis,
    cut_cluster: Millis,
}

/// What a process thinks with.
#[derive(Clone, Debug)]
pub(super) enum Brain {
    Controller { seat: u32, brain: Box<Controller> },
    Worker(Box<WorkerShell>),
}

/// An effect of either brain.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    Controller(Effect),
    Worker(TaskEffect),
}

/// A call in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) op: Op,
    pub(super) kind: CallKind,
    pub(super) task: Option<TaskNumber>,
    /// Of what it lists or watches.
    pub(super) of: Option<Kind>,
    /// Of the Job that it makes.
    pub(super) fence: Option<Fence>,
    /// When it was wanted, and in which step of the world.
    pub(super) sent: Millis,
    pub(super) step: u64,
    /// The latest moment at which anything for it arrives: a wire keeps its order.
    pub(super) last_at: Millis,
}

/// What somebody was asked not to do again for a while: a call, of what, about which task.
pub(super) type Asked = (CallKind, Option<Kind>, Option<TaskNumber>);

/// A place of a controller, whoever sits there.
#[derive(Clone, Debug, Default)]
pub(super) struct Seat {
    pub(super) process: Option<ProcessId>,
    /// How many processes there were.
    pub(super) lives: u32,
    instance: u32,
    name: u32,
    /// Ends in a row that nobody planned.
    crashes: u32,
    /// As what the next one comes, where it is planned.
    rebirth: Next,
    /// A process is about to begin here.
    pub(super) is_coming: bool,
}

/// What comes after the end of a controller's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    /// Nobody has planned it: the container begins again, as a kubelet does it.
    #[default]
    Unplanned,
    /// Nothing.
    Nothing,
    /// Another process.
    Another(Rebirth),
}

impl Next {
    fn plan(&mut self, rebirth: Option<Rebirth>) {
        if *self == Self::Unplanned {
            *self = rebirth.map_or(Self::Nothing, Self::Another);
        }
    }
}

impl Process {
    pub(super) fn new(brain: Brain, clock: ClockSetup) -> Self {
        Self {
            brain,
            clock: Clock::new(clock),
            alarm: 0,
            alarm_at: Millis::NEVER,
            paused: None,
            pauses: 0,
            mailbox: Vec::new(),
            held: Vec::new(),
            flights: Vec::new(),
            session: None,
            patience: BTreeMap::new(),
            cut_scalr: Millis(0),
            cut_cluster: Millis(0),
        }
    }

    pub(super) fn now(&self, world: Millis) -> Millis {
        self.clock.at(world)
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.paused.is_some()
    }

    /// A new session: what was asked in the last one was asked of another caller.
    pub(super) fn forget_patience(&mut self) {
        let is_of_cluster = |kind: &CallKind| {
            matches!(kind, CallKind::List | CallKind::Watch | CallKind::CreateJob | CallKind::DeleteJob)
        };
        self.patience.retain(|(kind, ..), _| is_of_cluster(kind));
    }

    pub(super) fn flight(&self, op: Op) -> Option<&Flight> {
        self.flights.iter().find(|flight| flight.op == op)
    }

    pub(super) fn flight_mut(&mut self, op: Op) -> Option<&mut Flight> {
        self.flights.iter_mut().find(|flight| flight.op == op)
    }

    pub(super) fn land(&mut self, op: Op) -> Option<Flight> {
        let place = self.flights.iter().position(|flight| flight.op == op)?;
        Some(self.flights.swap_remove(place))
    }

    pub(super) fn worker(&self) -> Option<&WorkerShell> {
        match &self.brain {
            Brain::Worker(shell) => Some(shell),
            Brain::Controller { .. } => None,
        }
    }

    pub(super) fn worker_mut(&mut self) -> Option<&mut WorkerShell> {
        match &mut self.brain {
            Brain::Worker(shell) => Some(shell),
            Brain::Controller { .. } => None,
        }
    }

    fn is(&self, who: Who) -> bool {
        match (&self.brain, who) {
            (Brain::Controller { .. }, Who::Controllers) | (Brain::Worker(_), Who::Workers) => true,
            (Brain::Controller { seat, .. }, Who::Controller(wanted)) => *seat == wanted,
            (Brain::Worker(shell), Who::WorkersOf(wanted)) => shell.number == wanted,
            (Brain::Controller { .. }, Who::Workers | Who::WorkersOf(_))
            | (Brain::Worker(_), Who::Controllers | Who::Controller(_)) => false,
        }
    }
}

impl World {
    /// Begins the process of a controller, unless there is one.
    pub(super) fn begin_controller(&mut self, place: u32) {
        let Some(setup) = self.setup.controllers.get(place as usize) else { return };
        let seat = &mut self.seats[place as usize];
        seat.is_coming = false;
        if seat.process.is_some() {
            return;
        }
        seat.lives += 1;
        seat.rebirth = Next::Unplanned;
        let (name, instance, life) = (seat.name, seat.instance, seat.lives);
        let instance_id = InstanceId::new(&format!("{}-pod-{name}-{instance}", setup.name));
        let instance_id = instance_id.unwrap_or_else(|_| {
            InstanceId::new(&format!("pod-{place}-{name}-{instance}"))
                .unwrap_or_else(|_| unreachable!("letters and digits"))
        });
        let agent = if name == 0 { setup.name.clone() } else { format!("{}-{name}", setup.name) };
        let options = ControllerOptions {
            capacity: setup.capacity,
            look_ahead: setup.look_ahead,
            basename: setup.basename.clone(),
            startup_timeout_ms: setup.startup_timeout_ms,
            startup_max_ms: setup.startup_max_ms,
            scheduler: setup.scheduler.clone(),
            scheduler_options: setup.scheduler_options.clone(),
            actions: vec![Action::Plan, Action::Apply],
            driver: "kubernetes-job".to_owned(),
            seed: self.luck.draw(BRAIN_SEED, u64::from(place), u64::from(life)),
            ..ControllerOptions::new(&agent, instance_id)
        };
        let brain = Brain::Controller { seat: place, brain: Box::new(Controller::new(options)) };
        let process = self.enter(Process::new(brain, setup.clock));
        self.seats[place as usize].process = Some(process);
        self.deliver(process, Mail::Input(Input::Began));
    }

    /// Gives a process its number.
    pub(super) fn enter(&mut self, process: Process) -> ProcessId {
        let id = ProcessId(self.next_process);
        self.next_process += 1;
        self.processes.insert(id, Box::new(process));
        id
    }

    /// The processes that are meant.
    pub(super) fn processes_of(&self, who: Who) -> Vec<ProcessId> {
        self.processes.iter().filter(|(_, process)| process.is(who)).map(|(id, _)| *id).collect()
    }

    pub(super) fn is_meant(&self, id: ProcessId, who: Option<Who>) -> bool {
        who.is_none_or(|who| self.processes.get(&id).is_some_and(|process| process.is(who)))
    }

    /// Hands something to a process, or keeps it while the process is suspended.
    pub(super) fn deliver(&mut self, id: ProcessId, mail: Mail) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        if process.paused.is_some() {
            process.mailbox.push(mail);
        } else {
            self.open(id, mail);
        }
    }

    /// An alarm rings. One that was replaced does not.
    pub(super) fn ring(&mut self, id: ProcessId, number: u64) -> bool {
        let Some(process) = self.processes.get(&id) else { return false };
        if process.alarm != number {
            return false;
        }
        let mail = match &process.brain {
            Brain::Controller { .. } => Mail::Input(Input::Wake),
            Brain::Worker(_) => Mail::Task(scalr_core::supervisor::input::TaskInput::Wake),
        };
        self.deliver(id, mail);
        true
    }

    /// Sets the alarm of a process to a moment of its own clock.
    fn wake_at(&mut self, id: ProcessId, local: Millis) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.alarm += 1;
        process.alarm_at = local;
        let (number, at) = (process.alarm, process.clock.world_at(local));
        if at != Millis::NEVER {
            self.push(at.max(self.now), u64::from(id.0), Event::Alarm { process: id, number });
        }
    }

    /// Changes a clock; what it was to ring at still stands.
    pub(super) fn change_clock(&mut self, id: ProcessId, ahead_ms: u64, drift_ppm: Option<i32>) {
        let now = self.now;
        let Some(process) = self.processes.get_mut(&id) else { return };
        let drift_ppm = drift_ppm.unwrap_or(process.clock.drift_ppm);
        process.clock.change(now, ahead_ms, drift_ppm);
        let alarm_at = process.alarm_at;
        self.wake_at(id, alarm_at);
    }

    /// Suspends a process.
    pub(super) fn pause(&mut self, id: ProcessId, for_ms: u64) {
        let now = self.now;
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.pauses += 1;
        process.paused = Some(process.pauses);
        let number = process.pauses;
        self.push(now + for_ms, u64::from(id.0), Event::Resume { process: id, number });
    }

    /// A suspended process goes on: first with what it was about to do, then with what has come.
    pub(super) fn resume(&mut self, id: ProcessId, number: Option<u64>) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        if process.paused.is_none() || number.is_some_and(|number| process.paused != Some(number)) {
            return;
        }
        process.paused = None;
        let mut held = std::mem::take(&mut process.held);
        let mut mailbox = std::mem::take(&mut process.mailbox);
        self.carry_out(id, &mut held);
        let mut mails = mailbox.drain(..);
        while let Some(process) = self.processes.get_mut(&id) {
            if process.paused.is_some() {
                process.mailbox.extend(mails);
                return;
            }
            let Some(mail) = mails.next() else { return };
            self.open(id, mail);
        }
    }

    /// Cuts a process off.
    pub(super) fn cut(&mut self, id: ProcessId, scalr: Option<Millis>, cluster: Option<Millis>) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.cut_scalr = scalr.unwrap_or(process.cut_scalr);
        process.cut_cluster = cluster.unwrap_or(process.cut_cluster);
    }

    pub(super) fn is_cut_from_scalr(&self, id: ProcessId) -> bool {
        self.processes.get(&id).is_some_and(|process| {
            let is_pod_cut = process.worker().is_some_and(|shell| self.is_pod_cut(shell.pod));
            is_pod_cut || self.now < process.cut_scalr
        })
    }

    pub(super) fn is_cut_from_cluster(&self, id: ProcessId) -> bool {
        self.processes.get(&id).is_some_and(|process| self.now < process.cut_cluster)
    }

    pub(super) fn pod_of(&self, id: ProcessId) -> Option<PodKey> {
        self.processes.get(&id)?.worker().map(|shell| shell.pod)
    }
}
