//! Call 10, the compare-and-set that makes one process the claimant, and the payload that it gets.

use scalr_protocol::{
    blob::BlobKind,
    error::{ApiError, ErrorCode},
    id::{InstanceId, TaskId},
    secret::Secret,
    task::{Account, Environment, Payload, Run, Start, Started, Timeouts, Workspace},
};

use super::{
    Key, Now, Reply, State, Token,
    tasks::{Claim, End, Phase, Task, Worker},
    tokens::{TokenUse, forbidden},
};

impl State {
    /// Call 10. Of any number of contenders one is answered with 200, and then only itself, by its key.
    pub(super) fn start(
        &mut self,
        now: Now,
        bearer: &Token,
        key: Option<Key>,
        id: &TaskId,
        start: &Start,
    ) -> Result<Reply, ApiError> {
        let (instance, worker) = self.contender(bearer, id)?;
        if worker.fence != start.fence {
            let detail = format!("the worker registered for fence {}, not {}", worker.fence, start.fence);
            return Err(ApiError::new(ErrorCode::Invalid, detail).at("/data/attributes/fence"));
        }
        let Some(task) = self.tasks.get(id) else {
            unreachable!("a worker registers for a task that is there")
        };
        if start.fence != task.fence || !task.is_granted {
            let detail = format!("the fence is {}, and the task is at {}", start.fence, task.fence);
            return Err(ApiError::new(ErrorCode::FenceStale, detail));
        }
        let refusal = match &task.phase {
            Phase::Queued { .. } | Phase::Leased { .. } => {
                self.claim(now, id, key, instance, &worker);
                return Ok(self.started(id));
            }
            Phase::Claimed { .. } if is_repeat(task, key.as_ref(), &instance) => return Ok(self.started(id)),
            Phase::Ended { end: End::Canceled | End::Unlaunched, .. } => ErrorCode::Canceled,
            Phase::Claimed { .. }
            | Phase::Started { .. }
            | Phase::Unreachable { .. }
            | Phase::Ended { end: End::Finished(_) | End::Lost, .. } => ErrorCode::AlreadyStarted,
        };
        Err(ApiError::new(refusal, "run nothing"))
    }

    fn contender(&self, bearer: &Token, id: &TaskId) -> Result<(InstanceId, Worker), ApiError> {
        match self.use_of(bearer)? {
            TokenUse::Worker { task, instance } if task == id => {
                let worker = self.tasks.get(task).and_then(|task| task.workers.get(instance));
                let Some(worker) = worker else {
                    unreachable!("a worker's token ends with its registration")
                };
                self.refuse_revoked(&worker.pool_token)?;
                Ok((instance.clone(), worker.clone()))
            }
            TokenUse::Worker { task, .. } => {
                Err(forbidden(&format!("the worker registered for {task}, not for {id}")))
            }
            TokenUse::User { .. }
            | TokenUse::Pool { .. }
            | TokenUse::Session { .. }
            | TokenUse::Task { .. }
            | TokenUse::Run { .. } => Err(forbidden("a start needs the session token of the task's worker")),
        }
    }

    fn claim(&mut self, now: Now, id: &TaskId, key: Option<Key>, instance: InstanceId, worker: &Worker) {
        let confirm_ms = self.settings.timings.confirm_ms;
        let task_token = self.new_token(now, "task");
        let run_token = self.new_token(now, "run");
        let fence = worker.fence;
        self.tokens.insert(task_token.clone(), TokenUse::Task { task: id.clone(), fence });
        self.tokens.insert(run_token.clone(), TokenUse::Run { task: id.clone(), fence });
        let claim = Claim {
            fence,
            key,
            worker: worker.name.clone(),
            instance,
            task_token,
            run_token,
            is_confirmed: false,
            last_seen_at: now.wall,
        };
        self.change_task(id, |task| {
            task.claim = Some(claim);
            task.avoid = None;
            task.phase = Phase::Claimed { until_ms: now.ms + confirm_ms };
        });
    }

    /// The answer to the claimant, the first time and every time.
    fn started(&self, id: &TaskId) -> Reply {
        let timings = &self.settings.timings;
        let claimed = self.tasks.get(id).and_then(|task| Some((task, task.claim.as_ref()?)));
        let Some((task, claim)) = claimed else { unreachable!("the task was claimed a moment ago") };
        Reply::Started(Box::new(Started {
            task_token: Secret::new(claim.task_token.expose()),
            run_token: Secret::new(claim.run_token.expose()),
            lease_ttl_ms: timings.lease_ttl_ms,
            renew_ms: timings.renew_ms,
            lost_after_ms: timings.lost_after_ms,
            payload: self.payload(id, task),
        }))
    }

    fn payload(&self, id: &TaskId, task: &Task) -> Payload {
        let (Some(run), Some(workspace)) = (self.runs.get(&task.run), self.workspaces.get(&task.workspace))
        else {
            unreachable!("a task's run and workspace are there as long as it is")
        };
        let variables: Vec<_> = workspace.variables.values().chain(&run.variables).cloned().collect();
        let secrets =
            variables.iter().filter(|variable| variable.sensitive && !variable.value.expose().is_empty());
        Payload {
            task: id.clone(),
            action: task.action,
            run: Run {
                id: task.run.clone(),
                is_destroy: run.is_destroy,
                is_dry: run.is_dry,
                mode: run.mode,
                targets: run.targets.clone(),
                replace: run.replace.clone(),
                source: run.source.clone(),
                vcs: run.vcs.clone(),
            },
            workspace: Workspace {
                id: task.workspace.clone(),
                name: workspace.name.clone(),
                working_directory: workspace.working_directory.clone(),
                var_files: workspace.var_files.clone(),
            },
            environment: Environment {
                id: self.environment.clone(),
                name: self.settings.environment_name.clone(),
            },
            account: Account { id: self.account.clone(), name: self.settings.account_name.clone() },
            tool: workspace.tool.clone(),
            secrets: secrets.map(|variable| variable.value.clone()).collect(),
            variables,
            provider_configurations: Vec::new(),
            hooks: workspace.hooks.clone(),
            timeouts: Timeouts { operation_ms: workspace.operation_timeout_ms },
            blobs: BlobKind::ALL.into_iter().filter_map(|kind| self.fetchable(task, kind)).collect(),
        }
    }
}

/// Without a key nobody can prove to be the claimant.
fn is_repeat(task: &Task, key: Option<&Key>, instance: &InstanceId) -> bool {
    task.claim
        .as_ref()
        .is_some_and(|claim| key.is_some() && claim.key.as_ref() == key && claim.instance == *instance)
}
