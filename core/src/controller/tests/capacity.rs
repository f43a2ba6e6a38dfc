//! How many, how fast, and why no more.

use expect_test::expect;
use scalr_protocol::{agent::Verdict, id::TaskId};

use super::story::*;
use crate::{
    cluster::{ClusterError, Job, JobEnd},
    controller::{
        ControllerOptions,
        input::{Answer, Input},
    },
};

#[test]
fn jobs_of_others_take_room_and_a_job_that_ends_gives_it_back() {
    let mut story = Story::ready_with(options(), vec![job("t9@1", 5)], vec![running("t9@1", 6)]);
    story.is_quiet = true;
    story.verdicts = vec![(key("t9@1"), Verdict::HeldByOther)];
    story.acquire(&["t1@1", "t2@1"]);
    story.advance(10);
    story.check(&expect![[r#"
        1.000s acquired [t1@1 t2@1]
        1.010s …
            create agent-run-1-plan for t1@1
    "#]]);
    let waiting_task = TaskId::new("t2").unwrap();
    expect!["number 1 of 1 waiting here: as many Jobs are in flight as may be (2)"]
        .assert_eq(&story.brain.explain(story.now, &waiting_task).unwrap());
    story.answer("create", Answer::Created(Ok(job("t1@1", 11))));
    // Its Job has ended, but its worker runs still, as far as one can see.
    story.job(ended("t9@1", 12, JobEnd::Complete));
    story.advance(50);
    story.check(&expect![[r#"
        1.010s Job made
        1.010s watch: Job j-t9-1 deleting=false end=Some(Complete)
    "#]]);
    story.pod(pod("t9@1", 13, exited(0), exited(0)));
    story.advance(50);
    story.check(&expect![[r#"
        1.060s watch: pod worker=Terminated { exit_code: 0, is_oom: false } runner=Terminated { exit_code: 0, is_oom: false }
        1.070s …
            create agent-run-2-plan for t2@1
    "#]]);
}

#[test]
fn a_creation_takes_room_until_it_is_known_to_have_failed() {
    let mut story = Story::ready_with(ControllerOptions { capacity: 1, ..options() }, vec![], vec![]);
    story.is_quiet = true;
    story.acquire(&["t1@1", "t2@1"]);
    story.advance(10);
    story.answer("create", Answer::Created(Err(cut())));
    story.advance(500);
    story.check(&expect![[r#"
        1.000s acquired [t1@1 t2@1]
        1.010s …
            create agent-run-1-plan for t1@1
        1.010s create: Created(Err(Unreachable { detail: "timed out" }))
        1.066s …
            create agent-run-1-plan for t1@1
    "#]]);
    assert_eq!(story.brain.status().creating, 1, "it may exist");
}

#[test]
fn a_quota_holds_everybody_and_one_tries_again() {
    let mut story = Story::ready();
    story.acquire(&["t1@1", "t2@1", "t3@1"]);
    story.advance(10);
    let quota = || ClusterError::QuotaExceeded { detail: "count/jobs.batch".to_owned() };
    story.answer("create agent-run-2", Answer::Created(Err(quota())));
    story.answer("create agent-run-1", Answer::Created(Err(quota())));
    story.check(&expect![[r#"
        1.000s acquired [t1@1 t2@1 t3@1]
        1.010s …
            create agent-run-1-plan for t1@1
            create agent-run-2-plan for t2@1
            acquire slots=0 ahead=4 wait=5000
        1.010s create agent-run-2: Created(Err(QuotaExceeded { detail: "count/jobs.batch" }))
        1.010s create agent-run-1: Created(Err(QuotaExceeded { detail: "count/jobs.batch" }))
    "#]]);
    story.advance(2_500);
    story.check(&expect![[r#"
        1.885s …
            create agent-run-1-plan for t1@1
        2.010s …
            events [t3@1 Held: the namespace's quota leaves no room: count/jobs.batch]
    "#]]);
    story.answer("create", Answer::Created(Ok(job("t1@1", 11))));
    story.advance(2_500);
    story.check(&expect![[r#"
        3.510s Job made
        3.520s …
            create agent-run-2-plan for t2@1
    "#]]);
}

#[test]
fn the_longest_wait_that_the_cluster_has_asked_for_holds() {
    let mut story = Story::ready();
    story.is_quiet = true;
    story.acquire(&["t1@1", "t2@1", "t3@1"]);
    story.advance(10);
    let patience = ClusterError::RateLimited { retry_after_ms: 9_000 };
    story.answer("create agent-run-2", Answer::Created(Err(patience)));
    let quota = ClusterError::QuotaExceeded { detail: "count/jobs.batch".to_owned() };
    story.answer("create agent-run-1", Answer::Created(Err(quota)));
    story.skip();
    story.advance(8_900);
    story.check(&expect![[""]]);
    story.advance(3_000);
    story.check(&expect![[r#"
        10.885s …
            create agent-run-1-plan for t1@1
    "#]]);
}

#[test]
fn a_missing_template_is_waited_for_and_explained() {
    let mut story = Story::ready();
    story.is_quiet = true;
    story.acquire(&["t1@1"]);
    story.advance(10);
    let missing = ClusterError::Template { detail: "no AgentTask in this namespace".to_owned() };
    story.answer("create", Answer::Created(Err(missing)));
    story.advance(10);
    let task = TaskId::new("t1").unwrap();
    expect!["number 1 of 1 waiting here: there is no usable task template: no AgentTask in this namespace"]
        .assert_eq(&story.brain.explain(story.now, &task).unwrap());
}

#[test]
fn the_window_halves_when_jobs_get_no_pods_and_holds_the_rest() {
    let wide = ControllerOptions { capacity: 100, look_ahead: 100, ..options() };
    let mut story = Story::ready_with(wide, vec![], vec![]);
    story.is_quiet = true;
    let tasks: Vec<String> = (0..12).map(|n| format!("t{n}@1")).collect();
    story.acquire(&tasks.iter().map(String::as_str).collect::<Vec<_>>());
    story.advance(10);
    for n in 0..10_u64 {
        let task = format!("t{n}@1");
        story.answer(&format!("create agent-run-{n}-"), Answer::Created(Ok(job(&task, 11 + n))));
    }
    story.skip();
    assert_eq!(story.brain.status().window, 10);
    let task = TaskId::new("t11").unwrap();
    expect![
        "number 2 of 2 waiting here: 10 Jobs wait for their pods already; the next is made when one appears"
    ]
    .assert_eq(&story.brain.explain(story.now, &task).unwrap());
    story.advance(16_000);
    assert_eq!(story.brain.status().window, 5);
    for n in 0..10_u64 {
        story.job(Job { ..job(&format!("t{n}@1"), 11 + n) });
        story.pod(waiting(&format!("t{n}@1"), 30 + n));
    }
    story.advance(10);
    assert!(story.has("create agent-run-10-") && story.has("create agent-run-11-"));
}

#[test]
fn one_job_that_never_gets_a_pod_does_not_stop_the_others() {
    let mut story = Story::ready();
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@1"), Verdict::Held)];
    story.launched("t1@1", 11);
    story.job(job("t1@1", 11));
    story.advance(100_000);
    assert_eq!(story.brain.status().free, 1);
}

#[test]
fn paused_means_that_held_tasks_stay_held() {
    let mut story = Story::ready();
    story.is_quiet = true;
    story.input("paused", Input::Paused(true));
    story.acquire(&["t1@1"]);
    story.advance(1_000);
    story.check(&expect![[r#"
        1.000s paused
        1.000s acquired [t1@1]
    "#]]);
    story.input("resumed", Input::Paused(false));
    story.advance(10);
    story.check(&expect![[r#"
        2.000s resumed
        2.010s …
            create agent-run-1-plan for t1@1
    "#]]);
}

#[test]
fn the_first_in_line_that_cannot_be_launched_are_given_to_whoever_can() {
    let mut story = Story::ready();
    story.acquire(&["t1@1", "t2@1", "t3@1", "t4@1", "t5@1"]);
    story.advance(10);
    story.skip();
    story.beat_wanted(&[], 2);
    story.advance(500);
    // Once a heartbeat, however often one plans.
    story.input("paused", Input::Paused(true));
    story.advance(500);
    story.check(&expect![[r#"
        2.010s …
            events [t3@1 Held: as many Jobs are in flight as may be (2); t4@1 Held: as many Jobs are in flight as may be (2); t5@1 Held: as many Jobs are in flight as may be (2)]
        11.000s …
            heartbeat slots=0 [t1@1 t2@1 t3@1 t4@1 t5@1]
        11.010s verdicts [] wanted 2
        11.020s …
            release t3@1 rebalance
            release t4@1 rebalance
        11.510s paused
    "#]]);
}

#[test]
fn holds_are_told_in_batches_and_not_too_often() {
    let mut story = Story::ready_with(ControllerOptions { capacity: 0, ..options() }, vec![], vec![]);
    story.acquire(&["t1@1", "t2@1"]);
    story.advance(1_200);
    story.answer("events", Answer::LaunchEvents(Ok(())));
    story.check(&expect![[r#"
        1.000s acquired [t1@1 t2@1]
        1.010s …
            acquire slots=0 ahead=3 wait=5000
        2.010s …
            events [t1@1 Held: as many Jobs are in flight as may be (0); t2@1 Held: as many Jobs are in flight as may be (0)]
        2.200s events: LaunchEvents(Ok(()))
    "#]]);
    story.input("paused", Input::Paused(true));
    story.advance(5_000);
    story.input("resumed", Input::Paused(false));
    story.advance(5_000);
    story.input("paused", Input::Paused(true));
    story.check(&expect![[r#"
        2.200s paused
        7.200s resumed
        11.000s …
            heartbeat slots=0 [t1@1 t2@1]
        12.200s paused
    "#]]);
    story.is_quiet = true;
    story.advance(40_000);
    story.is_quiet = false;
    story.skip();
    story.advance(30_000);
    story.check(&expect![[r#"
        61.000s …
            heartbeat slots=0 [t1@1 t2@1]
        62.010s …
            events [t1@1 Held: dispatch is paused by an operator; t2@1 Held: dispatch is paused by an operator]
        81.000s …
            abandon #18
        81.163s …
            heartbeat slots=0 [t1@1 t2@1]
    "#]]);
}

#[test]
fn room_that_an_acquire_has_promised_and_others_have_taken_is_taken_back() {
    let mut story = Story::ready_with(ControllerOptions { capacity: 1, ..options() }, vec![], vec![]);
    story.verdicts = vec![(key("t9@1"), Verdict::HeldByOther)];
    story.advance(2_000);
    assert!(story.has("acquire slots=1"), "it waits at the server");
    story.skip();
    story.job(job("t9@1", 11));
    story.advance(1_100);
    story.check(&expect![[r#"
        3.000s watch: Job j-t9-1 deleting=false end=None
        3.000s …
            heartbeat slots=0 [t9@1]
    "#]]);
    // Given back, and taken once more, while the same acquire waits.
    story.beat(&[("t9@1", Verdict::HeldByOther)]);
    story.job_gone(job("t9@1", 12));
    story.advance(10_000);
    story.beat(&[]);
    story.skip();
    story.job(job("t8@1", 13));
    story.advance(1_100);
    story.check(&expect![[r#"
        14.100s watch: Job j-t8-1 deleting=false end=None
        14.100s …
            heartbeat slots=0 [t8@1]
    "#]]);
}

#[test]
fn a_request_that_went_unanswered_takes_room_until_it_can_act_no_longer() {
    let mut story = Story::ready_with(ControllerOptions { capacity: 1, ..options() }, vec![], vec![]);
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@1"), Verdict::Ended), (key("t2@1"), Verdict::Held)];
    story.acquire(&["t1@1", "t2@1"]);
    story.advance(10);
    story.answer("create", Answer::Created(Err(cut())));
    story.advance(500);
    story.answer("create", Answer::Created(Ok(job("t1@1", 11))));
    story.job(job("t1@1", 11));
    story.job_gone(job("t1@1", 12));
    story.skip();
    // The first request may make it once more.
    story.advance(50_000);
    story.check(&expect![[r#""#]]);
    story.advance(15_000);
    story.answer("list Jobs", listing(13, std::iter::empty()));
    story.advance(20);
    story.check(&expect![[r#"
        65.000s …
            list Jobs Quorum
        66.510s list Jobs: 0 at 13
            watch Jobs after 13
        66.520s …
            create agent-run-2-plan for t2@1
    "#]]);
}

#[test]
fn room_that_comes_back_with_a_job_that_goes_is_planned() {
    let mut story = Story::ready_with(ControllerOptions { capacity: 1, ..options() }, vec![], vec![]);
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@1"), Verdict::Held), (key("t2@1"), Verdict::Held)];
    story.acquire(&["t1@1", "t2@1"]);
    story.advance(10);
    story.answer("create", Answer::Created(Ok(job("t1@1", 11))));
    story.job(job("t1@1", 11));
    story.pod(waiting("t1@1", 12));
    story.advance(1_000);
    story.skip();
    // While it is live: nobody said before that it is over.
    story.job_gone(job("t1@1", 13));
    story.advance(10);
    story.check(&expect![[r#"
        2.010s watch: Job j-t1-1 gone
        2.010s …
            launch-failed t1@1 WorkerExited retryable: its Job was gone before the worker claimed the task
        2.020s …
            create agent-run-2-plan for t2@1
    "#]]);
}

#[test]
fn where_there_is_no_room_anyway_an_older_quota_is_not_the_reason() {
    let mut story = Story::ready_with(ControllerOptions { capacity: 1, ..options() }, vec![], vec![]);
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@1"), Verdict::Held), (key("t9@1"), Verdict::HeldByOther)];
    story.acquire(&["t1@1"]);
    story.advance(10);
    let quota = ClusterError::QuotaExceeded { detail: "count/jobs.batch".to_owned() };
    story.answer("create", Answer::Created(Err(quota)));
    story.job(job("t9@1", 11));
    story.advance(10_000);
    let task = TaskId::new("t1").unwrap();
    expect!["number 1 of 1 waiting here: as many Jobs are in flight as may be (1)"]
        .assert_eq(&story.brain.explain(story.now, &task).unwrap());
}

#[test]
fn an_unanswered_create_whose_repeats_are_refused_gives_its_room_back_in_time() {
    let mut story = Story::ready_with(ControllerOptions { capacity: 1, ..options() }, vec![], vec![]);
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@1"), Verdict::Held), (key("t2@1"), Verdict::Held)];
    story.acquire(&["t1@1", "t2@1"]);
    story.advance(10);
    story.answer("create", Answer::Created(Err(cut())));
    let quota = || ClusterError::QuotaExceeded { detail: "count/jobs.batch".to_owned() };
    for _ in 0..12 {
        story.advance(5_000);
        if story.has("create") {
            story.answer("create", Answer::Created(Err(quota())));
        }
    }
    assert_eq!(story.brain.status().creating, 1, "the first may still make it");
    story.skip();
    story.advance(8_000);
    story.answer("list Jobs", listing(13, std::iter::empty()));
    story.advance(10);
    story.answer("create", Answer::Created(Err(quota())));
    story.advance(10);
    assert_eq!(story.brain.status().creating, 0, "none can");
    story.check(&expect![[r#"
        65.048s …
            list Jobs Quorum
        69.010s list Jobs: 0 at 13
            watch Jobs after 13
        69.020s …
            create agent-run-1-plan for t1@1
        69.020s create: Created(Err(QuotaExceeded { detail: "count/jobs.batch" }))
    "#]]);
    let task = TaskId::new("t2").unwrap();
    expect!["number 2 of 2 waiting here: the namespace's quota leaves no room: count/jobs.batch"]
        .assert_eq(&story.brain.explain(story.now, &task).unwrap());
}
