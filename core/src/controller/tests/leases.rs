//! What Scalr's verdicts drive.

use expect_test::expect;
use scalr_protocol::{
    agent::{Acquired, HeartbeatAnswer, Hint, Messages, Verdict},
    id::TaskId,
};

use super::story::*;
use crate::{
    controller::{ControllerOptions, input::Answer},
    scalr::{Door, ScalrError},
};

#[test]
fn a_stale_or_dead_task_is_deleted_by_its_uid() {
    for verdict in [Verdict::Stale, Verdict::Dead] {
        let mut story = Story::ready();
        story.launched("t1@1", 11);
        story.job(job("t1@1", 11));
        story.skip();
        story.beat(&[("t1@1", verdict)]);
        story.is_quiet = true;
        story.answer("delete", Answer::Deleted(Err(cut())));
        story.advance(2_000);
        story.answer("delete", Answer::Deleted(Ok(())));
        story.advance(20_000);
        // Nothing was heard of its end: once more, as long as Scalr says so.
        story.verdicts = vec![(key("t1@1"), verdict)];
        story.advance(20_000);
        if verdict == Verdict::Stale {
            story.check(&expect![[r#"
                1.060s …
                    events [t1@1 JobCreated: Job j-t1-1]
                11.000s …
                    heartbeat slots=1 [t1@1]
                11.010s verdicts [t1@1 Stale]
                    delete j-t1-1 u-t1-1
                11.010s delete: Deleted(Err(Unreachable { detail: "timed out" }))
                11.504s …
                    delete j-t1-1 u-t1-1
                13.010s delete: Deleted(Ok(()))
                51.000s …
                    delete j-t1-1 u-t1-1
            "#]]);
        }
    }
}

#[test]
fn what_has_started_or_ended_or_is_claimed_is_never_deleted() {
    for verdict in [Verdict::Started, Verdict::Ended, Verdict::Claimed, Verdict::HeldByOther] {
        let mut story = Story::ready();
        story.launched("t1@1", 11);
        story.job(job("t1@1", 11));
        story.is_quiet = true;
        story.verdicts = vec![(key("t1@1"), verdict)];
        story.advance(400_000);
        assert!(!story.has("delete"), "{verdict:?}");
        assert!(!story.has("launch-failed"), "{verdict:?}");
        assert!(!story.has("release"), "{verdict:?}");
    }
}

#[test]
fn what_was_started_is_not_deleted_by_a_server_that_forgot_it() {
    let mut story = Story::ready();
    story.launched("t1@1", 11);
    story.beat(&[("t1@1", Verdict::Started)]);
    story.beat(&[("t1@1", Verdict::Stale)]);
    story.advance(60_000);
    assert!(!story.has("delete"));
}

#[test]
fn a_lease_that_may_have_lapsed_launches_nothing_until_it_is_renewed() {
    let mut story = Story::ready_with(ControllerOptions { capacity: 1, ..options() }, vec![], vec![]);
    story.launched("t1@1", 11);
    story.acquire(&["t2@1"]);
    story.advance(10);
    story.skip();
    for _ in 0..10 {
        story.advance(9_000);
        if story.has("heartbeat") {
            story.answer("heartbeat", Answer::Heartbeat(Err(unreachable())));
        }
    }
    story.skip();
    // There is room, and the lease has lapsed.
    story.job_gone(job("t1@1", 20));
    story.advance(100);
    let task = TaskId::new("t2").unwrap();
    expect!["number 1 of 1 waiting here: Scalr does not answer, so the lease may have lapsed"]
        .assert_eq(&story.brain.explain(story.now, &task).unwrap());
    assert!(!story.has("create"));
    story.beat(&[("t1@1", Verdict::Ended), ("t2@1", Verdict::Held)]);
    story.advance(10);
    assert!(story.has("create agent-run-2-plan"));
}

#[test]
fn a_higher_fence_makes_the_older_job_stale() {
    let mut story = Story::ready();
    story.launched("t1@1", 11);
    story.skip();
    story.acquire(&["t1@2"]);
    story.advance(10);
    story.beat(&[("t1@1", Verdict::Stale), ("t1@2", Verdict::Held)]);
    story.check(&expect![[r#"
        1.010s acquired [t1@2]
        1.020s …
            create agent-run-1-plan-2 for t1@2
            acquire slots=0 ahead=5 wait=5000
        1.060s …
            events [t1@1 JobCreated: Job j-t1-1]
        2.000s …
            heartbeat slots=0 [t1@1 t1@2]
        2.020s verdicts [t1@1 Stale, t1@2 Held]
            delete j-t1-1 u-t1-1
    "#]]);
}

#[test]
fn an_older_fence_or_the_same_again_changes_nothing() {
    let mut story = Story::ready();
    story.launched("t1@2", 11);
    story.skip();
    story.acquire(&["t1@2", "t1@1"]);
    story.advance(50);
    assert!(!story.has("create") && !story.has("release"));
}

#[test]
fn a_session_that_ended_is_begun_again_and_its_late_tasks_are_kept() {
    let mut story = Story::ready();
    let acquire = story.op("acquire");
    story.advance(10_000);
    story.answer("heartbeat", Answer::Heartbeat(Err(ScalrError::SessionExpired)));
    story.register();
    story.check(&expect![[r#"
        11.000s …
            heartbeat slots=2 []
        11.000s heartbeat: Heartbeat(Err(SessionExpired))
            register agent-0
        11.000s register: Registered(Ok(Registration { agent: AgentId("agent-1"), heartbeat_ms: 10000, wait_ms_max: 
            heartbeat slots=2 []
    "#]]);
    story.beat(&[]);
    let tasks = vec![grant("t1@1")];
    let late = Answer::Acquired(Ok(Acquired { tasks }));
    story.input("late tasks", crate::controller::input::Input::Answer { op: acquire, answer: late });
    story.advance(10);
    assert!(!story.has("create"), "when it was sent is forgotten, so the lease may have lapsed");
    story.beat(&[("t1@1", Verdict::Held)]);
    story.advance(10);
    story.check(&expect![[r#"
        11.000s verdicts []
            messages after=0
            acquire slots=2 ahead=5 wait=30000
        11.000s late tasks
        12.000s …
            heartbeat slots=1 [t1@1]
        12.010s …
            events [t1@1 Held: Scalr does not answer, so the lease may have lapsed]
        12.010s verdicts [t1@1 Held]
        12.020s …
            create agent-run-1-plan for t1@1
    "#]]);
}

#[test]
fn a_cancel_is_asked_about_sooner() {
    let mut story = Story::ready();
    story.launched("t1@1", 11);
    story.advance(3_000);
    story.skip();
    let hints = vec![Hint::Work, Hint::Cancel { task: TaskId::new("t1").unwrap() }];
    story.answer("messages", Answer::Messages(Ok(Messages { last: 4, hints })));
    story.advance(10);
    story.check(&expect![[r#"
        4.010s messages: Messages(Ok(Messages { last: 4, hints: [Work, Cancel { task: TaskId("t1") }] }))
        4.010s …
            heartbeat slots=1 [t1@1]
            messages after=4
    "#]]);
}

#[test]
fn an_old_verdict_does_not_undo_what_was_learned_after_it_was_asked_for() {
    let mut story = Story::ready_with(ControllerOptions { capacity: 1, ..options() }, vec![], vec![]);
    story.acquire(&["t1@1", "t2@1"]);
    story.advance(10);
    story.beat_wanted(&[], 1);
    story.advance(10);
    story.advance(10_000);
    // The release is answered while a heartbeat is under way that names the task.
    let heartbeat = story.op("heartbeat");
    story.answer("release", Answer::Released(Ok(Door::Shut)));
    story.skip();
    let held = story.verdict_answer("t2@1", Verdict::Held);
    story.input("an old verdict", crate::controller::input::Input::Answer { op: heartbeat, answer: held });
    story.advance(100);
    assert_eq!(story.brain.explain(story.now, &TaskId::new("t2").unwrap()), None);
}

#[test]
fn a_claim_learned_meanwhile_outlives_an_older_verdict() {
    let mut story = Story::ready();
    story.launched("t1@1", 11);
    story.job(job("t1@1", 11));
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@1"), Verdict::Held)];
    story.advance(179_000);
    story.is_quiet = false;
    story.advance(1_500);
    for _ in 0..30 {
        if story.has("heartbeat") {
            break;
        }
        story.advance(500);
    }
    story.answer("launch-failed", Answer::LaunchFailed(Ok(Door::Claimed)));
    story.beat(&[("t1@1", Verdict::Held)]);
    let task = TaskId::new("t1").unwrap();
    let said = story.brain.explain(story.now, &task);
    assert_eq!(said.as_deref(), Some("a worker has claimed it and is about to start it"));
}

impl Story {
    fn verdict_answer(&self, at: &str, verdict: Verdict) -> Answer {
        let mut one = HeartbeatAnswer::default();
        one.verdicts.push(scalr_protocol::agent::TaskVerdict {
            id: key(at).id,
            fence: key(at).fence,
            verdict,
            ttl_ms: Some(60_000),
        });
        assert!(self.now.0 > 0);
        Answer::Heartbeat(Ok(one))
    }
}
