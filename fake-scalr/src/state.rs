//! Everything the fake Scalr knows, and `apply`, the one way to change it.
//!
//! Pure: time, ids and tokens come from a [`Stamp`], so that the same commands give the same state, in a
//! journal's replay as in a simulation. It must never do IO, read a clock or throw dice, and it holds no
//! bytes of logs, blobs, configurations or states: only offsets, lengths and digests.
//!
//! In reading order: `command` is what can be asked, `tokens` who may ask it, `agents`, `queue` and `tasks`
//! what happens before a start, `start` and `execution` what happens from then on, `runs` and `workspaces`
//! the public side, `locks` a workspace's state, `views`, `getters` and `reasons` what may be read.
#![expect(
    clippy::result_large_err,
    reason = "an answer is as large as a refusal, and both go straight to the caller"
)]

mod agents;
pub mod command;
mod configurations;
mod execution;
mod getters;
pub mod glance;
pub mod ids;
mod locks;
mod queue;
mod reasons;
mod registration;
mod replays;
mod runs;
pub mod settings;
mod start;
pub mod status;
mod tasks;
#[cfg(test)]
mod tests;
mod timers;
pub mod tokens;
pub mod views;
mod workspaces;

pub use command::{AgentCall, Command, PublicCall, Reply, StateCall, TaskCall};
pub use settings::{Settings, Timings};
pub use tokens::{Key, Token};

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use scalr_protocol::{
    agent::Action,
    error::ApiError,
    id::{AccountId, AgentId, AgentPoolId, EnvironmentId, RunId, TaskId, WorkspaceId},
};
use serde::{Deserialize, Serialize};

use agents::{Agent, Waiter};
use configurations::ConfigurationVersion;
use ids::{ConfigurationVersionId, PoolTokenId, VariableId};
use queue::Place;
use replays::{Asked, Replays};
use runs::Run;
use tasks::Task;
use timers::Timer;
use tokens::{PoolToken, TokenUse};
use workspaces::Workspace;

/// When, and with which fresh randomness, a command is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Time in which the server has served, in milliseconds; it survives restarts and never goes back.
    pub now_ms: u64,
    /// The time of day, for people only.
    pub wall: Timestamp,
    /// Fresh and unguessable: tokens come from it.
    pub entropy: [u8; 16],
}

/// All that the server knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    settings: Settings,
    account: AccountId,
    environment: EnvironmentId,
    pool: AgentPoolId,
    version: u64,
    wake: u64,
    /// How many ids and tokens were made.
    made: u64,
    /// The number of the last hint, and of the last one that said that there is work.
    hint: u64,
    work_hint: u64,
    timers: BTreeSet<(u64, Timer)>,
    tokens: BTreeMap<Token, TokenUse>,
    pool_tokens: BTreeMap<PoolTokenId, PoolToken>,
    replays: Replays,
    /// Controllers; workers live in their tasks.
    agents: BTreeMap<AgentId, Agent>,
    agent_names: BTreeMap<String, AgentId>,
    /// Acquires that wait empty-handed. Connections, not facts: outside `version`, and gone after a restart.
    waiters: BTreeMap<AgentId, Waiter>,
    tasks: BTreeMap<TaskId, Task>,
    /// Tasks that may be granted, in order. Derived from `tasks`, as are the next two.
    queue: BTreeMap<Action, BTreeSet<Place>>,
    leases: BTreeMap<AgentId, BTreeSet<TaskId>>,
    /// How many tasks each agent holds of which it has reported no Job.
    unlaunched: BTreeMap<AgentId, u32>,
    runs: BTreeMap<RunId, Run>,
    /// Runs that are not over, the oldest first.
    open_runs: BTreeSet<(u64, RunId)>,
    workspaces: BTreeMap<WorkspaceId, Workspace>,
    workspace_names: BTreeMap<String, WorkspaceId>,
    variable_owners: BTreeMap<VariableId, WorkspaceId>,
    configuration_versions: BTreeMap<ConfigurationVersionId, ConfigurationVersion>,
}

/// The moment in which something happens: a command's, or that of a timer that was due before it.
#[derive(Clone, Copy)]
struct Now {
    ms: u64,
    wall: Timestamp,
    entropy: [u8; 16],
}

impl State {
    /// A server that knows nobody: one account, one environment, one pool, no token.
    pub fn new(settings: Settings) -> State {
        State {
            settings,
            account: ids::fixed(AccountId::new("acc-main")),
            environment: ids::fixed(EnvironmentId::new("env-default")),
            pool: ids::fixed(AgentPoolId::new("apool-default")),
            version: 0,
            wake: 0,
            made: 0,
            hint: 0,
            work_hint: 0,
            timers: BTreeSet::new(),
            tokens: BTreeMap::new(),
            pool_tokens: BTreeMap::new(),
            replays: Replays::default(),
            agents: BTreeMap::new(),
            agent_names: BTreeMap::new(),
            waiters: BTreeMap::new(),
            tasks: BTreeMap::new(),
            queue: BTreeMap::new(),
            leases: BTreeMap::new(),
            unlaunched: BTreeMap::new(),
            runs: BTreeMap::new(),
            open_runs: BTreeSet::new(),
            workspaces: BTreeMap::new(),
            workspace_names: BTreeMap::new(),
            variable_owners: BTreeMap::new(),
            configuration_versions: BTreeMap::new(),
        }
    }

    /// New settings, at the start of a server: what runs already keeps the times it was given. No command, so
    /// no journal tells of it: the state has to be written down afterwards.
    pub fn configure(&mut self, settings: Settings) {
        if self.settings != settings {
            self.settings = settings;
            self.touch_and_wake();
        }
    }

    /// Lets due timers fire, then does what the command says. A refusal changes nothing but what the timers
    /// changed. Whether anything changed is told by [`State::version`].
    pub fn apply(&mut self, stamp: &Stamp, command: Command) -> Result<Reply, ApiError> {
        self.fire(stamp);
        let now = Now { ms: stamp.now_ms, wall: stamp.wall, entropy: stamp.entropy };
        match command {
            Command::Tick => Ok(Reply::Done),
            Command::Restart => {
                self.restart(now);
                Ok(Reply::Done)
            }
            Command::IssueUserToken { name, text } => Ok(self.issue_user_token(now, name, text)),
            Command::IssuePoolToken { description, text } => {
                Ok(self.issue_pool_token(now, description, text))
            }
            Command::Agent { bearer, key, call } => self.agent_call(now, bearer, key, call),
            Command::Task { bearer, task, call } => self.task_call(now, &bearer, &task, call),
            Command::State { bearer, workspace, call } => self.state_call(now, &bearer, &workspace, call),
            Command::Public { bearer, key, call } => {
                let who = self.authorise_user(&bearer)?.to_owned();
                let keyed = key.map(|key| (key, Asked::Public(Box::new(call.clone()))));
                self.replayed(now, bearer, keyed, |state| state.public_call(now, &who, call))
            }
        }
    }

    /// Grows with every change of anything that a restart must bring back: journal the command when it grew.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Grows with every change that a long poll may wait for: work, signals, hints, statuses. Look again when
    /// it grew. Unlike [`State::version`] it does not grow with heartbeats, renewals and log bytes.
    pub fn wake(&self) -> u64 {
        self.wake
    }

    /// When [`Command::Tick`] would change something next, on the clock of [`Stamp::now_ms`].
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.timers.first().map(|(due_ms, _)| *due_ms)
    }

    /// What the server was told when it was new.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Notes a change.
    fn touch(&mut self) {
        self.version += 1;
    }

    /// Notes a change that somebody may wait for.
    fn touch_and_wake(&mut self) {
        self.version += 1;
        self.wake += 1;
    }

    fn agent_call(
        &mut self,
        now: Now,
        bearer: Token,
        key: Option<Key>,
        call: AgentCall,
    ) -> Result<Reply, ApiError> {
        match call {
            // These three know by themselves when a repeat is one.
            AgentCall::Start { task, start } => self.start(now, &bearer, key, &task, &start),
            AgentCall::Heartbeat { agent, beat } => self.heartbeat(now, &bearer, &agent, &beat),
            AgentCall::Messages { agent, after } => self.messages(&bearer, &agent, after),
            AgentCall::Register(register) => {
                let pool_token = self.authorise_pool(&bearer)?;
                let keyed = key.map(|key| (key, Asked::Register(register.clone())));
                self.replayed(now, bearer, keyed, |state| state.register(now, pool_token, register))
            }
            AgentCall::Deregister { agent } => self.deregister(now, &bearer, &agent),
            AgentCall::Acquire { agent, ask } => {
                self.authorise_acquire(&bearer, &agent)?;
                let keyed = key.map(|key| (key, Asked::Acquire));
                self.replayed(now, bearer, keyed, |state| state.acquire(now, &agent, &ask))
            }
            AgentCall::Release { task, release } => self.release(now, &bearer, &task, &release),
            AgentCall::LaunchEvents { agent, events } => self.launch_events(now, &bearer, &agent, events),
            AgentCall::LaunchFailed { task, failure } => self.launch_failed(now, &bearer, &task, &failure),
            AgentCall::WorkerLost { task, loss } => self.worker_lost(now, &bearer, &task, &loss),
        }
    }
}
