//! The console of a task: which bytes a chunk holds, and how far the server has come.

use std::fmt;

/// The largest chunk that one append may carry.
pub const CHUNK_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The bytes of one append, `Content-Range: bytes a-b/*`, both ends included. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte.
    pub last: u64,
}

impl ContentRange {
    /// The range of `bytes` bytes from `first` on; none for no bytes.
    pub fn new(first: u64, bytes: u64) -> Option<Self> {
        let last = first.checked_add(bytes.checked_sub(1)?)?;
        Some(Self { first, last })
    }

    /// How many bytes it spans.
    pub fn bytes(self) -> u64 {
        self.last - self.first + 1
    }

    /// Reads the header's value.
    pub fn parse(value: &str) -> Result<Self, InvalidRange> {
        let invalid = || InvalidRange(value.chars().take(64).collect());
        let rest = value.trim().strip_prefix("bytes ").ok_or_else(invalid)?;
        let (first, last) = rest.strip_suffix("/*").and_then(|r| r.split_once('-')).ok_or_else(invalid)?;
        let (first, last) = (digits(first).ok_or_else(invalid)?, digits(last).ok_or_else(invalid)?);
        // The whole offset space would overflow the length.
        if first > last || (first == 0 && last == u64::MAX) {
            Err(invalid())
        } else {
            Ok(Self { first, last })
        }
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/*", self.first, self.last)
    }
}

/// The text is no `Content-Range`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no range: expected `bytes FIRST-LAST/*`")]
pub struct InvalidRange(pub String);

fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Writes how many bytes the server has, as the value of an answer's `Range` header: `bytes=0-41` for 42.
/// Nothing stored is said by leaving the header out.
pub fn stored_header(bytes: u64) -> Option<String> {
    bytes.checked_sub(1).map(|last| format!("bytes=0-{last}"))
}

/// Reads how many bytes the server has from an answer's `Range` header, or from its absence.
pub fn parse_stored(value: Option<&str>) -> Result<u64, InvalidRange> {
    let Some(value) = value else { return Ok(0) };
    value
        .trim()
        .strip_prefix("bytes=0-")
        .and_then(digits)
        .and_then(|last| last.checked_add(1))
        .ok_or_else(|| InvalidRange(value.chars().take(64).collect()))
}
