//! What a Controller is told once, and the bounds that it keeps.

use scalr_protocol::{agent::Action, id::InstanceId};
use serde::{Deserialize, Serialize};

use crate::scheduler::SchedulerOptions;

/// Plain data: a journal can keep it and a replay can use it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ControllerOptions {
    /// The agent's name, unique in its pool.
    pub name: String,
    /// What tells two processes of this name apart: the pod's UID.
    pub instance_id: InstanceId,
    /// The agent's version, as it is registered.
    pub version: String,
    /// Such as `linux/x86_64`.
    pub os: String,
    /// Such as `local` or `kubernetes-job`.
    pub driver: String,
    /// How many Jobs may be live in the namespace, whoever launched them.
    pub capacity: u32,
    /// How many tasks to hold beyond the free slots, so that they are ordered here.
    pub look_ahead: u32,
    /// What every Job's name begins with.
    pub basename: String,
    /// How long a worker may take from its Job to its claim, while no node is coming.
    pub startup_timeout_ms: u64,
    /// The same, whatever is coming.
    pub startup_max_ms: u64,
    /// How long an acquire or a look for messages may wait at the server.
    pub poll_wait_ms: u64,
    /// How long inputs are gathered before a plan is made of them.
    pub planning_delay_ms: u64,
    /// Which actions this agent can do.
    pub actions: Vec<Action>,
    /// The policy, a name that [`by_name`](crate::scheduler::by_name) knows. Unknown ones are taken as
    /// `fifo`: whoever reads the options refuses them before.
    pub scheduler: String,
    /// What the policy is told.
    pub scheduler_options: SchedulerOptions,
    /// The dice of this process, drawn by its shell.
    pub seed: u64,
}

impl ControllerOptions {
    /// The defaults, for an agent of this name.
    pub fn new(name: &str, instance_id: InstanceId) -> Self {
        Self {
            name: name.to_owned(),
            instance_id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            os: "linux/x86_64".to_owned(),
            driver: "local".to_owned(),
            capacity: 10,
            look_ahead: 1_000,
            basename: "scalr-agent".to_owned(),
            // Today's public chart has the same default.
            startup_timeout_ms: 180_000,
            startup_max_ms: 6 * 3_600_000,
            // The longest that the protocol allows.
            poll_wait_ms: 30_000,
            planning_delay_ms: 10,
            actions: Action::ALL.to_vec(),
            scheduler: "fifo".to_owned(),
            scheduler_options: SchedulerOptions::default(),
            seed: 0,
        }
    }
}

/// Heartbeats follow each other no sooner, whatever asks for a verdict: a thousand Jobs that end in one
/// second cost one call.
pub(super) const HEARTBEAT_SPACING_MS: u64 = 1_000;
/// Heartbeats are never rarer, whatever the server asks for: an agent counts as offline after 30 s.
pub(super) const HEARTBEAT_MS_MAX: u64 = 20_000;
/// A heartbeat without an answer for so long is given up and sent again: three fit into a launch lease.
pub(super) const HEARTBEAT_ANSWER_MS: u64 = 20_000;
/// Any other call without an answer for so long is given up: twice what the adapters allow a call.
pub(super) const ANSWER_MS: u64 = 60_000;
/// A long poll whose answer brought nothing is repeated no sooner after it was sent, so that a server that
/// does not wait is not called in a circle.
pub(super) const POLL_SPACING_MS: u64 = 1_000;
/// How long an acquire waits that has no free slot: the server should hear of one soon.
pub(super) const AHEAD_WAIT_MS: u64 = 5_000;
/// How many late acquires are remembered, whose answers are still taken.
pub(super) const LATE_ACQUIRES_MAX: usize = 64;
/// How many releases and launch failures are under way at once: a stop may bring ten thousand.
pub(super) const DOORS_MAX: usize = 32;
/// A release or a launch failure that Scalr refused is tried again no sooner: it would be refused again.
pub(super) const KNOCK_AGAIN_MS: u64 = 60_000;
/// A Job that was deleted and does not even look it is deleted again no sooner.
pub(super) const DELETE_AGAIN_MS: u64 = 30_000;
/// How often an unanswered create looks whether it may be repeated: pauses and lapsed leases last longer.
pub(super) const CREATE_LOOK_MS: u64 = 2_000;
/// After an unanswered create a Job appears within this, or never: an API server's longest request.
pub(super) const CREATE_UNRESOLVED_MS: u64 = 60_000;
/// The moments at which unanswered creates are looked at lie so far apart: one list serves many.
pub(super) const SETTLE_STEP_MS: u64 = 5_000;
/// How many watches may break in a row before everything is listed again.
pub(super) const WATCH_ERRORS_MAX: u32 = 3;
/// A watch that says nothing for so long is replaced: some die without a word.
pub(super) const WATCH_SILENCE_MS: u64 = 300_000;
/// Lists of one kind follow each other no sooner.
pub(super) const LIST_SPACING_MS: u64 = 1_000;
/// How many ends of objects are remembered, against late views of them.
pub(super) const GRAVES_MAX: usize = 4_096;
/// The most events of one call, by the protocol.
pub(super) const EVENTS_BATCH: usize = 100;
/// How many events wait at most; the oldest go first.
pub(super) const EVENTS_MAX: usize = 10_000;
/// How long events about Jobs gather.
pub(super) const EVENTS_SOON_MS: u64 = 50;
/// How long events about holds gather: most waits are over by then.
pub(super) const EVENTS_LATER_MS: u64 = 1_000;
/// How often one task's holds are told at most.
pub(super) const HOLD_TOLD_MS: u64 = 60_000;
/// How long an agent whose token was refused takes to give back what it holds.
pub(super) const UNAUTHORIZED_GRACE_MS: u64 = 30_000;
/// What of the grace is left to the process for its own end, at most; never more than a quarter.
pub(super) const EXIT_MS: u64 = 2_000;
/// How many ends of tasks are kept for the next plan.
pub(super) const ENDED_MAX: usize = 1_000;
