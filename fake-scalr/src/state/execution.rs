//! Calls 11 to 15: what the worker of a claimed task says until its outcome is recorded, and, where it was
//! declared lost, for a day after that.

use scalr_protocol::{
    blob::{BlobKind, BlobRef},
    error::{ApiError, ErrorCode},
    id::{Fence, TaskId},
    task::{Finish, Finished, Lease, LeaseAnswer, Signal, Signals},
};

use super::{
    Now, Reply, State, TaskCall, Token,
    tasks::{Claim, End, Phase, Task},
    tokens::forbidden,
};

/// The longest phase that is worth showing.
const PHASE_CHARS_MAX: usize = 64;

impl State {
    pub(super) fn task_call(
        &mut self,
        now: Now,
        bearer: &Token,
        id: &TaskId,
        call: TaskCall,
    ) -> Result<Reply, ApiError> {
        let fence = self.claim_fence(bearer, id)?;
        match call {
            TaskCall::Lease(lease) => self.lease(now, id, fence, &lease),
            TaskCall::Signals { after } => self.signals(id, fence, after),
            TaskCall::LogAppend { first, bytes } => self.log_append(id, fence, first, bytes),
            TaskCall::BlobGet { kind } => self.blob_get(id, fence, kind),
            TaskCall::BlobPut(blob) => self.blob_put(id, fence, blob),
            TaskCall::Finish(finish) => self.finish(now, id, fence, finish),
        }
    }

    /// The task, if this token's claim is the one that stands.
    fn claimed(&self, id: &TaskId, fence: Fence) -> Result<(&Task, &Claim), ApiError> {
        self.tasks
            .get(id)
            .and_then(|task| Some((task, task.claim.as_ref().filter(|claim| claim.fence == fence)?)))
            .ok_or_else(|| {
                ApiError::new(ErrorCode::ClaimExpired, "it was not confirmed in time; run nothing")
            })
    }

    /// Call 11. The first is the confirm.
    fn lease(&mut self, now: Now, id: &TaskId, fence: Fence, lease: &Lease) -> Result<Reply, ApiError> {
        let (task, claim) = self.claimed(id, fence)?;
        same_fence(fence, lease.fence)?;
        let is_confirm = !claim.is_confirmed;
        match task.phase {
            Phase::Claimed { .. } | Phase::Started { .. } | Phase::Unreachable { .. } => {}
            Phase::Ended { end: End::Canceled | End::Unlaunched, .. } => return Err(canceled()),
            Phase::Ended { end: End::Finished(_), .. } => {
                return Err(ApiError::new(ErrorCode::Finished, "its outcome is recorded"));
            }
            Phase::Ended { end: End::Lost, .. } => {
                return Err(ApiError::new(ErrorCode::Lost, "end the workload; deliver what there is"));
            }
            Phase::Queued { .. } | Phase::Leased { .. } => {
                unreachable!("a claim ends when its task is queued again")
            }
        }
        let ttl_ms = self.settings.timings.lease_ttl_ms;
        let phase: String = lease.phase.chars().take(PHASE_CHARS_MAX).collect();
        let signal = self.change_task(id, |task| {
            task.phase = Phase::Started { until_ms: now.ms + ttl_ms, lost_ms: now.ms + task.lost_after_ms };
            task.worker_phase = phase;
            if let Some(claim) = &mut task.claim {
                claim.is_confirmed = true;
                claim.last_seen_at = now.wall;
            }
            task.signals.last().copied()
        });
        if is_confirm {
            self.follow_confirm(now, id);
        }
        Ok(Reply::Lease(LeaseAnswer { ttl_ms, signal }))
    }

    /// Call 12.
    fn signals(&self, id: &TaskId, fence: Fence, after: u64) -> Result<Reply, ApiError> {
        let (task, _) = self.claimed(id, fence)?;
        let known = usize::try_from(after).unwrap_or(usize::MAX).min(task.signals.len());
        let signals = task.signals[known..].to_vec();
        Ok(Reply::Signals(Signals { last: task.signals.len() as u64, signals }))
    }

    /// Tells the worker of a started task something, once.
    pub(super) fn signal(&mut self, id: &TaskId, signal: Signal) {
        let is_new = self.tasks.get(id).is_some_and(|task| !task.signals.contains(&signal));
        if is_new {
            self.change_task(id, |task| task.signals.push(signal));
        }
    }

    /// Whether bytes of this claim are taken now.
    fn refuse_closed(task: &Task) -> Result<(), ApiError> {
        match task.phase {
            Phase::Started { .. }
            | Phase::Unreachable { .. }
            | Phase::Ended { end: End::Finished(_) | End::Lost, open_until_ms: Some(_) } => Ok(()),
            Phase::Ended { end: End::Canceled | End::Unlaunched, .. } => Err(canceled()),
            Phase::Ended { end: End::Finished(_) | End::Lost, open_until_ms: None } => {
                Err(ApiError::new(ErrorCode::Closed, "nothing more of this task is taken"))
            }
            Phase::Queued { .. } | Phase::Leased { .. } | Phase::Claimed { .. } => {
                Err(ApiError::new(ErrorCode::NotStarted, "confirm first"))
            }
        }
    }

    /// Call 13. Bytes that are all there already are a repeat, whenever they come; any other overlap and any
    /// gap is answered with the end of what is there.
    fn log_append(&mut self, id: &TaskId, fence: Fence, first: u64, bytes: u64) -> Result<Reply, ApiError> {
        let (task, _) = self.claimed(id, fence)?;
        let stored = task.log_bytes;
        let end = first.checked_add(bytes).filter(|end| *end > first).ok_or_else(|| {
            ApiError::new(ErrorCode::Malformed, "an append has at least one byte")
                .of_parameter("Content-Range")
        })?;
        if end <= stored {
            return Ok(Reply::Log { stored, appended: false });
        }
        Self::refuse_closed(task)?;
        if first != stored {
            return Ok(Reply::LogMismatch { stored });
        }
        let declared = task.finish.as_ref().or(task.late.as_ref()).map(|finish| finish.log.bytes);
        if let Some(declared) = declared.filter(|declared| end > *declared) {
            let detail = format!("the log ends at {end} then, and its finish said {declared} bytes");
            return Err(ApiError::new(ErrorCode::Finished, detail).of_parameter("Content-Range"));
        }
        self.change_task(id, |task| {
            task.log_bytes = end;
            if let Phase::Ended { end: End::Finished(_), open_until_ms } = &mut task.phase
                && declared == Some(end)
            {
                *open_until_ms = None;
            }
        });
        Ok(Reply::Log { stored: end, appended: true })
    }

    /// What a task may fetch: its own uploads, its run's configuration, and for an apply what the run's plan
    /// uploaded.
    pub(super) fn fetchable(&self, task: &Task, kind: BlobKind) -> Option<BlobRef> {
        let run = self.runs.get(&task.run)?;
        if kind == BlobKind::ConfigurationVersion {
            return self.configuration_versions.get(&run.configuration_version)?.blob.clone();
        }
        let plan = run.plan.as_ref().and_then(|plan| self.tasks.get(plan));
        task.blobs.get(&kind).or_else(|| plan?.blobs.get(&kind)).cloned()
    }

    /// Call 14, `GET`.
    fn blob_get(&self, id: &TaskId, fence: Fence, kind: BlobKind) -> Result<Reply, ApiError> {
        let (task, _) = self.claimed(id, fence)?;
        Self::refuse_closed(task)?;
        self.fetchable(task, kind)
            .map(Reply::Blob)
            .ok_or_else(|| ApiError::new(ErrorCode::NotFound, format!("the task has no {kind}")))
    }

    /// Call 14, `PUT`.
    fn blob_put(&mut self, id: &TaskId, fence: Fence, blob: BlobRef) -> Result<Reply, ApiError> {
        let (task, _) = self.claimed(id, fence)?;
        match blob.kind {
            BlobKind::ConfigurationVersion | BlobKind::Policies => {
                return Err(forbidden(&format!("{} is only fetched", blob.kind)));
            }
            BlobKind::PlanFile
            | BlobKind::PlanJson
            | BlobKind::LockFile
            | BlobKind::ErroredState
            | BlobKind::PolicyInput
            | BlobKind::PolicyResult
            | BlobKind::CostBreakdown => {}
        }
        match task.blobs.get(&blob.kind) {
            Some(stored) if *stored == blob => return Ok(Reply::BlobStored { created: false }),
            Some(stored) => {
                let detail = format!("{} is there with {:?}", stored.kind, stored.sha256);
                return Err(ApiError::new(ErrorCode::Differs, detail));
            }
            None => Self::refuse_closed(task)?,
        }
        self.change_task(id, |task| task.blobs.insert(blob.kind, blob));
        Ok(Reply::BlobStored { created: true })
    }

    /// Call 15. The first outcome is the outcome.
    fn finish(&mut self, now: Now, id: &TaskId, fence: Fence, finish: Finish) -> Result<Reply, ApiError> {
        let (task, _) = self.claimed(id, fence)?;
        same_fence(fence, finish.fence)?;
        match &task.phase {
            Phase::Started { .. } | Phase::Unreachable { .. } => {
                refuse_short(task, &finish)?;
                let end = End::Finished(finish.outcome);
                self.change_task(id, |task| {
                    task.finish = Some(finish);
                    if let Some(claim) = &mut task.claim {
                        claim.last_seen_at = now.wall;
                    }
                });
                self.end_task(now, id, end);
            }
            Phase::Ended { end: End::Finished(_), .. } => {
                if task.finish.as_ref() != Some(&finish) {
                    return Err(ApiError::new(ErrorCode::Differs, "another outcome is recorded"));
                }
            }
            Phase::Ended { end: End::Lost, open_until_ms } => match &task.late {
                Some(late) if *late == finish => {}
                Some(_) => return Err(ApiError::new(ErrorCode::Differs, "another late outcome is kept")),
                None if open_until_ms.is_none() => {
                    return Err(ApiError::new(ErrorCode::Closed, "the task was lost too long ago"));
                }
                None => {
                    refuse_short(task, &finish)?;
                    self.change_task(id, |task| task.late = Some(finish));
                    self.wake += 1;
                }
            },
            Phase::Ended { end: End::Canceled | End::Unlaunched, .. } => return Err(canceled()),
            Phase::Queued { .. } | Phase::Leased { .. } | Phase::Claimed { .. } => {
                return Err(ApiError::new(ErrorCode::NotStarted, "confirm first"));
            }
        }
        Ok(Reply::Finished(self.recorded(id)))
    }

    fn recorded(&self, id: &TaskId) -> Finished {
        let Some(task) = self.tasks.get(id) else { unreachable!("the task was found a moment ago") };
        let log_bytes = task.log_bytes;
        match &task.phase {
            Phase::Ended { end: End::Lost, .. } => Finished::Late { log_bytes },
            // Once the time to deliver is over, more asking would change nothing.
            Phase::Ended { open_until_ms: Some(_), .. } => Finished::LogIncomplete { log_bytes },
            Phase::Ended { open_until_ms: None, .. }
            | Phase::Queued { .. }
            | Phase::Leased { .. }
            | Phase::Claimed { .. }
            | Phase::Started { .. }
            | Phase::Unreachable { .. } => Finished::Whole,
        }
    }
}

/// A log that is longer here than its worker says is another log.
fn refuse_short(task: &Task, finish: &Finish) -> Result<(), ApiError> {
    if finish.log.bytes >= task.log_bytes {
        return Ok(());
    }
    let detail = format!("the log has {} bytes here, not {}", task.log_bytes, finish.log.bytes);
    Err(ApiError::new(ErrorCode::Invalid, detail).at("/data/attributes/log/bytes"))
}

fn same_fence(claimed: Fence, named: Fence) -> Result<(), ApiError> {
    if claimed == named {
        return Ok(());
    }
    let detail = format!("the claim has fence {claimed}, not {named}");
    Err(ApiError::new(ErrorCode::FenceStale, detail).at("/data/attributes/fence"))
}

fn canceled() -> ApiError {
    ApiError::new(ErrorCode::Canceled, "it was canceled before it started; run nothing")
}
