//! Values of options: durations, settings, tools, paths. Every refusal says what was expected.

use std::{
    net::SocketAddr,
    path::{Component, Path},
};

use scalr_protocol::{
    blob::Digest,
    secret::Secret,
    task::{Hook, HookPhase, Tool},
};
use tracing_subscriber::EnvFilter;
use url::Url;

/// A `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// What stands before the first `=`.
    pub key: String,
    /// What stands after it.
    pub value: Secret,
}

pub(super) fn secret(text: &str) -> Result<Secret, String> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(Secret::new(text)) } else { Err("a token has no blanks and is not empty".to_owned()) }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected ADDRESS:PORT, such as 127.0.0.1:8010".to_owned())
}

pub(super) fn log(text: &str) -> Result<String, String> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("expected off, error, warn, info, debug or trace".to_owned()),
    }
}

pub(super) fn url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|e| format!("{e}; expected such as http://127.0.0.1:8010"))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err("expected http:// or https:// and a host".to_owned())
    }
}

pub(super) fn duration_ms(text: &str) -> Result<u64, String> {
    let expected = || "expected a number and ms, s, m or h, such as 30s or 5m".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(expected()),
    };
    let duration_ms = number.parse().ok().and_then(|n: u64| n.checked_mul(unit_ms)).ok_or_else(expected)?;
    if duration_ms == 0 { Err("expected more than 0".to_owned()) } else { Ok(duration_ms) }
}

pub(super) fn minutes(text: &str) -> Result<u64, String> {
    let duration_ms = duration_ms(text)?;
    if duration_ms % 60_000 == 0 {
        Ok(duration_ms / 60_000)
    } else {
        Err("expected whole minutes, such as 10m".to_owned())
    }
}

/// As HCL names a variable.
pub(super) fn terraform_setting(text: &str) -> Result<Setting, String> {
    setting(text, |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// As POSIX names a variable.
pub(super) fn shell_setting(text: &str) -> Result<Setting, String> {
    setting(text, |b| b.is_ascii_alphanumeric() || b == b'_')
}

fn setting(text: &str, fits: fn(u8) -> bool) -> Result<Setting, String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    if key.is_empty() || key.starts_with(|c: char| c.is_ascii_digit() || c == '-') || !key.bytes().all(fits) {
        return Err(format!(
            "`{key}` is no name of a variable: expected letters, digits and '_', no digit first"
        ));
    }
    Ok(Setting { key: key.to_owned(), value: Secret::new(value) })
}

/// A path that stays inside the folder that is submitted.
pub(super) fn inner_path(text: &str) -> Result<String, String> {
    let inside = Path::new(text).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if inside && !text.is_empty() {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("expected a relative path without `..`".to_owned())
    }
}

pub(super) fn hook(text: &str) -> Result<Hook, String> {
    const PHASES: [HookPhase; 5] = [
        HookPhase::PreInit,
        HookPhase::PrePlan,
        HookPhase::PostPlan,
        HookPhase::PreApply,
        HookPhase::PostApply,
    ];
    let (phase, command) = text.split_once('=').ok_or("expected PHASE=COMMAND")?;
    let phase = PHASES.into_iter().find(|p| p.as_str() == phase).ok_or_else(|| {
        format!("`{phase}` is no phase: expected {}", PHASES.map(HookPhase::as_str).join(", "))
    })?;
    if command.trim().is_empty() {
        return Err("the command is empty".to_owned());
    }
    Ok(Hook { phase, source: "workspace".to_owned(), command: command.to_owned() })
}

pub(super) fn tool(text: &str) -> Result<Tool, String> {
    let expected = || "expected NAME@VERSION or NAME@VERSION=URL#SHA256".to_owned();
    let (name, rest) = text.split_once('@').ok_or_else(expected)?;
    let (version, source) = match rest.split_once('=') {
        Some((version, source)) => (version, Some(source)),
        None => (rest, None),
    };
    if !matches!(name, "terraform" | "tofu") {
        return Err(format!("`{name}` is no tool: expected terraform or tofu"));
    }
    if version.is_empty() || !version.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+".contains(&b)) {
        return Err(format!("`{version}` is no version: expected such as 1.15.5"));
    }
    let (mut address, mut sha256) = (None, None);
    if let Some((source, digest)) = source.map(|s| s.rsplit_once('#').ok_or_else(expected)).transpose()? {
        address = Some(url(source)?.to_string());
        sha256 = Some(digest.parse::<Digest>().map_err(|e| e.to_string())?);
    }
    Ok(Tool { name: name.to_owned(), version: version.to_owned(), url: address, sha256 })
}
