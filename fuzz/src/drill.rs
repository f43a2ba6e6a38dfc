//! Runs a target with counted inputs: its seeds, and what comes of them by small changes.
//!
//! An input that meets a combination of classes that none met before is changed further: a poor man's
//! coverage, which any compiler gives. The same seeds and the same number give the same inputs everywhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use crate::{Met, Target, luck::Luck, mutate};

/// How many tries the minimiser has.
const TRIES_MAX: usize = 3_000;

/// What came of a drill.
#[derive(Debug, Default)]
pub struct Drilled {
    /// How many inputs were tried, the seeds among them.
    pub inputs: u64,
    /// How often each class was met.
    pub met: BTreeMap<&'static str, u64>,
    /// What made it panic, if anything did: then it stops.
    pub broken: Option<Broken>,
}

/// An input that made a target panic.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The smallest that was found.
    pub input: Vec<u8>,
    /// What the target said.
    pub said: String,
}

impl Drilled {
    /// Classes of the target that nothing met.
    pub fn unmet(&self, target: &Target) -> Vec<&'static str> {
        target.classes.iter().copied().filter(|class| !self.met.contains_key(class)).collect()
    }
}

/// Where the seeds of a target are.
pub fn corpus(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// The seeds of a target with their names, in order of these.
pub fn seeds(target: &Target) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut seeds = Vec::new();
    for entry in fs::read_dir(corpus(target))? {
        let entry = entry?;
        seeds.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    seeds.sort();
    Ok(seeds)
}

/// Runs the target on these seeds, then on so many inputs that come of them.
pub fn drill(target: &Target, seeds: &[Vec<u8>], inputs: u64, luck: &mut Luck) -> Drilled {
    let mut drilled = Drilled::default();
    let mut seen: BTreeSet<Met> = BTreeSet::new();
    // Something to change is always there.
    let mut parents = vec![Vec::new()];
    let mut next = seeds.iter();
    for _ in 0..inputs + seeds.len() as u64 {
        let (input, is_seed) = match next.next() {
            Some(first) => (first.clone(), true),
            None => (changed(&parents, target, luck), false),
        };
        drilled.inputs += 1;
        match outcome(target, &input) {
            Ok(met) => {
                for class in met.classes() {
                    *drilled.met.entry(class).or_default() += 1;
                }
                if seen.insert(met) || is_seed {
                    parents.push(input);
                }
            }
            Err(said) => {
                drilled.broken = Some(smallest(target, Broken { input, said }));
                return drilled;
            }
        }
    }
    drilled
}

fn changed(parents: &[Vec<u8>], target: &Target, luck: &mut Luck) -> Vec<u8> {
    let [one, other] = [0, 1].map(|_| luck.one_of(parents).map(Vec::as_slice).unwrap_or_default());
    mutate::mutated(one, other, target.shape, target.words, luck)
}

/// What an input met, or what the target said when it panicked.
fn outcome(target: &Target, input: &[u8]) -> Result<Met, String> {
    panic::catch_unwind(AssertUnwindSafe(|| target.met(input))).map_err(|panicked| {
        let text = panicked.downcast_ref::<String>().map(String::as_str);
        text.or(panicked.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
    })
}

/// Takes pieces away, larger ones first, as long as it panics.
fn smallest(target: &Target, mut broken: Broken) -> Broken {
    let mut tries = 0;
    let mut piece = broken.input.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < broken.input.len() && tries < TRIES_MAX {
            tries += 1;
            let to = (at + piece).min(broken.input.len());
            let input = [&broken.input[..at], &broken.input[to..]].concat();
            match outcome(target, &input) {
                Ok(_) => at = to,
                Err(said) => broken = Broken { input, said },
            }
        }
        piece /= 2;
    }
    broken
}
