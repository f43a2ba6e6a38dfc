//! The seeds that are kept: small, readable where they are texts, and each of its target's.

use std::{collections::BTreeSet, fs, path::Path};

use fuzz::{TARGETS, drill};

/// A seed is an example, not a dump.
const SEED_BYTES_MAX: usize = 8 * 1024;

#[test]
fn every_target_has_seeds_and_no_others_are_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let folders: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(folders, TARGETS.iter().map(|target| target.name.to_owned()).collect());
    for target in TARGETS {
        let seeds = drill::seeds(target).unwrap();
        assert!(seeds.len() >= 3, "{} has {} seeds", target.name, seeds.len());
        for (name, seed) in seeds {
            assert!(seed.len() <= SEED_BYTES_MAX, "{}/{name} has {} bytes", target.name, seed.len());
        }
    }
}

/// So that no class is met by luck alone, and no target ends at one check.
#[test]
fn the_seeds_alone_meet_every_class_and_show_no_mistake() {
    let mut unmet = Vec::new();
    for target in TARGETS {
        let met: BTreeSet<_> = drill::seeds(target)
            .unwrap()
            .iter()
            .flat_map(|(_, seed)| target.met(seed).into_classes())
            .collect();
        let all = target.classes.iter().filter(|class| !met.contains(*class));
        unmet.extend(all.map(|class| format!("{}: {class}", target.name)));
    }
    assert_eq!(unmet, [""; 0]);
}
