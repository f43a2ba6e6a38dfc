//! The end: what is given back, what is left, and by when.

use expect_test::expect;
use scalr_protocol::agent::{Acquired, Verdict};

use super::story::*;
use crate::{
    controller::{
        ControllerOptions,
        input::{Answer, Input},
    },
    scalr::{Door, ScalrError},
};

#[test]
fn gives_back_what_did_not_start_and_leaves_what_did() {
    let mut story = Story::ready_with(ControllerOptions { capacity: 1, ..options() }, vec![], vec![]);
    story.launched("t1@1", 11);
    story.acquire(&["t2@1"]);
    story.advance(100);
    story.answer("events", Answer::LaunchEvents(Ok(())));
    story.skip();
    story.input("stop", Input::Stop { grace_ms: 30_000 });
    story.answer("release", Answer::Released(Err(unreachable())));
    story.beat(&[("t1@1", Verdict::Held), ("t2@1", Verdict::Held)]);
    story.advance(1_100);
    story.answer("release", Answer::Released(Ok(Door::Shut)));
    story.answer("deregister", Answer::Deregistered(Err(unreachable())));
    story.advance(1_000);
    story.answer("deregister", Answer::Deregistered(Ok(())));
    story.check(&expect![[r#"
        1.110s stop
            abandon #11
            abandon #7
            release t2@1 drain
        1.110s release: Released(Err(Unreachable { detail: "timed out" }))
        1.604s …
            release t2@1 drain
        2.000s …
            heartbeat slots=0 draining [t1@1 t2@1]
        2.110s verdicts [t1@1 Held, t2@1 Held]
        3.210s release: Released(Ok(Shut))
            deregister
        3.210s deregister: Deregistered(Err(Unreachable { detail: "timed out" }))
        3.969s …
            deregister
        4.210s deregister: Deregistered(Ok(()))
            exit Stopped
    "#]]);
}

#[test]
fn waits_for_a_creation_under_way_and_gives_back_what_comes_late() {
    let mut story = Story::ready();
    story.is_quiet = true;
    story.acquire(&["t1@1"]);
    story.advance(10);
    let acquire = story.op("acquire");
    story.skip();
    story.input("stop", Input::Stop { grace_ms: 30_000 });
    story.advance(2_000);
    story.answer("create", Answer::Created(Ok(job("t1@1", 11))));
    story.check(&expect![[r#"
        1.010s stop
        3.010s Job made
    "#]]);
    let tasks = vec![grant("t3@1")];
    let late = Answer::Acquired(Ok(Acquired { tasks }));
    story.input("late tasks", Input::Answer { op: acquire, answer: late });
    story.check(&expect![[r#"
        3.010s late tasks
            release t3@1 drain
    "#]]);
}

#[test]
fn goes_when_the_time_is_over_whatever_is_left() {
    let mut story = Story::ready_with(ControllerOptions { capacity: 0, ..options() }, vec![], vec![]);
    story.acquire(&["t1@1"]);
    story.advance(10);
    story.skip();
    story.input("stop", Input::Stop { grace_ms: 8_000 });
    story.advance(8_000);
    story.check(&expect![[r#"
        1.010s stop
            abandon #9
            abandon #7
            release t1@1 drain
        2.000s …
            heartbeat slots=0 draining [t1@1]
        7.010s …
            exit Stopped
    "#]]);
}

#[test]
fn a_refused_pool_token_drains_and_says_so() {
    let mut story = Story::ready_with(ControllerOptions { capacity: 0, ..options() }, vec![], vec![]);
    story.is_quiet = true;
    story.acquire(&["t1@1"]);
    story.advance(10);
    story.skip();
    let revoked = ScalrError::Unauthorized { detail: "revoked".to_owned() };
    story.answer("acquire", Answer::Acquired(Err(revoked)));
    story.advance(2_000);
    story.answer("release", Answer::Released(Ok(Door::Shut)));
    story.answer("deregister", Answer::Deregistered(Ok(())));
    story.check(&expect![[r#"
        1.010s acquire: Acquired(Err(Unauthorized { detail: "revoked" }))
            release t1@1 drain
        3.010s release: Released(Ok(Shut))
            deregister
        3.010s deregister: Deregistered(Ok(()))
            exit Unauthorized { detail: "revoked" }
    "#]]);
}

#[test]
fn a_stop_before_anything_else_is_the_end() {
    let mut story = Story::new(options());
    story.input("stop", Input::Stop { grace_ms: 8_000 });
    story.check(&expect![[r#"
        1.000s stop
            exit Stopped
    "#]]);
}
