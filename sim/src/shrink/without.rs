//! A scenario without one of its runs or controllers: the others move up, and faults follow them.
//!
//! It must never leave a fault that names what is not there.

use super::{Fault, Scenario, What};
use crate::world::{
    cluster::ClusterFault,
    setup::TaskNumber,
    snag::{Moment, Planned, Snag, Strike, Who},
};

/// What becomes of the faults of a run that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Orphans {
    /// They are gone too.
    Dropped,
    /// They happen to the first run that is left.
    Adopted,
}

/// The scenario without a run.
pub(super) fn without_run(scenario: &Scenario, gone: u32, orphans: Orphans) -> Scenario {
    let mut smaller = scenario.clone();
    smaller.world.runs.remove(gone as usize);
    let moved = |run: u32| match run.cmp(&gone) {
        std::cmp::Ordering::Less => Some(run),
        std::cmp::Ordering::Equal => (orphans == Orphans::Adopted).then_some(0),
        std::cmp::Ordering::Greater => Some(run - 1),
    };
    let rename = Rename { run: &moved, controller: &Some };
    smaller.faults = scenario.faults.iter().filter_map(|fault| rename.fault(fault)).collect();
    smaller
}

/// The scenario without a controller.
pub(super) fn without_controller(scenario: &Scenario, gone: u32) -> Scenario {
    let mut smaller = scenario.clone();
    smaller.world.controllers.remove(gone as usize);
    let moved = |place: u32| match place.cmp(&gone) {
        std::cmp::Ordering::Less => Some(place),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(place - 1),
    };
    let rename = Rename { run: &Some, controller: &moved };
    smaller.faults = scenario.faults.iter().filter_map(|fault| rename.fault(fault)).collect();
    smaller
}

/// Another numbering of runs and controllers; a fault of one that is gone is gone too.
struct Rename<'a> {
    run: &'a dyn Fn(u32) -> Option<u32>,
    controller: &'a dyn Fn(u32) -> Option<u32>,
}

impl Rename<'_> {
    fn fault(&self, fault: &Fault) -> Option<Fault> {
        let what = match &fault.what {
            What::Snag(snag) => What::Snag(self.snag(snag)?),
            What::Strike(planned) => What::Strike(self.planned(planned)?),
        };
        Some(Fault { id: fault.id, what })
    }

    fn task(&self, task: TaskNumber) -> Option<TaskNumber> {
        Some(TaskNumber { run: (self.run)(task.run)?, ..task })
    }

    fn who(&self, who: Who) -> Option<Who> {
        Some(match who {
            Who::Controller(place) => Who::Controller((self.controller)(place)?),
            Who::WorkersOf(task) => Who::WorkersOf(self.task(task)?),
            Who::Controllers | Who::Workers => who,
        })
    }

    fn snag(&self, snag: &Snag) -> Option<Snag> {
        let task = match snag.task {
            Some(task) => Some(self.task(task)?),
            None => None,
        };
        let who = match snag.who {
            Some(who) => Some(self.who(who)?),
            None => None,
        };
        Some(Snag { who, task, ..snag.clone() })
    }

    fn planned(&self, planned: &Planned) -> Option<Planned> {
        let when = match planned.when {
            Moment::At(at_ms) => Moment::At(at_ms),
            Moment::When { task, is, nth, after_ms } => {
                Moment::When { task: self.task(task)?, is, nth, after_ms }
            }
        };
        let what = match planned.what.clone() {
            Strike::Approve { run } => Strike::Approve { run: (self.run)(run)? },
            Strike::Discard { run } => Strike::Discard { run: (self.run)(run)? },
            Strike::Cancel { run, force } => Strike::Cancel { run: (self.run)(run)?, force },
            Strike::Crash { who, rebirth } => Strike::Crash { who: self.who(who)?, rebirth },
            Strike::KillRunner { task, is_oom } => Strike::KillRunner { task: self.task(task)?, is_oom },
            Strike::Terminate { who, rebirth } => Strike::Terminate { who: self.who(who)?, rebirth },
            Strike::Pause { who, for_ms } => Strike::Pause { who: self.who(who)?, for_ms },
            Strike::Drift { who, drift_ppm } => Strike::Drift { who: self.who(who)?, drift_ppm },
            Strike::Jump { who, ahead_ms } => Strike::Jump { who: self.who(who)?, ahead_ms },
            Strike::Cut { who, from, for_ms } => Strike::Cut { who: self.who(who)?, from, for_ms },
            Strike::Snag(snag) => Strike::Snag(self.snag(&snag)?),
            Strike::Cluster(fault) => Strike::Cluster(self.cluster(&fault)?),
            what @ (Strike::ScalrDown { .. }
            | Strike::ScalrSlow { .. }
            | Strike::ScalrRefuses { .. }
            | Strike::RevokePoolToken { .. }
            | Strike::Heal) => what,
        };
        Some(Planned { when, what })
    }

    /// A fault of the cluster names its tasks wherever it likes: by its JSON.
    fn cluster(&self, fault: &ClusterFault) -> Option<ClusterFault> {
        let mut value = serde_json::to_value(fault).ok()?;
        self.json(&mut value)?;
        serde_json::from_value(value).ok()
    }

    fn json(&self, value: &mut serde_json::Value) -> Option<()> {
        use serde_json::Value;
        match value {
            Value::Object(members) => {
                let is_task =
                    members.len() == 2 && members.contains_key("run") && members.contains_key("action");
                if is_task {
                    let run = u32::try_from(members.get("run")?.as_u64()?).ok()?;
                    members.insert("run".to_owned(), (self.run)(run)?.into());
                    return Some(());
                }
                members.values_mut().try_for_each(|member| self.json(member))
            }
            Value::Array(elements) => elements.iter_mut().try_for_each(|element| self.json(element)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(()),
        }
    }
}
