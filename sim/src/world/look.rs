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

    /// Whether a process is suspended.
    pub fn is_suspended(&self, process: ProcessId) -> bool {
        self.processes.get(&process).is_some_and(|process| process.is_suspended())
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
