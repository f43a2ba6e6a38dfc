//! The last word: what a worker says of how it ended, that it is so, that it says it, and what is lost.

use fake_scalr::state::status::TaskStatus;
use scalr_core::supervisor::effect::Stage;
use scalr_protocol::{agent::Action, blob::BlobKind, task::Outcome};

use super::{Checked, Checks, Invariant, duty::timeout};
use crate::words;
use crate::world::{
    World,
    process::ProcessId,
    setup::TaskNumber,
    truth::{TaskTruth, UserCode},
};

/// Killed by SIGKILL.
pub(super) const KILLED: i32 = 137;

impl Checks {
    pub(super) fn finish_sent(
        &mut self,
        world: &World,
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
        let main = own.iter().rev().find(|code| is_main(code.stage)).copied();
        let failed = own.iter().find(|code| code.exit_code.is_some_and(|code| code != 0)).copied();
        if outcome == Outcome::Succeeded {
            self.has_succeeded(number, main, failed)?;
        } else if failed.is_none() {
            self.went_wrong(world, number, truth, (process, outcome))?;
        }
        let watched = self.tasks.get(&number);
        let running = own.iter().find(|code| code.to.is_none());
        // Where a grace ends, or its own clock says so, it is over for the worker whatever runs.
        let is_cut = watched.is_some_and(|watched| watched.stopped) || self.loses_time(number);
        self.require(running.is_none() || is_cut, claim, number, || {
            let stage = running.map_or("", |code| code.stage.name());
            format!("it is reported to have {} while {stage} runs", words::outcome(outcome))
        })?;
        if outcome == Outcome::Canceled {
            let is_asked = [false, true].iter().any(|by_force| self.is_canceled(number, *by_force));
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
        self.state_kept(world, number, truth, process)?;
        let watched = self.tasks.entry(number).or_default();
        let before = watched.said.iter().find(|(who, ..)| *who == process).copied();
        if let Some((_, other, _)) = before {
            return self.require(other == outcome, Invariant::NoTaskLost, number, || {
                format!("two outcomes are sent: {}, then {}", words::outcome(other), words::outcome(outcome))
            });
        }
        watched.said.push((process, outcome, log_bytes));
        Ok(())
    }

    fn has_succeeded(
        &self,
        number: TaskNumber,
        main: Option<&UserCode>,
        failed: Option<&UserCode>,
    ) -> Checked {
        let claim = Invariant::ReportMatchesTruth;
        let is_done = main.is_some_and(|main| main.exit_code == Some(0) && !main.is_state_lost);
        self.require(is_done, claim, number, || {
            let ended = match main.map(|main| (main.exit_code, main.is_state_lost)) {
                None => "never began".to_owned(),
                Some((None, _)) => "has not ended".to_owned(),
                Some((Some(code), false)) => format!("ended with {code}"),
                Some((Some(code), true)) => format!("ended with {code}, and its state is lost"),
            };
            format!("success is reported, but its main command {ended}")
        })?;
        // A hook after an apply changes nothing of it.
        let is_void = failed.is_some_and(|code| is_void(code.stage));
        self.require(!is_void, claim, number, || "success is reported, but a stage failed".to_owned())?;
        let process = main.map(|main| main.process);
        let has_plan = self.tasks.get(&number).is_some_and(|watched| watched.has_plan == process);
        self.require(has_plan || number.action != Action::Plan, claim, number, || {
            "success is reported, and Scalr does not have the plan".to_owned()
        })
    }

    /// No command has failed: then nobody's code said no, and something else went wrong.
    fn went_wrong(
        &self,
        world: &World,
        number: TaskNumber,
        truth: &TaskTruth,
        (process, outcome): (ProcessId, Outcome),
    ) -> Checked {
        let claim = Invariant::ReportMatchesTruth;
        self.require(outcome != Outcome::Failed, claim, number, || {
            "it is reported to have failed, and no command did".to_owned()
        })?;
        let was_told = self.tasks.get(&number).is_some_and(|watched| watched.signaled.contains_key(&process));
        let is_late = timeout(world, number, truth).is_some_and(|(due, _)| self.now >= due);
        let is_fine = !self.weather.is_foul() && !was_told && !is_late;
        self.require(!is_fine, claim, number, || {
            format!("it is reported to have {}, and nothing went wrong", words::outcome(outcome))
        })
    }

    /// A state that lies in the run's folder has been uploaded by now.
    fn state_kept(
        &self,
        world: &World,
        number: TaskNumber,
        truth: &TaskTruth,
        process: ProcessId,
    ) -> Checked {
        let Some(watched) = self.tasks.get(&number).filter(|watched| watched.state_of == Some(process))
        else {
            return Ok(());
        };
        // A grace may end before, and who loses time loses that for it too.
        let is_pressed = self.is_pressed(number) || self.loses_time(number);
        self.require(watched.state_sent || is_pressed, Invariant::StateKept, number, || {
            "its outcome goes out, and nobody has tried to upload the state that its apply has left"
                .to_owned()
        })?;
        // Whoever stops has only so much time for it, and without a runner nobody can.
        let is_pushed =
            truth.code.iter().any(|code| code.process == process && code.stage == Stage::PushState);
        let is_hindered = is_pressed
            || watched.signaled.contains_key(&process)
            || watched.runner_died.is_some()
            || self.is_canceled(number, true)
            || timeout(world, number, truth).is_some_and(|(due, _)| self.now >= due)
            || self.is_scalr_troubled();
        self.require(is_pushed || is_hindered, Invariant::StateKept, number, || {
            "its outcome goes out, and nobody has tried to push the state that its apply has left".to_owned()
        })?;
        let is_sure = !is_pressed && !self.is_scalr_troubled();
        self.require(watched.state_stored || !is_sure, Invariant::StateKept, number, || {
            "its outcome goes out, and Scalr does not have the state that its apply has left".to_owned()
        })
    }

    /// A file of a worker is on its way, or there.
    #[expect(clippy::unnecessary_wraps, reason = "one of the arms of a match, which are checks")]
    pub(super) fn uploaded(&mut self, number: TaskNumber, kind: BlobKind, is_stored: bool) -> Checked {
        if kind == BlobKind::ErroredState {
            let watched = self.tasks.entry(number).or_default();
            watched.state_sent = true;
            watched.state_stored |= is_stored;
        }
        Ok(())
    }

    /// A worker's process has ended.
    pub(super) fn worker_ended(
        &mut self,
        number: TaskNumber,
        truth: &TaskTruth,
        process: ProcessId,
        exit_code: i32,
    ) -> Checked {
        let watched = self.tasks.entry(number).or_default();
        let has_spoken = watched.said.iter().any(|(who, ..)| *who == process);
        if has_spoken {
            watched.left = Some((process, exit_code));
        }
        let is_pressed = self.is_pressed(number);
        let watched = self.tasks.entry(number).or_default();
        // Who never heard that it was confirmed has run nothing, and has nothing to say once all is over.
        let is_open = truth.end.is_none() && truth.confirms.iter().any(|confirm| confirm.process == process);
        let is_confirmed = watched.acked.contains_key(&process) || is_open;
        if !is_confirmed || exit_code == KILLED || is_pressed || self.loses_time(number) {
            return Ok(());
        }
        self.require(has_spoken, Invariant::LastWord, number, || {
            format!("{process} was confirmed, and leaves without a word")
        })?;
        let is_heard = truth.end.is_some_and(|end| match end.status {
            TaskStatus::Lost => end.late.is_some(),
            TaskStatus::Queued
            | TaskStatus::Leased
            | TaskStatus::Claimed
            | TaskStatus::Started
            | TaskStatus::Unreachable
            | TaskStatus::Finished => true,
        });
        self.require(is_heard, Invariant::LastWord, number, || {
            format!("{process} leaves with {exit_code}, and its outcome is not recorded")
        })
    }

    pub(super) fn ended(
        &mut self,
        world: &World,
        number: TaskNumber,
        (status, outcome): (TaskStatus, Option<Outcome>),
        was_confirmed: bool,
    ) -> Checked {
        let Some(truth) = world.truth().task(number) else { return Ok(()) };
        if status == TaskStatus::Lost {
            return self.is_lost(world, number, truth);
        }
        if was_confirmed && let Some(outcome) = outcome {
            let is_said = self
                .tasks
                .get(&number)
                .is_some_and(|task| task.said.iter().any(|(_, said, _)| *said == outcome));
            self.require(is_said, Invariant::ReportMatchesTruth, number, || {
                format!("it ended as {}, which nobody said", words::outcome(outcome))
            })?;
        }
        if !was_confirmed {
            self.mark("a task ended before its start");
        }
        Ok(())
    }

    fn is_lost(&mut self, world: &World, number: TaskNumber, truth: &TaskTruth) -> Checked {
        self.mark("a task was lost");
        let lost_after_ms = world.scalr().settings().timings.lost_after_ms;
        let confirmed = truth.confirms.last().map(|confirm| confirm.at).unwrap_or_default();
        let lost_ms = self.now.since(confirmed);
        if lost_ms < lost_after_ms {
            self.mark("lost was shortened");
            // By proof: what was confirmed runs nowhere any more, whoever can see it.
            let pod = self.tasks.get(&number).and_then(|watched| watched.pod);
            let live = world.cluster().live().find(|live| Some(live.pod) == pod);
            return self.require(live.is_none(), Invariant::NoShortenedLost, number, || {
                let runs = live.map_or("container", |live| words::role(live.role));
                format!("lost after {lost_ms} ms by proof, and its {runs} runs")
            });
        }
        // Pushing a state only saves what was done, as long as Scalr lets it.
        let runs = truth.code.iter().any(|code| code.to.is_none() && code.stage != Stage::PushState);
        self.require(!runs || self.loses_time(number), Invariant::NoConcurrentExec, number, || {
            format!("user code runs still after {lost_ms} ms without contact")
        })
    }
}

fn is_main(stage: Stage) -> bool {
    matches!(stage, Stage::Plan | Stage::Apply)
}

/// Whether the failure of this stage means that the task has failed.
fn is_void(stage: Stage) -> bool {
    use scalr_protocol::task::HookPhase;
    !matches!(
        stage,
        Stage::Hooks(HookPhase::PostApply | HookPhase::PostPlan) | Stage::PushState | Stage::Show
    )
}
