//! What each planted mutant does otherwise: the same inputs to a sound brain and to one with the wrong
//! change, up to the first call that differs.

use std::fmt::Write as _;

use expect_test::expect_file;
use scalr_protocol::agent::{Acquired, Grant, Verdict};

use super::story::*;
use crate::{
    cluster::{ClusterError, Container, JobEnd, Kind, TroubleKind, WatchEnd, WatchEvent},
    controller::{
        ControllerOptions,
        effect::Effect,
        input::{Answer, Input},
    },
    mutant::{
        Brain, Mutant,
        tests::{Planted, check_table},
    },
    scalr::{Door, ScalrError},
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
        let (mut sound, mut wrong) = (story.first.clone(), story.first.clone());
        for (now, what, input) in &story.script {
            let (mut right, mut other) = (Vec::new(), Vec::new());
            sound.step(*now, input.clone(), &mut right);
            {
                let _planted = Planted::now(mutant);
                wrong.step(*now, input.clone(), &mut other);
            }
            let (right, other) = (wanted(&right), wanted(&other));
            if right != other {
                let what = if what.is_empty() { "wake" } else { what };
                writeln!(self.text, "{}: {now} {what}", mutant.name()).unwrap();
                writeln!(self.text, "    sound: {right}\n    wrong: {other}").unwrap();
                return;
            }
        }
        panic!("{} does nothing here", mutant.name());
    }
}

/// What was wanted, but for notes and clocks.
fn wanted(out: &[Effect]) -> String {
    let told: Vec<String> = out.iter().filter_map(render).map(|(_, line)| line).collect();
    if told.is_empty() { "nothing".to_owned() } else { told.join(", ") }
}

fn of(capacity: u32) -> Story {
    Story::ready_with(ControllerOptions { capacity, ..options() }, vec![], vec![])
}

/// These are granted, and the first plan is made.
fn planned(capacity: u32, tasks: &[&str]) -> Story {
    let mut story = of(capacity);
    story.acquire(tasks);
    story.advance(10);
    story
}

/// A Job is made, and the watch has shown it.
fn launched() -> Story {
    let mut story = Story::ready();
    story.verdicts = vec![(key("t1@1"), Verdict::Held)];
    story.launched("t1@1", 11);
    story.job(job("t1@1", 11));
    story
}

/// Its worker has started it, and Scalr said so.
fn started() -> Story {
    let mut story = launched();
    story.is_quiet = true;
    story.pod(running("t1@1", 12));
    story.verdicts = vec![(key("t1@1"), Verdict::Started)];
    story.advance(10_000);
    story
}

/// It took too long to start; the launch failure is on its way.
fn too_slow() -> Story {
    let mut story = launched();
    story.is_quiet = true;
    story.advance(181_000);
    story
}

fn judged(mut story: Story, verdicts: &[(&str, Verdict)]) -> Story {
    story.beat(verdicts);
    story
}

fn created(mut story: Story, error: ClusterError) -> Story {
    story.answer("create", Answer::Created(Err(error)));
    story
}

fn later(mut story: Story, ms: u64) -> Story {
    story.advance(ms);
    story
}

fn stopped(mut story: Story) -> Story {
    story.input("stop", Input::Stop { grace_ms: 60_000 });
    story
}

fn gone_watch(mut story: Story) -> Story {
    story.advance(2_000);
    let op = story.op("watch Jobs");
    let event = WatchEvent::Ended(WatchEnd::Gone);
    story.input("the watch ends with 410", Input::Watched { op, kind: Kind::Jobs, event });
    story
}

fn begun() -> Story {
    let mut story = Story::new(options());
    story.input("began", Input::Began);
    story
}

fn creations(score: &mut Score) {
    score.play(Mutant::JobNameRandom, &planned(2, &["t1@1"]));
    score.play(Mutant::UnansweredCreateRenamed, &later(created(planned(2, &["t1@1"]), cut()), 1_000));
    // Its task is over, but its Job may come yet.
    let mut story = later(created(planned(1, &["t1@1", "t2@1"]), cut()), 60);
    story.beat(&[("t1@1", Verdict::Dead), ("t2@1", Verdict::Held)]);
    score.play(Mutant::UnansweredCreateForgotten, &later(created(story, cut()), 10));
    score.play(Mutant::NameTakenBelieved, &created(planned(2, &["t1@1"]), ClusterError::NameTaken));
    let quota = ClusterError::QuotaExceeded { detail: "count/jobs.batch".to_owned() };
    score.play(Mutant::RefusedCreateRepeatedAtOnce, &later(created(planned(2, &["t1@1"]), quota), 10));
    let mut story = later(created(planned(2, &["t1@1"]), cut()), 5);
    story.input("a wake too many", Input::Wake);
    score.play(Mutant::RetriesWithoutBackoff, &story);
}

fn views(score: &mut Score) {
    score.play(Mutant::StaleListBelieved, &gone_watch(Story::ready()));
    score.play(Mutant::FirstListNotQuorum, &begun());
    let mut story = gone_watch(planned(1, &["t1@1", "t2@1"]));
    story.answer("create", Answer::Created(Ok(job("t1@1", 12))));
    story.answer("list Jobs", listing(11, std::iter::empty()));
    score.play(Mutant::ListResetsLaterNews, &later(story, 10));
    score.play(Mutant::GoneWatchNotRelisted, &gone_watch(Story::ready()));
    let mut story = Story::ready();
    story.is_quiet = true;
    score.play(Mutant::SilentWatchKept, &later(story, 300_000));
}

fn rooms(score: &mut Score) {
    let others = Story::ready_with(options(), vec![job("t9@1", 5)], vec![]);
    score.play(Mutant::CapacityByCounter, &others);
    score.play(Mutant::CreationsNotCounted, &planned(1, &["t1@1"]));
    score.play(Mutant::HoldWithoutReason, &later(planned(0, &["t1@1"]), 1_200));
    let tasks: Vec<String> = (0..18).map(|n| format!("t{n}@1")).collect();
    let tasks: Vec<&str> = tasks.iter().map(String::as_str).collect();
    let wide = ControllerOptions { capacity: 100, look_ahead: 100, ..options() };
    let mut story = Story::ready_with(wide, vec![], vec![]);
    story.acquire(&tasks);
    story.advance(10);
    for n in 0..10_u64 {
        let made = job(&format!("t{n}@1"), 11 + n);
        story.answer(&format!("create agent-run-{n}-"), Answer::Created(Ok(made)));
    }
    story.advance(16_000);
    score.play(Mutant::WindowNeverShrinks, &story);
    score.play(Mutant::PodlessJobsUnnoticed, &story);
}

/// How fast Jobs are made, and when none is.
fn paces(score: &mut Score) {
    let tasks: Vec<String> = (0..18).map(|n| format!("t{n}@1")).collect();
    let tasks: Vec<&str> = tasks.iter().map(String::as_str).collect();
    let wide = ControllerOptions { capacity: 100, look_ahead: 100, ..options() };
    let mut story = Story::ready_with(wide, vec![], vec![]);
    story.acquire(&tasks);
    story.advance(10);
    story.answer("create agent-run-0-", Answer::Created(Ok(job("t0@1", 11))));
    story.pod(waiting("t0@1", 12));
    score.play(Mutant::WindowNeverGrows, &later(story, 10));
    let story = created(created(planned(2, &["t1@1", "t2@1"]), quota()), quota());
    score.play(Mutant::GateTriedByAll, &later(story, 60_000));
    // No heartbeat names the second one, and room comes when its lease may have lapsed.
    let mut story = planned(1, &["t1@1", "t2@1"]);
    story.answer("create", Answer::Created(Ok(job("t1@1", 11))));
    story.job(job("t1@1", 11));
    story.pod(waiting("t1@1", 12));
    story.advance(61_000);
    story.pod_gone(waiting("t1@1", 13));
    story.job_gone(job("t1@1", 14));
    score.play(Mutant::LapsedLeaseLaunched, &later(story, 10));
    let mut story = of(1);
    let urgent = Grant { priority: 5, ..grant("t2@1") };
    story.answer("acquire", Answer::Acquired(Ok(Acquired { tasks: vec![grant("t1@1"), urgent] })));
    score.play(Mutant::PriorityIgnored, &later(story, 10));
}

/// Who is asked to come back later.
fn patience(score: &mut Score) {
    let asked = || ScalrError::RateLimited { retry_after_ms: 30_000 };
    let limited = |mut story: Story| {
        story.advance(10_000);
        story.answer("heartbeat", Answer::Heartbeat(Err(asked())));
        story
    };
    score.play(Mutant::ScalrsPatienceIgnored, &later(limited(Story::ready()), 40_000));
    let mut story = limited(Story::ready());
    story.job(job("t9@1", 20));
    story.advance(1_100);
    story.input("a wake too many", Input::Wake);
    score.play(Mutant::HeartbeatHurried, &story);
    let mut story = planned(2, &["t1@1"]);
    story.answer("create", Answer::Created(Ok(job("t1@1", 11))));
    story.advance(60);
    story.answer("events", Answer::LaunchEvents(Err(asked())));
    story.pod(troubled("t1@1", 12, TroubleKind::Unschedulable, "no node has room"));
    story.advance(60);
    story.input("a wake too many", Input::Wake);
    score.play(Mutant::EventsHurried, &story);
    let mut story = planned(2, &["t1@1"]);
    let op = story.op("watch Jobs");
    let event = WatchEvent::Ended(WatchEnd::Eof);
    story.input("the watch ends", Input::Watched { op, kind: Kind::Jobs, event });
    story.advance(1_000);
    let limited = ClusterError::RateLimited { retry_after_ms: 30_000 };
    story.answer("watch Jobs", Answer::Watching(Err(limited)));
    // So old that it may be gone already: only a list can tell.
    story.answer("create", Answer::Created(Ok(job("t1@1", 5))));
    score.play(Mutant::WatchHurried, &later(story, 10));
}

fn verdicts(score: &mut Score) {
    score.play(Mutant::DeadVerdictIgnored, &judged(launched(), &[("t1@1", Verdict::Dead)]));
    score.play(Mutant::LaunchLeaseNotRenewed, &later(launched(), 10_000));
    let mut story = launched();
    story.launched("t1@2", 12);
    let story = judged(story, &[("t1@1", Verdict::Stale), ("t1@2", Verdict::Held)]);
    score.play(Mutant::VerdictFenceUnchecked, &story);
    let mut story = too_slow();
    story.answer("launch-failed", Answer::LaunchFailed(Ok(Door::Started)));
    score.play(Mutant::StartedDoorReadAsShut, &story);
    score.play(Mutant::EndedReadAsDead, &judged(launched(), &[("t1@1", Verdict::Ended)]));
    score.play(Mutant::ClaimedJobDeleted, &judged(launched(), &[("t1@1", Verdict::Claimed)]));
    score.play(Mutant::OthersJobDeleted, &judged(launched(), &[("t1@1", Verdict::HeldByOther)]));
}

fn deletions(score: &mut Score) {
    let mut story = launched();
    story.job(ended("t1@1", 12, JobEnd::Complete));
    story.job_gone(job("t1@1", 13));
    score.play(Mutant::TtlDeletionReadAsNeverRan, &later(story, 10));
    score.play(Mutant::DeleteBeforeRelease, &too_slow());
    score.play(Mutant::ShutJobKept, &judged(launched(), &[("t1@1", Verdict::Stale)]));
    let mut story = launched();
    story.launched("t1@2", 12);
    let story = judged(story, &[("t1@1", Verdict::Stale), ("t1@2", Verdict::Held)]);
    score.play(Mutant::DeleteWithoutUid, &story);
    let mut story = too_slow();
    story.acquire(&["t1@3"]);
    story.answer("launch-failed", Answer::LaunchFailed(Err(unreachable())));
    score.play(Mutant::DoorRetriedUnderNewestFence, &later(story, 1_000));
}

fn workers(score: &mut Score) {
    score.play(Mutant::StartupDeadlineNeverFires, &too_slow());
    let mut story = launched();
    story.is_quiet = true;
    story.pod(troubled("t1@1", 12, TroubleKind::ScalingUp, "a node is coming"));
    score.play(Mutant::StartupDeadlineNotPaused, &later(story, 200_000));
    let mut story = started();
    story.pod_gone(running("t1@1", 14));
    story.job(ended("t1@1", 15, JobEnd::Failed { reason: "BackoffLimitExceeded".to_owned() }));
    score.play(Mutant::MissingPodReadAsProof, &later(story, 2_000));
    let mut story = started();
    story.pod(pod("t1@1", 13, exited(1), Container::Running));
    score.play(Mutant::OneContainerReadAsProof, &later(story, 2_000));
    let mut story = started();
    story.pod(pod("t1@1", 13, exited(1), exited(1)));
    score.play(Mutant::LossNeverTold, &later(story, 2_000));
}

/// Launches that come to nothing.
fn launches(score: &mut Score) {
    let mut story = launched();
    story.is_quiet = true;
    story.job(ended("t1@1", 12, JobEnd::Failed { reason: "BackoffLimitExceeded".to_owned() }));
    score.play(Mutant::EndedLaunchKept, &later(story, 2_000));
    let mut story = Story::ready_with(options(), vec![job("t9@1", 5)], vec![]);
    story.is_quiet = true;
    story.verdicts = vec![(key("t9@1"), Verdict::Held)];
    score.play(Mutant::AdoptedLaunchKept, &later(story, 200_000));
    let impatient = ControllerOptions { startup_max_ms: 200_000, ..options() };
    let mut story = Story::ready_with(impatient, vec![], vec![]);
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@1"), Verdict::Held)];
    story.launched("t1@1", 11);
    story.pod(troubled("t1@1", 12, TroubleKind::ScalingUp, "a node is coming"));
    score.play(Mutant::StartupMaxIgnored, &later(story, 220_000));
}

fn sessions(score: &mut Score) {
    score.play(Mutant::ReleaseOnStopSkipped, &stopped(planned(0, &["t1@1"])));
    score.play(Mutant::LaunchedReleasedOnStop, &stopped(launched()));
    score.play(Mutant::AcquiresWhileDraining, &later(stopped(launched()), 10));
    let mut story = begun();
    story.register();
    story.list(vec![], vec![]);
    score.play(Mutant::AcquiresBeforeFirstHeartbeat, &later(story, 10));
    score.play(Mutant::LookAheadCountedAsWanted, &Story::ready());
    let mut story = later(launched(), 10_000);
    story.beat_wanted(&[("t1@1", Verdict::Held)], 1);
    score.play(Mutant::LaunchedTaskRebalanced, &later(story, 10));
    let mut story = later(Story::ready(), 10_000);
    story.answer("heartbeat", Answer::Heartbeat(Err(ScalrError::SessionExpired)));
    score.play(Mutant::SessionNotRenewed, &story);
}

/// Wrong once, and found by simulation.
fn bugs_that_were(score: &mut Score) {
    let mut story = planned(1, &["t1@1", "t2@1"]);
    story.answer("create", Answer::Created(Ok(job("t1@1", 11))));
    story.job(job("t1@1", 11));
    story.pod(waiting("t1@1", 12));
    story.advance(1_000);
    story.job_gone(job("t1@1", 13));
    score.play(Mutant::RoomOfGoneJobUnplanned, &later(story, 10));
    let story = later(created(planned(10, &["t1@1"]), cut()), 90);
    let story = created(story, ClusterError::RateLimited { retry_after_ms: 3_048 });
    score.play(Mutant::RepeatDropsRetryAfter, &later(story, 10_000));
    let mut story = created(planned(1, &["t1@1"]), quota());
    story.job(job("t9@1", 11));
    score.play(Mutant::OldQuotaToldAsReason, &later(story, 70_000));
}

fn quota() -> ClusterError {
    ClusterError::QuotaExceeded { detail: "count/jobs.batch".to_owned() }
}

#[test]
fn each_wants_something_else_than_a_sound_brain() {
    let mut score = Score::default();
    creations(&mut score);
    views(&mut score);
    rooms(&mut score);
    paces(&mut score);
    patience(&mut score);
    verdicts(&mut score);
    deletions(&mut score);
    workers(&mut score);
    launches(&mut score);
    sessions(&mut score);
    bugs_that_were(&mut score);
    check_table(Brain::Controller, score.played.iter().copied());
    expect_file!["mutants.txt"].assert_eq(&score.text);
}
