//! Watches: each client's place in the history of a kind, and what it is told when.
//!
//! A watch tells every change after its version, in order, later by its server's lag and some delay. It may
//! stall without an error, tell only how things look at last, end, or find that the history it needs is
//! forgotten. It must never leave a change out, but by such an end or by telling a later one of the same
//! object.

use std::{collections::BTreeMap, sync::Arc};

use scalr_core::{
    clock::Millis,
    cluster::{ClusterError, Kind, Object, Version, WatchEnd, WatchEvent},
    controller::input::Answer,
    op::Op,
};

use super::{
    ClusterModel,
    alphabet::{ClientId, Internal, Reaction, WatchTimer},
    api_server::luck_of,
    fault::WatchAim,
    history::Change,
    turn::{Timer, Turn},
};
use crate::luck::Purpose;

const DELAY: Purpose = Purpose::named("watch delay");
const LASTS: Purpose = Purpose::named("watch lasts");
const GONE_LATE: Purpose = Purpose::named("watch gone late");

/// One watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct WatchRecord {
    kind: Kind,
    server: u32,
    /// Nothing up to this version is told.
    after: u64,
    /// The place of the next change to tell.
    place: u64,
    /// When the last thing that was told arrives: nothing arrives earlier after it.
    last_arrival: Millis,
    is_stalled: bool,
    is_coalescing: bool,
    /// When it speaks again, it ends for this.
    ends_with: Option<WatchEnd>,
    slow_ms: u64,
    slow_until: Millis,
    /// Whether anything was told since the last bookmark.
    has_told: bool,
    end: Timer,
    bookmark: Timer,
    speak: Timer,
}

impl ClusterModel {
    /// Begins a watch, or says that it can't.
    pub(super) fn begin_watch(
        &mut self,
        turn: &mut Turn<'_>,
        client: ClientId,
        op: Op,
        kind: Kind,
        after: Version,
    ) {
        let answered_ms = self.serving_ms(turn, client, op, true);
        let answer =
            |result| Reaction::Answer { client, op, answer: Answer::Watching(result), after_ms: answered_ms };
        let server = self.server_of(turn, client, op);
        let luck = luck_of(client, op);
        let history = self.api.history(kind);
        let place = if after == Version(0) { Some(history.end()) } else { history.place_after(after.0) };
        let Some(place) = place else {
            // A server says so at once, or as the first thing in the stream.
            if turn.luck.permille(GONE_LATE, luck, 0, 500) {
                turn.out.push(answer(Ok(())));
                let event = WatchEvent::Ended(WatchEnd::Gone);
                turn.out.push(Reaction::Watched { client, op, kind, event, after_ms: answered_ms });
            } else {
                turn.out.push(answer(Err(ClusterError::Gone)));
            }
            return;
        };
        turn.out.push(answer(Ok(())));
        let mut watch = WatchRecord {
            kind,
            server,
            after: after.0,
            place,
            last_arrival: turn.now + answered_ms,
            is_stalled: false,
            is_coalescing: false,
            ends_with: None,
            slow_ms: 0,
            slow_until: Millis(0),
            has_told: false,
            end: Timer::default(),
            bookmark: Timer::default(),
            speak: Timer::default(),
        };
        let lasts = turn.span(LASTS, luck, 0, &self.setup.watch.lasts);
        watch.end.set(turn, turn.now + lasts, Internal::Watch(client, op, WatchTimer::End));
        let bookmark_ms = self.setup.watch.bookmark_ms;
        if bookmark_ms > 0 {
            let event = Internal::Watch(client, op, WatchTimer::Bookmark);
            watch.bookmark.set(turn, turn.now + bookmark_ms, event);
        }
        if after == Version(0) {
            // From no version on, a server first tells how everything looks.
            for object in self.api.history(kind).objects() {
                let event = WatchEvent::Seen(object);
                turn.out.push(Reaction::Watched { client, op, kind, event, after_ms: answered_ms });
            }
        }
        self.watches.insert((client, op), watch);
        self.speak_one(turn, (client, op));
    }

    /// Tells every watch of a kind what it has not told yet.
    pub(super) fn speak(&mut self, turn: &mut Turn<'_>, kind: Kind) {
        let of_kind = |(_, watch): &(&(ClientId, Op), &WatchRecord)| watch.kind == kind;
        let meant: Vec<_> = self.watches.iter().filter(of_kind).map(|(key, _)| *key).collect();
        for key in meant {
            self.speak_one(turn, key);
        }
    }

    fn speak_one(&mut self, turn: &mut Turn<'_>, key: (ClientId, Op)) {
        let Some(watch) = self.watches.get(&key).filter(|watch| !watch.is_stalled) else { return };
        let lag_ms = self.lag_ms(turn.now, watch.server);
        let Some(watch) = self.watches.get_mut(&key) else { return };
        let history = match watch.kind {
            Kind::Jobs => &self.api.jobs,
            Kind::Pods => &self.api.pods,
        };
        let coalesced = watch.is_coalescing.then(|| last_looks(history, watch.place));
        watch.is_coalescing = false;
        while let Some(change) = history.get(watch.place) {
            let place = watch.place;
            watch.place += 1;
            let is_last = coalesced.as_ref().is_none_or(|last| last.get(&change.key) == Some(&place));
            if change.version <= watch.after || !is_last {
                continue;
            }
            let delay_ms = turn.span(DELAY, luck_of(key.0, key.1), place, &self.setup.watch.delay);
            let slow_ms = if turn.now < watch.slow_until { watch.slow_ms } else { 0 };
            let due = (change.at + lag_ms + slow_ms).max(turn.now) + delay_ms;
            watch.last_arrival = watch.last_arrival.max(due);
            watch.has_told = true;
            let after_ms = watch.last_arrival.since(turn.now);
            turn.out.push(Reaction::Watched {
                client: key.0,
                op: key.1,
                kind: watch.kind,
                event: event_of(change),
                after_ms,
            });
        }
    }

    /// Something about a watch is due.
    pub(super) fn watch_due(&mut self, turn: &mut Turn<'_>, key: (ClientId, Op), timer: WatchTimer) {
        let bookmark_ms = self.setup.watch.bookmark_ms;
        let Some(watch) = self.watches.get_mut(&key) else { return };
        match timer {
            WatchTimer::End => {
                if watch.end.ring(turn.now) {
                    if watch.is_stalled {
                        // What would say so does not get through either.
                        watch.ends_with.get_or_insert(WatchEnd::Eof);
                    } else {
                        self.end_watch(turn, key, WatchEnd::Eof);
                    }
                }
            }
            WatchTimer::Bookmark => {
                if watch.bookmark.ring(turn.now) {
                    let event = Internal::Watch(key.0, key.1, WatchTimer::Bookmark);
                    watch.bookmark.set(turn, turn.now + bookmark_ms, event);
                    if !std::mem::take(&mut watch.has_told) {
                        self.say_bookmark(turn, key);
                    }
                }
            }
            WatchTimer::Speak => {
                if watch.speak.ring(turn.now) {
                    self.let_speak(turn, key);
                }
            }
        }
    }

    fn let_speak(&mut self, turn: &mut Turn<'_>, key: (ClientId, Op)) {
        let Some(watch) = self.watches.get_mut(&key) else { return };
        watch.is_stalled = false;
        watch.speak.clear();
        if let Some(end) = watch.ends_with.take() {
            return self.end_watch(turn, key, end);
        }
        // What it has not told may be forgotten by now.
        let (place, kind) = (watch.place, watch.kind);
        let history = self.api.history(kind);
        if place < history.end() && history.get(place).is_none() {
            self.end_watch(turn, key, WatchEnd::Gone);
        } else {
            self.speak_one(turn, key);
        }
    }

    fn say_bookmark(&mut self, turn: &mut Turn<'_>, key: (ClientId, Op)) {
        let revision = self.api.revision;
        let Some(watch) = self.watches.get_mut(&key).filter(|watch| !watch.is_stalled) else { return };
        let event = WatchEvent::Bookmark(Version(revision.max(watch.after)));
        let after_ms = watch.last_arrival.since(turn.now);
        turn.out.push(Reaction::Watched { client: key.0, op: key.1, kind: watch.kind, event, after_ms });
    }

    fn end_watch(&mut self, turn: &mut Turn<'_>, key: (ClientId, Op), end: WatchEnd) {
        let Some(watch) = self.watches.remove(&key) else { return };
        let after_ms = watch.last_arrival.since(turn.now);
        let event = WatchEvent::Ended(end);
        turn.out.push(Reaction::Watched { client: key.0, op: key.1, kind: watch.kind, event, after_ms });
    }

    /// The watches that are meant.
    fn aimed(&self, aim: WatchAim) -> Vec<(ClientId, Op)> {
        let fits = |watch: &WatchRecord| aim.kind.is_none_or(|kind| kind == watch.kind);
        let all: Vec<_> = self.watches.iter().filter(|(_, watch)| fits(watch)).map(|(key, _)| *key).collect();
        match aim.nth {
            None => all,
            Some(nth) => (nth as usize).checked_rem(all.len()).map(|place| all[place]).into_iter().collect(),
        }
    }

    /// Watches come later for a while.
    pub(super) fn slow_watches(&mut self, turn: &Turn<'_>, aim: WatchAim, by_ms: u64, for_ms: u64) {
        for key in self.aimed(aim) {
            if let Some(watch) = self.watches.get_mut(&key) {
                watch.slow_ms = by_ms;
                watch.slow_until = turn.now + for_ms;
            }
        }
    }

    /// Watches say nothing for a while; then all, or only how things look at last, or their end.
    pub(super) fn stall_watches(
        &mut self,
        turn: &mut Turn<'_>,
        aim: WatchAim,
        for_ms: u64,
        is_coalescing: bool,
        ends_with: Option<&WatchEnd>,
    ) {
        for key in self.aimed(aim) {
            if let Some(watch) = self.watches.get_mut(&key) {
                watch.is_stalled = true;
                watch.is_coalescing |= is_coalescing;
                if let Some(end) = ends_with {
                    watch.ends_with = Some(end.clone());
                }
                watch.speak.set(turn, turn.now + for_ms, Internal::Watch(key.0, key.1, WatchTimer::Speak));
            }
        }
    }

    /// Watches end now.
    pub(super) fn cut_watches(&mut self, turn: &mut Turn<'_>, aim: WatchAim, end: &WatchEnd) {
        for key in self.aimed(aim) {
            self.end_watch(turn, key, end.clone());
        }
    }

    /// Every watch says a bookmark, if it can.
    pub(super) fn say_bookmarks(&mut self, turn: &mut Turn<'_>) {
        for key in self.aimed(WatchAim::default()) {
            self.say_bookmark(turn, key);
        }
    }

    /// Every watch speaks again and is no longer slow.
    pub(super) fn heal_watches(&mut self, turn: &mut Turn<'_>) {
        for key in self.aimed(WatchAim::default()) {
            if let Some(watch) = self.watches.get_mut(&key) {
                watch.slow_until = Millis(0);
            }
            self.let_speak(turn, key);
        }
    }
}

/// For each object the place of its last change, from a place on.
fn last_looks(history: &super::history::History, from: u64) -> BTreeMap<u64, u64> {
    let mut last = BTreeMap::new();
    let mut place = from;
    while let Some(change) = history.get(place) {
        last.insert(change.key, place);
        place += 1;
    }
    last
}

fn event_of(change: &Change) -> WatchEvent {
    let object = Object::clone(&Arc::clone(&change.after));
    if change.is_gone { WatchEvent::Gone(object) } else { WatchEvent::Seen(object) }
}
