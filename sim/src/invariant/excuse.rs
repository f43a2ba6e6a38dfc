//! What a scenario takes from the agent's hands: where its clock or its processes are tampered with, some
//! promises can't be kept by anybody.
//!
//! An excuse is only ever for what the project itself says that it can't promise.

use std::collections::BTreeSet;

use crate::{
    fault::{FaultId, What},
    scenario::Scenario,
    world::{
        setup::TaskNumber,
        snag::{Fate, Planned, Snag, Strike, Who},
    },
};

/// The kinds of fault that keep something from Scalr, or Scalr's word from somebody.
pub(super) const OF_SCALR: [FaultId; 14] = [
    FaultId::S1,
    FaultId::S2,
    FaultId::S3,
    FaultId::S4,
    FaultId::S5,
    FaultId::S6,
    FaultId::S7,
    FaultId::S8,
    FaultId::S10,
    FaultId::S11,
    FaultId::A9,
    FaultId::N2,
    FaultId::N3,
    FaultId::N9,
];

/// The kinds by which somebody deletes Jobs.
const DELETING: [FaultId; 4] = [FaultId::K11, FaultId::K12, FaultId::K13, FaultId::K14];

/// Whom something concerns.
#[derive(Clone, Copy, Debug)]
enum Whose {
    All,
    Of(TaskNumber),
}

impl Whose {
    fn of(number: Option<TaskNumber>) -> Self {
        number.map_or(Self::All, Self::Of)
    }

    fn is(self, number: TaskNumber) -> bool {
        match self {
            Self::All => true,
            Self::Of(of) => of == number,
        }
    }
}

/// What is excused in a scenario.
#[derive(Clone, Debug)]
pub(super) struct Excuses {
    /// Whose workers may be suspended, or their clocks run wrong: none of them can stop in time. All, or
    /// those of some tasks.
    losing_time: Vec<Whose>,
    /// Whose Jobs somebody deletes: all, or those of some tasks.
    deleted: Vec<Whose>,
    /// Which runs are canceled, and whether by force.
    canceled: BTreeSet<(u32, bool)>,
}

impl Excuses {
    pub(super) fn of(scenario: &Scenario) -> Self {
        let whats = scenario.faults.iter().map(|fault| &fault.what);
        let strikes: Vec<&Planned> = whats
            .clone()
            .filter_map(|what| match what {
                What::Strike(planned) => Some(planned),
                What::Snag(_) => None,
            })
            .chain(&scenario.world.strikes)
            .collect();
        let snags = whats
            .filter_map(|what| match what {
                What::Snag(snag) => Some(snag),
                What::Strike(_) => None,
            })
            .chain(&scenario.world.snags);
        let canceled = strikes.iter().filter_map(|planned| {
            if let Strike::Cancel { run, force } = planned.what { Some((run, force)) } else { None }
        });
        let deleting = scenario.faults.iter().filter(|fault| DELETING.contains(&fault.id));
        Self {
            losing_time: strikes
                .iter()
                .filter_map(|planned| taken_from(&planned.what))
                .chain(snags.filter_map(taken_by))
                .collect(),
            deleted: deleting
                .map(|fault| match &fault.what {
                    What::Strike(planned) => Whose::of(planned.what.task()),
                    What::Snag(_) => Whose::All,
                })
                .collect(),
            canceled: canceled.collect(),
        }
    }

    /// Whether time may be taken from the workers of this task.
    pub(super) fn loses_time(&self, number: TaskNumber) -> bool {
        self.losing_time.iter().any(|whose| whose.is(number))
    }

    /// Whether somebody may delete Jobs of this task.
    pub(super) fn is_deleted(&self, number: TaskNumber) -> bool {
        self.deleted.iter().any(|whose| whose.is(number))
    }

    /// Whether a user cancels the run of this task.
    pub(super) fn is_canceled(&self, number: TaskNumber, by_force: bool) -> bool {
        self.canceled.contains(&(number.run, by_force))
    }
}

/// From whose workers a strike takes time, if it does.
fn taken_from(strike: &Strike) -> Option<Whose> {
    match strike {
        Strike::Pause { who, .. } | Strike::Drift { who, .. } | Strike::Jump { who, .. } => workers(*who),
        Strike::Snag(snag) => taken_by(snag),
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
        | Strike::Heal => None,
    }
}

/// From whose workers a snag takes time, if it does.
fn taken_by(snag: &Snag) -> Option<Whose> {
    if !matches!(snag.fate, Fate::Pause { .. }) {
        return None;
    }
    match snag.who {
        None => Some(Whose::of(snag.task)),
        Some(who) => workers(who),
    }
}

/// Whose workers these are: all, or those of one task.
fn workers(who: Who) -> Option<Whose> {
    match who {
        Who::Workers => Some(Whose::All),
        Who::WorkersOf(number) => Some(Whose::Of(number)),
        Who::Controllers | Who::Controller(_) => None,
    }
}
