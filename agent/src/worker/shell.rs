//! The shell of the Supervisor: one mailbox, one loop. Each effect becomes a call whose answer returns to
//! the mailbox, or an order to the workbench; nothing here decides anything.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
};

use bytes::Bytes;
use scalr_core::{
    clock::{Clock, Millis},
    op::Op,
    scalr::Scalr,
    supervisor::{
        Supervisor,
        effect::{FinishOutline, Stage, StopSignal, TaskCall, TaskEffect},
        input::{Claim, StageEnd, TaskAnswer, TaskInput},
    },
    task_api::{TaskApi, TaskError},
};
use scalr_protocol::{
    agent::Register,
    blob::{BlobRef, Digest},
    id::{Fence, TaskId},
    task::{Finish, HookPhase, Lease, LogDigest, Payload, Started},
};
use tokio::{sync::mpsc, task::AbortHandle};

use crate::controller::say;

/// How many inputs may wait. The workbench waits too when it is full, and so slows the tool.
const MAILBOX_INPUTS_MAX: usize = 256;
/// How many lengths of the console are remembered: an outcome names one of the last few, and is repeated
/// with it while lines of ours may still come.
const LOGS_MAX: usize = 256;

/// What the Supervisor touches the world through.
#[derive(Debug)]
pub struct Ports<S, T, K, C> {
    /// Scalr, for registering.
    pub scalr: S,
    /// The task's calls.
    pub task_api: T,
    /// Time.
    pub clock: K,
    /// The spooled console.
    pub console: C,
}

/// What never changes in the calls of a task.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The registration of this worker.
    pub register: Register,
    /// The task.
    pub task: TaskId,
    /// The grant for which the Job was made.
    pub fence: Fence,
    /// Drawn in memory, never stored: a restarted process is another contender.
    pub key: String,
}

/// Reads the console back.
pub trait ConsoleBytes: Clone + Send + 'static {
    /// Exactly these bytes.
    fn read(&self, from: u64, bytes: usize) -> io::Result<Bytes>;
}

/// What the shell wants of the workbench.
#[derive(Debug)]
pub enum Order {
    /// The task was claimed; this is what is to be done.
    Claimed(Box<Started>),
    /// Begin a stage.
    Begin {
        /// Its name.
        op: Op,
        /// Which.
        stage: Stage,
        /// The exit code of the command around which it runs.
        exit_code: Option<i32>,
    },
    /// Signal the command of a stage.
    Signal {
        /// The stage.
        op: Op,
        /// How.
        signal: StopSignal,
    },
    /// Read output whatever happens to the spool.
    Drain,
    /// Write a line of ours.
    Print(String),
    /// The server has this much of the console.
    Acknowledged(u64),
    /// Let the runner go, and end.
    Dismiss,
}

/// What the workbench says.
#[derive(Debug)]
pub enum Report {
    /// The runner has answered.
    RunnerReady,
    /// The runner is gone.
    RunnerGone {
        /// What happened.
        detail: String,
    },
    /// The runner was told to stop.
    Stopping {
        /// How long it has.
        grace_ms: u64,
    },
    /// A stage has ended.
    StageEnded {
        /// Which.
        op: Op,
        /// How.
        end: StageEnd,
        /// What it uploaded.
        uploaded: Option<BlobRef>,
    },
    /// The console has grown.
    Spooled {
        /// Its length and digest now.
        log: LogDigest,
        /// How many lines of the brain's own are in it.
        lines: u32,
    },
}

/// What comes into the mailbox.
#[derive(Debug)]
enum Mail {
    /// An input as it is.
    Input(TaskInput),
    /// The answer to `start`, with what is not for the brain.
    Started { op: Op, answer: Result<Box<Started>, TaskError> },
    /// From the workbench.
    Report(Report),
}

/// Runs a Supervisor to its exit code. `stops` brings the grace in ms with each SIGTERM.
pub async fn run<S, T, K, C>(
    mut brain: Supervisor,
    ports: Ports<S, T, K, C>,
    identity: Identity,
    work: mpsc::Sender<Order>,
    mut reports: mpsc::Receiver<Report>,
    mut stops: mpsc::Receiver<u64>,
) -> u8
where
    S: Scalr + 'static,
    T: TaskApi + 'static,
    K: Clock + 'static,
    C: ConsoleBytes + Sync,
{
    let (mailbox, mut mail) = mpsc::channel(MAILBOX_INPUTS_MAX);
    let (from_work, from_outside) = (mailbox.clone(), mailbox.clone());
    let forwards = [
        tokio::spawn(async move {
            while let Some(report) = reports.recv().await {
                if from_work.send(Mail::Report(report)).await.is_err() {
                    return;
                }
            }
            // Without a workbench there are no hands: to the brain that is a runner that is gone.
            let detail = "the workbench has failed".to_owned();
            let _done = from_work.send(Mail::Report(Report::RunnerGone { detail })).await;
        }),
        tokio::spawn(async move {
            while let Some(grace_ms) = stops.recv().await {
                if from_outside.send(Mail::Input(TaskInput::Stop { grace_ms })).await.is_err() {
                    return;
                }
            }
        }),
    ];
    let mut hands = Hands {
        ports: Arc::new(ports),
        identity: Arc::new(identity),
        mailbox,
        work,
        calls: BTreeMap::new(),
        alarm: None,
        logs: VecDeque::from([LogDigest { bytes: 0, sha256: NOTHING }]),
        uploaded: Vec::new(),
    };
    let mut effects = Vec::new();
    let mut input = TaskInput::Began;
    let code = 'life: loop {
        brain.step(hands.ports.clock.now(), input, &mut effects);
        for effect in effects.drain(..) {
            if let Some(code) = hands.carry_out(effect).await {
                break 'life code;
            }
        }
        let Some(next) = mail.recv().await else { unreachable!("the hands keep a sender") };
        input = hands.open(next).await;
    };
    forwards.iter().for_each(tokio::task::JoinHandle::abort);
    hands.calls.into_values().chain(hands.alarm).for_each(|call| call.abort());
    code
}

/// SHA-256 of nothing (FIPS 180-4).
const NOTHING: Digest = Digest([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// What carries effects out.
struct Hands<S, T, K, C> {
    ports: Arc<Ports<S, T, K, C>>,
    identity: Arc<Identity>,
    mailbox: mpsc::Sender<Mail>,
    work: mpsc::Sender<Order>,
    /// Calls in flight, so that they can be abandoned.
    calls: BTreeMap<Op, AbortHandle>,
    alarm: Option<AbortHandle>,
    /// The console's latest lengths, with the digest of each: an outcome names one of them.
    logs: VecDeque<LogDigest>,
    /// What was uploaded.
    uploaded: Vec<BlobRef>,
}

impl<S, T, K, C> Hands<S, T, K, C>
where
    S: Scalr + 'static,
    T: TaskApi + 'static,
    K: Clock + 'static,
    C: ConsoleBytes + Sync,
{
    async fn carry_out(&mut self, effect: TaskEffect) -> Option<u8> {
        match effect {
            TaskEffect::Call { op, call } => self.call(op, call),
            TaskEffect::Abandon { op } => {
                if let Some(call) = self.calls.remove(&op) {
                    call.abort();
                }
            }
            TaskEffect::Begin { op, stage, exit_code } => {
                self.order(Order::Begin { op, stage, exit_code }).await;
            }
            TaskEffect::Signal { op, signal } => self.order(Order::Signal { op, signal }).await,
            TaskEffect::Drain => self.order(Order::Drain).await,
            TaskEffect::Print(line) => self.order(Order::Print(line)).await,
            TaskEffect::WakeAt(at) => self.wake_at(at),
            TaskEffect::Log(note) => say(&note),
            TaskEffect::DismissRunner => self.order(Order::Dismiss).await,
            TaskEffect::Exit { code } => return Some(code),
        }
        None
    }

    async fn order(&self, order: Order) {
        // That a workbench is gone is said where its reports end.
        let _gone = self.work.send(order).await;
    }

    /// From the mailbox to the brain: what is not for the brain stays here.
    async fn open(&mut self, mail: Mail) -> TaskInput {
        match mail {
            Mail::Input(input) => {
                if let TaskInput::Answer { op, answer } = &input {
                    self.calls.remove(op);
                    if let TaskAnswer::Appended(Ok(bytes)) = answer {
                        self.order(Order::Acknowledged(*bytes)).await;
                    }
                }
                input
            }
            Mail::Started { op, answer } => {
                self.calls.remove(&op);
                let answer = match answer {
                    Ok(started) => {
                        let claim = claim(&started);
                        self.order(Order::Claimed(started)).await;
                        Ok(claim)
                    }
                    Err(error) => Err(error),
                };
                TaskInput::Answer { op, answer: TaskAnswer::Start(answer) }
            }
            Mail::Report(Report::RunnerReady) => TaskInput::RunnerReady,
            Mail::Report(Report::RunnerGone { detail }) => TaskInput::RunnerGone { detail },
            Mail::Report(Report::Stopping { grace_ms }) => TaskInput::Stop { grace_ms },
            Mail::Report(Report::StageEnded { op, end, uploaded }) => {
                self.uploaded.extend(uploaded);
                TaskInput::StageEnded { op, end }
            }
            Mail::Report(Report::Spooled { log, lines }) => {
                if self.logs.len() == LOGS_MAX {
                    self.logs.pop_front();
                }
                self.logs.push_back(log);
                TaskInput::Spooled { bytes: log.bytes, lines }
            }
        }
    }

    fn call(&mut self, op: Op, call: TaskCall) {
        let (ports, identity, mailbox) =
            (Arc::clone(&self.ports), Arc::clone(&self.identity), self.mailbox.clone());
        let finish = |outline: FinishOutline| Finish {
            fence: self.identity.fence,
            outcome: outline.outcome,
            exit_code: outline.exit_code,
            error: outline.error,
            summary: outline.summary,
            log: self.log(outline.log_bytes),
            blobs: self.uploaded.clone(),
        };
        let request = match call {
            TaskCall::Register => Request::Register,
            TaskCall::Start => Request::Start,
            TaskCall::Lease { phase } => Request::Lease(Lease { fence: identity.fence, phase }),
            TaskCall::Signals { after, wait_ms } => Request::Signals { after, wait_ms },
            TaskCall::Append { from, to } => Request::Append { from, to },
            TaskCall::Finish(outline) => Request::Finish(Box::new(finish(outline))),
        };
        let task = tokio::spawn(async move {
            let answer = answer(&ports, &identity, op, request).await;
            // The only receiver is gone when the process is done.
            let _done = mailbox.send(answer).await;
        });
        self.calls.insert(op, task.abort_handle());
    }

    /// The console as it was at this length.
    fn log(&self, bytes: u64) -> LogDigest {
        let found = self.logs.iter().rev().find(|log| log.bytes == bytes);
        match found.or(self.logs.back()) {
            Some(log) => *log,
            None => unreachable!("the length 0 was there from the begin"),
        }
    }

    fn wake_at(&mut self, at: Millis) {
        if let Some(alarm) = self.alarm.take() {
            alarm.abort();
        }
        if at == Millis::NEVER {
            return;
        }
        let (ports, mailbox) = (Arc::clone(&self.ports), self.mailbox.clone());
        let task = tokio::spawn(async move {
            ports.clock.wake_at(at).await;
            let _done = mailbox.send(Mail::Input(TaskInput::Wake)).await;
        });
        self.alarm = Some(task.abort_handle());
    }
}

/// A call with all its parts.
enum Request {
    Register,
    Start,
    Lease(Lease),
    Signals { after: u64, wait_ms: u64 },
    Append { from: u64, to: u64 },
    Finish(Box<Finish>),
}

async fn answer<S, T, K, C>(ports: &Ports<S, T, K, C>, identity: &Identity, op: Op, request: Request) -> Mail
where
    S: Scalr,
    T: TaskApi,
    C: ConsoleBytes,
{
    let (api, task) = (&ports.task_api, &identity.task);
    let answer = match request {
        Request::Register => TaskAnswer::Registered(ports.scalr.register(&identity.register).await),
        Request::Start => {
            let answer = api.start(task, identity.fence, &identity.key).await.map(Box::new);
            return Mail::Started { op, answer };
        }
        Request::Lease(lease) => TaskAnswer::Lease(api.lease(task, &lease).await),
        Request::Signals { after, wait_ms } => TaskAnswer::Signals(api.signals(task, after, wait_ms).await),
        Request::Append { from, to } => TaskAnswer::Appended(append(ports, task, from, to).await),
        Request::Finish(finish) => TaskAnswer::Finish(api.finish(task, &finish).await),
    };
    Mail::Input(TaskInput::Answer { op, answer })
}

async fn append<S, T, K, C>(
    ports: &Ports<S, T, K, C>,
    task: &TaskId,
    from: u64,
    to: u64,
) -> Result<u64, TaskError>
where
    T: TaskApi,
    C: ConsoleBytes,
{
    let bytes = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    match ports.console.read(from, bytes) {
        Ok(chunk) => ports.task_api.append(task, from, chunk).await,
        // The disk may come back; the brain tries again as if the server had not answered.
        Err(error) => Err(TaskError::Unreachable { detail: format!("the spool can't be read: {error}") }),
    }
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
