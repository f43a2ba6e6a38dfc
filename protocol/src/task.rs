//! What the worker of one task says: start, lease, signals, finish.

use serde::{Deserialize, Serialize};

use crate::{
    agent::Action,
    blob::{BlobRef, Digest},
    document::Message,
    id::{AccountId, EnvironmentId, Fence, RunId, TaskId, WorkspaceId},
    secret::Secret,
};

/// Call 10, `POST /agent-tasks/{id}/start`: the compare-and-set that makes one process the claimant. Its
/// idempotency key is drawn in memory and never stored, so that a restarted process is another contender.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Start {
    /// The grant under which the Job was launched.
    pub fence: Fence,
}

impl Message for Start {
    const TYPE: &'static str = "agent-task-starts";
}

/// The answer to [`Start`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Started {
    /// Good for the calls of this task.
    pub task_token: Secret,
    /// What the user's code may use: its workspace's state, nothing else.
    pub run_token: Secret,
    /// How long the claim, and later each renewal, lasts.
    pub lease_ttl_ms: u64,
    /// How often to renew.
    pub renew_ms: u64,
    /// After how long without a renewal the task is lost, in time in which the server serves.
    pub lost_after_ms: u64,
    /// What to do.
    pub payload: Payload,
}

impl Message for Started {
    const TYPE: &'static str = "agent-task-starts";
}

/// Everything that the worker needs to do the task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Payload {
    /// The task.
    pub task: TaskId,
    /// What to do.
    pub action: Action,
    /// The run.
    pub run: Run,
    /// The run's workspace.
    pub workspace: Workspace,
    /// The workspace's environment.
    pub environment: Environment,
    /// The environment's account.
    pub account: Account,
    /// The `IaC` tool.
    pub tool: Tool,
    /// Variables, in the order in which they are set.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// Credentials for providers.
    #[serde(default)]
    pub provider_configurations: Vec<ProviderConfiguration>,
    /// Hooks, in the order in which they run within a phase.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// What must not appear in the console, besides tokens and sensitive variables.
    #[serde(default)]
    pub secrets: Vec<Secret>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What can be fetched.
    #[serde(default)]
    pub blobs: Vec<BlobRef>,
}

/// A run, as far as its execution depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// The run.
    pub id: RunId,
    /// Whether it destroys.
    pub is_destroy: bool,
    /// Whether it ends after the plan.
    pub is_dry: bool,
    /// How it treats the state.
    pub mode: RunMode,
    /// Only these resources, and what they depend on.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Replace these resources.
    #[serde(default)]
    pub replace: Vec<String>,
    /// Where it came from, such as `cli`.
    pub source: String,
    /// The commit it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcs: Option<Vcs>,
}

/// How a run treats the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunMode {
    /// Plan and apply.
    #[default]
    Apply,
    /// Plan only.
    Dry,
    /// Only refresh the state.
    Refresh,
    /// Do not refresh the state first.
    SkipRefresh,
}

/// The commit of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Vcs {
    /// The branch.
    pub branch: String,
    /// The commit's hash.
    pub commit: String,
}

/// A workspace, as far as a run depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Workspace {
    /// The workspace.
    pub id: WorkspaceId,
    /// Its name.
    pub name: String,
    /// Where in the configuration to work, relative to its root.
    #[serde(default)]
    pub working_directory: String,
    /// Variable files, relative to the working directory.
    #[serde(default)]
    pub var_files: Vec<String>,
}

/// An environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Environment {
    /// The environment.
    pub id: EnvironmentId,
    /// Its name.
    pub name: String,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Account {
    /// The account.
    pub id: AccountId,
    /// Its name.
    pub name: String,
}

/// The `IaC` tool of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tool {
    /// `terraform` or `tofu`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where its zip is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The zip's SHA-256, as hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Variable {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Secret,
    /// Whom it is for.
    pub category: VariableCategory,
    /// Whether the value is an HCL expression rather than a text.
    #[serde(default)]
    pub hcl: bool,
    /// Whether the value must not be seen.
    #[serde(default)]
    pub sensitive: bool,
}

/// Whom a variable is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VariableCategory {
    /// The configuration.
    Terraform,
    /// The environment of the process.
    Shell,
}

/// Credentials for a provider, as environment variables: the one way that works with every provider and
/// leaves the configuration as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProviderConfiguration {
    /// The provider's name, such as `aws`.
    pub provider_name: String,
    /// Its alias, where the configuration uses several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Whether only applies get it.
    #[serde(default)]
    pub apply_only: bool,
    /// Environment variables; all of them are secret.
    #[serde(default)]
    pub environment: Vec<Argument>,
}

/// A name and its secret value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Argument {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Secret,
}

/// A command of the user's around a stage.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hook {
    /// When it runs.
    pub phase: HookPhase,
    /// Who set it, such as `workspace`.
    pub source: String,
    /// The command, run by `/bin/sh -c`.
    pub command: String,
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookPhase {
    /// Before `init`, in plans and applies.
    PreInit,
    /// Before `plan`.
    PrePlan,
    /// After `plan`, whether it succeeded or not.
    PostPlan,
    /// Before `apply`.
    PreApply,
    /// After `apply`, whether it succeeded or not.
    PostApply,
}

impl HookPhase {
    /// Its name, as the console and the environment show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreInit => "pre-init",
            Self::PrePlan => "pre-plan",
            Self::PostPlan => "post-plan",
            Self::PreApply => "pre-apply",
            Self::PostApply => "post-apply",
        }
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Timeouts {
    /// The run's operation timeout: from the confirm to the begin of the stop.
    pub operation_ms: u64,
}

/// Call 11, `PUT /agent-tasks/{id}/lease`. The first one is the confirm.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lease {
    /// The claim's fence.
    pub fence: Fence,
    /// What the worker is doing, for people: `confirm`, then a stage's name.
    pub phase: String,
}

impl Message for Lease {
    const TYPE: &'static str = "agent-task-leases";
}

/// The answer to [`Lease`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LeaseAnswer {
    /// How long the lease now runs.
    pub ttl_ms: u64,
    /// What to do, if anything; repeated in every answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
}

impl Message for LeaseAnswer {
    const TYPE: &'static str = "agent-task-leases";
}

/// What the server wants of a running task. The later one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// Interrupt the tool once, and wait for it.
    Cancel,
    /// Kill the tool.
    ForceCancel,
    /// One that this version does not know: ignored, and logged.
    #[serde(other)]
    Unknown,
}

/// The answer to call 12, `GET /agent-tasks/{id}/signals?after=N&wait-ms=`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Signals {
    /// The number of the last signal; ask for those after it next time.
    pub last: u64,
    /// What came since.
    pub signals: Vec<Signal>,
}

impl Message for Signals {
    const TYPE: &'static str = "agent-task-signals";
}

/// Call 15, `POST /agent-tasks/{id}/finish`: records exactly one outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finish {
    /// The claim's fence.
    pub fence: Fence,
    /// How it ended.
    pub outcome: Outcome,
    /// The exit code of the command that decided the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
    /// What a plan or an apply would change or has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// The whole console.
    pub log: LogDigest,
    /// What was uploaded.
    #[serde(default)]
    pub blobs: Vec<BlobRef>,
}

impl Message for Finish {
    const TYPE: &'static str = "agent-task-finishes";
}

/// The answer to [`Finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "recorded")]
pub enum Finished {
    /// Recorded, now or before (200).
    Whole,
    /// Recorded, but log bytes are missing; the log stays open for ten minutes (202).
    LogIncomplete {
        /// How much of the log the server has.
        log_bytes: u64,
    },
    /// The task was lost before; what was delivered is kept beside that (202).
    Late {
        /// How much of the log the server has.
        log_bytes: u64,
    },
}

impl Message for Finished {
    const TYPE: &'static str = "agent-task-finishes";
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did what it should.
    Succeeded,
    /// The user's code, tool or hook said no.
    Failed,
    /// Something else went wrong.
    Errored,
    /// It was canceled.
    Canceled,
}

/// What went wrong, for machines and for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaskError {
    /// The class.
    pub code: TaskErrorCode,
    /// One sentence, at most 1 KiB, masked.
    pub message: String,
}

/// The classes of what can go wrong with a task after its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskErrorCode {
    /// The configuration can't be fetched or unpacked.
    ConfigurationInvalid,
    /// The tool can't be had.
    ToolUnavailable,
    /// A variable, a path or an option of the run is unusable.
    SettingInvalid,
    /// `init` failed.
    InitFailed,
    /// `plan` failed.
    PlanFailed,
    /// `apply` failed.
    ApplyFailed,
    /// A hook failed.
    HookFailed,
    /// Policies forbid it.
    PolicyFailed,
    /// The workload came too close to its memory limit and was stopped.
    OomSoftLimit,
    /// The workload was killed for its memory.
    OomKilled,
    /// The operation timeout passed.
    Timeout,
    /// It was canceled.
    Canceled,
    /// It was killed on request.
    ForceCanceled,
    /// The worker was told to stop.
    WorkerShutdown,
    /// The runner went away.
    RunnerLost,
    /// The server declared the task lost, or was away for too long.
    LeaseLost,
    /// The state could not be pushed; it is kept as a blob.
    StatePushFailed,
    /// A file could not be uploaded.
    UploadFailed,
    /// The worker does not know the action.
    UnsupportedAction,
    /// A defect of the agent.
    Internal,
}

/// Counts of a plan or an apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// Whether anything would change, outputs included.
    pub has_changes: bool,
    /// Resources to add.
    pub resource_additions: u32,
    /// Resources to change.
    pub resource_changes: u32,
    /// Resources to destroy.
    pub resource_destructions: u32,
    /// Resources to import.
    pub resource_imports: u32,
    /// Resources to forget.
    pub resource_forgets: u32,
}

/// The whole console, by length and digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LogDigest {
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}
