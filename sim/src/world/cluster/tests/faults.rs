//! What the Job controller makes of pods that fail, and what keeps pods from starting.

use expect_test::expect;
use scalr_core::cluster::Kind;

use super::{
    basics::{check, plain},
    bench::{Bench, number},
};
use crate::world::cluster::{
    ClusterFault, Role,
    fault::{ApiFault, ImageTrouble, PodAim, PodFault, PoolFault, VolumeFault},
    setup::CacheKind,
    volumes::CacheFill,
};

const POD: PodAim = PodAim::Of(number(1));

/// A pod that runs, and nothing said before.
fn running() -> Bench {
    let mut bench = Bench::new(&plain());
    bench.watch(Kind::Jobs, 1);
    bench.watch(Kind::Pods, 1);
    bench.create(1);
    bench.pass(15_000);
    bench.take_text();
    bench
}

#[test]
fn an_exit_code_that_is_not_0_fails_the_job_at_once() {
    let mut bench = running();
    let pod = bench.running.first().expect("it runs").0;
    bench.exit(pod, Role::Runner, 1);
    bench.pass(10_000);
    bench.exit(pod, Role::Worker, 0);
    bench.pass(10_000);
    check(
        &mut bench,
        expect![[r#"
        15.899s op2 seen job-1-p1 @7 on node-0-1 running/exit 1
        25.302s op2 seen job-1-p1 @8 on node-0-1 exit 0/exit 1
        26.367s op1 seen job-1 j1@9 failed: PodFailurePolicy
    "#]],
    );
}

#[test]
fn a_budget_refuses_to_evict_what_runs() {
    let mut bench = running();
    bench.strike(ClusterFault::Pod(PodFault::Evict { pod: POD }));
    bench.pass(10_000);
    check(
        &mut bench,
        expect![[r#"
        15.000s -- Pod(Evict { pod: Of(TaskNumber { run: 1, action: Plan }) })
    "#]],
    );
}

#[test]
fn an_evicted_pod_that_has_not_run_is_replaced() {
    let mut bench = Bench::new(&plain());
    bench.create(1);
    bench.pass(3_000);
    bench.watch(Kind::Pods, 1);
    bench.strike(ClusterFault::Pod(PodFault::Evict { pod: POD }));
    bench.pass(25_000);
    check(
        &mut bench,
        expect![[r#"
        0.015s op1 created job-1 j1@2
        3.000s -- Pod(Evict { pod: Of(TaskNumber { run: 1, action: Plan }) })
        3.011s op2 watching Ok(())
        3.011s op2 seen job-1-p1 @3 waiting/waiting
        3.011s op2 seen job-1-p1 @5 on node-0-1 waiting/waiting
        3.019s op2 seen job-1-p1 @6 on node-0-1 deleting waiting/waiting Evicted
        3.773s op2 seen job-1-p1 @7 on node-0-1 deleting waiting/waiting Evicted
        5.492s op2 gone job-1-p1 @8 on node-0-1 deleting waiting/waiting Evicted
        14.826s op2 seen job-1-p2 @9 waiting/waiting
        14.843s op2 seen job-1-p2 @11 on node-0-1 waiting/waiting
        21.680s run p2 Worker of t1 fence 1 on node-0-1
        21.680s run p2 Runner of t1 fence 1 on node-0-1
        21.856s op2 seen job-1-p2 @12 on node-0-1 running/running
    "#]],
    );
}

#[test]
fn a_preempted_pod_that_has_run_fails_its_job_by_its_exit_code() {
    let mut bench = running();
    bench.strike(ClusterFault::Pod(PodFault::Preempt { pod: POD, for_ms: 60_000 }));
    bench.pass(10_000);
    check(
        &mut bench,
        expect![[r#"
        15.000s -- Pod(Preempt { pod: Of(TaskNumber { run: 1, action: Plan }), for_ms: 60000 })
        15.011s op2 seen job-1-p1 @7 on node-0-1 deleting running/running Preempted
        15.099s terminate p1 within 360000
        16.489s op2 seen job-1-p1 @8 on node-0-1 deleting exit 143/exit 143 Preempted
        17.554s op1 seen job-1 j1@9 failed: PodFailurePolicy
        18.218s op2 gone job-1-p1 @10 on node-0-1 deleting exit 143/exit 143 Preempted
    "#]],
    );
}

#[test]
fn a_pod_deleted_by_force_is_gone_while_its_processes_run() {
    let mut bench = running();
    bench.is_deaf = true;
    bench.strike(ClusterFault::Api(ApiFault::UserDeletesJob { task: number(1) }));
    bench.strike(ClusterFault::Api(ApiFault::UserDeletesPod { pod: POD, is_forced: true }));
    bench.pass(3_000);
    check(
        &mut bench,
        expect![[r#"
        15.000s -- Api(UserDeletesJob { task: TaskNumber { run: 1, action: Plan } })
        15.000s -- Api(UserDeletesPod { pod: Of(TaskNumber { run: 1, action: Plan }), is_forced: true })
        15.006s op1 gone job-1 j1@7 deleting
        15.011s op2 seen job-1-p1 @8 on node-0-1 deleting running/running Deleted
        15.099s terminate p1 within 0
        15.099s kill p1 Worker
        15.099s kill p1 Runner
        15.989s op2 seen job-1-p1 @9 on node-0-1 deleting exit 137/exit 137 Deleted
        16.165s op2 gone job-1-p1 @10 on node-0-1 deleting exit 137/exit 137 Deleted
    "#]],
    );
}

#[test]
fn a_pod_that_was_never_scheduled_counts_as_failed_when_it_is_deleted() {
    let mut bench = Bench::new(&plain());
    bench.strike(ClusterFault::Pod(PodFault::Unschedulable { pod: POD, for_ms: 600_000 }));
    bench.watch(Kind::Jobs, 1);
    bench.watch(Kind::Pods, 1);
    bench.create(1);
    bench.pass(1_000);
    bench.strike(ClusterFault::Api(ApiFault::UserDeletesPod { pod: POD, is_forced: false }));
    bench.pass(40_000);
    bench.strike(ClusterFault::Api(ApiFault::UserDeletesPod { pod: POD, is_forced: false }));
    bench.pass(40_000);
    check(
        &mut bench,
        expect![[r#"
        0.000s -- Pod(Unschedulable { pod: Of(TaskNumber { run: 1, action: Plan }), for_ms: 600000 })
        0.008s op3 created job-1 j1@2
        0.011s op2 watching Ok(())
        0.016s op1 watching Ok(())
        0.016s op1 seen job-1 j1@2
        0.051s op2 seen job-1-p1 @3 waiting/waiting
        0.057s op2 seen job-1-p1 @5 waiting/waiting Unschedulable
        0.060s op1 seen job-1 j1@4
        1.000s -- Api(UserDeletesPod { pod: Of(TaskNumber { run: 1, action: Plan }), is_forced: false })
        1.019s op2 seen job-1-p1 @6 deleting waiting/waiting Unschedulable Deleted
        13.123s op2 seen job-1-p1 @7 deleting waiting/waiting Deleted
        14.175s op2 gone job-1-p1 @8 deleting waiting/waiting Deleted
        24.176s op2 seen job-1-p2 @9 waiting/waiting
        24.179s op1 seen job-1 j1@10
        24.193s op2 seen job-1-p2 @11 waiting/waiting Unschedulable
        41.000s -- Api(UserDeletesPod { pod: Of(TaskNumber { run: 1, action: Plan }), is_forced: false })
        41.019s op2 seen job-1-p2 @12 deleting waiting/waiting Unschedulable Deleted
        52.304s op2 seen job-1-p2 @13 deleting waiting/waiting Deleted
        53.452s op1 seen job-1 j1@15 failed: BackoffLimitExceeded
        53.454s op2 gone job-1-p2 @14 deleting waiting/waiting Deleted
    "#]],
    );
}

#[test]
fn images_volumes_and_containers_are_tried_again() {
    let mut bench = Bench::new(&plain());
    let for_ms = 20_000;
    bench.strike(ClusterFault::Pod(PodFault::MountError { pod: POD, for_ms }));
    bench.strike(ClusterFault::Pod(PodFault::Images {
        pod: POD,
        how: ImageTrouble::Refused,
        for_ms: 60_000,
    }));
    bench.strike(ClusterFault::Pod(PodFault::CreateError { pod: POD, for_ms: 120_000 }));
    bench.watch(Kind::Pods, 1);
    bench.create(1);
    bench.pass(240_000);
    check(
        &mut bench,
        expect![[r#"
        0.000s -- Pod(MountError { pod: Of(TaskNumber { run: 1, action: Plan }), for_ms: 20000 })
        0.000s -- Pod(Images { pod: Of(TaskNumber { run: 1, action: Plan }), how: Refused, for_ms: 60000 })
        0.000s -- Pod(CreateError { pod: Of(TaskNumber { run: 1, action: Plan }), for_ms: 120000 })
        0.012s op2 created job-1 j1@2
        0.016s op1 watching Ok(())
        0.056s op1 seen job-1-p1 @3 waiting/waiting
        0.062s op1 seen job-1-p1 @5 on node-0-1 waiting/waiting
        0.817s op1 seen job-1-p1 @6 on node-0-1 waiting/waiting Volume
        31.044s op1 seen job-1-p1 @7 on node-0-1 waiting/waiting ImagePull
        60.991s op1 seen job-1-p1 @8 on node-0-1 waiting/waiting
        65.897s op1 seen job-1-p1 @9 on node-0-1 waiting/waiting ContainerCreate
        135.919s run p1 Worker of t1 fence 1 on node-0-1
        135.919s run p1 Runner of t1 fence 1 on node-0-1
        136.307s op1 seen job-1-p1 @10 on node-0-1 running/running
    "#]],
    );
}

#[test]
fn an_invalid_image_name_stays_so() {
    let mut bench = Bench::new(&plain());
    let how = ImageTrouble::Invalid;
    bench.strike(ClusterFault::Pod(PodFault::Images { pod: POD, how, for_ms: 1_000_000 }));
    bench.watch(Kind::Pods, 1);
    bench.create(1);
    bench.pass(900_000);
    check(
        &mut bench,
        expect![[r#"
        0.000s -- Pod(Images { pod: Of(TaskNumber { run: 1, action: Plan }), how: Invalid, for_ms: 1000000 })
        0.012s op2 created job-1 j1@2
        0.016s op1 watching Ok(())
        0.056s op1 seen job-1-p1 @3 waiting/waiting
        0.062s op1 seen job-1-p1 @5 on node-0-1 waiting/waiting
        1.355s op1 seen job-1-p1 @6 on node-0-1 waiting/waiting ImageInvalid
    "#]],
    );
}

#[test]
fn a_pod_may_run_and_end_before_its_first_status() {
    let mut bench = Bench::new(&plain());
    bench.strike(ClusterFault::Pod(PodFault::QuietStatus { pod: POD, for_ms: 30_000 }));
    bench.lasts_ms = Some(5_000);
    bench.watch(Kind::Jobs, 1);
    bench.watch(Kind::Pods, 1);
    bench.create(1);
    bench.pass(40_000);
    check(
        &mut bench,
        expect![[r#"
        0.000s -- Pod(QuietStatus { pod: Of(TaskNumber { run: 1, action: Plan }), for_ms: 30000 })
        0.008s op3 created job-1 j1@2
        0.011s op2 watching Ok(())
        0.016s op1 watching Ok(())
        0.016s op1 seen job-1 j1@2
        0.051s op2 seen job-1-p1 @3 waiting/waiting
        0.057s op2 seen job-1-p1 @5 on node-0-1 waiting/waiting
        0.060s op1 seen job-1 j1@4
        5.919s run p1 Worker of t1 fence 1 on node-0-1
        5.919s run p1 Runner of t1 fence 1 on node-0-1
        30.682s op2 seen job-1-p1 @6 on node-0-1 exit 0/exit 0
        31.730s op1 seen job-1 j1@7 complete
    "#]],
    );
}

#[test]
fn a_stuck_pod_stays_until_it_is_let_go() {
    let mut bench = running();
    bench.strike(ClusterFault::Pod(PodFault::StuckTerminating { pod: POD, for_ms: 60_000 }));
    bench.strike(ClusterFault::Api(ApiFault::UserDeletesJob { task: number(1) }));
    bench.pass(65_000);
    check(
        &mut bench,
        expect![[r#"
        15.000s -- Pod(StuckTerminating { pod: Of(TaskNumber { run: 1, action: Plan }), for_ms: 60000 })
        15.000s -- Api(UserDeletesJob { task: TaskNumber { run: 1, action: Plan } })
        15.006s op1 gone job-1 j1@7 deleting
        16.173s op2 seen job-1-p1 @8 on node-0-1 deleting running/running Deleted
        16.261s terminate p1 within 360000
        17.651s op2 seen job-1-p1 @9 on node-0-1 deleting exit 143/exit 143 Deleted
        75.003s op2 gone job-1-p1 @10 on node-0-1 deleting exit 143/exit 143 Deleted
    "#]],
    );
}

#[test]
fn pods_that_find_no_room_get_a_node_if_the_pool_may_grow() {
    let mut setup = plain();
    setup.pools[0].max = 2;
    setup.pools[0].cpu_m = 1_500;
    setup.control.idle_ms = 60_000;
    let mut bench = Bench::new(&setup);
    bench.watch(Kind::Pods, 1);
    for run in 1..=5 {
        bench.create(run);
    }
    bench.pass(150_000);
    bench.look();
    bench.take_text();
    bench.look();
    bench.exit_all(0);
    bench.pass(200_000);
    check(
        &mut bench,
        expect![[r#"
        150.000s    job-1 j1@13
        150.000s    job-2 j2@15
        150.000s    job-3 j3@8
        150.000s    job-4 j4@20
        150.000s    job-5 j5@11
        150.000s    job-3-p1 @22 on node-0-1 running/running
        150.000s    job-5-p2 @23 on node-0-1 running/running
        150.000s    job-1-p3 @29 on node-0-2 running/running
        150.000s    job-2-p4 @28 on node-0-2 running/running
        150.000s    job-4-p5 @21 waiting/waiting Unschedulable
        150.183s op1 seen job-2-p4 @30 on node-0-2 exit 0/exit 0
        150.198s op1 seen job-4-p5 @31 on node-0-2 waiting/waiting
        150.293s op1 seen job-5-p2 @32 on node-0-1 exit 0/exit 0
        150.682s op1 seen job-3-p1 @33 on node-0-1 exit 0/exit 0
        150.889s op1 seen job-1-p3 @34 on node-0-2 exit 0/exit 0
        152.451s run p5 Worker of t4 fence 1 on node-0-2
        152.451s run p5 Runner of t4 fence 1 on node-0-2
        152.718s op1 seen job-4-p5 @39 on node-0-2 running/running
        212.641s op1 seen job-2-p4 @44 on node-0-2 deleting exit 0/exit 0
        212.641s op1 gone job-2-p4 @45 on node-0-2 deleting exit 0/exit 0
        212.664s op1 seen job-3-p1 @47 on node-0-1 deleting exit 0/exit 0
        212.667s op1 gone job-3-p1 @48 on node-0-1 deleting exit 0/exit 0
        213.049s op1 seen job-5-p2 @50 on node-0-1 deleting exit 0/exit 0
        213.058s op1 gone job-5-p2 @51 on node-0-1 deleting exit 0/exit 0
        213.121s op1 seen job-1-p3 @53 on node-0-2 deleting exit 0/exit 0
        213.124s op1 gone job-1-p3 @54 on node-0-2 deleting exit 0/exit 0
    "#]],
    );
    assert_eq!(bench.cluster.nodes().count(), 1, "what stands empty goes");
}

#[test]
fn a_provider_without_stock_is_left_alone_for_a_while() {
    let mut setup = plain();
    setup.pools[0].count = 0;
    setup.pools[0].min = 0;
    let mut bench = Bench::new(&setup);
    bench.strike(ClusterFault::Pool(PoolFault::Stockout { pool: 0, for_ms: 200_000 }));
    bench.watch(Kind::Pods, 1);
    bench.create(1);
    bench.pass(700_000);
    check(
        &mut bench,
        expect![[r#"
        0.000s -- Pool(Stockout { pool: 0, for_ms: 200000 })
        0.012s op2 created job-1 j1@2
        0.016s op1 watching Ok(())
        0.056s op1 seen job-1-p1 @3 waiting/waiting
        0.062s op1 seen job-1-p1 @5 waiting/waiting Unschedulable
        10.006s op1 seen job-1-p1 @6 waiting/waiting ScalingUp
        70.008s op1 seen job-1-p1 @7 waiting/waiting Unschedulable
        360.476s op1 seen job-1-p1 @8 waiting/waiting ScalingUp
        417.024s op1 seen job-1-p1 @9 on node-0-2 waiting/waiting
        422.890s run p1 Worker of t1 fence 1 on node-0-2
        422.890s run p1 Runner of t1 fence 1 on node-0-2
        423.572s op1 seen job-1-p1 @10 on node-0-2 running/running
    "#]],
    );
}

#[test]
fn a_node_may_be_taken_away_as_a_pod_is_bound_to_it() {
    let mut bench = Bench::new(&plain());
    bench.strike(ClusterFault::Pool(PoolFault::ScaleDownRace));
    bench.watch(Kind::Pods, 1);
    bench.create(1);
    bench.pass(300_000);
    check(
        &mut bench,
        expect![[r#"
        0.000s -- Pool(ScaleDownRace)
        0.012s op2 created job-1 j1@2
        0.016s op1 watching Ok(())
        0.056s op1 seen job-1-p1 @3 waiting/waiting
        0.062s op1 seen job-1-p1 @5 on node-0-1 waiting/waiting
        108.619s op1 seen job-1-p1 @6 on node-0-1 waiting/waiting NodeLost
        108.621s op1 seen job-1-p1 @7 on node-0-1 deleting waiting/waiting NodeLost
        109.679s op1 gone job-1-p1 @8 on node-0-1 deleting waiting/waiting NodeLost
        119.678s op1 seen job-1-p2 @9 waiting/waiting
        119.706s op1 seen job-1-p2 @11 on node-0-2 waiting/waiting
        126.531s run p2 Worker of t1 fence 1 on node-0-2
        126.531s run p2 Runner of t1 fence 1 on node-0-2
        126.701s op1 seen job-1-p2 @12 on node-0-2 running/running
    "#]],
    );
}

#[test]
fn a_cache_on_the_node_is_warm_for_the_next_pod_and_a_pods_own_is_not() {
    for (kind, is_warm) in
        [(CacheKind::HostPath, true), (CacheKind::Shared, true), (CacheKind::EmptyDir, false)]
    {
        let mut setup = plain();
        setup.cache.kind = kind;
        let mut bench = Bench::new(&setup);
        bench.lasts_ms = Some(30_000);
        bench.create(1);
        bench.pass(15_000);
        let first = bench.running.first().expect("it runs").0;
        assert!(!bench.cluster.cache(first, 7).expect("it has a volume").is_warm);
        assert_eq!(bench.cluster.cache_filled(first, 7, 1_000), CacheFill::Kept);
        assert!(bench.cluster.cache(first, 7).expect("it has a volume").is_warm);
        bench.pass(200_000);
        bench.create(2);
        bench.pass(15_000);
        let second = bench.running.first().expect("it runs").0;
        assert_eq!(bench.cluster.cache(second, 7).expect("it has a volume").is_warm, is_warm, "{kind:?}");
        assert_eq!(bench.cluster.cache(first, 7), None, "what has ended has no volume");
    }
}

#[test]
fn a_full_cache_evicts_what_is_idle_and_nothing_that_is_in_use() {
    let mut setup = plain();
    setup.cache.kind = CacheKind::Shared;
    setup.cache.capacity_bytes = 100;
    let mut bench = Bench::new(&setup);
    bench.create(1);
    bench.create(2);
    bench.pass(15_000);
    let pods: Vec<_> = bench.cluster.pods().map(|(key, _)| key).collect();
    let [one, two] = pods[..] else { panic!("two pods") };
    assert_eq!(bench.cluster.cache_filled(one, 1, 60), CacheFill::Kept);
    assert_eq!(bench.cluster.cache_filled(two, 2, 60), CacheFill::NoRoom);
    for role in Role::ALL {
        bench.exit(one, role, 0);
    }
    assert_eq!(bench.cluster.cache_filled(two, 2, 60), CacheFill::Kept);
    assert!(!bench.cluster.cache(two, 1).expect("it has a volume").is_warm);
    bench.strike(ClusterFault::Volume(VolumeFault::Corrupt));
    assert!(bench.cluster.cache(two, 2).expect("it has a volume").is_corrupt);
    assert_eq!(bench.cluster.volume_fault(), None);
}

#[test]
fn a_volume_for_one_node_keeps_pods_of_other_nodes_waiting() {
    let mut setup = plain();
    setup.cache.kind = CacheKind::OneNode;
    setup.pools[0].count = 2;
    let mut bench = Bench::new(&setup);
    bench.watch(Kind::Pods, 1);
    bench.create(1);
    bench.create(2);
    bench.pass(20_000);
    bench.exit_all(0);
    bench.pass(40_000);
    check(
        &mut bench,
        expect![[r#"
        0.008s op3 created job-2 j2@3
        0.012s op2 created job-1 j1@2
        0.016s op1 watching Ok(())
        0.056s op1 seen job-1-p1 @4 waiting/waiting
        0.062s op1 seen job-2-p2 @6 waiting/waiting
        0.062s op1 seen job-1-p1 @8 on node-0-2 waiting/waiting
        0.062s op1 seen job-2-p2 @9 on node-0-1 waiting/waiting
        0.816s op1 seen job-1-p1 @10 on node-0-2 waiting/waiting Volume
        6.041s run p2 Worker of t2 fence 1 on node-0-1
        6.041s run p2 Runner of t2 fence 1 on node-0-1
        6.383s op1 seen job-2-p2 @11 on node-0-1 running/running
        20.199s op1 seen job-2-p2 @12 on node-0-1 exit 0/exit 0
        31.049s op1 seen job-1-p1 @14 on node-0-2 waiting/waiting
        35.919s run p1 Worker of t1 fence 1 on node-0-2
        35.919s run p1 Runner of t1 fence 1 on node-0-2
        36.229s op1 seen job-1-p1 @15 on node-0-2 running/running
    "#]],
    );
}
