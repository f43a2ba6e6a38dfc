//! Lists and watches as effects: what to list again, and when. What they say goes to the board.

use super::{
    Controller, Turn,
    calls::Call,
    effect::{ClusterCall, NoteLevel},
    entry::{Entry, Standing},
    options::{LIST_SPACING_MS, WATCH_ERRORS_MAX, WATCH_SILENCE_MS},
    timers::Timer,
    watch::{Change, Feed},
};
use crate::{
    cluster::{ClusterError, Consistency, Kind, Listing, Object, Uid, WatchEnd, WatchEvent},
    mutant::{Mutant, planted},
    op::Op,
};

impl Controller {
    fn feed_of(&mut self, kind: Kind) -> &mut Feed {
        match kind {
            Kind::Jobs => &mut self.jobs,
            Kind::Pods => &mut self.pods,
        }
    }

    /// Lists or watches, whichever is next.
    pub(super) fn feed(&mut self, turn: &mut Turn<'_>, kind: Kind) {
        let feed = self.feed_of(kind);
        if feed.list.is_some() {
            return;
        }
        if turn.now < feed.not_before {
            let at = feed.not_before;
            self.timers.set_by(Timer::Feed(kind), at);
            return;
        }
        if !feed.needs_list {
            if feed.watch.is_none() {
                self.begin_watch(turn, kind);
            }
            return;
        }
        if let Some(listed_at) = feed.listed_at
            && turn.now < listed_at + LIST_SPACING_MS
        {
            let at = listed_at + LIST_SPACING_MS;
            self.timers.set_by(Timer::Feed(kind), at);
            return;
        }
        feed.listed_at = Some(turn.now);
        if let Some(watch) = feed.watch.take() {
            self.abandon(turn, watch);
        }
        self.timers.clear(&Timer::Feed(kind));
        let consistency = consistency(!self.feed_of(kind).is_synced);
        let op = self.call_cluster(turn, Call::List(kind), ClusterCall::List(kind, consistency));
        self.feed_of(kind).list = Some(op);
    }

    pub(super) fn feed_if_needed(&mut self, turn: &mut Turn<'_>, kind: Kind) {
        if self.feed_of(kind).needs_list {
            self.feed(turn, kind);
        }
    }

    fn begin_watch(&mut self, turn: &mut Turn<'_>, kind: Kind) {
        let version = self.feed_of(kind).version();
        let op = self.call_cluster(turn, Call::Watch(kind), ClusterCall::Watch(kind, version));
        let feed = self.feed_of(kind);
        feed.watch = Some(op);
        feed.watched_from = version;
        feed.watch_began = turn.now;
        self.timers.set(Timer::Silence(kind), turn.now + WATCH_SILENCE_MS);
    }

    /// A watch has said nothing for long.
    pub(super) fn watch_again(&mut self, turn: &mut Turn<'_>, kind: Kind) {
        if planted(Mutant::SilentWatchKept) {
            return;
        }
        if let Some(watch) = self.feed_of(kind).watch.take() {
            self.abandon(turn, watch);
            self.feed(turn, kind);
        }
    }

    pub(super) fn listed(
        &mut self,
        turn: &mut Turn<'_>,
        op: Op,
        kind: Kind,
        result: Result<Listing, ClusterError>,
    ) {
        let mark = self.ops.last();
        let feed = self.feed_of(kind);
        if feed.list != Some(op) {
            return;
        }
        feed.list = None;
        let listing = match result {
            Ok(listing) => listing,
            Err(error) => return self.feed_failed(turn, op, kind, &error),
        };
        feed.failures = 0;
        feed.trouble = None;
        let is_first = !feed.is_synced;
        let sent = feed.listed_at.unwrap_or_default();
        let changes = feed.listed(op, mark, listing);
        if kind == Kind::Pods && !is_first {
            // Pods may have come and gone unseen.
            for entry in self.board.entries.values_mut() {
                entry.is_witnessed = false;
            }
        }
        for change in changes {
            self.changed(turn, Some(change));
        }
        if kind == Kind::Jobs {
            self.settle_creations(turn, sent);
        }
        self.feed(turn, kind);
        self.replan(turn);
        self.first_heartbeat(turn);
    }

    pub(super) fn watching(
        &mut self,
        turn: &mut Turn<'_>,
        op: Op,
        kind: Kind,
        result: Result<(), ClusterError>,
    ) {
        if self.feed_of(kind).watch != Some(op) {
            return;
        }
        if let Err(error) = result {
            self.feed_of(kind).watch = None;
            self.feed_failed(turn, op, kind, &error);
        }
    }

    fn feed_failed(&mut self, turn: &mut Turn<'_>, op: Op, kind: Kind, error: &ClusterError) {
        turn.note(NoteLevel::Warning, format!("{} failed: {error}", what(kind)));
        let feed = self.feed_of(kind);
        feed.failures = feed.failures.saturating_add(1);
        feed.trouble = Some(error.to_string());
        if *error == ClusterError::Gone || feed.failures >= WATCH_ERRORS_MAX {
            feed.needs_list |= !planted(Mutant::GoneWatchNotRelisted);
        }
        if let ClusterError::RateLimited { retry_after_ms } = error
            && !planted(Mutant::WatchHurried)
        {
            feed.not_before = turn.now + *retry_after_ms;
        }
        let failures = feed.failures;
        let at_least_ms = match error {
            ClusterError::RateLimited { retry_after_ms } => *retry_after_ms,
            ClusterError::Gone if failures == 1 => return self.feed(turn, kind),
            ClusterError::Gone
            | ClusterError::NameTaken
            | ClusterError::Over
            | ClusterError::QuotaExceeded { .. }
            | ClusterError::Refused { .. }
            | ClusterError::NotAllowed { .. }
            | ClusterError::Template { .. }
            | ClusterError::Unreachable { .. } => 0,
        };
        let at = self.retry_at(turn.now, op, failures, at_least_ms);
        self.timers.set(Timer::Feed(kind), at);
    }

    pub(super) fn watched(&mut self, turn: &mut Turn<'_>, op: Op, kind: Kind, event: WatchEvent) {
        let mark = self.ops.last();
        let feed = self.feed_of(kind);
        if feed.watch != Some(op) {
            return;
        }
        if !matches!(event, WatchEvent::Ended(_)) {
            feed.failures = 0;
            feed.trouble = None;
            // It has begun, whether or not that was said.
            self.calls.remove(op);
            self.timers.set(Timer::Silence(kind), turn.now + WATCH_SILENCE_MS);
        }
        let feed = self.feed_of(kind);
        let change = match event {
            WatchEvent::Seen(object) => feed.seen(mark, object),
            WatchEvent::Gone(object) => feed.gone(mark, object),
            WatchEvent::Bookmark(version) => {
                feed.caught_up(version);
                None
            }
            WatchEvent::Ended(end) => return self.watch_ended(turn, op, kind, end),
        };
        self.changed(turn, change);
        self.feed_if_needed(turn, kind);
    }

    fn watch_ended(&mut self, turn: &mut Turn<'_>, op: Op, kind: Kind, end: WatchEnd) {
        self.calls.remove(op);
        self.timers.clear(&Timer::Silence(kind));
        let feed = self.feed_of(kind);
        feed.watch = None;
        match end {
            WatchEnd::Gone => self.feed_failed(turn, op, kind, &ClusterError::Gone),
            // As watches do; but not in a circle.
            WatchEnd::Eof if turn.now.since(feed.watch_began) >= LIST_SPACING_MS => self.feed(turn, kind),
            WatchEnd::Eof => {
                let at = feed.watch_began + LIST_SPACING_MS;
                self.timers.set(Timer::Feed(kind), at);
            }
            WatchEnd::Error { detail } => {
                self.feed_failed(turn, op, kind, &ClusterError::Unreachable { detail });
            }
        }
    }

    /// Takes what a view changes to the board, and draws what follows.
    pub(super) fn changed(&mut self, turn: &mut Turn<'_>, change: Option<Change>) {
        match change {
            None => {}
            Some(Change::Put(Object::Job(job))) => {
                let key = self.board.put_job(turn.now, job.clone());
                self.tell_podless(turn, &key, &job);
                self.look(turn, &key);
                let is_strange = |entry: &Entry| {
                    let is_told = !matches!(entry.standing, Standing::Unasked | Standing::Held);
                    !is_told && !entry.is_asked && entry.holding.is_none()
                };
                if self.board.get(&key).is_some_and(is_strange) {
                    self.heartbeat_soon(turn);
                }
            }
            Some(Change::Put(Object::Pod(pod))) => {
                let waiting = self.podless();
                let (key, is_first) = self.board.put_pod(pod.clone());
                if is_first && self.board.podless.contains_key(&key) {
                    self.window.pod_appeared(waiting);
                }
                self.tell_progress(turn, &key, &pod);
                self.look(turn, &key);
            }
            Some(Change::Gone(uid, last)) => self.object_gone(turn, &uid, last),
        }
    }

    fn object_gone(&mut self, turn: &mut Turn<'_>, uid: &Uid, last: Option<Object>) {
        // An end may tell how it last looked: a kubelet's last word is proof, and comes nowhere else.
        if let Some(Object::Pod(pod)) = last
            && self.board.pods.contains_key(uid)
        {
            self.board.put_pod(pod);
        }
        if let Some((key, pod)) = self.board.drop_pod(uid) {
            self.pod_gone(&key, &pod);
            self.look(turn, &key);
        }
        if let Some(key) = self.board.drop_job(uid) {
            self.forget_deletion(uid);
            self.look(turn, &key);
        }
    }

    /// What to tell people when the cluster can't be seen.
    pub(super) fn cluster_trouble(&self) -> Option<String> {
        [&self.jobs, &self.pods]
            .into_iter()
            .find(|feed| feed.failures >= WATCH_ERRORS_MAX)
            .and_then(|feed| feed.trouble.as_ref())
            .map(|trouble| format!("the cluster does not answer: {trouble}"))
    }
}

/// Always a quorum read: a cached one may be older than what is known, or than this process.
fn consistency(is_first: bool) -> Consistency {
    let is_first_cached = is_first && planted(Mutant::FirstListNotQuorum);
    if is_first_cached || (!is_first && planted(Mutant::StaleListBelieved)) {
        return Consistency::Cached;
    }
    Consistency::Quorum
}

fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Jobs => "listing or watching Jobs",
        Kind::Pods => "listing or watching pods",
    }
}
