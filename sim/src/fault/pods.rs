//! What goes wrong with the pods of tasks.
#![expect(clippy::wildcard_enum_match_arm, reason = "its caller tells the kinds apart")]

use super::{Dice, FaultId, What, api};
use crate::world::{
    cluster::fault::{ClusterFault, ImageTrouble, PodAim, PodFault},
    setup::Setup,
    snag::{Planned, Strike},
    truth::Milestone,
};

/// Something that happens to the pods of a task.
pub(super) fn trouble(id: FaultId, dice: &mut Dice, setup: &Setup) -> What {
    let task = dice.task(setup);
    let pod = PodAim::Of(task);
    let for_ms = dice.spread(1_000, 150_000);
    let later = api::later(dice);
    let code = dice.one(&[Milestone::InitBegan, Milestone::PlanBegan, Milestone::ApplyBegan]);
    let (fault, is) = match id {
        FaultId::P1 => {
            let is = dice.one(&[Milestone::JobAsked, Milestone::WorkerBegan, Milestone::Claimed]);
            (PodFault::Evict { pod }, is)
        }
        FaultId::P2 => (PodFault::Evict { pod }, code),
        FaultId::P3 => (PodFault::Preempt { pod, for_ms }, later),
        FaultId::P4 => {
            let is_oom = dice.permille(700);
            let is = if dice.permille(700) { code } else { Milestone::WorkerBegan };
            let after_ms = dice.spread(1, 20_000);
            let when = dice.at(task, is, after_ms);
            return What::Strike(Planned { when, what: Strike::KillRunner { task, is_oom } });
        }
        FaultId::P5 => {
            let by_ms = dice.spread(1_000, 120_000);
            let how = match dice.below(5) {
                0 | 1 => ImageTrouble::Slow { by_ms },
                2 | 3 => ImageTrouble::Refused,
                _ => ImageTrouble::Invalid,
            };
            (PodFault::Images { pod, how, for_ms }, Milestone::Queued)
        }
        FaultId::P6 if dice.permille(500) => (PodFault::CreateError { pod, for_ms }, Milestone::Queued),
        FaultId::P6 => (PodFault::MountError { pod, for_ms }, Milestone::Queued),
        FaultId::P7 => (PodFault::QuietStatus { pod, for_ms }, Milestone::Queued),
        FaultId::P9 => (PodFault::StuckTerminating { pod, for_ms }, Milestone::Queued),
        FaultId::P10 if dice.permille(500) => {
            (PodFault::Crowd { permille: dice.few(500, 1_000), for_ms }, Milestone::Queued)
        }
        FaultId::P10 => (PodFault::Unschedulable { pod, for_ms }, Milestone::Queued),
        _ => {
            // The pull ends when the launch is given up, or nearly so.
            let timeout_ms = setup.controllers.first().map_or(180_000, |first| first.startup_timeout_ms);
            let by_ms = dice.within(timeout_ms.saturating_sub(20_000), timeout_ms + 3_000);
            let how = ImageTrouble::Slow { by_ms };
            (PodFault::Images { pod, how, for_ms: timeout_ms * 2 }, Milestone::Queued)
        }
    };
    let after_ms = if is == Milestone::Queued { 0 } else { dice.spread(1, 20_000) };
    let when = dice.at(task, is, after_ms);
    What::Strike(Planned { when, what: Strike::Cluster(ClusterFault::Pod(fault)) })
}
