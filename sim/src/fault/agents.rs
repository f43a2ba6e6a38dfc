//! What goes wrong with the processes of the agent themselves.
#![expect(clippy::wildcard_enum_match_arm, reason = "its caller tells the kinds apart")]

use super::{Dice, FaultId, What};
use crate::world::{
    setup::Setup,
    snag::{CallKind, Fate, Identity, Leg, Peer, Rebirth, Snag, Strike, Who},
};

/// Where a process is killed: every call, and what a watch says.
const CALLS: [CallKind; 21] = [
    CallKind::Register,
    CallKind::Heartbeat,
    CallKind::Acquire,
    CallKind::Acquire,
    CallKind::Release,
    CallKind::LaunchEvents,
    CallKind::LaunchFailed,
    CallKind::WorkerLost,
    CallKind::Start,
    CallKind::Start,
    CallKind::Confirm,
    CallKind::Confirm,
    CallKind::Renew,
    CallKind::Append,
    CallKind::BlobPut,
    CallKind::Finish,
    CallKind::List,
    CallKind::WatchEvent,
    CallKind::CreateJob,
    CallKind::CreateJob,
    CallKind::DeleteJob,
];

fn rebirth(dice: &mut Dice) -> Rebirth {
    let identity = dice.one(&[Identity::Same, Identity::Same, Identity::NewInstance, Identity::NewName]);
    Rebirth { after_ms: dice.spread(10, 30_000), identity }
}

/// A process that dies around a call.
pub(super) fn crash(id: FaultId, dice: &mut Dice, setup: &Setup) -> What {
    let rebirth = rebirth(dice);
    let call = dice.one(&CALLS);
    let leg = match id {
        FaultId::A1 => Leg::Wanted,
        FaultId::A2 => dice.one(&[Leg::Sent, Leg::Arrived]),
        _ => dice.one(&[Leg::Done, Leg::Answered, Leg::Processed]),
    };
    match id {
        FaultId::A4 => {
            let call =
                dice.one(&[CallKind::Register, CallKind::List, CallKind::Heartbeat, CallKind::CreateJob]);
            let (times, skip) = (dice.few(2, 5), dice.few(0, 2));
            let rebirth = Rebirth { after_ms: dice.within(100, 10_000), ..rebirth };
            let who = Some(dice.controller(setup));
            let fate = Fate::Crash(rebirth);
            What::Snag(Snag { who, call: Some(call), task: None, leg, skip, times, permille: 1_000, fate })
        }
        FaultId::A6 => {
            let leg = dice.one(&Leg::ALL);
            dice.snag(setup, CallKind::CreateJob, leg, Fate::Terminate)
        }
        _ => dice.snag(setup, call, leg, Fate::Crash(rebirth)),
    }
}

/// A process that is stopped, suspended, cut off, or whose clock goes wrong.
pub(super) fn trouble(id: FaultId, dice: &mut Dice, setup: &Setup, chaos_ms: u64) -> Option<What> {
    let controller = dice.controller(setup);
    let who = dice.who(setup);
    let mut back = rebirth(dice);
    let for_ms = dice.spread(1_000, 200_000);
    let strike = match id {
        FaultId::S13 => {
            Strike::Cut { who: controller, from: Peer::Scalr, for_ms: dice.within(60_000, 200_000) }
        }
        FaultId::A5 => {
            back.after_ms = dice.within(62_000, 300_000);
            Strike::Crash { who: controller, rebirth: Some(back) }
        }
        FaultId::A7 => Strike::Terminate { who: controller, rebirth: Some(back) },
        FaultId::A8 => {
            // The first one stays, so that somebody does the work.
            let is_first = controller == Who::Controller(0);
            let rebirth =
                (is_first || dice.permille(500)).then_some(Rebirth { identity: Identity::NewName, ..back });
            Strike::Terminate { who: controller, rebirth }
        }
        FaultId::A9 => {
            let from = dice.one(&[Peer::Both, Peer::Scalr, Peer::Cluster]);
            // Often for longer than a server waits.
            let for_ms = if dice.permille(400) { dice.within(100_000, 400_000) } else { for_ms };
            Strike::Cut { who, from, for_ms }
        }
        FaultId::A10 => Strike::Pause { who, for_ms },
        FaultId::A11 => Strike::Jump { who, ahead_ms: dice.spread(100, 3_600_000) },
        FaultId::A12 => {
            let drift_ppm = dice.one(&[-50_000, -500, 200, 1_000, 50_000]);
            Strike::Drift { who, drift_ppm }
        }
        _ => return None,
    };
    Some(dice.strike(setup, chaos_ms, strike))
}
