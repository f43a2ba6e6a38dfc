//! What may happen to one task: its life as a list of facts, each looked at once.

use fake_scalr::state::status::TaskStatus;
use scalr_core::{clock::Millis, supervisor::effect::Stage};
use scalr_protocol::{
    agent::{Action, ReleaseReason},
    id::{AgentId, Fence},
    task::Outcome,
};

use super::{Checked, Checks, Invariant};
use crate::{
    fault::FaultId,
    world::{
        World,
        cluster::PodKey,
        process::ProcessId,
        setup::TaskNumber,
        snag::CallKind,
        truth::{Fact, FactKind, TaskTruth},
    },
};

/// What is remembered of a task.
#[derive(Clone, Debug, Default)]
pub(super) struct Watched {
    holder: Option<AgentId>,
    granted: Millis,
    /// How often it was given away for balance since its last Job was asked for.
    rebalanced: u32,
    /// What its workers said, the first time each.
    said: Vec<(ProcessId, Outcome, u64)>,
    /// The worker that ended by itself after its outcome was sent.
    pub(super) left: Option<(ProcessId, i32)>,
    /// A command of it was interrupted, of whom, and when.
    interrupted: Option<(PodKey, Millis)>,
}

/// Killed by SIGKILL.
const KILLED: i32 = 137;

/// Heartbeats follow each other no sooner, and a network adds to that.
const SPACING_MS: u64 = 1_500;

/// How long a tool takes at most from the kill to its end.
const KILL_MS: u64 = 2_000;

/// Calls about a task of one kind that are always few, whatever fails.
const FEW: u64 = 25;

/// One more for so much time: what is repeated is repeated at the longest backoff in the end, and what is
/// polled is polled no faster.
const REPEATED_MS: u64 = 3_000;
const POLLED_MS: u64 = 500;
const APPENDED_MS: u64 = 50;

impl Checks {
    pub(super) fn fact(&mut self, world: &World, fact: &Fact) -> Checked {
        let number = fact.task;
        let Some(truth) = world.truth().task(number) else { return Ok(()) };
        match &fact.what {
            FactKind::Queued
            | FactKind::DoorSent { .. }
            | FactKind::LaunchFailed { .. }
            | FactKind::CreateSent { .. }
            | FactKind::CreateAnswered { .. }
            | FactKind::Renewed { .. }
            | FactKind::Drained { .. }
            | FactKind::Signaled { .. }
            | FactKind::StateLeft { .. }
            | FactKind::UploadSent { .. }
            | FactKind::Uploaded { .. }
            | FactKind::Overstayed { .. } => Ok(()),
            FactKind::Granted { agent, .. } => self.granted(number, truth, agent),
            FactKind::Released { process, reason, .. } => self.released(number, *process, *reason),
            FactKind::JobAsked { process, fence } => {
                self.tasks.entry(number).or_default().rebalanced = 0;
                self.job_asked(world, number, *process, *fence)
            }
            FactKind::DeleteAsked { fence, status, current, is_running, .. } => {
                self.delete_asked(number, truth, (*fence, *status, *current), *is_running)
            }
            FactKind::WorkerBegan { .. } => Ok(()),
            FactKind::WorkerEnded { process, exit_code, .. } => {
                let watched = self.tasks.entry(number).or_default();
                if watched.said.iter().any(|(who, ..)| who == process) {
                    watched.left = Some((*process, *exit_code));
                }
                Ok(())
            }
            FactKind::Claimed { .. } => self.is_not_over(number, truth, "claimed"),
            FactKind::Confirmed { .. } => self.confirmed(number, truth),
            FactKind::CodeBegan { process, pod, stage, is_confirmed, .. } => {
                self.code_began(world, number, (*process, *pod, *stage), *is_confirmed)
            }
            FactKind::CodeEnded { pod, stage, exit_code, .. } => {
                self.code_ended(world, number, *pod, *stage, *exit_code)
            }
            FactKind::Interrupted { pod, nth } => self.interrupted(number, truth, *pod, *nth),
            FactKind::FinishSent { process, outcome, exit_code, log_bytes } => {
                self.finish_sent(number, truth, *process, (*outcome, *exit_code, *log_bytes))
            }
            FactKind::Ended { status, outcome, was_confirmed } => {
                self.ended(world, number, (*status, *outcome), *was_confirmed)
            }
            FactKind::Late { .. } => {
                self.mark("an outcome after the loss");
                Ok(())
            }
        }
    }

    /// What is over stays over.
    fn is_not_over(&self, number: TaskNumber, truth: &TaskTruth, what: &str) -> Checked {
        self.require(truth.end.is_none(), Invariant::MonotoneStatus, number, || {
            format!("it was {what} after its end")
        })
    }

    fn granted(&mut self, number: TaskNumber, truth: &TaskTruth, agent: &AgentId) -> Checked {
        self.is_not_over(number, truth, "granted")?;
        self.require(truth.confirms.is_empty(), Invariant::AtMostOnce, number, || {
            "it was granted again after its confirm".to_owned()
        })?;
        let now = self.now;
        let watched = self.tasks.entry(number).or_default();
        let is_passed_on = watched.holder.as_ref().is_some_and(|holder| holder != agent);
        watched.holder = Some(agent.clone());
        watched.granted = now;
        self.fleet.forget_wait(number);
        if is_passed_on {
            self.mark("a task changed hands");
        }
        Ok(())
    }

    fn released(&mut self, number: TaskNumber, process: ProcessId, reason: ReleaseReason) -> Checked {
        match reason {
            ReleaseReason::Drain => {
                self.mark("a task given back by a drain");
                Ok(())
            }
            ReleaseReason::Rebalance => {
                self.mark("a task given back for balance");
                self.fleet.gave_back(self.now, process);
                // Two controllers may learn of one slot at once; who lost it says so by its next heartbeat.
                let is_race = self.now.since(self.fleet.last_job_asked) <= SPACING_MS;
                let watched = self.tasks.entry(number).or_default();
                let held_ms = self.now.since(watched.granted);
                if !is_race && (watched.rebalanced == 0 || held_ms > SPACING_MS) {
                    watched.rebalanced += 1;
                }
                let times = watched.rebalanced;
                // A controller that dies, or goes blind, after it was given a task can do nothing for it.
                let holds = times <= 1 || !self.excuses.only(&[]);
                self.require(holds, Invariant::RebalanceLaunches, number, || {
                    format!("it was given away for balance {times} times without a launch")
                })
            }
        }
    }

    fn delete_asked(
        &mut self,
        number: TaskNumber,
        truth: &TaskTruth,
        (fence, status, current): (Fence, TaskStatus, Fence),
        is_running: bool,
    ) -> Checked {
        let is_terminal = matches!(status, TaskStatus::Finished | TaskStatus::Lost);
        self.require(is_terminal || fence < current, Invariant::DoorBeforeDelete, number, || {
            format!("its Job is deleted while it is {status:?} under the Job's own fence {}", fence.0)
        })?;
        let is_of_confirm = truth.confirms.iter().any(|confirm| confirm.fence == fence);
        self.mark(if is_terminal {
            "a Job of a task that is over was deleted"
        } else {
            "a shut Job was deleted"
        });
        self.require(!(is_of_confirm && is_running), Invariant::DoorBeforeDelete, number, || {
            "the Job in which it has started is deleted while its worker or runner runs".to_owned()
        })
    }

    fn confirmed(&mut self, number: TaskNumber, truth: &TaskTruth) -> Checked {
        self.is_not_over(number, truth, "confirmed")?;
        self.require(truth.confirms.len() <= 1, Invariant::AtMostOnce, number, || {
            format!("it was confirmed {} times", truth.confirms.len())
        })
    }

    fn code_began(
        &mut self,
        world: &World,
        number: TaskNumber,
        (process, pod, stage): (ProcessId, PodKey, Stage),
        is_confirmed: bool,
    ) -> Checked {
        let Some(truth) = world.truth().task(number) else { return Ok(()) };
        let is_known = truth.confirms.iter().any(|confirm| confirm.process == process);
        if let Some(end) = truth.end {
            let never_started = truth.confirms.is_empty();
            let which = if never_started { Invariant::CancelHonoured } else { Invariant::NoConcurrentExec };
            // Saving what an apply has done is never too late.
            let holds = stage == Stage::PushState || self.excuses.workers_lose_time && !never_started;
            self.require(holds, which, number, || {
                format!("{} begins after its end ({:?}) at {}", stage.name(), end.status, end.at)
            })?;
        }
        self.require(is_confirmed && is_known, Invariant::AtMostOnce, number, || {
            format!("{} begins before the confirm was answered", stage.name())
        })?;
        let mut others = truth.code.iter().rev().skip(1);
        let twice = others.clone().any(|code| code.stage == stage && !matches!(stage, Stage::Hooks(_)));
        self.require(!twice, Invariant::AtMostOnce, number, || {
            format!("{} begins for the second time", stage.name())
        })?;
        let other = others.find(|code| code.to.is_none());
        self.require(other.is_none(), Invariant::NoConcurrentExec, number, || {
            format!("{} begins while other code of it runs", stage.name())
        })?;
        let was_stopped = self.tasks.get(&number).is_some_and(|task| task.interrupted.is_some());
        self.require(!was_stopped || stage == Stage::PushState, Invariant::CancelHonoured, number, || {
            format!("{} begins after the stop", stage.name())
        })?;
        if stage == Stage::Apply {
            self.workspace_is_free(world, number, pod)?;
        }
        Ok(())
    }

    fn workspace_is_free(&self, world: &World, number: TaskNumber, pod: PodKey) -> Checked {
        let runs = &world.setup().runs;
        let Some(own) = runs.get(number.run as usize) else { return Ok(()) };
        let rivals = (0..)
            .zip(runs)
            .filter(|(run, setup)| *run != number.run && !setup.is_dry && setup.workspace == own.workspace);
        for (run, _) in rivals {
            let rival = TaskNumber { run, action: Action::Apply };
            let Some(truth) = world.truth().task(rival) else { continue };
            let runs = truth.code.iter().any(|code| code.to.is_none() && code.pod != pod);
            let holds = !runs || self.excuses.workers_lose_time;
            self.require(holds, Invariant::WorkspaceSerial, number, || {
                format!("its apply begins while that of {rival} runs")
            })?;
        }
        Ok(())
    }

    fn code_ended(
        &mut self,
        world: &World,
        number: TaskNumber,
        pod: PodKey,
        stage: Stage,
        exit_code: i32,
    ) -> Checked {
        let told = self.tasks.get(&number).and_then(|task| task.interrupted);
        let was_told = told.is_some_and(|(of, _)| of == pod);
        // Only a force-cancel kills a tool that was never told to stop; what others kill is theirs.
        let is_ours = self.excuses.only(&[FaultId::S9, FaultId::A1, FaultId::A2, FaultId::A3, FaultId::A7])
            && self.excuses.canceled.contains(&(number.run, false))
            && !self.excuses.canceled.contains(&(number.run, true))
            && self.excuses.only(&[FaultId::S9]);
        let is_tool = matches!(stage, Stage::Init | Stage::Plan | Stage::Show | Stage::Apply);
        self.require(
            !(is_ours && is_tool && exit_code == KILLED && !was_told),
            Invariant::OneInterrupt,
            number,
            || format!("{} was killed without having been told to stop", stage.name()),
        )?;
        if let Some((_, at)) = told.filter(|(of, _)| *of == pod)
            && is_ours
            && exit_code == KILLED
        {
            let waited_ms = self.now.since(at) + KILL_MS;
            let given_ms = world.setup().workers.options.stop_timeout_ms;
            let lost_ms = world.scalr().settings().timings.lost_after_ms;
            let holds = waited_ms >= given_ms.min(lost_ms / 4);
            self.require(holds, Invariant::OneInterrupt, number, || {
                format!("{} was killed {waited_ms} ms after its interrupt", stage.name())
            })?;
        }
        if let Some(end) = world.truth().task(number).and_then(|task| task.end)
            && end.status == TaskStatus::Lost
        {
            self.mark("user code outlived the loss");
        }
        Ok(())
    }

    fn interrupted(&mut self, number: TaskNumber, truth: &TaskTruth, pod: PodKey, nth: u32) -> Checked {
        let running = truth.code.iter().rev().find(|code| code.pod == pod && code.to.is_none());
        let is_hook = running.is_some_and(|code| matches!(code.stage, Stage::Hooks(_)));
        self.mark("user code was interrupted");
        let now = self.now;
        let watched = self.tasks.entry(number).or_default();
        watched.interrupted.get_or_insert((pod, now));
        self.require(nth == 1 || is_hook, Invariant::OneInterrupt, number, || {
            format!("a tool was told to stop for the {nth}th time")
        })
    }

    fn finish_sent(
        &mut self,
        number: TaskNumber,
        truth: &TaskTruth,
        process: ProcessId,
        (outcome, exit_code, log_bytes): (Outcome, Option<i32>, u64),
    ) -> Checked {
        let claim = Invariant::ReportMatchesTruth;
        let is_confirmed = truth.confirms.iter().any(|confirm| confirm.process == process);
        self.require(is_confirmed, claim, number, || {
            "an outcome is sent by a worker that was not confirmed".to_owned()
        })?;
        let own: Vec<_> = truth.code.iter().filter(|code| code.process == process).collect();
        let is_main = |stage: Stage| matches!(stage, Stage::Plan | Stage::Apply);
        let main = own.iter().rev().find(|code| is_main(code.stage));
        let failed = own.iter().find(|code| code.exit_code.is_some_and(|code| code != 0));
        if outcome == Outcome::Succeeded {
            let is_done = main.is_some_and(|main| main.exit_code == Some(0) && !main.is_state_lost);
            self.require(is_done, claim, number, || {
                format!(
                    "success is reported, but its main command ended with {:?}",
                    main.map(|m| m.exit_code)
                )
            })?;
            // A hook after an apply changes nothing of it.
            let is_void = failed.is_some_and(|code| is_void(code.stage));
            self.require(!is_void, claim, number, || "success is reported, but a stage failed".to_owned())?;
        }
        let running = own.iter().find(|code| code.to.is_none());
        let is_cut = !self.excuses.only(&[FaultId::S9]);
        self.require(running.is_none() || is_cut, claim, number, || {
            format!("{outcome:?} is reported while {} runs", running.map_or("", |code| code.stage.name()))
        })?;
        if outcome == Outcome::Canceled {
            let is_asked = [false, true].iter().any(|by| self.excuses.canceled.contains(&(number.run, *by)));
            self.require(is_asked, claim, number, || "canceled is reported, by nobody".to_owned())?;
            let is_done = number.action == Action::Apply && main.is_some_and(|m| m.exit_code == Some(0));
            self.require(!is_done, claim, number, || {
                "canceled is reported of an apply that was done".to_owned()
            })?;
        }
        if let (Some(said), Some(main)) = (exit_code, main)
            && failed.is_none_or(|code| is_main(code.stage))
            && let Some(really) = main.exit_code
        {
            self.require(said == really, claim, number, || {
                format!("exit code {said} is reported, and it was {really}")
            })?;
        }
        self.require(log_bytes <= truth.console_bytes, Invariant::LogIsPrefix, number, || {
            format!("a log of {log_bytes} bytes is reported, of a console of {}", truth.console_bytes)
        })?;
        let watched = self.tasks.entry(number).or_default();
        let before = watched.said.iter().find(|(who, ..)| *who == process).copied();
        match before {
            Some((_, other, _)) => self.require(other == outcome, Invariant::NoTaskLost, number, || {
                format!("two outcomes are sent: {other:?}, then {outcome:?}")
            }),
            None => {
                watched.said.push((process, outcome, log_bytes));
                Ok(())
            }
        }
    }

    fn ended(
        &mut self,
        world: &World,
        number: TaskNumber,
        (status, outcome): (TaskStatus, Option<Outcome>),
        was_confirmed: bool,
    ) -> Checked {
        let Some(truth) = world.truth().task(number) else { return Ok(()) };
        if status == TaskStatus::Lost {
            self.mark("a task was lost");
            // Pushing a state only saves what was done, as long as anybody lets it.
            let runs = truth.code.iter().any(|code| code.to.is_none() && code.stage != Stage::PushState);
            let (lost_ms, is_early) = self.lost_early(world, number);
            if is_early {
                self.mark("lost was shortened");
                return self.require(!runs, Invariant::NoShortenedLost, number, || {
                    format!("lost after {lost_ms} ms by proof, and user code runs")
                });
            }
            return self.require(
                !runs || self.excuses.workers_lose_time,
                Invariant::NoConcurrentExec,
                number,
                || format!("user code runs still after {lost_ms} ms without contact"),
            );
        }
        if was_confirmed && let Some(outcome) = outcome {
            let is_said = self
                .tasks
                .get(&number)
                .is_some_and(|task| task.said.iter().any(|(_, said, _)| *said == outcome));
            self.require(is_said, Invariant::ReportMatchesTruth, number, || {
                format!("it ended as {outcome:?}, which nobody said")
            })?;
        }
        if !was_confirmed {
            self.mark("a task ended before its start");
        }
        Ok(())
    }

    /// For how long nothing was heard of a lost task at least, and whether that is less than lost-after.
    fn lost_early(&self, world: &World, number: TaskNumber) -> (u64, bool) {
        let lost_after_ms = world.scalr().settings().timings.lost_after_ms;
        let confirmed =
            world.truth().task(number).and_then(|task| task.confirms.last()).map(|confirm| confirm.at);
        let since_ms = self.now.since(confirmed.unwrap_or_default());
        (since_ms, since_ms < lost_after_ms)
    }

    /// Looks at what a worker has cost.
    pub(super) fn worker(&mut self, world: &World, number: TaskNumber) -> Checked {
        let Some(truth) = world.truth().task(number) else { return Ok(()) };
        self.calls(number, truth)
    }

    /// A task costs few calls of each kind, and more only with time.
    pub(super) fn calls(&self, number: TaskNumber, truth: &TaskTruth) -> Checked {
        let lived_ms = self.now.since(truth.queued);
        for (kind, calls) in &truth.calls {
            let each_ms = match kind {
                CallKind::Append => APPENDED_MS,
                CallKind::Renew | CallKind::Signals => POLLED_MS,
                _ => REPEATED_MS,
            };
            let most = FEW + lived_ms / each_ms;
            self.require(u64::from(*calls) <= most, Invariant::BoundedApi, number, || {
                format!("{calls} calls of {kind:?} in {lived_ms} ms, expected at most {most}")
            })?;
        }
        Ok(())
    }
}

/// Whether the failure of this stage means that the task has failed.
fn is_void(stage: Stage) -> bool {
    use scalr_protocol::task::HookPhase;
    !matches!(
        stage,
        Stage::Hooks(HookPhase::PostApply | HookPhase::PostPlan) | Stage::PushState | Stage::Show
    )
}
