use fake_scalr::state::status::{RunStatus, TaskStatus};
use scalr_core::{clock::Millis, supervisor::effect::Stage};
use scalr_protocol::task::Outcome;

use super::{
    super::{
        World,
        setup::{RunSetup, Setup},
        snag::{Identity, Moment, Peer, Planned, Rebirth, Strike, Who},
        truth::{FactKind, Milestone},
    },
    fixture::{APPLY, HOUR, PLAN, assert_applied, check, ends, play, runs, with_controllers},
};

fn when(task: super::super::setup::TaskNumber, is: Milestone, after_ms: u64, what: Strike) -> Planned {
    Planned { when: Moment::When { task, is, nth: 1, after_ms }, what }
}

fn at(at_ms: u64, what: Strike) -> Planned {
    Planned { when: Moment::At(at_ms), what }
}

#[test]
fn a_run_is_planned_and_applied() {
    let world = play(runs(1), HOUR);
    assert_applied(&world);
    let stages = |number| -> Vec<Stage> {
        world.truth().task(number).unwrap().code.iter().map(|code| code.stage).collect()
    };
    assert_eq!(stages(PLAN), [Stage::Init, Stage::Plan, Stage::Show]);
    assert_eq!(stages(APPLY), [Stage::Init, Stage::Apply]);
}

#[test]
fn a_hundred_runs_are_applied() {
    assert_applied(&play(runs(100), HOUR));
}

#[test]
fn two_controllers_share_a_hundred_runs() {
    let world = play(with_controllers(2, runs(100)), HOUR);
    assert_applied(&world);
    let mut granted = [0_u32; 2];
    for fact in world.truth().facts() {
        if let FactKind::Granted { process, .. } = fact.what {
            granted[usize::from(process.0 != 1)] += 1;
        }
    }
    assert!(granted.iter().all(|granted| *granted > 0), "both were granted some: {granted:?}");
}

#[test]
fn the_same_setup_gives_the_same_history_and_another_seed_another() {
    let digest = |seed| {
        let mut world = World::new(Setup { seed, ..with_controllers(2, runs(10)) });
        world.run_until(Millis(300_000));
        (world.digest(), world.steps())
    };
    assert_eq!(digest(7), digest(7));
    assert_ne!(digest(7), digest(8));
}

#[test]
fn a_clone_goes_on_as_its_original_does() {
    let mut world = World::new(runs(5));
    world.run_until(Millis(20_000));
    let mut other = world.clone();
    world.run_until(Millis(200_000));
    other.run_until(Millis(200_000));
    assert_eq!(world.digest(), other.digest());
}

#[test]
fn a_worker_killed_in_mid_apply_is_lost_and_nothing_starts_again() {
    let who = Who::WorkersOf(APPLY);
    let mut setup = runs(1);
    setup.strikes = vec![when(APPLY, Milestone::ApplyBegan, 1_000, Strike::Crash { who, rebirth: None })];
    let mut world = play(setup, HOUR);
    assert_eq!(ends(&world), [RunStatus::Errored]);
    world.run_until(Millis(3 * HOUR.0));
    check(&world);
    let task = world.truth().task(APPLY).unwrap();
    assert_eq!(task.end.map(|end| (end.status, end.outcome)), Some((TaskStatus::Lost, None)));
    assert_eq!(task.reached[&Milestone::ApplyBegan], 1);
    assert_eq!(task.code.iter().filter(|code| code.to.is_none()).count(), 0, "nothing runs any more");
}

#[test]
fn a_canceled_apply_gets_one_interrupt_and_is_canceled() {
    let mut setup = runs(1);
    setup.strikes = vec![when(APPLY, Milestone::ApplyBegan, 500, Strike::Cancel { run: 0, force: false })];
    let world = play(setup, HOUR);
    assert_eq!(ends(&world), [RunStatus::Canceled]);
    let interrupts =
        world.truth().facts().iter().filter(|fact| matches!(fact.what, FactKind::Interrupted { .. }));
    assert_eq!(interrupts.count(), 1);
    assert!(world.truth().task(APPLY).unwrap().code.iter().all(|code| !code.is_state_lost));
}

#[test]
fn a_force_canceled_apply_is_killed_and_its_state_lost() {
    let mut setup = runs(1);
    setup.strikes = vec![when(APPLY, Milestone::ApplyBegan, 500, Strike::Cancel { run: 0, force: true })];
    let world = play(setup, HOUR);
    assert_eq!(ends(&world), [RunStatus::Canceled]);
    assert!(world.truth().task(APPLY).unwrap().code.iter().any(|code| code.is_state_lost));
}

#[test]
fn a_run_that_waits_for_approval_is_applied_after_it() {
    let mut setup = runs(1);
    setup.runs[0].approval_ms = Some(600_000);
    let world = play(setup, HOUR);
    assert_applied(&world);
    let (plan, apply) = (world.truth().task(PLAN).unwrap(), world.truth().task(APPLY).unwrap());
    assert_eq!(apply.queued, plan.end.unwrap().at + 600_000);
}

#[test]
fn a_server_that_is_away_for_minutes_interrupts_nobody() {
    let mut setup = runs(3);
    setup.strikes =
        vec![when(PLAN, Milestone::PlanBegan, 100, Strike::ScalrDown { for_ms: 600_000, hangs: false })];
    let world = play(setup, HOUR);
    let is_interrupted =
        |fact: &&super::super::truth::Fact| matches!(fact.what, FactKind::Interrupted { .. });
    assert_eq!(world.truth().facts().iter().filter(is_interrupted).count(), 0);
    assert_eq!(world.truth().task(PLAN).unwrap().end.unwrap().outcome, Some(Outcome::Succeeded));
}

#[test]
fn a_worker_cut_off_for_longer_than_lost_after_stops_by_itself() {
    let mut setup = runs(1);
    setup.profiles[0].apply = crate::luck::Span::Fixed(3_000_000);
    let cut = Strike::Cut { who: Who::WorkersOf(APPLY), from: Peer::Scalr, for_ms: 3_600_000 };
    setup.strikes = vec![when(APPLY, Milestone::ApplyBegan, 100, cut)];
    let mut world = play(setup, Millis(2 * HOUR.0));
    let task = world.truth().task(APPLY).unwrap();
    let (end, apply) = (task.end.unwrap(), task.code.last().unwrap());
    assert_eq!(end.status, TaskStatus::Lost);
    assert!(apply.to.unwrap() <= end.at, "it had ended when the server gave it up: {apply:?}, {end:?}");
    world.run_until(Millis(4 * HOUR.0));
    let late = world.truth().task(APPLY).unwrap().end.unwrap().late;
    assert_eq!(late, Some(Outcome::Errored), "and says so later");
}

#[test]
fn a_stopped_controller_gives_back_what_it_has_not_launched() {
    let mut setup = with_controllers(2, runs(60));
    let rebirth = None;
    setup.strikes = vec![at(15_000, Strike::Terminate { who: Who::Controller(0), rebirth })];
    assert_applied(&play(setup, HOUR));
}

#[test]
fn a_rollout_loses_nothing() {
    let mut setup = runs(40);
    let rebirth = Some(Rebirth { after_ms: 0, identity: Identity::NewName });
    setup.strikes = vec![at(20_000, Strike::Terminate { who: Who::Controllers, rebirth })];
    assert_applied(&play(setup, HOUR));
}

#[test]
fn a_revoked_pool_token_ends_a_controller_and_a_new_one_in_the_file_brings_it_back() {
    let mut setup = runs(10);
    setup.strikes = vec![at(5_000, Strike::RevokePoolToken { is_rotated: true })];
    assert_applied(&play(setup, HOUR));
}

#[test]
fn runs_of_one_workspace_wait_for_each_other() {
    let mut setup = runs(4);
    for run in &mut setup.runs {
        *run = RunSetup { workspace: 0, ..*run };
    }
    let world = play(setup, HOUR);
    assert_applied(&world);
    let mut spans: Vec<(Millis, Millis)> =
        world.truth().tasks().map(|(_, task)| (task.began.unwrap(), task.end.unwrap().at)).collect();
    spans.sort_unstable();
    assert!(spans.is_sorted_by(|one, next| one.1 <= next.0), "{spans:?}");
}
