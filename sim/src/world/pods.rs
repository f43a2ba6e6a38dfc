//! The containers of pods: a worker's process in one, a runner in the other.
//!
//! What a runner does without a worker is here, as the real one does it. It must never know what a brain
//! believes.

use scalr_core::{clock::Millis, cluster::JobSpec, supervisor::input::TaskInput};
use scalr_protocol::id::{Fence, TaskId};

use super::{
    World,
    cluster::{PodKey, Role, Stimulus},
    event::{Event, Mail, PodEvent},
    process::ProcessId,
    setup::TaskNumber,
    tool::{Command, Folder},
    truth::FactKind,
};
use crate::luck::Purpose;

const WORKER_BEGINS: Purpose = Purpose::named("worker begins");
const RUNNER_READY: Purpose = Purpose::named("runner ready");

/// How long a runner waits for its worker, as the real one.
const CONNECT_WAIT_MS: u64 = 600_000;

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
    pub(super) is_cut: bool,
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

impl PodRun {
    /// Whether its runner has come up.
    pub(super) fn has_answered(&self) -> bool {
        self.is_ready
    }

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

    /// Whether anything of it runs.
    pub(super) fn is_running(&self) -> bool {
        self.worker == Part::Running || self.runner == Part::Running
    }

    /// What is left of a grace that was given before.
    fn grace_left_ms(&self, now: Millis) -> Option<u64> {
        self.stop.map(|(at, grace_ms)| grace_ms.saturating_sub(now.since(at)))
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
    pub(super) fn run_container(&mut self, pod: PodKey, role: Role, job: &JobSpec) {
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
        let (number, process, is_linked) = (run.number, run.process, run.is_linked);
        let is_runner_idle = run.is_ready && !is_linked && run.command.is_none();
        self.note(number, FactKind::Stopped { pod, grace_ms: told_ms });
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
        let now = self.now;
        let Some(run) = self.pods.get_mut(&pod) else { return };
        if *run.part(role) != Part::Running {
            return;
        }
        let (number, is_too_late) = (run.number, run.grace_left_ms(now) == Some(0));
        if let Some(process) = run.process.filter(|_| role == Role::Worker && is_too_late && !is_oom)
            && !self.is_suspended(process)
        {
            self.note(number, FactKind::Overstayed { process });
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
