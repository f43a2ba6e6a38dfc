//! What goes wrong on the way of a call, with a process, or with the server: the runs come to their end.

use std::fmt::Write as _;

use fake_scalr::state::status::RunStatus;
use scalr_core::clock::Millis;
use scalr_protocol::error::ErrorCode;

use super::{
    super::{
        World,
        setup::{ClockSetup, Setup},
        snag::{CallKind, Fate, Leg, Moment, Peer, Planned, Refusal, Snag, Strike, Who},
        truth::FiredWhat,
    },
    fixture::{HOUR, assert_applied, check, ends, play, runs, with_controllers},
};

fn snag(call: CallKind, leg: Leg, times: u32, fate: Fate) -> Snag {
    Snag { who: None, call: Some(call), task: None, leg, skip: 0, times, permille: 1_000, fate }
}

fn at(at_ms: u64, what: Strike) -> Planned {
    Planned { when: Moment::At(at_ms), what }
}

/// Every call that is made in a run without trouble.
const CALLS: [CallKind; 18] = [
    CallKind::Register,
    CallKind::Heartbeat,
    CallKind::Acquire,
    CallKind::LaunchEvents,
    CallKind::Messages,
    CallKind::Start,
    CallKind::Confirm,
    CallKind::Renew,
    CallKind::Signals,
    CallKind::Append,
    CallKind::BlobGet,
    CallKind::BlobPut,
    CallKind::Finish,
    CallKind::List,
    CallKind::Watch,
    CallKind::WatchEvent,
    CallKind::CreateJob,
    CallKind::Release,
];

/// Each call meets its fate twice. Says which did.
fn sweep(leg: Leg, fate: &Fate) -> Vec<CallKind> {
    let mut met = Vec::new();
    for call in CALLS {
        let setup = Setup { snags: vec![snag(call, leg, 2, fate.clone())], ..runs(2) };
        let world = play(setup, HOUR);
        assert_applied(&world);
        if !world.truth().fired().is_empty() {
            met.push(call);
        }
    }
    met
}

#[test]
fn a_call_that_gets_lost_is_made_again() {
    let met = sweep(Leg::Arrived, &Fate::Lose { after_ms: 5_000 });
    assert!(met.len() >= 16, "{met:?}");
}

#[test]
fn a_call_whose_answer_gets_lost_has_its_effect_once() {
    let met = sweep(Leg::Done, &Fate::Lose { after_ms: 30_000 });
    assert!(met.len() >= 16, "{met:?}");
}

#[test]
fn a_call_that_comes_twice_has_its_effect_once() {
    sweep(Leg::Arrived, &Fate::Twice { after_ms: 3_000 });
}

#[test]
fn a_call_and_an_answer_may_be_late() {
    for leg in [Leg::Wanted, Leg::Arrived, Leg::Done, Leg::Answered] {
        sweep(leg, &Fate::Delay { by_ms: 40_000 });
    }
}

#[test]
fn a_process_may_be_suspended_wherever_its_call_is() {
    for leg in Leg::ALL {
        sweep(leg, &Fate::Pause { for_ms: 20_000 });
    }
}

#[test]
fn a_refusal_for_a_while_is_waited_out() {
    for code in [ErrorCode::RateLimited, ErrorCode::Internal] {
        let refusal = Refusal { code, retry_after_ms: Some(2_000) };
        sweep(Leg::Arrived, &Fate::Refuse(refusal));
    }
}

#[test]
fn a_session_that_expires_is_begun_again() {
    let refusal = Refusal { code: ErrorCode::SessionExpired, retry_after_ms: None };
    for call in [CallKind::Heartbeat, CallKind::Acquire, CallKind::Messages, CallKind::LaunchEvents] {
        let snags = vec![snag(call, Leg::Arrived, 1, Fate::Refuse(refusal))];
        assert_applied(&play(Setup { snags, ..runs(3) }, HOUR));
    }
}

#[test]
fn clocks_may_lie_and_run_as_they_like() {
    let mut setup = with_controllers(2, runs(10));
    setup.controllers[0].clock = ClockSetup { origin_ms: 5_000_000, drift_ppm: 20_000 };
    setup.controllers[1].clock = ClockSetup { origin_ms: 77, drift_ppm: -20_000 };
    setup.strikes = vec![
        at(20_000, Strike::Jump { who: Who::Controllers, ahead_ms: 600_000 }),
        at(40_000, Strike::Drift { who: Who::Workers, drift_ppm: 20_000 }),
    ];
    assert_applied(&play(setup, HOUR));
}

#[test]
fn a_server_that_restarts_over_and_over_forgets_nothing() {
    let mut setup = runs(20);
    setup.strikes =
        (1..20).map(|n| at(n * 10_000, Strike::ScalrDown { for_ms: 3_000, hangs: n % 2 == 0 })).collect();
    let world = play(setup, Millis(3 * HOUR.0));
    // An apply that ends while the state can't be pushed fails, and keeps the state.
    let is_fine = |end: &RunStatus| matches!(end, RunStatus::Applied | RunStatus::Errored);
    assert!(ends(&world).iter().all(is_fine), "{:?}", ends(&world));
}

#[test]
fn everything_that_was_broken_is_whole_after_healing() {
    let mut setup = with_controllers(2, runs(10));
    let who = Who::Controllers;
    let hour_ms = 10 * HOUR.0;
    let refusal = Refusal { code: ErrorCode::Internal, retry_after_ms: None };
    setup.snags = vec![snag(CallKind::CreateJob, Leg::Arrived, u32::MAX, Fate::Lose { after_ms: 100 })];
    setup.strikes = vec![
        at(2_000, Strike::ScalrSlow { by_ms: 2_000, for_ms: hour_ms }),
        at(3_000, Strike::Cut { who, from: Peer::Both, for_ms: hour_ms }),
        at(5_000, Strike::ScalrDown { for_ms: hour_ms, hangs: true }),
        at(6_000, Strike::Pause { who, for_ms: hour_ms }),
        at(7_000, Strike::Terminate { who: Who::Controller(0), rebirth: None }),
        at(8_000, Strike::ScalrRefuses { refusal, permille: 1_000, for_ms: hour_ms }),
        at(600_000, Strike::Heal),
    ];
    let world = play(setup, HOUR);
    assert_applied(&world);
    let struck = |fired: &&super::super::truth::Fired| matches!(fired.what, FiredWhat::Strike(_));
    assert_eq!(world.truth().fired().iter().filter(struck).count(), 7);
}

#[test]
fn a_pool_token_that_is_revoked_for_good_stops_everybody_until_it_is_healed() {
    let mut setup = runs(5);
    setup.strikes =
        vec![at(3_000, Strike::RevokePoolToken { is_rotated: false }), at(1_000_000, Strike::Heal)];
    let mut world = World::new(setup);
    world.run_until(Millis(900_000));
    assert!(!world.is_over(), "nobody works");
    assert!(world.run_until_over(HOUR), "everybody works");
    check(&world);
}

#[test]
fn every_step_tells_a_line() {
    let mut world = World::new(runs(1));
    world.keep_score();
    let mut score = String::new();
    while world.step().is_some() && !world.is_over() {
        for line in world.score() {
            let _ = writeln!(score, "{}: {}", line.who, line.what);
        }
    }
    for word in ["agent-0: begins", "worker 0:plan: begins", "granted", "confirmed", "init begins", "is over"]
    {
        assert!(score.contains(word), "no {word}");
    }
}
