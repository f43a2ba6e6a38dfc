//! Call 16: the state of a workspace, its versions and its lock. What is lost, canceled or forgotten never
//! unlocks anything; only the holder and people do.

use jiff::Timestamp;
use scalr_protocol::{
    error::{ApiError, ErrorCode},
    id::{TaskId, WorkspaceId},
    state::LockInfo,
};
use serde::{Deserialize, Serialize};

use super::{
    Now, Reply, State, StateCall, Token,
    command::{LockHolder, StatePost, StateRef},
    ids::StateVersionId,
    tasks::Phase,
    tokens::{TokenUse, forbidden},
};

/// The state of one workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateBox {
    /// The oldest first.
    pub(super) versions: Vec<StateRef>,
    pub(super) lock: Option<Lock>,
    /// The ID that holds the lock, or held it last.
    pub(super) last_id: Option<String>,
    /// Whether somebody has written without a lock since.
    pub(super) is_written_since: bool,
}

/// How the tool's lock says that a saved state is being pushed. Source: Terraform 1.15, `state push`.
const STATE_PUSH: &str = "state-push";

/// Who holds the lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lock {
    pub(super) info: LockInfo,
    /// None for a user.
    pub(super) task: Option<TaskId>,
    pub(super) locked_at: Timestamp,
}

impl StateBox {
    /// The holder, if it is not this one.
    fn held_by_other(&self, id: Option<&str>) -> Option<&LockInfo> {
        self.lock.as_ref().map(|lock| &lock.info).filter(|info| Some(info.id.as_str()) != id)
    }
}

impl State {
    /// Whether the token is good for the state of this workspace: worth asking before a large body is read.
    pub fn authorise_state(
        &self,
        now_ms: u64,
        bearer: &Token,
        workspace: &WorkspaceId,
    ) -> Result<(), ApiError> {
        self.state_user(now_ms, bearer, workspace).map(|_| ())
    }

    /// The task on whose behalf the state is used; none for a person.
    fn state_user(
        &self,
        now_ms: u64,
        bearer: &Token,
        workspace: &WorkspaceId,
    ) -> Result<Option<TaskId>, ApiError> {
        let (id, fence) = match self.use_of(bearer)? {
            TokenUse::Run { task, fence } => (task, *fence),
            TokenUse::User { .. } => return self.workspace_at(workspace).map(|_| None),
            TokenUse::Pool { .. }
            | TokenUse::Session { .. }
            | TokenUse::Worker { .. }
            | TokenUse::Task { .. } => return Err(forbidden("a state needs a run token or a user token")),
        };
        let Some(task) = self.tasks.get(id) else { unreachable!("tasks are never forgotten") };
        if task.workspace != *workspace {
            return Err(forbidden(&format!(
                "the run token is good for the state of {} only",
                task.workspace
            )));
        }
        let is_claimant = task.claim.as_ref().is_some_and(|claim| claim.fence == fence && claim.is_confirmed);
        let late_ms = self.settings.timings.late_ms;
        let is_over = task.ended_ms.is_some_and(|ended_ms| ended_ms + late_ms <= now_ms);
        if is_claimant && !is_over {
            Ok(Some(id.clone()))
        } else {
            let why = if is_over { "its task ended too long ago" } else { "its task was not confirmed" };
            Err(ApiError::new(ErrorCode::InvalidToken, why))
        }
    }

    pub(super) fn state_call(
        &mut self,
        now: Now,
        bearer: &Token,
        id: &WorkspaceId,
        call: StateCall,
    ) -> Result<Reply, ApiError> {
        let task = self.state_user(now.ms, bearer, id)?;
        match call {
            StateCall::Get => Ok(Reply::State(self.workspace_at(id)?.state.versions.last().cloned())),
            StateCall::Post(post) => self.state_post(now, id, task.as_ref(), post),
            StateCall::Lock(info) => self.state_lock(now, id, task, info),
            StateCall::Unlock { id: None } => Ok(self.force_unlock_state(id)),
            StateCall::Unlock { id: Some(lock) } => self.state_unlock(id, &lock),
        }
    }

    fn state_lock(
        &mut self,
        now: Now,
        id: &WorkspaceId,
        task: Option<TaskId>,
        info: LockInfo,
    ) -> Result<Reply, ApiError> {
        if info.id.is_empty() {
            return Err(ApiError::new(ErrorCode::Invalid, "a lock needs an `ID`").at("/ID"));
        }
        let state = &self.workspace_at(id)?.state;
        // A tool that could not push its state could not unlock either. What pushes it for the same task
        // takes the lock over: nobody else could have written since.
        let is_own = |lock: &Lock| lock.task.is_some() && lock.task == task;
        let takes_over = info.operation == STATE_PUSH && state.lock.as_ref().is_some_and(is_own);
        if let Some(holder) = state.held_by_other(Some(&info.id)).filter(|_| !takes_over) {
            return Ok(Reply::Locked(holder.clone()));
        }
        // A call that was under way for long, and was made again meanwhile: nobody is left to unlock it.
        if state.lock.is_none() && state.last_id.as_ref() == Some(&info.id) {
            let detail = "this ID held the lock before, and it was given back or taken since";
            return Err(ApiError::new(ErrorCode::Conflict, detail).at("/ID"));
        }
        if state.lock.is_none() || takes_over {
            self.change_workspace(id, |workspace| {
                workspace.state.last_id = Some(info.id.clone());
                workspace.state.is_written_since = false;
                workspace.state.lock = Some(Lock { info, task, locked_at: now.wall });
            });
        }
        Ok(Reply::Done)
    }

    fn state_unlock(&mut self, id: &WorkspaceId, lock: &str) -> Result<Reply, ApiError> {
        let state = &self.workspace_at(id)?.state;
        if let Some(holder) = state.held_by_other(Some(lock)) {
            return Ok(Reply::Locked(holder.clone()));
        }
        if state.lock.is_some() {
            return Ok(self.force_unlock_state(id));
        }
        if state.last_id.as_deref() == Some(lock) {
            return Ok(Reply::Unlocked(None));
        }
        Err(ApiError::new(
            ErrorCode::Conflict,
            format!("the state is not locked, and `{lock}` was not the last"),
        ))
    }

    /// Takes the lock from whoever holds it.
    pub(super) fn force_unlock_state(&mut self, id: &WorkspaceId) -> Reply {
        let holder = self.lock_holder(id);
        if holder.is_some() {
            self.change_workspace(id, |workspace| workspace.state.lock = None);
        }
        Reply::Unlocked(holder)
    }

    /// Whoever may be writing keeps the lock, and who asks for it hears who that is.
    pub(super) fn refuse_running_holder(&self, now: Now, id: &WorkspaceId) -> Result<(), ApiError> {
        let Some(holder) = self.lock_holder(id).filter(|holder| holder.is_running) else { return Ok(()) };
        let Some((id, run)) = holder.run.and_then(|id| self.runs.get(&id).map(|run| (id, run))) else {
            unreachable!("only what was locked for a task is running, and a task has a run")
        };
        let unseen_s = now.wall.duration_since(holder.last_seen_at).as_secs();
        let detail = format!(
            "{} holds the state for {id}, which is {} and was last seen {unseen_s} s ago: end it with \
             `fake-scalr cancel {id}`, or take the lock all the same with `unlock --force`",
            holder.info.who, run.status
        );
        Err(ApiError::new(ErrorCode::Conflict, detail))
    }

    /// Who holds the lock, and when he was last heard of.
    pub(super) fn lock_holder(&self, id: &WorkspaceId) -> Option<LockHolder> {
        let lock = self.workspaces.get(id)?.state.lock.as_ref()?;
        let task = lock.task.as_ref().and_then(|task| self.tasks.get(task));
        let last_seen_at = task.and_then(|task| Some(task.claim.as_ref()?.last_seen_at));
        Some(LockHolder {
            info: lock.info.clone(),
            run: task.map(|task| task.run.clone()),
            locked_at: lock.locked_at,
            last_seen_at: last_seen_at.unwrap_or(lock.locked_at).max(lock.locked_at),
            is_running: task.is_some_and(|task| !matches!(task.phase, Phase::Ended { .. })),
        })
    }

    fn state_post(
        &mut self,
        now: Now,
        id: &WorkspaceId,
        task: Option<&TaskId>,
        post: StatePost,
    ) -> Result<Reply, ApiError> {
        let state = &self.workspace_at(id)?.state;
        let last = state.versions.last();
        if let Some(last) = last.filter(|last| last.serial == post.serial && last.sha256 == post.sha256) {
            return Ok(Reply::StateStored { version: last.id.clone(), created: false });
        }
        if let Some(holder) = state.held_by_other(post.lock_id.as_deref()) {
            return Ok(Reply::Locked(holder.clone()));
        }
        let is_last_holder = post.lock_id == state.last_id && !state.is_written_since;
        if state.lock.is_none() && post.lock_id.is_some() && !is_last_holder {
            let detail = "the lock is not held any more, and somebody else has locked or written since";
            return Err(ApiError::new(ErrorCode::Conflict, detail).of_parameter("ID"));
        }
        if let Some(last) = last {
            refuse_older(last, &post)?;
        }
        let version = StateVersionId::new(&self.new_id(now, "sv"));
        let StatePost { lock_id, serial, lineage, bytes, sha256 } = post;
        let run = task.and_then(|task| self.tasks.get(task)).map(|task| task.run.clone());
        let stored =
            StateRef { id: version.clone(), serial, lineage, bytes, sha256, run, created_at: now.wall };
        self.change_workspace(id, |workspace| {
            workspace.state.versions.push(stored);
            workspace.state.is_written_since |= lock_id.is_none();
        });
        Ok(Reply::StateStored { version, created: true })
    }
}

/// A state is only ever followed by a later one of its own line.
fn refuse_older(last: &StateRef, post: &StatePost) -> Result<(), ApiError> {
    let detail = if last.lineage != post.lineage {
        format!(
            "the lineage is `{}`, not `{}`: this is the state of something else",
            last.lineage, post.lineage
        )
    } else if post.serial <= last.serial {
        format!("serial {} is there already, and {} does not come after it", last.serial, post.serial)
    } else {
        return Ok(());
    };
    Err(ApiError::new(ErrorCode::Conflict, detail))
}
