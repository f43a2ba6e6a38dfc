//! Bytes by chance against everything that reads what others wrote.
//!
//! A [`Target`] takes any bytes, does with them what the programs do, and asserts what must hold whatever
//! they are. It says which classes of outcome it met, because one that only ever meets one error proves
//! nothing. Where bytes alone would end at a first check (a digest, a length), an input is a little text
//! that is made into the real thing: its seeds can be read, and chance gets deep.
//!
//! [`drill`] runs targets with counted inputs on any machine; the program of this package runs them under
//! libFuzzer. A target must never depend on time, on chance of its own, or on what ran before it.

pub mod drill;
pub mod luck;
pub mod mutate;
mod script;

mod archive;
mod declared;
mod frames;
mod log;
mod masking;
mod plan;
mod protocol;
mod scenario;
mod spool;
mod texts;
mod tools;
mod variables;

use std::collections::BTreeSet;

use mutate::Shape;

/// The classes of outcome that an input met.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Met(BTreeSet<&'static str>);

impl Met {
    /// This was met.
    pub fn see(&mut self, class: &'static str) {
        self.0.insert(class);
    }

    /// All that was met, in order.
    pub fn classes(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.iter().copied()
    }

    /// The same, for keeps.
    pub fn into_classes(self) -> impl Iterator<Item = &'static str> {
        self.0.into_iter()
    }
}

/// Something that reads what others wrote.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also that of its folder in `corpus/`.
    pub name: &'static str,
    /// What it holds true.
    pub about: &'static str,
    /// What its inputs look like.
    pub shape: Shape,
    /// Words that get an input further.
    pub words: &'static [&'static str],
    /// Every class of outcome there is.
    pub classes: &'static [&'static str],
    /// How many inputs a usual test tries: some seconds of them.
    pub inputs: u64,
    /// Does with the bytes what the programs do; it panics where something does not hold.
    pub run: fn(&[u8], &mut Met),
}

impl Target {
    /// Runs it on one input, and says what it met.
    ///
    /// # Panics
    /// Where something does not hold: that is how a target says so.
    pub fn met(&self, input: &[u8]) -> Met {
        let mut met = Met::default();
        (self.run)(input, &mut met);
        for class in met.classes() {
            assert!(self.classes.contains(&class), "{}: `{class}` is not in its list of classes", self.name);
        }
        met
    }
}

/// Every target, by name.
pub const TARGETS: &[Target] = &[
    archive::TARGET,
    declared::TARGET,
    frames::TARGET,
    log::TARGET,
    masking::TARGET,
    plan::TARGET,
    protocol::TARGET,
    scenario::TARGET,
    spool::TARGET,
    texts::TARGET,
    tools::TARGET,
    variables::TARGET,
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// An empty folder, in memory where there is such a place.
fn place() -> std::io::Result<tempfile::TempDir> {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
}

/// What an HCL parser reads; none where it would take for ever, since its time grows severalfold with each
/// bracket within a bracket.
fn hcl(text: &str) -> Option<Result<hcl::Body, hcl::Error>> {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    (deepest <= HCL_DEPTH_MAX).then(|| hcl::parse(text))
}

/// Enough for every construct in one another, and parsed in milliseconds.
const HCL_DEPTH_MAX: usize = 7;

/// What must go well on any machine, so that a failure is none of the target's.
fn sure<T, E: std::fmt::Display>(result: Result<T, E>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error}"),
    }
}
