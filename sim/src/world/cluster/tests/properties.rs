//! What must hold whatever happens: random lives of a cluster with every kind of fault, then healing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use scalr_core::{
    cluster::{Consistency, Kind, Object, Uid, WatchEnd, WatchEvent},
    controller::{effect::ClusterCall, input::Answer},
    op::Op,
};

use super::bench::{Bench, number, uid, version};
use crate::{
    luck::Span,
    world::{
        cluster::{
            ClusterSetup, Stimulus,
            fault::{
                ApiFault, ApiTrouble, ClusterFault, ImageTrouble, NodeAim, NodeFault, PodAim, PodFault,
                PoolFault, VolumeFault, WatchAim, WatchFault,
            },
            setup::CacheKind,
        },
        snag::CallKind,
    },
};

/// One thing that somebody does.
#[derive(Clone, Debug)]
enum Act {
    Pass(u64),
    Create(u32, u64),
    Delete(u32),
    Exit(u32, i32),
    Fault(ClusterFault),
}

fn pod_aim() -> impl Strategy<Value = PodAim> {
    prop_oneof![
        (0..4_u32).prop_map(|run| PodAim::Of(number(run))),
        (0..8_u32).prop_map(PodAim::Nth),
        Just(PodAim::All),
    ]
}

fn node_aim() -> impl Strategy<Value = NodeAim> {
    prop_oneof![
        (0..4_u32).prop_map(|run| NodeAim::Of(number(run))),
        (0..4_u32).prop_map(NodeAim::Nth),
        Just(NodeAim::All),
    ]
}

fn lasting() -> impl Strategy<Value = u64> {
    prop_oneof![0..2_000_u64, 1_000..120_000_u64, 100_000..900_000_u64]
}

fn watch_aim() -> impl Strategy<Value = WatchAim> {
    let kind = prop_oneof![Just(None), Just(Some(Kind::Jobs)), Just(Some(Kind::Pods))];
    (kind, prop::option::of(0..3_u32)).prop_map(|(kind, nth)| WatchAim { kind, nth })
}

fn api_fault() -> impl Strategy<Value = ApiFault> {
    let call = prop_oneof![
        Just(None),
        Just(Some(CallKind::CreateJob)),
        Just(Some(CallKind::List)),
        Just(Some(CallKind::Watch))
    ];
    let how = prop_oneof![
        Just(ApiTrouble::TooMany { retry_after_ms: 1_000 }),
        Just(ApiTrouble::Broken),
        Just(ApiTrouble::BrokenAfter),
        Just(ApiTrouble::Conflict),
        Just(ApiTrouble::Denied),
        Just(ApiTrouble::WebhookTimeout),
        Just(ApiTrouble::NoTemplate),
    ];
    let task = || (0..4_u32).prop_map(number);
    prop_oneof![
        (call.clone(), how, 0..=1_000_u32, lasting())
            .prop_map(|(call, how, permille, for_ms)| ApiFault::Refuse { call, how, permille, for_ms }),
        (call, 1..60_000_u64, lasting()).prop_map(|(call, by_ms, for_ms)| ApiFault::SlowCalls {
            call,
            by_ms,
            for_ms
        }),
        (task(), lasting()).prop_map(|(task, for_ms)| ApiFault::TakeName { task, for_ms }),
        (prop::option::of(0..3_u32), prop::option::of(0..3_u32), lasting())
            .prop_map(|(jobs, pods, for_ms)| ApiFault::Quota { jobs, pods, for_ms }),
        (task(), lasting()).prop_map(|(task, for_ms)| ApiFault::KeepJob { task, for_ms }),
        task().prop_map(|task| ApiFault::Recreate { task }),
        task().prop_map(|task| ApiFault::Copy { task }),
        lasting().prop_map(|for_ms| ApiFault::ExpireAtOnce { for_ms }),
        task().prop_map(|task| ApiFault::UserDeletesJob { task }),
        (pod_aim(), any::<bool>()).prop_map(|(pod, is_forced)| ApiFault::UserDeletesPod { pod, is_forced }),
        lasting().prop_map(|for_ms| ApiFault::NamespaceEnds { for_ms }),
        Just(ApiFault::Backup),
        Just(ApiFault::Restore),
    ]
}

fn watch_fault() -> impl Strategy<Value = WatchFault> {
    prop_oneof![
        (watch_aim(), 1..30_000_u64, lasting()).prop_map(|(watch, by_ms, for_ms)| WatchFault::Delay {
            watch,
            by_ms,
            for_ms
        }),
        (watch_aim(), lasting()).prop_map(|(watch, for_ms)| WatchFault::Stall { watch, for_ms }),
        (watch_aim(), lasting()).prop_map(|(watch, for_ms)| WatchFault::Coalesce { watch, for_ms }),
        (watch_aim(), any::<bool>()).prop_map(|(watch, is_error)| WatchFault::Cut { watch, is_error }),
        watch_aim().prop_map(|watch| WatchFault::Gone { watch }),
        Just(WatchFault::Compact),
        (watch_aim(), lasting()).prop_map(|(watch, for_ms)| WatchFault::Gap { watch, for_ms }),
        (0..3_u32, 1..60_000_u64, lasting()).prop_map(|(server, by_ms, for_ms)| WatchFault::ServerLag {
            server,
            by_ms,
            for_ms
        }),
        Just(WatchFault::Bookmarks),
    ]
}

fn pod_fault() -> impl Strategy<Value = PodFault> {
    let how = prop_oneof![
        (1..200_000_u64).prop_map(|by_ms| ImageTrouble::Slow { by_ms }),
        Just(ImageTrouble::Refused),
        Just(ImageTrouble::Invalid),
    ];
    prop_oneof![
        pod_aim().prop_map(|pod| PodFault::Evict { pod }),
        (pod_aim(), lasting()).prop_map(|(pod, for_ms)| PodFault::Preempt { pod, for_ms }),
        (0..=1_000_u32, lasting()).prop_map(|(permille, for_ms)| PodFault::Crowd { permille, for_ms }),
        (pod_aim(), how, lasting()).prop_map(|(pod, how, for_ms)| PodFault::Images { pod, how, for_ms }),
        (pod_aim(), lasting()).prop_map(|(pod, for_ms)| PodFault::CreateError { pod, for_ms }),
        (pod_aim(), lasting()).prop_map(|(pod, for_ms)| PodFault::MountError { pod, for_ms }),
        (pod_aim(), lasting()).prop_map(|(pod, for_ms)| PodFault::QuietStatus { pod, for_ms }),
        (pod_aim(), lasting()).prop_map(|(pod, for_ms)| PodFault::StuckTerminating { pod, for_ms }),
        (pod_aim(), lasting()).prop_map(|(pod, for_ms)| PodFault::Unschedulable { pod, for_ms }),
    ]
}

fn node_fault() -> impl Strategy<Value = NodeFault> {
    let after = || prop::option::of(0..400_000_u64);
    prop_oneof![
        node_aim().prop_map(|node| NodeFault::Lost { node }),
        (node_aim(), after(), lasting()).prop_map(|(node, deleted_after_ms, for_ms)| {
            NodeFault::KubeletStopped { node, deleted_after_ms, for_ms }
        }),
        (node_aim(), any::<bool>(), after(), lasting()).prop_map(
            |(node, is_cut_from_scalr, deleted_after_ms, for_ms)| NodeFault::Partition {
                node,
                is_cut_from_scalr,
                deleted_after_ms,
                for_ms
            }
        ),
        (node_aim(), 1..4_u32, 1..100_000_u64).prop_map(|(node, times, period_ms)| NodeFault::Flap {
            node,
            times,
            period_ms
        }),
        (node_aim(), 0..200_000_u64).prop_map(|(node, notice_ms)| NodeFault::SpotReclaim { node, notice_ms }),
        (node_aim(), after(), lasting()).prop_map(|(node, force_after_ms, for_ms)| NodeFault::Drain {
            node,
            force_after_ms,
            for_ms
        }),
        (node_aim(), lasting()).prop_map(|(node, for_ms)| NodeFault::Cordon { node, for_ms }),
        (node_aim(), lasting()).prop_map(|(node, for_ms)| NodeFault::DiskPressure { node, for_ms }),
        (node_aim(), lasting()).prop_map(|(node, for_ms)| NodeFault::KubeletRestart { node, for_ms }),
        (node_aim(), 0..=1_000_u32, lasting()).prop_map(|(node, permille, for_ms)| NodeFault::Shrink {
            node,
            permille,
            for_ms
        }),
        (0..3_u32, any::<bool>(), lasting()).prop_map(|(zone, is_fatal, for_ms)| NodeFault::ZoneOutage {
            zone,
            is_fatal,
            for_ms
        }),
    ]
}

fn other_fault() -> impl Strategy<Value = ClusterFault> {
    let pool = prop_oneof![
        (1..200_000_u64, lasting()).prop_map(|(by_ms, for_ms)| PoolFault::SlowBoot { by_ms, for_ms }),
        (0..2_u32, lasting()).prop_map(|(pool, for_ms)| PoolFault::Stockout { pool, for_ms }),
        Just(PoolFault::ScaleDownRace),
        (0..2_u32, 0..3_u32, lasting()).prop_map(|(pool, max, for_ms)| PoolFault::MaxNodes {
            pool,
            max,
            for_ms
        }),
        node_aim().prop_map(|node| PoolFault::Consolidate { node }),
    ];
    let volume = prop_oneof![
        lasting().prop_map(|for_ms| VolumeFault::Elsewhere { for_ms }),
        node_aim().prop_map(|node| VolumeFault::Wiped { node }),
        lasting().prop_map(|for_ms| VolumeFault::Full { for_ms }),
        Just(VolumeFault::Corrupt),
        pod_aim().prop_map(|pod| VolumeFault::Emptied { pod }),
        (0..3_u32, lasting()).prop_map(|(zone, for_ms)| VolumeFault::Pinned { zone, for_ms }),
    ];
    prop_oneof![
        Just(ClusterFault::Heal),
        pool.prop_map(ClusterFault::Pool),
        volume.prop_map(ClusterFault::Volume)
    ]
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let fault = prop_oneof![
        api_fault().prop_map(ClusterFault::Api),
        watch_fault().prop_map(ClusterFault::Watch),
        pod_fault().prop_map(ClusterFault::Pod),
        node_fault().prop_map(ClusterFault::Node),
        other_fault(),
    ];
    let act = prop_oneof![
        4 => prop_oneof![0..2_000_u64, 0..100_000_u64].prop_map(Act::Pass),
        3 => (0..4_u32, 1..3_u64).prop_map(|(run, fence)| Act::Create(run, fence)),
        1 => (0..8_u32).prop_map(Act::Delete),
        1 => (0..8_u32, prop::sample::select(vec![0, 1, 137])).prop_map(|(nth, code)| Act::Exit(nth, code)),
        4 => fault.prop_map(Act::Fault),
    ];
    prop::collection::vec(act, 1..40)
}

fn setups() -> impl Strategy<Value = ClusterSetup> {
    let kinds = prop_oneof![
        Just(CacheKind::EmptyDir),
        Just(CacheKind::Shared),
        Just(CacheKind::OneNode),
        Just(CacheKind::HostPath)
    ];
    (0..3_u32, 0..4_u32, kinds, any::<bool>(), any::<bool>(), prop_oneof![Just(1_500), Just(4_000)]).prop_map(
        |(count, more, kind, has_budget, is_zonal, cpu_m)| {
            let mut setup = ClusterSetup { has_budget, ..ClusterSetup::default() };
            setup.pools[0].count = count;
            setup.pools[0].min = count.min(1);
            setup.pools[0].max = (count + more).max(1);
            setup.pools[0].cpu_m = cpu_m;
            // In a real cluster too a volume in one zone is stuck if the pool is full of nodes of others.
            setup.pools[0].zones = if is_zonal { 1 } else { 2 };
            setup.cache.kind = kind;
            setup.cache.is_zonal = is_zonal;
            setup.watch.lasts = Span::Even { min: 100_000, max: 200_000 };
            setup
        },
    )
}

/// A client that keeps what a watch tells, and begins anew as clients do.
#[derive(Clone, Debug, Default)]
struct Mirror {
    watch: Option<Op>,
    list: Option<Op>,
    at: u64,
    known: BTreeMap<Uid, Object>,
}

/// A bench with a client of each kind, and everything that was ever stored.
struct Life {
    bench: Bench,
    mirrors: BTreeMap<Kind, Mirror>,
    stored: BTreeMap<(Uid, u64), Object>,
    places: [u64; 2],
    is_restored: bool,
}

impl Life {
    fn new(setup: &ClusterSetup, seed: u64) -> Self {
        let mut bench = Bench::with_seed(setup, seed);
        bench.is_silent = true;
        bench.lasts_ms = Some(40_000);
        let mirrors = [Kind::Jobs, Kind::Pods].map(|kind| (kind, Mirror::default())).into();
        Self { bench, mirrors, stored: BTreeMap::new(), places: [0; 2], is_restored: false }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Pass(ms) => self.pass(ms),
            Act::Create(run, fence) => {
                let spec = self.bench.job(run, fence);
                self.bench.ask(ClusterCall::Create(Box::new(spec)));
            }
            Act::Delete(nth) => {
                let jobs: Vec<_> = self.bench.cluster.jobs().cloned().collect();
                if let Some(place) = (nth as usize).checked_rem(jobs.len()) {
                    self.bench.delete(&jobs[place]);
                }
            }
            Act::Exit(nth, code) => {
                let running: Vec<_> = self.bench.running.iter().copied().collect();
                if let Some(place) = (nth as usize).checked_rem(running.len()) {
                    self.bench.exit(running[place].0, running[place].1, code);
                }
            }
            Act::Fault(fault) => {
                // After it, versions stand for something else, and old news may be told once more.
                self.is_restored |= fault == ClusterFault::Api(ApiFault::Restore);
                self.bench.strike(fault);
            }
        }
        self.take_stock();
    }

    /// Lets time pass in small steps, and lets the clients look after their watches.
    fn pass(&mut self, ms: u64) {
        let until = self.bench.now + ms;
        while self.bench.step(until) {
            self.take_stock();
            self.follow();
        }
        self.bench.now = until;
    }

    /// Remembers everything that was written.
    fn take_stock(&mut self) {
        let api = &self.bench.cluster.api;
        for (history, place) in [&api.jobs, &api.pods].into_iter().zip(&mut self.places) {
            while *place < history.end() {
                if let Some(change) = history.get(*place) {
                    let object = Object::clone(&change.after);
                    self.stored.insert((uid(&object).clone(), change.version), object);
                }
                *place += 1;
            }
        }
    }

    fn follow(&mut self) {
        for (op, event) in std::mem::take(&mut self.bench.events) {
            let meant = self.mirrors.iter().find(|(_, mirror)| mirror.watch == Some(op));
            let Some(kind) = meant.map(|(kind, _)| *kind) else { continue };
            self.told(kind, event);
        }
        for kind in [Kind::Jobs, Kind::Pods] {
            self.look_after(kind);
        }
        self.bench.answers.clear();
    }

    fn told(&mut self, kind: Kind, event: WatchEvent) {
        let is_restored = self.is_restored;
        let mirror = self.mirrors.get_mut(&kind).expect("both are there");
        match event {
            WatchEvent::Seen(object) => {
                let is_known = self.stored.get(&(uid(&object).clone(), version(&object).0)) == Some(&object);
                assert!(is_known || is_restored, "{object:?} was never stored so");
                assert!(version(&object).0 > mirror.at, "{object:?} is told late");
                mirror.at = version(&object).0;
                mirror.known.insert(uid(&object).clone(), object);
            }
            WatchEvent::Gone(object) => {
                assert!(version(&object).0 > mirror.at, "{object:?} is told late");
                mirror.at = version(&object).0;
                mirror.known.remove(uid(&object));
            }
            WatchEvent::Bookmark(version) => {
                assert!(version.0 >= mirror.at, "a bookmark goes back");
                mirror.at = version.0;
            }
            WatchEvent::Ended(WatchEnd::Eof) => mirror.watch = None,
            // What broke may have been restored.
            WatchEvent::Ended(WatchEnd::Gone | WatchEnd::Error { .. }) => *mirror = Mirror::default(),
        }
    }

    fn look_after(&mut self, kind: Kind) {
        let mirror = &self.mirrors[&kind];
        let answer = |op: Option<Op>| op.and_then(|op| self.bench.answers.get(&op));
        match (answer(mirror.list), answer(mirror.watch)) {
            (Some(Answer::Listed(Ok(listing))), _) => {
                let known =
                    listing.objects.iter().map(|object| (uid(object).clone(), object.clone())).collect();
                let at = listing.version.0;
                self.mirrors.insert(kind, Mirror { watch: None, list: None, at, known });
            }
            (Some(_), _) | (_, Some(Answer::Watching(Err(_)))) => {
                self.mirrors.insert(kind, Mirror::default());
            }
            (None, _) => {}
        }
        let mirror = &self.mirrors[&kind];
        if mirror.list.is_some() || mirror.watch.is_some() {
            return;
        }
        let (list, watch) = if mirror.at == 0 {
            (Some(self.bench.ask(ClusterCall::List(kind, Consistency::Quorum))), None)
        } else {
            (None, Some(self.bench.watch(kind, mirror.at)))
        };
        let mirror = self.mirrors.get_mut(&kind).expect("both are there");
        (mirror.list, mirror.watch) = (list, watch);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_happens_the_cluster_keeps_its_books_and_comes_to_rest(
        setup in setups(),
        acts in acts(),
        seed in any::<u64>(),
    ) {
        let mut life = Life::new(&setup, seed);
        life.act(Act::Pass(1));
        for kind in [Kind::Jobs, Kind::Pods] {
            life.look_after(kind);
        }
        for act in acts {
            life.act(act);
        }
        life.act(Act::Fault(ClusterFault::Heal));
        if life.is_restored {
            // Versions went back: who watches on from a later one hears nothing, in a real cluster too.
            life.mirrors.values_mut().for_each(|mirror| *mirror = Mirror::default());
            life.follow();
        }
        life.pass(1_000_000);
        // Those who follow know what is stored.
        for (kind, mirror) in &life.mirrors {
            let cluster = &life.bench.cluster;
            let stored: BTreeMap<Uid, Object> = match kind {
                Kind::Jobs => cluster.jobs().map(|job| (job.uid.clone(), Object::Job(job.clone()))).collect(),
                Kind::Pods => {
                    cluster.pods().map(|(_, pod)| (pod.uid.clone(), Object::Pod(pod.clone()))).collect()
                }
            };
            prop_assert_eq!(&mirror.known, &stored);
        }
        // And without them it comes to rest, with nothing left over.
        let client = crate::world::process::ProcessId(1);
        life.bench.feel(Stimulus::ClientGone { client });
        life.bench.settle(20_000);
        prop_assert_eq!(life.bench.cluster.jobs().count(), 0);
        prop_assert_eq!(life.bench.cluster.pods().count(), 0);
        prop_assert_eq!(life.bench.cluster.live().count(), 0);
    }
}

#[test]
fn the_same_dice_give_the_same_life() {
    let lives = [5, 5, 6].map(|seed| {
        let mut bench = Bench::with_seed(&ClusterSetup::default(), seed);
        for run in 0..20 {
            bench.create(run);
        }
        bench.pass(60_000);
        bench
    });
    assert!(lives[0].cluster == lives[1].cluster && lives[0].text == lives[1].text);
    assert_ne!(lives[0].text, lives[2].text);
}

#[test]
fn ten_thousand_jobs_at_once_take_a_bounded_number_of_events_each() {
    let mut setup = ClusterSetup::default();
    setup.pools[0] =
        crate::world::cluster::setup::PoolSetup { count: 20, min: 20, max: 200, ..setup.pools[0].clone() };
    setup.kubelet.pull_cold = Span::Fixed(5_000);
    let mut bench = Bench::new(&setup);
    bench.is_silent = true;
    bench.is_checked = false;
    bench.lasts_ms = Some(20_000);
    bench.watch(Kind::Jobs, 1);
    bench.watch(Kind::Pods, 1);
    for run in 0..10_000 {
        bench.create(run);
        bench.pass(2);
    }
    bench.pass(3_600_000);
    assert_eq!(bench.cluster.ledger().created, 10_000);
    assert_eq!((bench.cluster.jobs().count(), bench.cluster.pods().count()), (0, 0));
    assert_eq!(bench.cluster.faults_in_books(), None);
    let each = bench.steps / 10_000;
    assert!(each <= 50, "{each} events a Job");
}
