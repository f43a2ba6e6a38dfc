//! What became of the template's Jobs, as this process sees it: what its status tells. Pure.
//!
//! Nothing is decided by it: capacity is derived from what is listed, never counted.

use std::collections::BTreeSet;

use jiff::Timestamp;
use scalr_core::cluster::{ClusterError, Job, JobEnd, Uid};

/// Counts since the last status that was written, and what is in flight now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Jobs that have not ended, whoever made them.
    live: BTreeSet<Uid>,
    /// Those that this process made and has not seen end: each is counted by one process only.
    own: BTreeSet<Uid>,
    /// How many this process made.
    pub(super) launched: u64,
    /// How many of its own have failed.
    pub(super) failed: u64,
    /// When it made the last one.
    pub(super) last_launch: Option<Timestamp>,
    /// What the cluster said to the last Job that it was offered, if it would not take it.
    pub(super) refused: Option<String>,
}

impl Tally {
    pub(super) fn in_flight(&self) -> u32 {
        u32::try_from(self.live.len()).unwrap_or(u32::MAX)
    }

    /// A Job was offered to the cluster.
    pub(super) fn offered(&mut self, answer: &Result<Job, ClusterError>, now: Timestamp) {
        match answer {
            Ok(job) => {
                self.refused = None;
                // A repeat finds what an unanswered call has made, and is the one that counts it.
                if self.own.insert(job.uid.clone()) {
                    self.launched += 1;
                    self.last_launch = Some(now);
                }
                self.seen(job);
            }
            Err(
                ClusterError::Refused { detail }
                | ClusterError::NotAllowed { detail }
                | ClusterError::Template { detail },
            ) => {
                self.refused = Some(detail.clone());
            }
            Err(
                ClusterError::NameTaken
                | ClusterError::Over
                | ClusterError::QuotaExceeded { .. }
                | ClusterError::RateLimited { .. }
                | ClusterError::Gone
                | ClusterError::Unreachable { .. },
            ) => {}
        }
    }

    /// A Job looks so now.
    pub(super) fn seen(&mut self, job: &Job) {
        match &job.end {
            None => {
                self.live.insert(job.uid.clone());
            }
            Some(end) => {
                self.live.remove(&job.uid);
                let is_own = self.own.remove(&job.uid);
                self.failed += u64::from(is_own && matches!(end, JobEnd::Failed { .. }));
            }
        }
    }

    /// A Job is gone.
    pub(super) fn gone(&mut self, uid: &Uid) {
        self.live.remove(uid);
        self.own.remove(uid);
    }

    /// These are all that there are.
    pub(super) fn keep(&mut self, listed: &BTreeSet<Uid>) {
        self.live.retain(|uid| listed.contains(uid));
    }

    /// What was written is told.
    pub(super) fn wrote(&mut self, written: &Self) {
        self.launched = self.launched.saturating_sub(written.launched);
        self.failed = self.failed.saturating_sub(written.failed);
    }
}
