//! The console on its way.

use expect_test::expect;
use scalr_protocol::{
    agent::Action,
    task::{Signal, TaskErrorCode},
};

use crate::{
    supervisor::{effect::Stage, options::TaskOptions},
    task_api::TaskError,
};

use super::story::{Story, claim, done, failed, options, unreachable};

fn planning() -> Story {
    Story::confirmed(Action::Plan, &[]).until(Stage::Plan)
}

#[test]
fn the_first_bytes_go_at_once_and_a_trickle_every_tenth_of_a_second() {
    let mut story = planning();
    story.spooled(10).pass(5).appended(Ok(10)).spooled(20).pass(5).spooled(30).pass(100).appended(Ok(30));
    story.pass_s(3).spooled(40);
    story.check(expect![[r#"
        0.000s spooled 10
            op9 append 0..10
        0.005s op9 appended: has 10
        0.005s spooled 20
        0.010s spooled 30
        0.100s wake
            op10 append 10..30
        0.110s op10 appended: has 30
        3.110s spooled 40
            op11 append 30..40
    "#]]);
}

#[test]
fn a_full_chunk_does_not_wait() {
    let small = TaskOptions { log_chunk_bytes_max: 100, ..options() };
    let mut story = Story::confirmed_with(small, claim(Action::Plan, &[])).until(Stage::Plan);
    story.spooled(250).appended(Ok(100)).appended(Ok(200)).pass(100).appended(Ok(250));
    story.check(expect![[r#"
        0.000s spooled 250
            op9 append 0..100
        0.000s op9 appended: has 100
            op10 append 100..200
        0.000s op10 appended: has 200
        0.100s wake
            op11 append 200..250
        0.100s op11 appended: has 250
    "#]]);
}

#[test]
fn an_answer_that_was_lost_is_made_up_for() {
    let mut story = planning();
    story.spooled(10).appended(Err(unreachable())).spooled(25).pass_s(1).appended(Ok(10)).pass(100);
    story.check(expect![[r#"
        0.000s spooled 10
            op9 append 0..10
        0.000s op9 appended: no answer: connection refused
        0.000s spooled 25
        0.219s wake
            op10 append 0..25
        1.000s op10 appended: has 10
            op11 append 10..25
    "#]]);
}

#[test]
fn an_append_begins_where_the_server_is() {
    let mut story = planning();
    // It has more than was thought, then less.
    story.spooled(10).spooled(50).appended(Ok(30)).pass(100).appended(Ok(5)).pass_s(1).appended(Ok(50));
    story.check(expect![[r#"
        0.000s spooled 10
            op9 append 0..10
        0.000s spooled 50
        0.000s op9 appended: has 30
        0.100s wake
            op10 append 30..50
        0.100s op10 appended: has 5
        0.319s wake
            op11 append 5..50
        1.100s op11 appended: has 50
    "#]]);
}

#[test]
fn a_server_that_claims_more_than_there_is_gets_nothing_more() {
    let mut story = planning();
    story.spooled(10).appended(Ok(11)).spooled(20).pass_s(10).end(done()).end(done());
    story.check(expect![[r#"
        0.000s spooled 10
            op9 append 0..10
        0.000s op9 appended: has 11
            log Warning: the server has 11 bytes of a console of 10
        0.000s spooled 20
        10.000s op8 done
            op10 begin show
        10.000s op10 done
            op11 begin plan-file
    "#]]);
}

#[test]
fn a_closed_log_is_not_tried_again_and_the_outcome_goes_out() {
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    story.spooled(10).appended(Err(TaskError::Closed)).spooled(20).pass_s(10).end(done());
    story.check(expect![[r#"
        0.000s spooled 10
            op10 append 0..10
        0.000s op10 appended: the time to deliver has passed
            log Warning: the server takes no more of the console: the time to deliver has passed
        0.000s spooled 20
        10.000s op9 done
            op12 finish succeeded exit 0 log 20
    "#]]);
}

#[test]
fn refused_bytes_are_tried_again_but_hold_no_outcome_back() {
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    let refused = || TaskError::Refused { status: 422, detail: "no".to_owned() };
    story.spooled(10).appended(Err(refused())).pass_s(1).appended(Err(refused())).end(done());
    story.check(expect![[r#"
        0.000s spooled 10
            op10 append 0..10
        0.000s op10 appended: refused with 422: no
            log Warning: console bytes were refused: refused with 422: no
        0.219s wake
            op11 append 0..10
        1.000s op11 appended: refused with 422: no
        1.000s op9 done
            op12 finish succeeded exit 0 log 10
    "#]]);
}

#[test]
fn too_large_a_chunk_is_halved() {
    let mut story = planning();
    story.spooled(1_000_000).appended(Err(TaskError::TooLarge { detail: String::new() })).pass_s(1);
    story.check(expect![[r#"
        0.000s spooled 1000000
            op9 append 0..1000000
        0.000s op9 appended: too large: 
        0.219s wake
            op10 append 0..524288
    "#]]);
}

#[test]
fn a_silent_server_is_asked_again() {
    let mut story = planning();
    story.spooled(10).pass_s(60).pass_s(1);
    story.check(expect![[r#"
        0.000s spooled 10
            op9 append 0..10
        60.219s wake
            op14 append 0..10
    "#]]);
}

#[test]
fn what_the_tool_wrote_before_is_not_taken_for_a_line_of_ours() {
    let mut story = planning();
    story.spooled(10).appended(Ok(10)).pass(100).signal(Signal::Cancel);
    // All of it was in the pipe when the line was printed, and it is longer than the line.
    story.spooled_without_our_line(500).appended(Ok(500));
    story.end(failed(TaskErrorCode::PlanFailed, 1)).pass(10).spooled(540).appended(Ok(540));
    story.check(expect![[r#"
        0.000s spooled 10
            op9 append 0..10
        0.000s op9 appended: has 10
        0.100s op5 signals: [Cancel]
            drain
            log Info: stopping: Run canceled
            print "Run canceled. Stopping gracefully..."
            op8 interrupt
        0.100s spooled 500
            op10 append 10..500
        0.100s op10 appended: has 500
        0.100s op8 failed: PlanFailed "it said no" exit Some(1)
        0.110s spooled 540
            op11 append 500..540
        0.110s op11 appended: has 540
            op12 finish canceled exit 1 log 540 Canceled: Run canceled
    "#]]);
}
