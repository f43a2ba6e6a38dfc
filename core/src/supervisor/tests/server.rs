//! The server of the small world: protocol calls 10 to 15 for one task, without faults of its own.

use scalr_protocol::task::{Finished, LeaseAnswer, Signal, Signals};

use crate::{
    clock::Millis,
    supervisor::{
        effect::{FinishOutline, TaskCall},
        input::{Claim, TaskAnswer},
    },
    task_api::TaskError,
};

use super::story::registration;

pub(super) struct Server {
    claim: Claim,
    claimed: Option<Millis>,
    is_expired: bool,
    /// The last lease; the first is the confirm.
    leased: Option<Millis>,
    is_lost: bool,
    pub(super) signals: Vec<Signal>,
    pub(super) log: u64,
    pub(super) recorded: Option<FinishOutline>,
}

impl Server {
    pub(super) fn new(claim: Claim) -> Self {
        Self {
            claim,
            claimed: None,
            is_expired: false,
            leased: None,
            is_lost: false,
            signals: Vec::new(),
            log: 0,
            recorded: None,
        }
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.leased.is_some()
    }

    pub(super) fn answer(&mut self, now: Millis, call: &TaskCall) -> TaskAnswer {
        self.pass(now);
        match call {
            TaskCall::Register => TaskAnswer::Registered(Ok(registration())),
            TaskCall::Start => TaskAnswer::Start(self.start(now)),
            TaskCall::Lease { .. } => TaskAnswer::Lease(self.lease(now)),
            TaskCall::Signals { after, .. } => TaskAnswer::Signals(self.signals(*after)),
            TaskCall::Append { from, to } => {
                // A range that does not begin where the log ends is answered with where it ends.
                if *from <= self.log {
                    self.log = self.log.max(*to);
                }
                TaskAnswer::Appended(Ok(self.log))
            }
            TaskCall::Finish(outline) => TaskAnswer::Finish(self.finish(outline)),
        }
    }

    /// What time alone does.
    fn pass(&mut self, now: Millis) {
        if let (Some(claimed), None) = (self.claimed, self.leased) {
            self.is_expired |= now.since(claimed) > 60_000;
        }
        if let (Some(leased), None) = (self.leased, &self.recorded) {
            self.is_lost |= now.since(leased) > self.claim.lost_after_ms;
        }
    }

    fn start(&mut self, now: Millis) -> Result<Claim, TaskError> {
        if self.is_expired {
            return Err(TaskError::FenceStale);
        }
        if self.leased.is_some() {
            return Err(TaskError::AlreadyStarted);
        }
        if !self.signals.is_empty() {
            return Err(TaskError::Canceled);
        }
        self.claimed.get_or_insert(now);
        Ok(self.claim.clone())
    }

    fn lease(&mut self, now: Millis) -> Result<LeaseAnswer, TaskError> {
        if self.is_expired {
            Err(TaskError::ClaimExpired)
        } else if self.leased.is_none() && !self.signals.is_empty() {
            Err(TaskError::Canceled)
        } else if self.is_lost {
            Err(TaskError::Lost)
        } else if self.recorded.is_some() {
            Err(TaskError::Finished)
        } else {
            self.leased = Some(now);
            Ok(LeaseAnswer { ttl_ms: 60_000, signal: self.signals.last().copied() })
        }
    }

    fn signals(&self, after: u64) -> Result<Signals, TaskError> {
        if self.is_lost {
            return Err(TaskError::Lost);
        }
        if self.recorded.is_some() {
            return Err(TaskError::Finished);
        }
        let seen = usize::try_from(after).unwrap_or(usize::MAX).min(self.signals.len());
        Ok(Signals { last: self.signals.len() as u64, signals: self.signals[seen..].to_vec() })
    }

    fn finish(&mut self, outline: &FinishOutline) -> Result<Finished, TaskError> {
        let recorded = self.recorded.get_or_insert_with(|| outline.clone());
        if recorded != outline {
            return Err(TaskError::Differs { detail: "another outcome".to_owned() });
        }
        if self.is_lost {
            Ok(Finished::Late { log_bytes: self.log })
        } else if self.log < outline.log_bytes {
            Ok(Finished::LogIncomplete { log_bytes: self.log })
        } else {
            Ok(Finished::Whole)
        }
    }
}
