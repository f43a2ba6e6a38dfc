//! What clients see: names, quotas, refusals, lists and watches.

use expect_test::expect;
use scalr_core::{
    cluster::{Consistency, Kind},
    controller::effect::ClusterCall,
};

use super::{
    basics::{check, plain},
    bench::{Bench, number},
};
use crate::world::{
    cluster::{
        ClusterFault,
        fault::{ApiFault, ApiTrouble},
        setup::QuotaSetup,
    },
    snag::CallKind,
};

#[test]
fn the_same_again_is_found_and_anything_else_of_that_name_is_not() {
    let mut bench = Bench::new(&plain());
    bench.create(1);
    bench.create(1);
    let mut other = bench.job(1, 2);
    other.name = "job-1".into();
    bench.ask(ClusterCall::Create(Box::new(other)));
    bench.pass(100);
    let job = bench.cluster.jobs().next().cloned().expect("it is there");
    bench.delete(&job);
    bench.create(1);
    bench.pass(20);
    check(
        &mut bench,
        expect![[r#"
        0.008s op3 Created(Err(NameTaken))
        0.012s op2 created job-1 j1@2
        0.015s op1 created job-1 j1@2
        0.110s op4 deleted
        0.111s op5 created job-1 j2@7
    "#]],
    );
}

#[test]
fn a_finished_job_is_over_until_its_ttl() {
    let mut bench = Bench::new(&plain());
    bench.create(1);
    bench.pass(20_000);
    bench.exit_all(0);
    bench.pass(5_000);
    bench.create(1);
    bench.pass(70_000);
    bench.create(1);
    bench.pass(50);
    check(
        &mut bench,
        expect![[r#"
        0.015s op1 created job-1 j1@2
        5.919s run p1 Worker of t1 fence 1 on node-0-1
        5.919s run p1 Runner of t1 fence 1 on node-0-1
        25.012s op2 Created(Err(Over))
        95.008s op3 created job-1 j2@13
    "#]],
    );
}

#[test]
fn a_deletion_needs_the_uid_and_says_yes_to_what_is_gone() {
    let mut bench = Bench::new(&plain());
    let op = bench.create(1);
    let mut job = bench.made(op);
    job.uid = "another".into();
    bench.delete(&job);
    bench.pass(20_000);
    bench.look();
    check(
        &mut bench,
        expect![[r#"
        0.015s op1 created job-1 j1@2
        1.012s op2 deleted
        5.919s run p1 Worker of t1 fence 1 on node-0-1
        5.919s run p1 Runner of t1 fence 1 on node-0-1
        21.000s    job-1 j1@4
        21.000s    job-1-p1 @6 on node-0-1 running/running
    "#]],
    );
    assert_eq!((bench.cluster.ledger().deleted, bench.cluster.ledger().missed), (0, 1));
}

#[test]
fn a_deleted_jobs_pod_ends_within_its_grace_and_goes_after_the_job() {
    let mut bench = Bench::new(&plain());
    bench.watch(Kind::Jobs, 1);
    bench.watch(Kind::Pods, 1);
    let op = bench.create(1);
    let job = bench.made(op);
    bench.pass(15_000);
    bench.take_text();
    bench.delete(&job);
    bench.pass(10_000);
    check(
        &mut bench,
        expect![[r#"
        16.006s op1 gone job-1 j1@7 deleting
        16.010s op4 deleted
        17.173s op2 seen job-1-p1 @8 on node-0-1 deleting running/running Deleted
        17.261s terminate p1 within 360000
        18.651s op2 seen job-1-p1 @9 on node-0-1 deleting exit 143/exit 143 Deleted
        20.380s op2 gone job-1-p1 @10 on node-0-1 deleting exit 143/exit 143 Deleted
    "#]],
    );
}

#[test]
fn a_process_that_does_not_listen_is_killed_at_its_grace() {
    let mut bench = Bench::new(&plain());
    bench.is_deaf = true;
    let op = bench.create(1);
    let job = bench.made(op);
    bench.pass(15_000);
    bench.take_text();
    bench.delete(&job);
    bench.pass(400_000);
    check(
        &mut bench,
        expect![[r#"
        16.012s op2 deleted
        17.261s terminate p1 within 360000
        377.261s kill p1 Worker
        377.261s kill p1 Runner
    "#]],
    );
    assert_eq!(bench.cluster.live().count(), 0);
}

#[test]
fn a_full_quota_refuses_even_the_job_that_is_there() {
    let mut setup = plain();
    setup.quota = QuotaSetup { jobs: Some(1), pods: None };
    let mut bench = Bench::new(&setup);
    bench.create(1);
    bench.create(1);
    bench.pass(20);
    check(
        &mut bench,
        expect![[r#"
        0.012s op2 Created(Err(QuotaExceeded { detail: "exceeded quota: used: count/jobs.batch=1, limited: 1" }))
        0.015s op1 created job-1 j1@2
    "#]],
    );
}

#[test]
fn without_a_quota_for_pods_a_job_waits_without_a_pod() {
    let mut bench = Bench::new(&plain());
    bench.strike(ClusterFault::Api(ApiFault::Quota { jobs: None, pods: Some(0), for_ms: 30_000 }));
    bench.create(1);
    bench.pass(25_000);
    bench.look();
    bench.pass(20_000);
    bench.look();
    check(
        &mut bench,
        expect![[r#"
        0.000s -- Api(Quota { jobs: None, pods: Some(0), for_ms: 30000 })
        0.015s op1 created job-1 j1@2
        25.000s    job-1 j1@2
        36.919s run p1 Worker of t1 fence 1 on node-0-1
        36.919s run p1 Runner of t1 fence 1 on node-0-1
        45.000s    job-1 j1@4
        45.000s    job-1-p1 @6 on node-0-1 running/running
    "#]],
    );
}

#[test]
fn trouble_is_answered_as_each_caller_must_treat_it() {
    let mut bench = Bench::new(&plain());
    for how in [
        ApiTrouble::TooMany { retry_after_ms: 1_000 },
        ApiTrouble::Broken,
        ApiTrouble::Conflict,
        ApiTrouble::Denied,
        ApiTrouble::WebhookTimeout,
        ApiTrouble::NoTemplate,
        ApiTrouble::BrokenAfter,
    ] {
        let fault = ApiFault::Refuse { call: Some(CallKind::CreateJob), how, permille: 1_000, for_ms: 10 };
        bench.strike(ClusterFault::Api(fault));
        bench.create(1);
        bench.pass(11_000);
    }
    bench.create(1);
    bench.pass(100);
    check(
        &mut bench,
        expect![[r#"
        0.000s -- Api(Refuse { call: Some(CreateJob), how: TooMany { retry_after_ms: 1000 }, permille: 1000, for_ms: 10 })
        0.015s op1 Created(Err(RateLimited { retry_after_ms: 1000 }))
        11.000s -- Api(Refuse { call: Some(CreateJob), how: Broken, permille: 1000, for_ms: 10 })
        11.012s op2 Created(Err(Unreachable { detail: "500 etcdserver: request timed out" }))
        22.000s -- Api(Refuse { call: Some(CreateJob), how: Conflict, permille: 1000, for_ms: 10 })
        22.008s op3 Created(Err(Unreachable { detail: "409 the object has been modified" }))
        33.000s -- Api(Refuse { call: Some(CreateJob), how: Denied, permille: 1000, for_ms: 10 })
        33.010s op4 Created(Err(Refused { detail: "admission webhook \"policy\" denied the request" }))
        44.000s -- Api(Refuse { call: Some(CreateJob), how: WebhookTimeout, permille: 1000, for_ms: 10 })
        54.011s op5 Created(Err(Unreachable { detail: "500 failed calling webhook: context deadline exceeded" }))
        55.000s -- Api(Refuse { call: Some(CreateJob), how: NoTemplate, permille: 1000, for_ms: 10 })
        55.013s op6 Created(Err(Template { detail: "the AgentTaskTemplate is not there" }))
        66.000s -- Api(Refuse { call: Some(CreateJob), how: BrokenAfter, permille: 1000, for_ms: 10 })
        66.011s op7 Created(Err(Unreachable { detail: "500 etcdserver: request timed out" }))
        71.919s run p1 Worker of t1 fence 1 on node-0-1
        71.919s run p1 Runner of t1 fence 1 on node-0-1
        77.009s op8 created job-1 j1@4
    "#]],
    );
}

#[test]
fn a_slow_creation_is_carried_out_after_its_caller_has_left() {
    let mut bench = Bench::new(&plain());
    let fault = ApiFault::SlowCalls { call: None, by_ms: 40_000, for_ms: 10 };
    bench.strike(ClusterFault::Api(fault));
    let create = bench.create(1);
    bench.abandon(create);
    bench.pass(30_000);
    bench.look();
    bench.pass(30_000);
    bench.look();
    check(
        &mut bench,
        expect![[r#"
        0.000s -- Api(SlowCalls { call: None, by_ms: 40000, for_ms: 10 })
        40.015s op1 created job-1 j1@2
        45.919s run p1 Worker of t1 fence 1 on node-0-1
        45.919s run p1 Runner of t1 fence 1 on node-0-1
        60.000s    job-1 j1@4
        60.000s    job-1-p1 @6 on node-0-1 running/running
    "#]],
    );
}

#[test]
fn somebody_has_the_name_already() {
    let mut bench = Bench::new(&plain());
    bench.strike(ClusterFault::Api(ApiFault::TakeName { task: number(1), for_ms: 5_000 }));
    bench.create(1);
    bench.pass(100);
    let listed = bench.list(Kind::Jobs, Consistency::Quorum);
    assert_eq!(listed.objects, [], "others' Jobs are in no list");
    bench.pass(6_000);
    bench.create(1);
    bench.pass(50);
    check(
        &mut bench,
        expect![[r#"
        0.000s -- Api(TakeName { task: TaskNumber { run: 1, action: Plan }, for_ms: 5000 })
        0.015s op1 Created(Err(NameTaken))
        0.111s op2 listed @2: []
        6.208s op3 created job-1 j2@4
    "#]],
    );
}

#[test]
fn a_job_that_somebody_keeps_goes_on_running_while_it_is_being_deleted() {
    let mut bench = Bench::new(&plain());
    bench.watch(Kind::Jobs, 1);
    let op = bench.create(1);
    let job = bench.made(op);
    bench.pass(15_000);
    bench.take_text();
    bench.strike(ClusterFault::Api(ApiFault::KeepJob { task: number(1), for_ms: 20_000 }));
    bench.delete(&job);
    bench.pass(10_000);
    bench.create(1);
    bench.pass(30_000);
    check(
        &mut bench,
        expect![[r#"
        16.000s -- Api(KeepJob { task: TaskNumber { run: 1, action: Plan }, for_ms: 20000 })
        16.006s op1 seen job-1 j1@7 deleting
        16.008s op3 deleted
        26.010s op4 Created(Err(Over))
        36.008s op1 gone job-1 j1@8 deleting
        37.261s terminate p1 within 360000
    "#]],
    );
}

#[test]
fn a_replaced_job_has_another_uid_and_runs_again() {
    let mut bench = Bench::new(&plain());
    bench.watch(Kind::Jobs, 1);
    bench.create(1);
    bench.pass(15_000);
    bench.take_text();
    bench.strike(ClusterFault::Api(ApiFault::Recreate { task: number(1) }));
    bench.pass(15_000);
    check(
        &mut bench,
        expect![[r#"
        15.000s -- Api(Recreate { task: TaskNumber { run: 1, action: Plan } })
        15.006s op1 gone job-1 j1@7 deleting
        15.008s op1 seen job-1 j2@8
        15.052s op1 seen job-1 j2@10
        16.261s terminate p1 within 360000
        16.294s run p2 Worker of t1 fence 1 on node-0-1
        16.294s run p2 Runner of t1 fence 1 on node-0-1
    "#]],
    );
}

#[test]
fn a_namespace_that_ends_takes_all_along_and_refuses_what_is_new() {
    let mut bench = Bench::new(&plain());
    bench.create(1);
    bench.pass(15_000);
    bench.take_text();
    bench.strike(ClusterFault::Api(ApiFault::NamespaceEnds { for_ms: 10_000 }));
    bench.create(2);
    bench.pass(9_000);
    bench.look();
    bench.pass(2_000);
    bench.create(2);
    bench.pass(10);
    check(
        &mut bench,
        expect![[r#"
        15.000s -- Api(NamespaceEnds { for_ms: 10000 })
        15.012s op2 Created(Err(Refused { detail: "namespaces: unable to create job job-2: it is being terminated" }))
        16.261s terminate p1 within 360000
        26.008s op3 created job-2 j2@11
    "#]],
    );
}

#[test]
fn a_restored_store_brings_back_what_was_deleted_and_forgets_what_is_new() {
    let mut bench = Bench::new(&plain());
    let op = bench.create(1);
    let job = bench.made(op);
    bench.pass(15_000);
    bench.strike(ClusterFault::Api(ApiFault::Backup));
    bench.delete(&job);
    bench.create(2);
    bench.pass(30_000);
    bench.look();
    bench.watch(Kind::Jobs, 1);
    bench.pass(50);
    bench.take_text();
    bench.strike(ClusterFault::Api(ApiFault::Restore));
    bench.pass(10_000);
    bench.look();
    check(
        &mut bench,
        expect![[r#"
        46.050s -- Api(Restore)
        46.050s op4 ended Error { detail: "the API server restarts" }
        46.077s terminate p2 within 360000
        47.284s run p3 Worker of t1 fence 1 on node-0-1
        47.284s run p3 Runner of t1 fence 1 on node-0-1
        56.050s    job-1 j1@4
        56.050s    job-1-p1 @8 on node-0-1 running/running
    "#]],
    );
}
