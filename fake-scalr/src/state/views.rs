//! What the server may read: copies with names, never the maps.

use jiff::Timestamp;
use scalr_protocol::{
    agent::{Action, AgentStatus},
    blob::BlobRef,
    id::{AgentId, AgentPoolId, Fence, RunId, TaskId, WorkspaceId},
    task::{Hook, Outcome, RunMode, Summary, TaskError, Tool, Variable, Vcs},
};

use super::{
    command::LockHolder,
    ids::{ApplyId, ConfigurationVersionId, PlanId, PoolTokenId, VariableId},
    status::{RunStatus, StageStatus, TaskStatus},
};

/// A run.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts, as the public API has them")]
pub struct RunView {
    /// Its id.
    pub id: RunId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The workspace's name.
    pub workspace_name: String,
    /// Its configuration.
    pub configuration_version: ConfigurationVersionId,
    /// How far it has come.
    pub status: RunStatus,
    /// When it came to each status, the oldest first.
    pub status_timestamps: Vec<(RunStatus, Timestamp)>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Whether it destroys.
    pub is_destroy: bool,
    /// Whether it ends after the plan.
    pub is_dry: bool,
    /// How it treats the state.
    pub mode: RunMode,
    /// Whether its plan is confirmed at once.
    pub auto_apply: bool,
    /// What it is for.
    pub message: String,
    /// Where it came from.
    pub source: String,
    /// The commit it was made for.
    pub vcs: Option<Vcs>,
    /// Only these resources, and what they depend on.
    pub targets: Vec<String>,
    /// Replace these resources.
    pub replace: Vec<String>,
    /// One sentence that says what it waits for, while it waits for something.
    pub waiting_reason: Option<String>,
    /// What went wrong.
    pub error_message: Option<String>,
    /// Whether its cancel was asked for.
    pub is_cancel_requested: bool,
    /// Its plan.
    pub plan: PlanId,
    /// Its apply, once it was confirmed.
    pub apply: Option<ApplyId>,
}

/// A plan or an apply.
#[derive(Clone, Debug, PartialEq)]
pub struct StageView {
    /// The [`PlanId`] or the [`ApplyId`].
    pub id: String,
    /// Its run.
    pub run: RunId,
    /// Its task, once it was queued.
    pub task: Option<TaskId>,
    /// How far it has come.
    pub status: StageStatus,
    /// What it would change, or has changed.
    pub summary: Option<Summary>,
    /// What went wrong.
    pub error_message: Option<String>,
    /// How many bytes of its console are stored.
    pub log_bytes: u64,
    /// Whether the console can still grow.
    pub is_log_open: bool,
    /// Whether the console ends because its worker was lost, and not because it had said all.
    pub is_log_cut: bool,
    /// What its worker uploaded.
    pub blobs: Vec<BlobRef>,
}

/// A task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskView {
    /// Its id.
    pub id: TaskId,
    /// Its run.
    pub run: RunId,
    /// What is to be done.
    pub action: Action,
    /// How far it has come.
    pub status: TaskStatus,
    /// The current fence.
    pub fence: Fence,
    /// The agent that holds or launched it.
    pub agent: Option<AgentId>,
    /// The name of the worker that claimed it.
    pub worker: Option<String>,
    /// What that worker is doing, as it last said.
    pub worker_phase: String,
    /// How often its launch failed.
    pub launch_attempts: u32,
    /// Its outcome.
    pub outcome: Option<Outcome>,
    /// What its worker delivered after it was declared lost.
    pub late: Option<Outcome>,
    /// The exit code of the command that decided the outcome.
    pub exit_code: Option<i32>,
    /// What went wrong, as the worker told it.
    pub error: Option<TaskError>,
    /// What the controller knows of its worker's end.
    pub worker_loss: Option<String>,
    /// How many bytes of its console are stored.
    pub log_bytes: u64,
    /// Whether the console can still grow.
    pub is_log_open: bool,
    /// What its worker uploaded.
    pub blobs: Vec<BlobRef>,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// When its worker was last heard of.
    pub last_seen_at: Option<Timestamp>,
}

/// A controller.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentView {
    /// Its id.
    pub id: AgentId,
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: AgentStatus,
    /// Why it is errored.
    pub error_message: Option<String>,
    /// Its version.
    pub version: String,
    /// Such as `linux/x86_64`.
    pub os: String,
    /// Such as `local`.
    pub driver: String,
    /// How many tasks it may have in flight.
    pub capacity: u32,
    /// How many more Jobs it could launch at once, as it last said.
    pub slots: u32,
    /// Whether it takes no more work.
    pub is_draining: bool,
    /// How many tasks it holds and has not launched.
    pub unlaunched: u32,
    /// When it was last heard of.
    pub last_seen_at: Timestamp,
    /// When it registered.
    pub created_at: Timestamp,
}

/// The agent pool; there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPoolView {
    /// Its id.
    pub id: AgentPoolId,
    /// Its name.
    pub name: String,
    /// How many controllers are online.
    pub online: u32,
    /// How many tasks wait for an agent.
    pub queued: u32,
}

/// A pool token, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTokenView {
    /// What it is revoked by.
    pub id: PoolTokenId,
    /// What it is for.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it was revoked.
    pub is_revoked: bool,
}

/// A workspace.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkspaceView {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name.
    pub name: String,
    /// Whether plans are confirmed at once.
    pub auto_apply: bool,
    /// Where in the configuration to work.
    pub working_directory: String,
    /// Variable files.
    pub var_files: Vec<String>,
    /// The tool.
    pub tool: Tool,
    /// Hooks.
    pub hooks: Vec<Hook>,
    /// How long a plan or an apply may take.
    pub operation_timeout_ms: u64,
    /// Who locked it, and why.
    pub lock: Option<WorkspaceLockView>,
    /// Who holds the lock of its state.
    pub state_lock: Option<LockHolder>,
    /// The run whose turn it is.
    pub current_run: Option<RunId>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// The lock of a workspace.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WorkspaceLockView {
    /// Who locked it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// A variable of a workspace. The server shows no sensitive value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableView {
    /// Its id.
    pub id: VariableId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The variable.
    pub variable: Variable,
}

/// A configuration version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationVersionView {
    /// Its id.
    pub id: ConfigurationVersionId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// What was uploaded; none while it is awaited.
    pub blob: Option<BlobRef>,
    /// When it was created.
    pub created_at: Timestamp,
}
