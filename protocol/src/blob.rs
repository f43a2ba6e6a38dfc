//! Files of a task: their kinds, and the digest that is checked both ways.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// The header that carries a blob's digest, as RFC 9530 writes it: `sha-256=:<base64>:`.
pub const DIGEST_HEADER: &str = "content-digest";

/// The kinds of files of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlobKind {
    /// The configuration, a tar.gz. Only fetched.
    ConfigurationVersion,
    /// The saved plan; an apply fetches what its plan uploaded.
    PlanFile,
    /// The plan as JSON.
    PlanJson,
    /// The dependency lock file; an apply fetches what its plan uploaded.
    LockFile,
    /// A state that could not be pushed.
    ErroredState,
    /// Policies, a tar.gz. Only fetched.
    Policies,
    /// What policies are asked about.
    PolicyInput,
    /// What policies said.
    PolicyResult,
    /// What a plan costs.
    CostBreakdown,
}

impl BlobKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::ConfigurationVersion,
        Self::PlanFile,
        Self::PlanJson,
        Self::LockFile,
        Self::ErroredState,
        Self::Policies,
        Self::PolicyInput,
        Self::PolicyResult,
        Self::CostBreakdown,
    ];

    /// Its name, as it stands in paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigurationVersion => "configuration-version",
            Self::PlanFile => "plan-file",
            Self::PlanJson => "plan-json",
            Self::LockFile => "lock-file",
            Self::ErroredState => "errored-state",
            Self::Policies => "policies",
            Self::PolicyInput => "policy-input",
            Self::PolicyResult => "policy-result",
            Self::CostBreakdown => "cost-breakdown",
        }
    }
}

impl fmt::Display for BlobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No blob has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of blob")]
pub struct UnknownBlobKind(pub String);

impl FromStr for BlobKind {
    type Err = UnknownBlobKind;

    fn from_str(value: &str) -> Result<Self, UnknownBlobKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == value)
            .ok_or_else(|| UnknownBlobKind(value.chars().take(64).collect()))
    }
}

/// A blob, by its kind, length and digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BlobRef {
    /// Which.
    pub kind: BlobKind,
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// A SHA-256. In JSON it is 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The value of [`DIGEST_HEADER`].
    pub fn to_header(self) -> String {
        format!("sha-256=:{}:", STANDARD.encode(self.0))
    }

    /// Reads the value of [`DIGEST_HEADER`].
    pub fn from_header(value: &str) -> Result<Self, InvalidDigest> {
        value
            .trim()
            .strip_prefix("sha-256=:")
            .and_then(|rest| rest.strip_suffix(':'))
            .and_then(|text| STANDARD.decode(text).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or(InvalidDigest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

/// The text is no SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256: expected 64 hexadecimal digits, or `sha-256=:<base64>:` in a header")]
pub struct InvalidDigest;

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(value: &str) -> Result<Self, InvalidDigest> {
        let digits = value.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 64 || !digits.is_ascii() {
            return Err(InvalidDigest);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| InvalidDigest)?;
            if pair.starts_with('+') {
                return Err(InvalidDigest);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| InvalidDigest)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(value: String) -> Result<Self, InvalidDigest> {
        value.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}
