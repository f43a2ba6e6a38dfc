//! What a world is told: everything that it consists of, as data. A scenario file is this and what people
//! add to it.
//!
//! Times are milliseconds of the world's clock, which begins at 0. It must never hold anything that a step
//! changes.

use fake_scalr::state::Settings;
use scalr_core::{scheduler::SchedulerOptions, supervisor::options::TaskOptions};
use scalr_protocol::{agent::Action, task::HookPhase};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    cluster::ClusterSetup,
    snag::{Planned, Snag},
};
use crate::luck::Span;

/// A whole world before its first moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Setup {
    /// Of all dice.
    pub seed: u64,
    /// Those who dispatch: replicas, and both sides of a rollout.
    pub controllers: Vec<ControllerSetup>,
    /// What every worker is told.
    pub workers: WorkerSetup,
    /// The server and the way to it.
    pub scalr: ScalrSetup,
    /// What runs Jobs.
    pub cluster: ClusterSetup,
    /// How tools behave; runs name theirs by its place here.
    pub profiles: Vec<Profile>,
    /// What users ask for.
    pub runs: Vec<RunSetup>,
    /// What happens to calls.
    pub snags: Vec<Snag>,
    /// What happens at moments.
    pub strikes: Vec<Planned>,
}

impl Default for Setup {
    /// One controller, one profile, and no runs.
    fn default() -> Self {
        Self {
            seed: 0,
            controllers: vec![ControllerSetup::default()],
            workers: WorkerSetup::default(),
            scalr: ScalrSetup::default(),
            cluster: ClusterSetup::default(),
            profiles: vec![Profile::default()],
            runs: Vec::new(),
            snags: Vec::new(),
            strikes: Vec::new(),
        }
    }
}

/// One place of a controller: a pod of the Deployment, which is begun again when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ControllerSetup {
    /// The agent's name.
    pub name: String,
    /// When its first process begins.
    pub begins_ms: u64,
    /// How many Jobs may be live.
    pub capacity: u32,
    /// How many tasks to hold beyond the free slots.
    pub look_ahead: u32,
    /// The policy.
    #[schemars(schema_with = "crate::scenario::foreign::policy")]
    pub scheduler: String,
    /// What the policy is told.
    #[schemars(schema_with = "crate::scenario::foreign::policy_options")]
    pub scheduler_options: SchedulerOptions,
    /// What every Job's name begins with.
    pub basename: String,
    /// How long a worker may take from its Job to its claim, while no node is coming.
    pub startup_timeout_ms: u64,
    /// The same, whatever is coming.
    pub startup_max_ms: u64,
    /// From SIGTERM to SIGKILL.
    pub grace_ms: u64,
    /// How long after an end that nobody planned the next process begins.
    pub restart_ms: u64,
    /// What its clock shows at 0, and how it runs.
    pub clock: ClockSetup,
}

impl Default for ControllerSetup {
    fn default() -> Self {
        Self {
            name: "agent-0".to_owned(),
            begins_ms: 0,
            capacity: 10,
            look_ahead: 1_000,
            scheduler: "fifo".to_owned(),
            scheduler_options: SchedulerOptions::default(),
            basename: "agent".to_owned(),
            startup_timeout_ms: 180_000,
            startup_max_ms: 6 * 3_600_000,
            // As the public chart's.
            grace_ms: 180_000,
            restart_ms: 5_000,
            clock: ClockSetup::default(),
        }
    }
}

/// A process's clock against the world's. It counts suspension, as the real one does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ClockSetup {
    /// What it shows when the world's shows 0.
    pub origin_ms: u64,
    /// How many millionths it runs too fast, or too slow.
    pub drift_ppm: i32,
}

/// What every worker and its runner are told, and how long they take to come up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WorkerSetup {
    /// The Supervisor's options; the seed is drawn for each process.
    #[schemars(schema_with = "crate::scenario::foreign::options")]
    pub options: TaskOptions,
    /// The grace that a worker believes in at SIGTERM; the pod's own where there is none.
    pub grace_ms: Option<u64>,
    /// From the begin of the container to the first step.
    pub begin: Span,
    /// From the begin of the runner's container to its socket.
    pub runner_ready: Span,
    /// How long a tool may go on after its worker was lost.
    pub orphan_wait_ms: u64,
    /// How many bytes of console a worker keeps beyond what Scalr has; when they are there, its tool waits.
    pub spool_bytes_max: u64,
    /// How far a worker's clock is off, in milliseconds since 0 of the world.
    pub clock_origin: Span,
}

impl Default for WorkerSetup {
    fn default() -> Self {
        Self {
            options: TaskOptions::default(),
            grace_ms: None,
            begin: Span::Even { min: 20, max: 200 },
            runner_ready: Span::Even { min: 20, max: 400 },
            orphan_wait_ms: 600_000,
            spool_bytes_max: 512 * 1024 * 1024,
            clock_origin: Span::Even { min: 0, max: 100_000_000 },
        }
    }
}

/// The server and the way to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ScalrSetup {
    /// The server's own.
    #[schemars(schema_with = "crate::scenario::foreign::settings")]
    pub settings: Settings,
    /// One way of a call or of its answer.
    pub latency: Span,
    /// When an adapter gives up on an answer that does not come.
    pub timeout_ms: u64,
}

impl Default for ScalrSetup {
    fn default() -> Self {
        Self { settings: Settings::default(), latency: Span::Even { min: 5, max: 60 }, timeout_ms: 30_000 }
    }
}

/// How the tool of a run behaves: lengths of its phases, and how it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Profile {
    /// To unpack the configuration, and to place a saved plan.
    pub configuration: Span,
    /// To have the tool's binary.
    pub tool: Span,
    /// `init` with nothing cached.
    pub init_cold: Span,
    /// `init` with everything cached.
    pub init_warm: Span,
    /// How many bytes `init` puts into the cache.
    pub init_bytes: u64,
    /// `plan`.
    pub plan: Span,
    /// `show -json`.
    pub show: Span,
    /// `apply`.
    pub apply: Span,
    /// Each phase's hooks.
    pub hook: Span,
    /// Each transfer of a file.
    pub transfer: Span,
    /// Which phases have hooks.
    #[schemars(schema_with = "crate::scenario::foreign::hooks")]
    pub hooks: Vec<HookPhase>,
    /// Bytes of the console for each command.
    pub console: Span,
    /// In how many pieces a command's console comes, at least 1.
    pub console_pieces: u32,
    /// Of 1000 commands of each kind, how many fail: init, plan, apply, hooks.
    pub fails_permille: FailsPermille,
    /// Of 1000 plans, how many change nothing.
    pub no_changes_permille: u32,
    /// Of 1000 applies that fail, how many leave a state that they could not push.
    pub errored_state_permille: u32,
    /// Of 1000 commands that read the state while Scalr is away, how many give up on it.
    pub unread_permille: u32,
    /// How long a tool takes to stop after one interrupt.
    pub stop: Span,
    /// Of 1000 tools, how many do not listen to an interrupt.
    pub deaf_permille: u32,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            configuration: Span::Even { min: 50, max: 500 },
            tool: Span::Even { min: 5, max: 2_000 },
            init_cold: Span::Even { min: 8_000, max: 40_000 },
            init_warm: Span::Even { min: 500, max: 3_000 },
            init_bytes: 300 * 1024 * 1024,
            plan: Span::Lognormal { median: 15_000, sigma_permille: 900, max: 1_800_000 },
            show: Span::Even { min: 100, max: 1_500 },
            apply: Span::Lognormal { median: 40_000, sigma_permille: 1_100, max: 3_000_000 },
            hook: Span::Even { min: 100, max: 5_000 },
            transfer: Span::Even { min: 20, max: 800 },
            hooks: Vec::new(),
            console: Span::Even { min: 200, max: 20_000 },
            console_pieces: 2,
            fails_permille: FailsPermille::default(),
            no_changes_permille: 0,
            errored_state_permille: 200,
            unread_permille: 0,
            stop: Span::Even { min: 200, max: 30_000 },
            deaf_permille: 0,
        }
    }
}

/// Of 1000 commands of each kind, how many fail by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct FailsPermille {
    /// `init`.
    pub init: u32,
    /// `plan`.
    pub plan: u32,
    /// `apply`.
    pub apply: u32,
    /// Hooks.
    pub hook: u32,
}

/// A run that a user makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RunSetup {
    /// When.
    pub at_ms: u64,
    /// In which workspace; a number stands for itself. Two runs of one workspace wait for each other.
    pub workspace: u32,
    /// Whether it ends after the plan.
    pub is_dry: bool,
    /// How long after its plan a user approves it; at once and by the server where there is none.
    pub approval_ms: Option<u64>,
    /// Higher goes first.
    pub priority: i32,
    /// How its tool behaves: a place in [`Setup::profiles`].
    pub profile: u32,
    /// How long a plan or an apply may take; the server's own where there is none.
    pub operation_timeout_ms: Option<u64>,
}

impl Default for RunSetup {
    fn default() -> Self {
        Self {
            at_ms: 1_000,
            workspace: 0,
            is_dry: false,
            approval_ms: None,
            priority: 0,
            profile: 0,
            operation_timeout_ms: None,
        }
    }
}

/// A task by its place in the workload: the same in every history of a scenario, whatever ids the server
/// draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TaskNumber {
    /// The run's place in [`Setup::runs`].
    pub run: u32,
    /// Its plan or its apply.
    #[schemars(schema_with = "crate::scenario::foreign::action")]
    pub action: Action,
}

impl TaskNumber {
    /// As an object of draws.
    pub fn key(self) -> u64 {
        u64::from(self.run) * 16 + self.action as u64
    }
}

impl std::fmt::Display for TaskNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "run {} {}", self.run, self.action.as_str())
    }
}
