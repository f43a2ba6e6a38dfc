//! Bearer tokens: what each is good for. A token's text never shows in `Debug`.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The text of a bearer token. Cheap to clone; prints as `[redacted]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(Arc<str>);

impl Token {
    /// Takes a text as a token.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text itself. Every caller is a place to look at in a review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// An idempotency key, as the caller drew it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Arc<str>);

impl Key {
    /// Takes a text as a key.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
}
