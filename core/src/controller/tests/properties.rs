//! What must hold whatever happens in a small world with bad luck.

use std::collections::BTreeSet;

use super::life::Life;
use crate::controller::{Controller, effect::ControllerExit, input::Input, timers::Timer};

/// Whatever is derived is what deriving it anew would give, and everybody who waits knows why.
pub(super) fn check_indexes(brain: &Controller) {
    let board = &brain.board;
    let mut fresh = board.clone();
    for key in board.entries.keys() {
        fresh.index(brain.now, key);
    }
    assert_eq!(*board, fresh, "an index has drifted");
    let is_planned = brain.timers.at(&Timer::Plan).is_some();
    for key in board.queue.values() {
        let reason = board.get(key).and_then(|entry| entry.holding.as_ref()?.reason.as_ref());
        assert!(reason.is_some() || is_planned, "{key:?} waits without a reason");
    }
    let queued = board.entries.values().filter(|entry| entry.is_queued()).count();
    assert_eq!(queued, board.queue.len());
}

/// Chaos, then healing: everything ends, and nothing is left over.
fn live_through(seed: u64) {
    let mut life = Life::new(seed);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..400 {
            life.turn();
        }
        life.has_faults = false;
        if seed.is_multiple_of(4) || life.brain.status().is_draining {
            life.crash();
        }
        life.input(Input::Paused(false));
        let mut turns = 0;
        while !life.is_quiet() {
            life.turn();
            turns += 1;
            assert!(turns < 60_000, "does not come to rest: {:?}\n{:#?}", life.server, life.brain.board);
        }
        life.input(Input::Stop { grace_ms: 60_000 });
        while life.exit.is_none() {
            life.turn();
        }
        assert_eq!(life.exit, Some(ControllerExit::Stopped));
    }));
    if let Err(panic) = outcome {
        let tail = life.log.len().saturating_sub(120);
        eprintln!("seed {seed}:\n{}", life.log[tail..].join("\n"));
        std::panic::resume_unwind(panic);
    }
}

/// The same luck at every run: a change is judged by what it does, not by what was drawn. Other luck is the
/// simulator's to try, commit by commit.
#[test]
fn everything_ends_and_nothing_is_left_over() {
    for seed in 0..300 {
        live_through(seed);
    }
}

/// Luck that once found a mistake.
#[test]
fn old_mistakes_are_not_made_again() {
    for seed in [15_885_116_265_002_127_743, 3_996_250_915_747_974_545, 2_301_691_259_119_218_964] {
        live_through(seed);
    }
}

/// Deterministic: the same inputs make the same effects, and a copy is as good as the original.
#[test]
fn the_same_luck_makes_the_same_life() {
    for seed in 0..20 {
        let (mut one, mut other) = (Life::new(seed), Life::new(seed));
        for _ in 0..200 {
            one.turn();
            other.brain = other.brain.clone();
            other.turn();
        }
        assert_eq!(one.log, other.log);
        assert_eq!(one.brain, other.brain);
    }
}

#[test]
fn the_world_above_is_hard_enough() {
    // Without these it would prove little.
    let wanted = [
        "verdict: Stale",
        "verdict: Dead",
        "verdict: Ended",
        "verdict: Started",
        "verdict: Claimed",
        "verdict: Held",
        "ended=true",
        "ended=false",
        " rebalance",
        " drain",
        "delete agent",
        "launch-failed",
        "error=",
        "exit Stopped",
        "Created(Err(Over",
        "LaunchFailed(Ok(Started",
    ];
    let mut met: BTreeSet<&str> = BTreeSet::new();
    for seed in 0..150 {
        let mut life = Life::new(seed);
        for _ in 0..400 {
            life.turn();
        }
        met.extend(wanted.iter().filter(|word| life.log.iter().any(|line| line.contains(**word))).copied());
    }
    let missing: Vec<_> = wanted.iter().filter(|word| !met.contains(*word)).collect();
    assert!(missing.is_empty(), "never met: {missing:?}");
}
