//! Renewals, and a server that is away.

use expect_test::expect;
use scalr_protocol::{
    agent::Action,
    task::{Finished, LeaseAnswer, Signal, Signals, TaskErrorCode},
};

use crate::{
    supervisor::{effect::Stage, input::TaskAnswer},
    task_api::TaskError,
};

use super::story::{Story, claim, done, failed, options, unreachable};

fn renewed(signal: Option<Signal>) -> TaskAnswer {
    TaskAnswer::Lease(Ok(LeaseAnswer { ttl_ms: 60_000, signal }))
}

#[test]
fn renews_every_twenty_seconds_and_polls_for_signals() {
    let mut story = Story::confirmed(Action::Plan, &[]).until(Stage::Init);
    story.server_leaves().pass_s(20).answer(renewed(None));
    story.answer(TaskAnswer::Signals(Ok(Signals::default()))).pass_s(19);
    story.check(expect![[r#"
        20.000s wake
            op8 lease init
            wake at 35.000s
        20.000s op8 leased: yes
            wake at 40.000s
        20.000s op5 signals: []
            op9 signals after 0 for 30s
    "#]]);
}

#[test]
fn a_server_that_is_away_interrupts_nobody() {
    let mut story = Story::confirmed(Action::Plan, &[]).until(Stage::Plan);
    story.server_leaves().pass_s(20).answer(TaskAnswer::Lease(Err(unreachable()))).forget();
    story.pass_s(15 * 60).forget_all_but(&["begin", "interrupt", "kill", "drain", "print", "exit"]);
    story.check(expect![[""]]);
    assert!(story.supervisor.status().is_unreachable);
    story.server_returns();
    assert!(!story.supervisor.status().is_unreachable);
}

#[test]
fn the_work_stops_by_itself_before_it_is_lost_and_is_killed_when_it_is() {
    // The last renewal that is answered is sent at 0 s; lost after 1800 s, less the 600 s of the stop.
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    story.server_leaves().pass_s(1200);
    story.forget_all_but(&["drain", "print", "interrupt", "kill", "stopping"]).check(expect![[r#"
        1200.000s drain
        1200.000s log Info: stopping: Contact with Scalr was lost for too long
        1200.000s print "Contact with Scalr was lost for too long. Stopping gracefully..."
        1200.000s op9 interrupt
    "#]]);
    story.pass_s(600).forget_all_but(&["drain", "print", "interrupt", "kill", "stopping"]).check(expect![[
        r#"
            1800.000s print "It did not stop in time. Killed."
            1800.000s op9 kill
        "#
    ]]);
}

#[test]
fn the_stop_counts_from_when_the_last_answered_renewal_was_sent() {
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    // Sent at 20 s, answered at 30 s.
    story.server_leaves().pass_s(30).answer(renewed(None)).pass_s(1189).forget();
    story.pass(999).forget_all_but(&["interrupt"]).check(expect![[""]]);
    story.pass(1).forget_all_but(&["interrupt"]).check(expect![[r#"
        1220.000s op9 interrupt
    "#]]);
}

#[test]
fn a_short_lost_after_is_halved() {
    let mut short = claim(Action::Apply, &[]);
    (short.lost_after_ms, short.lease_ttl_ms, short.renew_ms) = (4_000, 2_000, 500);
    let mut story = Story::confirmed_with(options(), short).until(Stage::Apply);
    story.server_leaves().pass_s(4);
    story.forget_all_but(&["interrupt", "kill"]).check(expect![[r#"
        2.000s op9 interrupt
        4.000s op9 kill
    "#]]);
}

#[test]
fn what_is_lost_ends_but_is_still_delivered() {
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    story.server_leaves().pass_s(20).forget();
    story.answer(TaskAnswer::Lease(Err(TaskError::Lost))).spooled(100).appended(Ok(100)).pass_s(60);
    story.end(failed(TaskErrorCode::ApplyFailed, 1));
    story.finished(Err(unreachable())).pass_s(1);
    story.finished(Ok(Finished::Late { log_bytes: 100 }));
    story.check(expect![[r#"
        20.000s op10 leased: the server has declared the task lost
            abandon op5
            log Warning: the lease is over: the server has declared the task lost
            drain
            log Info: stopping: Contact with Scalr was lost for too long
            print "Contact with Scalr was lost for too long. Stopping gracefully..."
            op9 interrupt
            wake at 620.000s
        20.000s spooled 100
            op11 append 0..100
            wake at 80.000s
        20.000s op11 appended: has 100
            wake at 620.000s
        80.000s op9 failed: ApplyFailed "it said no" exit Some(1)
            op12 finish errored exit 1 log 100 LeaseLost: Contact with Scalr was lost for too long
            wake at 110.000s
        80.000s op12 finished: no answer: connection refused
            log Warning: the outcome is sent again: no answer: connection refused
            wake at 80.154s
        80.154s wake
            op13 finish errored exit 1 log 100 LeaseLost: Contact with Scalr was lost for too long
            wake at 110.154s
        81.000s op13 finished: late, has 100
            dismiss runner
            exit 0
    "#]]);
}

#[test]
fn a_lease_that_is_canceled_at_the_server_ends_the_work() {
    let mut story = Story::confirmed(Action::Plan, &[]).until(Stage::Plan);
    story.server_leaves().pass_s(20).forget();
    story.answer(TaskAnswer::Lease(Err(TaskError::Canceled))).spooled(40).appended(Err(TaskError::Canceled));
    story.end(failed(TaskErrorCode::PlanFailed, 1)).finished(Err(TaskError::Canceled));
    story.check(expect![[r#"
        20.000s op9 leased: the task was canceled
            abandon op5
            log Warning: the lease is over: the task was canceled
            drain
            log Info: stopping: Run canceled
            print "Run canceled. Stopping gracefully..."
            op8 interrupt
            wake at 620.000s
        20.000s spooled 40
            op10 append 0..40
            wake at 80.000s
        20.000s op10 appended: the task was canceled
            log Warning: the server takes no more of the console: the task was canceled
            wake at 620.000s
        20.000s op8 failed: PlanFailed "it said no" exit Some(1)
            op11 finish canceled exit 1 log 40 Canceled: Run canceled
            wake at 50.000s
        20.000s op11 finished: the task was canceled
            log Error: the outcome was not taken: the task was canceled
            dismiss runner
            exit 0
    "#]]);
}

#[test]
fn a_signal_comes_with_a_renewal_too_and_an_unknown_one_is_ignored() {
    let mut story = Story::confirmed(Action::Plan, &[]).until(Stage::Plan);
    story.server_leaves().pass_s(20).answer(renewed(Some(Signal::Unknown)));
    story.pass_s(20).answer(renewed(Some(Signal::Unknown)));
    story
        .pass_s(20)
        .forget()
        .answer(renewed(Some(Signal::Cancel)))
        .pass_s(20)
        .answer(renewed(Some(Signal::Cancel)));
    story.check(expect![[r#"
        60.000s op12 leased: yes, and Cancel
            drain
            log Info: stopping: Run canceled
            print "Run canceled. Stopping gracefully..."
            op8 interrupt
            wake at 80.000s
        80.000s wake
            op13 lease plan
            wake at 90.014s
        80.000s op13 leased: yes, and Cancel
    "#]]);
}

#[test]
fn a_poll_that_says_the_task_is_over_asks_the_lease_at_once() {
    let mut story = Story::confirmed(Action::Plan, &[]).until(Stage::Plan);
    story.server_leaves().pass_s(5).answer(TaskAnswer::Signals(Err(TaskError::Lost)));
    story.check(expect![[r#"
        5.000s op5 signals: the server has declared the task lost
            op9 lease plan
    "#]]);
}

#[test]
fn renewals_go_on_until_the_finish_is_answered() {
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    story.spooled(10).end(done()).server_leaves().pass_s(45);
    story.forget_all_but(&["lease"]).check(expect![[r#"
        20.000s op11 lease finish
        35.000s log Warning: the lease could not be renewed; the work goes on: no answer: nothing came in time
        35.872s op12 lease finish
    "#]]);
}
