//! What every process of the agent needs of the machine: signals, a name, dice.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
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

/// How often in a row is looked for children that are new.
const CHASES_MAX: u32 = 1_000;

/// Sends SIGKILL to the children of this process but `apart`, and to those that become its children by that,
/// as long as new ones are seen; says how many there were, those included that only wait to be waited for. To
/// be called by who waits for them, and by nobody else: until then their numbers are their own.
///
/// A table of all processes is too slow a look for one that forks and ends all the time: it is gone before
/// the table has been read. As the child of a subreaper it is seen here in microseconds.
pub fn kill_children(apart: Option<Pid>) -> usize {
    let apart = apart.map(Pid::as_raw_pid);
    let mut seen = BTreeSet::new();
    for _ in 0..CHASES_MAX {
        let mut new = children();
        new.retain(|pid| Some(*pid) != apart && seen.insert(*pid));
        if new.is_empty() {
            break;
        }
        for pid in new.into_iter().filter_map(Pid::from_raw) {
            // One that has ended is waited for as any other.
            let _ended = kill_process(pid, Signal::KILL);
        }
    }
    seen.len()
}

/// The children of all threads of this process; none where the kernel has no such list.
fn children() -> Vec<i32> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The program that this process is.
pub fn binary() -> anyhow::Result<std::path::PathBuf> {
    std::env::current_exe().context("failed to find this program's own file")
}

/// Whether a path is absolute, or a line that says so.
pub fn absolute(path: &Path, place: &str) -> anyhow::Result<std::path::PathBuf> {
    std::path::absolute(path).with_context(|| format!("{place}: `{}` is no path", path.display()))
}
