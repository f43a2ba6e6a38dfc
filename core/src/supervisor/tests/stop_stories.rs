//! Why the work stops, how hard, and by when.

use expect_test::expect;
use scalr_protocol::{
    agent::Action,
    task::{HookPhase, Signal, TaskErrorCode},
};

use crate::supervisor::{
    effect::Stage,
    input::{StageEnd, StageFacts, TaskInput},
};

use super::story::{Story, done, failed};

#[test]
fn a_cancel_interrupts_the_tool_once_and_waits_for_it() {
    let mut story = Story::confirmed(Action::Apply, &[HookPhase::PostApply]).until(Stage::Apply);
    story.signal(Signal::Cancel).spooled(99).appended(Ok(99));
    story.pass_s(300).end(failed(TaskErrorCode::ApplyFailed, 1));
    story.check(expect![[r#"
        0.000s op5 signals: [Cancel]
            drain
            log Info: stopping: Run canceled
            print "Run canceled. Stopping gracefully..."
            op9 interrupt
        0.000s spooled 99
            op10 append 0..99
        0.000s op10 appended: has 99
        300.000s op9 failed: ApplyFailed "it said no" exit Some(1)
            op33 finish canceled exit 1 log 99 Canceled: Run canceled
    "#]]);
}

#[test]
fn no_further_reason_brings_a_second_interrupt() {
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    story.signal(Signal::Cancel).pass_s(2).signal(Signal::Cancel).stop(360).pass_s(60);
    story.stop(360).server_leaves().pass_s(239).forget_all_but(&["op"]);
    story.forget_all_but(&["interrupt", "terminate", "kill"]).check(expect![[""]]);
    // The first SIGTERM's grace of 360 s, less 60 s for the uploads, ends at 302 s.
    story.pass_s(1).forget_all_but(&["interrupt", "terminate", "kill"]).check(expect![[r#"
        302.000s op9 kill
    "#]]);
}

#[test]
fn a_force_cancel_kills_at_once() {
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    story.signal(Signal::ForceCancel);
    let killed = StageEnd::Failed {
        code: TaskErrorCode::ApplyFailed,
        message: "killed".to_owned(),
        exit_code: Some(137),
        facts: StageFacts { has_errored_state: true, ..StageFacts::default() },
    };
    story.end(killed).end(done()).pass_s(1);
    story.check(expect![[r#"
        0.000s op5 signals: [ForceCancel]
            drain
            log Info: stopping: Run force-canceled
            print "Run force-canceled."
            op9 kill
        0.000s op9 failed with errored state: ApplyFailed "killed" exit Some(137)
            op10 begin errored-state
        0.000s op10 done
        1.000s wake
            op11 finish canceled exit 137 log 0 StatePushFailed: the state could not be pushed: there was no way to push it; before that: Run force-canceled
    "#]]);
}

#[test]
fn a_force_cancel_after_a_cancel_wins() {
    let mut story = Story::confirmed(Action::Plan, &[]).until(Stage::Plan);
    story.signal(Signal::Cancel).pass_s(30).signal(Signal::ForceCancel).signal_again(Signal::Cancel);
    story.spooled(99).appended(Ok(99)).end(failed(TaskErrorCode::PlanFailed, 137));
    story.check(expect![[r#"
        0.000s op5 signals: [Cancel]
            drain
            log Info: stopping: Run canceled
            print "Run canceled. Stopping gracefully..."
            op8 interrupt
        30.000s op9 signals: [ForceCancel]
            log Info: stopping: Run force-canceled
            print "Run force-canceled."
            op8 kill
        31.000s op11 signals: [Cancel]
        31.000s spooled 99
            op13 append 0..99
        31.000s op13 appended: has 99
        31.000s op8 failed: PlanFailed "it said no" exit Some(137)
            op14 finish canceled exit 137 log 99 ForceCanceled: Run force-canceled
    "#]]);
}

#[test]
fn a_tool_that_does_not_stop_is_killed_after_the_stop_timeout() {
    let mut story = Story::confirmed(Action::Plan, &[]).until(Stage::Plan);
    story.signal(Signal::Cancel).spooled(99).appended(Ok(99)).pass_s(599).check(expect![[r#"
        0.000s op5 signals: [Cancel]
            drain
            log Info: stopping: Run canceled
            print "Run canceled. Stopping gracefully..."
            op8 interrupt
        0.000s spooled 99
            op9 append 0..99
        0.000s op9 appended: has 99
    "#]]);
    story.pass_s(1).check(expect![[r#"
        600.000s wake
            print "It did not stop in time. Killed."
            op8 kill
    "#]]);
}

#[test]
fn what_does_not_even_end_when_killed_is_given_up() {
    let mut story = Story::confirmed(Action::Plan, &[]).until(Stage::Plan);
    story.signal(Signal::ForceCancel).spooled(99).appended(Ok(99)).forget().pass_s(60);
    story.check(expect![[r#"
        60.000s wake
            op15 finish canceled log 99 ForceCanceled: Run force-canceled
    "#]]);
}

#[test]
fn a_hook_is_interrupted_terminated_and_killed() {
    let mut story =
        Story::confirmed(Action::Plan, &[HookPhase::PreInit]).until(Stage::Hooks(HookPhase::PreInit));
    story
        .signal(Signal::Cancel)
        .spooled(99)
        .appended(Ok(99))
        .pass_s(20)
        .end(failed(TaskErrorCode::HookFailed, 137));
    story.check(expect![[r#"
        0.000s op5 signals: [Cancel]
            drain
            log Info: stopping: Run canceled
            print "Run canceled. Stopping gracefully..."
            op7 interrupt
        0.000s spooled 99
            op8 append 0..99
        0.000s op8 appended: has 99
        10.000s wake
            op7 terminate
        20.000s wake
            op7 kill
        20.000s op7 failed: HookFailed "it said no" exit Some(137)
            op11 finish canceled log 99 Canceled: Run canceled
    "#]]);
}

#[test]
fn a_fetch_is_given_up_at_once() {
    let mut story = Story::confirmed(Action::Plan, &[]);
    story.signal(Signal::Cancel).spooled(99).appended(Ok(99)).end(failed(TaskErrorCode::Internal, 1));
    story.check(expect![[r#"
        0.000s op5 signals: [Cancel]
            drain
            log Info: stopping: Run canceled
            print "Run canceled. Stopping gracefully..."
            op4 kill
        0.000s spooled 99
            op6 append 0..99
        0.000s op6 appended: has 99
        0.000s op4 failed: Internal "it said no" exit Some(1)
            op7 finish canceled log 99 Canceled: Run canceled
    "#]]);
}

#[test]
fn an_interrupted_apply_still_saves_and_pushes_its_state() {
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    story.signal(Signal::Cancel).spooled(99).appended(Ok(99)).pass_s(599);
    story.end(StageEnd::Failed {
        code: TaskErrorCode::ApplyFailed,
        message: "interrupted".to_owned(),
        exit_code: Some(1),
        facts: StageFacts { has_errored_state: true, ..StageFacts::default() },
    });
    story.pass_s(5).end(done()).pass_s(5).end(done());
    story.check(expect![[r#"
        0.000s op5 signals: [Cancel]
            drain
            log Info: stopping: Run canceled
            print "Run canceled. Stopping gracefully..."
            op9 interrupt
        0.000s spooled 99
            op10 append 0..99
        0.000s op10 appended: has 99
        599.000s op9 failed with errored state: ApplyFailed "interrupted" exit Some(1)
            op52 begin errored-state
        604.000s op52 done
            op54 begin push-state
        609.000s op54 done
            op55 finish canceled exit 1 log 99 Canceled: Run canceled
    "#]]);
}

#[test]
fn an_apply_that_ran_to_its_end_has_succeeded_whenever_the_cancel_came() {
    let mut story = Story::confirmed(Action::Apply, &[HookPhase::PostApply]).until(Stage::Apply);
    story.signal(Signal::Cancel).spooled(99).appended(Ok(99)).end(done());
    story.check(expect![[r#"
        0.000s op5 signals: [Cancel]
            drain
            log Info: stopping: Run canceled
            print "Run canceled. Stopping gracefully..."
            op9 interrupt
        0.000s spooled 99
            op10 append 0..99
        0.000s op10 appended: has 99
        0.000s op9 done
            op11 finish succeeded exit 0 log 99
    "#]]);
    let hook = Stage::Hooks(HookPhase::PostApply);
    let mut story = Story::confirmed(Action::Apply, &[HookPhase::PostApply]).until(hook);
    story.signal(Signal::Cancel).spooled(99).appended(Ok(99)).end(failed(TaskErrorCode::HookFailed, 130));
    story.check(expect![[r#"
        0.000s op5 signals: [Cancel]
            drain
            log Info: stopping: Run canceled
            print "Run canceled. Stopping gracefully..."
            op10 interrupt
        0.000s spooled 99
            op11 append 0..99
        0.000s op11 appended: has 99
        0.000s op10 failed: HookFailed "it said no" exit Some(130)
            op12 finish succeeded exit 0 log 99
    "#]]);
}

#[test]
fn a_cancel_lets_the_uploads_of_a_finished_plan_end() {
    let mut story = Story::confirmed(Action::Plan, &[]).until(Stage::Show);
    story.end(done()).signal(Signal::Cancel).spooled(99).appended(Ok(99)).end(done()).end(done()).end(done());
    story.check(expect![[r#"
        0.000s op9 done
            op10 begin plan-file
        0.000s op5 signals: [Cancel]
            drain
            log Info: stopping: Run canceled
            print "Run canceled. Stopping gracefully..."
        0.000s spooled 99
            op11 append 0..99
        0.000s op11 appended: has 99
        0.000s op10 done
            op12 begin plan-json
        0.000s op12 done
            op13 begin lock-file
        0.000s op13 done
            op14 finish succeeded exit 0 log 99
    "#]]);
}

#[test]
fn a_plan_whose_checks_were_not_run_is_no_success() {
    let mut story = Story::confirmed(Action::Plan, &[HookPhase::PostPlan]).until(Stage::Plan);
    story.signal(Signal::Cancel).spooled(99).appended(Ok(99)).end(done());
    story.check(expect![[r#"
        0.000s op5 signals: [Cancel]
            drain
            log Info: stopping: Run canceled
            print "Run canceled. Stopping gracefully..."
            op8 interrupt
        0.000s spooled 99
            op9 append 0..99
        0.000s op9 appended: has 99
        0.000s op8 done
            op10 finish canceled exit 0 log 99 Canceled: Run canceled
    "#]]);
}

#[test]
fn what_failed_before_the_stop_stays_the_reason() {
    let mut story = Story::confirmed(Action::Plan, &[HookPhase::PostPlan]).until(Stage::Plan);
    story.end(failed(TaskErrorCode::PlanFailed, 1)).signal(Signal::Cancel).spooled(99).appended(Ok(99));
    story.end(failed(TaskErrorCode::HookFailed, 130));
    story.check(expect![[r#"
        0.000s op8 failed: PlanFailed "it said no" exit Some(1)
            op9 begin post-plan after exit 1
        0.000s op5 signals: [Cancel]
            drain
            log Info: stopping: Run canceled
            print "Run canceled. Stopping gracefully..."
            op9 interrupt
        0.000s spooled 99
            op10 append 0..99
        0.000s op10 appended: has 99
        0.000s op9 failed: HookFailed "it said no" exit Some(130)
            op11 finish failed exit 1 log 99 PlanFailed: it said no
    "#]]);
}

#[test]
fn a_sigterm_keeps_its_reserve_for_what_comes_after_the_tool() {
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    story.stop(360).spooled(99).appended(Ok(99)).pass_s(299).check(expect![[r#"
        0.000s stop within 360s
            drain
            log Info: stopping: The worker is being shut down
            print "The worker is being shut down. Stopping gracefully..."
            op9 interrupt
        0.000s spooled 99
            op10 append 0..99
        0.000s op10 appended: has 99
    "#]]);
    story.pass_s(1).end(failed(TaskErrorCode::ApplyFailed, 137)).check(expect![[r#"
        300.000s wake
            print "It did not stop in time. Killed."
            op9 kill
        300.000s op9 failed: ApplyFailed "it said no" exit Some(137)
            op32 begin errored-state
    "#]]);
    // Nobody answers the upload, nor the finish.
    story.pass_s(60).check(expect![[r#"
        330.000s wake
            op32 kill
            log Error: the state could not be kept: the stage did not end after it was killed
            op34 finish errored exit 137 log 99 WorkerShutdown: The worker is being shut down
        335.000s wake
            log Warning: the outcome is sent again: no answer: nothing came in time
        335.154s wake
            op35 finish errored exit 137 log 99 WorkerShutdown: The worker is being shut down
        341.725s wake
            op37 finish errored exit 137 log 99 WorkerShutdown: The worker is being shut down
        347.982s wake
            op38 finish errored exit 137 log 99 WorkerShutdown: The worker is being shut down
        354.982s wake
            op39 finish errored exit 137 log 99 WorkerShutdown: The worker is being shut down
        359.000s wake
            log Error: the outcome could not be delivered in time
            dismiss runner
            exit 1
    "#]]);
    assert!(story.is_over);
}

#[test]
fn a_short_grace_is_shared_out() {
    let mut story = Story::confirmed(Action::Plan, &[]).until(Stage::Plan);
    story.stop(20).pass_s(20).check(expect![[r#"
        0.000s stop within 20s
            drain
            log Info: stopping: The worker is being shut down
            print "The worker is being shut down. Stopping gracefully..."
            op8 interrupt
        10.000s wake
            print "It did not stop in time. Killed."
            op8 kill
        15.000s wake
            op9 finish errored log 0 WorkerShutdown: The worker is being shut down
        19.000s wake
            log Error: the outcome could not be delivered in time
            dismiss runner
            exit 1
    "#]]);
}

#[test]
fn no_grace_at_all_still_ends() {
    let mut story = Story::confirmed(Action::Plan, &[]).until(Stage::Plan);
    story.input(TaskInput::Stop { grace_ms: 0 }).check(expect![[r#"
        0.000s stop within 0s
            drain
            log Info: stopping: The worker is being shut down
            print "The worker is being shut down. Stopping gracefully..."
            log Error: the outcome could not be delivered in time
            dismiss runner
            exit 1
    "#]]);
}

#[test]
fn a_cancel_after_the_work_changes_nothing() {
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    story.spooled(10).end(done()).stop(360).appended(Ok(10));
    story.check(expect![[r#"
        0.000s spooled 10
            op10 append 0..10
        0.000s op9 done
        0.000s stop within 360s
        0.000s op10 appended: has 10
            op11 finish succeeded exit 0 log 10
    "#]]);
}
