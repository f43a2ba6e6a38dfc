//! Making Jobs: complete, under a name that a repeat finds again, until the answer is known.

use scalr_protocol::agent::{LaunchEventKind, LaunchFailure, ReleaseReason, TaskAt};

use super::{
    Controller, Turn,
    calls::Call,
    effect::{ClusterCall, NoteLevel},
    entry::{Creation, DoorCall, Failure, Standing},
    name::{job_name, with_dice},
    options::CREATE_UNRESOLVED_MS,
    timers::Timer,
};
use crate::{
    cluster::{ClusterError, Job, JobName, JobSpec, Object},
    mutant::{Mutant, planted},
    op::Op,
    scheduler::HoldReason,
};

impl Controller {
    /// Makes the Job of a task that waits for it.
    pub(super) fn launch(&mut self, turn: &mut Turn<'_>, key: &TaskAt) {
        let Some(name) = self.name_of(key) else { return };
        self.board.take_name(&name, key);
        let Some(entry) = self.entry(key) else { return };
        entry.name = Some(name);
        entry.told.hold_due = None;
        self.create(turn, key, 0, false);
    }

    fn name_of(&self, key: &TaskAt) -> Option<JobName> {
        let entry = self.board.get(key)?;
        if let Some(name) = &entry.name {
            return Some(name.clone());
        }
        let grant = entry.grant.as_ref()?;
        let plain = job_name(&self.options.basename, grant, false);
        if self.board.is_name_taken(&plain, key) {
            return Some(job_name(&self.options.basename, grant, true));
        }
        Some(plain)
    }

    pub(super) fn create(&mut self, turn: &mut Turn<'_>, key: &TaskAt, attempts: u32, is_uncertain: bool) {
        let Some(entry) = self.board.get(key) else { return };
        let (Some(grant), Some(name)) = (&entry.grant, &entry.name) else { return };
        let name = if planted(Mutant::JobNameRandom) {
            with_dice(name, self.options.seed ^ self.ops.last().0)
        } else if planted(Mutant::UnansweredCreateRenamed) && attempts > 0 {
            job_name(&self.options.basename, grant, true)
        } else {
            name.clone()
        };
        let spec = JobSpec {
            name,
            task: grant.id.clone(),
            fence: grant.fence,
            action: grant.action,
            stage: grant.stage.clone(),
            run: grant.run.clone(),
            workspace: grant.workspace.clone(),
            workspace_name: grant.workspace_name.clone(),
            environment: grant.environment.clone(),
            environment_name: grant.environment_name.clone(),
            account: grant.account.clone(),
            account_name: grant.account_name.clone(),
            presets: grant.presets.clone(),
        };
        let op = self.call_cluster(turn, Call::Create(key.clone()), ClusterCall::Create(Box::new(spec)));
        if let Some(entry) = self.entry(key) {
            let unanswered = entry.creation.as_ref().map_or(turn.now, |creation| creation.unanswered);
            entry.creation =
                Some(Creation { op: Some(op), sent: turn.now, unanswered, is_uncertain, attempts });
        }
        self.index(turn, key);
    }

    pub(super) fn created(
        &mut self,
        turn: &mut Turn<'_>,
        op: Op,
        key: &TaskAt,
        result: Result<Job, ClusterError>,
    ) {
        let Some(entry) = self.entry(key) else { return };
        let Some(creation) = entry.creation.as_mut().filter(|creation| creation.op == Some(op)) else {
            return;
        };
        creation.op = None;
        // Whatever came of it, the next may be tried.
        self.replan(turn);
        let error = match result {
            Ok(job) if job.task == key.id && job.fence == key.fence => {
                return self.job_created(turn, key, job);
            }
            Ok(_) => ClusterError::Unreachable { detail: "the answer is about another Job".to_owned() },
            Err(error) => error,
        };
        self.note_job(turn, NoteLevel::Warning, format!("making a Job failed: {error}"), key);
        match error {
            ClusterError::Unreachable { .. } | ClusterError::Gone => self.create_unanswered(turn, op, key),
            ClusterError::RateLimited { retry_after_ms } => {
                self.window.halve(turn.now);
                let reason = "the cluster asks to come back later".to_owned();
                self.shut_gate(turn, op, HoldReason::CreateRetry { reason: reason.clone() }, retry_after_ms);
                self.not_created(turn, op, key, HoldReason::CreateRetry { reason }, retry_after_ms);
            }
            ClusterError::QuotaExceeded { detail } => {
                self.shut_gate(turn, op, HoldReason::Quota { detail: detail.clone() }, 0);
                self.not_created(turn, op, key, HoldReason::Quota { detail }, 0);
            }
            ClusterError::NotAllowed { detail } => {
                let reason = format!("the agent may not make Jobs here: {detail}");
                self.shut_gate(turn, op, HoldReason::CreateRetry { reason: reason.clone() }, 0);
                self.not_created(turn, op, key, HoldReason::CreateRetry { reason }, 0);
            }
            ClusterError::Template { detail } => {
                self.shut_gate(turn, op, HoldReason::Template { detail: detail.clone() }, 0);
                self.not_created(turn, op, key, HoldReason::Template { detail }, 0);
            }
            ClusterError::Refused { detail } => self.create_refused(turn, key, detail, false),
            ClusterError::NameTaken if planted(Mutant::NameTakenBelieved) => self.name_believed(turn, key),
            // The next grant has another fence, so its Job has another name.
            ClusterError::NameTaken => {
                let message = "a Job of this name exists for something else".to_owned();
                self.create_refused(turn, key, message, true);
            }
            ClusterError::Over => self.created_before(turn, key),
        }
    }

    fn job_created(&mut self, turn: &mut Turn<'_>, key: &TaskAt, job: Job) {
        let mark = self.ops.last();
        self.planning.gate = None;
        self.timers.clear(&Timer::Gate);
        self.creation_answered(turn, key);
        if let Some(entry) = self.entry(key) {
            if !entry.is_launched {
                entry.is_launched = true;
                entry.launched_at = turn.now;
            }
            if let Some(holding) = &mut entry.holding {
                holding.attempts = 0;
            }
        }
        let message = format!("Job {}", job.name);
        self.note_job(turn, NoteLevel::Info, "Job made", key);
        let change = self.jobs.answered(mark, Object::Job(job));
        self.changed(turn, change);
        self.tell(turn, key, LaunchEventKind::JobCreated, message);
        self.feed_if_needed(turn, crate::cluster::Kind::Jobs);
        self.look(turn, key);
    }

    /// This attempt made no Job; an earlier, unanswered one may have.
    fn not_created(
        &mut self,
        turn: &mut Turn<'_>,
        op: Op,
        key: &TaskAt,
        reason: HoldReason,
        at_least_ms: u64,
    ) {
        if self.board.get(key).and_then(|e| e.creation.as_ref()).is_some_and(|c| c.is_uncertain) {
            return self.repeat(turn, op, key, at_least_ms);
        }
        let is_draining = self.drain.is_some();
        let Some(entry) = self.entry(key) else { return };
        entry.creation = None;
        if let Some(holding) = &mut entry.holding {
            holding.attempts = holding.attempts.saturating_add(1);
            holding.blocked = (!planted(Mutant::RefusedCreateRepeatedAtOnce)).then(|| reason.clone());
            holding.reason = Some(reason);
            let attempts = holding.attempts;
            let at = self.retry_at(turn.now, op, attempts, at_least_ms);
            self.timers.set(Timer::Retry(key.clone()), at);
            if is_draining {
                self.shut(turn, key, DoorCall::Release(ReleaseReason::Drain));
            }
        }
        self.look(turn, key);
    }

    /// The task may be planned again.
    pub(super) fn unblock(&mut self, turn: &mut Turn<'_>, key: &TaskAt) {
        if let Some(holding) = self.entry(key).and_then(|entry| entry.holding.as_mut()) {
            holding.blocked = None;
            self.replan(turn);
        }
    }

    fn create_refused(&mut self, turn: &mut Turn<'_>, key: &TaskAt, detail: String, is_retryable: bool) {
        if let Some(entry) = self.entry(key) {
            if entry.creation.as_ref().is_some_and(|creation| !creation.is_uncertain) {
                entry.creation = None;
            } else {
                self.timers.set(Timer::Create(key.clone()), turn.now + CREATE_UNRESOLVED_MS);
            }
        }
        if self.board.get(key).is_some_and(|entry| entry.holding.is_some() && !entry.is_launched) {
            let call = if self.drain.is_some() {
                DoorCall::Release(ReleaseReason::Drain)
            } else {
                let message = format!("the cluster refused the Job: {detail}");
                let failure =
                    Failure { reason: LaunchFailure::JobRefused, message, diagnostics: detail, is_retryable };
                DoorCall::failed(key.fence, failure)
            };
            self.shut(turn, key, call);
        }
        self.look(turn, key);
    }

    /// Its Job exists, or existed: something may have run. Scalr knows.
    fn created_before(&mut self, turn: &mut Turn<'_>, key: &TaskAt) {
        self.creation_answered(turn, key);
        if let Some(entry) = self.entry(key).filter(|entry| !entry.is_launched) {
            entry.is_witnessed = false;
            entry.is_launched = true;
            entry.launched_at = turn.now;
        }
        self.look(turn, key);
    }

    /// What [`Mutant::NameTakenBelieved`] does: whatever has the name is the task's Job, at work.
    fn name_believed(&mut self, turn: &mut Turn<'_>, key: &TaskAt) {
        if let Some(entry) = self.entry(key) {
            entry.standing = Standing::Started;
        }
        self.created_before(turn, key);
    }
}
