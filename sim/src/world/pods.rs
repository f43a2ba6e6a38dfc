//! Between the processes and the cluster: calls to the API server and what comes back, and the containers of
//! pods, with a worker's process in one and a runner in the other.
//!
//! What a runner does without a worker is here, as the real one does it. It must never know what a brain
//! believes.

use scalr_core::{
    clock::Millis,
    cluster::{ClusterError, JobSpec, WatchEnd, WatchEvent},
    controller::{
        effect::ClusterCall,
        input::{Answer, Input},
    },
    op::Op,
    supervisor::input::TaskInput,
};
use scalr_protocol::{
    error::ErrorCode,
    id::{Fence, TaskId},
};

use super::{
    World,
    cluster::{PodKey, Reaction, Role, Stimulus},
    event::{ClusterRequest, Event, Mail, PodEvent},
    process::{ProcessId, wire_key},
    setup::TaskNumber,
    snag::{CallKind, Fate, Leg, Refusal},
    tool::{Command, Folder},
    truth::FactKind,
};
use crate::luck::Purpose;

const WORKER_BEGINS: Purpose = Purpose::named("worker begins");
const RUNNER_READY: Purpose = Purpose::named("runner ready");

/// How long a runner waits for its worker, as the real one.
const CONNECT_WAIT_MS: u64 = 3_600_000;

/// 128 + SIGKILL.
const KILLED: i32 = 137;

/// What runs in a pod.
#[derive(Clone, Debug)]
pub(super) struct PodRun {
    pub(super) number: TaskNumber,
    pub(super) task: TaskId,
    pub(super) fence: Fence,
    pub(super) name: String,
    worker: Part,
    runner: Part,
    pub(super) process: Option<ProcessId>,
    /// The runner listens.
    is_ready: bool,
    /// The worker is connected to the runner.
    pub(super) is_linked: bool,
    pub(super) command: Option<Command>,
    pub(super) commands: u64,
    pub(super) folder: Folder,
    is_cut: bool,
    /// It was told to stop: when, and with which grace.
    stop: Option<(Millis, u64)>,
}

/// A container as the kubelet has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Waiting,
    Running,
    Ended,
}

/// A Job by its name, as its creator has told.
#[derive(Clone, Debug)]
pub(super) struct KnownJob {
    pub(super) number: TaskNumber,
    task: TaskId,
    fence: Fence,
}

impl PodRun {
    fn new(number: TaskNumber, job: &JobSpec, pod: PodKey) -> Self {
        Self {
            number,
            task: job.task.clone(),
            fence: job.fence,
            name: format!("{}-{}", job.name, pod.0),
            worker: Part::Waiting,
            runner: Part::Waiting,
            process: None,
            is_ready: false,
            is_linked: false,
            command: None,
            commands: 0,
            folder: Folder::default(),
            is_cut: false,
            stop: None,
        }
    }

    fn part(&mut self, role: Role) -> &mut Part {
        match role {
            Role::Worker => &mut self.worker,
            Role::Runner => &mut self.runner,
        }
    }

    /// Whether the runner's container runs.
    pub(super) fn has_runner(&self) -> bool {
        self.runner == Part::Running
    }

    /// What is left of a grace that was given before.
    fn grace_left_ms(&self, now: Millis) -> Option<u64> {
        self.stop.map(|(at, grace_ms)| grace_ms.saturating_sub(now.since(at)))
    }
}

/// What a caller hears of a call to the API server that nobody answers.
pub(super) fn unanswered(op: Op, kind: CallKind, detail: &str) -> Option<Input> {
    refused(op, kind, ClusterError::Unreachable { detail: detail.to_owned() })
}

fn refused(op: Op, kind: CallKind, error: ClusterError) -> Option<Input> {
    let answer = match kind {
        CallKind::List => Answer::Listed(Err(error)),
        CallKind::Watch => Answer::Watching(Err(error)),
        CallKind::CreateJob => Answer::Created(Err(error)),
        CallKind::DeleteJob => Answer::Deleted(Err(error)),
        CallKind::WatchEvent
        | CallKind::Register
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
        | CallKind::Finish => return None,
    };
    Some(Input::Answer { op, answer })
}

/// What the API server says for a refusal on purpose.
fn cluster_error(refusal: Refusal) -> ClusterError {
    let detail = "on purpose".to_owned();
    match refusal.code {
        ErrorCode::RateLimited => {
            ClusterError::RateLimited { retry_after_ms: refusal.retry_after_ms.unwrap_or(1_000) }
        }
        ErrorCode::QuotaExceeded => ClusterError::QuotaExceeded { detail },
        ErrorCode::Forbidden | ErrorCode::Invalid => ClusterError::Refused { detail },
        ErrorCode::NotFound => ClusterError::Template { detail },
        ErrorCode::Conflict => ClusterError::NameTaken,
        ErrorCode::Closed => ClusterError::Gone,
        ErrorCode::Malformed
        | ErrorCode::InvalidToken
        | ErrorCode::MethodNotAllowed
        | ErrorCode::NameInUse
        | ErrorCode::Draining
        | ErrorCode::AlreadyStarted
        | ErrorCode::Claimed
        | ErrorCode::Canceled
        | ErrorCode::Finished
        | ErrorCode::Differs
        | ErrorCode::NotStarted
        | ErrorCode::SessionExpired
        | ErrorCode::FenceStale
        | ErrorCode::ClaimExpired
        | ErrorCode::Lost
        | ErrorCode::TooLarge
        | ErrorCode::UnsupportedMediaType
        | ErrorCode::RangeMismatch
        | ErrorCode::DigestMismatch
        | ErrorCode::Locked
        | ErrorCode::ProtocolUnsupported
        | ErrorCode::Internal
        | ErrorCode::Unavailable
        | ErrorCode::Unknown => ClusterError::Unreachable { detail },
    }
}

impl World {
    /// A call is at the API server's door.
    pub(super) fn at_cluster(&mut self, mut request: ClusterRequest) {
        let ClusterRequest { process, op, kind, task, .. } = request;
        if !request.was_late
            && let Some(fate) = self.snag(process, kind, task, Leg::Arrived)
        {
            request.was_late = true;
            let key = wire_key(process, op);
            match fate {
                Fate::Lose { after_ms } => {
                    return self.cluster_says(
                        process,
                        op,
                        kind,
                        task,
                        unanswered(op, kind, "reset"),
                        after_ms,
                    );
                }
                Fate::Delay { by_ms } => {
                    return self.push(self.now + by_ms, key, Event::AtCluster(Box::new(request)));
                }
                Fate::Twice { after_ms } => {
                    self.push(self.now + after_ms, key, Event::AtCluster(Box::new(request.clone())));
                }
                Fate::Refuse(refusal) => {
                    let input = refused(op, kind, cluster_error(refusal));
                    return self.cluster_says(process, op, kind, task, input, 1);
                }
                fate @ (Fate::Crash(_) | Fate::Pause { .. } | Fate::Terminate) => {
                    self.befalls(process, &fate);
                }
            }
        }
        // A watch whose caller has gone would watch for nobody.
        let is_awaited = self.processes.get(&process).is_some_and(|process| process.flight(op).is_some());
        if kind == CallKind::Watch && !is_awaited {
            return;
        }
        self.note_cluster_call(process, &request.call);
        self.react(Stimulus::Call { client: process, op, call: request.call });
    }

    fn note_cluster_call(&mut self, process: ProcessId, call: &ClusterCall) {
        match call {
            ClusterCall::List(..) | ClusterCall::Watch(..) => {}
            ClusterCall::Create(spec) => {
                let Some(number) = self.truth.number_of(&spec.task) else { return };
                let (task, fence) = (spec.task.clone(), spec.fence);
                self.jobs.insert(spec.name.clone(), KnownJob { number, task, fence });
                self.note(number, FactKind::JobAsked { process, fence });
            }
            ClusterCall::Delete(name, _) => {
                let Some(KnownJob { number, task, fence }) = self.jobs.get(name).cloned() else { return };
                let Some(glance) = self.scalr().glance(&task) else { return };
                let is_running = self.pods.values().any(|pod| {
                    let runs = pod.worker == Part::Running || pod.runner == Part::Running;
                    pod.task == task && pod.fence == fence && runs
                });
                let (status, current) = (glance.status, glance.fence);
                self.note(number, FactKind::DeleteAsked { process, fence, status, current, is_running });
            }
        }
    }

    /// Lets something happen to the cluster, and carries out what follows.
    pub(super) fn react(&mut self, stimulus: Stimulus) {
        let mut reactions = self.scratch.reactions.pop().unwrap_or_default();
        self.cluster.react(self.now, &self.luck, stimulus, &mut reactions);
        for reaction in reactions.drain(..) {
            self.carry_out_reaction(reaction);
        }
        self.scratch.reactions.push(reactions);
    }

    fn carry_out_reaction(&mut self, reaction: Reaction) {
        match reaction {
            Reaction::Answer { client, op, answer, after_ms } => {
                let Some((kind, task)) = self.flight_of(client, op) else { return };
                let input = Input::Answer { op, answer };
                self.answer_from_cluster(client, op, (kind, task), input, after_ms);
            }
            Reaction::Watched { client, op, kind, event, after_ms } => {
                if self.flight_of(client, op).is_none() {
                    return;
                }
                let input = Input::Watched { op, kind, event };
                self.answer_from_cluster(client, op, (CallKind::WatchEvent, None), input, after_ms);
            }
            Reaction::Later { after_ms, event } => {
                self.push(self.now + after_ms, super::digest::digest_of(&event), Event::Cluster(event));
            }
            Reaction::Run { pod, role, job, node: _ } => self.run_container(pod, role, &job),
            Reaction::Terminate { pod, grace_ms } => self.terminate_pod(pod, grace_ms),
            Reaction::Kill { pod, role } => self.kill_container(pod, role, false),
            Reaction::Cut { pod, is_cut } => {
                if let Some(run) = self.pods.get_mut(&pod) {
                    run.is_cut = is_cut;
                }
            }
        }
    }

    fn flight_of(&self, id: ProcessId, op: Op) -> Option<(CallKind, Option<TaskNumber>)> {
        let flight = self.processes.get(&id)?.flight(op)?;
        Some((flight.kind, flight.task))
    }

    fn answer_from_cluster(
        &mut self,
        id: ProcessId,
        op: Op,
        (kind, task): (CallKind, Option<TaskNumber>),
        input: Input,
        mut after_ms: u64,
    ) {
        let mut input = Some(input);
        if self.is_cut_from_cluster(id) {
            after_ms = self.setup.scalr.timeout_ms;
            input = self.broken(id, op, kind, input.as_ref(), "timed out");
        } else if let Some(fate) = self.snag(id, kind, task, Leg::Done) {
            match fate {
                Fate::Lose { after_ms: told_ms } => {
                    after_ms = told_ms;
                    input = self.broken(id, op, kind, input.as_ref(), "reset");
                }
                Fate::Delay { by_ms } => after_ms += by_ms,
                fate @ (Fate::Crash(_) | Fate::Pause { .. } | Fate::Terminate) => {
                    self.befalls(id, &fate);
                }
                Fate::Twice { .. } | Fate::Refuse(_) => {}
            }
        }
        self.cluster_says(id, op, kind, task, input, after_ms);
    }

    /// What is heard instead of something that got lost. A watch that has lost something is over.
    fn broken(
        &mut self,
        id: ProcessId,
        op: Op,
        kind: CallKind,
        input: Option<&Input>,
        detail: &str,
    ) -> Option<Input> {
        match input {
            Some(Input::Watched { kind, .. }) => {
                self.react(Stimulus::Abandon { client: id, op });
                let event = WatchEvent::Ended(WatchEnd::Error { detail: detail.to_owned() });
                Some(Input::Watched { op, kind: *kind, event })
            }
            Some(
                Input::Answer { .. } | Input::Began | Input::Wake | Input::Stop { .. } | Input::Paused(_),
            )
            | None => {
                if kind == CallKind::Watch {
                    self.react(Stimulus::Abandon { client: id, op });
                }
                unanswered(op, kind, detail)
            }
        }
    }

    /// The cluster says something to a process; what is said to one call keeps its order.
    fn cluster_says(
        &mut self,
        id: ProcessId,
        op: Op,
        kind: CallKind,
        task: Option<TaskNumber>,
        input: Option<Input>,
        after_ms: u64,
    ) {
        let now = self.now;
        let Some(input) = input else { return };
        let Some(flight) = self.processes.get_mut(&id).and_then(|process| process.flight_mut(op)) else {
            return;
        };
        let at = (now + after_ms).max(flight.last_at);
        flight.last_at = at;
        let mail = Mail::Cluster { op, kind, task, input, was_late: false };
        self.push(at, wire_key(id, op), Event::Mail { process: id, mail });
    }
}

impl World {
    pub(super) fn is_pod_cut(&self, pod: PodKey) -> bool {
        self.pods.get(&pod).is_some_and(|run| run.is_cut)
    }

    pub(super) fn pods_of(&self, number: TaskNumber) -> Vec<PodKey> {
        self.pods.iter().filter(|(_, run)| run.number == number).map(|(pod, _)| *pod).collect()
    }

    /// A kubelet begins the process of a container.
    fn run_container(&mut self, pod: PodKey, role: Role, job: &JobSpec) {
        let Some(number) = self.truth.number_of(&job.task) else { return };
        let run = self.pods.entry(pod).or_insert_with(|| PodRun::new(number, job, pod));
        if *run.part(role) != Part::Waiting {
            return;
        }
        *run.part(role) = Part::Running;
        let setup = &self.setup.workers;
        let (purpose, span, what) = match role {
            Role::Worker => (WORKER_BEGINS, setup.begin, PodEvent::WorkerBegins),
            Role::Runner => (RUNNER_READY, setup.runner_ready, PodEvent::RunnerReady),
        };
        let at = self.now + self.luck.span(purpose, number.key(), job.fence.0, &span);
        self.push_to_pod(at, pod, what);
    }

    /// Takes an event of a pod's own. Says whether it was any.
    pub(super) fn take_pod_event(&mut self, pod: PodKey, what: PodEvent) -> bool {
        match what {
            PodEvent::WorkerBegins => self.worker_begins(pod),
            PodEvent::RunnerReady => self.runner_is_ready(pod),
            PodEvent::RunnerAlone => {
                let is_alone = self.pods.get(&pod).is_some_and(|run| run.has_runner() && !run.is_linked);
                if is_alone {
                    self.runner_ends(pod, 1, false);
                }
                is_alone
            }
            PodEvent::RunnerExits { exit_code } => {
                let has_runner = self.pods.get(&pod).is_some_and(PodRun::has_runner);
                if has_runner {
                    self.runner_ends(pod, exit_code, false);
                }
                has_runner
            }
            PodEvent::Command { number, what } => self.command_event(pod, number, what),
        }
    }

    /// Files something of a pod's own.
    pub(super) fn push_to_pod(&mut self, at: Millis, pod: PodKey, what: PodEvent) {
        self.push(at, pod.0, Event::Pod { pod, what });
    }

    fn worker_begins(&mut self, pod: PodKey) -> bool {
        let Some(run) = self.pods.get(&pod) else { return false };
        if run.worker != Part::Running || run.process.is_some() {
            return false;
        }
        let Some(process) = self.begin_worker(pod) else { return false };
        let Some(run) = self.pods.get_mut(&pod) else { return false };
        run.process = Some(process);
        let (is_ready, grace_ms) = (run.is_ready, run.grace_left_ms(self.now));
        self.deliver(process, Mail::Task(TaskInput::Began));
        if is_ready {
            self.link(pod);
        }
        if let Some(grace_ms) = grace_ms {
            self.tell(process, TaskInput::Stop { grace_ms }, 1);
        }
        true
    }

    fn runner_is_ready(&mut self, pod: PodKey) -> bool {
        let Some(run) = self.pods.get_mut(&pod) else { return false };
        if run.runner != Part::Running {
            return false;
        }
        run.is_ready = true;
        let (has_worker, is_stopping) = (run.process.is_some(), run.stop.is_some());
        if has_worker {
            self.link(pod);
        } else if is_stopping {
            self.push_to_pod(self.now + 1, pod, PodEvent::RunnerExits { exit_code: 0 });
        } else {
            self.push_to_pod(self.now + CONNECT_WAIT_MS, pod, PodEvent::RunnerAlone);
        }
        true
    }

    /// The worker has found the runner's socket.
    fn link(&mut self, pod: PodKey) {
        let Some(run) = self.pods.get_mut(&pod) else { return };
        let Some(process) = run.process else { return };
        if run.runner == Part::Running {
            run.is_linked = true;
            self.tell(process, TaskInput::RunnerReady, 1);
        }
    }

    /// SIGTERM to both containers.
    pub(super) fn terminate_pod(&mut self, pod: PodKey, grace_ms: u64) {
        let told_ms = self.setup.workers.grace_ms.unwrap_or(grace_ms);
        let now = self.now;
        let Some(run) = self.pods.get_mut(&pod) else { return };
        if run.stop.is_some() {
            return;
        }
        run.stop = Some((now, told_ms));
        let (process, is_linked) = (run.process, run.is_linked);
        let is_runner_idle = run.is_ready && !is_linked && run.command.is_none();
        if let Some(process) = process {
            self.tell(process, TaskInput::Stop { grace_ms: told_ms }, 1);
            if is_linked {
                // The runner's word of its own SIGTERM.
                self.tell(process, TaskInput::Stop { grace_ms: told_ms }, 2);
            }
        }
        if is_runner_idle {
            self.push_to_pod(now + 1, pod, PodEvent::RunnerExits { exit_code: 0 });
        }
    }

    /// SIGKILL to a container.
    pub(super) fn kill_container(&mut self, pod: PodKey, role: Role, is_oom: bool) {
        let Some(run) = self.pods.get_mut(&pod) else { return };
        if *run.part(role) != Part::Running {
            return;
        }
        match role {
            Role::Worker => self.worker_ends(pod, KILLED, is_oom),
            Role::Runner => self.runner_ends(pod, KILLED, is_oom),
        }
    }

    /// A worker's process ends by itself.
    pub(super) fn worker_exits(&mut self, id: ProcessId, exit_code: i32) {
        if let Some(pod) = self.pod_of(id) {
            self.worker_ends(pod, exit_code, false);
        }
    }

    fn worker_ends(&mut self, pod: PodKey, exit_code: i32, is_oom: bool) {
        let Some(run) = self.pods.get_mut(&pod) else { return };
        run.worker = Part::Ended;
        let number = run.number;
        if let Some(process) = run.process.take() {
            self.forget_process(process);
            self.note(number, FactKind::WorkerEnded { process, pod, exit_code });
        }
        self.unlink(pod);
        self.container_ended(pod, Role::Worker, exit_code, is_oom);
    }

    /// The worker has said goodbye to its runner.
    pub(super) fn dismiss_runner(&mut self, id: ProcessId) {
        if let Some(pod) = self.pod_of(id) {
            self.unlink(pod);
        }
    }

    /// The runner has lost its worker: with nothing running it goes.
    fn unlink(&mut self, pod: PodKey) {
        let Some(run) = self.pods.get_mut(&pod) else { return };
        if !std::mem::take(&mut run.is_linked) || run.runner != Part::Running {
            return;
        }
        if run.command.is_some() {
            self.orphan_command(pod);
        } else {
            self.push_to_pod(self.now + 2, pod, PodEvent::RunnerExits { exit_code: 0 });
        }
    }

    fn runner_ends(&mut self, pod: PodKey, exit_code: i32, is_oom: bool) {
        let Some(run) = self.pods.get_mut(&pod) else { return };
        run.runner = Part::Ended;
        run.is_linked = false;
        let process = run.process;
        if let Some(process) = process {
            let detail = if is_oom { "killed for its memory" } else { "connection closed" };
            self.tell(process, TaskInput::RunnerGone { detail: detail.to_owned() }, 1);
        }
        self.runner_took_command_along(pod, is_oom);
        self.container_ended(pod, Role::Runner, exit_code, is_oom);
    }

    fn container_ended(&mut self, pod: PodKey, role: Role, exit_code: i32, is_oom: bool) {
        self.react(Stimulus::Exited { pod, role, exit_code, is_oom });
        let is_over =
            self.pods.get(&pod).is_some_and(|run| run.worker == Part::Ended && run.runner == Part::Ended);
        if is_over {
            self.pods.remove(&pod);
        }
    }
}
