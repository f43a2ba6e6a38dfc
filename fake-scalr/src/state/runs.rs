//! Runs: from pending to their end, one at a time that may write in a workspace, and each as far as its
//! tasks.

use jiff::Timestamp;
use scalr_protocol::{
    agent::Action,
    error::{ApiError, ErrorCode},
    id::{RunId, TaskId, WorkspaceId},
    task::{Outcome, RunMode, Signal, Summary, Variable, Vcs},
};
use serde::{Deserialize, Serialize};

use super::{
    Now, Reply, State,
    command::NewRun,
    ids::{ApplyId, ConfigurationVersionId, PlanId, fixed},
    reasons,
    status::RunStatus,
    tasks::{End, Phase, Task},
    tokens::not_found,
    workspaces::refuse_variable,
};

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts, as the public API has them")]
pub(super) struct Run {
    /// Its place among all runs.
    pub(super) order: u64,
    pub(super) workspace: WorkspaceId,
    pub(super) configuration_version: ConfigurationVersionId,
    pub(super) status: RunStatus,
    pub(super) timestamps: Vec<(RunStatus, Timestamp)>,
    pub(super) is_destroy: bool,
    pub(super) is_dry: bool,
    pub(super) mode: RunMode,
    pub(super) auto_apply: bool,
    pub(super) message: String,
    pub(super) source: String,
    pub(super) vcs: Option<Vcs>,
    pub(super) variables: Vec<Variable>,
    pub(super) targets: Vec<String>,
    pub(super) replace: Vec<String>,
    pub(super) priority: i32,
    pub(super) plan: Option<TaskId>,
    pub(super) apply: Option<TaskId>,
    pub(super) is_cancel_requested: bool,
    pub(super) error_message: Option<String>,
}

impl Run {
    /// The task that it is at.
    pub(super) fn current_task(&self) -> Option<&TaskId> {
        self.apply.as_ref().or(self.plan.as_ref())
    }
}

/// What follows `run-` in a run's id stands in the ids of its stages too.
fn suffix(run: &RunId) -> &str {
    run.as_str().strip_prefix("run-").unwrap_or(run.as_str())
}

/// The id of a run's plan.
pub(super) fn plan_id(run: &RunId) -> PlanId {
    PlanId::new(&format!("plan-{}", suffix(run)))
}

/// The id of a run's apply.
pub(super) fn apply_id(run: &RunId) -> ApplyId {
    ApplyId::new(&format!("apply-{}", suffix(run)))
}

/// The run of a plan's or an apply's id.
pub(super) fn run_of(stage: &str, prefix: &str) -> Option<RunId> {
    RunId::new(&format!("run-{}", stage.strip_prefix(prefix)?)).ok()
}

impl State {
    pub(super) fn create_run(&mut self, now: Now, new: NewRun) -> Result<Reply, ApiError> {
        let workspace = self.workspace_at(&new.workspace)?;
        let auto_apply = new.auto_apply.unwrap_or(workspace.auto_apply);
        let latest = workspace.latest_configuration.clone();
        for (index, variable) in new.variables.iter().enumerate() {
            refuse_variable(variable, &format!("/data/attributes/variables/{index}"))?;
        }
        let pointer = "/data/relationships/configuration-version";
        let configuration_version = new.configuration_version.or(latest).ok_or_else(|| {
            let detail = "the workspace has no configuration yet: upload one";
            ApiError::new(ErrorCode::Invalid, detail).at(pointer)
        })?;
        let configuration = self.configuration_versions.get(&configuration_version);
        let configuration = configuration
            .filter(|configuration| configuration.workspace == new.workspace)
            .ok_or_else(|| not_found("configuration version", configuration_version.as_str()))?;
        if configuration.blob.is_none() {
            let detail = format!("{configuration_version} has no content yet: upload it first");
            return Err(ApiError::new(ErrorCode::Invalid, detail).at(pointer));
        }
        let id = fixed(RunId::new(&self.new_id(now, "run")));
        let run = Run {
            order: self.made,
            workspace: new.workspace.clone(),
            configuration_version,
            status: RunStatus::Pending,
            timestamps: vec![(RunStatus::Pending, now.wall)],
            is_destroy: new.is_destroy,
            is_dry: new.is_dry || new.mode == RunMode::Dry,
            mode: if new.is_dry { RunMode::Dry } else { new.mode },
            auto_apply,
            message: new.message,
            source: new.source,
            vcs: new.vcs,
            variables: new.variables,
            targets: new.targets,
            replace: new.replace,
            priority: new.priority,
            plan: None,
            apply: None,
            is_cancel_requested: false,
            error_message: None,
        };
        let place = (run.order, id.clone());
        let is_dry = run.is_dry;
        self.runs.insert(id.clone(), run);
        self.open_runs.insert(place.clone());
        self.change_workspace(&new.workspace, |workspace| workspace.pending_of(is_dry).insert(place));
        self.advance(now, &new.workspace);
        Ok(Reply::Run(id))
    }

    pub(super) fn run_at(&self, id: &RunId) -> Result<&Run, ApiError> {
        self.runs.get(id).ok_or_else(|| not_found("run", id.as_str()))
    }

    /// Changes a run that was looked up.
    fn change_run<T>(&mut self, id: &RunId, change: impl FnOnce(&mut Run) -> T) -> T {
        self.touch_and_wake();
        match self.runs.get_mut(id) {
            Some(run) => change(run),
            None => unreachable!("who changes a run has looked it up, and runs are never forgotten"),
        }
    }

    fn set_status(&mut self, now: Now, id: &RunId, status: RunStatus) {
        self.change_run(id, |run| {
            run.status = status;
            run.timestamps.push((status, now.wall));
        });
    }

    /// Lets the runs begin whose turn it is: every dry one, and one other, unless the workspace is locked.
    pub(super) fn advance(&mut self, now: Now, id: &WorkspaceId) {
        loop {
            let Some(workspace) = self.workspaces.get(id) else { return };
            if workspace.lock.is_some() {
                return;
            }
            let next = workspace
                .pending_dry
                .first()
                .or_else(|| workspace.pending.first().filter(|_| workspace.current_run.is_none()));
            let Some((order, run)) = next.cloned() else { return };
            let is_dry = workspace.pending_dry.contains(&(order, run.clone()));
            self.change_workspace(id, |workspace| {
                workspace.pending_of(is_dry).remove(&(order, run.clone()));
                if !is_dry {
                    workspace.current_run = Some(run.clone());
                }
            });
            self.queue_stage(now, &run, Action::Plan);
        }
    }

    fn queue_stage(&mut self, now: Now, id: &RunId, action: Action) {
        let priority = self.runs.get(id).map_or(0, |run| run.priority);
        let task = self.queue_task(now, id.clone(), action, priority);
        if action == Action::Apply {
            self.change_run(id, |run| run.apply = Some(task));
            self.set_status(now, id, RunStatus::ApplyQueued);
        } else {
            self.change_run(id, |run| run.plan = Some(task));
            self.set_status(now, id, RunStatus::PlanQueued);
        }
    }

    fn end_run(&mut self, now: Now, id: &RunId, status: RunStatus, error_message: Option<String>) {
        self.set_status(now, id, status);
        let (workspace, place, is_dry) = self.change_run(id, |run| {
            run.error_message = error_message;
            (run.workspace.clone(), (run.order, id.clone()), run.is_dry)
        });
        self.open_runs.remove(&place);
        self.change_workspace(&workspace, |workspace| {
            workspace.pending_of(is_dry).remove(&place);
            if workspace.current_run.as_ref() == Some(id) {
                workspace.current_run = None;
            }
        });
        self.advance(now, &workspace);
    }

    /// The task was confirmed: its stage runs.
    pub(super) fn follow_confirm(&mut self, now: Now, id: &TaskId) {
        let Some((run, action)) = self.tasks.get(id).map(|task| (task.run.clone(), task.action)) else {
            return;
        };
        let status = if action == Action::Apply { RunStatus::Applying } else { RunStatus::Planning };
        self.set_status(now, &run, status);
    }

    /// The task is over: its run goes on, or is over too.
    pub(super) fn follow_task(&mut self, now: Now, id: &TaskId, end: End) {
        let Some(task) = self.tasks.get(id) else { return };
        let run = task.run.clone();
        match end {
            End::Canceled | End::Finished(Outcome::Canceled) => {
                self.end_run(now, &run, RunStatus::Canceled, None);
            }
            End::Unlaunched => {
                let message = reasons::of_unlaunched(task);
                self.end_run(now, &run, RunStatus::Errored, Some(message));
            }
            End::Lost => {
                let message = self.reason_of_loss(id, task);
                self.end_run(now, &run, RunStatus::Errored, Some(message));
            }
            End::Finished(Outcome::Failed | Outcome::Errored) => {
                let message = reasons::of_failure(task);
                self.end_run(now, &run, RunStatus::Errored, Some(message));
            }
            End::Finished(Outcome::Succeeded) if task.action == Action::Apply => {
                self.end_run(now, &run, RunStatus::Applied, None);
            }
            End::Finished(Outcome::Succeeded) => {
                let summary = task.finish.as_ref().and_then(|finish| finish.summary);
                self.follow_plan(now, &run, summary);
            }
        }
    }

    fn follow_plan(&mut self, now: Now, id: &RunId, summary: Option<Summary>) {
        let Some(run) = self.runs.get(id) else { return };
        // A plan that says nothing of changes may have some.
        let has_changes = summary.is_none_or(|summary| summary.has_changes);
        if run.is_cancel_requested {
            self.end_run(now, id, RunStatus::Canceled, None);
        } else if run.is_dry || !has_changes {
            self.end_run(now, id, RunStatus::PlannedAndFinished, None);
        } else {
            let auto_apply = run.auto_apply;
            self.set_status(now, id, RunStatus::Planned);
            if auto_apply {
                self.confirm(now, id);
            }
        }
    }

    fn confirm(&mut self, now: Now, id: &RunId) {
        self.set_status(now, id, RunStatus::Confirmed);
        self.queue_stage(now, id, Action::Apply);
    }

    pub(super) fn confirm_run(&mut self, now: Now, id: &RunId) -> Result<Reply, ApiError> {
        let status = self.run_at(id)?.status;
        if status != RunStatus::Planned {
            return Err(conflict(id, status, "only a planned run can be applied"));
        }
        self.confirm(now, id);
        Ok(Reply::Run(id.clone()))
    }

    pub(super) fn discard_run(&mut self, now: Now, id: &RunId) -> Result<Reply, ApiError> {
        let status = self.run_at(id)?.status;
        if status != RunStatus::Planned && status != RunStatus::Pending {
            return Err(conflict(id, status, "only a pending or a planned run can be discarded"));
        }
        self.end_run(now, id, RunStatus::Discarded, None);
        Ok(Reply::Run(id.clone()))
    }

    /// What has not been confirmed is over at once; what has is asked to end, and says itself how it did.
    pub(super) fn cancel_run(&mut self, now: Now, id: &RunId, force: bool) -> Result<Reply, ApiError> {
        let run = self.run_at(id)?;
        match run.status {
            RunStatus::Pending => self.end_run(now, id, RunStatus::Canceled, None),
            RunStatus::PlanQueued
            | RunStatus::Planning
            | RunStatus::ApplyQueued
            | RunStatus::Applying
            | RunStatus::Confirmed => {
                let Some(task) = run.current_task().cloned() else {
                    unreachable!("a run in this status has a task")
                };
                self.cancel_task(now, id, &task, force);
            }
            RunStatus::Planned => {
                return Err(conflict(id, run.status, "it waits for approval: discard it instead"));
            }
            RunStatus::Discarded
            | RunStatus::PlannedAndFinished
            | RunStatus::Applied
            | RunStatus::Errored
            | RunStatus::Canceled => return Err(conflict(id, run.status, "it is over")),
        }
        Ok(Reply::Run(id.clone()))
    }

    fn cancel_task(&mut self, now: Now, run: &RunId, id: &TaskId, force: bool) {
        if !self.runs.get(run).is_some_and(|run| run.is_cancel_requested) {
            self.change_run(run, |run| run.is_cancel_requested = true);
        }
        let phase = self.tasks.get(id).map(|task: &Task| &task.phase);
        if let Some(Phase::Started { .. } | Phase::Unreachable { .. }) = phase {
            self.signal(id, if force { Signal::ForceCancel } else { Signal::Cancel });
        } else {
            self.hint_cancel(id);
            self.end_task(now, id, End::Canceled);
        }
    }
}

fn conflict(run: &RunId, status: RunStatus, remedy: &str) -> ApiError {
    ApiError::new(ErrorCode::Conflict, format!("{run} is {status}: {remedy}"))
}
