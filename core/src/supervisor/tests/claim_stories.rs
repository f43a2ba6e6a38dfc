//! From the begin to the confirm.

use expect_test::expect;
use scalr_protocol::{
    agent::Action,
    task::{LeaseAnswer, Signal},
};

use crate::{
    scalr::ScalrError,
    supervisor::input::{TaskAnswer, TaskInput},
    task_api::TaskError,
};

use super::story::{Story, claim, registration, unreachable};

fn leased(signal: Option<Signal>) -> TaskAnswer {
    TaskAnswer::Lease(Ok(LeaseAnswer { ttl_ms: 60_000, signal }))
}

/// A story in which the start is in flight.
fn starting() -> Story {
    let mut story = Story::new();
    story.input(TaskInput::Began).answer(TaskAnswer::Registered(Ok(registration())));
    story.input(TaskInput::RunnerReady).forget();
    story
}

/// A story in which the confirm is in flight.
fn confirming() -> Story {
    let mut story = starting();
    story.answer(TaskAnswer::Start(Ok(claim(Action::Plan, &[])))).forget();
    story
}

#[test]
fn claims_when_the_worker_is_registered_and_the_runner_has_answered() {
    let mut story = Story::new();
    story.input(TaskInput::Began).pass_s(1).answer(TaskAnswer::Registered(Ok(registration())));
    story.pass_s(1).input(TaskInput::RunnerReady).pass_s(1);
    story.answer(TaskAnswer::Start(Ok(claim(Action::Plan, &[])))).pass_s(1).answer(leased(None));
    story.check(expect![[r#"
        0.000s began
            op1 register
            wake at 30.000s
        1.000s op1 registered: yes
            wake at 180.000s
        2.000s runner ready
            op2 start
            wake at 32.000s
        3.000s op2 started: plan
            op3 lease confirm
            wake at 18.000s
        4.000s op3 leased: yes
            op4 begin configuration
            op5 signals after 0 for 30s
            wake at 23.000s
    "#]]);
}

#[test]
fn a_runner_that_does_not_come_up_leaves_nothing_claimed() {
    let mut story = Story::new();
    story.input(TaskInput::Began).answer(TaskAnswer::Registered(Ok(registration()))).pass_s(180);
    story.check(expect![[r#"
        0.000s began
            op1 register
            wake at 30.000s
        0.000s op1 registered: yes
            wake at 180.000s
        180.000s wake
            log Error: the runner did not come up in time
            dismiss runner
            exit 1
    "#]]);
}

#[test]
fn a_runner_that_goes_before_the_claim_leaves_nothing_claimed() {
    let mut story = starting();
    story.input(TaskInput::RunnerGone { detail: "exec format error".to_owned() });
    story.check(expect![[r#"
        0.000s runner gone: exec format error
            log Error: the runner is gone: exec format error
            dismiss runner
            abandon op2
            exit 1
    "#]]);
}

#[test]
fn registering_is_tried_again_unless_the_token_is_bad() {
    let mut story = Story::new();
    story.input(TaskInput::Began);
    story.answer(TaskAnswer::Registered(Err(ScalrError::QuotaExceeded { detail: "25 of 25".to_owned() })));
    story
        .pass_s(1)
        .answer(TaskAnswer::Registered(Err(ScalrError::Unauthorized { detail: "revoked".to_owned() })));
    story.check(expect![[r#"
        0.000s began
            op1 register
            wake at 30.000s
        0.000s op1 registered: the quota of agents is used up: 25 of 25
            log Warning: registering is tried again: the quota of agents is used up: 25 of 25
            wake at 0.487s
        0.487s wake
            op2 register
            wake at 30.487s
        1.000s op2 registered: the token was refused: revoked
            log Error: the worker could not be registered: the token was refused: revoked
            dismiss runner
            exit 1
    "#]]);
}

#[test]
fn a_start_is_tried_until_it_is_answered() {
    let mut story = starting();
    story.answer(TaskAnswer::Start(Err(unreachable()))).pass_s(1).pass_s(32);
    story.answer(TaskAnswer::Start(Ok(claim(Action::Plan, &[]))));
    story.check(expect![[r#"
        0.000s op2 started: no answer: connection refused
            log Warning: the start is tried again: no answer: connection refused
            wake at 0.988s
        0.988s wake
            op3 start
            wake at 30.988s
        30.988s wake
            abandon op3
            wake at 31.907s
        31.907s wake
            op4 start
            wake at 61.907s
        33.000s op4 started: plan
            op5 lease confirm
            wake at 48.000s
    "#]]);
}

#[test]
fn an_ended_session_registers_again() {
    let mut story = starting();
    story.answer(TaskAnswer::Start(Err(TaskError::SessionExpired)));
    story.answer(TaskAnswer::Registered(Ok(registration()))).pass_s(1);
    story.check(expect![[r#"
        0.000s op2 started: the session has ended
            op3 register
        0.000s op3 registered: yes
            wake at 0.988s
        0.988s wake
            op4 start
            wake at 30.988s
    "#]]);
}

#[test]
fn who_loses_the_start_leaves_having_run_nothing() {
    for error in [
        TaskError::AlreadyStarted,
        TaskError::FenceStale,
        TaskError::Canceled,
        TaskError::Finished,
        TaskError::ClaimExpired,
    ] {
        starting().answer(TaskAnswer::Start(Err(error))).expect_exit(0, &["begin", "lease"]);
    }
    let mut story = starting();
    story.answer(TaskAnswer::Start(Err(TaskError::AlreadyStarted)));
    story.check(expect![[r#"
        0.000s op2 started: another worker has started the task
            log Info: nothing was run: another worker has started the task
            dismiss runner
            exit 0
    "#]]);
}

#[test]
fn a_start_that_is_refused_is_a_launch_failure() {
    let refused = TaskError::Refused { status: 422, detail: "no".to_owned() };
    for error in [TaskError::Unauthorized { detail: "no".to_owned() }, TaskError::NotFound, refused] {
        starting().answer(TaskAnswer::Start(Err(error))).expect_exit(1, &["begin", "lease"]);
    }
}

#[test]
fn an_unanswered_confirm_is_never_given_up() {
    let mut story = confirming();
    story.answer(TaskAnswer::Lease(Err(unreachable()))).pass_s(1);
    story.answer(TaskAnswer::Lease(Err(TaskError::Unauthorized { detail: "who?".to_owned() }))).pass_s(2);
    story
        .answer(TaskAnswer::Lease(Err(TaskError::Refused { status: 418, detail: "no".to_owned() })))
        .pass_s(4);
    // Silence, for half an hour.
    story.forget().pass_s(1800).pass_until("lease").forget();
    story.answer(leased(None));
    story.check(expect![[r#"
        1807.858s op102 leased: yes
            op103 begin configuration
            op104 signals after 0 for 30s
            wake at 1827.858s
    "#]]);
}

#[test]
fn a_confirm_that_failed_leaves_having_run_nothing() {
    for error in [
        TaskError::ClaimExpired,
        TaskError::Canceled,
        TaskError::Lost,
        TaskError::Finished,
        TaskError::FenceStale,
    ] {
        confirming().answer(TaskAnswer::Lease(Err(error))).expect_exit(0, &["begin", "finish"]);
    }
    let mut story = confirming();
    story.answer(TaskAnswer::Lease(Err(TaskError::ClaimExpired)));
    story.check(expect![[r#"
        0.000s op3 leased: the claim was not confirmed in time
            log Info: nothing was run: the claim was not confirmed in time
            dismiss runner
            exit 0
    "#]]);
}

#[test]
fn a_cancel_in_the_answer_to_the_confirm_runs_nothing() {
    let mut story = confirming();
    story.answer(leased(Some(Signal::Cancel))).spooled(99).appended(Ok(99));
    story.check(expect![[r#"
        0.000s op3 leased: yes, and Cancel
            drain
            log Info: stopping: Run canceled
            print "Run canceled. Stopping gracefully..."
            wake at 1.000s
        0.000s spooled 99
            op4 append 0..99
            wake at 20.000s
        0.000s op4 appended: has 99
            op5 finish canceled log 99 Canceled: Run canceled
    "#]]);
}

#[test]
fn an_unknown_action_is_finished_as_unsupported() {
    let mut story = starting();
    story.answer(TaskAnswer::Start(Ok(claim(Action::Checkov, &[])))).answer(leased(None));
    story.check(expect![[r#"
        0.000s op2 started: checkov
            op3 lease confirm
            wake at 15.000s
        0.000s op3 leased: yes
            log Error: the task asks for an action that this worker does not know
            op4 finish errored log 0 UnsupportedAction: the agent does not support the action checkov
            wake at 20.000s
    "#]]);
}

#[test]
fn told_to_stop_before_the_claim_nothing_is_claimed() {
    let mut story = starting();
    story.stop(360);
    story.check(expect![[r#"
        0.000s stop within 360s
            log Error: told to stop before the task was claimed
            dismiss runner
            abandon op2
            exit 1
    "#]]);
}

#[test]
fn told_to_stop_while_confirming_it_still_asks_and_then_says_so() {
    let mut story = confirming();
    story.stop(30).spooled(99).pass_s(2).answer(TaskAnswer::Lease(Err(unreachable()))).pass_s(2);
    story.answer(leased(None)).appended(Ok(99));
    story.check(expect![[r#"
        0.000s stop within 30s
            drain
            log Info: stopping: The worker is being shut down
            print "The worker is being shut down. Stopping gracefully..."
        0.000s spooled 99
        2.000s op3 leased: no answer: connection refused
            log Warning: the confirm is tried again: no answer: connection refused
            wake at 2.872s
        2.872s wake
            op4 lease confirm
            wake at 17.872s
        4.000s op4 leased: yes
            op5 append 0..99
            wake at 9.000s
        4.000s op5 appended: has 99
            op6 finish errored log 99 WorkerShutdown: The worker is being shut down
    "#]]);
}

#[test]
fn a_runner_that_goes_while_confirming_makes_an_outcome() {
    let mut story = confirming();
    story.input(TaskInput::RunnerGone { detail: "connection closed".to_owned() }).answer(leased(None));
    story.check(expect![[r#"
        0.000s runner gone: connection closed
        0.000s op3 leased: yes
            op4 finish errored log 0 RunnerLost: the runner is gone: it was gone before the first stage
            wake at 20.000s
    "#]]);
}
