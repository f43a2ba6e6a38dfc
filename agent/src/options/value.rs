//! The types of option values, and how each is read from text.

use std::{fmt, path::PathBuf, str::FromStr};

use jiff::SignedDuration;
use scalr_protocol::secret::Secret;
use url::Url;

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds {
    ms: u64,
}

impl Seconds {
    /// In milliseconds.
    pub fn as_ms(self) -> u64 {
        self.ms
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.ms)
    }
}

/// Reads a length of time: whole seconds, as the public agent has it, or `500ms`, `30s`, `1h30m`.
pub(super) fn seconds(text: &str) -> Result<Seconds, String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let seconds: u64 = text.parse().map_err(|_| "too long".to_owned())?;
        return Ok(Seconds { ms: seconds.saturating_mul(1_000) });
    }
    let duration = SignedDuration::from_str(text)
        .map_err(|_| "expected seconds, or a length such as 500ms, 30s or 1h30m".to_owned())?;
    let ms =
        u64::try_from(duration.as_millis()).map_err(|_| "a length of time can't be negative".to_owned())?;
    Ok(Seconds { ms })
}

/// Reads the address of a server.
pub(super) fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("{error}; expected an address such as https://example.scalr.io"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("expected an address that begins with https:// or http://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials don't belong in the address; give a token instead".to_owned());
    }
    Ok(url)
}

/// Reads a token; never fails, and never shows it.
#[expect(clippy::unnecessary_wraps, reason = "the signature is clap's")]
pub(super) fn token(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text.trim()))
}

/// A tool and the program to use for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolPath {
    /// Such as `terraform`.
    pub name: String,
    /// The program.
    pub path: PathBuf,
}

/// Reads `NAME=PATH`.
pub(super) fn tool_path(text: &str) -> Result<ToolPath, String> {
    let Some((name, path)) = text.split_once('=') else {
        return Err("expected NAME=PATH, such as terraform=/usr/bin/terraform".to_owned());
    };
    if name.is_empty() || !path.starts_with('/') {
        return Err("expected a name and an absolute path, such as terraform=/usr/bin/terraform".to_owned());
    }
    Ok(ToolPath { name: name.to_owned(), path: path.into() })
}

/// An option of a scheduling policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyOption {
    /// Its name.
    pub name: String,
    /// Its value, which the policy reads.
    pub value: String,
}

/// Reads `NAME=VALUE`.
pub(super) fn policy_option(text: &str) -> Result<PolicyOption, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok(PolicyOption { name: name.to_owned(), value: value.to_owned() })
        }
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &Expect) {
        let said = match seconds(text) {
            Ok(length) => length.to_string(),
            Err(error) => error,
        };
        expected.assert_eq(&said);
    }

    #[test]
    fn lengths_of_time_are_seconds_or_have_a_unit() {
        check("180", &expect!["180000ms"]);
        check("1h30m", &expect!["5400000ms"]);
        check("500ms", &expect!["500ms"]);
        check("-1s", &expect!["a length of time can't be negative"]);
        check("soon", &expect!["expected seconds, or a length such as 500ms, 30s or 1h30m"]);
        check("", &expect!["expected seconds, or a length such as 500ms, 30s or 1h30m"]);
    }

    #[test]
    fn an_address_has_a_scheme_and_no_credentials() {
        assert!(url("https://example.scalr.io").is_ok());
        assert!(url("example.scalr.io").is_err());
        assert!(url("ftp://example.scalr.io").is_err());
        assert!(url("https://me:secret@example.scalr.io").is_err());
    }
}
