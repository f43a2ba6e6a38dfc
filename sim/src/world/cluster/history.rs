//! The history of one kind: an append-only list of changes, forgotten from its old end, and how everything
//! looks after the last of them.
//!
//! It must never change what it has said once.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use scalr_core::{clock::Millis, cluster::Object};

/// One change of one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Change {
    /// Its version.
    pub(super) version: u64,
    /// When it was made.
    pub(super) at: Millis,
    /// Of which object.
    pub(super) key: u64,
    /// How it looked before, if it was there.
    before: Option<Arc<Object>>,
    /// How it looks, or looked at last.
    pub(super) after: Arc<Object>,
    /// Whether it is gone.
    pub(super) is_gone: bool,
}

/// All changes of one kind that are not forgotten. Places count from the first change ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct History {
    changes: VecDeque<Change>,
    /// The place of the first that is kept.
    first: u64,
    /// The version of the last that is forgotten.
    forgotten: u64,
    current: BTreeMap<u64, Arc<Object>>,
}

impl History {
    /// An object looks so now, or is gone.
    pub(super) fn push(&mut self, at: Millis, version: u64, key: u64, object: Object, is_gone: bool) {
        let after = Arc::new(object);
        let before =
            if is_gone { self.current.remove(&key) } else { self.current.insert(key, Arc::clone(&after)) };
        self.changes.push_back(Change { version, at, key, before, after, is_gone });
    }

    /// The place after the last change.
    pub(super) fn end(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    /// The change at a place.
    pub(super) fn get(&self, place: u64) -> Option<&Change> {
        self.changes.get(usize::try_from(place.checked_sub(self.first)?).ok()?)
    }

    /// The place of the first change after a version; none if it is forgotten.
    pub(super) fn place_after(&self, version: u64) -> Option<u64> {
        if version < self.forgotten {
            return None;
        }
        let kept = self.changes.partition_point(|change| change.version <= version);
        Some(self.first + kept as u64)
    }

    /// The place of the first change after a moment.
    pub(super) fn place_at(&self, at: Millis) -> u64 {
        self.first + self.changes.partition_point(|change| change.at <= at) as u64
    }

    /// How everything looks now.
    pub(super) fn objects(&self) -> Vec<Object> {
        self.current.values().map(|object| Object::clone(object)).collect()
    }

    /// How everything looked before the change at a place, and the version then.
    pub(super) fn objects_before(&self, place: u64) -> (u64, Vec<Object>) {
        let kept = usize::try_from(place.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let mut then = self.current.clone();
        for change in self.changes.iter().skip(kept).rev() {
            match &change.before {
                Some(object) => then.insert(change.key, Arc::clone(object)),
                None => then.remove(&change.key),
            };
        }
        let last = kept.checked_sub(1).and_then(|last| self.changes.get(last));
        let version = last.map_or(self.forgotten, |change| change.version);
        (version, then.values().map(|object| Object::clone(object)).collect())
    }

    /// Forgets what was before a moment, and what is more than so many changes.
    pub(super) fn forget(&mut self, before: Millis, changes_max: usize) {
        while let Some(change) = self.changes.front()
            && (change.at < before || self.changes.len() > changes_max)
        {
            self.forgotten = change.version;
            self.first += 1;
            self.changes.pop_front();
        }
    }

    /// Everything is otherwise, without a change that says so; nothing that was is remembered.
    pub(super) fn replace(&mut self, forgotten: u64, objects: impl Iterator<Item = (u64, Object)>) {
        self.first = self.end();
        self.changes.clear();
        self.forgotten = forgotten;
        self.current = objects.map(|(key, object)| (key, Arc::new(object))).collect();
    }
}
