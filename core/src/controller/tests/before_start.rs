//! From the first breath to the first Job.

use expect_test::expect;
use scalr_protocol::agent::{Acquired, Verdict};

use super::story::*;
use crate::{
    cluster::ClusterError,
    controller::input::{Answer, Input},
    scalr::ScalrError,
};

#[test]
fn acquires_nothing_before_the_first_heartbeat_is_answered() {
    let mut story = Story::new(options());
    story.input("began", Input::Began);
    story.register();
    story.list(vec![], vec![]);
    story.check(&expect![[r#"
        1.000s began
            list Jobs Quorum
            list Pods Quorum
            register agent-0
        1.000s register: Registered(Ok(Registration { agent: AgentId("agent-1"), heartbeat_ms: 10000, wait_ms_max: 
        1.000s list Jobs: 0 at 10
            watch Jobs after 10
        1.000s list Pods: 0 at 10
            watch Pods after 10
            heartbeat slots=2 []
        1.000s watch Jobs: Watching(Ok(()))
        1.000s watch Pods: Watching(Ok(()))
    "#]]);
    story.beat(&[]);
    story.check(&expect![[r#"
        1.000s verdicts []
            messages after=0
            acquire slots=2 ahead=5 wait=30000
    "#]]);
}

#[test]
fn a_task_becomes_a_job_once_however_often_one_looks() {
    let mut story = Story::ready();
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@1"), Verdict::Held)];
    story.acquire(&["t1@1"]);
    story.advance(10);
    story.answer("create", Answer::Created(Ok(job("t1@1", 11))));
    story.advance(2_000);
    story.job(job("t1@1", 11));
    story.pod(waiting("t1@1", 12));
    story.pod(running("t1@1", 13));
    story.check(&expect![[r#"
        1.000s acquired [t1@1]
        1.010s …
            create agent-run-1-plan for t1@1
        1.010s Job made
        3.010s watch: Job j-t1-1 deleting=false end=None
        3.010s watch: pod worker=Waiting runner=Waiting
        3.010s watch: pod worker=Running runner=Running
    "#]]);
    story.verdicts = vec![(key("t1@1"), Verdict::Started)];
    story.advance(40_000);
    story.check(&expect![[""]]);
}

#[test]
fn an_unanswered_create_is_repeated_under_its_name() {
    let mut story = Story::ready();
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@1"), Verdict::Held)];
    story.acquire(&["t1@1"]);
    story.advance(10);
    story.answer("create", Answer::Created(Err(cut())));
    story.advance(1_010);
    story.answer("create", Answer::Created(Err(cut())));
    // The first was carried out after all.
    story.job(job("t1@1", 11));
    story.advance(5_000);
    story.check(&expect![[r#"
        1.000s acquired [t1@1]
        1.010s …
            create agent-run-1-plan for t1@1
        1.010s create: Created(Err(Unreachable { detail: "timed out" }))
        1.066s …
            create agent-run-1-plan for t1@1
        2.020s create: Created(Err(Unreachable { detail: "timed out" }))
        2.020s watch: Job j-t1-1 deleting=false end=None
    "#]]);
}

#[test]
fn the_repeat_of_an_unanswered_create_comes_back_as_late_as_the_cluster_asks() {
    let mut story = Story::ready();
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@1"), Verdict::Held)];
    story.acquire(&["t1@1"]);
    story.advance(10);
    story.answer("create", Answer::Created(Err(cut())));
    story.advance(90);
    story.answer("create", Answer::Created(Err(ClusterError::RateLimited { retry_after_ms: 3_048 })));
    story.advance(10_000);
    story.check(&expect![[r#"
        1.000s acquired [t1@1]
        1.010s …
            create agent-run-1-plan for t1@1
        1.010s create: Created(Err(Unreachable { detail: "timed out" }))
        1.066s …
            create agent-run-1-plan for t1@1
        1.100s create: Created(Err(RateLimited { retry_after_ms: 3048 }))
        6.210s …
            create agent-run-1-plan for t1@1
    "#]]);
}

#[test]
fn a_job_that_was_there_and_is_over_is_asked_about_and_not_made_again() {
    let mut story = Story::ready();
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@1"), Verdict::Held)];
    story.acquire(&["t1@1"]);
    story.advance(10);
    story.answer("create", Answer::Created(Err(ClusterError::Over)));
    story.advance(5_000);
    story.check(&expect![[r#"
        1.000s acquired [t1@1]
        1.010s …
            create agent-run-1-plan for t1@1
        1.010s create: Created(Err(Over))
        2.000s …
            launch-failed t1@1 WorkerExited retryable: its Job was gone before the worker claimed the task
    "#]]);
}

#[test]
fn what_the_cluster_refuses_is_told_to_scalr() {
    for error in [ClusterError::Refused { detail: "webhook says no".to_owned() }, ClusterError::NameTaken] {
        let mut story = Story::ready();
        story.is_quiet = true;
        story.acquire(&["t1@1"]);
        story.advance(10);
        story.skip();
        let is_refused = matches!(error, ClusterError::Refused { .. });
        story.answer("create", Answer::Created(Err(error)));
        if is_refused {
            story.check(&expect![[r#"
                1.010s create: Created(Err(Refused { detail: "webhook says no" }))
                    launch-failed t1@1 JobRefused for good: the cluster refused the Job: webhook says no
            "#]]);
        } else {
            story.check(&expect![[r#"
                1.010s create: Created(Err(NameTaken))
                    launch-failed t1@1 JobRefused retryable: the cluster refused the Job: a Job of this name exists for something else
            "#]]);
        }
    }
}

#[test]
fn an_action_that_this_agent_cannot_do_is_refused_for_good() {
    let mut story = Story::ready();
    story.is_quiet = true;
    let unknown =
        scalr_protocol::agent::Grant { action: scalr_protocol::agent::Action::Unknown, ..grant("t1@1") };
    story.answer("acquire", Answer::Acquired(Ok(Acquired { tasks: vec![unknown] })));
    story.check(&expect![[r#"
        1.000s acquired [t1@1]
            launch-failed t1@1 UnsupportedAction for good: this agent can't do the action `unknown`
    "#]]);
}

#[test]
fn registration_is_retried_in_place_until_it_is_refused_for_good() {
    let mut story = Story::new(options());
    story.input("began", Input::Began);
    let in_use = ScalrError::NameInUse { detail: "agent-0".to_owned() };
    let quota = ScalrError::QuotaExceeded { detail: "3 of 3".to_owned() };
    for error in [in_use, quota, ScalrError::RateLimited { retry_after_ms: 5_000 }, unreachable()] {
        story.answer("register", Answer::Registered(Err(error)));
        story.advance(40_000);
    }
    let refused = ScalrError::ProtocolUnsupported { detail: "0.2 is spoken here".to_owned() };
    story.answer("register", Answer::Registered(Err(refused)));
    story.check(&expect![[r#"
        1.000s began
            list Jobs Quorum
            list Pods Quorum
            register agent-0
        1.000s register: Registered(Err(NameInUse { detail: "agent-0" }))
        1.872s …
            register agent-0
        41.000s register: Registered(Err(QuotaExceeded { detail: "3 of 3" }))
        41.144s …
            register agent-0
        61.000s …
            abandon #1
            abandon #2
        61.487s …
            list Jobs Quorum
        61.988s …
            list Pods Quorum
        81.000s register: Registered(Err(RateLimited { retry_after_ms: 5000 }))
        88.945s …
            register agent-0
        121.000s register: Registered(Err(Unreachable { detail: "timed out" }))
        121.487s …
            abandon #6
        121.988s …
            abandon #7
        122.308s …
            list Pods Quorum
        123.058s …
            list Jobs Quorum
        127.120s …
            register agent-0
        161.000s register: Registered(Err(ProtocolUnsupported { detail: "0.2 is spoken here" }))
            exit Refused { detail: "0.2 is spoken here" }
    "#]]);
}

#[test]
fn an_empty_answer_is_not_asked_for_in_a_circle() {
    let mut story = Story::ready();
    for _ in 0..3 {
        story.answer("acquire", Answer::Acquired(Ok(Acquired::default())));
        story.advance(1_000);
    }
    story.check(&expect![[r#"
        1.000s acquired []
        2.000s …
            acquire slots=2 ahead=5 wait=30000
        2.000s acquired []
        3.000s …
            acquire slots=2 ahead=5 wait=30000
        3.000s acquired []
        4.000s …
            acquire slots=2 ahead=5 wait=30000
    "#]]);
}
