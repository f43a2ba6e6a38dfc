//! How a process ends: told to, killed, reaped, or by itself; and who comes after it.
//!
//! It must never take back what a process has sent.

use scalr_core::controller::input::Input;

use super::{
    super::{
        World,
        cluster::{Role, Stimulus},
        event::{Event, Mail},
        setup::TaskNumber,
        snag::{CallKind, Fate, Identity, Leg, Rebirth},
    },
    Brain, Next, Process, ProcessId,
};

/// The longest wait between two lives of a controller that ends by itself, as a kubelet's.
const RESTART_MS_MAX: u64 = 300_000;

/// The grace of a worker that is told to stop by nobody's order but a scenario's: that of the chart.
const GRACE_MS: u64 = 360_000;

impl World {
    /// SIGTERM. A worker's comes from its pod, with the grace that the pod has.
    pub(in super::super) fn terminate(&mut self, id: ProcessId, rebirth: Option<Rebirth>) {
        let Some(process) = self.processes.get(&id) else { return };
        match &process.brain {
            Brain::Controller { seat, .. } => {
                let place = *seat as usize;
                let grace_ms = self.setup.controllers[place].grace_ms;
                self.seats[place].rebirth.plan(rebirth);
                self.push(self.now + grace_ms, u64::from(id.0), Event::Reap { process: id, rebirth });
                // By its mailbox: a step is carried out to its end before the next begins.
                let mail = Mail::Input(Input::Stop { grace_ms });
                self.push(self.now, u64::from(id.0), Event::Mail { process: id, mail });
            }
            Brain::Worker(shell) => {
                let pod = shell.pod;
                let grace_ms = self.setup.workers.grace_ms.unwrap_or(GRACE_MS);
                self.push(self.now + grace_ms, u64::from(id.0), Event::Reap { process: id, rebirth });
                self.terminate_pod(pod, grace_ms);
            }
        }
    }

    /// SIGKILL.
    pub(in super::super) fn kill(&mut self, id: ProcessId, rebirth: Option<Rebirth>) {
        let Some(process) = self.processes.get(&id) else { return };
        match &process.brain {
            Brain::Controller { seat, .. } => {
                let place = *seat as usize;
                self.seats[place].rebirth.plan(rebirth);
                self.controller_ended(id);
            }
            Brain::Worker(shell) => {
                let pod = shell.pod;
                self.kill_container(pod, Role::Worker, false);
            }
        }
    }

    /// The grace of a process is over.
    pub(in super::super) fn reap(&mut self, id: ProcessId, rebirth: Option<Rebirth>) {
        let process = self.processes.get(&id);
        if process.is_some_and(|process| !process.is_suspended() && process.worker().is_none()) {
            self.truth.overstay(self.now, id);
        }
        self.kill(id, rebirth);
    }

    /// A controller's process is gone, for whatever reason.
    pub(in super::super) fn controller_ended(&mut self, id: ProcessId) {
        let Some(process) = self.forget_process(id) else { return };
        let Brain::Controller { seat: place, .. } = process.brain else { return };
        let restart_ms = self.setup.controllers[place as usize].restart_ms;
        let seat = &mut self.seats[place as usize];
        seat.process = None;
        let Rebirth { after_ms, identity } = match std::mem::take(&mut seat.rebirth) {
            Next::Nothing => return,
            Next::Another(rebirth) => {
                seat.crashes = 0;
                rebirth
            }
            Next::Unplanned => {
                let after_ms = (restart_ms << seat.crashes.min(16)).min(RESTART_MS_MAX);
                seat.crashes += 1;
                Rebirth { after_ms, identity: Identity::Same }
            }
        };
        match identity {
            Identity::Same => {}
            Identity::NewInstance => seat.instance += 1,
            Identity::NewName => {
                seat.instance += 1;
                seat.name += 1;
            }
        }
        seat.is_coming = true;
        self.push(self.now + after_ms, u64::from(place), Event::Begin { seat: place });
    }

    /// Takes a process out of the world, and its connections with it.
    pub(in super::super) fn forget_process(&mut self, id: ProcessId) -> Option<Box<Process>> {
        let process = self.processes.remove(&id)?;
        self.scalr.hang_up(id);
        if matches!(process.brain, Brain::Controller { .. }) {
            self.react(Stimulus::ClientGone { client: id });
        }
        Some(process)
    }

    /// What happens to a process at some leg of a call. Says whether it can go on.
    pub(in super::super) fn befalls(&mut self, id: ProcessId, fate: &Fate) -> bool {
        match fate {
            Fate::Crash(rebirth) => {
                self.kill(id, Some(*rebirth));
                false
            }
            Fate::Pause { for_ms } => {
                self.pause(id, *for_ms);
                false
            }
            Fate::Terminate => {
                let rebirth = Rebirth { after_ms: 1_000, identity: Identity::NewInstance };
                self.terminate(id, Some(rebirth));
                self.processes.contains_key(&id)
            }
            Fate::Lose { .. } | Fate::Delay { .. } | Fate::Twice { .. } | Fate::Refuse(_) => true,
        }
    }

    /// Whether something happens to a process at this leg, and whether it can go on.
    pub(in super::super) fn passes(
        &mut self,
        id: ProcessId,
        kind: CallKind,
        task: Option<TaskNumber>,
        leg: Leg,
    ) -> bool {
        match self.snag(id, kind, task, leg) {
            Some(fate) => self.befalls(id, &fate),
            None => true,
        }
    }
}
