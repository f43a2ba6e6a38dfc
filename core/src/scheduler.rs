//! The pluggable part: which of the queued tasks are launched now, and why the others are not.
//!
//! A policy is stateless and synchronous: what it may remember lives in a bounded [`Memory`] that the
//! Controller owns and a restart empties, so a policy must keep its promises when it is empty. A new policy
//! is one file and one line in [`by_name`].

pub mod fifo;
pub mod limits;

#[cfg(test)]
mod tests;

use std::{cell::LazyCell, collections::BTreeMap};

use scalr_protocol::{
    agent::Action,
    id::{AccountId, EnvironmentId, Fence, TaskId, WorkspaceId},
};
use serde::{Deserialize, Serialize};

use crate::clock::Millis;

/// A scheduling policy.
pub trait Scheduler: Sync {
    /// The name by which options choose it.
    fn name(&self) -> &'static str;

    /// The options that it reads. Whoever reads the process's options refuses all others.
    fn options(&self) -> &'static [&'static str];

    /// Plans from what is known now. Every queued task of the view stands in the plan exactly once, either
    /// launched or held with a reason; no more are launched than `view.capacity.free`.
    fn plan(&self, view: &View<'_>, memory: &mut Memory) -> Plan;
}

/// Everything a plan may depend on.
#[derive(Debug)]
pub struct View<'a> {
    /// Now.
    pub now: Millis,
    /// What the options say to this policy.
    pub options: &'a SchedulerOptions,
    /// Tasks that are held and have no Job, in the order in which they were granted.
    pub queue: Vec<Queued<'a>>,
    /// Tasks that have a live Job, or one being created.
    pub live: LiveTasks<'a>,
    /// How many Jobs there may be, and why no more.
    pub capacity: Capacity,
    /// What ended since the last plan.
    pub ended: &'a [Ended],
}

/// A task that waits to be launched.
#[derive(Clone, Copy, Debug)]
pub struct Queued<'a> {
    /// The task.
    pub task: &'a TaskId,
    /// Its grant.
    pub fence: Fence,
    /// What it does.
    pub action: Action,
    /// Its workspace.
    pub workspace: &'a WorkspaceId,
    /// Its environment.
    pub environment: &'a EnvironmentId,
    /// Its account.
    pub account: &'a AccountId,
    /// Higher goes first, where a policy heeds it.
    pub priority: i32,
    /// When Scalr queued it, on this process's clock.
    pub queued_at: Millis,
    /// What keeps it from being launched whatever the policy says, such as a Job that is still going away.
    pub blocked: Option<&'a HoldReason>,
}

/// Everything that takes room, listed when a policy first asks: most plans need only the capacity.
pub type LiveTasks<'a> = LazyCell<Vec<Live<'a>>, Box<dyn FnOnce() -> Vec<Live<'a>> + 'a>>;

/// A task that has a Job.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    /// The task.
    pub task: &'a TaskId,
    /// Its workspace, where this process knows it.
    pub workspace: Option<&'a WorkspaceId>,
    /// Its account, where this process knows it.
    pub account: Option<&'a AccountId>,
    /// Since when.
    pub since: Millis,
}

/// How many Jobs there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// How many may be launched by this plan.
    pub free: u32,
    /// What the next one would wait for.
    pub limit: HoldReason,
}

/// A task that ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ended {
    /// The task.
    pub task: TaskId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// What it did.
    pub action: Action,
    /// From Job created to Job over.
    pub duration_ms: u64,
}

/// What a policy says: each queued task once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Launch these, in this order.
    pub launch: Vec<TaskId>,
    /// Hold these, in the order in which they would be launched.
    pub hold: Vec<(TaskId, HoldReason)>,
}

/// Why a task waits here. Stored by class; position and estimate are computed when asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HoldReason {
    /// As many Jobs are in flight as may be.
    InFlightCap {
        /// The cap.
        cap: u32,
    },
    /// Pods appear more slowly than Jobs could be made.
    Window {
        /// How many Jobs may wait for their pods.
        window: u32,
    },
    /// Dispatch is paused by an operator.
    Paused,
    /// The agent is stopping.
    Draining,
    /// The launch lease may have lapsed: Scalr has not answered a heartbeat for a while.
    ScalrUnreachable,
    /// Jobs of an earlier process are still being asked about.
    Recovering,
    /// The last attempt to make its Job failed, and will be repeated.
    CreateRetry {
        /// Why it failed.
        reason: String,
    },
    /// The namespace's quota leaves no room.
    Quota {
        /// What the cluster said.
        detail: String,
    },
    /// There is no usable task template.
    Template {
        /// What is wrong.
        detail: String,
    },
    /// A policy's own reason.
    Policy {
        /// A sentence.
        reason: String,
    },
}

impl HoldReason {
    /// The class, for metrics and for telling changes.
    pub fn class(&self) -> &'static str {
        match self {
            Self::InFlightCap { .. } => "in-flight-cap",
            Self::Window { .. } => "window",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::ScalrUnreachable => "scalr-unreachable",
            Self::Recovering => "recovering",
            Self::CreateRetry { .. } => "create-retry",
            Self::Quota { .. } => "quota",
            Self::Template { .. } => "template",
            Self::Policy { .. } => "policy",
        }
    }
}

impl std::fmt::Display for HoldReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InFlightCap { cap } => write!(f, "as many Jobs are in flight as may be ({cap})"),
            Self::Window { window } => {
                write!(f, "{window} Jobs wait for their pods already; the next is made when one appears")
            }
            Self::Paused => f.write_str("dispatch is paused by an operator"),
            Self::Draining => f.write_str("the agent is stopping"),
            Self::ScalrUnreachable => f.write_str("Scalr does not answer, so the lease may have lapsed"),
            Self::Recovering => f.write_str("the Jobs of an earlier process are being asked about"),
            Self::CreateRetry { reason } => {
                write!(f, "its Job could not be made and will be tried again: {reason}")
            }
            Self::Quota { detail } => write!(f, "the namespace's quota leaves no room: {detail}"),
            Self::Template { detail } => write!(f, "there is no usable task template: {detail}"),
            Self::Policy { reason } => f.write_str(reason),
        }
    }
}

/// What a policy may remember. Bounded; emptied by a restart; written only by [`Scheduler::plan`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// Numbers by name.
    entries: BTreeMap<String, i64>,
}

impl Memory {
    /// How many entries it holds at most: a few for each of ten thousand workspaces.
    pub const ENTRIES_MAX: usize = 50_000;

    /// What is remembered under a name.
    pub fn get(&self, name: &str) -> Option<i64> {
        self.entries.get(name).copied()
    }

    /// Remembers a number, or refuses when it is full.
    pub fn set(&mut self, name: &str, value: i64) -> bool {
        if self.entries.len() >= Self::ENTRIES_MAX && !self.entries.contains_key(name) {
            return false;
        }
        self.entries.insert(name.to_owned(), value);
        true
    }

    /// Forgets what does not please `keep`.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, i64) -> bool) {
        self.entries.retain(|name, value| keep(name, *value));
    }
}

/// What the options say to a policy: names and texts, read by the policy itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchedulerOptions(pub BTreeMap<String, String>);

/// Every policy, in the order in which they are named to people.
static POLICIES: [&dyn Scheduler; 1] = [&fifo::Fifo];

/// The policy of this name.
pub fn by_name(name: &str) -> Option<&'static dyn Scheduler> {
    POLICIES.into_iter().find(|policy| policy.name() == name)
}

/// The names that [`by_name`] knows, for whoever chose another.
pub fn names() -> impl Iterator<Item = &'static str> {
    POLICIES.into_iter().map(Scheduler::name)
}
