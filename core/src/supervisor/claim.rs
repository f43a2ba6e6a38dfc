//! From the process's begin to the confirm: register, wait for the runner, start, confirm.
//!
//! Never starts before the runner has answered and the worker is registered, so that a runner which can't
//! come up stays a launch failure; never gives up an unanswered confirm, since the server may have recorded
//! it; and leaves with exit 0, having run nothing, when the server says that the task is not ours.

use scalr_protocol::{agent::Action, task::LeaseAnswer};

use crate::{
    clock::Millis,
    controller::effect::NoteLevel,
    mutant::{Mutant, planted},
    scalr::{Registration, ScalrError},
    task_api::TaskError,
};

use super::{
    Phase, Runner, Supervisor,
    effect::{TaskCall, TaskEffect},
    input::Claim,
    options::{CLAIM_MS_MAX, CONFIRM_BACKOFF_MS_MAX, SIGNALS_WAIT_MS},
    slot,
    stages::Failure,
    timers::Nearest,
};

impl Supervisor {
    pub(super) fn began(&mut self, now: Millis) {
        if self.phase == Phase::New {
            self.phase = Phase::Claiming;
            self.began = now;
        }
    }

    /// Sends what is due before the claim, and leaves when it has taken too long.
    pub(super) fn advance_claim(&mut self, now: Millis, out: &mut Vec<TaskEffect>) {
        if self.phase != Phase::Claiming {
            return;
        }
        if now >= self.runner_deadline() {
            self.leave_unclaimed("the runner did not come up in time", out);
            return;
        }
        if now >= self.began + CLAIM_MS_MAX {
            self.leave_unclaimed("the task could not be claimed in time", out);
            return;
        }
        if !self.is_registered && self.register.is_due(now) {
            let op = self.register.send(&mut self.ops, now);
            out.push(TaskEffect::Call { op, call: TaskCall::Register });
        }
        let is_runner_ready = self.runner == Runner::Ready || planted(Mutant::ClaimsBeforeRunner);
        if self.is_registered && is_runner_ready && self.start.is_due(now) {
            let op = self.start.send(&mut self.ops, now);
            out.push(TaskEffect::Call { op, call: TaskCall::Start });
        }
    }

    fn runner_deadline(&self) -> Millis {
        match self.runner {
            Runner::Awaited => self.began + self.options.runner_wait_ms,
            Runner::Ready | Runner::Gone => Millis::NEVER,
        }
    }

    pub(super) fn offer_claim(&self, nearest: &mut Nearest) {
        if self.phase != Phase::Claiming {
            return;
        }
        nearest.offer(self.runner_deadline());
        nearest.offer(self.began + CLAIM_MS_MAX);
        if !self.is_registered {
            nearest.offer(self.register.wake());
        } else if self.runner == Runner::Ready {
            nearest.offer(self.start.wake());
        }
    }

    /// Nothing was claimed: the launch has failed, and the exit code says so.
    pub(super) fn leave_unclaimed(&mut self, why: &str, out: &mut Vec<TaskEffect>) {
        self.log(NoteLevel::Error, why, out);
        self.exit(1, out);
    }

    pub(super) fn registered(
        &mut self,
        now: Millis,
        answer: Result<Registration, ScalrError>,
        out: &mut Vec<TaskEffect>,
    ) {
        let error = match answer {
            Ok(registration) => {
                self.is_registered = true;
                self.signals.wait_ms = registration.wait_ms_max.min(SIGNALS_WAIT_MS);
                self.register.succeeded(now);
                return;
            }
            Err(error) => error,
        };
        let at_least_ms = match &error {
            ScalrError::RateLimited { retry_after_ms } => *retry_after_ms,
            ScalrError::SessionExpired
            | ScalrError::QuotaExceeded { .. }
            | ScalrError::NameInUse { .. }
            | ScalrError::Unreachable { .. } => 0,
            ScalrError::Unauthorized { .. }
            | ScalrError::Draining
            | ScalrError::ProtocolUnsupported { .. }
            | ScalrError::Refused { .. } => {
                self.leave_unclaimed(&format!("the worker could not be registered: {error}"), out);
                return;
            }
        };
        self.register.failed(now, self.options.seed, at_least_ms);
        if self.register.failed == 1 {
            self.log(NoteLevel::Warning, &format!("registering is tried again: {error}"), out);
        }
    }

    pub(super) fn started(
        &mut self,
        now: Millis,
        answer: Result<Claim, TaskError>,
        out: &mut Vec<TaskEffect>,
    ) {
        let error = match answer {
            Ok(claim) => {
                self.claimed(now, claim, out);
                return;
            }
            Err(error) => error,
        };
        match error {
            TaskError::AlreadyStarted | TaskError::FenceStale if planted(Mutant::RefusedStartRepeated) => {
                self.start.failed(now, self.options.seed, 0);
            }
            TaskError::AlreadyStarted
            | TaskError::FenceStale
            | TaskError::Canceled
            | TaskError::Finished
            | TaskError::ClaimExpired
            | TaskError::Lost
            | TaskError::Closed => self.leave_loser(&error, out),
            TaskError::SessionExpired => {
                self.is_registered = false;
                self.start.failed(now, self.options.seed, 0);
            }
            TaskError::Unreachable { .. } | TaskError::RateLimited { .. } => {
                let at_least_ms = slot::retry_after_ms(&error).unwrap_or(0);
                self.start.failed(now, self.options.seed, at_least_ms);
                if self.start.failed == 1 {
                    self.log(NoteLevel::Warning, &format!("the start is tried again: {error}"), out);
                }
            }
            TaskError::Differs { .. }
            | TaskError::Unauthorized { .. }
            | TaskError::NotFound
            | TaskError::TooLarge { .. }
            | TaskError::DigestMismatch
            | TaskError::Refused { .. } => {
                self.leave_unclaimed(&format!("the task could not be started: {error}"), out);
            }
        }
    }

    /// Somebody else has the task, or nobody may have it. Nothing was run.
    fn leave_loser(&mut self, error: &TaskError, out: &mut Vec<TaskEffect>) {
        self.log(NoteLevel::Info, &format!("nothing was run: {error}"), out);
        self.exit(0, out);
    }

    fn claimed(&mut self, now: Millis, claim: Claim, out: &mut Vec<TaskEffect>) {
        self.phase = Phase::Confirming;
        // Unanswered for this long, it is the server's `lost` or its expired claim that speaks.
        self.delivery.until = now + self.options.delivery_max_ms;
        self.renewal.claimed(now, &claim);
        self.claim = Some(claim);
        if planted(Mutant::UserCodeBeforeConfirm) {
            self.begin_work(now, out);
        }
    }

    /// Nothing stands in the way of the user's code any more.
    fn begin_work(&mut self, now: Millis, out: &mut Vec<TaskEffect>) {
        self.phase = Phase::Working;
        self.delivery.until = Millis::NEVER;
        self.confirmed = now;
        self.plan_work(out);
    }

    /// The confirm is a lease call as all others, but for what its answers mean.
    pub(super) fn confirm_answered(
        &mut self,
        now: Millis,
        answer: Result<LeaseAnswer, TaskError>,
        out: &mut Vec<TaskEffect>,
    ) {
        match answer {
            Ok(answer) => {
                self.renewal.renewed(now);
                self.begin_work(now, out);
                self.obey(now, answer.signal, out);
            }
            Err(error @ (TaskError::ClaimExpired | TaskError::FenceStale))
                if planted(Mutant::ConfirmRepeatedAfterGone) =>
            {
                self.confirm_again(now, &error, out);
            }
            Err(error @ TaskError::Unreachable { .. }) if planted(Mutant::GivesUpUnansweredConfirm) => {
                self.leave_loser(&error, out);
            }
            Err(
                error @ (TaskError::AlreadyStarted
                | TaskError::FenceStale
                | TaskError::Canceled
                | TaskError::Finished
                | TaskError::ClaimExpired
                | TaskError::Lost
                | TaskError::Closed
                | TaskError::Differs { .. }),
            ) => self.leave_loser(&error, out),
            // Whatever else came back, the confirm may be recorded: only a 409 or 410 says that it is not.
            Err(
                error @ (TaskError::Unauthorized { .. }
                | TaskError::SessionExpired
                | TaskError::NotFound
                | TaskError::TooLarge { .. }
                | TaskError::DigestMismatch
                | TaskError::RateLimited { .. }
                | TaskError::Unreachable { .. }
                | TaskError::Refused { .. }),
            ) => self.confirm_again(now, &error, out),
        }
    }

    fn confirm_again(&mut self, now: Millis, error: &TaskError, out: &mut Vec<TaskEffect>) {
        let at_least_ms = slot::retry_after_ms(error).unwrap_or(0);
        let seed = self.options.seed;
        self.renewal.slot.failed_within(now, seed, at_least_ms, CONFIRM_BACKOFF_MS_MAX);
        if self.renewal.slot.failed == 1 {
            self.log(NoteLevel::Warning, &format!("the confirm is tried again: {error}"), out);
        }
    }

    /// Lays out the stages of the claim's action, or says that there are none.
    fn plan_work(&mut self, out: &mut Vec<TaskEffect>) {
        let Some(claim) = &self.claim else { return };
        let action = claim.action;
        let is_supported = match action {
            Action::Plan | Action::Apply => self.options.actions.contains(&action),
            Action::PolicyCheck | Action::CostEstimate | Action::Checkov | Action::Unknown => false,
        };
        if is_supported {
            self.work.lay_out(claim);
        } else {
            self.log(NoteLevel::Error, "the task asks for an action that this worker does not know", out);
            self.work.fail(Failure::unsupported(action));
        }
        // The runner may have gone while the confirm was under way.
        if self.runner == Runner::Gone {
            self.work.fail(Failure::runner_lost("it was gone before the first stage"));
        }
    }

    pub(super) fn runner_ready(&mut self) {
        if self.runner == Runner::Awaited {
            self.runner = Runner::Ready;
        }
    }

    pub(super) fn runner_gone(&mut self, now: Millis, detail: &str, out: &mut Vec<TaskEffect>) {
        if self.runner == Runner::Gone || planted(Mutant::RunnerGoneIgnored) {
            return;
        }
        self.runner = Runner::Gone;
        match self.phase {
            Phase::Claiming => self.leave_unclaimed(&format!("the runner is gone: {detail}"), out),
            Phase::Working => self.runner_lost(now, detail, out),
            // Confirming: the confirm may be recorded, and its answer finds the runner gone.
            Phase::New | Phase::Confirming | Phase::Delivering | Phase::Over => {}
        }
    }
}
