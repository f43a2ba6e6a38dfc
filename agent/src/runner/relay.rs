//! The relay: stands between a run's tool and the state at Scalr, for as long as one command runs.
//!
//! While nothing stops it is patient, so that an outage fails no run; once a stop has begun it lets the tool
//! give up at once, so that the tool saves its state as `errored.tfstate` while there is still time. It lives
//! in the runner, since it must live exactly as long as the tool. It has no credential of its own and adds
//! none, passes on nothing but calls for this one state, and never answers in Scalr's place but to say that
//! there is no answer.
//!
//! [`patience`] decides, `serve` listens and holds, `upstream` makes one try, `spool` keeps bodies off the
//! heap.

mod patience;
mod serve;
mod spool;
mod upstream;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
    sync::atomic::AtomicBool,
};

use scalr_core::clock::Clock as _;
use sha2::{Digest as _, Sha256};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::AbortHandle,
};
use url::Url;

use self::{
    patience::Mood,
    serve::{Door, serve},
    upstream::Upstream,
};
use super::frame::StateOrder;
use crate::clock::BootClock;

/// Where every relay listens. Below the ports that Linux gives to outgoing connections, registered for
/// nothing, and the same for all: a plan is made and applied by two processes, and what the first was told
/// must hold for the second.
pub const PORT: u16 = 27_816;
/// What the tool is told to try by itself. The relay tries for it; what is left is a connection that the
/// kernel itself refused, for want of memory.
const TOOL_RETRIES: [(&str, &str); 3] =
    [("TF_HTTP_RETRY_MAX", "1"), ("TF_HTTP_RETRY_WAIT_MIN", "1"), ("TF_HTTP_RETRY_WAIT_MAX", "1")];
/// Where the tool finds the state.
const ADDRESSES: [&str; 3] = ["TF_HTTP_ADDRESS", "TF_HTTP_LOCK_ADDRESS", "TF_HTTP_UNLOCK_ADDRESS"];
/// What a tool without its worker needs after its state was saved or given up: to unlock, to write
/// `errored.tfstate`, to end. Half of the time where there is little.
const ALONE_RESERVE_MS: u64 = 30_000;

/// Why there is no relay. The tool then speaks to Scalr by itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum RelayError {
    /// The worker's order makes no sense.
    #[error("`{0}` is no address of a state")]
    Address(String),
    /// Somebody else listens there, or there is no such address.
    #[error("{address} can't be listened on: {source}")]
    Listen {
        /// Where.
        address: SocketAddrV4,
        /// Why not.
        source: io::Error,
    },
    /// There is no client for the way to Scalr.
    #[error("{0}")]
    Client(String),
}

/// The relay of one command. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Relay {
    url: String,
    moods: watch::Sender<Mood>,
    serving: AbortHandle,
    /// The socket that is served.
    listener: std::net::TcpListener,
}

impl Relay {
    /// Listens for the state that is ordered. The environment is the command's: the way to Scalr is the one
    /// that the tool itself would go. What people should read goes to `notes`.
    pub(super) fn start(
        order: StateOrder,
        env: &BTreeMap<String, String>,
        notes: mpsc::Sender<String>,
    ) -> Result<Self, RelayError> {
        let StateOrder { run, upstream, spool, authorities } = order;
        let no_address = || RelayError::Address(upstream.clone());
        let state = Url::parse(&upstream).map_err(|_| no_address())?;
        if !matches!(state.scheme(), "http" | "https") || !state.has_host() {
            return Err(no_address());
        }
        let path = state.path().to_owned();
        let upstream = Upstream::new(state, env, authorities.as_deref()).map_err(RelayError::Client)?;
        let address = address_of(&run);
        let (listener, served) = listen(address).map_err(|source| RelayError::Listen { address, source })?;
        let (moods, mood) = watch::channel(Mood::Calm);
        let url = format!("http://{address}{path}");
        let door = Door {
            upstream,
            path,
            mood,
            folder: PathBuf::from(spool),
            notes,
            was_answered: AtomicBool::new(false),
            gave_up: AtomicBool::new(false),
        };
        let serving = tokio::spawn(serve(served, door)).abort_handle();
        Ok(Self { url, moods, serving, listener })
    }

    /// Sends the tool here instead of to Scalr itself.
    pub(super) fn redirect(&self, env: &mut BTreeMap<String, String>) {
        env.extend(ADDRESSES.map(|name| (name.to_owned(), self.url.clone())));
        env.extend(TOOL_RETRIES.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    /// A stop has begun, and the worker will take what the tool saves.
    pub(super) fn stop(&self) {
        self.moods.send_if_modified(|mood| {
            let stops = matches!(mood, Mood::Calm);
            if stops {
                *mood = Mood::Stopping { since: BootClock.now() };
            }
            stops
        });
    }

    /// The worker is gone, and the tool has this long to stop: nobody but Scalr can keep its state now.
    pub(super) fn is_alone(&self, left_ms: u64) {
        let now = BootClock.now();
        let until = now + (left_ms - ALONE_RESERVE_MS.min(left_ms / 2));
        self.moods.send_modify(|mood| {
            *mood = match *mood {
                Mood::Calm | Mood::Stopping { .. } => Mood::Alone { until },
                Mood::Alone { until: before } => Mood::Alone { until: before.min(until) },
            };
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
        // That takes effect later, and the next command of the run listens at the same place.
        if let Err(error) = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both) {
            tracing::warn!(%error, "failed to leave a relay's address");
        }
    }
}

/// A loopback address of the run's own, so that runs on one machine don't meet. Never in 127.0.0.0/16, where
/// resolvers and people listen.
fn address_of(run: &str) -> SocketAddrV4 {
    let hash: [u8; 32] = Sha256::digest(run.as_bytes()).into();
    let [first, second, third, ..] = hash;
    SocketAddrV4::new(Ipv4Addr::new(127, first.max(1), second, third.clamp(1, 254)), PORT)
}

fn listen(address: SocketAddrV4) -> io::Result<(std::net::TcpListener, TcpListener)> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let served = TcpListener::from_std(listener.try_clone()?)?;
    Ok((listener, served))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_address_and_another_run_has_another() {
        assert_eq!(address_of("run-1"), address_of("run-1"));
        assert_ne!(address_of("run-1"), address_of("run-2"));
        for run in 0..2_000 {
            let [net, first, _, last] = address_of(&format!("run-{run}")).ip().octets();
            assert_eq!(net, 127);
            assert!(first > 0 && (1..=254).contains(&last), "{first} {last}");
        }
    }
}
