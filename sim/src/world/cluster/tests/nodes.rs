//! Nodes that are lost, cut off, drained, reclaimed and in need, and what becomes of their pods.

use expect_test::expect;
use scalr_core::cluster::Kind;

use super::{
    basics::{check, plain},
    bench::{Bench, number},
};
use crate::world::cluster::{
    ClusterFault, ClusterSetup,
    fault::{NodeAim, NodeFault},
};

const NODE: NodeAim = NodeAim::Of(number(1));

fn two_nodes() -> ClusterSetup {
    let mut setup = plain();
    setup.pools[0].count = 2;
    setup.pools[0].min = 2;
    setup.pools[0].max = 2;
    setup
}

/// A pod that runs on one of two nodes, and nothing said before.
fn running(setup: &ClusterSetup) -> Bench {
    let mut bench = Bench::new(setup);
    bench.watch(Kind::Jobs, 1);
    bench.watch(Kind::Pods, 1);
    bench.create(1);
    bench.pass(15_000);
    bench.take_text();
    bench
}

#[test]
fn a_stopped_kubelet_and_a_deleted_node_give_a_second_pod_while_the_first_runs() {
    let mut bench = running(&two_nodes());
    bench.strike(ClusterFault::Node(NodeFault::KubeletStopped {
        node: NODE,
        deleted_after_ms: Some(10_000),
        for_ms: 300_000,
    }));
    bench.pass(100_000);
    assert_eq!(bench.cluster.live().filter(|live| live.is_stored).count(), 2);
    assert_eq!(bench.cluster.live().count(), 4, "both pods run");
    bench.pass(300_000);
    check(
        &mut bench,
        expect![[r#"
        15.000s -- Node(KubeletStopped { node: Of(TaskNumber { run: 1, action: Plan }), deleted_after_ms: Some(10000), for_ms: 300000 })
        68.951s op2 seen job-1-p1 @7 on node-0-2 running/running NodeLost
        68.951s op2 seen job-1-p1 @8 on node-0-2 deleting running/running NodeLost
        70.004s op2 gone job-1-p1 @9 on node-0-2 deleting running/running NodeLost
        80.007s op1 seen job-1 j1@11
        80.008s op2 seen job-1-p2 @10 waiting/waiting
        80.033s op2 seen job-1-p2 @12 on node-0-1 waiting/waiting
        86.858s run p2 Worker of t1 fence 1 on node-0-1
        86.858s run p2 Runner of t1 fence 1 on node-0-1
        87.018s op2 seen job-1-p2 @13 on node-0-1 running/running
        315.099s terminate p1 within 1000
    "#]],
    );
    assert_eq!(bench.cluster.live().count(), 2);
}

#[test]
fn a_partitioned_pod_is_evicted_after_five_minutes_and_stays_until_its_node_is_back() {
    let mut bench = running(&two_nodes());
    bench.strike(ClusterFault::Node(NodeFault::Partition {
        node: NODE,
        is_cut_from_scalr: true,
        deleted_after_ms: None,
        for_ms: 600_000,
    }));
    bench.pass(700_000);
    check(
        &mut bench,
        expect![[r#"
        15.000s -- Node(Partition { node: Of(TaskNumber { run: 1, action: Plan }), is_cut_from_scalr: true, deleted_after_ms: None, for_ms: 600000 })
        15.000s p1 is cut from Scalr
        365.011s op2 seen job-1-p1 @7 on node-0-2 deleting running/running NodeLost
        615.000s p1 reaches Scalr
        615.099s terminate p1 within 360000
        615.890s op2 seen job-1-p1 @8 on node-0-2 deleting exit 143/exit 143 NodeLost
        616.955s op1 seen job-1 j1@9 failed: PodFailurePolicy
        617.619s op2 gone job-1-p1 @10 on node-0-2 deleting exit 143/exit 143 NodeLost
        676.957s op1 gone job-1 j1@11 deleting failed: PodFailurePolicy
    "#]],
    );
}

#[test]
fn a_short_partition_is_noticed_by_nobody() {
    let mut bench = running(&two_nodes());
    bench.strike(ClusterFault::Node(NodeFault::Partition {
        node: NODE,
        is_cut_from_scalr: false,
        deleted_after_ms: None,
        for_ms: 40_000,
    }));
    bench.pass(10_000);
    bench.exit_all(0);
    bench.pass(40_000);
    check(
        &mut bench,
        expect![[r#"
        15.000s -- Node(Partition { node: Of(TaskNumber { run: 1, action: Plan }), is_cut_from_scalr: false, deleted_after_ms: None, for_ms: 40000 })
        55.899s op2 seen job-1-p1 @7 on node-0-2 exit 0/exit 0
        56.955s op1 seen job-1 j1@8 complete
    "#]],
    );
}

#[test]
fn a_dead_machine_kills_its_pod_and_another_takes_its_place() {
    let mut bench = running(&two_nodes());
    bench.strike(ClusterFault::Node(NodeFault::Lost { node: NODE }));
    bench.pass(180_000);
    check(
        &mut bench,
        expect![[r#"
            15.000s -- Node(Lost { node: Of(TaskNumber { run: 1, action: Plan }) })
            15.000s kill p1 Runner
            15.000s kill p1 Worker
            129.352s op2 seen job-1-p1 @7 on node-0-2 running/running NodeLost
            129.352s op2 seen job-1-p1 @8 on node-0-2 deleting running/running NodeLost
            130.405s op2 gone job-1-p1 @9 on node-0-2 deleting running/running NodeLost
            140.408s op1 seen job-1 j1@11
            140.409s op2 seen job-1-p2 @10 waiting/waiting
            140.434s op2 seen job-1-p2 @12 on node-0-1 waiting/waiting
            147.259s run p2 Worker of t1 fence 1 on node-0-1
            147.259s run p2 Runner of t1 fence 1 on node-0-1
            147.419s op2 seen job-1-p2 @13 on node-0-1 running/running
        "#]],
    );
    assert_eq!(bench.cluster.nodes().count(), 2, "the pool grows back");
}

#[test]
fn a_drain_waits_for_the_budget_until_it_is_forced() {
    let mut bench = running(&two_nodes());
    bench.strike(ClusterFault::Node(NodeFault::Drain {
        node: NODE,
        force_after_ms: Some(60_000),
        for_ms: 120_000,
    }));
    bench.pass(100_000);
    check(
        &mut bench,
        expect![[r#"
        15.000s -- Node(Drain { node: Of(TaskNumber { run: 1, action: Plan }), force_after_ms: Some(60000), for_ms: 120000 })
        75.011s op2 seen job-1-p1 @7 on node-0-2 deleting running/running Deleted
        75.099s terminate p1 within 360000
        76.489s op2 seen job-1-p1 @8 on node-0-2 deleting exit 143/exit 143 Deleted
        77.554s op1 seen job-1 j1@9 failed: PodFailurePolicy
        78.218s op2 gone job-1-p1 @10 on node-0-2 deleting exit 143/exit 143 Deleted
    "#]],
    );
}

#[test]
fn a_drain_without_a_budget_evicts_at_once() {
    let mut setup = two_nodes();
    setup.has_budget = false;
    let mut bench = running(&setup);
    bench.strike(ClusterFault::Node(NodeFault::Drain { node: NODE, force_after_ms: None, for_ms: 120_000 }));
    bench.pass(20_000);
    check(
        &mut bench,
        expect![[r#"
        15.000s -- Node(Drain { node: Of(TaskNumber { run: 1, action: Plan }), force_after_ms: None, for_ms: 120000 })
        15.011s op2 seen job-1-p1 @7 on node-0-2 deleting running/running Evicted
        15.099s terminate p1 within 360000
        16.489s op2 seen job-1-p1 @8 on node-0-2 deleting exit 143/exit 143 Evicted
        17.554s op1 seen job-1 j1@9 failed: PodFailurePolicy
        18.218s op2 gone job-1-p1 @10 on node-0-2 deleting exit 143/exit 143 Evicted
    "#]],
    );
}

#[test]
fn a_reclaimed_machine_dies_at_the_end_of_its_notice() {
    let mut bench = running(&two_nodes());
    bench.strike(ClusterFault::Node(NodeFault::SpotReclaim { node: NODE, notice_ms: 120_000 }));
    bench.pass(119_000);
    bench.look();
    bench.pass(60_000);
    check(
        &mut bench,
        expect![[r#"
            15.000s -- Node(SpotReclaim { node: Of(TaskNumber { run: 1, action: Plan }), notice_ms: 120000 })
            134.000s    job-1 j1@4
            134.000s    job-1-p1 @6 on node-0-2 running/running
            135.000s kill p1 Runner
            135.000s kill p1 Worker
        "#]],
    );
}

#[test]
fn a_full_disk_evicts_a_pod_and_its_exit_code_fails_the_job() {
    let mut bench = running(&two_nodes());
    bench.strike(ClusterFault::Node(NodeFault::DiskPressure { node: NODE, for_ms: 60_000 }));
    bench.pass(10_000);
    check(
        &mut bench,
        expect![[r#"
        15.000s -- Node(DiskPressure { node: Of(TaskNumber { run: 1, action: Plan }), for_ms: 60000 })
        15.000s terminate p1 within 1000
        16.399s op2 seen job-1-p1 @7 on node-0-2 exit 143/exit 143 Evicted
        17.455s op1 seen job-1 j1@8 failed: PodFailurePolicy
    "#]],
    );
}

#[test]
fn a_kubelet_that_restarts_writes_late_what_has_ended_meanwhile() {
    let mut bench = running(&two_nodes());
    bench.strike(ClusterFault::Node(NodeFault::KubeletRestart { node: NODE, for_ms: 20_000 }));
    bench.pass(5_000);
    bench.exit_all(0);
    bench.pass(30_000);
    check(
        &mut bench,
        expect![[r#"
        15.000s -- Node(KubeletRestart { node: Of(TaskNumber { run: 1, action: Plan }), for_ms: 20000 })
        35.899s op2 seen job-1-p1 @7 on node-0-2 exit 0/exit 0
        36.955s op1 seen job-1 j1@8 complete
    "#]],
    );
}

#[test]
fn a_node_with_less_room_than_it_says_rejects_a_pod() {
    let mut bench = Bench::new(&plain());
    bench.strike(ClusterFault::Node(NodeFault::Shrink { node: NodeAim::All, permille: 10, for_ms: 30_000 }));
    bench.watch(Kind::Jobs, 1);
    bench.watch(Kind::Pods, 1);
    bench.create(1);
    bench.pass(60_000);
    check(
        &mut bench,
        expect![[r#"
        0.000s -- Node(Shrink { node: All, permille: 10, for_ms: 30000 })
        0.008s op3 created job-1 j1@2
        0.011s op2 watching Ok(())
        0.016s op1 watching Ok(())
        0.016s op1 seen job-1 j1@2
        0.051s op2 seen job-1-p1 @3 waiting/waiting
        0.057s op2 seen job-1-p1 @5 on node-0-1 waiting/waiting
        0.060s op1 seen job-1 j1@4
        0.830s op2 seen job-1-p1 @6 on node-0-1 waiting/waiting
        11.878s op1 seen job-1 j1@8
        11.883s op2 seen job-1-p2 @7 waiting/waiting
        11.887s op2 seen job-1-p2 @9 waiting/waiting Unschedulable
        30.007s op2 seen job-1-p2 @10 on node-0-1 waiting/waiting
        36.848s run p2 Worker of t1 fence 1 on node-0-1
        36.848s run p2 Runner of t1 fence 1 on node-0-1
        37.012s op2 seen job-1-p2 @11 on node-0-1 running/running
    "#]],
    );
}

#[test]
fn a_node_that_flaps_evicts_nobody() {
    let mut bench = running(&two_nodes());
    bench.strike(ClusterFault::Node(NodeFault::Flap { node: NODE, times: 3, period_ms: 70_000 }));
    bench.pass(500_000);
    check(
        &mut bench,
        expect![[r#"
        15.000s -- Node(Flap { node: Of(TaskNumber { run: 1, action: Plan }), times: 3, period_ms: 70000 })
    "#]],
    );
}
