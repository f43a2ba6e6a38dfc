//! Either brain killed at every boundary of its effects: every run still ends.

use scalr_core::clock::Millis;

use super::{
    super::{
        setup::Setup,
        snag::{Fate, Identity, Leg, Rebirth, Snag, Who},
        truth::Milestone,
    },
    fixture::{APPLY, HOUR, PLAN, assert_applied, ends, play, runs, with_controllers},
};

const LEGS: [Leg; 6] = Leg::ALL;

fn crash(who: Who, leg: Leg, skip: u32, rebirth: Rebirth) -> Snag {
    Snag {
        who: Some(who),
        call: None,
        task: None,
        leg,
        skip,
        times: 1,
        permille: 1_000,
        fate: Fate::Crash(rebirth),
    }
}

/// Crashes one boundary after the other until there is none left, and says how many there were.
fn sweep(setup: &Setup, who: Who, leg: Leg, rebirth: Rebirth, check: impl Fn(&super::super::World)) -> u32 {
    for skip in 0.. {
        let setup = Setup { snags: vec![crash(who, leg, skip, rebirth)], ..setup.clone() };
        let world = play(setup, Millis(2 * HOUR.0));
        check(&world);
        if world.truth().fired().is_empty() {
            return skip;
        }
    }
    unreachable!("a history has an end")
}

#[test]
fn a_controller_killed_at_any_boundary_still_brings_every_run_to_its_end() {
    for leg in LEGS {
        let rebirth = Rebirth { after_ms: 3_000, identity: Identity::Same };
        let boundaries = sweep(&runs(2), Who::Controllers, leg, rebirth, assert_applied);
        assert!(boundaries > 20, "{leg:?}: {boundaries}");
    }
}

#[test]
fn a_controller_killed_at_any_boundary_and_replaced_by_another_does_so_too() {
    for leg in LEGS {
        let rebirth = Rebirth { after_ms: 30_000, identity: Identity::NewName };
        sweep(&runs(1), Who::Controllers, leg, rebirth, assert_applied);
    }
}

#[test]
fn one_of_two_controllers_killed_for_good_leaves_nothing_behind() {
    let setup = with_controllers(2, runs(2));
    for leg in [Leg::Wanted, Leg::Sent, Leg::Done, Leg::Answered] {
        let rebirth = Rebirth { after_ms: 3 * HOUR.0, identity: Identity::Same };
        sweep(&setup, Who::Controller(0), leg, rebirth, assert_applied);
    }
}

#[test]
fn a_worker_killed_at_any_boundary_runs_its_code_once_at_most() {
    for task in [PLAN, APPLY] {
        for leg in LEGS {
            let rebirth = Rebirth { after_ms: 0, identity: Identity::Same };
            let boundaries = sweep(&runs(1), Who::WorkersOf(task), leg, rebirth, |world| {
                let task = world.truth().task(task).unwrap();
                let is_begun = task.reached.get(&Milestone::Confirmed).is_some_and(|times| *times == 1);
                assert!(is_begun, "it was confirmed once: {:?}", ends(world));
            });
            assert!(boundaries > 10, "{leg:?}: {boundaries}");
        }
    }
}
