//! The outcome, and the end of the process.

use expect_test::expect;
use scalr_protocol::{agent::Action, task::Finished};

use crate::{supervisor::effect::Stage, task_api::TaskError};

use super::story::{Story, done, unreachable};

/// An apply that has just ended well, with ten bytes of console in flight.
fn applied() -> Story {
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    story.spooled(10).end(done()).forget();
    story
}

/// The same with the finish in flight.
fn finishing() -> Story {
    let mut story = applied();
    story.appended(Ok(10)).forget();
    story
}

#[test]
fn the_log_goes_before_the_outcome() {
    let mut story = applied();
    story.pass_s(5).appended(Ok(10)).pass_s(1).finished(Ok(Finished::Whole));
    story.check(expect![[r#"
        5.000s op10 appended: has 10
            op11 finish succeeded exit 0 log 10
        6.000s op11 finished: whole
            dismiss runner
            exit 0
    "#]]);
}

#[test]
fn a_finish_is_sent_until_it_is_answered() {
    let mut story = finishing();
    story.finished(Err(unreachable())).pass_s(1);
    story.finished(Err(TaskError::RateLimited { retry_after_ms: 7_000 })).pass_s(9);
    // No answer at all.
    story.pass_s(35).finished(Ok(Finished::Whole));
    story.check(expect![[r#"
        0.000s op11 finished: no answer: connection refused
            log Warning: the outcome is sent again: no answer: connection refused
        0.154s wake
            op12 finish succeeded exit 0 log 10
        1.000s op12 finished: the server asks to come back later
        9.571s wake
            op13 finish succeeded exit 0 log 10
        40.828s wake
            op16 finish succeeded exit 0 log 10
        45.000s op16 finished: whole
            dismiss runner
            exit 0
    "#]]);
}

#[test]
fn a_log_that_is_stuck_does_not_hold_the_outcome_back_for_ever() {
    let mut story = applied();
    story.appended(Err(unreachable())).forget();
    for _ in 0..29 {
        story.pass_s(30).fail_append();
    }
    story.forget().pass_s(30).forget_all_but(&["finish"]);
    story.check(expect![[r#"
        900.000s op85 finish succeeded exit 0 log 10
    "#]]);
}

#[test]
fn an_incomplete_log_is_completed_and_the_finish_repeated() {
    let mut story = finishing();
    story
        .finished(Ok(Finished::LogIncomplete { log_bytes: 4 }))
        .appended(Ok(10))
        .finished(Ok(Finished::Whole));
    story.check(expect![[r#"
        0.000s op11 finished: recorded, has 4
            op12 append 4..10
        0.000s op12 appended: has 10
            op13 finish succeeded exit 0 log 10
        0.000s op13 finished: whole
            dismiss runner
            exit 0
    "#]]);
}

#[test]
fn a_log_that_cannot_be_completed_is_left_after_an_hour() {
    let mut story = finishing();
    story.finished(Ok(Finished::LogIncomplete { log_bytes: 4 })).pass_s(3599).forget();
    story.pass_s(1).check(expect![[r#"
        3600.000s wake
            log Warning: the end of the console could not be delivered
            dismiss runner
            exit 0
    "#]]);
}

#[test]
fn a_late_outcome_is_followed_by_the_rest_of_the_log() {
    let mut story = finishing();
    story.finished(Ok(Finished::Late { log_bytes: 4 })).appended(Ok(10));
    story.check(expect![[r#"
        0.000s op11 finished: late, has 4
            op12 append 4..10
        0.000s op12 appended: has 10
            dismiss runner
            exit 0
    "#]]);
}

#[test]
fn another_outcome_at_the_server_ends_it() {
    let mut story = finishing();
    story.finished(Err(TaskError::Differs { detail: "canceled is recorded".to_owned() }));
    story.check(expect![[r#"
        0.000s op11 finished: something else is recorded already: canceled is recorded
            log Error: the outcome was not taken: something else is recorded already: canceled is recorded
            dismiss runner
            exit 0
    "#]]);
}

#[test]
fn a_closed_door_ends_it_with_a_failure() {
    let mut story = finishing();
    story.finished(Err(TaskError::Closed));
    story.check(expect![[r#"
        0.000s op11 finished: the time to deliver has passed
            log Error: the outcome could not be delivered: the time to deliver has passed
            dismiss runner
            exit 1
    "#]]);
}

#[test]
fn an_outcome_that_nobody_takes_is_given_up_after_a_day() {
    let mut story = finishing();
    story.pass_s(24 * 3600 - 1);
    assert!(!story.is_over);
    story.forget().pass_s(1).check(expect![[r#"
        86400.000s wake
            log Error: the outcome could not be delivered in time
            dismiss runner
            exit 1
    "#]]);
}

#[test]
fn a_refused_outcome_is_not_sent_for_ever() {
    let mut story = finishing();
    for _ in 0..15 {
        story.pass_until("finish").finished(Err(TaskError::Unauthorized { detail: "no".to_owned() }));
    }
    story.expect_exit(1, &[]);
}

#[test]
fn what_is_spooled_after_the_outcome_is_no_part_of_it() {
    let mut story = finishing();
    story.spooled(99).finished(Err(unreachable())).pass_s(1).finished(Ok(Finished::Whole));
    story.check(expect![[r#"
        0.000s spooled 99
        0.000s op11 finished: no answer: connection refused
            log Warning: the outcome is sent again: no answer: connection refused
        0.154s wake
            op12 finish succeeded exit 0 log 10
        1.000s op12 finished: whole
            dismiss runner
            exit 0
    "#]]);
}
