//! What each planted mutant does otherwise: the same inputs to a sound brain and to one with the wrong
//! change, up to the first effect that differs.

use std::fmt::Write as _;

use expect_test::expect_file;
use scalr_protocol::{
    agent::Action,
    blob::BlobKind,
    task::{LeaseAnswer, Signal, TaskErrorCode},
};

use crate::{
    mutant::{
        Brain, Mutant,
        tests::{Planted, check_table},
    },
    supervisor::{
        Supervisor,
        effect::{Stage, TaskEffect},
        input::{StageEnd, StageFacts, TaskAnswer, TaskInput},
    },
    task_api::TaskError,
};

use super::{
    story::{Story, claim, done, failed, options, registration, unreachable},
    text,
};

/// What was found out, as text.
#[derive(Default)]
struct Score {
    text: String,
    played: Vec<Mutant>,
}

impl Score {
    /// Plays what happened in the story to a sound brain and to this mutant.
    #[track_caller]
    fn play(&mut self, mutant: Mutant, story: &Story) {
        self.played.push(mutant);
        let (mut sound, mut wrong) = (Supervisor::new(options()), Supervisor::new(options()));
        for (now, input) in &story.script {
            let (mut right, mut other) = (Vec::new(), Vec::new());
            sound.step(*now, input.clone(), &mut right);
            {
                let _planted = Planted::now(mutant);
                wrong.step(*now, input.clone(), &mut other);
            }
            let (right, other) = (wanted(&right), wanted(&other));
            if right != other {
                writeln!(self.text, "{}: {now} {}", mutant.name(), text::input(input)).unwrap();
                writeln!(self.text, "    sound: {right}\n    wrong: {other}").unwrap();
                return;
            }
        }
        panic!("{} does nothing here", mutant.name());
    }
}

/// What was wanted, but for notes and clocks.
fn wanted(out: &[TaskEffect]) -> String {
    let told = out.iter().filter(|effect| !matches!(effect, TaskEffect::Log(_) | TaskEffect::WakeAt(_)));
    let told: Vec<String> = told.map(text::effect).collect();
    if told.is_empty() { "nothing".to_owned() } else { told.join(", ") }
}

fn registered() -> Story {
    let mut story = Story::new();
    story.input(TaskInput::Began).answer(TaskAnswer::Registered(Ok(registration())));
    story
}

fn starting() -> Story {
    let mut story = registered();
    story.input(TaskInput::RunnerReady);
    story
}

fn confirming() -> Story {
    let mut story = starting();
    story.answer(TaskAnswer::Start(Ok(claim(Action::Plan, &[]))));
    story
}

fn plan_until(stage: Stage) -> Story {
    Story::confirmed(Action::Plan, &[]).until(stage)
}

fn applying() -> Story {
    Story::confirmed(Action::Apply, &[]).until(Stage::Apply)
}

/// The tool runs, and a renewal is in flight that was sent at 20 s.
fn renewing() -> Story {
    let mut story = plan_until(Stage::Plan);
    story.server_leaves().pass_s(20);
    story
}

/// The work is done, and the console's end is on its way.
fn delivering() -> Story {
    let mut story = plan_until(Stage::Upload(BlobKind::LockFile));
    story.spooled(100).end(done());
    story
}

fn refused(error: TaskError) -> TaskAnswer {
    TaskAnswer::Lease(Err(error))
}

fn claims(score: &mut Score) {
    score.play(Mutant::UserCodeBeforeConfirm, &confirming());
    score.play(Mutant::FenceUnchecked, confirming().answer(refused(TaskError::ClaimExpired)));
    score.play(Mutant::CancelIgnoredBeforeStart, confirming().answer(refused(TaskError::Canceled)));
    let loses = TaskAnswer::Start(Err(TaskError::AlreadyStarted));
    score.play(Mutant::RefusedStartRepeated, starting().answer(loses));
    score.play(Mutant::ClaimsBeforeRunner, &registered());
    score.play(Mutant::GivesUpUnansweredConfirm, confirming().answer(refused(unreachable())));
    score.play(Mutant::ConfirmRepeatedAfterGone, confirming().answer(refused(TaskError::FenceStale)));
}

fn leases(score: &mut Score) {
    score.play(Mutant::StopsAtFirstMissedRenewal, renewing().answer(refused(unreachable())));
    score.play(Mutant::GoesOnAfterLostAfter, renewing().pass_s(1_200));
    let renewed = TaskAnswer::Lease(Ok(LeaseAnswer { ttl_ms: 60_000, signal: None }));
    score.play(Mutant::LostAfterFromAnswer, renewing().pass_s(10).answer(renewed).pass_s(1_200));
    score.play(Mutant::RenewalsPauseDuringStage, &renewing());
    let patience = refused(TaskError::RateLimited { retry_after_ms: 50_000 });
    score.play(Mutant::PatienceIgnored, renewing().answer(patience).pass_s(60));
}

fn stops(score: &mut Score) {
    let twice = |story: &mut Story| {
        story.signal(Signal::Cancel).signal_again(Signal::Cancel);
    };
    let mut story = applying();
    twice(&mut story);
    score.play(Mutant::SecondInterrupt, &story);
    score.play(Mutant::TerminateSentToTool, applying().signal(Signal::Cancel).pass_s(30));
    score.play(Mutant::KilledAtOnceOnCancel, applying().signal(Signal::Cancel));
    score.play(Mutant::ForceCancelWaits, applying().signal(Signal::ForceCancel));
    score.play(Mutant::SigtermIgnored, applying().stop(360));
    score.play(Mutant::DrainNotSent, applying().signal(Signal::Cancel));
    let init_failed = || failed(TaskErrorCode::InitFailed, 130);
    let mut story = plan_until(Stage::Init);
    score.play(Mutant::WorkGoesOnAfterStop, story.signal(Signal::Cancel).end(init_failed()).pass_s(1));
    score.play(Mutant::OperationTimeoutIgnored, plan_until(Stage::Plan).pass_s(3_600));
    score.play(Mutant::CancelIgnoredAtWork, applying().signal(Signal::Cancel));
    score.play(Mutant::DeafToolKept, applying().signal(Signal::Cancel).pass_s(601));
    score.play(Mutant::GraceWithoutReserve, applying().stop(360).pass_s(301));
}

fn stages(score: &mut Score) {
    let unreachable = StageEnd::Unreachable { detail: "no route".to_owned(), retry_after_ms: 0 };
    score.play(Mutant::StageRepeatedAfterUnreachable, plan_until(Stage::Init).end(unreachable).pass_s(1));
    let init_failed = failed(TaskErrorCode::InitFailed, 1);
    score.play(Mutant::FailedInitRepeated, plan_until(Stage::Init).end(init_failed).pass_s(1));
    let gone = TaskInput::RunnerGone { detail: "connection closed".to_owned() };
    score.play(Mutant::RunnerGoneIgnored, plan_until(Stage::Plan).input(gone).pass_s(5));
    let unpushed = StageEnd::Failed {
        code: TaskErrorCode::ApplyFailed,
        message: "no route".to_owned(),
        exit_code: Some(1),
        facts: StageFacts { has_errored_state: true, ..StageFacts::default() },
    };
    score.play(Mutant::ErroredStateNotUploaded, applying().end(unpushed.clone()));
    score.play(Mutant::ErroredStateNotPushed, applying().end(unpushed).end(done()));
    score.play(Mutant::PlanFileNotUploaded, plan_until(Stage::Show).end(done()));
    score.play(Mutant::FailureDespiteSuccess, delivering().appended(Ok(100)));
    let plan_failed = failed(TaskErrorCode::PlanFailed, 1);
    score.play(Mutant::SuccessDespiteFailure, plan_until(Stage::Plan).end(plan_failed));
    score.play(Mutant::CanceledDespiteSuccess, applying().signal(Signal::Cancel).end(done()).pass_s(1));
}

fn consoles(score: &mut Score) {
    let unanswered = Err(unreachable());
    let mut story = plan_until(Stage::Plan);
    score.play(Mutant::LogOffsetNotResynced, story.spooled(100).appended(unanswered).pass_s(1));
    score.play(Mutant::TwoAppendsInFlight, plan_until(Stage::Plan).spooled(100).pass(200).spooled(200));
    score.play(Mutant::LogCutAtFinish, &delivering());
    score.play(Mutant::FinishBeforeLog, &delivering());
    score.play(Mutant::FinishNotRetried, delivering().appended(Ok(100)).finished(Err(unreachable())));
    let mut story = renewing();
    story.answer(refused(TaskError::Lost)).end(failed(TaskErrorCode::PlanFailed, 130)).pass_s(1);
    score.play(Mutant::LateDeliverySkipped, &story);
    let mut story = plan_until(Stage::Plan);
    story.spooled(10).appended(Ok(10)).pass(100).signal(Signal::Cancel);
    story.spooled_without_our_line(500).appended(Ok(500));
    story.end(failed(TaskErrorCode::PlanFailed, 1)).pass(10).spooled(540);
    score.play(Mutant::OldOutputTakenForOwnLine, &story);
}

#[test]
fn each_wants_something_else_than_a_sound_brain() {
    let mut score = Score::default();
    claims(&mut score);
    leases(&mut score);
    stops(&mut score);
    stages(&mut score);
    consoles(&mut score);
    check_table(Brain::Supervisor, score.played.iter().copied());
    expect_file!["mutants.txt"].assert_eq(&score.text);
}
