//! Which faults a scenario gets: a few kinds, and of those some examples.
#![expect(clippy::wildcard_enum_match_arm, reason = "only these milestones are of one action")]

use super::{Fault, FaultId, What, agents, api, nodes, pods, scalr};
use crate::{
    luck::{Luck, Purpose},
    world::{
        setup::{Setup, TaskNumber},
        snag::{CallKind, Fate, Leg, Moment, Planned, Snag, Strike, Who},
        truth::Milestone,
    },
};
use scalr_protocol::agent::Action;

const DRAW: Purpose = Purpose::named("generate");

/// Dice for making data, one throw after the other.
#[derive(Clone, Debug)]
pub struct Dice {
    luck: Luck,
    object: u64,
    thrown: u64,
}

impl Dice {
    /// The dice of a seed; of two objects, neither moves the other's.
    pub fn new(seed: u64, object: u64) -> Self {
        Self { luck: Luck::new(seed), object, thrown: 0 }
    }

    /// 64 even bits.
    pub fn bits(&mut self) -> u64 {
        self.thrown += 1;
        self.luck.draw(DRAW, self.object, self.thrown)
    }

    /// Even over 0 to `bound` − 1; 0 where the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.thrown += 1;
        self.luck.below(DRAW, self.object, self.thrown, bound)
    }

    /// Even, both ends included.
    pub fn within(&mut self, min: u64, max: u64) -> u64 {
        min + self.below(max.saturating_sub(min) + 1)
    }

    /// As [`within`](Self::within), for small numbers.
    pub fn few(&mut self, min: u32, max: u32) -> u32 {
        u32::try_from(self.within(u64::from(min), u64::from(max))).unwrap_or(max)
    }

    /// Yes in so many of 1000 throws.
    pub fn permille(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    /// Short mostly, long sometimes: even over the orders of magnitude from `min` to `max`, in milliseconds.
    pub fn spread(&mut self, min: u64, max: u64) -> u64 {
        let octaves = u64::from((max / min.max(1)).max(1).ilog2());
        let lowest = min << self.below(octaves + 1);
        self.within(lowest, (lowest * 2).min(max).max(lowest)).min(max)
    }

    /// One of them.
    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        let place = self.below(of.len() as u64);
        of[usize::try_from(place).unwrap_or(0)]
    }

    /// A task of the workload.
    pub(super) fn task(&mut self, setup: &Setup) -> TaskNumber {
        let run = self.few(0, u32::try_from(setup.runs.len().max(1) - 1).unwrap_or(0));
        let is_dry = setup.runs.get(run as usize).is_none_or(|run| run.is_dry);
        let action = if !is_dry && self.permille(400) { Action::Apply } else { Action::Plan };
        TaskNumber { run, action }
    }

    /// A controller.
    pub(super) fn controller(&mut self, setup: &Setup) -> Who {
        let last = u32::try_from(setup.controllers.len().max(1) - 1).unwrap_or(0);
        Who::Controller(self.few(0, last))
    }

    /// A controller, or a task's worker.
    pub(super) fn who(&mut self, setup: &Setup) -> Who {
        if self.permille(550) { self.controller(setup) } else { Who::WorkersOf(self.task(setup)) }
    }

    /// A moment: most often one with a meaning.
    pub(super) fn moment(&mut self, setup: &Setup, chaos_ms: u64) -> Moment {
        if self.permille(300) {
            return Moment::At(self.within(0, chaos_ms));
        }
        let is = self.one(&[
            Milestone::Queued,
            Milestone::Granted,
            Milestone::JobAsked,
            Milestone::WorkerBegan,
            Milestone::Claimed,
            Milestone::Confirmed,
            Milestone::CodeBegan,
            Milestone::InitBegan,
            Milestone::PlanBegan,
            Milestone::ApplyBegan,
            Milestone::ApplyBegan,
            Milestone::MainEnded,
            Milestone::FinishSent,
            Milestone::Ended,
        ]);
        self.when(setup, is)
    }

    /// So much after this has become true of this task for the first time.
    pub(super) fn at(&mut self, task: TaskNumber, is: Milestone, after_ms: u64) -> Moment {
        let action = match is {
            Milestone::PlanBegan => Action::Plan,
            Milestone::ApplyBegan => Action::Apply,
            _ => task.action,
        };
        let task = TaskNumber { action, ..task };
        Moment::When { task, is, nth: 1, after_ms: if self.permille(300) { 0 } else { after_ms } }
    }

    /// When this has become true of a task.
    pub(super) fn when(&mut self, setup: &Setup, is: Milestone) -> Moment {
        let mut task = self.task(setup);
        match is {
            Milestone::PlanBegan => task.action = Action::Plan,
            Milestone::ApplyBegan => task.action = Action::Apply,
            _ => {}
        }
        let after_ms = if self.permille(400) { 0 } else { self.spread(1, 20_000) };
        Moment::When { task, is, nth: 1, after_ms }
    }

    /// Something that happens to calls of a kind.
    pub(super) fn snag(&mut self, setup: &Setup, call: CallKind, leg: Leg, fate: Fate) -> What {
        let is_of_one = call.is_of_a_task() && self.permille(600);
        let task = is_of_one.then(|| self.task(setup));
        let skip = if self.permille(650) { 0 } else { self.few(1, 4) };
        let times = if self.permille(600) { 1 } else { self.few(1, 5) };
        let permille = if self.permille(850) { 1_000 } else { 400 };
        What::Snag(Snag { who: None, call: Some(call), task, leg, skip, times, permille, fate })
    }

    /// Something at a moment.
    pub(super) fn strike(&mut self, setup: &Setup, chaos_ms: u64, what: Strike) -> What {
        What::Strike(Planned { when: self.moment(setup, chaos_ms), what })
    }
}

impl CallKind {
    /// Whether such a call is about one task.
    pub(super) fn is_of_a_task(self) -> bool {
        match self {
            Self::Release
            | Self::LaunchFailed
            | Self::WorkerLost
            | Self::Start
            | Self::Confirm
            | Self::Renew
            | Self::Signals
            | Self::Append
            | Self::BlobGet
            | Self::BlobPut
            | Self::Finish
            | Self::CreateJob
            | Self::DeleteJob => true,
            Self::Register
            | Self::Heartbeat
            | Self::Deregister
            | Self::Acquire
            | Self::LaunchEvents
            | Self::Messages
            | Self::List
            | Self::Watch
            | Self::WatchEvent => false,
        }
    }
}

/// The kinds of fault that a scenario may have, each as often as it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swarm(Vec<FaultId>);

impl Swarm {
    /// A random subset of the catalogue with random weights.
    pub fn draw(dice: &mut Dice) -> Self {
        // From nearly one kind alone to all of them.
        let permille = dice.one(&[60, 150, 300, 1_000]);
        let mut kinds = Vec::new();
        for id in FaultId::ALL.iter().filter(|id| id.why_not().is_none()) {
            if dice.permille(permille) {
                let weight = usize::try_from(dice.within(1, 4)).unwrap_or(1);
                kinds.extend(std::iter::repeat_n(*id, weight));
            }
        }
        if kinds.is_empty() {
            let all: Vec<FaultId> =
                FaultId::ALL.iter().copied().filter(|id| id.why_not().is_none()).collect();
            kinds.push(dice.one(&all));
        }
        Self(kinds)
    }

    /// Only these.
    pub fn of(kinds: &[FaultId]) -> Self {
        Self(kinds.to_vec())
    }

    /// An example of one of its kinds.
    pub fn fault(&self, dice: &mut Dice, setup: &Setup, chaos_ms: u64) -> Option<Fault> {
        let id = dice.one(&self.0);
        example(id, dice, setup, chaos_ms).map(|what| Fault { id, what })
    }
}

/// An example of a kind for this world; none where it could not happen in it.
pub(super) fn example(id: FaultId, dice: &mut Dice, setup: &Setup, chaos_ms: u64) -> Option<What> {
    use FaultId as F;
    Some(match id {
        F::S1 | F::S2 | F::S3 | F::S4 | F::S5 | F::S11 => scalr::lost(id, dice, setup),
        F::S6 | F::S7 | F::S8 | F::S10 => scalr::broken(id, dice, setup, chaos_ms),
        F::S9 => scalr::canceled(dice, setup),
        F::K1 | F::K2 | F::K4 | F::K5 | F::K6 | F::K7 | F::K8 | F::K9 => api::call(id, dice, setup, chaos_ms),
        F::K3 | F::K10 | F::K11 | F::K12 | F::K13 | F::K14 => api::store(id, dice, setup, chaos_ms),
        F::W1 | F::W2 | F::W3 | F::W4 | F::W5 | F::W6 | F::W7 | F::W8 | F::W9 | F::W10 | F::W11 => {
            api::watch(id, dice, setup, chaos_ms)
        }
        F::A1 | F::A2 | F::A3 | F::A4 | F::A6 => agents::crash(id, dice, setup),
        F::S13 | F::A5 | F::A7 | F::A8 | F::A9 | F::A10 | F::A11 | F::A12 => {
            return agents::trouble(id, dice, setup, chaos_ms);
        }
        F::P1 | F::P2 | F::P3 | F::P4 | F::P5 | F::P6 | F::P7 | F::P9 | F::P10 | F::P11 => {
            pods::trouble(id, dice, setup)
        }
        F::N1 | F::N2 | F::N3 | F::N4 | F::N5 | F::N6 | F::N7 | F::N8 | F::N9 => {
            nodes::trouble(id, dice, setup, chaos_ms)
        }
        F::C1 | F::C2 | F::C3 | F::C4 | F::C5 => nodes::pools(id, dice, setup, chaos_ms),
        F::V1 | F::V2 | F::V3 | F::V4 | F::V5 | F::V6 | F::V7 | F::V8 => {
            nodes::volumes(id, dice, setup, chaos_ms)
        }
        F::S12 | F::S14 | F::K15 | F::A13 | F::A14 | F::P8 => return None,
    })
}
