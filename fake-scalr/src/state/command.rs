//! What can be asked of the state, and what it answers: one variant for each call of the protocol.
//!
//! Every command that came from outside carries the bearer token it came with; `apply` authorises it. The
//! commands hold lengths and digests, never the bytes of logs, blobs, configurations or states.

use jiff::Timestamp;
use scalr_protocol::{
    agent::{
        Acquire, Acquired, Heartbeat, HeartbeatAnswer, LaunchEvents, LaunchFailed, Messages, Register,
        Registered, Release, WorkerLost,
    },
    blob::{BlobKind, BlobRef, Digest},
    id::{AgentId, RunId, TaskId, WorkspaceId},
    state::LockInfo,
    task::{Finish, Finished, Hook, Lease, LeaseAnswer, RunMode, Signals, Start, Started, Variable, Vcs},
};
use serde::{Deserialize, Serialize};

use super::{
    ids::{ConfigurationVersionId, PoolTokenId, StateVersionId, VariableId},
    tokens::{Key, Token},
};

/// One thing that is asked of the state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Lets due timers fire. Never journaled unless it changed something.
    Tick,
    /// The server was away and is back: every lease, claim and lost-after gets its full length again, and the
    /// connections that waited are gone.
    Restart,
    /// From the server itself: lets somebody use the public API.
    IssueUserToken {
        /// Who, as locks name them.
        name: String,
        /// A text that was agreed upon before; else one is drawn.
        text: Option<Token>,
    },
    /// From the server itself: lets agents register.
    IssuePoolToken {
        /// What it is for, for people.
        description: String,
        /// A text that was agreed upon before; else one is drawn, shaped like a JWT.
        text: Option<Token>,
    },
    /// A call of an agent (1 to 10).
    Agent {
        /// A pool token for `Register`, else a session token.
        bearer: Token,
        /// The idempotency key, if one was sent.
        key: Option<Key>,
        /// The call.
        call: AgentCall,
    },
    /// A call of the worker of one task (11 to 15).
    Task {
        /// The task token.
        bearer: Token,
        /// The task in the path.
        task: TaskId,
        /// The call.
        call: TaskCall,
    },
    /// A call of the tool to its state (16).
    State {
        /// A run token, or a user token.
        bearer: Token,
        /// The workspace in the path.
        workspace: WorkspaceId,
        /// The call.
        call: StateCall,
    },
    /// A change through the public API. Reading needs no command: see `State::authorise_user` and the
    /// getters.
    Public {
        /// A user token.
        bearer: Token,
        /// The idempotency key, if one was sent.
        key: Option<Key>,
        /// The call.
        call: PublicCall,
    },
}

/// A call with a pool or a session token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AgentCall {
    /// Call 1. Answer: [`Reply::Registered`].
    Register(Register),
    /// Call 2. Answer: [`Reply::Heartbeat`].
    Heartbeat {
        /// The agent in the path.
        agent: AgentId,
        /// The body.
        beat: Heartbeat,
    },
    /// Call 3. Answer: [`Reply::Done`].
    Deregister {
        /// The agent in the path.
        agent: AgentId,
    },
    /// Call 4. Answer: [`Reply::Acquired`]; when it holds no task, the agent is remembered as waiting for
    /// `wait_ms` from now, and the server applies the same command again when [`wake`] grew, with what is
    /// left of the wait. With 0 left nobody waits any more.
    ///
    /// [`wake`]: super::State::wake
    Acquire {
        /// The agent in the path.
        agent: AgentId,
        /// The body.
        ask: Acquire,
    },
    /// Call 5. Answer: [`Reply::Done`].
    Release {
        /// The task in the path.
        task: TaskId,
        /// The body.
        release: Release,
    },
    /// Call 6. Answer: [`Reply::Done`].
    LaunchEvents {
        /// The agent in the path.
        agent: AgentId,
        /// The body.
        events: LaunchEvents,
    },
    /// Call 7. Answer: [`Reply::Done`].
    LaunchFailed {
        /// The task in the path.
        task: TaskId,
        /// The body.
        failure: LaunchFailed,
    },
    /// Call 8. Answer: [`Reply::Done`].
    WorkerLost {
        /// The task in the path.
        task: TaskId,
        /// The body.
        loss: WorkerLost,
    },
    /// Call 9. Answer: [`Reply::Messages`], at once; the server waits when it is empty.
    Messages {
        /// The agent in the path.
        agent: AgentId,
        /// The last number seen.
        after: u64,
    },
    /// Call 10. Answer: [`Reply::Started`]. The command's key is the claimant's.
    Start {
        /// The task in the path.
        task: TaskId,
        /// The body.
        start: Start,
    },
}

/// A call with a task token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TaskCall {
    /// Call 11. Answer: [`Reply::Lease`].
    Lease(Lease),
    /// Call 12. Answer: [`Reply::Signals`], at once; the server waits when it is empty.
    Signals {
        /// The last number seen.
        after: u64,
    },
    /// Call 13. Answer: [`Reply::Log`] or [`Reply::LogMismatch`].
    LogAppend {
        /// Offset of the first byte.
        first: u64,
        /// How many bytes; at least one.
        bytes: u64,
    },
    /// Call 14, `GET`. Answer: [`Reply::Blob`].
    BlobGet {
        /// The kind in the path.
        kind: BlobKind,
    },
    /// Call 14, `PUT`, after the digest was checked against the bytes. Answer: [`Reply::BlobStored`].
    BlobPut(BlobRef),
    /// Call 15. Answer: [`Reply::Finished`].
    Finish(Finish),
}

/// A call of the tool's `http` backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum StateCall {
    /// `GET`. Answer: [`Reply::State`].
    Get,
    /// `POST`. Answer: [`Reply::StateStored`], or [`Reply::Locked`].
    Post(StatePost),
    /// `LOCK`. Answer: [`Reply::Done`], or [`Reply::Locked`].
    Lock(LockInfo),
    /// `UNLOCK`. Answer: [`Reply::Unlocked`], or [`Reply::Locked`].
    Unlock {
        /// The lock's ID; none for an empty body, which is a force-unlock.
        id: Option<String>,
    },
}

/// A new state, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatePost {
    /// The `ID` of the query: the lock that the writer holds.
    pub lock_id: Option<String>,
    /// `serial` of the state file.
    pub serial: u64,
    /// `lineage` of the state file.
    pub lineage: String,
    /// The file's length.
    pub bytes: u64,
    /// The file's digest.
    pub sha256: Digest,
}

/// A change through the public API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PublicCall {
    /// Answer: [`Reply::Workspace`]. A taken name is 422.
    CreateWorkspace {
        /// Unique in the environment.
        name: String,
        /// What differs from the defaults.
        settings: WorkspaceChange,
    },
    /// Answer: [`Reply::Workspace`].
    UpdateWorkspace {
        /// Which.
        workspace: WorkspaceId,
        /// What changes.
        settings: WorkspaceChange,
    },
    /// No run begins until it is unlocked. Answer: [`Reply::Workspace`]; 409 when locked.
    LockWorkspace {
        /// Which.
        workspace: WorkspaceId,
        /// Why, for people.
        reason: String,
    },
    /// Answer: [`Reply::Workspace`]; 409 when not locked.
    UnlockWorkspace {
        /// Which.
        workspace: WorkspaceId,
    },
    /// Takes the state's lock from whoever holds it. Answer: [`Reply::Unlocked`]; 409 when that is spared.
    ForceUnlockState {
        /// Which.
        workspace: WorkspaceId,
        /// Whether a holder whose task is not over keeps it.
        #[serde(default)]
        spare_running: bool,
    },
    /// Answer: [`Reply::Variable`]. A taken key is 422.
    CreateVariable {
        /// Whose.
        workspace: WorkspaceId,
        /// The variable.
        variable: Variable,
    },
    /// Answer: [`Reply::Done`].
    DeleteVariable {
        /// Which.
        variable: VariableId,
    },
    /// Answer: [`Reply::ConfigurationVersion`]; its bytes are awaited.
    CreateConfigurationVersion {
        /// Whose.
        workspace: WorkspaceId,
    },
    /// The bytes are stored. Answer: [`Reply::ConfigurationVersion`]; 409 when others were.
    ConfigurationUploaded {
        /// Which.
        configuration_version: ConfigurationVersionId,
        /// The archive's length.
        bytes: u64,
        /// The archive's digest.
        sha256: Digest,
    },
    /// Answer: [`Reply::Run`].
    CreateRun(NewRun),
    /// Approves a plan. Answer: [`Reply::Run`].
    ConfirmRun {
        /// Which.
        run: RunId,
    },
    /// Gives a plan up. Answer: [`Reply::Run`].
    DiscardRun {
        /// Which.
        run: RunId,
    },
    /// Ends a run at once if it has not started, else asks its worker to. Answer: [`Reply::Run`].
    CancelRun {
        /// Which.
        run: RunId,
        /// Ours: kill rather than interrupt.
        force: bool,
    },
    /// Answer: [`Reply::PoolToken`].
    CreatePoolToken {
        /// What it is for, for people.
        description: String,
    },
    /// No agent registers, acquires or starts with it any more. Answer: [`Reply::Done`].
    RevokePoolToken {
        /// Which.
        token: PoolTokenId,
    },
}

/// Settings of a workspace; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceChange {
    /// Whether plans are confirmed at once.
    pub auto_apply: Option<bool>,
    /// Where in the configuration to work, relative to its root.
    pub working_directory: Option<String>,
    /// Variable files, relative to the working directory.
    pub var_files: Option<Vec<String>>,
    /// The tool.
    pub tool: Option<scalr_protocol::task::Tool>,
    /// Hooks.
    pub hooks: Option<Vec<Hook>>,
    /// How long a plan or an apply may take.
    pub operation_timeout_ms: Option<u64>,
}

/// A run to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewRun {
    /// Where.
    pub workspace: WorkspaceId,
    /// Which uploaded configuration; the workspace's latest if none is named.
    pub configuration_version: Option<ConfigurationVersionId>,
    /// Whether it destroys.
    pub is_destroy: bool,
    /// Whether it ends after the plan.
    pub is_dry: bool,
    /// How it treats the state.
    pub mode: RunMode,
    /// Instead of the workspace's.
    pub auto_apply: Option<bool>,
    /// What it is for, for people.
    pub message: String,
    /// Where it came from, such as `cli`.
    pub source: String,
    /// The commit it was made for.
    pub vcs: Option<Vcs>,
    /// Set after the workspace's.
    pub variables: Vec<Variable>,
    /// Only these resources, and what they depend on.
    pub targets: Vec<String>,
    /// Replace these resources.
    pub replace: Vec<String>,
    /// Its tasks' priority; higher goes first.
    pub priority: i32,
}

/// An answer. What is refused is an `ApiError` instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Done, or done before; there is nothing to say.
    Done,
    /// A user token.
    UserToken(Token),
    /// A pool token.
    PoolToken {
        /// What it is revoked by.
        id: PoolTokenId,
        /// The token.
        text: Token,
    },
    /// 201, or 200 when a session was taken over.
    Registered {
        /// The body.
        answer: Registered,
        /// Whether the same instance was registered already.
        taken_over: bool,
    },
    /// 200.
    Heartbeat(HeartbeatAnswer),
    /// 200 with tasks; without any, wait, then 204.
    Acquired(Acquired),
    /// 200 with hints; without any, wait, then 204.
    Messages(Messages),
    /// 200.
    Started(Box<Started>),
    /// 200.
    Lease(LeaseAnswer),
    /// 200 with signals; without any, wait, then 204.
    Signals(Signals),
    /// 202 with `Range`.
    Log {
        /// How many bytes are stored now.
        stored: u64,
        /// Whether the bytes are new; otherwise they were stored before.
        appended: bool,
    },
    /// 416 with `Range`.
    LogMismatch {
        /// How many bytes are stored.
        stored: u64,
    },
    /// 200 with the bytes of this digest.
    Blob(BlobRef),
    /// 201, or 204 when it was there already.
    BlobStored {
        /// Whether it is new.
        created: bool,
    },
    /// 200 for [`Finished::Whole`], else 202.
    Finished(Finished),
    /// 200 with the bytes, or 204 without a state.
    State(Option<StateRef>),
    /// 200.
    StateStored {
        /// The version.
        version: StateVersionId,
        /// Whether it is new; otherwise it was stored before.
        created: bool,
    },
    /// 423 with the holder's lock info as JSON.
    Locked(LockInfo),
    /// 200. Whose lock it was, if it was locked.
    Unlocked(Option<LockHolder>),
    /// A workspace was made or changed.
    Workspace(WorkspaceId),
    /// A variable was made.
    Variable(VariableId),
    /// A configuration version was made or uploaded.
    ConfigurationVersion(ConfigurationVersionId),
    /// A run was made or changed.
    Run(RunId),
}

/// One version of a workspace's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRef {
    /// Its id.
    pub id: StateVersionId,
    /// `serial` of the state file.
    pub serial: u64,
    /// `lineage` of the state file.
    pub lineage: String,
    /// The file's length.
    pub bytes: u64,
    /// The file's digest.
    pub sha256: Digest,
    /// The run that wrote it; none for a user.
    pub run: Option<RunId>,
    /// When it was written.
    pub created_at: Timestamp,
}

/// Who holds, or held, the lock of a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// What the tool said.
    pub info: LockInfo,
    /// The run it was taken for; none for a user.
    pub run: Option<RunId>,
    /// When it was taken.
    pub locked_at: Timestamp,
    /// When the holder was last heard of.
    pub last_seen_at: Timestamp,
    /// Whether the task it was taken for is not over: the holder may be writing.
    #[serde(default)]
    pub is_running: bool,
}
