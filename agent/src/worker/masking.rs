//! Keeps secrets out of the console: each is replaced by `***************` before a byte is stored or sent.
//!
//! What is masked of each secret, whitespace round it not counted:
//!
//! - All of it, from 4 bytes on. A shorter one is **not** masked: `a`, `no` or `42` would blank half the
//!   console, and where the blanks stand would give it away. [`Masker::too_short`] says how many there are.
//! - Of one with several lines: the whole, with line ends as LF or CRLF, and each line of at least 8 bytes by
//!   itself, so that it may be indented, numbered or cut. Shorter lines (the `{` of a JSON key) are masked
//!   only as a part of the whole.
//! - All of these as tools write them into strings: JSON as serde, Go (`\u003c`) and Python (non-ASCII as
//!   `\u00e9`) escape it, JSON within JSON, and HCL (`$${`); see `forms`.
//! - Of those up to 4 KiB: percent-encoded (three ways), and in base64, plain and for URLs, by itself or,
//!   from 8 bytes on, within a longer text (`user:password` in a header) at whatever offset. There up to two
//!   characters at each edge stay, since they belong to the neighbours too.
//!
//! Where secrets overlap, the leftmost is masked and of those the longest; what another had beyond it stays,
//! and is never a whole secret. A secret that holds asterisks may be completed by a mask. A secret that a
//! program splits, reverses or encodes otherwise is not found: masking guards against accidents, not against
//! user code.
//!
//! Never holds back more than what could still become a secret, so that a prompt without a line end is seen
//! at once.

mod forms;

use std::collections::BTreeSet;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// What stands for a secret.
pub const MASK: &[u8; 15] = b"***************";
/// The shortest secret that is masked, in bytes after trimming.
pub const SECRET_BYTES_MIN: usize = 4;
/// The shortest line of a secret that is masked by itself, in bytes after trimming.
pub const LINE_BYTES_MIN: usize = 8;
/// Up to so many bytes in all forms the fast automaton is built: some 100 bytes of table for each.
const FAST_BYTES_MAX: usize = 128 * 1024;

/// Masks one stream of bytes.
#[derive(Clone, Debug)]
pub struct Masker {
    secrets: Arc<Secrets>,
    /// The end of what came: it could become a secret.
    held: Vec<u8>,
}

/// All forms of all secrets, ready to be looked for.
struct Secrets {
    /// None without secrets.
    finder: Option<AhoCorasick>,
    /// Sorted, so that those with a common beginning are neighbours.
    forms: Vec<Vec<u8>>,
    longest: usize,
    /// Whether a form longer than two bytes begins with these: 2^16 bits.
    beginnings: Vec<u64>,
    too_short: usize,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("forms", &self.forms.len()).finish_non_exhaustive()
    }
}

impl Masker {
    /// Masks these secrets. An error where they are too many or too long to be looked for (some 2 GiB).
    pub fn new<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, TooManySecrets> {
        let mut forms = BTreeSet::new();
        let mut too_short = 0;
        for secret in secrets {
            let secret = secret.as_ref().trim_ascii();
            if secret.len() >= SECRET_BYTES_MIN {
                forms::add(secret, &mut forms);
            } else if !secret.is_empty() {
                too_short += 1;
            }
        }
        let secrets = Arc::new(Secrets::new(forms.into_iter().collect(), too_short)?);
        Ok(Self { secrets, held: Vec::new() })
    }

    /// A masker of the same secrets for another stream.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self { secrets: Arc::clone(&self.secrets), held: Vec::new() }
    }

    /// How many secrets are not masked since they are too short. Empty ones are none.
    pub fn too_short(&self) -> usize {
        self.secrets.too_short
    }

    /// Takes the next bytes of the stream, split anywhere, and appends to `out` all that is settled.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.held.is_empty() {
            let settled = self.secrets.settle(bytes, false, out);
            self.held.extend_from_slice(&bytes[settled..]);
        } else {
            self.held.extend_from_slice(bytes);
            let settled = self.secrets.settle(&self.held, false, out);
            self.held.drain(..settled);
        }
    }

    /// Whether the end of what came is held back, since it could become a secret.
    pub fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// The stream has ended here: appends what was held back, masked.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        self.secrets.settle(&self.held, true, out);
        self.held.clear();
    }

    /// Masks a whole text, whatever the stream is at.
    pub fn mask(&self, text: &str) -> String {
        let mut out = Vec::new();
        self.secrets.settle(text.as_bytes(), true, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// There is no automaton that large.
#[derive(Debug, thiserror::Error)]
#[error("the secrets can't be looked for: {0}")]
pub struct TooManySecrets(#[from] aho_corasick::BuildError);

impl Secrets {
    fn new(forms: Vec<Vec<u8>>, too_short: usize) -> Result<Self, TooManySecrets> {
        let bytes: usize = forms.iter().map(Vec::len).sum();
        let kind = (bytes <= FAST_BYTES_MAX).then_some(AhoCorasickKind::DFA);
        let build = || AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).kind(kind).build(&forms);
        let finder = if forms.is_empty() { None } else { Some(build()?) };
        let longest = forms.iter().map(Vec::len).max().unwrap_or(0);
        let mut beginnings = vec![0; 1024];
        for form in &forms {
            if let [first, second, ..] = form.as_slice() {
                let (word, bit) = beginning(*first, *second);
                beginnings[word] |= bit;
            }
        }
        Ok(Self { finder, forms, longest, beginnings, too_short })
    }

    /// Appends the masked form of as much of `bytes` as no later byte can change, and says how much that was.
    fn settle(&self, bytes: &[u8], is_end: bool, out: &mut Vec<u8>) -> usize {
        let Some(finder) = &self.finder else {
            out.extend_from_slice(bytes);
            return bytes.len();
        };
        let unsettled_from = |from| if is_end { bytes.len() } else { self.unsettled(bytes, from) };
        // No match that starts before can be changed by later bytes, and none can newly start there.
        let mut unsettled = unsettled_from(0);
        let mut done = 0;
        for found in finder.find_iter(bytes) {
            if found.start() >= unsettled {
                break;
            }
            out.extend_from_slice(&bytes[done..found.start()]);
            out.extend_from_slice(MASK);
            done = found.end();
            if done > unsettled {
                unsettled = unsettled_from(done);
            }
        }
        out.extend_from_slice(&bytes[done..unsettled]);
        unsettled
    }

    /// The first place, not before `from`, from which on all bytes are the beginning of a longer form.
    fn unsettled(&self, bytes: &[u8], from: usize) -> usize {
        let from = from.max((bytes.len() + 1).saturating_sub(self.longest));
        (from..bytes.len()).find(|start| self.may_become_secret(&bytes[*start..])).unwrap_or(bytes.len())
    }

    fn may_become_secret(&self, tail: &[u8]) -> bool {
        if let [first, second, ..] = tail {
            let (word, bit) = beginning(*first, *second);
            if self.beginnings[word] & bit == 0 {
                return false;
            }
        }
        // The forms that begin with the tail come right after all that are smaller; the tail itself, if it is
        // a form, is the first of them.
        let at = self.forms.partition_point(|form| form.as_slice() <= tail);
        self.forms.get(at).is_some_and(|form| form.starts_with(tail))
    }
}

/// Where the bit of two first bytes is.
fn beginning(first: u8, second: u8) -> (usize, u64) {
    let index = usize::from(first) << 8 | usize::from(second);
    (index / 64, 1 << (index % 64))
}

#[cfg(test)]
mod tests;
