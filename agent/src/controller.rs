//! The shell of the Controller: one mailbox, one loop. Each effect becomes a call whose answer returns to
//! the mailbox; nothing here decides anything.

use std::{collections::BTreeMap, sync::Arc};

use scalr_core::{
    clock::{Clock, Millis},
    cluster::{Cluster, Watch, WatchEvent},
    controller::{
        Controller,
        effect::{ClusterCall, ControllerExit, Effect, Note, NoteLevel, ScalrCall},
        input::{Answer, Input},
    },
    op::Op,
    scalr::Scalr,
};
use tokio::{sync::mpsc, task::AbortHandle};

/// How many inputs may wait. Senders wait too when it is full, so a slow brain slows the watches, which the
/// cluster bears.
const MAILBOX_INPUTS_MAX: usize = 1_024;

/// What the Controller touches the world through.
#[derive(Debug)]
pub struct Ports<S, C, K> {
    /// Scalr.
    pub scalr: S,
    /// What runs Jobs.
    pub cluster: C,
    /// Time.
    pub clock: K,
}

/// Runs a Controller to its exit. `inputs` are what comes from outside: signals.
pub async fn run<S, C, K>(
    mut brain: Controller,
    ports: Ports<S, C, K>,
    mut inputs: mpsc::Receiver<Input>,
) -> ControllerExit
where
    S: Scalr + 'static,
    C: Cluster + 'static,
    K: Clock + 'static,
{
    let ports = Arc::new(ports);
    let (mailbox, mut mail) = mpsc::channel(MAILBOX_INPUTS_MAX);
    let outside = mailbox.clone();
    let forward = tokio::spawn(async move {
        while let Some(input) = inputs.recv().await {
            if outside.send(input).await.is_err() {
                return;
            }
        }
    });
    let mut hands = Hands { ports: Arc::clone(&ports), mailbox, calls: BTreeMap::new(), alarm: None };
    let mut effects = Vec::new();
    let mut input = Input::Began;
    let exit = 'life: loop {
        hands.forget_answered(&input);
        brain.step(ports.clock.now(), input, &mut effects);
        for effect in effects.drain(..) {
            if let Some(exit) = hands.carry_out(effect) {
                break 'life exit;
            }
        }
        let Some(next) = mail.recv().await else { unreachable!("the hands keep a sender") };
        input = next;
    };
    forward.abort();
    hands.let_go();
    exit
}

/// What carries effects out.
struct Hands<S, C, K> {
    ports: Arc<Ports<S, C, K>>,
    mailbox: mpsc::Sender<Input>,
    /// Calls and watches in flight, so that they can be abandoned.
    calls: BTreeMap<Op, AbortHandle>,
    alarm: Option<AbortHandle>,
}

impl<S, C, K> Hands<S, C, K>
where
    S: Scalr + 'static,
    C: Cluster + 'static,
    K: Clock + 'static,
{
    fn carry_out(&mut self, effect: Effect) -> Option<ControllerExit> {
        match effect {
            Effect::Scalr { op, call } => self.spawn(op, scalr_call(Arc::clone(&self.ports), op, call)),
            Effect::Cluster { op, call: ClusterCall::Watch(kind, after) } => {
                self.watch(op, kind, after);
            }
            Effect::Cluster { op, call } => self.spawn(op, cluster_call(Arc::clone(&self.ports), op, call)),
            Effect::Abandon { op } => {
                if let Some(call) = self.calls.remove(&op) {
                    call.abort();
                }
            }
            Effect::WakeAt(at) => self.wake_at(at),
            Effect::Log(note) => say(&note),
            Effect::Exit(exit) => return Some(exit),
        }
        None
    }

    /// A call that was answered can't be abandoned any more.
    fn forget_answered(&mut self, input: &Input) {
        match input {
            Input::Answer { answer: Answer::Watching(Ok(())), .. } => {}
            Input::Answer { op, .. } | Input::Watched { op, event: WatchEvent::Ended(_), .. } => {
                self.calls.remove(op);
            }
            Input::Watched { .. } | Input::Began | Input::Wake | Input::Stop { .. } | Input::Paused(_) => {}
        }
    }

    fn spawn(&mut self, op: Op, call: impl Future<Output = Input> + Send + 'static) {
        let mailbox = self.mailbox.clone();
        let task = tokio::spawn(async move {
            let answer = call.await;
            // The only receiver is gone when the process is done.
            let _done = mailbox.send(answer).await;
        });
        self.calls.insert(op, task.abort_handle());
    }

    fn watch(&mut self, op: Op, kind: scalr_core::cluster::Kind, after: scalr_core::cluster::Version) {
        let (ports, mailbox) = (Arc::clone(&self.ports), self.mailbox.clone());
        let task = tokio::spawn(async move {
            let begun = ports.cluster.watch(kind, after).await;
            let (mut watch, answer) = match begun {
                Ok(watch) => (Some(watch), Ok(())),
                Err(error) => (None, Err(error)),
            };
            if mailbox.send(Input::Answer { op, answer: Answer::Watching(answer) }).await.is_err() {
                return;
            }
            while let Some(open) = &mut watch {
                let event = open.next().await;
                if matches!(event, WatchEvent::Ended(_)) {
                    watch = None;
                }
                if mailbox.send(Input::Watched { op, kind, event }).await.is_err() {
                    return;
                }
            }
        });
        self.calls.insert(op, task.abort_handle());
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
            let _done = mailbox.send(Input::Wake).await;
        });
        self.alarm = Some(task.abort_handle());
    }

    fn let_go(self) {
        self.calls.into_values().chain(self.alarm).for_each(|task| task.abort());
    }
}

async fn scalr_call<S, C, K>(ports: Arc<Ports<S, C, K>>, op: Op, call: ScalrCall) -> Input
where
    S: Scalr,
    C: Cluster,
    K: Clock,
{
    let scalr = &ports.scalr;
    let answer = match call {
        ScalrCall::Register(request) => Answer::Registered(scalr.register(&request).await),
        ScalrCall::Heartbeat(agent, request) => Answer::Heartbeat(scalr.heartbeat(&agent, &request).await),
        ScalrCall::Deregister(agent) => Answer::Deregistered(scalr.deregister(&agent).await),
        ScalrCall::Acquire(agent, request) => Answer::Acquired(scalr.acquire(&agent, &request).await),
        ScalrCall::Release(task, request) => Answer::Released(scalr.release(&task, &request).await),
        ScalrCall::LaunchEvents(agent, request) => {
            Answer::LaunchEvents(scalr.launch_events(&agent, &request).await)
        }
        ScalrCall::LaunchFailed(task, request) => {
            Answer::LaunchFailed(scalr.launch_failed(&task, &request).await)
        }
        ScalrCall::WorkerLost(task, request) => Answer::WorkerLost(scalr.worker_lost(&task, &request).await),
        ScalrCall::Messages(agent, after, wait_ms) => {
            Answer::Messages(scalr.messages(&agent, after, wait_ms).await)
        }
    };
    Input::Answer { op, answer }
}

async fn cluster_call<S, C, K>(ports: Arc<Ports<S, C, K>>, op: Op, call: ClusterCall) -> Input
where
    S: Scalr,
    C: Cluster,
    K: Clock,
{
    let cluster = &ports.cluster;
    let answer = match call {
        ClusterCall::List(kind, consistency) => Answer::Listed(cluster.list(kind, consistency).await),
        ClusterCall::Create(job) => Answer::Created(cluster.create(&job).await),
        ClusterCall::Delete(name, uid) => Answer::Deleted(cluster.delete(&name, &uid).await),
        ClusterCall::Watch(..) => unreachable!("watches are kept apart: they answer many times"),
    };
    Input::Answer { op, answer }
}

/// Writes a brain's note as a log line.
pub(crate) fn say(note: &Note) {
    let task = note.task.as_ref().map(tracing::field::display);
    let job = note.job.as_ref().map(tracing::field::display);
    match note.level {
        NoteLevel::Debug => tracing::debug!(task, job, "{}", note.message),
        NoteLevel::Info => tracing::info!(task, job, "{}", note.message),
        NoteLevel::Warning => tracing::warn!(task, job, "{}", note.message),
        NoteLevel::Error => tracing::error!(task, job, "{}", note.message),
    }
}
