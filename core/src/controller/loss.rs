//! After the start: what only the controller can see, told to Scalr as a reason, and as proof where it is.
//!
//! It never says that something ended because it is missing.

use scalr_protocol::agent::{TaskAt, WorkerLoss, WorkerLost};

use super::{
    Controller, Turn,
    calls::{Call, Flight, Then},
    effect::{NoteLevel, ScalrCall},
    entry::{DIAGNOSTICS_BYTES_MAX, Entry, Loss, LossLevel, Standing, Telling, cut},
    timers::Timer,
};
use crate::{
    cluster::{Container, Disruption, Job, Pod},
    mutant::{Mutant, planted},
    op::Op,
    scalr::{ScalrError, WorkerLostAnswer},
};

impl Controller {
    /// What follows for a task that runs: a loss is told once a verdict asked for afterwards still says so.
    pub(super) fn look_at_worker(&mut self, turn: &mut Turn<'_>, key: &TaskAt) {
        let Some(entry) = self.board.get(key).filter(|_| !planted(Mutant::LossNeverTold)) else { return };
        let loss = self.lost(entry);
        let mark = self.ops.last();
        let Some(entry) = self.entry(key) else { return };
        let Some(loss) = loss.filter(|loss| loss.level > entry.told_loss) else {
            entry.loss = None;
            return;
        };
        if entry.telling.as_ref().is_some_and(|telling| telling.loss.level >= loss.level) {
            return;
        }
        if entry.loss.as_ref().is_none_or(|(_, known)| known.level < loss.level) {
            entry.loss = Some((mark, loss));
            self.heartbeat_soon(turn);
        }
    }

    /// The heartbeat `op` says that the task runs.
    pub(super) fn confirm_loss(&mut self, turn: &mut Turn<'_>, op: Op, key: &TaskAt) {
        let Some(entry) = self.entry(key) else { return };
        if entry.loss.as_ref().is_some_and(|(mark, _)| *mark < op)
            && entry.telling.as_ref().is_none_or(|telling| telling.op.is_none())
            && let Some((_, loss)) = entry.loss.take()
        {
            // Where less was told already, and is to be told again later, this waits for the same moment.
            let attempts = entry.telling.as_ref().map(|telling| telling.attempts);
            entry.telling = Some(Telling { loss, op: None, attempts: attempts.unwrap_or(0) });
            self.note_job(turn, NoteLevel::Warning, "the worker is lost", key);
            if attempts.is_none() {
                self.tell_loss(turn, key);
            }
        }
    }

    pub(super) fn tell_loss(&mut self, turn: &mut Turn<'_>, key: &TaskAt) {
        if !self.session.is_live() {
            self.session.park(Timer::Loss(key.clone()));
            return;
        }
        let Some(entry) = self.board.get(key) else { return };
        let Some(telling) = entry.telling.as_ref().filter(|telling| telling.op.is_none()) else { return };
        let loss = &telling.loss;
        let request = WorkerLost {
            fence: key.fence,
            reason: loss.reason,
            container: loss.container.map(str::to_owned),
            exit_code: loss.exit_code,
            // The limit is the template's; this process never sees it.
            limit: None,
            ended: loss.level == LossLevel::Proof,
            diagnostics: cut(loss.diagnostics.clone(), DIAGNOSTICS_BYTES_MAX),
        };
        let call = ScalrCall::WorkerLost(key.id.clone(), request);
        let op = self.call_scalr(turn, Call::Lost(key.clone()), call);
        if let Some(telling) = self.entry(key).and_then(|entry| entry.telling.as_mut()) {
            telling.op = Some(op);
        }
    }

    pub(super) fn loss_answered(
        &mut self,
        turn: &mut Turn<'_>,
        op: Op,
        flight: &Flight,
        key: &TaskAt,
        result: Result<WorkerLostAnswer, ScalrError>,
    ) {
        let mark = self.ops.last();
        let (answer, then) = match result {
            Ok(answer) => (Some(answer), None),
            Err(error) => (None, Some(self.scalr_failed(turn, flight, error))),
        };
        let Some(entry) = self.entry(key) else { return };
        let Some(telling) = entry.telling.as_mut().filter(|telling| telling.op == Some(op)) else { return };
        telling.op = None;
        telling.attempts = telling.attempts.saturating_add(1);
        let (level, attempts) = (telling.loss.level, telling.attempts);
        match then {
            Some(Then::Retry(at_least_ms)) => {
                let at = self.retry_at(turn.now, op, attempts, at_least_ms);
                self.timers.set(Timer::Loss(key.clone()), at);
                return;
            }
            Some(Then::Park) => {
                self.timers.set(Timer::Loss(key.clone()), turn.now);
                return;
            }
            // It won't be taken: whoever asks finds it in the log.
            Some(Then::Drop(_)) | None => entry.telling = None,
        }
        match answer {
            Some(WorkerLostAnswer::NotStarted) => {
                // What was lost was only a launch.
                entry.standing = Standing::Unasked;
                entry.standing_mark = mark;
                self.heartbeat_soon(turn);
            }
            Some(WorkerLostAnswer::Finished) => {
                entry.told_loss = LossLevel::Proof;
                self.heartbeat_soon(turn);
            }
            Some(WorkerLostAnswer::Noted) | None => entry.told_loss = entry.told_loss.max(level),
        }
        self.look(turn, key);
    }

    /// Why the worker seems to be lost, if it does.
    fn lost(&self, entry: &Entry) -> Option<Loss> {
        let pods: Vec<&Pod> = self.board.pods_of(entry).collect();
        let level = if self.is_proved_over(entry, &pods) { LossLevel::Proof } else { LossLevel::Reason };
        let loss = |reason, container, exit_code| {
            let diagnostics = self.diagnostics(entry);
            Some(Loss { level, reason, container, exit_code, diagnostics })
        };
        // The one thing that a living worker can't say of its neighbour.
        if let Some((container, exit_code)) = pods.iter().find_map(|pod| out_of_memory(pod)) {
            return loss(WorkerLoss::OomKilled, Some(container), Some(exit_code));
        }
        if pods.is_empty() {
            let is_ended = self.board.jobs_of(entry).all(|job| job.end.is_some());
            return match entry.last_pod {
                Some(reason) => loss(reason, None, None),
                None if entry.jobs.is_empty() => loss(WorkerLoss::Deleted, None, None),
                None if is_ended => loss(WorkerLoss::Exited, None, None),
                None => None,
            };
        }
        // A pod that has not run yet may only look so still.
        let is_alive = |pod: &&Pod| {
            !matches!(pod.worker, Container::Terminated { .. })
                && pod.disruption != Some(Disruption::NodeLost)
        };
        if pods.iter().any(is_alive) {
            return None;
        }
        let pod = pods.iter().max_by_key(|pod| exit_code(&pod.worker).is_some_and(|code| code != 0))?;
        let container = exit_code(&pod.worker).map(|_| "worker");
        loss(how_it_went(pod), container, exit_code(&pod.worker))
    }

    /// Whether every pod that could have run the task is proved over: each one it ever had was seen, each was
    /// seen to end, and no other can come. A pod that is missing proves nothing.
    fn is_proved_over(&self, entry: &Entry, pods: &[&Pod]) -> bool {
        // One whose pod has gone or is about to go is given another.
        let is_last = |job: &Job| {
            job.end.is_some() || pods.iter().any(|p| p.job_uid == job.uid && p.disruption.is_none())
        };
        entry.is_witnessed
            && entry.creation.is_none()
            && self.board.jobs_of(entry).all(|job| entry.podded.contains(&job.uid) && is_last(job))
            && !entry.is_gone_unproved
            && (entry.is_gone_proved || !pods.is_empty())
            && pods.iter().all(|pod| is_proved_over(pod))
    }

    /// A pod is gone: this is how it last looked.
    pub(super) fn pod_gone(&mut self, key: &TaskAt, last: &Pod) {
        let Some(entry) = self.entry(key) else { return };
        if is_proved_over(last) || planted(Mutant::MissingPodReadAsProof) {
            entry.is_gone_proved = true;
        } else {
            entry.is_gone_unproved = true;
        }
        let went = how_it_went(last);
        let is_cut = went == WorkerLoss::Exited && !last.is_proved_over();
        entry.last_pod = Some(if is_cut { WorkerLoss::Deleted } else { went });
    }
}

/// Whether both containers of a pod have ended.
fn is_proved_over(pod: &Pod) -> bool {
    let has_worker_ended = matches!(pod.worker, Container::Terminated { .. });
    pod.is_proved_over() || (has_worker_ended && planted(Mutant::OneContainerReadAsProof))
}

/// Why a pod ended or is ending.
pub(super) fn how_it_went(pod: &Pod) -> WorkerLoss {
    match pod.disruption {
        Some(Disruption::Evicted) => WorkerLoss::Evicted,
        Some(Disruption::Preempted) => WorkerLoss::Preempted,
        Some(Disruption::NodeLost) => WorkerLoss::NodeLost,
        Some(Disruption::Deleted) => WorkerLoss::Deleted,
        None if out_of_memory(pod).is_some() => WorkerLoss::OomKilled,
        None => WorkerLoss::Exited,
    }
}

fn out_of_memory(pod: &Pod) -> Option<(&'static str, i32)> {
    [("runner", &pod.runner), ("worker", &pod.worker)].into_iter().find_map(|(name, container)| {
        match container {
            Container::Terminated { exit_code, is_oom: true } => Some((name, *exit_code)),
            Container::Terminated { is_oom: false, .. } | Container::Waiting | Container::Running => None,
        }
    })
}

fn exit_code(container: &Container) -> Option<i32> {
    match container {
        Container::Terminated { exit_code, .. } => Some(*exit_code),
        Container::Waiting | Container::Running => None,
    }
}
