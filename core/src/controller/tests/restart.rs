//! A new process knows nothing, and asks.

use expect_test::expect;
use scalr_protocol::agent::Verdict;

use super::story::*;
use crate::{
    cluster::JobEnd,
    controller::input::{Answer, Input},
    scalr::Door,
};

#[test]
fn asks_about_every_job_it_sees_before_it_takes_work() {
    let mut story = Story::new(options());
    story.input("began", Input::Began);
    story.register();
    let jobs = vec![
        job("t1@1", 3),
        job("t2@1", 4),
        job("t3@1", 5),
        ended("t4@1", 6, JobEnd::Complete),
        job("t5@3", 7),
    ];
    story.list(jobs, vec![]);
    story.skip();
    story.beat(&[
        ("t1@1", Verdict::Stale),
        ("t2@1", Verdict::Started),
        ("t3@1", Verdict::HeldByOther),
        ("t4@1", Verdict::Ended),
        ("t5@3", Verdict::Held),
    ]);
    story.check(&expect![[r#"
        1.000s verdicts [t1@1 Stale, t2@1 Started, t3@1 HeldByOther, t4@1 Ended, t5@3 Held]
            delete j-t1-1 u-t1-1
            messages after=0
            acquire slots=0 ahead=5 wait=5000
    "#]]);
    story.is_quiet = false;
    story.advance(10_000);
    story.check(&expect![[r#"
        11.000s …
            heartbeat slots=0 [t1@1 t2@1 t3@1 t5@3]
    "#]]);
}

#[test]
fn an_adopted_job_is_supervised_like_our_own() {
    let mut story = Story::ready_with(options(), vec![job("t1@2", 3)], vec![]);
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@2"), Verdict::Held)];
    story.advance(10_000);
    story.skip();
    story.advance(180_000);
    story.check(&expect![[r#"
        191.000s …
            launch-failed t1@2 StartupTimeout retryable: not started in 180 s: its Job got no pod
    "#]]);
    story.answer("launch-failed", Answer::LaunchFailed(Ok(Door::Shut)));
    story.check(&expect![[r#"
        191.000s launch-failed: LaunchFailed(Ok(Shut))
            delete j-t1-2 u-t1-2
    "#]]);
}

#[test]
fn a_lease_adopted_without_its_job_is_given_back() {
    let mut story = Story::ready_with(options(), vec![job("t1@2", 3)], vec![]);
    story.advance(10_000);
    // It goes away while Scalr is being asked about it.
    story.job_gone(job("t1@2", 12));
    story.beat(&[("t1@2", Verdict::Held)]);
    story.skip();
    story.beat(&[("t1@2", Verdict::Held)]);
    story.check(&expect![[r#"
        12.000s …
            heartbeat slots=2 [t1@2]
        12.000s verdicts [t1@2 Held]
            launch-failed t1@2 WorkerExited retryable: its Job was gone before the worker claimed the task
    "#]]);
}
