//! From Job to claim: how long it may take, what ends it at once, and what it is called.

use scalr_protocol::agent::{LaunchEventKind, LaunchFailure, TaskAt};

use super::{
    Controller, Turn,
    entry::{DoorCall, Entry, Failure, Startup},
    timers::Timer,
    window::PODLESS_MS,
};
use crate::{
    clock::Millis,
    cluster::{Container, Disruption, Job, JobEnd, JobTrouble, JobTroubleKind, Pod, PodTrouble, TroubleKind},
    mutant::{Mutant, planted},
};

impl Controller {
    /// What follows for a task that no worker is known to have claimed.
    pub(super) fn look_at_launch(&mut self, turn: &mut Turn<'_>, key: &TaskAt) {
        let (timeout_ms, max_ms) = (self.options.startup_timeout_ms, self.options.startup_max_ms);
        let Some(entry) = self.board.get(key) else { return };
        if entry.holding.is_none() || !entry.is_launched || entry.door.is_some() || self.drain.is_some() {
            return;
        }
        if let Some(failure) = hopeless(self.trouble(entry)) {
            return self.shut(turn, key, DoorCall::failed(key.fence, failure));
        }
        let is_coming = self.trouble(entry).is_some_and(|t| t.kind == TroubleKind::ScalingUp)
            || self.podless_trouble(entry).is_some_and(|t| t.kind == JobTroubleKind::Quota);
        let is_counting = !is_coming || planted(Mutant::StartupDeadlineNotPaused);
        let failure = self.exited(entry).filter(|_| !planted(Mutant::EndedLaunchKept));
        let mark = self.ops.last();
        let Some(entry) = self.entry(key) else { return };
        let is_new = failure.is_some() && entry.failure.is_none();
        match failure {
            Some(failure) => {
                entry.failure.get_or_insert((mark, failure));
            }
            None => entry.failure = None,
        }
        let startup = entry.startup.get_or_insert_with(|| Startup::begin(turn.now));
        startup.count(turn.now, is_counting);
        let deadline = startup.deadline(timeout_ms, max_ms).max(entry.refused_until.unwrap_or_default());
        self.timers.set(Timer::Startup(key.clone()), deadline);
        if is_new {
            self.heartbeat_soon(turn);
        }
    }

    /// It has taken too long.
    pub(super) fn startup_elapsed(&mut self, turn: &mut Turn<'_>, key: &TaskAt) {
        let Some(entry) = self.board.get(key) else { return };
        let is_off = self.drain.is_some() || planted(Mutant::StartupDeadlineNeverFires);
        if entry.holding.is_none() || entry.startup.is_none() || is_off {
            return;
        }
        let failure = self.too_slow(entry);
        self.shut(turn, key, DoorCall::failed(key.fence, failure));
    }

    /// What keeps the pods of a task from starting: of several, what is worst.
    fn trouble<'a>(&'a self, entry: &'a Entry) -> Option<&'a PodTrouble> {
        self.board.pods_of(entry).filter_map(|pod| pod.trouble.as_ref()).max_by_key(|t| severity(t.kind))
    }

    /// What keeps the Job of a task from getting its first pod.
    pub(super) fn podless_trouble<'a>(&'a self, entry: &'a Entry) -> Option<&'a JobTrouble> {
        if entry.had_pod {
            return None;
        }
        self.board.jobs_of(entry).find_map(|job| job.trouble.as_ref())
    }

    /// Whether everything of a launch seems to have ended, and how.
    fn exited(&self, entry: &Entry) -> Option<Failure> {
        let disruption = self.board.pods_of(entry).find_map(|pod| pod.disruption);
        let failure = |message: &str| {
            let reason = match disruption {
                Some(Disruption::Evicted | Disruption::Preempted) => LaunchFailure::Evicted,
                Some(Disruption::NodeLost) => LaunchFailure::NodeLost,
                Some(Disruption::Deleted) | None => LaunchFailure::WorkerExited,
            };
            let (message, diagnostics) = (message.to_owned(), self.diagnostics(entry));
            Some(Failure { reason, message, diagnostics, is_retryable: true })
        };
        if entry.jobs.is_empty() {
            return failure("its Job was gone before the worker claimed the task");
        }
        let mut jobs = self.board.jobs_of(entry);
        if jobs.all(|job| job.end.is_some()) {
            return failure("its Job ended before the worker claimed the task");
        }
        let mut pods = self.board.pods_of(entry).peekable();
        if pods.peek().is_some() && pods.all(|pod| matches!(pod.worker, Container::Terminated { .. })) {
            return failure("the worker ended before it claimed the task");
        }
        None
    }

    fn too_slow(&self, entry: &Entry) -> Failure {
        let seconds = self.options.startup_timeout_ms / 1_000;
        let (reason, said) = match self.trouble(entry) {
            Some(trouble) => {
                let reason = match trouble.kind {
                    TroubleKind::Unschedulable | TroubleKind::ScalingUp => LaunchFailure::Unschedulable,
                    TroubleKind::ImagePull | TroubleKind::ImageInvalid => LaunchFailure::ImagePull,
                    TroubleKind::ContainerCreate => LaunchFailure::ContainerCreate,
                    TroubleKind::Volume => LaunchFailure::Volume,
                };
                (reason, trouble.message.clone())
            }
            None if entry.had_pod => {
                (LaunchFailure::StartupTimeout, "the worker did not claim the task".to_owned())
            }
            None => match self.podless_trouble(entry) {
                Some(trouble) => {
                    let reason = match trouble.kind {
                        JobTroubleKind::Quota => LaunchFailure::QuotaExceeded,
                        JobTroubleKind::Refused => LaunchFailure::JobRefused,
                    };
                    (reason, format!("its Job got no pod: {}", trouble.message))
                }
                None => (LaunchFailure::StartupTimeout, "its Job got no pod".to_owned()),
            },
        };
        let message = format!("not started in {seconds} s: {said}");
        Failure { reason, message, diagnostics: self.diagnostics(entry), is_retryable: true }
    }

    /// What the Jobs and pods of a task look like, one a line.
    pub(super) fn diagnostics(&self, entry: &Entry) -> String {
        let jobs = self.board.jobs_of(entry).map(|job| {
            let end = match &job.end {
                None => "not ended".to_owned(),
                Some(JobEnd::Complete) => "complete".to_owned(),
                Some(JobEnd::Failed { reason }) => format!("failed, {reason}"),
            };
            let trouble = job.trouble.as_ref().map_or(String::new(), |t| format!(", {}", t.message));
            format!("job {}: {end}{trouble}", job.name)
        });
        let pods = self.board.pods_of(entry).map(describe);
        jobs.chain(pods).collect::<Vec<_>>().join("\n")
    }

    /// Reports what a pod's progress means to whoever waits for the task.
    pub(super) fn tell_progress(&mut self, turn: &mut Turn<'_>, key: &TaskAt, pod: &Pod) {
        if let Some(trouble) = &pod.trouble {
            match trouble.kind {
                TroubleKind::Unschedulable | TroubleKind::ScalingUp => {
                    self.tell(turn, key, LaunchEventKind::Unschedulable, trouble.message.clone());
                }
                TroubleKind::ImagePull | TroubleKind::ImageInvalid => {
                    self.tell(turn, key, LaunchEventKind::Pulling, trouble.message.clone());
                }
                TroubleKind::ContainerCreate | TroubleKind::Volume => {}
            }
        }
        if let Some(node) = &pod.node {
            self.tell(turn, key, LaunchEventKind::PodScheduled, format!("node {node}"));
        }
    }

    /// Reports what keeps a Job from getting a pod to whoever waits for the task.
    pub(super) fn tell_podless(&mut self, turn: &mut Turn<'_>, key: &TaskAt, job: &Job) {
        if let Some(trouble) = &job.trouble
            && self.board.get(key).is_some_and(|entry| !entry.had_pod)
        {
            let message = format!("its Job gets no pod: {}", trouble.message);
            self.tell(turn, key, LaunchEventKind::Unschedulable, message);
        }
    }

    /// Jobs that get no pods for a while mean that the cluster has enough of them.
    pub(super) fn check_window(&mut self, turn: &mut Turn<'_>) {
        let checked = self.window.checked(turn.now);
        let has_come_of_age =
            |since: &Millis| *since + PODLESS_MS > checked && *since + PODLESS_MS <= turn.now;
        if self.board.podless.values().any(has_come_of_age) && !planted(Mutant::PodlessJobsUnnoticed) {
            // From now on they don't count, so that one that never gets a pod does not stop all.
            self.window.halve(turn.now);
            self.replan(turn);
        }
        self.arm_window();
    }

    /// How many own Jobs have waited for a first pod, but not for long.
    pub(super) fn podless(&self) -> u32 {
        self.board.podless(self.podless_after())
    }

    fn podless_after(&self) -> Millis {
        // At the beginning of time nothing is old.
        if self.now.0 < PODLESS_MS { Millis::default() } else { self.now - PODLESS_MS }
    }

    pub(super) fn arm_window(&mut self) {
        if let Some(since) = self.board.podless_since(self.podless_after()).last()
            && self.timers.at(&Timer::Window).is_none()
        {
            self.timers.set(Timer::Window, since + PODLESS_MS);
        }
    }
}

fn severity(kind: TroubleKind) -> u8 {
    match kind {
        TroubleKind::ImageInvalid => 5,
        TroubleKind::ImagePull => 4,
        TroubleKind::ContainerCreate => 3,
        TroubleKind::Volume => 2,
        TroubleKind::Unschedulable => 1,
        TroubleKind::ScalingUp => 0,
    }
}

/// What can't heal.
fn hopeless(trouble: Option<&PodTrouble>) -> Option<Failure> {
    let trouble = trouble.filter(|trouble| trouble.kind == TroubleKind::ImageInvalid)?;
    Some(Failure {
        reason: LaunchFailure::ImagePull,
        message: format!("an image's name is not valid: {}", trouble.message),
        diagnostics: trouble.message.clone(),
        is_retryable: false,
    })
}

fn describe(pod: &Pod) -> String {
    let container = |container: &Container| match container {
        Container::Waiting => "waiting".to_owned(),
        Container::Running => "running".to_owned(),
        Container::Terminated { exit_code, is_oom: false } => format!("ended with {exit_code}"),
        Container::Terminated { exit_code, is_oom: true } => {
            format!("ended with {exit_code}, killed for its memory")
        }
    };
    let node = pod.node.as_ref().map_or("no node", |node| node.as_str());
    let disruption = match pod.disruption {
        None => "",
        Some(Disruption::Evicted) => ", evicted",
        Some(Disruption::Preempted) => ", preempted",
        Some(Disruption::NodeLost) => ", its node is lost",
        Some(Disruption::Deleted) => ", deleted",
    };
    let trouble = pod.trouble.as_ref().map_or(String::new(), |t| format!(", {}", t.message));
    let (worker, runner) = (container(&pod.worker), container(&pod.runner));
    format!("pod {} on {node}: worker {worker}, runner {runner}{disruption}{trouble}", pod.name)
}
