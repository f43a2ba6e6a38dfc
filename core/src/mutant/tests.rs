//! What tables and options rely on.

use super::{Brain, Mutant, plant, planted};

/// One mutant at work on this thread, until this goes.
pub(crate) struct Planted;

impl Planted {
    pub(crate) fn now(mutant: Mutant) -> Self {
        plant(Some(mutant));
        Self
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
    }
}

/// That a table names every mutant of a brain, each once.
#[track_caller]
pub(crate) fn check_table(brain: Brain, table: impl Iterator<Item = Mutant>) {
    let mut named: Vec<Mutant> = table.collect();
    named.sort();
    let all: Vec<Mutant> = Mutant::ALL.iter().copied().filter(|mutant| mutant.brain() == brain).collect();
    assert_eq!(named, all);
}

#[test]
fn every_name_is_one_mutants_and_says_what_it_does() {
    for mutant in Mutant::ALL {
        assert_eq!(Mutant::from_name(mutant.name()), Some(*mutant));
        let is_kebab = mutant.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        assert!(is_kebab, "{}", mutant.name());
        assert!(mutant.about().contains("Caught by"), "{}", mutant.name());
    }
    assert_eq!(Mutant::from_name("no-such-mutant"), None);
}

#[test]
fn at_least_fifteen_are_the_supervisors() {
    let of = |brain| Mutant::ALL.iter().filter(|mutant| mutant.brain() == brain).count();
    assert!(of(Brain::Supervisor) >= 15 && of(Brain::Controller) >= 25);
}

#[test]
fn one_is_planted_at_a_time() {
    assert!(Mutant::ALL.iter().all(|mutant| !planted(*mutant)));
    for mutant in Mutant::ALL {
        let _planted = Planted::now(*mutant);
        assert_eq!(Mutant::ALL.iter().filter(|other| planted(**other)).count(), 1);
        assert!(planted(*mutant));
    }
    assert!(Mutant::ALL.iter().all(|mutant| !planted(*mutant)));
}
