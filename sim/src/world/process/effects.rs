//! From an input to what is sent: a step of a brain, and its effects carried out one by one, with a place
//! for trouble before and after each.

use std::hash::Hash;

use fake_scalr::state::Command;
use scalr_core::{
    clock::Millis,
    cluster::{Kind, WatchEvent},
    controller::{
        effect::{ClusterCall, Effect, Note, NoteLevel, ScalrCall},
        input::{Answer, Input},
    },
    op::Op,
    supervisor::{effect::TaskEffect, input::TaskInput},
};

use super::{
    super::{
        World,
        cluster::Stimulus,
        event::{Call, Came, ClusterRequest, Event, Mail},
        setup::TaskNumber,
        snag::{CallKind, Fate, Leg},
        truth::Hurry,
    },
    Brain, Flight, ProcessId, Wish, adapter,
    notes::retry_after_ms,
};
use crate::luck::{Purpose, mix};

const TO_SCALR: Purpose = Purpose::named("latency to scalr");
const TO_CLUSTER: Purpose = Purpose::named("latency to cluster");

/// How much longer than a long poll's own wait its adapter waits for an answer.
const LONG_POLL_SLACK_MS: u64 = 15_000;

/// One way to the API server, at most.
const CLUSTER_WAY_MS: u64 = 5;

/// How a wish was taken.
pub(in super::super) enum Taken {
    Done,
    /// The process is no more.
    Gone,
    /// The process was suspended before it could do this.
    Held(Wish),
}

/// What becomes of a call before it is sent.
enum Before {
    /// It is sent, so much later.
    Goes { by_ms: u64 },
    /// Its process is no more.
    Gone,
    /// Its process was suspended.
    Waits,
}

impl World {
    /// Takes up what has come for a process that is not suspended.
    pub(super) fn open(&mut self, id: ProcessId, mail: Mail) {
        match mail {
            Mail::Input(input) => self.step_controller(id, input),
            Mail::Task(input) => self.step_worker(id, input),
            Mail::Scalr { op, kind, task, came, was_late } => {
                if !self.is_awaited(id, op) {
                    return;
                }
                if !was_late && let Some(fate) = self.snag(id, kind, task, Leg::Answered) {
                    let mail = Mail::Scalr { op, kind, task, came, was_late: true };
                    return self.meet_at_the_door(id, mail, &fate);
                }
                self.note_patience(id, op, came.retry_after_ms());
                self.scalr_answered(id, op, kind, *came);
                self.passes(id, kind, task, Leg::Processed);
            }
            Mail::Cluster { op, kind, task, input, was_late } => {
                if !self.is_awaited(id, op) {
                    return;
                }
                if !was_late && let Some(fate) = self.snag(id, kind, task, Leg::Answered) {
                    let mail = Mail::Cluster { op, kind, task, input, was_late: true };
                    return self.meet_at_the_door(id, mail, &fate);
                }
                self.note_patience(id, op, retry_after_ms(&input));
                self.note_create_answer(id, op, &input);
                self.forget_answered(id, &input);
                self.step_controller(id, input);
                self.passes(id, kind, task, Leg::Processed);
            }
        }
    }

    fn is_awaited(&self, id: ProcessId, op: Op) -> bool {
        self.processes.get(&id).is_some_and(|process| process.flight(op).is_some())
    }

    /// An answer is here, and something happens before the brain knows.
    fn meet_at_the_door(&mut self, id: ProcessId, mail: Mail, fate: &Fate) {
        match fate {
            Fate::Delay { by_ms } => {
                self.push(self.now + *by_ms, u64::from(id.0), Event::Mail { process: id, mail });
            }
            Fate::Pause { for_ms } => {
                self.pause(id, *for_ms);
                self.deliver(id, mail);
            }
            Fate::Crash(_) | Fate::Terminate => {
                if self.befalls(id, fate) {
                    self.deliver(id, mail);
                }
            }
            Fate::Lose { .. } | Fate::Twice { .. } | Fate::Refuse(_) => self.deliver(id, mail),
        }
    }

    fn scalr_answered(&mut self, id: ProcessId, op: Op, kind: CallKind, came: Came) {
        self.note_renewal(id, op, kind, &came);
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.land(op);
        match &process.brain {
            Brain::Controller { .. } => {
                let answer = if kind == CallKind::Register {
                    let registered = adapter::registered(came).map(|(registration, token)| {
                        process.session = Some(token);
                        process.forget_patience();
                        registration
                    });
                    Some(Answer::Registered(registered))
                } else {
                    adapter::controller_answer(kind, came)
                };
                if let Some(answer) = answer {
                    self.step_controller(id, Input::Answer { op, answer });
                }
            }
            Brain::Worker(_) => self.task_answered(id, op, kind, came),
        }
    }

    /// As the shell does it: a call that was answered is no longer in flight, a watch is until it ends.
    fn forget_answered(&mut self, id: ProcessId, input: &Input) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        match input {
            Input::Answer { answer: Answer::Watching(Ok(())), .. } => {}
            Input::Answer { op, .. } | Input::Watched { op, event: WatchEvent::Ended(_), .. } => {
                process.land(*op);
            }
            Input::Watched { .. } | Input::Began | Input::Wake | Input::Stop { .. } | Input::Paused(_) => {}
        }
    }

    fn step_controller(&mut self, id: ProcessId, input: Input) {
        self.say_input(id, &input);
        let mut effects = std::mem::take(&mut self.scratch.effects);
        let Some(process) = self.processes.get_mut(&id) else { return };
        let local = process.now(self.now);
        let Brain::Controller { brain, .. } = &mut process.brain else { return };
        if self.is_hashed {
            (self.now, id, &input).hash(&mut self.digest);
        }
        brain.step(local, input, &mut effects);
        if self.is_hashed {
            effects.hash(&mut self.digest);
        }
        let mut wishes = effects.drain(..).map(Wish::Controller);
        self.carry_out_each(id, &mut wishes);
        drop(wishes);
        self.scratch.effects = effects;
    }

    pub(super) fn step_worker(&mut self, id: ProcessId, input: TaskInput) {
        self.say_task_input(id, &input);
        let mut effects = std::mem::take(&mut self.scratch.task_effects);
        let Some(process) = self.processes.get_mut(&id) else { return };
        let local = process.now(self.now);
        let Brain::Worker(shell) = &mut process.brain else { return };
        if self.is_hashed {
            (self.now, id, &input).hash(&mut self.digest);
        }
        shell.brain.step(local, input, &mut effects);
        if self.is_hashed {
            effects.hash(&mut self.digest);
        }
        let mut wishes = effects.drain(..).map(Wish::Worker);
        self.carry_out_each(id, &mut wishes);
        drop(wishes);
        self.scratch.task_effects = effects;
    }

    /// Carries out what a process wanted.
    pub(super) fn carry_out(&mut self, id: ProcessId, wishes: &mut Vec<Wish>) {
        self.carry_out_each(id, &mut wishes.drain(..));
    }

    fn carry_out_each(&mut self, id: ProcessId, wishes: &mut impl Iterator<Item = Wish>) {
        while let Some(wish) = wishes.next() {
            self.say_wish(id, &wish);
            let taken = match wish {
                Wish::Controller(effect) => self.want(id, effect),
                Wish::Worker(effect) => self.want_task(id, effect),
            };
            match taken {
                Taken::Done => {}
                Taken::Gone => return,
                Taken::Held(wish) => {
                    if let Some(process) = self.processes.get_mut(&id) {
                        process.held.push(wish);
                        process.held.extend(wishes);
                    }
                    return;
                }
            }
        }
    }

    fn want(&mut self, id: ProcessId, effect: Effect) -> Taken {
        match effect {
            Effect::Scalr { op, call } => self.want_scalr(id, op, call),
            Effect::Cluster { op, call } => self.want_cluster(id, op, call),
            Effect::Abandon { op } => {
                self.abandon(id, op);
                Taken::Done
            }
            Effect::WakeAt(at) => {
                self.wake_at(id, at);
                Taken::Done
            }
            Effect::Log(_) => Taken::Done,
            Effect::Exit(_) => {
                self.controller_ended(id);
                Taken::Gone
            }
        }
    }

    /// The caller drops a call or a watch. What is on its way stays on its way.
    pub(in super::super) fn abandon(&mut self, id: ProcessId, op: Op) {
        let Some(flight) = self.processes.get_mut(&id).and_then(|process| process.land(op)) else { return };
        match flight.kind {
            CallKind::List | CallKind::Watch | CallKind::CreateJob | CallKind::DeleteJob => {
                self.react(Stimulus::Abandon { client: id, op });
            }
            CallKind::Register
            | CallKind::Heartbeat
            | CallKind::Deregister
            | CallKind::Acquire
            | CallKind::Release
            | CallKind::LaunchEvents
            | CallKind::LaunchFailed
            | CallKind::WorkerLost
            | CallKind::Messages
            | CallKind::Start
            | CallKind::Confirm
            | CallKind::Renew
            | CallKind::Signals
            | CallKind::Append
            | CallKind::BlobGet
            | CallKind::BlobPut
            | CallKind::Finish
            | CallKind::WatchEvent => self.scalr.hang_up_call(id, op),
        }
    }

    /// The place for trouble before a call is sent.
    fn before(&mut self, id: ProcessId, kind: CallKind, task: Option<TaskNumber>) -> Before {
        match self.snag(id, kind, task, Leg::Wanted) {
            None => Before::Goes { by_ms: 0 },
            Some(Fate::Delay { by_ms }) => Before::Goes { by_ms },
            Some(Fate::Pause { for_ms }) => {
                self.pause(id, for_ms);
                Before::Waits
            }
            Some(
                fate @ (Fate::Crash(_)
                | Fate::Terminate
                | Fate::Lose { .. }
                | Fate::Twice { .. }
                | Fate::Refuse(_)),
            ) if self.befalls(id, &fate) => Before::Goes { by_ms: 0 },
            Some(_) => Before::Gone,
        }
    }

    fn want_scalr(&mut self, id: ProcessId, op: Op, call: ScalrCall) -> Taken {
        let (kind, task) = match &call {
            ScalrCall::Register(_) => (CallKind::Register, None),
            ScalrCall::Heartbeat(..) => (CallKind::Heartbeat, None),
            ScalrCall::Deregister(_) => (CallKind::Deregister, None),
            ScalrCall::Acquire(..) => (CallKind::Acquire, None),
            ScalrCall::Release(task, _) => (CallKind::Release, self.truth.number_of(task)),
            ScalrCall::LaunchEvents(..) => (CallKind::LaunchEvents, None),
            ScalrCall::LaunchFailed(task, _) => (CallKind::LaunchFailed, self.truth.number_of(task)),
            ScalrCall::WorkerLost(task, _) => (CallKind::WorkerLost, self.truth.number_of(task)),
            ScalrCall::Messages(..) => (CallKind::Messages, None),
        };
        let by_ms = match self.before(id, kind, task) {
            Before::Goes { by_ms } => by_ms,
            Before::Gone => return Taken::Gone,
            Before::Waits => return Taken::Held(Wish::Controller(Effect::Scalr { op, call })),
        };
        let session = self.processes.get(&id).and_then(|process| process.session.clone());
        let bearer = session.filter(|_| kind != CallKind::Register);
        let bearer = bearer.unwrap_or_else(|| self.scalr.pool_token().clone());
        self.note_door(id, task, &call);
        let (call, wait_ms) = adapter::agent_call(call);
        let command = Command::Agent { bearer, key: None, call };
        self.send_to_scalr(id, op, kind, task, command, wait_ms, by_ms)
    }

    /// Sends a call to Scalr, unless something happens.
    #[expect(clippy::too_many_arguments, reason = "the parts of a call, each once")]
    pub(in super::super) fn send_to_scalr(
        &mut self,
        id: ProcessId,
        op: Op,
        kind: CallKind,
        task: Option<TaskNumber>,
        command: Command,
        wait_ms: u64,
        by_ms: u64,
    ) -> Taken {
        self.take_off(id, op, (kind, None), task);
        let key = wire_key(id, op);
        if self.is_cut_from_scalr(id) {
            let timeout_ms = self.adapter_timeout_ms(wait_ms);
            let came = Box::new(Came::Nothing("timed out"));
            let mail = Mail::Scalr { op, kind, task, came, was_late: false };
            self.push(self.now + timeout_ms, key, Event::Mail { process: id, mail });
        } else {
            let at = self.now + by_ms + self.scalr_way_ms(id, kind, op);
            let call =
                Call { process: id, op, kind, task, command, wait_ms, was_late: false, is_copy: false };
            self.push(at, key, Event::AtScalr(Box::new(call)));
        }
        self.sent(id, kind, task)
    }

    fn take_off(
        &mut self,
        id: ProcessId,
        op: Op,
        (kind, of): (CallKind, Option<Kind>),
        task: Option<TaskNumber>,
    ) {
        let (now, step) = (self.now, self.steps + 1);
        if let Some(process) = self.processes.get_mut(&id) {
            let last_at = Millis(0);
            process.flights.push(Flight { op, kind, task, of, fence: None, sent: now, step, last_at });
            let said = process.patience.remove(&(kind, of, task));
            if let Some((asked, until)) = said.filter(|(_, until)| now < *until) {
                self.truth.hurry(Hurry { at: now, process: id, kind, task, asked, until });
            }
        }
        self.truth.count_call(task, kind);
    }

    /// A call is on its way: the place for trouble after it.
    fn sent(&mut self, id: ProcessId, kind: CallKind, task: Option<TaskNumber>) -> Taken {
        match self.snag(id, kind, task, Leg::Sent) {
            None => Taken::Done,
            Some(Fate::Pause { for_ms }) => {
                self.pause(id, for_ms);
                Taken::Held(Wish::nothing())
            }
            Some(
                fate @ (Fate::Crash(_)
                | Fate::Terminate
                | Fate::Lose { .. }
                | Fate::Delay { .. }
                | Fate::Twice { .. }
                | Fate::Refuse(_)),
            ) if self.befalls(id, &fate) => Taken::Done,
            Some(_) => Taken::Gone,
        }
    }

    /// When an adapter gives up on an answer.
    pub(in super::super) fn adapter_timeout_ms(&self, wait_ms: u64) -> u64 {
        if wait_ms == 0 { self.setup.scalr.timeout_ms } else { wait_ms + LONG_POLL_SLACK_MS }
    }

    /// One way between a process and Scalr, in milliseconds.
    pub(in super::super) fn scalr_way_ms(&self, id: ProcessId, kind: CallKind, op: Op) -> u64 {
        let object = u64::from(id.0) << 8 | kind as u64;
        let way_ms = self.luck.span(TO_SCALR, object, mix(self.now.0 ^ op.0), &self.setup.scalr.latency);
        way_ms + self.scalr.slow_ms(self.now)
    }

    fn want_cluster(&mut self, id: ProcessId, op: Op, call: ClusterCall) -> Taken {
        let (kind, task) = match &call {
            ClusterCall::List(..) => (CallKind::List, None),
            ClusterCall::Watch(..) => (CallKind::Watch, None),
            ClusterCall::Create(spec) => (CallKind::CreateJob, self.truth.number_of(&spec.task)),
            ClusterCall::Delete(name, _) => (CallKind::DeleteJob, self.jobs.get(name).map(|job| job.number)),
        };
        let of = match &call {
            ClusterCall::List(of, _) | ClusterCall::Watch(of, _) => Some(*of),
            ClusterCall::Create(_) | ClusterCall::Delete(..) => None,
        };
        let by_ms = match self.before(id, kind, task) {
            Before::Goes { by_ms } => by_ms,
            Before::Gone => return Taken::Gone,
            Before::Waits => return Taken::Held(Wish::Controller(Effect::Cluster { op, call })),
        };
        self.take_off(id, op, (kind, of), task);
        self.note_create(id, op, task, &call);
        let key = wire_key(id, op);
        if self.is_cut_from_cluster(id) {
            let at = self.now + self.setup.scalr.timeout_ms;
            if let Some(input) = super::super::wire::unanswered(op, kind, "timed out") {
                let mail = Mail::Cluster { op, kind, task, input, was_late: false };
                self.push(at, key, Event::Mail { process: id, mail });
            }
        } else {
            let way_ms = 1 + self.luck.below(TO_CLUSTER, key, self.now.0, CLUSTER_WAY_MS);
            let request = ClusterRequest { process: id, op, kind, task, call, was_late: false };
            self.push(self.now + by_ms + way_ms, key, Event::AtCluster(Box::new(request)));
        }
        self.sent(id, kind, task)
    }
}

impl World {
    fn want_task(&mut self, id: ProcessId, effect: TaskEffect) -> Taken {
        match effect {
            TaskEffect::Call { op, call } => {
                let Some((number, kind)) = self.task_call_kind(id, &call) else { return Taken::Gone };
                let task = Some(number);
                let by_ms = match self.before(id, kind, task) {
                    Before::Goes { by_ms } => by_ms,
                    Before::Gone => return Taken::Gone,
                    Before::Waits => return Taken::Held(Wish::Worker(TaskEffect::Call { op, call })),
                };
                let Some((command, wait_ms)) = self.task_command(id, call) else { return Taken::Gone };
                self.send_to_scalr(id, op, kind, task, command, wait_ms, by_ms)
            }
            TaskEffect::Abandon { op } => {
                self.abandon(id, op);
                Taken::Done
            }
            TaskEffect::Begin { op, stage, exit_code: _ } => {
                self.begin_stage(id, op, stage);
                self.alive(id)
            }
            TaskEffect::Signal { op, signal } => {
                self.note_signal(id, op, signal);
                self.signal_stage(id, op, signal);
                self.alive(id)
            }
            TaskEffect::Drain => {
                self.note_drain(id);
                self.drain_console(id);
                Taken::Done
            }
            TaskEffect::Log(_) => Taken::Done,
            TaskEffect::Print(line) => {
                self.print(id, line.len() as u64 + 1);
                Taken::Done
            }
            TaskEffect::WakeAt(at) => {
                self.wake_at(id, at);
                Taken::Done
            }
            TaskEffect::DismissRunner => {
                self.dismiss_runner(id);
                Taken::Done
            }
            TaskEffect::Exit { code } => {
                self.worker_exits(id, i32::from(code));
                Taken::Gone
            }
        }
    }

    fn alive(&self, id: ProcessId) -> Taken {
        if self.processes.contains_key(&id) { Taken::Done } else { Taken::Gone }
    }
}

impl Wish {
    /// A wish that changes nothing.
    fn nothing() -> Self {
        Self::Worker(TaskEffect::Log(Note {
            level: NoteLevel::Info,
            message: String::new(),
            task: None,
            job: None,
        }))
    }
}

/// A wire by its ends.
pub(in super::super) fn wire_key(id: ProcessId, op: Op) -> u64 {
    u64::from(id.0) << 40 | op.0
}
