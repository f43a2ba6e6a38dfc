//! What runs of the user's: when it may begin, how it is stopped, and never twice.

use scalr_core::supervisor::effect::{Stage, StopSignal};
use scalr_protocol::agent::Action;

use super::{Checked, Checks, Invariant};
use crate::words;
use crate::world::{World, cluster::PodKey, process::ProcessId, setup::TaskNumber, truth::TaskTruth};

impl Checks {
    pub(super) fn code_began(
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
            // Saving what an apply has done is never too late: what is over is lent to nobody, and Scalr
            // takes a state only from who held the lock last. A worker that slept through its own end can't
            // know of it.
            let holds = stage == Stage::PushState || self.loses_time(number) && !never_started;
            self.require(holds, which, number, || {
                format!("{} begins after its end ({}) at {}", stage.name(), end.status, end.at)
            })?;
        }
        self.require(is_confirmed && is_known, Invariant::AtMostOnce, number, || {
            format!("{} begins before the confirm was answered", stage.name())
        })?;
        self.begins_alone(number, truth, stage)?;
        let was_stopped = self.tasks.get(&number).is_some_and(|task| task.interrupted.is_some());
        self.require(!was_stopped || stage == Stage::PushState, Invariant::CancelHonoured, number, || {
            format!("{} begins after the stop", stage.name())
        })?;
        if stage != Stage::PushState {
            self.stops_in_time(world, number, process)?;
        }
        if stage == Stage::Apply {
            self.workspace_is_free(world, number, pod)?;
        }
        Ok(())
    }

    fn begins_alone(&self, number: TaskNumber, truth: &TaskTruth, stage: Stage) -> Checked {
        let mut others = truth.code.iter().rev().skip(1);
        let twice = others.clone().any(|code| code.stage == stage && !matches!(stage, Stage::Hooks(_)));
        self.require(!twice, Invariant::AtMostOnce, number, || {
            format!("{} begins for the second time", stage.name())
        })?;
        let other = others.find(|code| code.to.is_none());
        self.require(other.is_none(), Invariant::NoConcurrentExec, number, || {
            format!("{} begins while other code of it runs", stage.name())
        })
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
            // Who sleeps past lost-after goes on when he wakes, and the next run has begun.
            let holds = !runs || self.loses_time(rival);
            self.require(holds, Invariant::WorkspaceSerial, number, || {
                format!("its apply begins while that of {rival} runs")
            })?;
        }
        Ok(())
    }

    pub(super) fn code_ended(
        &mut self,
        world: &World,
        number: TaskNumber,
        (pod, stage): (PodKey, Stage),
    ) -> Checked {
        let Some(truth) = world.truth().task(number) else { return Ok(()) };
        let of = truth.code.iter().rev().find(|code| code.pod == pod && code.stage == stage);
        if let Some(code) = of.filter(|code| code.stage != Stage::PushState) {
            self.stops_in_time(world, number, code.process)?;
            self.ends_in_time(world, number, code)?;
        }
        if truth.end.is_some_and(|end| end.status == fake_scalr::state::status::TaskStatus::Lost) {
            self.mark("user code outlived the loss");
        }
        Ok(())
    }

    pub(super) fn interrupted(
        &mut self,
        number: TaskNumber,
        truth: &TaskTruth,
        pod: PodKey,
        nth: u32,
    ) -> Checked {
        let running = truth.code.iter().rev().find(|code| code.pod == pod && code.to.is_none());
        let is_hook = running.is_some_and(|code| matches!(code.stage, Stage::Hooks(_)));
        self.mark("user code was interrupted");
        let now = self.now;
        let watched = self.tasks.entry(number).or_default();
        watched.interrupted.get_or_insert((pod, now));
        self.require(nth == 1 || is_hook, Invariant::OneInterrupt, number, || {
            format!("a tool was told to stop for the {} time", words::ordinal(u64::from(nth)))
        })
    }

    /// A worker signals a tool: by one interrupt, and by a kill only after its time.
    pub(super) fn is_given_its_time(
        &self,
        world: &World,
        number: TaskNumber,
        process: ProcessId,
        signal: StopSignal,
    ) -> Checked {
        let Some(truth) = world.truth().task(number) else { return Ok(()) };
        let running = truth.code.iter().rev().find(|code| code.process == process && code.to.is_none());
        let is_tool = |stage| matches!(stage, Stage::Init | Stage::Plan | Stage::Show | Stage::Apply);
        let Some(code) = running.filter(|code| is_tool(code.stage)) else { return Ok(()) };
        self.require(signal != StopSignal::Terminate, Invariant::OneInterrupt, number, || {
            format!("{} gets a SIGTERM", code.stage.name())
        })?;
        let watched = self.tasks.get(&number);
        // A force-cancel kills at once, a grace is as long as it is, and who lost time has none to give.
        let is_forced = self.is_canceled(number, true);
        let is_pressed = watched.is_some_and(|watched| watched.stopped) || self.loses_time(number);
        if signal != StopSignal::Kill || is_forced || is_pressed {
            return Ok(());
        }
        let told = watched.and_then(|watched| watched.signaled.get(&process)).copied();
        self.require(told.is_some(), Invariant::OneInterrupt, number, || {
            format!("{} is killed without having been told to stop", code.stage.name())
        })?;
        let Some(told) = told else { return Ok(()) };
        let given_ms = world.setup().workers.options.stop_timeout_ms;
        let lost_ms = world.scalr().settings().timings.lost_after_ms;
        let acked = watched.and_then(|watched| watched.acked.get(&process)).copied().unwrap_or_default();
        // Never beyond the moment at which the task may be lost.
        let due = (told + given_ms).min(acked + lost_ms);
        self.require(self.now >= due, Invariant::OneInterrupt, number, || {
            format!("{} was told to stop at {told} and is killed before {due}", code.stage.name())
        })
    }
}
