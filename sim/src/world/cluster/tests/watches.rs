//! What clients see late, twice, not at all, or only as it is at last.

use expect_test::expect;
use scalr_core::{
    cluster::{Consistency, Kind},
    controller::effect::ClusterCall,
};

use super::{
    basics::{check, plain},
    bench::Bench,
};
use crate::{
    luck::Span,
    world::cluster::{
        ClusterFault,
        fault::{WatchAim, WatchFault},
    },
};

const JOBS: WatchAim = WatchAim { kind: Some(Kind::Jobs), nth: None };

#[test]
fn a_cached_list_may_be_old_and_a_quorum_list_never_is() {
    let mut setup = plain();
    setup.api.lag_ms = vec![10_000];
    let mut bench = Bench::new(&setup);
    bench.pass(20_000);
    bench.create(1);
    bench.pass(10);
    bench.ask(ClusterCall::List(Kind::Jobs, Consistency::Cached));
    bench.pass(100);
    bench.ask(ClusterCall::List(Kind::Jobs, Consistency::Quorum));
    bench.pass(100);
    // Once it was so new, it does not get older.
    bench.ask(ClusterCall::List(Kind::Jobs, Consistency::Cached));
    bench.pass(100);
    check(
        &mut bench,
        expect![[r#"
        20.015s op1 created job-1 j1@2
        20.021s op2 listed @0: []
        20.117s op3 listed @5: [job-1 j1@4]
        20.220s op4 listed @5: [job-1 j1@4]
    "#]],
    );
}

#[test]
fn a_stalled_watch_says_nothing_and_then_everything() {
    let mut bench = Bench::new(&plain());
    bench.watch(Kind::Pods, 1);
    bench.pass(50);
    let watch = WatchAim::default();
    bench.strike(ClusterFault::Watch(WatchFault::Stall { watch, for_ms: 30_000 }));
    bench.create(1);
    bench.pass(40_000);
    check(
        &mut bench,
        expect![[r#"
        0.016s op1 watching Ok(())
        0.050s -- Watch(Stall { watch: WatchAim { kind: None, nth: None }, for_ms: 30000 })
        0.062s op2 created job-1 j1@2
        5.969s run p1 Worker of t1 fence 1 on node-0-1
        5.969s run p1 Runner of t1 fence 1 on node-0-1
        30.059s op1 seen job-1-p1 @3 waiting/waiting
        30.063s op1 seen job-1-p1 @5 on node-0-1 waiting/waiting
        30.063s op1 seen job-1-p1 @6 on node-0-1 running/running
    "#]],
    );
}

#[test]
fn a_coalescing_watch_says_only_how_things_look_at_last() {
    let mut bench = Bench::new(&plain());
    bench.watch(Kind::Pods, 1);
    bench.pass(50);
    let watch = WatchAim::default();
    bench.strike(ClusterFault::Watch(WatchFault::Coalesce { watch, for_ms: 30_000 }));
    bench.create(1);
    bench.pass(40_000);
    check(
        &mut bench,
        expect![[r#"
        0.016s op1 watching Ok(())
        0.050s -- Watch(Coalesce { watch: WatchAim { kind: None, nth: None }, for_ms: 30000 })
        0.062s op2 created job-1 j1@2
        5.969s run p1 Worker of t1 fence 1 on node-0-1
        5.969s run p1 Runner of t1 fence 1 on node-0-1
        30.056s op1 seen job-1-p1 @6 on node-0-1 running/running
    "#]],
    );
}

#[test]
fn a_gap_ends_with_a_forgotten_history() {
    let mut bench = Bench::new(&plain());
    bench.watch(Kind::Jobs, 1);
    let op = bench.create(1);
    let job = bench.made(op);
    bench.strike(ClusterFault::Watch(WatchFault::Gap { watch: JOBS, for_ms: 30_000 }));
    bench.delete(&job);
    bench.pass(40_000);
    bench.list(Kind::Jobs, Consistency::Quorum);
    check(
        &mut bench,
        expect![[r#"
        0.012s op2 created job-1 j1@2
        0.016s op1 watching Ok(())
        0.016s op1 seen job-1 j1@2
        0.060s op1 seen job-1 j1@4
        1.000s -- Watch(Gap { watch: WatchAim { kind: Some(Jobs), nth: None }, for_ms: 30000 })
        1.008s op3 deleted
        31.000s op1 ended Gone
        41.010s op4 listed @9: []
    "#]],
    );
}

#[test]
fn a_watch_from_a_forgotten_version_does_not_begin() {
    let mut bench = Bench::new(&plain());
    bench.create(1);
    bench.pass(5_000);
    bench.strike(ClusterFault::Watch(WatchFault::Compact));
    bench.take_text();
    for _ in 0..4 {
        bench.watch(Kind::Jobs, 2);
    }
    bench.pass(100);
    // What was forgotten is no matter for who has seen it.
    bench.watch(Kind::Jobs, 4);
    bench.pass(100);
    check(
        &mut bench,
        expect![[r#"
        5.007s op3 watching Ok(())
        5.007s op3 ended Gone
        5.010s op4 watching Err(Gone)
        5.011s op2 watching Err(Gone)
        5.011s op5 watching Err(Gone)
        5.115s op6 watching Ok(())
    "#]],
    );
}

#[test]
fn watches_end_are_cut_and_say_bookmarks() {
    let mut setup = plain();
    setup.watch.bookmark_ms = 10_000;
    setup.watch.lasts = Span::Fixed(25_000);
    let mut bench = Bench::new(&setup);
    bench.watch(Kind::Jobs, 1);
    bench.pass(30_000);
    for is_error in [false, true] {
        bench.watch(Kind::Jobs, 1);
        bench.pass(50);
        bench.strike(ClusterFault::Watch(WatchFault::Cut { watch: JOBS, is_error }));
        bench.pass(50);
    }
    bench.watch(Kind::Jobs, 1);
    bench.pass(50);
    bench.strike(ClusterFault::Watch(WatchFault::Bookmarks));
    bench.strike(ClusterFault::Watch(WatchFault::Gone { watch: JOBS }));
    bench.pass(50);
    check(
        &mut bench,
        expect![[r#"
        0.016s op1 watching Ok(())
        10.000s op1 bookmark 1
        20.000s op1 bookmark 1
        25.000s op1 ended Eof
        30.011s op2 watching Ok(())
        30.050s -- Watch(Cut { watch: WatchAim { kind: Some(Jobs), nth: None }, is_error: false })
        30.050s op2 ended Eof
        30.107s op3 watching Ok(())
        30.150s -- Watch(Cut { watch: WatchAim { kind: Some(Jobs), nth: None }, is_error: true })
        30.150s op3 ended Error { detail: "http2: client connection lost" }
        30.210s op4 watching Ok(())
        30.250s -- Watch(Bookmarks)
        30.250s -- Watch(Gone { watch: WatchAim { kind: Some(Jobs), nth: None } })
        30.250s op4 bookmark 1
        30.250s op4 ended Gone
    "#]],
    );
}

#[test]
fn one_kind_may_be_told_long_before_the_other() {
    let mut bench = Bench::new(&plain());
    bench.watch(Kind::Jobs, 1);
    bench.watch(Kind::Pods, 1);
    bench.pass(50);
    bench.strike(ClusterFault::Watch(WatchFault::Delay { watch: JOBS, by_ms: 5_000, for_ms: 60_000 }));
    bench.create(1);
    bench.pass(6_000);
    check(
        &mut bench,
        expect![[r#"
        0.011s op2 watching Ok(())
        0.016s op1 watching Ok(())
        0.050s -- Watch(Delay { watch: WatchAim { kind: Some(Jobs), nth: None }, by_ms: 5000, for_ms: 60000 })
        0.058s op3 created job-1 j1@2
        0.101s op2 seen job-1-p1 @3 waiting/waiting
        0.107s op2 seen job-1-p1 @5 on node-0-1 waiting/waiting
        5.059s op1 seen job-1 j1@2
        5.110s op1 seen job-1 j1@4
        5.969s run p1 Worker of t1 fence 1 on node-0-1
        5.969s run p1 Runner of t1 fence 1 on node-0-1
    "#]],
    );
}
