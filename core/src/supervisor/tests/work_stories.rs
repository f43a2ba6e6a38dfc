//! The stages and their ends.

use expect_test::expect;
use scalr_protocol::{
    agent::Action,
    task::{HookPhase, Summary, TaskErrorCode},
};

use crate::supervisor::{
    effect::Stage,
    input::{StageEnd, StageFacts, TaskInput},
};

use super::story::{Story, done, failed};

fn errored_state(exit_code: i32) -> StageEnd {
    StageEnd::Failed {
        code: TaskErrorCode::ApplyFailed,
        message: "it could not save its state".to_owned(),
        exit_code: Some(exit_code),
        facts: StageFacts { has_errored_state: true, ..StageFacts::default() },
    }
}

#[test]
fn a_plan_does_its_stages_in_order() {
    let mut story = Story::confirmed(Action::Plan, &[]);
    for _ in 0..4 {
        story.end(done());
    }
    let summary = Summary { has_changes: true, resource_additions: 2, ..Summary::default() };
    story.end(StageEnd::Done(StageFacts { summary: Some(summary), ..StageFacts::default() }));
    story.end(done()).end(done()).end(done());
    story.check(expect![[r#"
        0.000s op4 done
            op6 begin tool
        0.000s op6 done
            op7 begin init
        0.000s op7 done
            op8 begin plan
        0.000s op8 done
            op9 begin show
        0.000s op9 done
            op10 begin plan-file
        0.000s op10 done
            op11 begin plan-json
        0.000s op11 done
            op12 begin lock-file
        0.000s op12 done
            op13 finish succeeded exit 0 log 0 with summary
    "#]]);
}

#[test]
fn an_apply_does_its_stages_in_order() {
    let mut story = Story::confirmed(Action::Apply, &[]);
    for _ in 0..5 {
        story.end(done());
    }
    story.check(expect![[r#"
        0.000s op4 done
            op6 begin saved-plan
        0.000s op6 done
            op7 begin tool
        0.000s op7 done
            op8 begin init
        0.000s op8 done
            op9 begin apply
        0.000s op9 done
            op10 finish succeeded exit 0 log 0
    "#]]);
}

#[test]
fn hooks_run_in_their_phases() {
    let hooks = [HookPhase::PreInit, HookPhase::PrePlan, HookPhase::PostPlan, HookPhase::PostApply];
    let mut story = Story::confirmed(Action::Plan, &hooks).until(Stage::Tool);
    for _ in 0..7 {
        story.end(done());
    }
    story.check(expect![[r#"
        0.000s op6 done
            op7 begin pre-init
        0.000s op7 done
            op8 begin init
        0.000s op8 done
            op9 begin pre-plan
        0.000s op9 done
            op10 begin plan
        0.000s op10 done
            op11 begin post-plan after exit 0
        0.000s op11 done
            op12 begin show
        0.000s op12 done
            op13 begin plan-file
    "#]]);
}

#[test]
fn a_failed_plan_runs_the_hooks_after_it_and_uploads_nothing() {
    let mut story = Story::confirmed(Action::Plan, &[HookPhase::PostPlan]).until(Stage::Plan);
    story.end(failed(TaskErrorCode::PlanFailed, 1)).end(failed(TaskErrorCode::HookFailed, 9));
    story.check(expect![[r#"
        0.000s op8 failed: PlanFailed "it said no" exit Some(1)
            op9 begin post-plan after exit 1
        0.000s op9 failed: HookFailed "it said no" exit Some(9)
            op10 finish failed exit 1 log 0 PlanFailed: it said no
    "#]]);
}

#[test]
fn a_failed_init_ends_the_work() {
    let mut story = Story::confirmed(Action::Plan, &[HookPhase::PostPlan]).until(Stage::Init);
    story.end(failed(TaskErrorCode::InitFailed, 1));
    story.check(expect![[r#"
        0.000s op7 failed: InitFailed "it said no" exit Some(1)
            op8 finish failed exit 1 log 0 InitFailed: it said no
    "#]]);
}

#[test]
fn a_failed_hook_after_the_plan_keeps_it_from_being_a_success() {
    let mut story = Story::confirmed(Action::Plan, &[HookPhase::PostPlan]).until(Stage::Plan);
    story.end(done()).end(failed(TaskErrorCode::HookFailed, 2));
    story.check(expect![[r#"
        0.000s op8 done
            op9 begin post-plan after exit 0
        0.000s op9 failed: HookFailed "it said no" exit Some(2)
            op10 finish failed exit 2 log 0 HookFailed: it said no
    "#]]);
}

#[test]
fn a_configuration_that_cannot_be_unpacked_is_an_error() {
    let mut story = Story::confirmed(Action::Plan, &[]);
    let end = StageEnd::Failed {
        code: TaskErrorCode::ConfigurationInvalid,
        message: "é".repeat(600),
        exit_code: None,
        facts: StageFacts::default(),
    };
    story.end(end).expect_text(&format!("finish errored log 0 ConfigurationInvalid: {}\n", "é".repeat(512)));
}

#[test]
fn a_state_that_could_not_be_pushed_is_saved_before_the_hooks() {
    let mut story = Story::confirmed(Action::Apply, &[HookPhase::PostApply]).until(Stage::Apply);
    story.end(errored_state(1)).end(done()).end(done()).end(done());
    story.check(expect![[r#"
        0.000s op9 failed with errored state: ApplyFailed "it could not save its state" exit Some(1)
            op10 begin errored-state
        0.000s op10 done
            op11 begin push-state
        0.000s op11 done
            op12 begin post-apply after exit 1
        0.000s op12 done
            op13 finish failed exit 1 log 0 ApplyFailed: it could not save its state
    "#]]);
}

#[test]
fn a_state_that_cannot_be_pushed_at_all_is_said() {
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    story.end(errored_state(1)).end(done()).end(failed(TaskErrorCode::StatePushFailed, 1));
    story.check(expect![[r#"
        0.000s op9 failed with errored state: ApplyFailed "it could not save its state" exit Some(1)
            op10 begin errored-state
        0.000s op10 done
            op11 begin push-state
        0.000s op11 failed: StatePushFailed "it said no" exit Some(1)
            log Error: the state could not be pushed: it said no
            op12 finish failed exit 1 log 0 StatePushFailed: the state could not be pushed: it said no; before that: it could not save its state
    "#]]);
}

#[test]
fn a_stage_that_reaches_nobody_is_begun_again() {
    let mut story = Story::confirmed(Action::Plan, &[]);
    story.end(StageEnd::Unreachable { detail: "503".to_owned(), retry_after_ms: 5_000 });
    story.pass_s(6).end(StageEnd::Unreachable { detail: "503".to_owned(), retry_after_ms: 0 });
    story.pass_s(2).end(done());
    story.check(expect![[r#"
        0.000s op4 unreachable: 503
            log Warning: configuration is tried again: 503
        5.754s wake
            op6 begin configuration
        6.000s op6 unreachable: 503
        6.320s wake
            op7 begin configuration
        8.000s op7 done
            op8 begin tool
    "#]]);
}

#[test]
fn what_may_have_run_code_of_the_users_is_never_begun_again() {
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    story.end(StageEnd::Unreachable { detail: "the runner is busy".to_owned(), retry_after_ms: 0 });
    story.check(expect![[r#"
        0.000s op9 unreachable: the runner is busy
            op10 finish errored log 0 Internal: the runner is busy
    "#]]);
}

#[test]
fn a_command_killed_for_its_memory_says_so() {
    let mut story = Story::confirmed(Action::Plan, &[]).until(Stage::Plan);
    story.end(StageEnd::Failed {
        code: TaskErrorCode::PlanFailed,
        message: "killed for its memory (limit 512 MiB)".to_owned(),
        exit_code: Some(137),
        facts: StageFacts { is_oom: true, ..StageFacts::default() },
    });
    story.check(expect![[r#"
        0.000s op8 failed: PlanFailed "killed for its memory (limit 512 MiB)" exit Some(137)
            op9 finish errored exit 137 log 0 OomKilled: killed for its memory (limit 512 MiB)
    "#]]);
}

#[test]
fn a_runner_lost_under_an_apply_leaves_its_state_to_be_saved() {
    let mut story = Story::confirmed(Action::Apply, &[HookPhase::PostApply]).until(Stage::Apply);
    story.input(TaskInput::RunnerGone { detail: "connection closed".to_owned() }).pass_s(5).end(done());
    story.check(expect![[r#"
        0.000s runner gone: connection closed
            log Error: the runner is gone: connection closed
        5.000s wake
            op10 begin errored-state
        5.000s op10 done
            op11 finish errored log 0 RunnerLost: the runner is gone: the command's end was not heard of
    "#]]);
}

#[test]
fn the_end_of_a_stage_whose_runner_was_lost_is_waited_for() {
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    story.input(TaskInput::RunnerGone { detail: "connection closed".to_owned() });
    story.pass_s(1).end(errored_state(137)).end(done());
    story.check(expect![[r#"
        0.000s runner gone: connection closed
            log Error: the runner is gone: connection closed
        1.000s op9 failed with errored state: ApplyFailed "it could not save its state" exit Some(137)
            op10 begin errored-state
        1.000s op10 done
            op11 finish errored exit 137 log 0 StatePushFailed: the state could not be pushed: there was no way to push it; before that: the runner is gone: it could not save its state
    "#]]);
}

#[test]
fn a_runner_lost_under_a_fetch_ends_the_work() {
    let mut story = Story::confirmed(Action::Plan, &[]);
    story.input(TaskInput::RunnerGone { detail: "connection closed".to_owned() });
    story.end(failed(TaskErrorCode::Internal, 1));
    story.check(expect![[r#"
        0.000s runner gone: connection closed
            log Error: the runner is gone: connection closed
            op4 kill
        0.000s op4 failed: Internal "it said no" exit Some(1)
            op6 finish errored log 0 RunnerLost: the runner is gone: connection closed
    "#]]);
}

#[test]
fn a_runner_lost_after_its_last_command_is_not_missed() {
    let mut story = Story::confirmed(Action::Plan, &[]).until(Stage::Show);
    story.end(done()).input(TaskInput::RunnerGone { detail: "connection closed".to_owned() });
    story.end(done()).end(done()).end(done());
    story.check(expect![[r#"
        0.000s op9 done
            op10 begin plan-file
        0.000s runner gone: connection closed
            log Error: the runner is gone: connection closed
        0.000s op10 done
            op11 begin plan-json
        0.000s op11 done
            op12 begin lock-file
        0.000s op12 done
            op13 finish succeeded exit 0 log 0
    "#]]);
}

#[test]
fn work_that_takes_too_long_is_stopped() {
    let mut story = Story::confirmed(Action::Apply, &[]).until(Stage::Apply);
    story.pass_s(3600).spooled(99).appended(Ok(99)).pass_s(600);
    story.end(failed(TaskErrorCode::ApplyFailed, 137)).end(done());
    story.check(expect![[r#"
        3600.000s wake
            drain
            log Info: stopping: The operation timeout has passed
            print "The operation timeout has passed. Stopping gracefully..."
            op9 interrupt
        3600.000s spooled 99
            op250 append 0..99
        3600.000s op250 appended: has 99
        4200.000s wake
            print "It did not stop in time. Killed."
            op9 kill
        4200.000s op9 failed: ApplyFailed "it said no" exit Some(137)
            op291 begin errored-state
        4200.000s op291 done
    "#]]);
}
