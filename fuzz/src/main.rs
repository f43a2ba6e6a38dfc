//! One target under libFuzzer, which sees what an input reaches: `just fuzz TARGET`. `FUZZ_TARGET` names it.
//!
//! libFuzzer changes inputs by itself; half of the time it is given a change that knows the target's form.
#![no_main]

use std::sync::OnceLock;

use fuzz::{Target, luck::Luck, mutate};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

static TARGET: OnceLock<&'static Target> = OnceLock::new();

#[expect(clippy::disallowed_methods, reason = "libFuzzer has the command line for itself")]
fn named() -> &'static Target {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    fuzz::target(&name).unwrap_or_else(|| {
        let names: Vec<_> = fuzz::TARGETS.iter().map(|target| target.name).collect();
        panic!("FUZZ_TARGET is {name:?}, expected one of: {}", names.join(", "))
    })
}

fn target() -> &'static Target {
    TARGET.get_or_init(named)
}

fuzz_target!(|input: &[u8]| {
    target().met(input);
});

fuzz_mutator!(|input: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut luck = Luck::new(seed.into());
    if luck.below(2) == 0 {
        return fuzzer_mutate(input, size, max_size);
    }
    let other = input[..size].to_vec();
    let mut changed = mutate::mutated(&input[..size], &other, target().shape, target().words, &mut luck);
    changed.truncate(max_size.min(input.len()));
    input[..changed.len()].copy_from_slice(&changed);
    changed.len()
});
