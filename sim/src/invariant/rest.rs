//! What must be left when all is over: nothing.

use scalr_protocol::task::Outcome;

use super::{Checked, Checks, Invariant, Violation};
use crate::words;
use crate::world::{World, snag::CallKind, truth::TaskTruth};

/// The calls that a controller always has in flight: heartbeat, acquire, messages, and two watches.
const STANDING_CALLS_MAX: usize = 6;

impl Checks {
    /// Runs are not over though they should be by now.
    pub fn not_over(&self, world: &World) -> Violation {
        let open = world.truth().tasks().find(|(_, task)| task.end.is_none());
        match open {
            Some((number, task)) => {
                let phase = task.phase().map_or("it was queued", words::milestone);
                let said = task.id.as_ref().and_then(|id| {
                    world.controllers().find_map(|(_, process, brain)| {
                        brain.explain(world.clock_of(process).unwrap_or_default(), id)
                    })
                });
                let said = said.unwrap_or_else(|| "no controller knows of it".to_owned());
                let glance = task.id.as_ref().and_then(|id| world.scalr().glance(id));
                let at = glance.map_or("unknown".to_owned(), |glance| glance.status.to_string());
                let what =
                    format!("it has not ended (it is {at}, and the last of it was that {phase}): {said}");
                self.broken(Invariant::AllOver, Some(number), what)
            }
            None => self.broken(Invariant::AllOver, None, "a run is not over, and it has no task".to_owned()),
        }
    }

    /// Whether nothing is left of what is over.
    pub fn at_rest(&self, world: &World) -> Checked {
        let leak = |what: String| Err(self.broken(Invariant::NoLeak, None, what));
        if let Some((number, process, _)) = world.workers().next() {
            return leak(format!("a worker of {number} lives, {process}"));
        }
        if world.truth().running() > 0 {
            return leak(format!("{} commands of users run", world.truth().running()));
        }
        if let Some(live) = world.cluster().live().next() {
            return leak(format!(
                "a container of {} runs: its {} in {}",
                live.task,
                words::role(live.role),
                live.pod
            ));
        }
        if let Some(job) = world.cluster().jobs().next() {
            return leak(format!("the Job {} is still there", job.name));
        }
        if let Some((key, _)) = world.cluster().pods().next() {
            return leak(format!("the pod {key} is still there"));
        }
        for (seat, process, brain) in world.controllers() {
            let status = brain.status();
            if status.held + status.live + status.creating > 0 {
                return leak(format!("controller {seat} believes in {}", words::status(&status)));
            }
            self.memory_at_rest(process, brain)?;
            let calls = world.calls_of(process).filter(|(kind, _)| *kind != CallKind::LaunchEvents).count();
            if calls > STANDING_CALLS_MAX {
                return leak(format!("controller {seat} has {calls} calls in flight"));
            }
        }
        Ok(())
    }

    /// Once everything has stayed at rest.
    pub fn at_end(&mut self, world: &World) -> Checked {
        for (number, task) in world.truth().tasks() {
            self.require(task.end.is_some(), Invariant::NoTaskLost, number, || "it has no end".to_owned())?;
            let log_bytes =
                task.id.as_ref().and_then(|id| world.scalr().glance(id)).map_or(0, |g| g.log_bytes);
            self.require(log_bytes <= task.console_bytes, Invariant::LogIsPrefix, number, || {
                format!("{log_bytes} bytes of log are stored, of a console of {}", task.console_bytes)
            })?;
            self.log_is_whole(number, task, log_bytes)?;
            self.calls(number, task)?;
        }
        self.volumes(world)?;
        if let Some(what) = world.cluster().faults_in_books() {
            return Err(self.broken(Invariant::NoLeak, None, format!("the cluster's own books: {what}")));
        }
        Ok(())
    }

    /// A worker that has left by itself with all said has left nothing unsaid.
    fn log_is_whole(
        &self,
        number: crate::world::setup::TaskNumber,
        task: &TaskTruth,
        log_bytes: u64,
    ) -> Checked {
        let left = self.tasks.get(&number).and_then(|watched| watched.left);
        // A pod that is stopped leaves its worker only so much time.
        if self.tasks.get(&number).is_some_and(|watched| watched.stopped) {
            return Ok(());
        }
        let is_delivered = left.is_some_and(|(_, exit_code)| exit_code == 0)
            && task
                .end
                .is_some_and(|end| end.outcome.is_some_and(|o| o != Outcome::Canceled) || end.late.is_some());
        self.require(!is_delivered || log_bytes == task.console_bytes, Invariant::LogIsPrefix, number, || {
            format!(
                "its worker left, and {log_bytes} of {} bytes of its console are stored",
                task.console_bytes
            )
        })
    }
}
