//! What goes wrong, and when: snags are looked for at every leg of every call, strikes come at their moment.

use std::collections::BTreeMap;

use scalr_core::clock::Millis;

use super::{
    World,
    cluster::{ClusterFault, Role, Stimulus},
    event::Event,
    process::ProcessId,
    setup::{Setup, TaskNumber},
    snag::{CallKind, Fate, Leg, Moment, Peer, Planned, Snag, Strike},
    truth::{FiredWhat, Milestone},
};
use crate::luck::Purpose;

const SNAG: Purpose = Purpose::named("snag");

/// What is to go wrong.
#[derive(Clone, Debug)]
pub(super) struct Strikes {
    snags: Vec<Counted>,
    moments: BTreeMap<(TaskNumber, Milestone, u32), Vec<(usize, u64)>>,
    is_healed: bool,
}

/// A snag, and how often it has been met.
#[derive(Clone, Debug)]
struct Counted {
    snag: Snag,
    met: u32,
    fired: u32,
}

impl Counted {
    fn new(snag: Snag) -> Self {
        Self { snag, met: 0, fired: 0 }
    }
}

impl Strikes {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            snags: setup.snags.iter().cloned().map(Counted::new).collect(),
            moments: BTreeMap::new(),
            is_healed: false,
        }
    }
}

impl World {
    pub(super) fn file_strikes(&mut self) {
        let setup = std::sync::Arc::clone(&self.setup);
        for (index, Planned { when, .. }) in setup.strikes.iter().enumerate() {
            match *when {
                Moment::At(at_ms) => self.push(Millis(at_ms), index as u64, Event::Strike { index }),
                Moment::When { task, is, nth, after_ms } => {
                    self.strikes.moments.entry((task, is, nth)).or_default().push((index, after_ms));
                }
            }
        }
    }

    /// Something has become true of a task.
    pub(super) fn milestone(&mut self, task: TaskNumber, is: Milestone, nth: u32) {
        let Some(strikes) = self.strikes.moments.remove(&(task, is, nth)) else { return };
        for (index, after_ms) in strikes {
            self.push(self.now + after_ms, index as u64, Event::Strike { index });
        }
    }

    /// What happens at this leg of a call, if anything does.
    pub(super) fn snag(
        &mut self,
        id: ProcessId,
        kind: CallKind,
        task: Option<TaskNumber>,
        leg: Leg,
    ) -> Option<Fate> {
        if self.strikes.snags.is_empty() || self.strikes.is_healed {
            return None;
        }
        for number in 0..self.strikes.snags.len() {
            let Counted { snag, met, fired } = &self.strikes.snags[number];
            let fits = snag.leg == leg
                && *fired < snag.times
                && snag.call.is_none_or(|call| call == kind)
                && (snag.task.is_none() || snag.task == task)
                && snag.fate.means_something(kind, leg)
                && self.is_meant(id, snag.who);
            if !fits {
                continue;
            }
            let (met, is_let_through) = (*met, *met < snag.skip);
            let is_unlucky = self.luck.permille(SNAG, number as u64, u64::from(met), snag.permille);
            let counted = &mut self.strikes.snags[number];
            counted.met += 1;
            if is_unlucky && !is_let_through {
                counted.fired += 1;
                let fate = counted.snag.fate.clone();
                self.truth.fire(self.now, FiredWhat::Snag { number, call: kind, leg }, task);
                self.say_snag(&(kind, leg), &fate);
                return Some(fate);
            }
        }
        None
    }

    /// A strike of the setup is due. Says whether it was one.
    pub(super) fn strike_planned(&mut self, index: usize) -> bool {
        let setup = std::sync::Arc::clone(&self.setup);
        let Some(planned) = setup.strikes.get(index) else { return false };
        if self.strikes.is_healed && !planned.what.is_a_users() {
            return false;
        }
        let has_struck = self.strike_now(planned.what.clone());
        if has_struck {
            // What names no task itself concerns the one that it waited for.
            let task = planned.what.task().or(match planned.when {
                Moment::When { task, .. } => Some(task),
                Moment::At(_) => None,
            });
            self.truth.fire(self.now, FiredWhat::Strike(index), task);
        }
        has_struck
    }

    /// Lets something happen. Says whether there was anything for it to happen to.
    pub(super) fn strike_now(&mut self, strike: Strike) -> bool {
        self.say_strike(&strike);
        match strike {
            Strike::Approve { run } => self.approve(run),
            Strike::Discard { run } => return self.discard(run),
            Strike::Cancel { run, force } => return self.cancel(run, force),
            Strike::Crash { who, rebirth } => {
                return self.each(who, |world, id| world.kill(id, rebirth));
            }
            Strike::Terminate { who, rebirth } => {
                return self.each(who, |world, id| world.terminate(id, rebirth));
            }
            Strike::Pause { who, for_ms } => return self.each(who, |world, id| world.pause(id, for_ms)),
            Strike::Drift { who, drift_ppm } => {
                return self.each(who, |world, id| world.change_clock(id, 0, Some(drift_ppm)));
            }
            Strike::Jump { who, ahead_ms } => {
                return self.each(who, |world, id| world.change_clock(id, ahead_ms, None));
            }
            Strike::Cut { who, from, for_ms } => {
                let until = Some(self.now + for_ms);
                let (scalr, cluster) = match from {
                    Peer::Scalr => (until, None),
                    Peer::Cluster => (None, until),
                    Peer::Both => (until, until),
                };
                return self.each(who, |world, id| world.cut(id, scalr, cluster));
            }
            Strike::KillRunner { task, is_oom } => return self.kill_runner_of(task, is_oom),
            Strike::ScalrDown { for_ms, hangs } => self.scalr_down(for_ms, hangs),
            Strike::ScalrSlow { by_ms, for_ms } => self.scalr_slow(by_ms, for_ms),
            Strike::ScalrRefuses { refusal, permille, for_ms } => {
                self.scalr_refuses_for(refusal, permille, for_ms);
            }
            Strike::RevokePoolToken { is_rotated } => self.revoke_pool_token(is_rotated),
            Strike::Snag(snag) => self.strikes.snags.push(Counted::new(snag)),
            Strike::Cluster(fault) => self.react(Stimulus::Fault(fault)),
            Strike::Heal => self.heal(),
        }
        true
    }

    fn each(&mut self, who: super::snag::Who, mut what: impl FnMut(&mut Self, ProcessId)) -> bool {
        let meant = self.processes_of(who);
        for id in &meant {
            what(self, *id);
        }
        !meant.is_empty()
    }

    fn kill_runner_of(&mut self, task: TaskNumber, is_oom: bool) -> bool {
        let pods = self.pods_of(task);
        for pod in &pods {
            self.kill_container(*pod, Role::Runner, is_oom);
        }
        !pods.is_empty()
    }

    /// Everything is whole again.
    fn heal(&mut self) {
        self.strikes.is_healed = true;
        self.heal_scalr();
        self.react(Stimulus::Fault(ClusterFault::Heal));
        let all: Vec<ProcessId> = self.processes.keys().copied().collect();
        for id in all {
            self.cut(id, Some(Millis(0)), Some(Millis(0)));
            self.change_clock(id, 0, Some(0));
            self.resume(id, None);
        }
        for (place, seat) in (0_u32..).zip(self.seats.clone()) {
            if seat.process.is_none() && !seat.is_coming && seat.lives > 0 {
                self.push(self.now, u64::from(place), Event::Begin { seat: place });
            }
        }
    }
}

impl Strike {
    /// Whether a user does it: that goes on after everything has healed.
    fn is_a_users(&self) -> bool {
        match self {
            Self::Approve { .. } | Self::Discard { .. } | Self::Cancel { .. } => true,
            Self::Crash { .. }
            | Self::KillRunner { .. }
            | Self::Terminate { .. }
            | Self::Pause { .. }
            | Self::Drift { .. }
            | Self::Jump { .. }
            | Self::Cut { .. }
            | Self::ScalrDown { .. }
            | Self::ScalrSlow { .. }
            | Self::ScalrRefuses { .. }
            | Self::RevokePoolToken { .. }
            | Self::Snag(_)
            | Self::Cluster(_)
            | Self::Heal => false,
        }
    }

    /// Which task it is about, if it is about one.
    pub(crate) fn task(&self) -> Option<TaskNumber> {
        match self {
            Self::KillRunner { task, .. } => Some(*task),
            Self::Crash { who, .. }
            | Self::Terminate { who, .. }
            | Self::Pause { who, .. }
            | Self::Drift { who, .. }
            | Self::Jump { who, .. }
            | Self::Cut { who, .. } => match who {
                super::snag::Who::WorkersOf(task) => Some(*task),
                super::snag::Who::Controllers
                | super::snag::Who::Controller(_)
                | super::snag::Who::Workers => None,
            },
            Self::Approve { .. }
            | Self::Discard { .. }
            | Self::Cancel { .. }
            | Self::ScalrDown { .. }
            | Self::ScalrSlow { .. }
            | Self::ScalrRefuses { .. }
            | Self::RevokePoolToken { .. }
            | Self::Snag(_)
            | Self::Cluster(_)
            | Self::Heal => None,
        }
    }
}

impl Fate {
    /// Whether this can happen there.
    fn means_something(&self, kind: CallKind, leg: Leg) -> bool {
        let is_watch = matches!(kind, CallKind::Watch | CallKind::WatchEvent);
        match self {
            Self::Crash(_) | Self::Pause { .. } | Self::Terminate => true,
            Self::Lose { .. } => matches!(leg, Leg::Arrived | Leg::Done),
            Self::Delay { .. } => matches!(leg, Leg::Wanted | Leg::Arrived | Leg::Done | Leg::Answered),
            Self::Twice { .. } => leg == Leg::Arrived && !is_watch,
            Self::Refuse(_) => leg == Leg::Arrived,
        }
    }
}
