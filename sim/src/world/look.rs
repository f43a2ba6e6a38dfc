//! What whoever watches may see of a world besides its truth. It changes nothing.

use scalr_core::clock::Millis;

use super::{
    World,
    process::{Brain, ProcessId},
    setup::TaskNumber,
    snag::CallKind,
};

impl World {
    /// When the next event is.
    pub fn next_at(&self) -> Option<Millis> {
        self.heap.next_at()
    }

    /// The calls of a process that are in flight.
    pub fn calls_of(
        &self,
        process: ProcessId,
    ) -> impl Iterator<Item = (CallKind, Option<TaskNumber>)> + use<'_> {
        let flights = self.processes.get(&process).into_iter().flat_map(|process| &process.flights);
        flights.map(|flight| (flight.kind, flight.task))
    }

    /// Whether a process has sent such a call in the last step.
    pub fn has_just_sent(&self, process: ProcessId, kind: CallKind) -> bool {
        let flights = self.processes.get(&process).into_iter().flat_map(|process| &process.flights);
        flights.into_iter().any(|flight| flight.kind == kind && flight.step == self.steps)
    }

    /// What is true, to be made untrue by a test.
    #[cfg(test)]
    pub(crate) fn truth_mut(&mut self) -> &mut super::truth::Truth {
        &mut self.truth
    }

    /// Since when the quietest of a process's watches has said nothing, unless it is suspended.
    pub fn hears_nothing_since(&self, process: ProcessId) -> Option<Millis> {
        let process = self.processes.get(&process).filter(|process| !process.is_suspended())?;
        let watches = process.flights.iter().filter(|flight| flight.kind == CallKind::Watch);
        watches.map(|flight| flight.last_at.max(flight.sent)).min()
    }

    /// Whether the runner of a pod has come up, whatever became of it then.
    pub fn has_runner_answered(&self, pod: super::cluster::PodKey) -> bool {
        self.pods.get(&pod).is_none_or(super::pods::PodRun::has_answered)
    }

    /// Whether a process is suspended.
    pub fn is_suspended(&self, process: ProcessId) -> bool {
        self.processes.get(&process).is_some_and(|process| process.is_suspended())
    }

    /// How often a process has been suspended so far.
    pub fn pauses_of(&self, process: ProcessId) -> u64 {
        self.processes.get(&process).map_or(0, |process| process.pauses)
    }

    /// The controller of a place in the setup, if one lives.
    pub fn controller_at(&self, seat: u32) -> Option<(ProcessId, &scalr_core::controller::Controller)> {
        let id = self.seats.get(seat as usize)?.process?;
        match &self.processes.get(&id)?.brain {
            Brain::Controller { brain, .. } => Some((id, brain)),
            Brain::Worker(_) => None,
        }
    }
}
