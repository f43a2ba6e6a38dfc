//! Where faults must have happened once a hundred thousand scenarios are over: each kind at each phase of a
//! task, but where it can't be, or is luck.
//!
//! The phase is that of the task which a fault concerns, once the fault has happened: what ends a task at
//! once has happened to one that has ended. A kind without a task concerns none.

use std::collections::{BTreeMap, BTreeSet};

use sim::{fault::FaultId, world::truth::Milestone};

/// A kind of fault, and how far its task was.
pub(super) type Cell = (FaultId, Option<Milestone>);

/// From so many scenarios on nothing may be missed.
pub(super) const SURE_FROM: u64 = 100_000;

/// What must have been seen at least once.
pub(super) const MARKS: [&str; 13] = [
    "a Job of a task that is over was deleted",
    "a shut Job was deleted",
    "a task changed hands",
    "a task ended before its start",
    "a task given back by a drain",
    "a task given back for balance",
    "a task was lost",
    "an apply left its state",
    "an outcome after the loss",
    "lost was shortened",
    "the cluster asked for patience",
    "user code outlived the loss",
    "user code was interrupted",
];

use Milestone::{
    ApplyBegan as A, Claimed as Cl, Confirmed as Co, Ended as E, FinishSent as F, Granted as G,
    InitBegan as I, JobAsked as J, MainEnded as M, PlanBegan as P, Queued as Q, WorkerBegan as W,
};

/// Whether it concerns no task too; at which phases it must happen; and why not at others.
type Sure = (bool, &'static [Milestone], &'static str);

const ANY: Sure = (true, &[Q, G, J, W, Cl, Co, I, P, A, M, F, E], "it can be at any");
const JOBS: Sure = (false, &[J, W, Cl, Co, I, P, A, M, F, E], "it is about a Job that is there");
const NODES: Sure = (
    true,
    &[G, J, W, Cl, Co, I, P, A, M, F, E],
    "a node is a task's once there is a Job; before, it is by chance",
);
const WAITS: Sure = (false, &[Q, G], "it lies in wait from the moment its task is queued");

/// Where a kind must happen.
#[expect(clippy::match_same_arms, reason = "one family of faults a line")]
fn sure(id: FaultId) -> Sure {
    use FaultId as K;
    match id {
        K::S1 | K::S11 => (true, &[P, A, M], "a poll about a task is answered late only while its tool runs"),
        K::S2 => (true, &[], "a task that nobody has been given yet"),
        K::S3 => (true, &[W, Cl, Co, I, P, M, F], "of calls about a task most are its worker's"),
        K::S4 => {
            (true, &[W, Cl, Co, I, P, A, M, E], "the call has had its effect: the phase is the next one")
        }
        K::S5 => (true, &[J, W, Cl, Co, I, P, M, F], "of calls about a task most are its worker's"),
        K::S9 => (false, &[Co, I, P, A, M, F, E], "a cancel before the confirm ends the task at once"),
        K::K1 => (false, &[J], "the creation has been carried out, and rarely does a deletion get lost"),
        K::K2 | K::K9 => (false, &[G, J], "it happens to the creation, and to a repeated one"),
        K::K3 | K::K12 => (false, &[Q, G, J], "it waits for the Job from the moment its task is queued"),
        K::K10 | K::K11 | K::K13 | K::P3 => JOBS,
        K::A1 => (true, &[G, W, Cl, I, P, M], "it happens to a call that is about to be sent"),
        K::A2 => (true, &[G, J, W, Cl, I, P, M, F], "it happens to a call that is on its way"),
        K::A3 => {
            (true, &[J, W, Cl, Co, I, P, M, E], "the call has had its effect: the phase is the next one")
        }
        K::A4 => (true, &[J], "of the calls that a controller begins with, one is about a task"),
        K::A6 => (false, &[G, J], "it happens to the creation"),
        K::P1 => (false, &[J, W, Cl, Co, I, P, E], "it comes soon after the Job"),
        K::P2 => (false, &[I, P, A, M, E], "it comes after user code has begun"),
        K::P4 => (false, &[W, Co, I, M], "a killed runner takes its command along: by then that has ended"),
        K::P5 | K::P6 | K::P7 | K::P9 | K::P10 | K::P11 => WAITS,
        K::N1 | K::N9 => (true, &[G, J, W, Cl, Co, I, M, F, E], "what ran on a node that is gone has ended"),
        K::W4 => (true, &[G, J, W, Cl, Co, I, P, A, M, F, E], "half of them wait for something to be told"),
        K::S12 | K::S14 | K::K15 | K::A13 | K::A14 | K::P8 => (false, &[], "it is never drawn"),
        K::S6 | K::S7 | K::S8 | K::S10 | K::S13 => ANY,
        K::K4 | K::K5 | K::K6 | K::K7 | K::K8 | K::K14 => ANY,
        K::W1 | K::W2 | K::W3 | K::W5 | K::W6 | K::W7 | K::W8 | K::W9 | K::W10 | K::W11 => ANY,
        K::A5 | K::A7 | K::A8 | K::A9 | K::A10 | K::A11 | K::A12 => ANY,
        K::C1 | K::C2 | K::C3 | K::C4 => ANY,
        K::N2 | K::N3 | K::N4 | K::N5 | K::N6 | K::N7 | K::N8 | K::C5 => NODES,
        K::V1 | K::V2 | K::V3 | K::V4 | K::V5 | K::V6 | K::V7 | K::V8 => NODES,
    }
}

/// The phases that are told apart: a hook before `init` belongs to it, and once a task is over all is one.
fn folded(phase: Milestone) -> Milestone {
    match phase {
        Milestone::CodeBegan => Milestone::InitBegan,
        Milestone::DeleteAsked | Milestone::WorkerEnded => Milestone::Ended,
        phase @ (Q | G | J | W | Cl | Co | I | P | A | M | F | E) => phase,
    }
}

/// What was hit, what should have been and was not, and what need not.
pub(super) struct Cells {
    pub(super) hit: BTreeSet<Cell>,
    pub(super) missed: Vec<Cell>,
    /// By kind: the phases that were not hit and need not be, and why.
    pub(super) excused: Vec<(FaultId, Vec<Option<Milestone>>, &'static str)>,
}

/// Looks at the faults that have happened.
pub(super) fn look(fired: &BTreeMap<Cell, u64>) -> Cells {
    let hit: BTreeSet<Cell> = fired.keys().map(|(id, phase)| (*id, phase.map(folded))).collect();
    let (mut missed, mut excused) = (Vec::new(), Vec::new());
    for id in FaultId::ALL.iter().copied().filter(|id| id.why_not().is_none()) {
        let (is_of_none, phases, why) = sure(id);
        let all = std::iter::once(None).chain(ANY.1.iter().copied().map(Some));
        let (sure, other): (Vec<_>, Vec<_>) = all
            .filter(|phase| !hit.contains(&(id, *phase)))
            .partition(|phase| phase.map_or(is_of_none, |phase| phases.contains(&phase)));
        missed.extend(sure.into_iter().map(|phase| (id, phase)));
        if !other.is_empty() {
            excused.push((id, other, why));
        }
    }
    Cells { hit, missed, excused }
}

/// A phase as people say it.
pub(super) fn called(phase: Option<Milestone>) -> String {
    phase.map_or("no task".to_owned(), |phase| format!("{phase:?}"))
}
