//! Pods that do not start, and workers that are lost.

use expect_test::expect;
use scalr_protocol::agent::Verdict;

use super::story::*;
use crate::{
    cluster::{Container, Disruption, Job, JobEnd, JobTrouble, JobTroubleKind, Pod, TroubleKind},
    controller::input::Answer,
    scalr::{Door, WorkerLostAnswer},
};

fn launched() -> Story {
    let mut story = Story::ready();
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@1"), Verdict::Held)];
    story.launched("t1@1", 11);
    story.job(job("t1@1", 11));
    story.skip();
    story
}

fn started() -> Story {
    let mut story = launched();
    story.pod(running("t1@1", 12));
    story.verdicts = vec![(key("t1@1"), Verdict::Started)];
    story.advance(10_000);
    story.skip();
    story
}

#[test]
fn a_start_that_takes_too_long_is_told_and_its_job_deleted_once_the_door_is_shut() {
    let mut story = launched();
    story.pod(troubled("t1@1", 12, TroubleKind::ImagePull, "manifest unknown"));
    story.advance(180_000);
    story.check(&expect![[r#"
        1.010s watch: pod worker=Waiting runner=Waiting
        181.010s …
            launch-failed t1@1 ImagePull retryable: not started in 180 s: manifest unknown
    "#]]);
    story.answer("launch-failed", Answer::LaunchFailed(Err(unreachable())));
    story.advance(1_000);
    story.answer("launch-failed", Answer::LaunchFailed(Ok(Door::Shut)));
    story.check(&expect![[r#"
        181.010s launch-failed: LaunchFailed(Err(Unreachable { detail: "timed out" }))
        181.573s …
            launch-failed t1@1 ImagePull retryable: not started in 180 s: manifest unknown
        182.010s launch-failed: LaunchFailed(Ok(Shut))
            delete j-t1-1 u-t1-1
    "#]]);
}

#[test]
fn a_job_that_gets_no_pod_says_why_and_a_quota_is_waited_for() {
    let podless = |kind, message: &str| {
        let trouble = Some(JobTrouble { kind, message: message.to_owned() });
        Job { trouble, ..job("t1@1", 11) }
    };
    let mut story = launched();
    story.job(podless(JobTroubleKind::Quota, "exceeded quota: pods"));
    story.advance(600_000);
    story.job(podless(JobTroubleKind::Refused, "violates PodSecurity"));
    story.advance(180_000);
    story.check(&expect![[r#"
        1.010s watch: Job j-t1-1 deleting=false end=None
        301.000s …
            watch Pods after 10
        301.010s …
            watch Jobs after 11
        601.000s …
            watch Pods after 10
        601.010s …
            watch Jobs after 11
        601.010s watch: Job j-t1-1 deleting=false end=None
        781.010s …
            launch-failed t1@1 JobRefused retryable: not started in 180 s: its Job got no pod: violates PodSecurity
    "#]]);
}

#[test]
fn a_worker_that_was_quicker_keeps_its_job() {
    for door in [Door::Started, Door::Claimed] {
        let mut story = launched();
        story.advance(180_100);
        story.answer("launch-failed", Answer::LaunchFailed(Ok(door)));
        story.verdicts = vec![(key("t1@1"), Verdict::Started)];
        story.advance(60_000);
        assert!(!story.has("delete"), "{door:?}");
        assert!(!story.has("launch-failed"), "{door:?}");
    }
}

#[test]
fn the_clock_stops_while_a_node_is_coming_but_not_for_ever() {
    let mut story = launched();
    story.pod(troubled("t1@1", 12, TroubleKind::ScalingUp, "a node is coming"));
    story.advance(5 * 3_600_000);
    assert!(!story.has("launch-failed"));
    story.skip();
    story.advance(3_600_000);
    assert!(story.has("launch-failed t1@1 Unschedulable retryable"));
}

#[test]
fn what_cannot_heal_ends_at_once() {
    let mut story = launched();
    story.pod(troubled("t1@1", 12, TroubleKind::ImageInvalid, "couldn't parse image name"));
    story.check(&expect![[r#"
        1.010s watch: pod worker=Waiting runner=Waiting
            launch-failed t1@1 ImagePull for good: an image's name is not valid: couldn't parse image name
    "#]]);
}

#[test]
fn a_worker_that_exits_early_is_believed_after_scalr_was_asked_again() {
    let mut story = launched();
    story.is_quiet = false;
    story.beat(&[("t1@1", Verdict::Held)]);
    story.skip();
    story.pod(pod("t1@1", 12, exited(1), exited(0)));
    story.beat(&[("t1@1", Verdict::Held)]);
    story.check(&expect![[r#"
        11.010s watch: pod worker=Terminated { exit_code: 1, is_oom: false } runner=Terminated { exit_code: 0, is_oom: false }
        12.000s …
            heartbeat slots=2 [t1@1]
        12.010s verdicts [t1@1 Held]
            launch-failed t1@1 WorkerExited retryable: the worker ended before it claimed the task
    "#]]);
}

#[test]
fn a_runner_whose_worker_has_gone_keeps_no_slot() {
    let mut story = launched();
    story.pod(pod("t1@1", 12, exited(137), Container::Running));
    story.advance(2_000);
    story.answer("launch-failed", Answer::LaunchFailed(Ok(Door::Shut)));
    story.check(&expect![[r#"
        1.010s watch: pod worker=Terminated { exit_code: 137, is_oom: false } runner=Running
        2.000s …
            launch-failed t1@1 WorkerExited retryable: the worker ended before it claimed the task
        3.010s launch-failed: LaunchFailed(Ok(Shut))
            delete j-t1-1 u-t1-1
    "#]]);
    // One that had claimed its task is waited for until the claim has expired.
    let mut story = launched();
    story.verdicts = vec![(key("t1@1"), Verdict::Claimed)];
    story.pod(pod("t1@1", 12, exited(137), Container::Running));
    story.advance(50_000);
    story.check(&expect![[r#"
        1.010s watch: pod worker=Terminated { exit_code: 137, is_oom: false } runner=Running
    "#]]);
    story.verdicts = vec![(key("t1@1"), Verdict::Stale)];
    story.advance(10_000);
    story.check(&expect![[r#"
        52.000s …
            delete j-t1-1 u-t1-1
    "#]]);
}

#[test]
fn a_job_that_failed_before_the_claim_names_what_happened_to_its_pod() {
    let mut story = launched();
    let evicted = Pod { disruption: Some(Disruption::Evicted), ..waiting("t1@1", 12) };
    story.pod(evicted);
    story.job(ended("t1@1", 13, JobEnd::Failed { reason: "PodFailurePolicy".to_owned() }));
    story.advance(2_000);
    story.check(&expect![[r#"
        1.010s watch: pod worker=Waiting runner=Waiting
        1.010s watch: Job j-t1-1 deleting=false end=Some(Failed { reason: "PodFailurePolicy" })
        2.000s …
            launch-failed t1@1 Evicted retryable: its Job ended before the worker claimed the task
    "#]]);
}

#[test]
fn a_lost_worker_is_told_once_with_proof_when_both_have_ended() {
    let mut story = started();
    let oom = Container::Terminated { exit_code: 137, is_oom: true };
    story.pod(pod("t1@1", 13, exited(1), oom));
    story.advance(2_000);
    story.answer("worker-lost", Answer::WorkerLost(Ok(WorkerLostAnswer::Noted)));
    story.advance(60_000);
    story.check(&expect![[r#"
        11.010s watch: pod worker=Terminated { exit_code: 1, is_oom: false } runner=Terminated { exit_code: 137, is_oom: true }
        12.000s …
            worker-lost t1@1 OomKilled container=Some("runner") exit=Some(137) ended=true
        13.010s worker-lost: WorkerLost(Ok(Noted))
    "#]]);
}

#[test]
fn a_missing_pod_is_a_reason_and_never_proof() {
    let mut story = started();
    story.pod_gone(running("t1@1", 14));
    story.advance(2_000);
    story.answer("worker-lost", Answer::WorkerLost(Ok(WorkerLostAnswer::Noted)));
    story.advance(30_000);
    story.check(&expect![[r#"
        11.010s watch: pod gone
        12.000s …
            worker-lost t1@1 Deleted container=None exit=None ended=false
        13.010s worker-lost: WorkerLost(Ok(Noted))
    "#]]);
}

#[test]
fn a_second_pod_that_ended_does_not_prove_that_the_first_did() {
    let mut story = started();
    // Its node was cut off and deleted; the one that takes its place loses the race.
    story.pod_gone(running("t1@1", 14));
    let mut second = pod("t1@1", 15, exited(0), exited(0));
    (second.name, second.uid) = ("second".into(), "second".into());
    story.pod(second);
    story.advance(2_000);
    story.check(&expect![[r#"
        11.010s watch: pod gone
        11.010s watch: pod worker=Terminated { exit_code: 0, is_oom: false } runner=Terminated { exit_code: 0, is_oom: false }
        12.000s …
            worker-lost t1@1 Deleted container=None exit=None ended=false
    "#]]);
}

#[test]
fn what_was_asked_before_a_worker_ended_says_nothing_about_it() {
    for is_started in [false, true] {
        let mut story = if is_started { started() } else { launched() };
        let verdict = if is_started { Verdict::Started } else { Verdict::Held };
        story.advance(5_000);
        story.is_quiet = false;
        for _ in 0..30 {
            if story.has("heartbeat") {
                break;
            }
            story.advance(500);
        }
        story.pod(pod("t1@1", 13, exited(1), exited(1)));
        story.beat(&[("t1@1", verdict)]);
        assert!(!story.has("worker-lost") && !story.has("launch-failed"));
        story.beat(&[("t1@1", verdict)]);
        assert!(story.has(if is_started { "worker-lost" } else { "launch-failed" }));
    }
}

#[test]
fn a_loss_is_told_until_scalr_has_heard_of_it() {
    let mut story = started();
    story.pod(pod("t1@1", 13, exited(1), exited(1)));
    story.advance(2_000);
    story.answer("worker-lost", Answer::WorkerLost(Err(unreachable())));
    story.advance(2_000);
    story.answer("worker-lost", Answer::WorkerLost(Ok(WorkerLostAnswer::Finished)));
    story.advance(60_000);
    story.check(&expect![[r#"
        11.010s watch: pod worker=Terminated { exit_code: 1, is_oom: false } runner=Terminated { exit_code: 1, is_oom: false }
        12.000s …
            worker-lost t1@1 Exited container=Some("worker") exit=Some(1) ended=true
        13.010s worker-lost: WorkerLost(Err(Unreachable { detail: "timed out" }))
        13.191s …
            worker-lost t1@1 Exited container=Some("worker") exit=Some(1) ended=true
        15.010s worker-lost: WorkerLost(Ok(Finished))
    "#]]);
}

#[test]
fn a_pod_whose_like_was_never_seen_proves_nothing() {
    // After a restart nobody knows whether there was another pod, on a node that is cut off.
    let over = pod("t1@1", 6, exited(0), exited(0));
    let mut story = Story::ready_with(options(), vec![job("t1@1", 5)], vec![over]);
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@1"), Verdict::Started)];
    story.advance(15_000);
    story.check(&expect![[r#"
        12.000s …
            worker-lost t1@1 Exited container=Some("worker") exit=Some(0) ended=false
    "#]]);
}

#[test]
fn a_worker_that_finished_meanwhile_is_not_reported() {
    let mut story = started();
    story.verdicts = vec![(key("t1@1"), Verdict::Ended)];
    story.pod(pod("t1@1", 13, exited(0), exited(0)));
    story.job(ended("t1@1", 14, JobEnd::Complete));
    story.advance(60_000);
    story.job_gone(job("t1@1", 15));
    story.pod_gone(pod("t1@1", 16, exited(0), exited(0)));
    story.check(&expect![[r#"
        11.010s watch: pod worker=Terminated { exit_code: 0, is_oom: false } runner=Terminated { exit_code: 0, is_oom: false }
        11.010s watch: Job j-t1-1 deleting=false end=Some(Complete)
        71.010s watch: Job j-t1-1 gone
        71.010s watch: pod gone
    "#]]);
    assert_eq!(story.brain.status().live, 0);
}

#[test]
fn progress_is_told_as_launch_events() {
    let mut story = Story::ready();
    story.launched("t1@1", 11);
    story.pod(troubled("t1@1", 12, TroubleKind::Unschedulable, "0/3 nodes are available"));
    story.pod(Pod { node: Some("node-1".into()), ..waiting("t1@1", 13) });
    story.skip();
    story.advance(100);
    story.check(&expect![[r#"
        1.060s …
            events [t1@1 JobCreated: Job j-t1-1; t1@1 Unschedulable: 0/3 nodes are available; t1@1 PodScheduled: node node-1]
    "#]]);
}

#[test]
fn a_job_whose_pod_was_not_yet_seen_forbids_a_proof() {
    let mut story = Story::ready();
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@1"), Verdict::Held)];
    story.acquire(&["t1@1"]);
    story.advance(10);
    // This request makes a Job, and its repeat makes it once more when that one has gone.
    story.answer("create", Answer::Created(Err(cut())));
    story.advance(200);
    story.pod(running("t1@1", 12));
    story.pod_gone(pod("t1@1", 13, exited(1), exited(1)));
    story.answer("create", Answer::Created(Ok(Job { uid: "second".into(), ..job("t1@1", 14) })));
    story.verdicts = vec![(key("t1@1"), Verdict::Started)];
    story.skip();
    story.advance(15_000);
    story.check(&expect![[r#"
        12.000s …
            worker-lost t1@1 Exited container=None exit=None ended=false
    "#]]);
}

#[test]
fn a_pod_that_gets_a_successor_proves_nothing_while_its_job_lives() {
    let mut story = started();
    story.pod_gone(pod("t1@1", 13, exited(137), exited(137)));
    story.advance(2_000);
    story.answer("worker-lost", Answer::WorkerLost(Ok(WorkerLostAnswer::Noted)));
    story.check(&expect![[r#"
        11.010s watch: pod gone
        12.000s …
            worker-lost t1@1 Exited container=None exit=None ended=false
        13.010s worker-lost: WorkerLost(Ok(Noted))
    "#]]);
    story.job(ended("t1@1", 14, JobEnd::Failed { reason: "BackoffLimitExceeded".to_owned() }));
    story.advance(2_000);
    story.check(&expect![[r#"
        13.010s watch: Job j-t1-1 deleting=false end=Some(Failed { reason: "BackoffLimitExceeded" })
        13.010s …
            worker-lost t1@1 Exited container=None exit=None ended=true
    "#]]);
}
