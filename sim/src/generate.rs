//! From a shape to a scenario: small ones mostly, since most bugs need few tasks and few faults, and small
//! ones are quick and easily read.
//!
//! The same shape gives the same scenario for ever: it is how a failure on another machine is met again. It
//! must never make a scenario that a sound agent could not bring to its end.

mod cluster;

use serde::{Deserialize, Serialize};

use crate::{
    fault::{Dice, Swarm},
    luck::Span,
    scenario::Scenario,
    world::setup::{ClockSetup, ControllerSetup, FailsPermille, Profile, RunSetup, Setup, WorkerSetup},
};
use scalr_protocol::task::HookPhase;

/// What a scenario is like before its details are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Of all details.
    pub seed: u64,
    /// How many runs users make; each is one task or two.
    pub runs: u32,
    /// How many controllers.
    pub controllers: u32,
    /// How many faults.
    pub faults: u32,
}

impl Shape {
    /// The most runs of a shape.
    pub const RUNS_MAX: u32 = 12;
    /// The most controllers of a shape.
    pub const CONTROLLERS_MAX: u32 = 3;
    /// The most faults of a shape.
    pub const FAULTS_MAX: u32 = 8;

    /// A shape of this seed, small mostly.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed, SHAPE);
        let runs = match dice.below(10) {
            0..=4 => dice.few(1, 2),
            5..=7 => dice.few(2, 4),
            _ => dice.few(4, Self::RUNS_MAX),
        };
        let controllers = dice.one(&[1, 1, 1, 2, 2, 3]);
        let faults = match dice.below(10) {
            0 => 0,
            1..=4 => dice.few(1, 3),
            5..=7 => dice.few(3, 5),
            _ => dice.few(5, Self::FAULTS_MAX),
        };
        Self { seed, runs, controllers, faults }
    }
}

const SHAPE: u64 = 0;
const WORLD: u64 = 1;
const SWARM: u64 = 2;
/// And from here on one for each fault.
const FAULTS: u64 = 16;

/// The scenario of a shape.
pub fn scenario(shape: Shape) -> Scenario {
    let mut dice = Dice::new(shape.seed, WORLD);
    let chaos_ms = dice.spread(20_000, 400_000);
    let world = world(&mut dice, shape);
    let swarm = Swarm::draw(&mut Dice::new(shape.seed, SWARM));
    let faults = (0..u64::from(shape.faults)).filter_map(|place| {
        // Each has dice of its own, so that one more moves no other.
        swarm.fault(&mut Dice::new(shape.seed, FAULTS + place), &world, chaos_ms)
    });
    let faults = faults.collect();
    Scenario { chaos_ms, world, faults, about: format!("{shape:?}"), ..Scenario::default() }
}

fn world(dice: &mut Dice, shape: Shape) -> Setup {
    let mut setup = Setup { seed: shape.seed, ..Setup::default() };
    // A server that misses a worker sooner makes as many turns of events in less time.
    let lost_after_ms = dice.one(&[120_000, 120_000, 180_000, 300_000, 600_000]);
    let timings = &mut setup.scalr.settings.timings;
    timings.lost_after_ms = lost_after_ms;
    timings.lost_after_proof_ms = dice.one(&[15_000, 60_000]);
    timings.confirm_ms = dice.one(&[5_000, 60_000]);
    let lease_ttl_ms = dice.one(&[15_000, 60_000]);
    (timings.lease_ttl_ms, timings.renew_ms) = (lease_ttl_ms, lease_ttl_ms / 3);
    setup.workers = workers(dice, lost_after_ms);
    let ms = dice.one(&[2, 20, 200]);
    setup.scalr.latency = Span::Even { min: 1, max: ms };
    setup.controllers = (0..shape.controllers.clamp(1, Shape::CONTROLLERS_MAX))
        .map(|place| controller(dice, place))
        .collect();
    setup.cluster = cluster::setup(dice);
    setup.profiles = (0..dice.few(1, 3)).map(|_| profile(dice)).collect();
    setup.runs = runs(dice, shape, u32::try_from(setup.profiles.len()).unwrap_or(1));
    setup
}

fn workers(dice: &mut Dice, lost_after_ms: u64) -> WorkerSetup {
    // Shorter than lost-after, as half an hour is longer than ten minutes.
    let mut workers = WorkerSetup { orphan_wait_ms: lost_after_ms / 3, ..WorkerSetup::default() };
    workers.options.stop_timeout_ms = dice.one(&[10_000, 60_000, 600_000]);
    workers.options.runner_wait_ms = dice.one(&[30_000, 180_000]);
    workers.options.log_interval_ms = dice.one(&[100, 2_000]);
    workers.options.log_chunk_bytes_max = dice.one(&[4_096, 1024 * 1024]);
    // A small one fills up whenever Scalr is away for a while.
    workers.spool_bytes_max = dice.one(&[10_000, 512 * 1024 * 1024]);
    workers
}

fn controller(dice: &mut Dice, place: u32) -> ControllerSetup {
    // Sometimes there are runs before there is anybody to take them.
    let is_late = if place == 0 { dice.permille(150) } else { dice.permille(400) };
    let begins_ms = if is_late { dice.spread(100, 60_000) } else { 0 };
    ControllerSetup {
        name: format!("agent-{place}"),
        begins_ms,
        capacity: dice.one(&[1, 2, 3, 5, 10]),
        look_ahead: dice.one(&[0, 1, 5, 1_000]),
        startup_timeout_ms: dice.one(&[60_000, 180_000]),
        grace_ms: dice.one(&[500, 10_000, 180_000]),
        clock: ClockSetup { origin_ms: dice.below(1_000_000), drift_ppm: 0 },
        // Longer than any start that is worth waiting for, and sometimes not.
        startup_max_ms: dice.one(&[1_800_000, 1_800_000, 240_000]),
        ..ControllerSetup::default()
    }
}

fn profile(dice: &mut Dice) -> Profile {
    let work = |dice: &mut Dice| {
        let min = dice.spread(100, 30_000);
        Span::Even { min, max: min * 2 }
    };
    let (plan, apply) = (work(dice), work(dice));
    let mut hooks = Vec::new();
    for phase in [HookPhase::PreInit, HookPhase::PrePlan, HookPhase::PostPlan, HookPhase::PreApply] {
        if dice.permille(200) {
            hooks.push(phase);
        }
    }
    let mut fails = |permille: u64| if dice.permille(permille) { 1_000 } else { 0 };
    let fails_permille =
        FailsPermille { init: fails(40), plan: fails(60), apply: fails(60), hook: fails(60) };
    Profile {
        init_cold: Span::Even { min: 200, max: 8_000 },
        init_warm: Span::Even { min: 50, max: 800 },
        plan,
        apply,
        hook: Span::Even { min: 20, max: dice.one(&[2_000, 10_000, 60_000]) },
        hooks,
        console: Span::Even { min: 0, max: dice.one(&[100, 20_000]) },
        console_pieces: dice.few(1, 3),
        fails_permille,
        unread_permille: 200,
        no_changes_permille: dice.one(&[0, 0, 0, 1_000]),
        stop: Span::Even { min: 100, max: dice.one(&[1_000, 20_000]) },
        deaf_permille: dice.one(&[0, 0, 0, 1_000]),
        ..Profile::default()
    }
}

/// Bursts of one moment, and some that follow; few workspaces, so that runs wait for each other.
fn runs(dice: &mut Dice, shape: Shape, profiles: u32) -> Vec<RunSetup> {
    let workspaces = dice.few(1, shape.runs.max(1));
    let is_burst = dice.permille(500);
    let gap_ms = dice.spread(10, 20_000);
    let mut at_ms = dice.spread(100, 10_000);
    let mut runs = Vec::new();
    for place in 0..shape.runs {
        let is_shared = dice.permille(300);
        runs.push(RunSetup {
            at_ms,
            workspace: if is_shared { dice.few(0, workspaces - 1) } else { 100 + place },
            is_dry: dice.permille(400),
            approval_ms: dice.permille(250).then(|| dice.spread(100, 40_000)),
            priority: i32::from(!dice.permille(800)),
            profile: dice.few(0, profiles - 1),
            operation_timeout_ms: dice.permille(50).then(|| dice.spread(2_000, 60_000)),
        });
        if !is_burst {
            at_ms += dice.below(gap_ms + 1);
        }
    }
    runs
}
