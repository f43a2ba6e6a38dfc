//! The shell of a worker: a real Supervisor, the tokens that it must not see, and the calls that they go
//! with. It says what the real shell says, and decides nothing.

use fake_scalr::state::{AgentCall, Command, Key, Reply, TaskCall as ServerCall, Token};
use scalr_core::{
    op::Op,
    supervisor::{
        Supervisor,
        effect::{FinishOutline, TaskCall},
        input::{Claim, TaskAnswer, TaskInput},
        options::TaskOptions,
    },
};
use scalr_protocol::{
    agent::{Mode, Register},
    blob::{BlobKind, BlobRef, Digest},
    id::{Fence, InstanceId, TaskId},
    task::{Finish, HookPhase, Lease, LogDigest, Payload, Start, Started},
};

use super::{
    super::{
        World,
        cluster::PodKey,
        event::{Came, Event, Mail},
        pods::PodRun,
        setup::{ClockSetup, TaskNumber},
        snag::CallKind,
        tool::Own,
        truth::FactKind,
    },
    Brain, Process, ProcessId, adapter,
};
use crate::luck::{Purpose, mix};

const BRAIN_SEED: Purpose = Purpose::named("supervisor seed");
const CLOCK_ORIGIN: Purpose = Purpose::named("worker clock");

/// A worker's process, but for its clock and its calls.
#[derive(Clone, Debug)]
pub(in super::super) struct WorkerShell {
    pub(in super::super) brain: Supervisor,
    pub(in super::super) pod: PodKey,
    pub(in super::super) number: TaskNumber,
    pub(in super::super) task: TaskId,
    pub(in super::super) fence: Fence,
    register: Register,
    /// Drawn in memory, never stored: a restarted process is another contender.
    key: Key,
    task_token: Option<Token>,
    /// It has seen the answer to its confirm.
    pub(in super::super) is_confirmed: bool,
    /// The console's length after masking.
    pub(in super::super) spooled: u64,
    /// How many lines of the brain's own are in it.
    pub(super) lines: u32,
    /// How many bytes of it the server has, as it last said.
    pub(super) acked: u64,
    /// A stop has begun: nothing may slow the tool any more.
    pub(super) is_drained: bool,
    pub(in super::super) uploaded: Vec<BlobRef>,
    /// What can be fetched, as `start` said.
    pub(in super::super) blobs: Vec<BlobKind>,
    /// A stage of its own that runs.
    pub(in super::super) own: Option<Own>,
    pub(in super::super) owns: u64,
}

impl World {
    /// The process of a worker begins in its container.
    pub(in super::super) fn begin_worker(&mut self, pod: PodKey) -> Option<ProcessId> {
        let run = self.pods.get(&pod)?;
        let PodRun { number, task, fence, name, .. } = run;
        let life = mix(pod.0);
        let setup = &self.setup.workers;
        let options =
            TaskOptions { seed: self.luck.draw(BRAIN_SEED, number.key(), life), ..setup.options.clone() };
        let instance = InstanceId::new(&format!("pod-{}", pod.0));
        let register = Register {
            name: name.clone(),
            instance_id: instance.unwrap_or_else(|_| unreachable!("letters and digits")),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            os: "linux/x86_64".to_owned(),
            driver: "kubernetes-job".to_owned(),
            mode: Mode::Worker,
            capacity: 0,
            task: Some(task.clone()),
            fence: Some(*fence),
        };
        let origin_ms = self.luck.span(CLOCK_ORIGIN, number.key(), life, &setup.clock_origin);
        let (number, fence) = (*number, *fence);
        let shell = WorkerShell {
            brain: Supervisor::new(options),
            pod,
            number,
            task: task.clone(),
            fence,
            register,
            key: Key::new(&format!("key-{}-{}", pod.0, self.next_process)),
            task_token: None,
            is_confirmed: false,
            spooled: 0,
            lines: 0,
            acked: 0,
            is_drained: false,
            uploaded: Vec::new(),
            blobs: Vec::new(),
            own: None,
            owns: 0,
        };
        let clock = ClockSetup { origin_ms, drift_ppm: 0 };
        let process = self.enter(Process::new(Brain::Worker(Box::new(shell)), clock));
        self.note(number, FactKind::WorkerBegan { process, pod, fence });
        Some(process)
    }

    /// About which task a worker calls, and what.
    pub(super) fn task_call_kind(&self, id: ProcessId, call: &TaskCall) -> Option<(TaskNumber, CallKind)> {
        let shell = self.processes.get(&id)?.worker()?;
        let kind = match call {
            TaskCall::Register => CallKind::Register,
            TaskCall::Start => CallKind::Start,
            TaskCall::Lease { .. } if shell.is_confirmed => CallKind::Renew,
            TaskCall::Lease { .. } => CallKind::Confirm,
            TaskCall::Signals { .. } => CallKind::Signals,
            TaskCall::Append { .. } => CallKind::Append,
            TaskCall::Finish(_) => CallKind::Finish,
        };
        Some((shell.number, kind))
    }

    /// A call with all that the shell adds, and how long it may wait at the server.
    pub(super) fn task_command(&mut self, id: ProcessId, call: TaskCall) -> Option<(Command, u64)> {
        let pool = self.scalr.pool_token().clone();
        let process = self.processes.get(&id)?;
        let shell = process.worker()?;
        let session = process.session.clone().unwrap_or_else(|| pool.clone());
        let fence = shell.fence;
        let (call, wait_ms) = match call {
            TaskCall::Register => {
                let call = AgentCall::Register(shell.register.clone());
                return Some((Command::Agent { bearer: pool, key: None, call }, 0));
            }
            TaskCall::Start => {
                let call = AgentCall::Start { task: shell.task.clone(), start: Start { fence } };
                return Some((Command::Agent { bearer: session, key: Some(shell.key.clone()), call }, 0));
            }
            TaskCall::Lease { phase } => (ServerCall::Lease(Lease { fence, phase }), 0),
            TaskCall::Signals { after, wait_ms } => (ServerCall::Signals { after }, wait_ms),
            TaskCall::Append { from, to } => {
                (ServerCall::LogAppend { first: from, bytes: to.saturating_sub(from) }, 0)
            }
            TaskCall::Finish(outline) => {
                let finish = shell.finish(outline);
                let what = FactKind::FinishSent {
                    process: id,
                    outcome: finish.outcome,
                    exit_code: finish.exit_code,
                    log_bytes: finish.log.bytes,
                };
                let number = shell.number;
                let command = shell.command(session, ServerCall::Finish(finish));
                self.note(number, what);
                return Some((command, 0));
            }
        };
        Some((shell.command(session, call), wait_ms))
    }

    /// A call of the worker's own hands, with the task's token.
    pub(in super::super) fn blob_command(&self, id: ProcessId, call: ServerCall) -> Option<Command> {
        let process = self.processes.get(&id)?;
        let session = process.session.clone().unwrap_or_else(|| self.scalr.pool_token().clone());
        Some(process.worker()?.command(session, call))
    }

    /// A call of a worker was answered.
    pub(super) fn task_answered(&mut self, id: ProcessId, op: Op, kind: CallKind, came: Came) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        let answer = match kind {
            CallKind::Register => {
                let registered = adapter::registered(came).map(|(registration, token)| {
                    process.session = Some(token);
                    registration
                });
                Some(TaskAnswer::Registered(registered))
            }
            CallKind::Start => {
                let Some(shell) = process.worker_mut() else { return };
                Some(TaskAnswer::Start(match came {
                    Came::Reply(Reply::Started(started)) => Ok(shell.started(&started)),
                    came @ (Came::Reply(_) | Came::Refused(..) | Came::Nothing(_)) => {
                        Err(adapter::task_error(came))
                    }
                }))
            }
            CallKind::BlobGet | CallKind::BlobPut => {
                self.blob_answered(id, op, came);
                return;
            }
            CallKind::Confirm | CallKind::Renew => {
                let is_lease = matches!(&came, Came::Reply(Reply::Lease(_)));
                if let Some(shell) = process.worker_mut() {
                    shell.is_confirmed |= is_lease;
                }
                adapter::task_answer(kind, came)
            }
            CallKind::Signals
            | CallKind::Append
            | CallKind::Finish
            | CallKind::Heartbeat
            | CallKind::Deregister
            | CallKind::Acquire
            | CallKind::Release
            | CallKind::LaunchEvents
            | CallKind::LaunchFailed
            | CallKind::WorkerLost
            | CallKind::Messages
            | CallKind::List
            | CallKind::Watch
            | CallKind::WatchEvent
            | CallKind::CreateJob
            | CallKind::DeleteJob => adapter::task_answer(kind, came),
        };
        if let Some(answer) = answer {
            self.console_acked(id, &answer);
            self.step_worker(id, TaskInput::Answer { op, answer });
        }
    }

    /// Something of the pod's own for a worker: by one pipe, in order.
    pub(in super::super) fn tell(&mut self, id: ProcessId, input: TaskInput, after_ms: u64) {
        let mail = Mail::Task(input);
        self.push(self.now + after_ms, u64::from(id.0), Event::Mail { process: id, mail });
    }
}

impl WorkerShell {
    fn command(&self, session: Token, call: ServerCall) -> Command {
        let bearer = self.task_token.clone().unwrap_or(session);
        Command::Task { bearer, task: self.task.clone(), call }
    }

    fn started(&mut self, started: &Started) -> Claim {
        // A replayed answer brings the same token; whichever came first is the one.
        self.task_token.get_or_insert_with(|| Token::new(started.task_token.expose()));
        self.blobs = started.payload.blobs.iter().map(|blob| blob.kind).collect();
        claim(started)
    }

    fn finish(&self, outline: FinishOutline) -> Finish {
        let FinishOutline { outcome, exit_code, error, summary, log_bytes } = outline;
        let log = LogDigest { bytes: log_bytes, sha256: made_up(self.number.key(), log_bytes) };
        Finish { fence: self.fence, outcome, exit_code, error, summary, log, blobs: self.uploaded.clone() }
    }
}

/// What stands for the digest of bytes that nobody has.
pub(in super::super) fn made_up(object: u64, length: u64) -> Digest {
    let mut bytes = [0; 32];
    for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *word = mix(object ^ mix(length ^ place as u64)).to_le_bytes();
    }
    Digest(bytes)
}

/// What decisions need of a claim.
fn claim(started: &Started) -> Claim {
    let Payload { action, run, hooks, timeouts, .. } = &started.payload;
    let phases = [
        HookPhase::PreInit,
        HookPhase::PrePlan,
        HookPhase::PostPlan,
        HookPhase::PreApply,
        HookPhase::PostApply,
    ];
    let count = |phase: HookPhase| {
        let hooks = hooks.iter().filter(|hook| hook.phase == phase).count();
        (phase, u32::try_from(hooks).unwrap_or(u32::MAX))
    };
    Claim {
        action: *action,
        is_dry: run.is_dry,
        hooks: phases.into_iter().map(count).filter(|(_, hooks)| *hooks > 0).collect(),
        operation_timeout_ms: timeouts.operation_ms,
        lease_ttl_ms: started.lease_ttl_ms,
        renew_ms: started.renew_ms,
        lost_after_ms: started.lost_after_ms,
    }
}
