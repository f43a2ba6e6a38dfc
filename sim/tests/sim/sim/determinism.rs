//! The same seed gives the same history, in another process too; `just bench-sim` compares debug and release.

use std::process::Command;

use sim::{
    generate::{self, Shape},
    trial,
};

/// Enough that every kind of fault is among them.
const SEEDS: u64 = 200;

/// From where they are taken: the same for ever, since what is compared is two processes.
const FROM: u64 = 7_000;

#[test]
fn two_processes_have_the_same_histories() {
    let mut others = Command::new(env!("CARGO_BIN_EXE_sim"));
    others.args(["digest", "--seeds", &SEEDS.to_string(), "--seed", &FROM.to_string()]);
    let output = others.output().expect("the simulator runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs = String::from_utf8(output.stdout).expect("it prints text");
    let mut lines = theirs.lines();
    for seed in FROM..FROM + SEEDS {
        let ours = trial::run(&generate::scenario(Shape::of(seed)));
        let line = format!("{seed} {:016x}", ours.digest);
        assert_eq!(
            lines.next(),
            Some(line.as_str()),
            "the first history that differs is that of seed {seed}"
        );
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn another_seed_has_another_history() {
    let digest = |seed| trial::run(&generate::scenario(Shape::of(seed))).digest;
    assert_ne!(digest(1), digest(2));
}
