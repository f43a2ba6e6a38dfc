//! The one thing about queues that is known for certain: how long tasks wait that come and go without memory.
//! A world of that kind is made here, run with the real Controller and real workers, and compared with
//! Erlang's formula; so it checks the simulator, not the agent.
//!
//! Services take minutes and everything else milliseconds, so that what a launch costs does not count.
//! It must never correct what was measured by what was expected.

use std::{cmp::Reverse, collections::BinaryHeap};

use fake_scalr::state::{Settings, Timings};
use scalr_core::clock::Millis;

use crate::{
    luck::{Luck, Purpose, Span},
    scenario::Scenario,
    world::{
        World,
        cluster::setup::{
            ApiSetup, ClusterSetup, ControlSetup, JobSetup, KubeletSetup, PoolSetup, WatchSetup,
        },
        setup::{ControllerSetup, Profile, RunSetup, ScalrSetup, Setup, WorkerSetup},
        truth::FactKind,
    },
};

const ARRIVES: Purpose = Purpose::named("arrives");

/// The mean of a service, in milliseconds: thousands of times what a launch costs, and more where many
/// servers leave little to wait for.
const fn service_ms(servers: u32) -> u64 {
    60_000 + 60_000 * servers as u64
}

/// How busy the servers are, in thousandths.
const BUSY_PERMILLE: u64 = 800;

/// Longer than any service: nothing but services decides when a server is free.
const LONG_MS: u64 = 360 * 86_400_000;

const HOUR_MS: u64 = 3_600_000;

/// How many begin before anything is counted, at most: many times what it takes to forget the empty start.
const WARM_UP_MAX: u32 = 5_000;

/// Runs of one workspace wait for each other, so there are more of these than ever wait.
const WORKSPACES: u32 = 2_000;

const AT_ONCE: Span = Span::Fixed(1);

/// Arrivals without memory, services without memory, and so many servers that are busy for four fifths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many tasks may run at once.
    pub servers: u32,
    /// How many arrive.
    pub arrivals: u32,
    /// Of all dice.
    pub seed: u64,
}

/// How long tasks waited from being queued to the creation of their Job, those of the begin left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Waits {
    /// How many were counted.
    pub count: u64,
    /// How long they waited together, in milliseconds.
    pub wait_ms: u128,
    /// How long they would have waited if a launch took no time: the textbook's recursion over the same
    /// arrivals and services.
    pub ideal_ms: u128,
    /// How long their user code ran together, in milliseconds: the service that was drawn.
    pub service_ms: u128,
    /// How long their slots were taken together, from the creation of the Job to the end of the worker.
    pub slot_ms: u128,
    /// How many events that took.
    pub events: u64,
}

impl Waits {
    /// The mean wait, in milliseconds.
    pub fn mean_ms(&self) -> f64 {
        mean(self.wait_ms, self.count)
    }

    /// The mean wait of the recursion, in milliseconds.
    pub fn ideal_mean_ms(&self) -> f64 {
        mean(self.ideal_ms, self.count)
    }

    /// How much longer a slot was taken than its service took, of 1.
    pub fn overhead(&self) -> f64 {
        mean(self.slot_ms, self.count) / mean(self.service_ms, self.count) - 1.0
    }

    /// Adds what another replication has counted.
    pub fn add(&mut self, other: Self) {
        self.count += other.count;
        self.wait_ms += other.wait_ms;
        self.ideal_ms += other.ideal_ms;
        self.service_ms += other.service_ms;
        self.slot_ms += other.slot_ms;
        self.events += other.events;
    }
}

#[expect(clippy::cast_precision_loss, reason = "means of at most 2^53 ms")]
fn mean(sum: u128, count: u64) -> f64 {
    sum as f64 / count.max(1) as f64
}

/// The mean wait that Erlang's C formula says, in milliseconds.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
pub fn expected_ms(servers: u32) -> f64 {
    let busy = BUSY_PERMILLE as f64 / 1_000.0;
    let load = busy * f64::from(servers);
    // The probability that all servers are busy and none may wait, by its recursion.
    let blocked = (1..=servers).fold(1.0, |blocked, n| load * blocked / (f64::from(n) + load * blocked));
    let waits = blocked / (1.0 - busy * (1.0 - blocked));
    waits * service_ms(servers) as f64 / (f64::from(servers) * (1.0 - busy))
}

/// What was seen of one task.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    queued: Millis,
    launched: Millis,
    ended: Millis,
    service_ms: u64,
}

/// Runs such a queue, and counts.
pub fn run(queue: Queue) -> Waits {
    let mut world = World::new(setup(queue));
    world.set_hashed(false);
    let warm_up = (queue.arrivals / 5).min(WARM_UP_MAX);
    let mut waits = Waits::default();
    let mut tasks = vec![Seen::default(); queue.arrivals as usize];
    while !world.is_over() && world.step().is_some() {
        for fact in world.truth().facts() {
            let (Some(seen), Some(task)) =
                (tasks.get_mut(fact.task.run as usize), world.truth().task(fact.task))
            else {
                continue;
            };
            if matches!(fact.what, FactKind::JobAsked { .. }) {
                (seen.queued, seen.launched) = (task.queued, fact.at);
            } else if matches!(fact.what, FactKind::WorkerEnded { .. }) {
                seen.ended = fact.at;
                seen.service_ms = task.code.iter().filter_map(|code| Some(code.to?.since(code.from))).sum();
            }
        }
        world.forget_facts();
    }
    let mut free = BinaryHeap::from(vec![Reverse(Millis(0)); queue.servers as usize]);
    for (place, seen) in (0..).zip(&tasks) {
        let Some(Reverse(first_free)) = free.pop() else { break };
        let begins = first_free.max(seen.queued);
        free.push(Reverse(begins + seen.service_ms));
        if place >= warm_up {
            waits.count += 1;
            waits.wait_ms += u128::from(seen.launched.since(seen.queued));
            waits.ideal_ms += u128::from(begins.since(seen.queued));
            waits.service_ms += u128::from(seen.service_ms);
            waits.slot_ms += u128::from(seen.ended.since(seen.launched));
        }
    }
    waits.events = world.steps();
    waits
}

/// The scenario of such a queue.
pub fn scenario(queue: Queue) -> Scenario {
    let about = format!("{} arrive at {} servers, without memory", queue.arrivals, queue.servers);
    Scenario { about, chaos_ms: 0, patience_ms: LONG_MS, world: setup(queue), ..Scenario::default() }
}

fn setup(queue: Queue) -> Setup {
    Setup {
        seed: queue.seed,
        controllers: vec![ControllerSetup {
            capacity: queue.servers,
            startup_timeout_ms: LONG_MS,
            startup_max_ms: LONG_MS,
            ..ControllerSetup::default()
        }],
        workers: WorkerSetup {
            begin: AT_ONCE,
            runner_ready: AT_ONCE,
            clock_origin: Span::Fixed(0),
            ..WorkerSetup::default()
        },
        scalr: ScalrSetup { settings: settings(), latency: AT_ONCE, ..ScalrSetup::default() },
        cluster: cluster(),
        profiles: vec![profile(queue.servers)],
        runs: runs(queue),
        ..Setup::default()
    }
}

fn settings() -> Settings {
    let timings = Timings {
        heartbeat_ms: HOUR_MS,
        offline_after_ms: LONG_MS,
        purge_after_ms: LONG_MS,
        launch_lease_ms: LONG_MS,
        confirm_ms: LONG_MS,
        lease_ttl_ms: LONG_MS,
        renew_ms: LONG_MS / 4,
        lost_after_ms: LONG_MS,
        wait_ms_max: HOUR_MS,
        // What is over is forgotten soon.
        log_open_ms: 1_000,
        replay_ms: 1_000,
        ..Timings::default()
    };
    Settings { timings, operation_timeout_ms: LONG_MS, ..Settings::default() }
}

fn cluster() -> ClusterSetup {
    let pool = PoolSetup {
        count: 1,
        min: 1,
        max: 1,
        cpu_m: 1_000_000_000,
        memory_mi: 1_000_000_000,
        ..PoolSetup::default()
    };
    ClusterSetup {
        pools: vec![pool],
        job: JobSetup { ttl_ms: 1_000, ..JobSetup::default() },
        api: ApiSetup {
            latency: AT_ONCE,
            read: AT_ONCE,
            write: AT_ONCE,
            servers: 1,
            lag_ms: Vec::new(),
            ..ApiSetup::default()
        },
        watch: WatchSetup { delay: AT_ONCE, lasts: Span::Fixed(LONG_MS), bookmark_ms: 0 },
        control: ControlSetup {
            job_sync: AT_ONCE,
            pod_sync: AT_ONCE,
            schedule: AT_ONCE,
            collect: AT_ONCE,
            scan_ms: LONG_MS,
            ..ControlSetup::default()
        },
        kubelet: KubeletSetup {
            see: AT_ONCE,
            mount: AT_ONCE,
            pull_cold: AT_ONCE,
            pull_warm: AT_ONCE,
            init: AT_ONCE,
            status: AT_ONCE,
            cleanup: AT_ONCE,
        },
        ..ClusterSetup::default()
    }
}

fn profile(servers: u32) -> Profile {
    Profile {
        configuration: AT_ONCE,
        tool: AT_ONCE,
        init_cold: AT_ONCE,
        init_warm: AT_ONCE,
        init_bytes: 0,
        plan: Span::Exponential { mean: service_ms(servers) },
        show: AT_ONCE,
        transfer: AT_ONCE,
        console: Span::Fixed(0),
        console_pieces: 1,
        ..Profile::default()
    }
}

fn runs(queue: Queue) -> Vec<RunSetup> {
    let luck = Luck::new(queue.seed);
    let gap = Span::Exponential {
        mean: service_ms(queue.servers) * 1_000 / (u64::from(queue.servers) * BUSY_PERMILLE),
    };
    let mut at_ms = 10_000;
    let run = |place: u32| {
        at_ms += luck.span(ARRIVES, u64::from(place), 0, &gap);
        RunSetup { at_ms, workspace: place % WORKSPACES, is_dry: true, ..RunSetup::default() }
    };
    (0..queue.arrivals).map(run).collect()
}
