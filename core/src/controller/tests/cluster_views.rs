//! Lists and watches: what is older than what.

use expect_test::expect;
use scalr_protocol::agent::Verdict;

use super::story::*;
use crate::{
    cluster::{ClusterError, JobEnd, Kind, Object, Version, WatchEnd, WatchEvent},
    controller::input::{Answer, Input},
};

#[test]
fn a_job_made_after_a_list_was_sent_is_not_forgotten_for_the_lists_sake() {
    let mut story = Story::ready();
    story.acquire(&["t1@1"]);
    story.advance(2_000);
    story.input("gone", story.ended_watch(WatchEnd::Gone));
    story.answer("create", Answer::Created(Ok(job("t1@1", 12))));
    story.skip();
    story.answer("list Jobs", listing(11, std::iter::empty()));
    assert_eq!(story.brain.status().live, 1);
    story.check(&expect![[r#"
        3.000s list Jobs: 0 at 11
            watch Jobs after 11
    "#]]);
}

#[test]
fn a_job_that_the_watch_passed_without_a_word_is_looked_for_in_a_new_list() {
    let mut story = Story::ready();
    story.is_quiet = true;
    story.verdicts = vec![(key("t1@1"), Verdict::Held)];
    story.launched("t1@1", 12);
    story.advance(2_000);
    story.skip();
    let op = story.op("watch Jobs");
    let event = WatchEvent::Bookmark(Version(20));
    story.input("bookmark 20", Input::Watched { op, kind: Kind::Jobs, event });
    story.answer("list Jobs", listing(21, std::iter::empty()));
    story.advance(1_500);
    story.check(&expect![[r#"
        3.010s bookmark 20
            list Jobs Quorum
        3.010s list Jobs: 0 at 21
            watch Jobs after 21
        3.010s …
            launch-failed t1@1 WorkerExited retryable: its Job was gone before the worker claimed the task
    "#]]);
}

#[test]
fn an_older_view_never_replaces_a_newer_one() {
    let mut story = Story::ready();
    story.launched("t1@1", 11);
    story.job(job("t1@1", 11));
    let mut going = job("t1@1", 15);
    going.is_deleting = true;
    story.job(going);
    assert_eq!(story.brain.status().live, 1);
    story.job(ended("t1@1", 16, JobEnd::Complete));
    story.job(job("t1@1", 14));
    assert_eq!(story.brain.status().live, 0);
    story.job_gone(job("t1@1", 18));
    story.job(job("t1@1", 17));
    assert_eq!(story.brain.status().live, 0);
}

#[test]
fn a_job_that_vanished_never_reads_as_never_launched() {
    let mut story = Story::ready();
    story.is_quiet = true;
    story.launched("t1@1", 11);
    story.job(job("t1@1", 11));
    story.advance(5_000);
    story.skip();
    story.job_gone(job("t1@1", 16));
    story.is_quiet = false;
    story.beat(&[("t1@1", Verdict::Held)]);
    story.check(&expect![[r#"
        6.010s watch: Job j-t1-1 gone
        6.010s …
            heartbeat slots=2 [t1@1]
        6.510s verdicts [t1@1 Held]
            launch-failed t1@1 WorkerExited retryable: its Job was gone before the worker claimed the task
    "#]]);
}

#[test]
fn watches_go_on_after_an_end_and_list_again_when_they_keep_breaking() {
    let mut story = Story::ready();
    story.is_quiet = true;
    story.advance(2_000);
    story.skip();
    story.input("eof", story.ended_watch(WatchEnd::Eof));
    story.input("eof again, at once", story.ended_watch(WatchEnd::Eof));
    story.advance(1_000);
    for _ in 0..3 {
        let broken = story.ended_watch(WatchEnd::Error { detail: "reset".to_owned() });
        story.input("broken", broken);
        story.advance(5_000);
    }
    story.answer("list Jobs", Answer::Listed(Err(ClusterError::RateLimited { retry_after_ms: 7_000 })));
    story.advance(20_000);
    story.answer("list Jobs", listing(40, std::iter::empty()));
    story.check(&expect![[r#"
        3.000s eof
            watch Jobs after 10
        3.000s eof again, at once
        4.000s …
            watch Jobs after 10
        4.000s broken
        4.865s …
            watch Jobs after 10
        9.000s broken
        9.062s …
            watch Jobs after 10
        14.000s broken
        14.815s …
            list Jobs Quorum
        19.000s list Jobs: Listed(Err(RateLimited { retry_after_ms: 7000 }))
        32.516s …
            list Jobs Quorum
        39.000s list Jobs: 0 at 40
            watch Jobs after 40
    "#]]);
}

#[test]
fn a_lists_own_deletions_win_over_what_was_known_when_it_was_sent() {
    let mut story = Story::ready_with(options(), vec![job("t9@1", 5)], vec![]);
    assert_eq!(story.brain.status().live, 1);
    story.advance(2_000);
    story.input("gone", story.ended_watch(WatchEnd::Gone));
    // Even where the history begins anew, at a lower version.
    story.answer("list Jobs", listing(2, std::iter::once(Object::Job(job("t8@1", 1)))));
    assert_eq!(story.brain.status().live, 1);
    assert!(story.has("watch Jobs after 2"));
}

impl Story {
    fn ended_watch(&self, end: WatchEnd) -> Input {
        let op = self.op("watch Jobs");
        Input::Watched { op, kind: Kind::Jobs, event: WatchEvent::Ended(end) }
    }
}
