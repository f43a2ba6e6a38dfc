use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

const CALM: Mood = Mood::Calm;
const NO_DICE: u64 = 0;

fn at(seconds: u64) -> Millis {
    Millis(seconds * 1_000)
}

/// A call whose tries all come to nothing at once, with moods that begin at these seconds; when something is
/// done, until it is given up.
fn check(moods: &[(u64, Mood)], expected: &Expect) {
    let mood_at =
        |now: Millis| moods.iter().rfind(|(from, _)| now >= at(*from)).map_or(CALM, |(_, mood)| *mood);
    let mut told = String::new();
    let (mut now, mut held) = (Millis(0), Held::new(Millis(0)));
    for _ in 0..1_000 {
        let mood = mood_at(now);
        match held.next(now, mood) {
            Next::Try => {
                let _ = write!(told, "{} ", now.0);
                held.failed(now, mood, 0, NO_DICE);
            }
            Next::WaitUntil(until) => {
                assert!(until > now, "no wait without an end: {held:?}");
                // A change of the mood wakes it.
                let changes = moods.iter().map(|(from, _)| at(*from)).filter(|change| *change > now);
                now = changes.chain([until]).min().expect("one");
            }
            Next::GiveUp => {
                let _ = write!(told, "gives up {}", now.0);
                expected.assert_eq(&told);
                return;
            }
        }
    }
    panic!("it never gives up: {told}");
}

#[test]
fn a_stop_makes_one_more_try_and_gives_up() {
    check(&[(3, Mood::Stopping { since: at(3) })], &expect!["0 250 750 1750 3000 gives up 3000"]);
    check(&[(0, Mood::Stopping { since: at(0) })], &expect!["0 gives up 0"]);
}

#[test]
fn without_a_worker_it_goes_on_until_the_tool_must_be_let_go() {
    check(
        &[(1, Mood::Alone { until: at(20) })],
        &expect!["0 250 750 1750 3750 7750 12750 17750 20000 gives up 20000"],
    );
    // The worker dies after it has ordered a stop: what is asked from then on is held again.
    let stops = (0, Mood::Stopping { since: at(0) });
    check(&[stops], &expect!["0 gives up 0"]);
    check(&[(0, Mood::Alone { until: at(2) })], &expect!["0 250 750 1750 2000 gives up 2000"]);
}

#[test]
fn calm_it_is_held_for_half_an_hour_and_tried_to_the_end() {
    let (mut now, mut held, mut tries) = (Millis(0), Held::new(Millis(0)), 0_u32);
    loop {
        match held.next(now, CALM) {
            Next::Try => {
                tries += 1;
                held.failed(now, CALM, 0, NO_DICE);
            }
            Next::WaitUntil(until) => now = until,
            Next::GiveUp => break,
        }
    }
    assert_eq!((now, tries), (Millis(HOLD_MS_MAX), 364));
}

#[test]
fn a_server_that_asks_for_time_gets_it_within_bounds() {
    for (asked_ms, until_ms) in [(0, 250), (5_000, 5_000), (u64::MAX, RETRY_AFTER_MS_MAX)] {
        let mut held = Held::new(Millis(0));
        held.failed(Millis(0), CALM, asked_ms, NO_DICE);
        assert_eq!(held.next(Millis(0), CALM), Next::WaitUntil(Millis(until_ms)));
        // A stop asks nobody.
        assert_eq!(held.next(Millis(1), Mood::Stopping { since: Millis(1) }), Next::Try);
    }
}

#[test]
fn a_try_is_given_up_when_nothing_moves_and_sooner_in_haste() {
    let stopping = Mood::Stopping { since: at(100) };
    let alone = Mood::Alone { until: at(100) };
    // Now, its begin, the last that moved.
    assert!(!CALM.ends_try(at(159), at(0), at(100)));
    assert!(CALM.ends_try(at(160), at(0), at(100)));
    assert!(CALM.ends_try(at(1_800), at(0), at(1_800)), "however much moves");
    for mood in [stopping, alone] {
        assert!(mood.ends_try(at(100), at(0), at(96)), "a stop finds it silent");
        assert!(!mood.ends_try(at(103), at(0), at(100)), "it moves");
        assert!(!mood.ends_try(at(124), at(0), at(124)), "its time counts from the stop");
        assert!(mood.ends_try(at(125), at(0), at(125)), "and ends");
        assert!(!mood.ends_try(at(130), at(120), at(130)), "a later one has its own");
    }
    assert!(!alone.ends_try(at(99), at(0), at(50)), "there is time yet");
}

proptest! {
    /// Whatever happens: in haste there is one more try at most, calm it is never given up before its time,
    /// and no pause is longer than its bound.
    #[test]
    fn it_is_patient_and_ends(
        steps in proptest::collection::vec((0..20_000_u64, any::<u64>(), 0..90_000_u64), 1..60),
        stop_ms in 0..400_000_u64,
    ) {
        let (mut now, mut held) = (Millis(0), Held::new(Millis(0)));
        let mut hasty_tries = 0;
        for (took_ms, dice, retry_after_ms) in steps {
            let mood = if now.0 >= stop_ms { Mood::Stopping { since: Millis(stop_ms) } } else { CALM };
            match held.next(now, mood) {
                Next::Try => {
                    now = now + took_ms;
                    hasty_tries += u32::from(mood != CALM);
                    held.failed(now, mood, retry_after_ms, dice);
                }
                Next::WaitUntil(until) => {
                    prop_assert_eq!(mood, CALM);
                    prop_assert!(until > now && until.since(now) <= RETRY_AFTER_MS_MAX);
                    now = until;
                }
                Next::GiveUp => {
                    prop_assert!(mood != CALM || now.0 >= HOLD_MS_MAX);
                    prop_assert_eq!(held.next(now + 1, mood), Next::GiveUp);
                    return Ok(());
                }
            }
            prop_assert!(hasty_tries <= 1);
        }
    }
}
