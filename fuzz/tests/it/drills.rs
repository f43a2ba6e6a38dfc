//! The short run: so many inputs for each target, of other luck at every commit.
//!
//! `FUZZ_SEED` is a seed by number or name, `FUZZ_FACTOR` multiplies the work.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use fuzz::{
    Met, Target,
    drill::{Broken, drill, seeds},
    luck::Luck,
    mutate::Shape,
};
use sim::luck::key_of;

#[expect(clippy::disallowed_methods, reason = "how much is tested is told by the environment")]
fn option(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What somebody says, or the commit.
fn seed() -> (u64, String) {
    if let Some(said) = option("FUZZ_SEED") {
        return (said.parse().unwrap_or_else(|_| key_of(&said)), said);
    }
    let git = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "HEAD"]).output();
    let commit = git.ok().filter(|output| output.status.success());
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let name = commit.unwrap_or_else(|| "no commit".to_owned());
    (key_of(&name), name)
}

fn factor() -> u64 {
    option("FUZZ_FACTOR").map_or(1, |said| said.parse().expect("FUZZ_FACTOR is a number"))
}

#[track_caller]
fn run(name: &str) {
    let target = fuzz::target(name).expect("a target");
    let (seed, called) = seed();
    let seeds: Vec<Vec<u8>> = seeds(target).expect("its seeds").into_iter().map(|(_, seed)| seed).collect();
    let drilled = drill(target, &seeds, target.inputs * factor(), &mut Luck::new(seed ^ key_of(name)));
    println!("seed {called}: {} inputs for `{name}`", drilled.inputs);
    for (class, count) in &drilled.met {
        println!("  {class}: {count}");
    }
    if let Some(broken) = &drilled.broken {
        let kept = keep(target, broken);
        let input = broken.input.escape_ascii();
        panic!("`{name}` does not hold: {}\nfor \"{input}\"\nkept in {}", broken.said, kept.display());
    }
    assert_eq!(drilled.unmet(target), [""; 0], "never met by {} inputs of seed {called}", drilled.inputs);
}

/// Writes an input where it can be moved to the corpus from.
fn keep(target: &Target, broken: &Broken) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fuzz").join(target.name);
    fs::create_dir_all(&folder).expect("a folder under target can be made");
    let path = folder.join(format!("{:016x}", key_of(&broken.input.escape_ascii().to_string())));
    fs::write(&path, &broken.input).expect("an input can be written");
    path
}

macro_rules! drills {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )+

        #[test]
        fn every_target_has_its_drill() {
            let names: Vec<_> = fuzz::TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),+]);
        }
    };
}

drills! { archive declared frames log masking plan protocol scenario spool texts tools variables }

/// A reader with a mistake that bytes alone would not find: three words on one line, in order.
const MISTAKEN: Target = Target {
    name: "mistaken",
    about: "nothing",
    shape: Shape::Lines,
    words: &["open", "read", "close"],
    classes: &["one", "two", "none"],
    inputs: 20_000,
    run: |input, met| {
        let text = String::from_utf8_lossy(input).into_owned();
        for line in text.lines() {
            assert!(!line.contains("open read close"), "three words");
            met.see(match (line.contains("open read"), line.contains("open")) {
                (true, _) => "two",
                (false, true) => "one",
                (false, false) => "none",
            });
        }
    },
};

#[test]
fn a_drill_finds_a_mistake_and_the_smallest_input_that_shows_it() {
    let drilled =
        drill(&MISTAKEN, &[b"some words\nopen a door\nread a book".to_vec()], 20_000, &mut Luck::new(1));
    let broken = drilled.broken.expect("it is found");
    assert_eq!((broken.input.as_slice(), broken.said.as_str()), (&b"open read close"[..], "three words"));
}

#[test]
fn the_same_seed_gives_the_same_inputs() {
    let harmless = Target {
        run: |input, met: &mut Met| met.see(if input.len() % 2 == 0 { "one" } else { "two" }),
        ..MISTAKEN
    };
    let met = |seed| drill(&harmless, &[b"open".to_vec()], 500, &mut Luck::new(seed)).met;
    let counted: BTreeMap<_, _> = met(7);
    assert_eq!(counted, met(7));
    assert_ne!(counted, met(8));
}

#[test]
fn what_is_never_met_is_told() {
    let drilled = drill(&MISTAKEN, &[], 0, &mut Luck::new(1));
    assert_eq!(drilled.unmet(&MISTAKEN), ["one", "two", "none"]);
}
