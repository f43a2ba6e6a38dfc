//! One watch over what this process has seen. It looks at nothing itself.

use std::{sync::Arc, time::Duration};

use scalr_core::cluster::{Kind, Version, Watch, WatchEnd, WatchEvent};
use tokio::{sync::watch, time::timeout};

use super::{Shared, history::Next};

/// How long a watch may be silent before it says that it is there, as a Kubernetes API server does once a
/// minute.
const BOOKMARK_MS: u64 = 60_000;

/// What all watches are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Look again: the number grows with each change.
    Changed(u64),
    /// The folder can't be read.
    Broken(String),
}

/// A watch in progress. It ends when the cluster is dropped.
#[derive(Debug)]
pub struct LocalWatch {
    shared: Arc<Shared>,
    state: watch::Receiver<State>,
    kind: Kind,
    version: u64,
    /// Whether it has said how far it is, since it began or was last silent for long.
    has_told: bool,
    has_ended: bool,
}

impl LocalWatch {
    pub(super) fn new(
        shared: Arc<Shared>,
        state: watch::Receiver<State>,
        kind: Kind,
        after: Version,
    ) -> Self {
        Self { shared, state, kind, version: after.0, has_told: false, has_ended: false }
    }

    fn ended(&mut self, end: WatchEnd) -> WatchEvent {
        self.has_ended = true;
        WatchEvent::Ended(end)
    }
}

impl Watch for LocalWatch {
    async fn next(&mut self) -> WatchEvent {
        if self.has_ended {
            return WatchEvent::Ended(WatchEnd::Eof);
        }
        loop {
            let state = self.state.borrow_and_update().clone();
            let next = self.shared.history().after(self.kind, self.version);
            match next {
                Next::Change(version, event) => {
                    self.version = version;
                    return event;
                }
                Next::Forgotten => return self.ended(WatchEnd::Gone),
                Next::Nothing => {}
            }
            if let State::Broken(detail) = state {
                return self.ended(WatchEnd::Error { detail });
            }
            if !std::mem::replace(&mut self.has_told, true) {
                return WatchEvent::Bookmark(Version(self.version));
            }
            match timeout(Duration::from_millis(BOOKMARK_MS), self.state.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return self.ended(WatchEnd::Eof),
                Err(_) => self.has_told = false,
            }
        }
    }
}
