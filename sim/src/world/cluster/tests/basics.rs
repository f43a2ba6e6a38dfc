//! The plain path from creation to the end, and what a client sees of it.

use expect_test::{Expect, expect};
use scalr_core::cluster::Kind;

use super::bench::Bench;
use crate::{luck::Span, world::cluster::setup::ClusterSetup};

/// One server without lag and nothing that varies much.
pub(super) fn plain() -> ClusterSetup {
    let mut setup = ClusterSetup::default();
    setup.api.servers = 1;
    setup.api.lag_ms = vec![0];
    setup.watch.lasts = Span::Fixed(3_000_000);
    setup.watch.bookmark_ms = 0;
    setup.kubelet.pull_cold = Span::Fixed(5_000);
    setup.pools[0].count = 1;
    setup.pools[0].min = 1;
    setup.pools[0].max = 1;
    setup
}

#[track_caller]
pub(super) fn check(bench: &mut Bench, expected: Expect) {
    expected.assert_eq(&bench.take_text());
}

#[test]
fn a_job_lives_from_its_creation_to_its_ttl() {
    let mut bench = Bench::new(&plain());
    bench.watch(Kind::Jobs, 1);
    bench.watch(Kind::Pods, 1);
    bench.create(7);
    bench.pass(20_000);
    bench.exit_all(0);
    bench.pass(100_000);
    check(
        &mut bench,
        expect![[r#"
        0.008s op3 created job-7 j1@2
        0.011s op2 watching Ok(())
        0.016s op1 watching Ok(())
        0.016s op1 seen job-7 j1@2
        0.028s op2 seen job-7-p1 @3 waiting/waiting
        0.034s op2 seen job-7-p1 @5 on node-0-1 waiting/waiting
        0.037s op1 seen job-7 j1@4
        6.912s run p1 Worker of t7 fence 1 on node-0-1
        6.912s run p1 Runner of t7 fence 1 on node-0-1
        7.405s op2 seen job-7-p1 @6 on node-0-1 running/running
        20.535s op2 seen job-7-p1 @7 on node-0-1 exit 0/exit 0
        21.550s op1 seen job-7 j1@8 complete
        81.552s op1 seen job-7 j1@9 deleting complete
        83.132s op2 seen job-7-p1 @10 on node-0-1 deleting exit 0/exit 0
        83.133s op2 gone job-7-p1 @11 on node-0-1 deleting exit 0/exit 0
        83.135s op1 gone job-7 j1@12 deleting complete
    "#]],
    );
}
