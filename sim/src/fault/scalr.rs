//! What goes wrong between an agent and Scalr.
#![expect(clippy::wildcard_enum_match_arm, reason = "its caller tells the kinds apart")]

use scalr_protocol::error::ErrorCode;

use super::{Dice, FaultId, What};
use crate::world::{
    setup::Setup,
    snag::{CallKind, Fate, Leg, Planned, Refusal, Strike},
    truth::Milestone,
};

/// Every call to Scalr, the ones that matter most more than once.
const CALLS: [CallKind; 28] = [
    CallKind::Register,
    CallKind::Heartbeat,
    CallKind::Heartbeat,
    CallKind::Deregister,
    CallKind::Acquire,
    CallKind::Acquire,
    CallKind::Release,
    CallKind::Release,
    CallKind::LaunchEvents,
    CallKind::LaunchFailed,
    CallKind::LaunchFailed,
    CallKind::LaunchFailed,
    CallKind::WorkerLost,
    CallKind::Messages,
    CallKind::Start,
    CallKind::Start,
    CallKind::Confirm,
    CallKind::Confirm,
    CallKind::Confirm,
    CallKind::Renew,
    CallKind::Signals,
    CallKind::Append,
    CallKind::Append,
    CallKind::BlobGet,
    CallKind::BlobPut,
    CallKind::Finish,
    CallKind::Finish,
    CallKind::Finish,
];

const POLLS: [CallKind; 5] =
    [CallKind::Acquire, CallKind::Messages, CallKind::Signals, CallKind::Signals, CallKind::Signals];

/// Calls and answers that get lost, come late or come twice.
pub(super) fn lost(id: FaultId, dice: &mut Dice, setup: &Setup) -> What {
    let call = dice.one(&CALLS);
    let poll = dice.one(&POLLS);
    let lose = Fate::Lose { after_ms: dice.spread(1, 40_000) };
    match id {
        FaultId::S1 => {
            let by_ms = dice.within(15_000, 90_000);
            dice.snag(setup, poll, Leg::Done, Fate::Delay { by_ms })
        }
        FaultId::S2 => {
            let by_ms = dice.spread(1_000, 60_000);
            dice.snag(setup, CallKind::Acquire, Leg::Arrived, Fate::Delay { by_ms })
        }
        FaultId::S3 if dice.permille(500) => dice.snag(setup, CallKind::Acquire, Leg::Done, lose),
        FaultId::S3 => {
            let after_ms = dice.spread(1, 30_000);
            dice.snag(setup, call, Leg::Arrived, Fate::Twice { after_ms })
        }
        FaultId::S4 => dice.snag(setup, call, Leg::Done, lose),
        FaultId::S11 => dice.snag(setup, poll, Leg::Done, lose),
        _ => dice.snag(setup, call, Leg::Arrived, lose),
    }
}

/// A Scalr that refuses, is slow, or is away.
pub(super) fn broken(id: FaultId, dice: &mut Dice, setup: &Setup, chaos_ms: u64) -> What {
    let for_ms = dice.spread(1_000, 120_000);
    let permille = dice.few(100, 1_000);
    let after_ms = dice.spread(500, 30_000);
    let call = dice.one(&CALLS);
    let busy = Refusal { code: ErrorCode::RateLimited, retry_after_ms: Some(after_ms) };
    let code = dice.one(&[ErrorCode::Internal, ErrorCode::Unavailable]);
    let broken = Refusal { code, retry_after_ms: None };
    let of_controllers = [CallKind::Heartbeat, CallKind::Acquire, CallKind::Messages, CallKind::Release];
    match id {
        FaultId::S6 if dice.permille(500) => dice.snag(setup, call, Leg::Arrived, Fate::Refuse(busy)),
        FaultId::S6 => dice.strike(setup, chaos_ms, Strike::ScalrRefuses { refusal: busy, permille, for_ms }),
        FaultId::S7 => match dice.below(3) {
            0 => dice.snag(setup, call, Leg::Arrived, Fate::Refuse(broken)),
            1 => dice.strike(setup, chaos_ms, Strike::ScalrRefuses { refusal: broken, permille, for_ms }),
            _ => {
                let hangs = dice.permille(400);
                dice.strike(setup, chaos_ms, Strike::ScalrDown { for_ms: for_ms * 2, hangs })
            }
        },
        FaultId::S8 if dice.permille(500) => {
            let (leg, by_ms) = (dice.one(&[Leg::Arrived, Leg::Done]), dice.spread(500, 90_000));
            dice.snag(setup, call, leg, Fate::Delay { by_ms })
        }
        FaultId::S8 => {
            let by_ms = dice.spread(50, 25_000);
            dice.strike(setup, chaos_ms, Strike::ScalrSlow { by_ms, for_ms })
        }
        _ => {
            let code = dice.one(&[ErrorCode::SessionExpired, ErrorCode::InvalidToken]);
            let refusal = Refusal { code, retry_after_ms: None };
            if dice.below(3) == 0 {
                dice.strike(setup, chaos_ms, Strike::RevokePoolToken { is_rotated: true })
            } else {
                let call = dice.one(&of_controllers);
                dice.snag(setup, call, Leg::Arrived, Fate::Refuse(refusal))
            }
        }
    }
}

/// A cancel, at any phase.
pub(super) fn canceled(dice: &mut Dice, setup: &Setup) -> What {
    let is = dice.one(&[
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
        Milestone::MainEnded,
        Milestone::FinishSent,
    ]);
    let when = dice.when(setup, is);
    let run = match when {
        crate::world::snag::Moment::When { task, .. } => task.run,
        crate::world::snag::Moment::At(_) => 0,
    };
    let force = dice.permille(250);
    What::Strike(Planned { when, what: Strike::Cancel { run, force } })
}
