//! What the server may read, made into views. Nothing here changes anything; timers that are due show only
//! after the next command.

use scalr_protocol::{
    agent::AgentStatus,
    id::{AgentId, RunId, TaskId, WorkspaceId},
};

use super::{
    State,
    command::StateRef,
    ids::{ApplyId, ConfigurationVersionId, PlanId, StateVersionId, VariableId},
    reasons,
    runs::{Run, apply_id, plan_id, run_of},
    status::{RunStatus, StageStatus, TaskStatus},
    tasks::{End, Phase, Task},
    views::{
        AgentPoolView, AgentView, ConfigurationVersionView, PoolTokenView, RunView, StageView, TaskView,
        VariableView, WorkspaceView,
    },
    workspaces::Workspace,
};

impl State {
    /// One run.
    pub fn run(&self, id: &RunId) -> Option<RunView> {
        self.runs.get(id).map(|run| self.run_view(id, run))
    }

    /// All runs, or those of one workspace, the latest first.
    pub fn runs(&self, workspace: Option<&WorkspaceId>) -> Vec<RunView> {
        let of_workspace = |run: &Run| workspace.is_none_or(|workspace| run.workspace == *workspace);
        let mut runs: Vec<_> = self.runs.iter().filter(|(_, run)| of_workspace(run)).collect();
        runs.sort_by_key(|(_, run)| std::cmp::Reverse(run.order));
        runs.into_iter().map(|(id, run)| self.run_view(id, run)).collect()
    }

    /// Runs that are not over, the oldest first.
    pub fn runs_queue(&self) -> Vec<RunView> {
        self.open_runs.iter().filter_map(|(_, id)| self.run(id)).collect()
    }

    /// One plan.
    pub fn plan(&self, id: &PlanId) -> Option<StageView> {
        let run_id = run_of(id.as_str(), "plan-")?;
        let run = self.runs.get(&run_id)?;
        Some(self.stage_view(id.as_str(), &run_id, run, run.plan.as_ref()))
    }

    /// One apply; none before its run was confirmed.
    pub fn apply_stage(&self, id: &ApplyId) -> Option<StageView> {
        let run_id = run_of(id.as_str(), "apply-")?;
        let run = self.runs.get(&run_id)?;
        Some(self.stage_view(id.as_str(), &run_id, run, Some(run.apply.as_ref()?)))
    }

    /// One task.
    pub fn task(&self, id: &TaskId) -> Option<TaskView> {
        let task = self.tasks.get(id)?;
        let finish = task.finish.as_ref();
        Some(TaskView {
            id: id.clone(),
            run: task.run.clone(),
            action: task.action,
            status: task.status(),
            fence: task.fence,
            agent: task.agent.clone(),
            worker: task.claim.as_ref().map(|claim| claim.worker.clone()),
            worker_phase: task.worker_phase.clone(),
            launch_attempts: task.attempts,
            outcome: finish.map(|finish| finish.outcome),
            late: task.late.as_ref().map(|late| late.outcome),
            exit_code: finish.and_then(|finish| finish.exit_code),
            error: finish.and_then(|finish| finish.error.clone()),
            worker_loss: task.loss.clone(),
            log_bytes: task.log_bytes,
            is_log_open: is_log_open(task),
            blobs: task.blobs.values().cloned().collect(),
            queued_at: task.queued_at,
            last_seen_at: task.claim.as_ref().map(|claim| claim.last_seen_at),
        })
    }

    /// All tasks.
    pub fn tasks(&self) -> Vec<TaskView> {
        self.tasks.keys().filter_map(|id| self.task(id)).collect()
    }

    /// How many bytes of a task's console are stored; cheap.
    pub fn log_bytes(&self, id: &TaskId) -> Option<u64> {
        self.tasks.get(id).map(|task| task.log_bytes)
    }

    /// One workspace.
    pub fn workspace(&self, id: &WorkspaceId) -> Option<WorkspaceView> {
        self.workspaces.get(id).map(|workspace| self.workspace_view(id, workspace))
    }

    /// The workspace of this name.
    pub fn workspace_by_name(&self, name: &str) -> Option<WorkspaceView> {
        self.workspace(self.workspace_names.get(name)?)
    }

    /// All workspaces, by name.
    pub fn workspaces(&self) -> Vec<WorkspaceView> {
        self.workspace_names.values().filter_map(|id| self.workspace(id)).collect()
    }

    /// The variables of a workspace, the oldest first.
    pub fn variables(&self, id: &WorkspaceId) -> Option<Vec<VariableView>> {
        let variables = self.workspaces.get(id)?.variables.keys();
        Some(variables.filter_map(|variable| self.variable(variable)).collect())
    }

    /// One variable.
    pub fn variable(&self, id: &VariableId) -> Option<VariableView> {
        let workspace = self.variable_owners.get(id)?;
        let variable = self.workspaces.get(workspace)?.variables.get(id)?.clone();
        Some(VariableView { id: id.clone(), workspace: workspace.clone(), variable })
    }

    /// One configuration version.
    pub fn configuration_version(&self, id: &ConfigurationVersionId) -> Option<ConfigurationVersionView> {
        self.configuration_versions.get(id).map(|configuration| ConfigurationVersionView {
            id: id.clone(),
            workspace: configuration.workspace.clone(),
            blob: configuration.blob.clone(),
            created_at: configuration.created_at,
        })
    }

    /// The versions of a workspace's state, the latest first.
    pub fn state_versions(&self, id: &WorkspaceId) -> Option<Vec<StateRef>> {
        Some(self.workspaces.get(id)?.state.versions.iter().rev().cloned().collect())
    }

    /// The current state of a workspace, if it has one.
    pub fn current_state(&self, id: &WorkspaceId) -> Option<StateRef> {
        self.workspaces.get(id)?.state.versions.last().cloned()
    }

    /// One version of a state, and whose it is.
    pub fn state_version(&self, id: &StateVersionId) -> Option<(WorkspaceId, StateRef)> {
        self.workspaces.iter().find_map(|(workspace, at)| {
            let version = at.state.versions.iter().find(|version| version.id == *id)?;
            Some((workspace.clone(), version.clone()))
        })
    }

    /// All controllers.
    pub fn agents(&self) -> Vec<AgentView> {
        self.agents.keys().filter_map(|id| self.agent(id)).collect()
    }

    /// One controller.
    pub fn agent(&self, id: &AgentId) -> Option<AgentView> {
        let agent = self.agents.get(id)?;
        Some(AgentView {
            id: id.clone(),
            name: agent.name.clone(),
            status: if agent.is_offline { AgentStatus::Offline } else { agent.status },
            error_message: agent.error_message.clone(),
            version: agent.version.clone(),
            os: agent.os.clone(),
            driver: agent.driver.clone(),
            capacity: agent.capacity,
            slots: agent.slots.unwrap_or(0),
            is_draining: agent.is_draining,
            unlaunched: self.unlaunched.get(id).copied().unwrap_or(0),
            last_seen_at: agent.last_seen_at,
            created_at: agent.created_at,
        })
    }

    /// The pool.
    pub fn agent_pool(&self) -> AgentPoolView {
        let online = self.agents.values().filter(|agent| !agent.is_offline).count();
        let queued = self.queue.values().map(std::collections::BTreeSet::len).sum::<usize>();
        AgentPoolView {
            id: self.pool.clone(),
            name: "default".to_owned(),
            online: u32::try_from(online).unwrap_or(u32::MAX),
            queued: u32::try_from(queued).unwrap_or(u32::MAX),
        }
    }

    /// The pool tokens, without their texts.
    pub fn pool_tokens(&self) -> Vec<PoolTokenView> {
        let view = |(id, token): (&super::ids::PoolTokenId, &super::tokens::PoolToken)| PoolTokenView {
            id: id.clone(),
            description: token.description.clone(),
            created_at: token.created_at,
            is_revoked: token.is_revoked,
        };
        self.pool_tokens.iter().map(view).collect()
    }

    fn run_view(&self, id: &RunId, run: &Run) -> RunView {
        let workspace = self.workspaces.get(&run.workspace);
        RunView {
            id: id.clone(),
            workspace: run.workspace.clone(),
            workspace_name: workspace.map(|workspace| workspace.name.clone()).unwrap_or_default(),
            configuration_version: run.configuration_version.clone(),
            status: run.status,
            status_timestamps: run.timestamps.clone(),
            created_at: run.timestamps.first().map(|(_, at)| *at).unwrap_or_default(),
            is_destroy: run.is_destroy,
            is_dry: run.is_dry,
            mode: run.mode,
            auto_apply: run.auto_apply,
            message: run.message.clone(),
            source: run.source.clone(),
            vcs: run.vcs.clone(),
            targets: run.targets.clone(),
            replace: run.replace.clone(),
            waiting_reason: self.waiting_reason(id, run),
            error_message: self.error_message(run),
            is_cancel_requested: run.is_cancel_requested,
            plan: plan_id(id),
            apply: run.apply.as_ref().map(|_| apply_id(id)),
        }
    }

    /// What went wrong, and what a lost worker delivered after all.
    fn error_message(&self, run: &Run) -> Option<String> {
        let late = run.current_task().and_then(|task| self.tasks.get(task)?.late.as_ref());
        let late = late.map(|late| format!("; its worker said later: {}", reasons::outcome(late.outcome)));
        run.error_message.as_ref().map(|message| format!("{message}{}", late.unwrap_or_default()))
    }

    fn stage_view(&self, id: &str, run_id: &RunId, run: &Run, task: Option<&TaskId>) -> StageView {
        let at = task.and_then(|task| self.tasks.get(task));
        let finish = at.and_then(|task| task.finish.as_ref());
        let status = at.map_or_else(|| stage_before_its_task(run.status), stage_status);
        let is_errored = status == StageStatus::Errored;
        StageView {
            id: id.to_owned(),
            run: run_id.clone(),
            task: task.cloned(),
            status,
            summary: finish.and_then(|finish| finish.summary),
            error_message: self.error_message(run).filter(|_| is_errored),
            log_bytes: at.map_or(0, |task| task.log_bytes),
            is_log_open: at.map_or(!run.status.is_terminal(), is_log_open),
            is_log_cut: at.is_some_and(|task| task.status() == TaskStatus::Lost && task.late.is_none()),
            blobs: at.map(|task| task.blobs.values().cloned().collect()).unwrap_or_default(),
        }
    }

    fn workspace_view(&self, id: &WorkspaceId, workspace: &Workspace) -> WorkspaceView {
        WorkspaceView {
            id: id.clone(),
            name: workspace.name.clone(),
            auto_apply: workspace.auto_apply,
            working_directory: workspace.working_directory.clone(),
            var_files: workspace.var_files.clone(),
            tool: workspace.tool.clone(),
            hooks: workspace.hooks.clone(),
            operation_timeout_ms: workspace.operation_timeout_ms,
            lock: workspace.lock.clone(),
            state_lock: self.lock_holder(id),
            current_run: workspace.current_run.clone(),
            created_at: workspace.created_at,
        }
    }
}

/// A lost task's log is open too, but nothing is expected of it.
fn is_log_open(task: &Task) -> bool {
    match task.phase {
        Phase::Queued { .. }
        | Phase::Leased { .. }
        | Phase::Claimed { .. }
        | Phase::Started { .. }
        | Phase::Unreachable { .. }
        | Phase::Ended { end: End::Finished(_), open_until_ms: Some(_) } => true,
        Phase::Ended { .. } => false,
    }
}

fn stage_status(task: &Task) -> StageStatus {
    use scalr_protocol::task::Outcome;
    match task.phase {
        Phase::Queued { .. } | Phase::Leased { .. } | Phase::Claimed { .. } => StageStatus::Queued,
        Phase::Started { .. } => StageStatus::Running,
        Phase::Unreachable { .. } => StageStatus::Unreachable,
        Phase::Ended { end: End::Finished(Outcome::Succeeded), .. } => StageStatus::Finished,
        Phase::Ended { end: End::Canceled | End::Finished(Outcome::Canceled), .. } => StageStatus::Canceled,
        Phase::Ended {
            end: End::Unlaunched | End::Lost | End::Finished(Outcome::Failed | Outcome::Errored),
            ..
        } => StageStatus::Errored,
    }
}

fn stage_before_its_task(run: RunStatus) -> StageStatus {
    if run.is_terminal() { StageStatus::Canceled } else { StageStatus::Pending }
}
