//! Changes of one kind as the API tells them; of pods that do not start also what their events tell.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, MutexGuard},
};

use scalr_core::cluster::{Kind, Object, Uid, Version, Watch, WatchEnd, WatchEvent};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{
    Shared,
    api::{JobView, Line, Meta, PodView},
    error::{CallError, Refusal, of_stream},
    eyes::{Eyes, Watched},
    seen::version,
    wire::Lines,
};

/// A look at the events of an object, under way: how it looks with them, if it looks otherwise.
type Look = Pin<Box<dyn Future<Output = Option<Object>> + Send>>;

/// A watch of Jobs or of pods.
pub struct KubeWatch {
    kind: Kind,
    shared: Arc<Shared>,
    /// None once it has ended.
    lines: Option<Lines>,
    look: Option<Look>,
}

impl KubeWatch {
    pub(super) fn new(kind: Kind, shared: Arc<Shared>, lines: Lines) -> Self {
        Self { kind, shared, lines: Some(lines), look: None }
    }

    /// What a line says, with what else is known.
    fn read(&self, line: &[u8]) -> WatchEvent {
        let shared = &self.shared;
        let event = match self.kind {
            Kind::Jobs => event(line, |view: &JobView| (shared.see_job(view), view.metadata.clone())),
            Kind::Pods => event(line, |view: &PodView| (shared.see_pod(view), view.metadata.clone())),
        };
        if let WatchEvent::Gone(object) = &event {
            shared.gone(object);
        }
        event
    }
}

impl Watch for KubeWatch {
    async fn next(&mut self) -> WatchEvent {
        loop {
            let Some(lines) = &mut self.lines else { return std::future::pending().await };
            let line = tokio::select! {
                biased;
                line = lines.next() => line,
                object = looked(&self.shared, self.kind, &mut self.look) => {
                    self.look = None;
                    match object {
                        Some(object) => return WatchEvent::Seen(object),
                        None => continue,
                    }
                }
            };
            let event = match line {
                Some(Ok(line)) => self.read(&line),
                Some(Err(error)) => WatchEvent::Ended(WatchEnd::Error { detail: error.detail() }),
                None => WatchEvent::Ended(WatchEnd::Eof),
            };
            if matches!(event, WatchEvent::Ended(_)) {
                self.lines = None;
            }
            return event;
        }
    }
}

/// Looks at whoever is next, once he is due. What is under way goes on when this is dropped and called again.
async fn looked(shared: &Arc<Shared>, kind: Kind, look: &mut Option<Look>) -> Option<Object> {
    let look = match (look, kind) {
        (Some(look), _) => look,
        (none, Kind::Jobs) => {
            let uid = next_turn(|| shared.podless()).await;
            none.insert(Box::pin(next_look(Arc::clone(shared), Shared::podless, uid)))
        }
        (none, Kind::Pods) => {
            let uid = next_turn(|| shared.starting()).await;
            none.insert(Box::pin(next_look(Arc::clone(shared), Shared::starting, uid)))
        }
    };
    look.await
}

async fn next_turn<'a, T: Watched + 'a>(eyes: impl Fn() -> MutexGuard<'a, Eyes<T>>) -> Uid {
    loop {
        let next = eyes().next();
        match next {
            Some(at) => tokio::time::sleep_until(at).await,
            // Whoever is seen next is seen by this very watch, which asks again then.
            None => std::future::pending().await,
        }
        if let Some(uid) = eyes().turn(Instant::now()) {
            return uid;
        }
    }
}

async fn next_look<T: Watched>(
    shared: Arc<Shared>,
    eyes: fn(&Shared) -> MutexGuard<'_, Eyes<T>>,
    uid: Uid,
) -> Option<Object> {
    match shared.events_of(&uid).await {
        Ok(events) => eyes(&shared).told(&uid, &events).map(Watched::object),
        Err(error) => {
            say_blind(&error);
            eyes(&shared).failed(Instant::now(), error.is_denied());
            None
        }
    }
}

fn say_blind(error: &CallError) {
    let why = error.detail();
    if error.is_denied() {
        tracing::warn!(why, "events can't be listed: what only they tell of a start is not seen");
    } else {
        tracing::debug!(why, "events can't be listed");
    }
}

/// What a line says. An object that can't be read is passed over, but not its moment.
fn event<T: DeserializeOwned>(line: &[u8], read: impl Fn(&T) -> (Option<Object>, Meta)) -> WatchEvent {
    let broken = |detail: String| WatchEvent::Ended(WatchEnd::Error { detail });
    let moment = |meta: &Meta| match version(&meta.resource_version) {
        Ok(Version(version)) => WatchEvent::Bookmark(Version(version)),
        Err(error) => broken(format!("a watch: {error}")),
    };
    match serde_json::from_slice::<Line<T>>(line) {
        Ok(Line::Added(view) | Line::Modified(view)) => match read(&view) {
            (Some(object), _) => WatchEvent::Seen(object),
            (None, meta) => moment(&meta),
        },
        Ok(Line::Deleted(view)) => match read(&view) {
            (Some(object), _) => WatchEvent::Gone(object),
            (None, meta) => moment(&meta),
        },
        Ok(Line::Bookmark(bookmark)) => moment(&bookmark.metadata),
        Ok(Line::Error(status)) => WatchEvent::Ended(of_stream(&Refusal::told(status))),
        Err(error) => broken(format!("a line of the watch can't be read: {error}")),
    }
}

impl fmt::Debug for KubeWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeWatch").field("kind", &self.kind).finish_non_exhaustive()
    }
}
