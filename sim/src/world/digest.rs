//! The hash by which two histories are compared: fast, small, the same on every machine. Against chance, not
//! against an enemy.

use std::hash::{Hash, Hasher};

/// A rolling 64-bit hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest64(u64);

/// 2^64 divided by the golden ratio, odd.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Default for Digest64 {
    fn default() -> Self {
        Self(0xd1_6e57)
    }
}

impl Digest64 {
    /// Its value now.
    pub fn value(self) -> u64 {
        crate::luck::mix(self.0)
    }

    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    }
}

impl Hasher for Digest64 {
    fn finish(&self) -> u64 {
        self.value()
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.add(u64::from_le_bytes(word) ^ (rest.len() as u64) << 59);
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.add(u64::from(word));
    }

    fn write_u16(&mut self, word: u16) {
        self.add(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.add(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    // Discriminants and lengths: as wide on every machine.
    fn write_usize(&mut self, word: usize) {
        self.add(word as u64);
    }
}

/// The hash of one thing.
pub fn digest_of(thing: &impl Hash) -> u64 {
    let mut digest = Digest64::default();
    thing.hash(&mut digest);
    digest.value()
}
