//! How things are made to go wrong: a [`Snag`] happens to calls, a [`Strike`] at a moment. Both are data
//! with a meaning ("the second create of run 3's plan: carried out, answer lost"), never a place in a global
//! order, so that a shrunk scenario still means what it said.
//!
//! Here is only the alphabet: which fault of the catalogue is which of these is said elsewhere.

use scalr_protocol::error::ErrorCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{cluster::ClusterFault, setup::TaskNumber, truth::Milestone};

/// Something that happens to a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Snag {
    /// Whose call; anybody's where nothing is said.
    #[serde(default)]
    pub who: Option<Who>,
    /// Which call; any where nothing is said.
    #[serde(default)]
    pub call: Option<CallKind>,
    /// About which task; any, or none, where nothing is said.
    #[serde(default)]
    pub task: Option<TaskNumber>,
    /// Where on its way.
    pub leg: Leg,
    /// How many that fit are let through first.
    #[serde(default)]
    pub skip: u32,
    /// To how many it then happens.
    #[serde(default = "once")]
    pub times: u32,
    /// Of 1000 that fit, to how many.
    #[serde(default = "always")]
    pub permille: u32,
    /// What happens.
    pub fate: Fate,
}

fn once() -> u32 {
    1
}

fn always() -> u32 {
    1_000
}

/// A process, or many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// Any controller.
    Controllers,
    /// The controller of this place in the setup.
    Controller(u32),
    /// Any worker.
    Workers,
    /// Every worker of this task.
    WorkersOf(TaskNumber),
}

/// Where a call is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Leg {
    /// The brain wants it; it is not sent yet.
    Wanted,
    /// It is sent.
    Sent,
    /// It is at the other end, without effect yet.
    Arrived,
    /// It has had its effect; the answer is not on its way yet.
    Done,
    /// The answer is here; the brain does not know yet.
    Answered,
    /// The brain has taken the answer, and all that it wanted in that step is sent.
    Processed,
}

impl Leg {
    /// Every leg, in order.
    pub const ALL: [Self; 6] =
        [Self::Wanted, Self::Sent, Self::Arrived, Self::Done, Self::Answered, Self::Processed];
}

/// What happens to a call. What has no meaning at a leg does nothing there and is not counted as fired.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Fate {
    /// Its process is killed, wherever the call is. Any leg.
    Crash(Rebirth),
    /// Its process is suspended. Any leg.
    Pause {
        /// For so long.
        for_ms: u64,
    },
    /// Its process gets a SIGTERM. Any leg.
    Terminate,
    /// The call (arrived), or its answer (done), gets lost, and the caller hears of a broken connection.
    Lose {
        /// When it hears of that.
        after_ms: u64,
    },
    /// It comes later. Wanted, arrived, done or answered.
    Delay {
        /// By so much.
        by_ms: u64,
    },
    /// It comes twice to the other end (arrived); the second answer is nobody's.
    Twice {
        /// The second comes so much later.
        after_ms: u64,
    },
    /// Scalr or the cluster refuses it without effect (arrived).
    Refuse(Refusal),
}

/// How a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Refusal {
    /// What the server says; its status goes with it. The cluster knows 429, and for all else 500.
    #[schemars(schema_with = "crate::scenario::foreign::code")]
    pub code: ErrorCode,
    /// What it says of when to come back.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

/// How a controller comes back after an end. A worker comes back as its Job says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rebirth {
    /// After how long.
    pub after_ms: u64,
    /// As what.
    pub identity: Identity,
}

/// As what a controller comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// The container again: same name, same instance.
    Same,
    /// The pod again under its name: another instance.
    NewInstance,
    /// Another pod: another name and instance.
    NewName,
}

/// A call, or what a watch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CallKind {
    /// Call 1, of either.
    Register,
    /// Call 2.
    Heartbeat,
    /// Call 3.
    Deregister,
    /// Call 4.
    Acquire,
    /// Call 5.
    Release,
    /// Call 6.
    LaunchEvents,
    /// Call 7.
    LaunchFailed,
    /// Call 8.
    WorkerLost,
    /// Call 9.
    Messages,
    /// Call 10.
    Start,
    /// Call 11, until its first answer.
    Confirm,
    /// Call 11, later.
    Renew,
    /// Call 12.
    Signals,
    /// Call 13.
    Append,
    /// Call 14, `GET`.
    BlobGet,
    /// Call 14, `PUT`.
    BlobPut,
    /// Call 15.
    Finish,
    /// A list.
    List,
    /// The begin of a watch.
    Watch,
    /// What a watch says.
    WatchEvent,
    /// The creation of a Job.
    CreateJob,
    /// The deletion of a Job.
    DeleteJob,
}

/// Something that happens at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Planned {
    /// When.
    pub when: Moment,
    /// What.
    pub what: Strike,
}

/// A moment by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Moment {
    /// By the world's clock.
    At(u64),
    /// When something has become true of a task.
    When {
        /// Of which.
        task: TaskNumber,
        /// What.
        is: Milestone,
        /// For how often it has become true, from 1.
        #[serde(default = "once")]
        nth: u32,
        /// So much later.
        #[serde(default)]
        after_ms: u64,
    },
}

/// Something that somebody does, or that breaks or heals.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Strike {
    /// A user approves a run's plan.
    Approve {
        /// Which run.
        run: u32,
    },
    /// A user gives a run's plan up.
    Discard {
        /// Which run.
        run: u32,
    },
    /// A user cancels a run.
    Cancel {
        /// Which run.
        run: u32,
        /// Kill rather than interrupt.
        force: bool,
    },
    /// SIGKILL to processes. Where a worker's is meant, its container ends with 137.
    Crash {
        /// To whom.
        who: Who,
        /// How controllers come back; never by themselves where nothing is said.
        rebirth: Option<Rebirth>,
    },
    /// The runner's container of a task is killed.
    KillRunner {
        /// Of which task.
        task: TaskNumber,
        /// For its memory.
        is_oom: bool,
    },
    /// SIGTERM to controllers, SIGKILL at their grace. To a worker it comes from its pod.
    Terminate {
        /// To whom.
        who: Who,
        /// How they come back; never by themselves where nothing is said.
        rebirth: Option<Rebirth>,
    },
    /// Processes are suspended: they take nothing in, and then all of it late. Their clocks go on.
    Pause {
        /// Whose.
        who: Who,
        /// For so long.
        for_ms: u64,
    },
    /// A process's clock runs otherwise from now on.
    Drift {
        /// Whose.
        who: Who,
        /// So many millionths too fast.
        drift_ppm: i32,
    },
    /// A process's clock is ahead by so much at once.
    Jump {
        /// Whose.
        who: Who,
        /// By so much.
        ahead_ms: u64,
    },
    /// Processes can't reach somebody.
    Cut {
        /// Whose calls.
        who: Who,
        /// To whom.
        from: Peer,
        /// For so long.
        for_ms: u64,
    },
    /// The server is away, and its serving time stands still; then it restarts.
    ScalrDown {
        /// For so long.
        for_ms: u64,
        /// Whether callers wait in vain, rather than being refused at once.
        hangs: bool,
    },
    /// Every way to Scalr takes longer.
    ScalrSlow {
        /// By so much.
        by_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Scalr refuses calls.
    ScalrRefuses {
        /// How.
        refusal: Refusal,
        /// Of 1000 calls, how many.
        permille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// The pool token is revoked.
    RevokePoolToken {
        /// Whether the token's file holds another one from now on.
        is_rotated: bool,
    },
    /// A sweep of calls from now on.
    Snag(Snag),
    /// Something in the cluster.
    Cluster(ClusterFault),
    /// Everything that was broken by one of these is whole again, and nothing more breaks: no snag, no later
    /// strike but those of users.
    Heal,
}

/// Whom a process talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// Scalr.
    Scalr,
    /// The API server.
    Cluster,
    /// Both.
    Both,
}
