//! What tables and options rely on.

use super::{Brain, Mutant, plant, planted};

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
fn one_is_planted_at_a_time_and_for_one_thread() {
    assert!(Mutant::ALL.iter().all(|mutant| !planted(*mutant)));
    for mutant in Mutant::ALL {
        plant(Some(*mutant));
        assert_eq!(Mutant::ALL.iter().filter(|other| planted(**other)).count(), 1);
        assert!(planted(*mutant));
    }
    plant(None);
    assert!(Mutant::ALL.iter().all(|mutant| !planted(*mutant)));
}
