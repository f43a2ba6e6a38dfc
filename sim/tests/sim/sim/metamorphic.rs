//! Runs compared with runs: what must stay the same when names, room, bad luck or a restart are changed, and
//! what a second look at the same run must show.

use std::collections::BTreeMap;

use fake_scalr::state::status::{RunStatus, TaskStatus};
use scalr_core::clock::Millis;
use scalr_protocol::{agent::Action, task::Outcome};
use sim::{
    World,
    fault::{Dice, Fault, FaultId, Swarm, What},
    generate::{self, Shape},
    invariant::Checks,
    luck::Span,
    scenario::Scenario,
    trial,
    world::{
        setup::{FailsPermille, Profile, RunSetup, TaskNumber},
        snag::{CallKind, Fate, Identity, Leg, Rebirth, Snag, Strike, Who},
        truth::{Fact, FactKind},
    },
};

use super::seeds;

/// How many scenarios each comparison takes.
fn scenarios() -> u64 {
    (seeds::scenarios() / 200).clamp(20, 500)
}

/// What has come of every run: its status, and how each of its tasks ended.
type Ends = BTreeMap<u32, (Option<RunStatus>, Vec<(Action, Option<TaskStatus>, Option<Outcome>)>)>;

fn ends(world: &World) -> Ends {
    let mut ends: Ends = (0..u32::try_from(world.setup().runs.len()).unwrap())
        .map(|run| (run, (world.run_status(run), Vec::new())))
        .collect();
    for (TaskNumber { run, action }, task) in world.truth().tasks() {
        let end = (action, task.end.map(|end| end.status), task.end.and_then(|end| end.outcome));
        ends.get_mut(&run).unwrap().1.push(end);
    }
    ends
}

/// What comes of a scenario in which every promise is kept.
fn play(scenario: &Scenario) -> Ends {
    ends(&played(scenario))
}

/// Runs a scenario to its rest, every promise kept.
fn played(scenario: &Scenario) -> World {
    let mut world = World::new(scenario.setup(scenario.world.seed));
    let mut checks = Checks::new(scenario);
    if let Err(broken) = trial::watch(&mut world, scenario, &mut checks, &mut |_| {}) {
        panic!("{}: {broken}", scenario.about);
    }
    world
}

/// A scenario of this seed in which nothing goes wrong.
fn calm(seed: u64) -> Scenario {
    generate::scenario(Shape { faults: 0, ..Shape::of(seed) })
}

fn times(ms: u64) -> Span {
    Span::Even { min: ms, max: ms }
}

/// Dry runs, one every so often, whose tools take as long each time.
fn steady(runs: u32, every_ms: u64, work_ms: u64) -> Scenario {
    let mut scenario = Scenario { about: "steady".to_owned(), ..Scenario::default() };
    scenario.world.profiles = vec![Profile {
        init_cold: times(1_000),
        init_warm: times(1_000),
        plan: times(work_ms),
        ..Profile::default()
    }];
    scenario.world.runs = (0..runs)
        .map(|run| RunSetup {
            at_ms: 60_000 + u64::from(run) * every_ms,
            workspace: run,
            is_dry: true,
            ..RunSetup::default()
        })
        .collect();
    scenario
}

#[test]
fn d1_renaming_tasks_permutes_what_comes_of_them() {
    for seed in 0..scenarios() / 4 {
        let mut dice = Dice::new(seed, 77);
        let mut scenario = steady(6, 7_000, 9_000);
        scenario.world.seed = seed;
        let plain = scenario.world.profiles[0].clone();
        let failing = |fails: FailsPermille| Profile { fails_permille: fails, ..plain.clone() };
        scenario.world.profiles = vec![
            plain.clone(),
            failing(FailsPermille { init: 1_000, ..FailsPermille::default() }),
            failing(FailsPermille { plan: 1_000, ..FailsPermille::default() }),
            failing(FailsPermille { apply: 1_000, ..FailsPermille::default() }),
        ];
        for run in &mut scenario.world.runs {
            run.profile = dice.few(0, 3);
            run.is_dry = dice.permille(500);
        }
        let before = play(&scenario);
        // The run that was at place i is at place `to[i]` now, and has another name everywhere.
        let mut to: Vec<u32> = (0..6).collect();
        for place in (1..to.len()).rev() {
            to.swap(place, usize::try_from(dice.below(place as u64 + 1)).unwrap());
        }
        let mut renamed = scenario.clone();
        for (from, to) in to.iter().enumerate() {
            renamed.world.runs[*to as usize] = scenario.world.runs[from].clone();
        }
        let after = play(&renamed);
        for (from, to) in (0..).zip(&to) {
            assert_eq!(before[&from], after[to], "seed {seed}: run {from}, now {to}");
        }
    }
}

#[test]
fn d2_more_room_loses_nothing() {
    for seed in 0..scenarios() {
        let mut scenario = generate::scenario(Shape::of(seed));
        let before = trial::run(&scenario);
        assert_eq!(before.violation, None, "seed {seed}");
        for controller in &mut scenario.world.controllers {
            controller.capacity += 3;
        }
        for (_, (status, _)) in play(&scenario) {
            assert!(status.is_some_and(RunStatus::is_terminal), "seed {seed}");
        }
    }
}

/// What an agent must get over without anybody's noticing, whenever it happens.
const TOLERATED: [FaultId; 24] = [
    FaultId::S1,
    FaultId::S2,
    FaultId::S3,
    FaultId::S4,
    FaultId::S5,
    FaultId::S6,
    FaultId::S11,
    FaultId::K1,
    FaultId::K2,
    FaultId::K5,
    FaultId::K7,
    FaultId::K9,
    FaultId::W1,
    FaultId::W2,
    FaultId::W3,
    FaultId::W4,
    FaultId::W5,
    FaultId::W6,
    FaultId::W7,
    FaultId::W8,
    FaultId::W10,
    FaultId::W11,
    FaultId::V2,
    FaultId::V3,
];

/// A controller that dies around a call, and comes back.
fn crash(dice: &mut Dice) -> Fault {
    let calls = [
        CallKind::Register,
        CallKind::Heartbeat,
        CallKind::Acquire,
        CallKind::LaunchEvents,
        CallKind::List,
        CallKind::WatchEvent,
        CallKind::CreateJob,
        CallKind::CreateJob,
    ];
    let identity = dice.one(&[Identity::Same, Identity::NewInstance, Identity::NewName]);
    let fate = Fate::Crash(Rebirth { after_ms: dice.spread(10, 20_000), identity });
    let call = Some(dice.one(&calls));
    let (leg, skip) = (dice.one(&Leg::ALL), dice.few(0, 3));
    let who = Some(Who::Controllers);
    let snag = Snag { who, call, task: None, leg, skip, times: 1, permille: 1_000, fate };
    Fault { id: FaultId::A2, what: What::Snag(snag) }
}

#[test]
fn d3_what_is_tolerated_changes_nothing_in_the_end() {
    let (mut unlike, mut compared) = (Vec::new(), 0);
    for seed in 0..scenarios() {
        let mut scenario = calm(seed);
        // Only what has its time in any weather is the same in every.
        for run in &mut scenario.world.runs {
            run.operation_timeout_ms = None;
        }
        // Where launches fail by themselves, as when two nodes fight over a volume that is for one, luck says
        // how often, and the fifth time ends the run: there is nothing to compare.
        let world = played(&scenario);
        if world.truth().calls(CallKind::LaunchFailed) > 0 {
            continue;
        }
        let before = ends(&world);
        compared += 1;
        let mut dice = Dice::new(seed, 78);
        let fault = if dice.permille(300) {
            Some(crash(&mut dice))
        } else {
            Swarm::of(&TOLERATED).fault(&mut dice, &scenario.world, scenario.chaos_ms)
        };
        scenario.faults.extend(fault);
        let after = play(&scenario);
        if before != after {
            unlike.push((seed, scenario.faults.clone(), before, after));
        }
    }
    assert!(unlike.is_empty(), "{} are unlike, such as {:#?}", unlike.len(), unlike[0]);
    assert!(compared > scenarios() / 2, "only {compared} were compared");
}

/// What a controller does to others.
const DEEDS: [CallKind; 6] = [
    CallKind::CreateJob,
    CallKind::DeleteJob,
    CallKind::Release,
    CallKind::LaunchFailed,
    CallKind::WorkerLost,
    CallKind::LaunchEvents,
];

fn deeds(world: &World) -> Vec<u64> {
    DEEDS.iter().map(|kind| world.truth().calls(*kind)).collect()
}

#[test]
fn d5_a_crash_when_nothing_is_left_to_do_does_nothing() {
    for seed in 0..scenarios() {
        let scenario = calm(seed);
        let mut world = World::new(scenario.setup(seed));
        assert!(world.run_until_over(scenario.deadline()), "seed {seed}");
        world.run_until(world.now() + 1_800_000);
        let (ends_before, deeds_before) = (ends(&world), deeds(&world));
        let calls = |world: &World, kind| world.truth().calls(kind);
        let (lists, registers) = (calls(&world, CallKind::List), calls(&world, CallKind::Register));
        let rebirth = Some(Rebirth { after_ms: 1_000, identity: Identity::Same });
        world.strike(Strike::Crash { who: Who::Controllers, rebirth });
        world.run_until(world.now() + 60_000);
        let seats = world.setup().controllers.len() as u64;
        assert_eq!(ends(&world), ends_before, "seed {seed}");
        assert_eq!(deeds(&world), deeds_before, "seed {seed}");
        // Those of the restart, and no more.
        assert_eq!(calls(&world, CallKind::Register) - registers, seats, "seed {seed}");
        assert_eq!(calls(&world, CallKind::List) - lists, 2 * seats, "seed {seed}");
        assert!(world.controllers().all(|(_, _, brain)| brain.status().is_ready), "seed {seed}");
    }
}

/// Ten Jobs run and more wait when a controller dies. Says whether it knows all and works so long after.
fn recovers(identity: Identity, within_ms: u64) {
    let scenario = steady(40, 3_000, 60_000);
    let mut world = World::new(scenario.setup(5));
    let live = |world: &World| world.cluster().jobs().filter(|job| job.end.is_none()).count();
    world.run_until(Millis(120_000));
    assert_eq!(live(&world), 10, "every slot is taken");
    let rebirth = Some(Rebirth { after_ms: 1_000, identity });
    world.strike(Strike::Crash { who: Who::Controllers, rebirth });
    world.run_until(world.now() + 1_000 + within_ms);
    let (_, process, brain) = world.controllers().next().expect("it is back");
    let status = brain.status();
    assert!(status.is_ready && status.live >= live(&world), "{status:?}, and {} Jobs live", live(&world));
    assert!(world.calls_of(process).any(|(kind, _)| kind == CallKind::Acquire), "it asks for work");
    assert!(world.run_until_over(Millis(3_600_000)), "and all is done");
}

#[test]
fn l6_a_container_that_begins_again_knows_every_job_within_seconds() {
    recovers(Identity::Same, 3_000);
    recovers(Identity::NewName, 3_000);
}

#[test]
fn l6_another_pod_of_the_same_name_waits_until_the_old_one_counts_as_gone() {
    // Half a minute without a heartbeat, and the longest wait between two tries.
    recovers(Identity::NewInstance, 62_000);
}

/// How long each task waited for its Job.
fn waits(scenario: &Scenario) -> Vec<u64> {
    let mut world = World::new(scenario.setup(scenario.world.seed));
    let mut queued = BTreeMap::new();
    let mut waits = BTreeMap::new();
    while !world.is_over() {
        world.step().expect("it goes on until all is over");
        for Fact { at, task, what } in world.truth().facts() {
            if matches!(what, FactKind::Queued) {
                queued.insert(*task, *at);
            } else if matches!(what, FactKind::JobAsked { .. }) {
                waits.entry(*task).or_insert_with(|| at.since(queued[task]));
            }
        }
        world.forget_facts();
    }
    waits.into_values().collect()
}

#[test]
fn l5_while_there_is_room_for_all_that_comes_nobody_waits_for_long() {
    // One in 5 s, each for about 35 s: seven slots of ten.
    let mut busy = waits(&steady(500, 5_000, 30_000));
    busy.sort_unstable();
    assert_eq!(busy.len(), 500);
    assert!(*busy.last().unwrap() < 1_000, "the longest wait was {} ms", busy.last().unwrap());
    // Twice as many at once as there are slots, every ten minutes: each is launched in its turn.
    let mut bursts = steady(200, 0, 30_000);
    for (place, run) in bursts.world.runs.iter_mut().enumerate() {
        run.at_ms = 60_000 + 600_000 * (place as u64 / 20);
    }
    let longest = waits(&bursts).into_iter().max().unwrap();
    assert!(longest < 60_000, "the longest wait was {longest} ms");
}

#[test]
fn a_clone_goes_on_as_its_original_does() {
    for seed in 0..scenarios() / 2 {
        let scenario = generate::scenario(Shape::of(seed));
        let whole = trial::run(&scenario);
        let mut world = World::new(scenario.setup(scenario.world.seed));
        for _ in 0..whole.steps / 3 {
            world.step();
        }
        let mut clone = world.clone();
        for _ in 0..whole.steps / 3 {
            world.step();
        }
        for _ in 0..whole.steps / 3 {
            clone.step();
        }
        assert_eq!(world.digest(), clone.digest(), "seed {seed}");
        assert_eq!(ends(&world), ends(&clone), "seed {seed}");
    }
}

#[test]
fn the_same_scenario_is_the_same_twice_in_one_process() {
    for seed in 0..scenarios() / 2 {
        let scenario = generate::scenario(Shape::of(seed));
        assert_eq!(trial::run(&scenario), trial::run(&scenario), "seed {seed}");
    }
}
