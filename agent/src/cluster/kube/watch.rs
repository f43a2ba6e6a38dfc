//! Changes of one kind as the API tells them; of pods that do not start also what their events tell.

use std::{fmt, pin::Pin, sync::Arc};

use scalr_core::cluster::{Kind, Object, Pod, Uid, Version, Watch, WatchEnd, WatchEvent};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{
    Shared,
    api::{JobView, Line, Meta, PodView},
    error::{Refusal, of_stream},
    job_object, pod_object,
    seen::version,
    wire::Lines,
};

/// A look at the events of a pod, under way: how the pod looks with them, if it looks otherwise.
type Look = Pin<Box<dyn Future<Output = Option<Pod>> + Send>>;

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
        let event = match self.kind {
            Kind::Jobs => event(line, |view: &JobView| (job_object(view), view.metadata.clone())),
            Kind::Pods => event(line, |view: &PodView| (pod_object(view), view.metadata.clone())),
        };
        match event {
            WatchEvent::Seen(object) => WatchEvent::Seen(self.shared.seen(object)),
            WatchEvent::Gone(object) => {
                self.shared.gone(&object);
                WatchEvent::Gone(object)
            }
            WatchEvent::Bookmark(_) | WatchEvent::Ended(_) => event,
        }
    }
}

impl Watch for KubeWatch {
    async fn next(&mut self) -> WatchEvent {
        loop {
            let Some(lines) = &mut self.lines else { return std::future::pending().await };
            let line = tokio::select! {
                biased;
                line = lines.next() => line,
                pod = looked(&self.shared, self.kind, &mut self.look) => {
                    self.look = None;
                    match pod {
                        Some(pod) => return WatchEvent::Seen(Object::Pod(pod)),
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
async fn looked(shared: &Arc<Shared>, kind: Kind, look: &mut Option<Look>) -> Option<Pod> {
    if kind == Kind::Jobs {
        return std::future::pending().await;
    }
    let look = match look {
        Some(look) => look,
        None => look.insert(Box::pin(next_look(Arc::clone(shared), next_turn(shared).await))),
    };
    look.await
}

async fn next_turn(shared: &Shared) -> Uid {
    loop {
        let next = shared.eyes().next();
        match next {
            Some(at) => tokio::time::sleep_until(at).await,
            // Somebody is seen by this very watch, which asks again then.
            None => std::future::pending().await,
        }
        if let Some(uid) = shared.eyes().turn(Instant::now()) {
            return uid;
        }
    }
}

async fn next_look(shared: Arc<Shared>, uid: Uid) -> Option<Pod> {
    match shared.events_of(&uid).await {
        Ok(events) => shared.eyes().told(&uid, &events),
        Err(error) => {
            let is_denied = error.is_denied();
            if is_denied {
                tracing::warn!(
                    why = error.detail(),
                    "events can't be listed: whether a node is coming, or a volume can't be mounted, is not seen"
                );
            }
            shared.eyes().failed(Instant::now(), is_denied);
            None
        }
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
