//! Workloads that everybody knows: small worlds, each with one thing that makes it what it is. What goes
//! wrong is not in them: the sweeps put one fault, or two, into each.
//!
//! They must never change lightly: a figure about them means something only while they stay the same.

use scalr_protocol::agent::Action;

use crate::{
    luck::Span,
    scenario::Scenario,
    world::{
        cluster::setup::{CacheKind, ClusterSetup, KubeletSetup, PoolSetup},
        setup::{ControllerSetup, Profile, RunSetup, Setup, TaskNumber},
        snag::{Moment, Planned, Strike},
        truth::Milestone,
    },
};

/// After so long everything heals: long enough for every run to be in the middle of something.
const CHAOS_MS: u64 = 120_000;

/// Each by its name, the simplest first.
pub fn canonical() -> Vec<(&'static str, Scenario)> {
    vec![
        ("one run", one_run()),
        ("a burst", burst()),
        ("plan, approval, apply", approved()),
        ("many workspaces", many_workspaces()),
        ("one workspace in series", one_workspace()),
        ("two controllers", controllers("two controllers share a burst", &[2, 2])),
        (
            "three uneven controllers",
            controllers("one has room for one, one for two, one for five", &[1, 2, 5]),
        ),
        ("quota", quota()),
        ("autoscaler from zero", from_zero()),
        ("cache on one node", cache("the cache volume is on one node at a time", CacheKind::OneNode)),
        ("shared cache", cache("all share one slow cache volume", CacheKind::Shared)),
        ("cancels in mid-air", cancels()),
        ("short lost-after", short_lost_after()),
    ]
}

/// A world of quick tools and a cluster that has what is needed.
fn usual(about: &str, runs: Vec<RunSetup>) -> Scenario {
    let mut world = Setup { seed: 1, profiles: vec![quick()], runs, ..Setup::default() };
    world.controllers = vec![controller(0, 10)];
    world.cluster = cluster();
    // A server that misses a worker sooner makes as many turns of events in less time.
    world.scalr.settings.timings.lost_after_ms = 300_000;
    world.workers.orphan_wait_ms = 100_000;
    world.workers.options.stop_timeout_ms = 60_000;
    Scenario { about: about.to_owned(), chaos_ms: CHAOS_MS, world, ..Scenario::default() }
}

fn cluster() -> ClusterSetup {
    let kubelet = KubeletSetup { pull_cold: Span::Even { min: 500, max: 3_000 }, ..KubeletSetup::default() };
    let mut cluster = ClusterSetup { kubelet, ..ClusterSetup::default() };
    cluster.control.toleration_ms = 60_000;
    cluster.control.idle_ms = 60_000;
    cluster
}

fn quick() -> Profile {
    Profile {
        init_cold: Span::Even { min: 1_000, max: 4_000 },
        init_warm: Span::Even { min: 100, max: 500 },
        plan: Span::Even { min: 2_000, max: 10_000 },
        apply: Span::Even { min: 4_000, max: 20_000 },
        stop: Span::Even { min: 100, max: 5_000 },
        ..Profile::default()
    }
}

fn controller(place: u32, capacity: u32) -> ControllerSetup {
    ControllerSetup {
        name: format!("agent-{place}"),
        capacity,
        startup_timeout_ms: 60_000,
        startup_max_ms: 1_800_000,
        grace_ms: 30_000,
        ..ControllerSetup::default()
    }
}

/// So many runs, each of its own workspace, so long after one another.
fn runs(count: u32, gap_ms: u64, is_dry: bool) -> Vec<RunSetup> {
    let run = |place: u32| RunSetup {
        at_ms: 1_000 + u64::from(place) * gap_ms,
        workspace: place,
        is_dry,
        ..RunSetup::default()
    };
    (0..count).map(run).collect()
}

fn one_run() -> Scenario {
    usual("one run, from its plan to the end of its apply", runs(1, 0, false))
}

fn burst() -> Scenario {
    let mut scenario = usual("one commit plans six workspaces, and there is room for two", runs(6, 0, true));
    scenario.world.controllers = vec![controller(0, 2)];
    scenario
}

fn approved() -> Scenario {
    let mut runs = runs(2, 5_000, false);
    for run in &mut runs {
        run.approval_ms = Some(20_000);
    }
    usual("somebody looks at each plan for twenty seconds, then approves it", runs)
}

fn many_workspaces() -> Scenario {
    usual("eight workspaces, a run every few seconds", runs(8, 3_000, true))
}

fn one_workspace() -> Scenario {
    let mut runs = runs(3, 1_000, false);
    for run in &mut runs {
        run.workspace = 0;
    }
    usual("three runs of one workspace go one after the other", runs)
}

fn controllers(about: &str, capacities: &[u32]) -> Scenario {
    let mut scenario = usual(about, runs(6, 500, true));
    let controllers = (0..).zip(capacities).map(|(place, capacity)| controller(place, *capacity));
    scenario.world.controllers = controllers.collect();
    scenario
}

fn quota() -> Scenario {
    let mut scenario = usual("the namespace may hold two Jobs, finished ones counted", runs(4, 500, true));
    scenario.world.cluster.quota.jobs = Some(2);
    scenario.world.cluster.job.ttl_ms = 5_000;
    scenario
}

fn from_zero() -> Scenario {
    let mut scenario = usual("there is no node until somebody needs one", runs(3, 2_000, true));
    let boot = Span::Even { min: 10_000, max: 30_000 };
    scenario.world.cluster.pools = vec![PoolSetup {
        count: 0,
        min: 0,
        max: 3,
        cpu_m: 2_000,
        memory_mi: 4_096,
        boot,
        ..PoolSetup::default()
    }];
    scenario
}

fn cache(about: &str, kind: CacheKind) -> Scenario {
    let mut scenario = usual(about, runs(3, 500, true));
    // Two nodes with room for two tasks each.
    scenario.world.cluster.pools =
        vec![PoolSetup { count: 2, min: 2, max: 2, cpu_m: 1_600, memory_mi: 4_096, ..PoolSetup::default() }];
    scenario.world.cluster.cache.kind = kind;
    scenario.world.cluster.cache.streams = 1;
    scenario
}

/// One is canceled before its Job is made, one before its worker has claimed it, one while it plans, one
/// while it applies.
fn cancels() -> Scenario {
    let mut scenario = usual("users cancel their runs at every stage", runs(4, 0, false));
    scenario.world.controllers = vec![controller(0, 3)];
    let stages = [
        (Action::Plan, Milestone::Queued, false),
        (Action::Plan, Milestone::JobAsked, false),
        (Action::Plan, Milestone::PlanBegan, true),
        (Action::Apply, Milestone::ApplyBegan, false),
    ];
    let cancel = |(run, (action, is, force))| Planned {
        when: Moment::When { task: TaskNumber { run, action }, is, nth: 1, after_ms: 100 },
        what: Strike::Cancel { run, force },
    };
    scenario.world.strikes = (0..).zip(stages).map(cancel).collect();
    scenario
}

fn short_lost_after() -> Scenario {
    let mut scenario = usual("a worker that is silent for two minutes is lost", runs(2, 1_000, false));
    scenario.world.scalr.settings.timings.lost_after_ms = 120_000;
    scenario.world.workers.orphan_wait_ms = 40_000;
    // As long as the silence, so that there is something to lose.
    scenario.world.profiles[0].apply = Span::Even { min: 60_000, max: 120_000 };
    scenario
}
