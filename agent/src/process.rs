//! What every process of the agent needs of the machine: signals, a name, dice.

use std::path::Path;

use anyhow::Context;
use scalr_protocol::secret::Secret;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use url::Url;

use crate::{
    options::{BadOption, ScalrArgs},
    scalr::{TokenSource, connect},
};

/// Brings `grace_ms` with each SIGTERM, SIGINT or SIGHUP. The handlers are in place when this returns: a
/// process 1 without them would not be stopped by any.
pub fn stops(grace_ms: u64) -> anyhow::Result<mpsc::Receiver<u64>> {
    let (sender, receiver) = mpsc::channel(1);
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let mut signals = signal(kind).context("failed to watch for signals")?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if sender.send(grace_ms).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

/// Where the server is, and where the token comes from.
pub fn server(args: &ScalrArgs) -> anyhow::Result<(Url, TokenSource)> {
    let source = match (&args.token, &args.token_file) {
        (Some(token), _) => TokenSource::Value(token.clone()),
        (None, Some(path)) => TokenSource::File(path.clone()),
        (None, None) => {
            return bad("there is no agent pool token; set SCALR_AGENT_TOKEN or SCALR_AGENT_TOKEN_FILE");
        }
    };
    let place = match (&args.token, &args.token_file) {
        (None, Some(path)) => format!("`{}` (SCALR_AGENT_TOKEN_FILE)", path.display()),
        (Some(_), _) | (None, None) => "SCALR_AGENT_TOKEN".to_owned(),
    };
    let token = match source.read() {
        Ok(token) => token,
        Err(error) => return bad(&format!("{place} can't be read: {error}")),
    };
    if token.expose().is_empty() {
        return bad(&format!("{place} is empty; put the agent pool token there"));
    }
    if !fits_in_header(&token) {
        return bad(&format!(
            "{place} holds characters that no token has; it must be one line without spaces"
        ));
    }
    let url = match &args.url {
        Some(url) => url.clone(),
        None => connect::issuer(&token)?,
    };
    Ok((url, source))
}

fn bad<T>(line: &str) -> anyhow::Result<T> {
    Err(BadOption(line.to_owned()).into())
}

fn fits_in_header(token: &Secret) -> bool {
    token.expose().bytes().all(|byte| byte.is_ascii_graphic())
}

/// The agent's name: as given, else the host's.
pub fn agent_name(given: Option<&str>) -> anyhow::Result<String> {
    match given {
        Some("") => bad("the agent's name is empty; set SCALR_AGENT_NAME or leave it out"),
        Some(name) => Ok(name.to_owned()),
        None => Ok(rustix::system::uname().nodename().to_string_lossy().into_owned()),
    }
}

/// Such as `linux/x86_64`.
pub fn os() -> String {
    format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// A number that nobody can guess and nobody else has.
pub fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// A seed for jitter.
pub fn seed() -> u64 {
    rand::random()
}

/// The program that this process is.
pub fn binary() -> anyhow::Result<std::path::PathBuf> {
    std::env::current_exe().context("failed to find this program's own file")
}

/// Whether a path is absolute, or a line that says so.
pub fn absolute(path: &Path, place: &str) -> anyhow::Result<std::path::PathBuf> {
    std::path::absolute(path).with_context(|| format!("{place}: `{}` is no path", path.display()))
}
