//! Sentences for people: why a run waits, and why it went wrong. Each is one true sentence; none is made
//! where nothing is known.

use scalr_protocol::{
    agent::{LaunchFailed, LaunchFailure, WorkerLoss, WorkerLost},
    id::{RunId, TaskId},
    task::{Finish, Outcome},
};

use super::{
    State,
    runs::Run,
    status::RunStatus,
    tasks::{Phase, Task},
};

/// Why a launch failed.
pub(super) fn of_launch_failure(failure: &LaunchFailed) -> String {
    let class = match failure.reason {
        LaunchFailure::TemplateMissing => "there is no task template",
        LaunchFailure::TemplateInvalid => "the task template is invalid",
        LaunchFailure::JobRefused => "the cluster refused the Job",
        LaunchFailure::QuotaExceeded => "a quota leaves no room",
        LaunchFailure::Unschedulable => "no node can take the pod",
        LaunchFailure::ImagePull => "an image can't be pulled",
        LaunchFailure::ContainerCreate => "a container can't be created",
        LaunchFailure::Volume => "a volume can't be mounted",
        LaunchFailure::WorkerExited => "the worker ended before it claimed the task",
        LaunchFailure::StartupTimeout => "the worker did not claim the task in time",
        LaunchFailure::Evicted => "the pod was evicted before the start",
        LaunchFailure::NodeLost => "the node was lost before the start",
        LaunchFailure::UnsupportedAction => "the agent can't do this action",
    };
    with_detail(class, &failure.message)
}

/// What the controller knows of a worker's end.
pub(super) fn of_worker_loss(loss: &WorkerLost) -> String {
    let class = match loss.reason {
        WorkerLoss::OomKilled => "a container was killed for its memory",
        WorkerLoss::Exited => "the worker ended without an outcome",
        WorkerLoss::Evicted => "the pod was evicted",
        WorkerLoss::Preempted => "the pod was preempted",
        WorkerLoss::Deleted => "the pod or its Job was deleted",
        WorkerLoss::NodeLost => "the node is gone",
    };
    let parts = [
        loss.container.as_ref().map(|container| format!("container {container}")),
        loss.exit_code.map(|code| format!("exit code {code}")),
        loss.limit.as_ref().map(|limit| format!("memory limit {limit}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { class.to_owned() } else { format!("{class} ({})", parts.join(", ")) }
}

/// Why a task never started.
pub(super) fn of_unlaunched(task: &Task) -> String {
    let last = task.last_failure.as_deref().unwrap_or("no reason was given");
    match task.attempts {
        1 => format!("the {} could not be started: {last}", task.action.as_str()),
        attempts => {
            format!("the {} could not be started in {attempts} attempts: {last}", task.action.as_str())
        }
    }
}

/// Why a task that started failed, as its worker said.
pub(super) fn of_failure(task: &Task) -> String {
    let told = |finish: &Finish| {
        finish.error.as_ref().map(|error| error.message.clone()).filter(|message| !message.is_empty())
    };
    let code = task.finish.as_ref().and_then(|finish| finish.exit_code);
    task.finish.as_ref().and_then(told).unwrap_or_else(|| match code {
        Some(code) => format!("the {} failed with exit code {code}", task.action.as_str()),
        None => format!("the {} failed", task.action.as_str()),
    })
}

/// An outcome's word.
pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Errored => "errored",
        Outcome::Canceled => "canceled",
    }
}

fn with_detail(class: &str, detail: &str) -> String {
    if detail.is_empty() { class.to_owned() } else { format!("{class}: {detail}") }
}

impl State {
    /// Who held a lost task, when he was last seen, and what is known of his end.
    pub(super) fn reason_of_loss(&self, id: &TaskId, task: &Task) -> String {
        let action = task.action.as_str();
        let (worker, last_seen_at) = match &task.claim {
            Some(claim) => (claim.worker.as_str(), format!("{:.0}", claim.last_seen_at)),
            None => ("nobody", String::new()),
        };
        let evidence = task.loss.as_ref().map(|loss| format!("; {loss}")).unwrap_or_default();
        let workspace = self.workspaces.get(&task.workspace);
        let lock = workspace.and_then(|workspace| workspace.state.lock.as_ref());
        let lock = match lock.filter(|lock| lock.task.as_ref() == Some(id)) {
            Some(_) => "; it held the lock of the state",
            None => "",
        };
        format!(
            "the {action} was lost: worker {worker} held it and was last seen at {last_seen_at}{evidence}{lock}"
        )
    }

    /// Why a run has not started, or not gone on; none when it runs or is over.
    pub(super) fn waiting_reason(&self, id: &RunId, run: &Run) -> Option<String> {
        match run.status {
            RunStatus::Pending => Some(self.reason_of_pending(id, run)),
            RunStatus::PlanQueued | RunStatus::ApplyQueued | RunStatus::Confirmed => {
                let task = run.current_task().and_then(|task| self.tasks.get(task))?;
                Some(self.reason_of_queued(task))
            }
            RunStatus::Planned => Some("waits for somebody to approve or discard its plan".to_owned()),
            RunStatus::Planning | RunStatus::Applying => {
                let task = run.current_task().and_then(|task| self.tasks.get(task))?;
                let claim = task.claim.as_ref()?;
                matches!(task.phase, Phase::Unreachable { .. }).then(|| {
                    format!(
                        "unreachable: nothing was heard of worker {} since {:.0}",
                        claim.worker, claim.last_seen_at
                    )
                })
            }
            RunStatus::Discarded
            | RunStatus::PlannedAndFinished
            | RunStatus::Applied
            | RunStatus::Errored
            | RunStatus::Canceled => None,
        }
    }

    fn reason_of_pending(&self, id: &RunId, run: &Run) -> String {
        let Some(workspace) = self.workspaces.get(&run.workspace) else {
            unreachable!("a run's workspace is there as long as it is")
        };
        let name = &workspace.name;
        if let Some(lock) = &workspace.lock {
            let why = if lock.reason.is_empty() { String::new() } else { format!(": {}", lock.reason) };
            return format!(
                "waits until workspace {name} is unlocked; {} locked it at {:.0}{why}",
                lock.by, lock.at
            );
        }
        let ahead = workspace.pending.range(..(run.order, id.clone())).next_back();
        let before = ahead.map(|(_, ahead)| ahead).or(workspace.current_run.as_ref());
        match before.and_then(|before| Some((before, self.runs.get(before)?))) {
            Some((before, run)) => format!("waits for {before} ({}) of workspace {name}", run.status),
            None => format!("waits for its turn in workspace {name}"),
        }
    }

    fn reason_of_queued(&self, task: &Task) -> String {
        let holder =
            task.agent.as_ref().and_then(|agent| self.agents.get(agent)).map(|agent| agent.name.as_str());
        let reason = match (&task.phase, &task.note) {
            (Phase::Leased { .. }, Some(note)) => {
                format!("at agent {}: {}", holder.unwrap_or("?"), note.message)
            }
            (Phase::Leased { .. }, None) => {
                format!("at agent {}, which has not launched it yet", holder.unwrap_or("?"))
            }
            (Phase::Claimed { .. }, _) => {
                let worker = task.claim.as_ref().map_or("?", |claim| claim.worker.as_str());
                format!("claimed by worker {worker}, which has not confirmed it yet")
            }
            (Phase::Queued { adopt_until_ms: Some(_) }, _) => {
                "queued: the agent that launched it went away, and another may take over its Job".to_owned()
            }
            (
                Phase::Queued { adopt_until_ms: None }
                | Phase::Started { .. }
                | Phase::Unreachable { .. }
                | Phase::Ended { .. },
                _,
            ) => self.reason_of_queue(),
        };
        match &task.last_failure {
            Some(failure) => {
                let attempts_max = self.settings.launch_attempts_max;
                format!("{reason} (attempt {} of {attempts_max} failed: {failure})", task.attempts)
            }
            None => reason,
        }
    }

    /// What is known of the agents, for a task that none of them holds.
    fn reason_of_queue(&self) -> String {
        let online: Vec<_> = self.agents.values().filter(|agent| !agent.is_offline).collect();
        let count = match online.len() {
            0 => return "queued: no agent of the pool is online".to_owned(),
            1 => "1 agent online".to_owned(),
            count => format!("{count} agents online"),
        };
        if online.iter().all(|agent| agent.is_draining) {
            format!("queued: {count}, none takes more work")
        } else if online.iter().any(|agent| agent.slots != Some(0) && !agent.is_draining) {
            format!("queued: {count}, not asked for yet")
        } else {
            format!("queued: {count}, none has a free slot")
        }
    }
}
