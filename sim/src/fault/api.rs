//! What goes wrong with the API server, on the way to it, and with what it stores.
#![expect(clippy::wildcard_enum_match_arm, reason = "its caller tells the kinds apart")]

use scalr_core::cluster::Kind;
use scalr_protocol::error::ErrorCode;

use super::{Dice, FaultId, What};
use crate::world::{
    cluster::fault::{ApiFault, ApiTrouble, ClusterFault, PodAim, WatchAim, WatchFault},
    setup::Setup,
    snag::{CallKind, Fate, Leg, Planned, Refusal, Strike},
    truth::Milestone,
};

/// Calls to the API server.
pub(super) fn call(id: FaultId, dice: &mut Dice, setup: &Setup, chaos_ms: u64) -> What {
    let any = dice.one(&[CallKind::List, CallKind::Watch, CallKind::CreateJob, CallKind::DeleteJob]);
    let write = dice.one(&[CallKind::CreateJob, CallKind::CreateJob, CallKind::DeleteJob]);
    let lose = Fate::Lose { after_ms: dice.spread(1, 40_000) };
    let refuse = |code, retry_after_ms| Fate::Refuse(Refusal { code, retry_after_ms });
    let (retry_after_ms, for_ms) = (dice.spread(500, 30_000), dice.spread(1_000, 90_000));
    let (permille, is_spell) = (dice.few(200, 1_000), dice.permille(500));
    let (create, arrived) = (CallKind::CreateJob, Leg::Arrived);
    let spell = |dice: &mut Dice, call, how| {
        let fault = ApiFault::Refuse { call, how, permille, for_ms };
        dice.strike(setup, chaos_ms, Strike::Cluster(ClusterFault::Api(fault)))
    };
    let of_any = dice.permille(600).then_some(any);
    match id {
        FaultId::K1 => dice.snag(setup, write, Leg::Done, lose),
        FaultId::K2 => dice.snag(setup, write, arrived, lose),
        FaultId::K4 => spell(dice, of_any, ApiTrouble::Conflict),
        FaultId::K5 if is_spell => spell(dice, of_any, ApiTrouble::TooMany { retry_after_ms }),
        FaultId::K5 => dice.snag(setup, any, arrived, refuse(ErrorCode::RateLimited, Some(retry_after_ms))),
        FaultId::K6 if is_spell => {
            let how = if dice.permille(500) { ApiTrouble::Broken } else { ApiTrouble::BrokenAfter };
            spell(dice, of_any, how)
        }
        FaultId::K7 if is_spell => {
            let quota = ApiFault::Quota { jobs: Some(dice.few(0, 2)), pods: None, for_ms };
            dice.strike(setup, chaos_ms, Strike::Cluster(ClusterFault::Api(quota)))
        }
        FaultId::K7 => dice.snag(setup, create, arrived, refuse(ErrorCode::QuotaExceeded, None)),
        FaultId::K8 => {
            let how = dice.below(3);
            let how = [ApiTrouble::Denied, ApiTrouble::WebhookTimeout, ApiTrouble::NoTemplate]
                .into_iter()
                .nth(usize::try_from(how).unwrap_or(0));
            spell(dice, Some(create), how.unwrap_or(ApiTrouble::Denied))
        }
        FaultId::K9 => {
            let by_ms = dice.within(20_000, 55_000);
            dice.snag(setup, write, arrived, Fate::Delay { by_ms })
        }
        _ => dice.snag(setup, any, arrived, refuse(ErrorCode::Internal, None)),
    }
}

/// What is done to Jobs and their store.
pub(super) fn store(id: FaultId, dice: &mut Dice, setup: &Setup, chaos_ms: u64) -> What {
    let task = dice.task(setup);
    let for_ms = dice.spread(1_000, 120_000);
    let pod = PodAim::Of(task);
    let (fault, is) = match id {
        FaultId::K3 => (ClusterFault::Api(ApiFault::TakeName { task, for_ms }), Milestone::Queued),
        FaultId::K10 => (ClusterFault::Api(ApiFault::KeepJob { task, for_ms }), Milestone::JobAsked),
        FaultId::K11 if dice.permille(500) => {
            (ClusterFault::Api(ApiFault::Recreate { task }), Milestone::JobAsked)
        }
        FaultId::K11 => (ClusterFault::Api(ApiFault::Copy { task }), Milestone::JobAsked),
        FaultId::K12 => (ClusterFault::Api(ApiFault::ExpireAtOnce { for_ms }), Milestone::Queued),
        FaultId::K13 if dice.permille(500) => {
            (ClusterFault::Api(ApiFault::UserDeletesJob { task }), Milestone::JobAsked)
        }
        FaultId::K13 => {
            let is_forced = dice.permille(500);
            (ClusterFault::Api(ApiFault::UserDeletesPod { pod, is_forced }), Milestone::JobAsked)
        }
        _ => {
            let what = Strike::Cluster(ClusterFault::Api(ApiFault::NamespaceEnds { for_ms }));
            return dice.strike(setup, chaos_ms, what);
        }
    };
    let is = if is == Milestone::JobAsked { later(dice) } else { is };
    let after_ms = dice.spread(1, 20_000);
    let when = dice.at(task, is, after_ms);
    What::Strike(Planned { when, what: Strike::Cluster(fault) })
}

/// Any milestone from the Job on.
pub(super) fn later(dice: &mut Dice) -> Milestone {
    dice.one(&[
        Milestone::JobAsked,
        Milestone::JobAsked,
        Milestone::WorkerBegan,
        Milestone::Claimed,
        Milestone::Confirmed,
        Milestone::CodeBegan,
        Milestone::InitBegan,
        Milestone::PlanBegan,
        Milestone::ApplyBegan,
        Milestone::MainEnded,
        Milestone::FinishSent,
        Milestone::Ended,
    ])
}

/// What watches say, and what lists do.
pub(super) fn watch(id: FaultId, dice: &mut Dice, setup: &Setup, chaos_ms: u64) -> What {
    let after_ms = dice.spread(1, 40_000);
    let for_ms = dice.spread(1_000, 120_000);
    let by_ms = dice.spread(10, 20_000);
    let kind = dice.one(&[None, Some(Kind::Jobs), Some(Kind::Pods)]);
    let nth = dice.permille(400).then(|| dice.few(0, 5));
    let watch = WatchAim { kind, nth };
    let server = dice.few(0, 1);
    let is_error = dice.permille(500);
    let fault = match id {
        FaultId::W1 if dice.permille(500) => WatchFault::Delay { watch, by_ms, for_ms },
        FaultId::W1 => return dice.snag(setup, CallKind::WatchEvent, Leg::Done, Fate::Delay { by_ms }),
        FaultId::W2 => WatchFault::Stall { watch, for_ms: dice.within(20_000, 300_000) },
        FaultId::W3 => WatchFault::Coalesce { watch, for_ms },
        FaultId::W4 if dice.permille(500) => WatchFault::Cut { watch, is_error },
        FaultId::W4 => {
            return dice.snag(setup, CallKind::WatchEvent, Leg::Done, Fate::Lose { after_ms });
        }
        FaultId::W5 if dice.permille(500) => WatchFault::Compact,
        FaultId::W5 | FaultId::W8 => WatchFault::Gone { watch },
        FaultId::W9 => WatchFault::Gap { watch, for_ms },
        FaultId::W10 => {
            let watch = WatchAim { kind: Some(dice.one(&[Kind::Jobs, Kind::Pods])), nth: None };
            WatchFault::Delay { watch, by_ms, for_ms }
        }
        FaultId::W11 => WatchFault::Bookmarks,
        _ => WatchFault::ServerLag { server, by_ms, for_ms },
    };
    dice.strike(setup, chaos_ms, Strike::Cluster(ClusterFault::Watch(fault)))
}
