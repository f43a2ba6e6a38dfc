//! What a scenario takes from the agent's hands: where its clock or its processes are tampered with, some
//! promises can't be kept by anybody.
//!
//! An excuse is only ever for what the project itself says that it can't promise.

use std::collections::BTreeSet;

use crate::{
    fault::{FaultId, What},
    scenario::Scenario,
    world::snag::{Fate, Planned, Snag, Strike, Who},
};

/// The kinds of fault that end in a SIGTERM to a pod.
const STOPPING: [FaultId; 17] = [
    FaultId::K11,
    FaultId::K13,
    FaultId::K14,
    FaultId::P1,
    FaultId::P2,
    FaultId::P3,
    FaultId::N1,
    FaultId::N2,
    FaultId::N3,
    FaultId::N4,
    FaultId::N5,
    FaultId::N6,
    FaultId::N8,
    FaultId::N9,
    FaultId::C3,
    FaultId::C4,
    FaultId::C5,
];

/// What is excused in a scenario.
#[derive(Clone, Debug)]
pub(super) struct Excuses {
    kinds: BTreeSet<FaultId>,
    has_faults: bool,
    /// Workers may be suspended, or their clocks run wrong: none of them can stop in time.
    pub(super) workers_lose_time: bool,
    /// Pods may be told to stop, with whatever grace.
    pub(super) pods_are_stopped: bool,
    /// Which runs are canceled, and whether by force.
    pub(super) canceled: BTreeSet<(u32, bool)>,
}

impl Excuses {
    pub(super) fn of(scenario: &Scenario) -> Self {
        let faults = scenario.faults.iter().map(|fault| &fault.what);
        let strikes: Vec<&Planned> = faults
            .clone()
            .filter_map(|what| match what {
                What::Strike(planned) => Some(planned),
                What::Snag(_) => None,
            })
            .chain(&scenario.world.strikes)
            .collect();
        let snags: Vec<&Snag> = faults
            .filter_map(|what| match what {
                What::Snag(snag) => Some(snag),
                What::Strike(_) => None,
            })
            .chain(&scenario.world.snags)
            .collect();
        let canceled = strikes.iter().filter_map(|planned| match planned.what {
            Strike::Cancel { run, force } => Some((run, force)),
            _ => None,
        });
        Self {
            kinds: scenario.faults.iter().map(|fault| fault.id).collect(),
            has_faults: !strikes.is_empty() || !snags.is_empty(),
            workers_lose_time: strikes.iter().any(|planned| tampers(&planned.what))
                || snags.iter().any(|snag| matches!(snag.fate, Fate::Pause { .. })),
            pods_are_stopped: scenario.faults.iter().any(|fault| STOPPING.contains(&fault.id)),
            canceled: canceled.collect(),
        }
    }

    /// Whether one of these kinds may go wrong.
    pub(super) fn any(&self, kinds: &[FaultId]) -> bool {
        kinds.iter().any(|kind| self.kinds.contains(kind))
    }

    /// Whether nothing at all goes wrong but of these kinds.
    pub(super) fn only(&self, kinds: &[FaultId]) -> bool {
        self.kinds.iter().all(|kind| kinds.contains(kind)) && (self.has_faults == !self.kinds.is_empty())
    }
}

/// Whether it takes time from workers.
fn tampers(strike: &Strike) -> bool {
    let is_of_workers = |who: &Who| matches!(who, Who::Workers | Who::WorkersOf(_));
    match strike {
        Strike::Pause { who, .. } | Strike::Drift { who, .. } | Strike::Jump { who, .. } => {
            is_of_workers(who)
        }
        Strike::Snag(snag) => matches!(snag.fate, Fate::Pause { .. }),
        Strike::Approve { .. }
        | Strike::Discard { .. }
        | Strike::Cancel { .. }
        | Strike::Crash { .. }
        | Strike::KillRunner { .. }
        | Strike::Terminate { .. }
        | Strike::Cut { .. }
        | Strike::ScalrDown { .. }
        | Strike::ScalrSlow { .. }
        | Strike::ScalrRefuses { .. }
        | Strike::RevokePoolToken { .. }
        | Strike::Cluster(_)
        | Strike::Heal => false,
    }
}
