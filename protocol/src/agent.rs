//! What an agent says: register, heartbeat, acquire, release, and what happens before a start.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    document::Message,
    id::{AccountId, AgentId, EnvironmentId, Fence, InstanceId, RunId, TaskId, WorkspaceId},
    secret::Secret,
};

/// What a process of the agent is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It polls for tasks and launches them.
    Controller,
    /// It supervises one task.
    Worker,
}

/// An agent's status, in Scalr's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentStatus {
    /// It holds no task.
    Idle,
    /// It holds at least one task.
    Busy,
    /// Nothing was heard of it for 30 seconds. Only the server says this.
    Offline,
    /// It can't work; the error message says why.
    Errored,
}

/// Call 1, `POST /agents`. The same instance takes over at once, and its older session gets 410.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Register {
    /// Unique in the pool; a worker's is its pod's.
    pub name: String,
    /// What tells two processes of one name apart.
    pub instance_id: InstanceId,
    /// The agent's version.
    pub version: String,
    /// Such as `linux/x86_64`.
    pub os: String,
    /// Such as `local` or `kubernetes-job`.
    pub driver: String,
    /// Controller or worker.
    pub mode: Mode,
    /// How many tasks it may have in flight; 0 for a worker.
    pub capacity: u32,
    /// A worker's task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The fence under which the worker's Job was launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

impl Message for Register {
    const TYPE: &'static str = "agents";
}

/// The answer to [`Register`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Registered {
    /// Who the agent now is.
    pub agent: AgentId,
    /// Good for this life of the agent.
    pub session_token: Secret,
    /// How often to send a heartbeat.
    pub heartbeat_ms: u64,
    /// After how long without one the agent counts as offline.
    pub offline_after_ms: u64,
    /// The longest wait that a long poll may ask for.
    pub wait_ms_max: u64,
}

impl Message for Registered {
    const TYPE: &'static str = "agents";
}

/// A task under one of its grants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaskAt {
    /// The task.
    pub id: TaskId,
    /// The grant.
    pub fence: Fence,
}

/// Call 2, `POST /agents/{id}/heartbeat`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Heartbeat {
    /// Idle, busy or errored.
    pub status: AgentStatus,
    /// Why it is errored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// How many more Jobs could be launched at once.
    pub slots: u32,
    /// Whether it takes no more work.
    pub draining: bool,
    /// Every held task, every unfinished Job seen, and every finished Job not yet answered
    /// [`Verdict::Dead`], [`Verdict::Stale`] or [`Verdict::Ended`].
    pub tasks: Vec<TaskAt>,
}

impl Message for Heartbeat {
    const TYPE: &'static str = "agent-heartbeats";
}

/// The answer to [`Heartbeat`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HeartbeatAnswer {
    /// This agent's share of the free slots of others that wait empty-handed; look-ahead never counts.
    pub wanted: u32,
    /// One for each task that was named.
    pub verdicts: Vec<TaskVerdict>,
}

impl Message for HeartbeatAnswer {
    const TYPE: &'static str = "agent-heartbeats";
}

/// What the server knows of a task that an agent named.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaskVerdict {
    /// The task.
    pub id: TaskId,
    /// The fence that the agent named.
    pub fence: Fence,
    /// The verdict.
    pub verdict: Verdict,
    /// How long the launch lease now runs, for [`Verdict::Held`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

/// The first of these that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The fence is below the current one, or the task is unknown: nothing was confirmed under it, nothing
    /// ever will be.
    Stale,
    /// The task is terminal and was never confirmed: its door is shut.
    Dead,
    /// The task is terminal after a confirm.
    Ended,
    /// The task was confirmed and is not terminal.
    Started,
    /// A worker has claimed it and has not confirmed yet. Ask again.
    Claimed,
    /// Another agent holds its lease under this very fence.
    HeldByOther,
    /// This agent holds its lease: renewed now, or adopted, if it had lapsed.
    Held,
}

/// What is to be done with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Compute what would change.
    #[serde(rename = "plan")]
    Plan,
    /// Carry out a plan.
    #[serde(rename = "apply")]
    Apply,
    /// Check a plan against policies.
    #[serde(rename = "policy.check")]
    PolicyCheck,
    /// Estimate what a plan costs.
    #[serde(rename = "cost.estimate")]
    CostEstimate,
    /// Scan a configuration.
    #[serde(rename = "checkov")]
    Checkov,
    /// One that this version does not know: answered `unsupported-action`, never guessed at.
    #[serde(other, rename = "unknown")]
    Unknown,
}

impl Action {
    /// Every action of protocol 0.1.
    pub const ALL: [Self; 5] =
        [Self::Plan, Self::Apply, Self::PolicyCheck, Self::CostEstimate, Self::Checkov];

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::PolicyCheck => "policy.check",
            Self::CostEstimate => "cost.estimate",
            Self::Checkov => "checkov",
            Self::Unknown => "unknown",
        }
    }
}

/// Call 4, `POST /agents/{id}/acquire`: a long poll.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Acquire {
    /// Tasks that would be launched at once.
    pub slots: u32,
    /// Tasks that would be held beyond that, to order them here.
    pub ahead: u32,
    /// Which actions this agent can do.
    pub actions: Vec<Action>,
    /// How long to wait for a first task, at most 30 s.
    pub wait_ms: u64,
}

impl Message for Acquire {
    const TYPE: &'static str = "agent-acquires";
}

/// The answer to [`Acquire`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Acquired {
    /// The tasks that this agent now holds.
    pub tasks: Vec<Grant>,
}

impl Message for Acquired {
    const TYPE: &'static str = "agent-acquires";
}

/// A task, lent to one agent to launch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Grant {
    /// The task.
    pub id: TaskId,
    /// This grant of it.
    pub fence: Fence,
    /// How long the launch lease runs before it must be renewed by a heartbeat.
    pub ttl_ms: u64,
    /// What to do.
    pub action: Action,
    /// The stage's name, as it stands in a Job's name.
    pub stage: String,
    /// The run it belongs to.
    pub run: RunId,
    /// The run's workspace.
    pub workspace: WorkspaceId,
    /// The workspace's name.
    pub workspace_name: String,
    /// The workspace's environment.
    pub environment: EnvironmentId,
    /// The environment's name.
    pub environment_name: String,
    /// The environment's account.
    pub account: AccountId,
    /// The account's name.
    pub account_name: String,
    /// When the task was queued, for people.
    pub queued_at: Timestamp,
    /// How long ago that was, for machines: no two clocks need agree.
    pub queued_for_ms: u64,
    /// Higher goes first.
    pub priority: i32,
    /// What the platform wants instead of the template's own.
    #[serde(default, skip_serializing_if = "Presets::is_empty")]
    pub presets: Presets,
}

/// What a platform-managed pool may override in the task template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Presets {
    /// The runner's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The runner's CPU request, as a Kubernetes quantity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// The runner's memory request and limit, as a Kubernetes quantity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
}

impl Presets {
    /// Whether nothing is overridden.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Call 5, `POST /agent-tasks/{id}/release`: gives back a task that did not start, and shuts its door.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Release {
    /// The grant that is given back.
    pub fence: Fence,
    /// Why.
    pub reason: ReleaseReason,
}

impl Message for Release {
    const TYPE: &'static str = "agent-releases";
}

/// Why a task is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseReason {
    /// The agent is stopping.
    Drain,
    /// Another agent has a free slot for it; not offered to this one for 30 s.
    Rebalance,
}

/// Call 6, `POST /agents/{id}/launch-events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LaunchEvents {
    /// At most 100.
    pub events: Vec<LaunchEvent>,
}

impl Message for LaunchEvents {
    const TYPE: &'static str = "agent-launch-events";
}

/// One thing that happened to a task before its start.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LaunchEvent {
    /// The task.
    pub task: TaskId,
    /// Under which grant.
    pub fence: Fence,
    /// How long ago, when sent: no two clocks need agree.
    pub ago_ms: u64,
    /// What happened.
    pub kind: LaunchEventKind,
    /// One sentence, at most 256 characters.
    pub message: String,
}

/// What can happen to a task before its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LaunchEventKind {
    /// It waits at the agent, and the message says why.
    Held,
    /// Its Job exists.
    JobCreated,
    /// Its pod has a node.
    PodScheduled,
    /// Its images are being pulled.
    Pulling,
    /// Its pod can't be scheduled now.
    Unschedulable,
}

/// Call 7, `POST /agent-tasks/{id}/launch-failed`: shuts the door as [`Release`] does, and counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LaunchFailed {
    /// Under which grant.
    pub fence: Fence,
    /// The class of failure.
    pub reason: LaunchFailure,
    /// What a person should read, at most 4 KiB.
    pub message: String,
    /// Events and container states that show it, at most 16 KiB.
    #[serde(default)]
    pub diagnostics: String,
    /// Whether another attempt may do better. After five failed launches there is none.
    pub retryable: bool,
}

impl Message for LaunchFailed {
    const TYPE: &'static str = "agent-launch-failures";
}

/// Why a task could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LaunchFailure {
    /// There is no task template.
    TemplateMissing,
    /// The task template is invalid.
    TemplateInvalid,
    /// The cluster refused the Job, and will again.
    JobRefused,
    /// A quota leaves no room.
    QuotaExceeded,
    /// No node can take the pod.
    Unschedulable,
    /// An image can't be pulled.
    ImagePull,
    /// A container can't be created.
    ContainerCreate,
    /// A volume can't be mounted.
    Volume,
    /// The worker ended before it claimed the task.
    WorkerExited,
    /// The worker did not claim the task in time.
    StartupTimeout,
    /// The pod was evicted before the start.
    Evicted,
    /// The node was lost before the start.
    NodeLost,
    /// The agent can't do this action.
    UnsupportedAction,
}

/// Call 8, `POST /agent-tasks/{id}/worker-lost`: what only the controller knows after the start. It never
/// re-queues and never unlocks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WorkerLost {
    /// Under which grant.
    pub fence: Fence,
    /// What happened.
    pub reason: WorkerLoss,
    /// Which container it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The container's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The memory limit that was hit, as a Kubernetes quantity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Whether both containers are proved to have ended, as their own kubelet (or keeper) wrote it, in every
    /// pod that may have run the task, and no other can come. Only then is lost-after shortened to 60 s.
    pub ended: bool,
    /// Events and container states that show it, at most 16 KiB.
    #[serde(default)]
    pub diagnostics: String,
}

impl Message for WorkerLost {
    const TYPE: &'static str = "agent-worker-losses";
}

/// How a worker was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerLoss {
    /// A container was killed for its memory.
    OomKilled,
    /// The worker ended without finishing the task.
    Exited,
    /// The pod was evicted.
    Evicted,
    /// The pod was preempted.
    Preempted,
    /// The pod or its Job was deleted.
    Deleted,
    /// The node is gone.
    NodeLost,
}

/// The answer to call 9, `GET /agents/{id}/messages?after=N&wait-ms=`: hints, never needed for correctness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Messages {
    /// The number of the last message; ask for those after it next time.
    pub last: u64,
    /// What came since.
    pub hints: Vec<Hint>,
}

impl Message for Messages {
    const TYPE: &'static str = "agent-messages";
}

/// Something to look at sooner than the timers would.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Hint {
    /// There may be work.
    Work,
    /// A task was canceled: the next heartbeat will say so.
    Cancel {
        /// The task.
        task: TaskId,
    },
    /// One that this version does not know.
    #[serde(other)]
    Unknown,
}
