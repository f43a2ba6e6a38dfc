//! What goes wrong with nodes, with where they come from, and with cache volumes.
#![expect(clippy::wildcard_enum_match_arm, reason = "its caller tells the kinds apart")]

use super::{Dice, FaultId, What, api};
use crate::world::{
    cluster::fault::{ClusterFault, NodeAim, NodeFault, PodAim, PoolFault, VolumeFault},
    setup::Setup,
    snag::{Moment, Planned, Strike},
};

/// A node: most often that of a task, at a moment of that task.
fn aim(dice: &mut Dice, setup: &Setup, chaos_ms: u64) -> (NodeAim, Moment) {
    if dice.permille(250) {
        let node = NodeAim::Nth(dice.few(0, 3));
        return (node, dice.moment(setup, chaos_ms));
    }
    let task = dice.task(setup);
    let (is, after_ms) = (api::later(dice), dice.spread(1, 20_000));
    (NodeAim::Of(task), dice.at(task, is, after_ms))
}

/// Something that happens to nodes.
pub(super) fn trouble(id: FaultId, dice: &mut Dice, setup: &Setup, chaos_ms: u64) -> What {
    let (node, when) = aim(dice, setup, chaos_ms);
    let for_ms = dice.spread(2_000, 400_000);
    let deleted_after_ms = dice.permille(400).then(|| dice.spread(1_000, 100_000));
    let is_cut_from_scalr = dice.permille(500);
    let fault = match id {
        FaultId::N1 => NodeFault::Lost { node },
        FaultId::N2 if dice.permille(300) => NodeFault::KubeletStopped { node, deleted_after_ms, for_ms },
        FaultId::N2 => NodeFault::Partition { node, is_cut_from_scalr, deleted_after_ms, for_ms },
        FaultId::N3 => {
            let period_ms = dice.spread(1_000, 70_000);
            NodeFault::Flap { node, times: dice.few(2, 4), period_ms }
        }
        FaultId::N4 => NodeFault::SpotReclaim { node, notice_ms: dice.one(&[2_000, 30_000, 120_000]) },
        FaultId::N5 if dice.permille(300) => NodeFault::Cordon { node, for_ms },
        FaultId::N5 => {
            let force_after_ms = dice.permille(500).then(|| dice.spread(1_000, 60_000));
            NodeFault::Drain { node, force_after_ms, for_ms }
        }
        FaultId::N6 => NodeFault::DiskPressure { node, for_ms },
        FaultId::N7 => NodeFault::KubeletRestart { node, for_ms: dice.spread(500, 60_000) },
        FaultId::N8 => NodeFault::Shrink { node, permille: dice.few(0, 800), for_ms },
        _ => {
            let is_fatal = dice.permille(400);
            NodeFault::ZoneOutage { zone: dice.few(0, 2), is_fatal, for_ms }
        }
    };
    What::Strike(Planned { when, what: Strike::Cluster(ClusterFault::Node(fault)) })
}

/// Something that happens to where nodes come from.
pub(super) fn pools(id: FaultId, dice: &mut Dice, setup: &Setup, chaos_ms: u64) -> What {
    let (node, when) = aim(dice, setup, chaos_ms);
    let for_ms = dice.spread(2_000, 400_000);
    let pool = dice.few(0, 1);
    let fault = match id {
        FaultId::C1 => PoolFault::SlowBoot { by_ms: dice.spread(10_000, 400_000), for_ms },
        FaultId::C2 => PoolFault::Stockout { pool, for_ms },
        FaultId::C3 => PoolFault::ScaleDownRace,
        FaultId::C4 => PoolFault::MaxNodes { pool, max: dice.few(0, 2), for_ms },
        _ => PoolFault::Consolidate { node },
    };
    let when = if matches!(id, FaultId::C5) { when } else { dice.moment(setup, chaos_ms) };
    What::Strike(Planned { when, what: Strike::Cluster(ClusterFault::Pool(fault)) })
}

/// Something that happens to cache volumes.
pub(super) fn volumes(id: FaultId, dice: &mut Dice, setup: &Setup, chaos_ms: u64) -> What {
    let (node, when) = aim(dice, setup, chaos_ms);
    let for_ms = dice.spread(2_000, 200_000);
    let fault = match id {
        FaultId::V1 => VolumeFault::Elsewhere { for_ms },
        FaultId::V2 => VolumeFault::Slow { permille: dice.few(1_500, 20_000), for_ms },
        FaultId::V3 => VolumeFault::Wiped { node },
        FaultId::V4 => VolumeFault::Full { for_ms },
        FaultId::V5 => VolumeFault::Corrupt,
        FaultId::V6 => VolumeFault::Locked { for_ms },
        FaultId::V7 => VolumeFault::Emptied { pod: PodAim::Of(dice.task(setup)) },
        _ => VolumeFault::Pinned { zone: dice.few(0, 2), for_ms },
    };
    What::Strike(Planned { when, what: Strike::Cluster(ClusterFault::Volume(fault)) })
}
