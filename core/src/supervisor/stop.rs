//! Stopping: why, how hard, and by when.
//!
//! A tool gets one interrupt in its whole life and never a SIGTERM, whatever further reasons arrive: for
//! Terraform that is the second interrupt, "exiting immediately", state lost. Then it is waited for, then
//! killed. Only hooks get interrupt, terminate and kill. Once a stop has begun nothing of the user's is
//! begun.
//!
//! What the outcome then says: whatever failed by itself before the stop stays the reason. An apply that ran
//! to its end with exit code 0 has succeeded, whenever the stop came. A plan has succeeded if all that
//! belongs to it was done: a stop that comes when only uploads are left lets them end, one that comes earlier
//! makes the outcome its own, with the plan's exit code if it has one. Anything else is the stop's outcome,
//! that of the first reason; only a force-cancel replaces an earlier one, because it is what ended the tool.

use scalr_protocol::task::{Outcome, TaskErrorCode};

use crate::{
    backoff,
    clock::Millis,
    controller::effect::NoteLevel,
    mutant::{Mutant, planted},
};

use super::{
    Phase, Supervisor,
    effect::{StopSignal, TaskEffect},
    input::{StageEnd, StageFacts},
    options::{EXIT_MARGIN_MS, GRACE_BACKOFF_MS_MAX, GRACE_PATIENCE_MS, KILL_WAIT_MS, RUNNER_GONE_WAIT_MS},
    stages::{Running, StageKind},
    timers::Nearest,
};

/// Why the work is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum StopReason {
    Canceled,
    ForceCanceled,
    Timeout,
    WorkerShutdown,
    LeaseLost,
}

impl StopReason {
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Canceled | Self::ForceCanceled => Outcome::Canceled,
            Self::Timeout | Self::WorkerShutdown | Self::LeaseLost => Outcome::Errored,
        }
    }

    pub(super) fn code(self) -> TaskErrorCode {
        match self {
            Self::Canceled => TaskErrorCode::Canceled,
            Self::ForceCanceled => TaskErrorCode::ForceCanceled,
            Self::Timeout => TaskErrorCode::Timeout,
            Self::WorkerShutdown => TaskErrorCode::WorkerShutdown,
            Self::LeaseLost => TaskErrorCode::LeaseLost,
        }
    }

    /// One sentence for the outcome and the console.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Canceled => "Run canceled",
            Self::ForceCanceled => "Run force-canceled",
            Self::Timeout => "The operation timeout has passed",
            Self::WorkerShutdown => "The worker is being shut down",
            Self::LeaseLost => "Contact with Scalr was lost for too long",
        }
    }
}

/// A stop that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stop {
    pub(super) reason: StopReason,
    since: Millis,
    /// When what still runs is killed.
    pub(super) kill_at: Millis,
}

/// The moments of a SIGTERM's grace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Grace {
    kill_at: Millis,
    /// When stages are given up and the outcome is sent, whatever has become of the log.
    pub(super) finish_by: Millis,
    /// When the process exits in any case.
    pub(super) leave_at: Millis,
}

impl Supervisor {
    /// A SIGTERM, or the runner's word of one.
    pub(super) fn told_to_stop(&mut self, now: Millis, grace_ms: u64, out: &mut Vec<TaskEffect>) {
        if planted(Mutant::SigtermIgnored) {
            return;
        }
        let reserve_ms = self.options.upload_reserve_ms.min(grace_ms / 2);
        let kept_ms = if planted(Mutant::GraceWithoutReserve) { 0 } else { reserve_ms };
        let end = now + grace_ms;
        let new = Grace {
            kill_at: end - kept_ms,
            finish_by: end - kept_ms / 2,
            leave_at: end - EXIT_MARGIN_MS.min(reserve_ms / 4),
        };
        let grace = match self.grace.take() {
            Some(old) if old.leave_at <= new.leave_at => old,
            Some(_) | None => new,
        };
        let kill_at = grace.kill_at;
        self.grace = Some(grace);
        self.delivery.slot.patience_ms = GRACE_PATIENCE_MS;
        self.console.slot.patience_ms = GRACE_PATIENCE_MS;
        match self.phase {
            Phase::New | Phase::Claiming => {
                self.leave_unclaimed("told to stop before the task was claimed", out);
            }
            Phase::Confirming | Phase::Working => self.begin_stop(now, StopReason::WorkerShutdown, out),
            Phase::Delivering | Phase::Over => {}
        }
        if let Some(stop) = &mut self.stop {
            stop.kill_at = stop.kill_at.min(kill_at);
        }
    }

    pub(super) fn begin_stop(&mut self, now: Millis, reason: StopReason, out: &mut Vec<TaskEffect>) {
        match self.phase {
            Phase::Confirming | Phase::Working => {}
            // Before the claim nothing is ours to stop; after the work the outcome is decided.
            Phase::New | Phase::Claiming | Phase::Delivering | Phase::Over => return,
        }
        let kill_at = match reason {
            StopReason::ForceCanceled => now,
            StopReason::Canceled if planted(Mutant::KilledAtOnceOnCancel) => now,
            StopReason::Canceled | StopReason::Timeout | StopReason::LeaseLost => {
                now + self.options.stop_timeout_ms
            }
            StopReason::WorkerShutdown => self.grace.as_ref().map_or(now, |grace| grace.kill_at),
        };
        let is_news = if let Some(stop) = &mut self.stop {
            let is_news = reason == StopReason::ForceCanceled && stop.reason != reason;
            if is_news {
                stop.reason = reason;
            }
            stop.kill_at = stop.kill_at.min(kill_at);
            if planted(Mutant::SecondInterrupt)
                && let Some(running) = &mut self.work.running
            {
                running.interrupted = None;
            }
            is_news
        } else {
            self.stop = Some(Stop { reason, since: now, kill_at });
            self.delivery.until = now + self.options.delivery_max_ms;
            if !planted(Mutant::DrainNotSent) {
                out.push(TaskEffect::Drain);
            }
            true
        };
        if is_news {
            self.log(NoteLevel::Info, &format!("stopping: {}", reason.sentence()), out);
            let line = match reason {
                StopReason::ForceCanceled => format!("{}.", reason.sentence()),
                StopReason::Canceled
                | StopReason::Timeout
                | StopReason::WorkerShutdown
                | StopReason::LeaseLost => format!("{}. Stopping gracefully...", reason.sentence()),
            };
            self.print(now, line, out);
        }
    }

    /// The longest backoff of what is being delivered.
    pub(super) fn delivery_backoff_ms_max(&self) -> u64 {
        if self.grace.is_some() { GRACE_BACKOFF_MS_MAX } else { backoff::LONGEST_MS }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    pub(super) fn is_forced(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.reason == StopReason::ForceCanceled)
    }

    /// When the workload that still runs is killed: never after the server may have given the task up.
    pub(super) fn kill_at(&self) -> Millis {
        match &self.stop {
            Some(stop) if self.renewal.is_over => stop.kill_at,
            Some(stop) => stop.kill_at.min(self.renewal.lost_at()),
            None => Millis::NEVER,
        }
    }

    /// Signals the running stage as far as it is time, and gives it up when nothing helps.
    pub(super) fn escalate(&mut self, now: Millis, out: &mut Vec<TaskEffect>) {
        let Some(running) = self.work.running else { return };
        if let Some(stop) = self.stop {
            let (since, kill_at) = (stop.since, self.kill_at_of(&running, &stop));
            let kind = StageKind::of(running.stage);
            let is_alive = running.killed.is_none() && running.orphaned.is_none();
            let is_kept = planted(Mutant::DeafToolKept) && running.interrupted.is_some();
            if is_alive && now >= kill_at && !is_kept {
                if kind == StageKind::Tool && !self.is_forced() && now > since {
                    self.print(now, "It did not stop in time. Killed.".to_owned(), out);
                }
                self.kill(now, out);
            } else if is_alive {
                self.interrupt(now, kind, out);
            }
        }
        self.give_up(now, out);
    }

    /// When this stage is killed.
    fn kill_at_of(&self, running: &Running, stop: &Stop) -> Millis {
        let finish_by = self.grace.as_ref().map_or(Millis::NEVER, |grace| grace.finish_by);
        let saved_by = (stop.since.max(running.begun) + self.options.stop_timeout_ms).min(finish_by);
        match StageKind::of(running.stage) {
            StageKind::Fetch => stop.since,
            StageKind::Tool | StageKind::Artifact => self.kill_at(),
            StageKind::Hook => {
                let terminated = running.terminated.map(|at| at + self.options.hook_terminate_ms);
                self.kill_at().min(terminated.unwrap_or(Millis::NEVER))
            }
            StageKind::PushState if self.is_forced() => stop.kill_at,
            StageKind::SaveState | StageKind::PushState => saved_by,
        }
    }

    fn interrupt(&mut self, now: Millis, kind: StageKind, out: &mut Vec<TaskEffect>) {
        let Some(running) = &mut self.work.running else { return };
        let op = running.op;
        let is_hook = kind == StageKind::Hook || planted(Mutant::TerminateSentToTool);
        match kind {
            StageKind::Tool | StageKind::Hook if running.interrupted.is_none() => {
                running.interrupted = Some(now);
                out.push(TaskEffect::Signal { op, signal: StopSignal::Interrupt });
            }
            StageKind::Tool | StageKind::Hook if is_hook => {
                let terminate_at = running.interrupted.map(|at| at + self.options.hook_interrupt_ms);
                if running.terminated.is_none() && terminate_at.is_some_and(|at| now >= at) {
                    running.terminated = Some(now);
                    out.push(TaskEffect::Signal { op, signal: StopSignal::Terminate });
                }
            }
            StageKind::Tool
            | StageKind::Hook
            | StageKind::Fetch
            | StageKind::Artifact
            | StageKind::SaveState
            | StageKind::PushState => {}
        }
    }

    /// Kills the running stage, once.
    pub(super) fn kill(&mut self, now: Millis, out: &mut Vec<TaskEffect>) {
        if let Some(running) = &mut self.work.running
            && running.killed.is_none()
        {
            running.killed = Some(now);
            out.push(TaskEffect::Signal { op: running.op, signal: StopSignal::Kill });
        }
    }

    /// When the end of the running stage is no longer waited for.
    fn give_up_at(&self, running: &Running) -> Millis {
        let finish_by = self.grace.as_ref().map_or(Millis::NEVER, |grace| grace.finish_by);
        let killed = running.killed.map_or(Millis::NEVER, |at| at + KILL_WAIT_MS);
        let orphaned = running.orphaned.map_or(Millis::NEVER, |at| at + RUNNER_GONE_WAIT_MS);
        finish_by.min(killed).min(orphaned)
    }

    fn give_up(&mut self, now: Millis, out: &mut Vec<TaskEffect>) {
        let Some(running) = self.work.running else { return };
        if now < self.give_up_at(&running) {
            return;
        }
        let op = running.op;
        let message = match running.orphaned {
            Some(_) => "the command's end was not heard of",
            None => "the stage did not end after it was killed",
        };
        if running.orphaned.is_none() {
            self.kill(now, out);
        }
        let end = StageEnd::Failed {
            code: TaskErrorCode::RunnerLost,
            message: message.to_owned(),
            exit_code: None,
            facts: StageFacts::default(),
        };
        self.stage_ended(now, op, end, out);
    }

    pub(super) fn offer_escalation(&self, nearest: &mut Nearest) {
        let Some(running) = &self.work.running else { return };
        nearest.offer(self.give_up_at(running));
        if let Some(stop) = &self.stop
            && running.killed.is_none()
            && running.orphaned.is_none()
        {
            nearest.offer(self.kill_at_of(running, stop));
            if StageKind::of(running.stage) == StageKind::Hook
                && let (Some(at), None) = (running.interrupted, running.terminated)
            {
                nearest.offer(at + self.options.hook_interrupt_ms);
            }
        }
    }
}
