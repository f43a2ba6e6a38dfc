//! How long to wait before a call is made again: full jitter, 1 s doubling to 32 s.
//!
//! Retries are decided here and nowhere else; adapters make each call once. The dice are a hash of a seed
//! that the shell drew at the start and of the call, so that a replay waits as long as the original did.

/// The upper bound of the first wait. Scalr's public clients begin with the same.
pub const FIRST_MS: u64 = 1_000;
/// The upper bound of every later wait. Scalr's public clients end with the same.
pub const LONGEST_MS: u64 = 32_000;

/// The wait before attempt `attempt + 1`, where `attempt` calls (at least 1) have failed in a row, in
/// milliseconds: even over 1 ms to `min(32 s, 1 s × 2^(attempt − 1))`, but never below `at_least_ms`, which
/// is what a `Retry-After` asked for.
pub fn wait_ms(seed: u64, salt: u64, attempt: u32, at_least_ms: u64) -> u64 {
    let longest = FIRST_MS.saturating_mul(1 << attempt.saturating_sub(1).min(5)).min(LONGEST_MS);
    let dice = mix(seed ^ mix(salt ^ mix(u64::from(attempt))));
    // Jitter is added to what the server asked for: a thousand agents told "30 s" must not come at once.
    at_least_ms.saturating_add(1 + dice % longest)
}

/// `SplitMix64`'s finaliser: every input bit reaches every output bit.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_between_what_was_asked_and_the_bound(
            seed: u64, salt: u64, attempt in 1_u32..100, asked in 0_u64..100_000,
        ) {
            let wait = wait_ms(seed, salt, attempt, asked);
            let bound = (FIRST_MS << (attempt - 1).min(5)).min(LONGEST_MS);
            prop_assert!(wait > asked && wait <= asked + bound);
        }
    }

    #[test]
    fn the_same_call_waits_the_same_and_others_differ() {
        assert_eq!(wait_ms(1, 2, 3, 0), wait_ms(1, 2, 3, 0));
        let waits: std::collections::BTreeSet<_> = (0..100).map(|seed| wait_ms(seed, 2, 6, 0)).collect();
        assert!(waits.len() > 90, "a hundred agents spread out: {}", waits.len());
    }
}
