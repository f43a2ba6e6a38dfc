//! What is known of one task under one fence.

use std::collections::BTreeSet;

use scalr_protocol::{
    agent::{Grant, LaunchEventKind, LaunchFailed, LaunchFailure, ReleaseReason, WorkerLoss},
    id::Fence,
};

use crate::{
    clock::Millis,
    cluster::{JobName, Uid},
    mutant::{Mutant, planted},
    op::Op,
    scheduler::HoldReason,
};

/// A task under one fence: what Scalr, the cluster and this process have to do with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; all combinations occur")]
pub(super) struct Entry {
    /// What Scalr said last, and when.
    pub(super) standing: Standing,
    /// The last call that had been sent when that was learned.
    pub(super) standing_mark: Op,
    /// Named in a heartbeat that has not been answered, which may have brought a lease.
    pub(super) is_asked: bool,
    /// What was granted, where this process heard it.
    pub(super) grant: Option<Box<Grant>>,
    /// Its lease is ours.
    pub(super) holding: Option<Holding>,
    /// A Job of it was seen or made. From then on it never reads as never launched.
    pub(super) is_launched: bool,
    /// When that was.
    pub(super) launched_at: Millis,
    /// The name of its Job, from the first attempt on.
    pub(super) name: Option<JobName>,
    /// A Job of it is being made, or may have been.
    pub(super) creation: Option<Creation>,
    /// Its Jobs: one, but for accidents.
    pub(super) jobs: BTreeSet<Uid>,
    /// Its pods.
    pub(super) pods: BTreeSet<Uid>,
    /// Those of its Jobs of which a pod was seen.
    pub(super) podded: BTreeSet<Uid>,
    /// Whether a pod of it was ever seen.
    pub(super) had_pod: bool,
    /// How its start goes.
    pub(super) startup: Option<Startup>,
    /// The call that shuts its door, until it is answered.
    pub(super) door: Option<Door>,
    /// Scalr refused to shut its door: not again before this.
    pub(super) refused_until: Option<Millis>,
    /// Why its launch seems to have failed; waits for a verdict asked for after it.
    pub(super) failure: Option<(Op, Failure)>,
    /// Why its worker seems to be lost; waits for a verdict asked for after it.
    pub(super) loss: Option<(Op, Loss)>,
    /// The loss that Scalr is being told.
    pub(super) telling: Option<Telling>,
    /// How much of a loss Scalr has been told.
    pub(super) told_loss: LossLevel,
    /// Whether every pod it ever had was seen by this process: only then can pods prove anything.
    pub(super) is_witnessed: bool,
    /// How its last pod went, where it is gone.
    pub(super) last_pod: Option<WorkerLoss>,
    /// A pod is gone that was proved over.
    pub(super) is_gone_proved: bool,
    /// A pod is gone that was not.
    pub(super) is_gone_unproved: bool,
    /// What its launch events have told.
    pub(super) told: Told,
    /// Whether its end was told to the policy.
    pub(super) is_counted: bool,
}

/// What Scalr said of a task under a fence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Standing {
    /// Nothing yet.
    #[default]
    Unasked,
    /// Its lease is ours.
    Held,
    /// Its lease is another agent's.
    Other,
    /// A worker has claimed it.
    Claimed,
    /// It was confirmed.
    Started,
    /// It is terminal after a confirm.
    Ended,
    /// Nothing was confirmed under this fence, nothing ever will be.
    Shut,
}

impl Standing {
    /// Whether nothing can change it any more.
    pub(super) fn is_final(self) -> bool {
        match self {
            Self::Ended | Self::Shut => true,
            Self::Unasked | Self::Held | Self::Other | Self::Claimed | Self::Started => false,
        }
    }
}

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Holding {
    /// Its place among all grants.
    pub(super) order: u64,
    /// When Scalr queued it, on this process's clock.
    pub(super) queued_at: Millis,
    /// When it may have lapsed, counted from when the call was sent that renewed it.
    pub(super) lease_until: Millis,
    /// Why it waits, by the last plan.
    pub(super) reason: Option<HoldReason>,
    /// Not before this timer fires, and why.
    pub(super) blocked: Option<HoldReason>,
    /// How many attempts to make its Job have failed in a row.
    pub(super) attempts: u32,
}

impl Holding {
    pub(super) fn new(order: u64, queued_at: Millis, lease_until: Millis) -> Self {
        Self { order, queued_at, lease_until, reason: None, blocked: None, attempts: 0 }
    }
}

/// A Job that is being made, or may have been.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Creation {
    /// The call that is under way.
    pub(super) op: Option<Op>,
    /// When the last one was sent.
    pub(super) sent: Millis,
    /// When one was last found to go unanswered.
    pub(super) unanswered: Millis,
    /// Whether a call went unanswered, so that the Job may exist whatever later ones say.
    pub(super) is_uncertain: bool,
    /// How many calls have gone unanswered.
    pub(super) attempts: u32,
}

/// How long a start has taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Startup {
    began: Millis,
    spent_ms: u64,
    /// Since when it counts; not while a node is coming.
    running_since: Option<Millis>,
}

impl Startup {
    pub(super) fn begin(now: Millis) -> Self {
        Self { began: now, spent_ms: 0, running_since: Some(now) }
    }

    /// Counts, or stops counting while a node is coming.
    pub(super) fn count(&mut self, now: Millis, is_counting: bool) {
        match (self.running_since, is_counting) {
            (Some(since), false) => {
                self.spent_ms += now.since(since);
                self.running_since = None;
            }
            (None, true) => self.running_since = Some(now),
            (Some(_), true) | (None, false) => {}
        }
    }

    /// When it has taken too long.
    pub(super) fn deadline(&self, timeout_ms: u64, max_ms: u64) -> Millis {
        let hard = if planted(Mutant::StartupMaxIgnored) { Millis::NEVER } else { self.began + max_ms };
        match self.running_since {
            Some(since) => hard.min(since + timeout_ms.saturating_sub(self.spent_ms)),
            None => hard,
        }
    }
}

/// A call that shuts a door: repeated until it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Door {
    /// Which call.
    pub(super) call: DoorCall,
    /// The one that is under way.
    pub(super) op: Option<Op>,
    /// How many have failed.
    pub(super) attempts: u32,
}

/// Which call shuts the door.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum DoorCall {
    /// Call 5.
    Release(ReleaseReason),
    /// Call 7.
    Failed(Box<LaunchFailed>),
}

impl DoorCall {
    /// Call 7 for this failure, its texts cut to what the protocol allows.
    pub(super) fn failed(fence: Fence, failure: Failure) -> Self {
        Self::Failed(Box::new(LaunchFailed {
            fence,
            reason: failure.reason,
            message: cut(failure.message, MESSAGE_BYTES_MAX),
            diagnostics: cut(failure.diagnostics, DIAGNOSTICS_BYTES_MAX),
            retryable: failure.is_retryable,
        }))
    }
}

/// The longest message of a failure, by the protocol.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// The longest diagnostics, by the protocol.
pub(super) const DIAGNOSTICS_BYTES_MAX: usize = 16 * 1024;

/// The text, cut at a character to at most so many bytes.
pub(super) fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

/// Why a launch failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Failure {
    pub(super) reason: LaunchFailure,
    pub(super) message: String,
    pub(super) diagnostics: String,
    pub(super) is_retryable: bool,
}

/// Why a worker is lost, as far as it can be seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Loss {
    pub(super) level: LossLevel,
    pub(super) reason: WorkerLoss,
    pub(super) container: Option<&'static str>,
    pub(super) exit_code: Option<i32>,
    pub(super) diagnostics: String,
}

/// How much of a loss is known: each is told once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum LossLevel {
    /// Nothing.
    #[default]
    None,
    /// A reason.
    Reason,
    /// Proof that both containers ended.
    Proof,
}

/// A `worker-lost` that is repeated until it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Telling {
    pub(super) loss: Loss,
    pub(super) op: Option<Op>,
    pub(super) attempts: u32,
}

/// What launch events have told of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Told {
    /// The class of the hold told last, and when.
    pub(super) hold: Option<(&'static str, Millis)>,
    /// When a change of class is to be told.
    pub(super) hold_due: Option<Millis>,
    /// The kinds told of its Job and pods.
    pub(super) kinds: BTreeSet<LaunchEventKind>,
}

impl Entry {
    /// Whether it waits here for a Job.
    pub(super) fn is_queued(&self) -> bool {
        self.holding.is_some()
            && self.grant.is_some()
            && !self.is_launched
            && self.creation.is_none()
            && self.door.is_none()
            && matches!(self.standing, Standing::Held | Standing::Unasked)
    }

    /// Whether nothing more is to be known or said of it.
    pub(super) fn is_done(&self) -> bool {
        let is_quiet = self.jobs.is_empty()
            && self.pods.is_empty()
            && self.creation.is_none()
            && self.holding.is_none()
            && self.telling.is_none()
            && self.door.as_ref().is_none_or(|door| door.op.is_none());
        is_quiet
            && match self.standing {
                Standing::Ended | Standing::Shut => true,
                Standing::Unasked | Standing::Held | Standing::Other => !self.is_asked,
                Standing::Started => self.told_loss > LossLevel::None,
                Standing::Claimed => false,
            }
    }

    /// Whether a heartbeat names it.
    pub(super) fn is_named(&self, has_unfinished_job: bool) -> bool {
        if self.standing.is_final() {
            return has_unfinished_job;
        }
        if planted(Mutant::LaunchLeaseNotRenewed) && self.is_launched && self.standing == Standing::Held {
            return false;
        }
        self.is_asked
            || self.holding.is_some()
            || !self.jobs.is_empty()
            || matches!(self.standing, Standing::Claimed | Standing::Started)
    }
}
