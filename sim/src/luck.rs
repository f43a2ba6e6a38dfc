//! Dice by key: what is drawn depends on the seed, the purpose, the object and the attempt, never on what
//! was drawn before. Removing a task moves no other's luck, and two policies meet the same.
//!
//! All in integers, so that every machine draws the same. It must never keep a state.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The dice of one scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Luck {
    seed: u64,
}

/// What is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purpose(u64);

impl Purpose {
    /// A purpose by its name; another name is another purpose.
    pub const fn named(name: &str) -> Self {
        Self(key_of(name))
    }
}

/// A name as an object of draws (FNV-1a, 64 bits).
pub const fn key_of(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// `SplitMix64`'s finaliser: every input bit reaches every output bit.
pub(crate) const fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Luck {
    /// The dice of this seed.
    pub const fn new(seed: u64) -> Self {
        Self { seed: mix(seed ^ 0x5ca1_ab1e_5eed_0001) }
    }

    /// 64 even bits.
    pub const fn draw(&self, purpose: Purpose, object: u64, attempt: u64) -> u64 {
        mix(self.seed ^ mix(purpose.0 ^ mix(object ^ mix(attempt))))
    }

    /// Even over 0 to `bound` − 1; 0 where the bound is 0.
    pub fn below(&self, purpose: Purpose, object: u64, attempt: u64, bound: u64) -> u64 {
        scaled(self.draw(purpose, object, attempt), bound)
    }

    /// Yes in so many of 1000 draws.
    pub fn permille(&self, purpose: Purpose, object: u64, attempt: u64, permille: u32) -> bool {
        permille > 0 && self.below(purpose, object, attempt, 1_000) < u64::from(permille)
    }

    /// A length of that shape, in its unit.
    pub fn span(&self, purpose: Purpose, object: u64, attempt: u64, span: &Span) -> u64 {
        span.at(self.draw(purpose, object, attempt))
    }
}

/// `draw` of 2^64 as a part of `bound`.
fn scaled(draw: u64, bound: u64) -> u64 {
    u64::try_from((u128::from(draw) * u128::from(bound)) >> 64).unwrap_or(0)
}

/// How a length (most often milliseconds) is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Span {
    /// Always the same.
    Fixed(u64),
    /// Even, both ends included.
    Even {
        /// The shortest.
        min: u64,
        /// The longest.
        max: u64,
    },
    /// Without memory.
    Exponential {
        /// The mean.
        mean: u64,
    },
    /// Many short, few long.
    Lognormal {
        /// Half are shorter.
        median: u64,
        /// How wide: the standard deviation of the logarithm, in thousandths.
        sigma_permille: u32,
        /// None is longer.
        max: u64,
    },
}

impl Span {
    /// The length that this draw stands for.
    pub fn at(&self, draw: u64) -> u64 {
        match *self {
            Self::Fixed(length) => length,
            Self::Even { min, max } => min + scaled(draw, max.saturating_sub(min).saturating_add(1)),
            Self::Exponential { mean } => {
                // −ln u, for an even u in (0, 1].
                let nats = ((u128::from(64_u64 << 32) - u128::from(log2(draw))) * u128::from(LN_2)) >> 32;
                u64::try_from((u128::from(mean) * nats + (1 << 31)) >> 32).unwrap_or(u64::MAX)
            }
            Self::Lognormal { median, sigma_permille, max } => {
                let octaves = i128::from(normal(draw)) * i128::from(sigma_permille) * LOG2_E / 1_000;
                let octaves = i64::try_from(octaves >> 32).unwrap_or(0).clamp(-(31 << 32), 31 << 32);
                exp2_times(octaves, median).min(max)
            }
        }
    }

    /// The longest that it can be; none where it has no bound.
    pub fn longest(&self) -> Option<u64> {
        match *self {
            Self::Fixed(length) => Some(length),
            Self::Even { min, max } => Some(max.max(min)),
            Self::Exponential { .. } => None,
            Self::Lognormal { max, .. } => Some(max),
        }
    }
}

/// ln 2 and log2 e, with 32 bits behind the point.
const LN_2: u64 = 2_977_044_472;
const LOG2_E: i128 = 6_196_328_019;

/// log2 of `value` + 1 with 32 bits behind the point, at most 64: squaring doubles a logarithm.
fn log2(value: u64) -> u64 {
    let value = u128::from(value) + 1;
    let whole = value.ilog2();
    // The mantissa in [1, 2), with 62 bits behind the point.
    let mut mantissa = if whole > 62 { value >> (whole - 62) } else { value << (62 - whole) };
    let mut log = u64::from(whole) << 32;
    for bit in (0..32).rev() {
        mantissa = (mantissa * mantissa) >> 62;
        if mantissa >= 2 << 62 {
            mantissa >>= 1;
            log |= 1 << bit;
        }
    }
    log
}

/// 2^(2^−k) for k = 1 to 32, with 62 bits behind the point: one square root after the other.
const ROOTS: [u64; 32] = {
    let mut roots = [0; 32];
    let mut last: u128 = 2 << 62;
    let mut k = 0;
    while k < 32 {
        last = (last << 62).isqrt();
        // Below 2^63: a root of 2.
        #[expect(clippy::cast_possible_truncation, reason = "a root of 2 has 63 bits")]
        let root = last as u64;
        roots[k] = root;
        k += 1;
    }
    roots
};

/// `factor` × 2^`octaves`, the octaves with 32 bits behind the point and between −31 and 31.
fn exp2_times(octaves: i64, factor: u64) -> u64 {
    let whole = octaves >> 32;
    let fraction = octaves & 0xffff_ffff;
    let mut power: u128 = 1 << 62;
    for (k, root) in ROOTS.iter().enumerate() {
        if fraction >> (31 - k) & 1 == 1 {
            power = (power * u128::from(*root)) >> 62;
        }
    }
    // 33 bits are enough behind the point, and leave room for the factor.
    let product = u128::from(factor) * (power >> 30);
    let shift = 32 - whole;
    u64::try_from(product >> shift).unwrap_or(u64::MAX)
}

/// A draw of the normal distribution (mean 0, deviation 1) with 32 bits behind the point: twelve even ones
/// added up, less six.
fn normal(draw: u64) -> i64 {
    let mut sum = -(6_i64 << 32);
    for k in 0..6 {
        let two = mix(draw ^ k);
        sum += i64::try_from((two >> 32) + (two & 0xffff_ffff)).unwrap_or(0);
    }
    sum
}

#[cfg(test)]
mod tests;
