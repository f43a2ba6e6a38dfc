//! What is older than what: one kind's objects as lists, watches and answers tell of them.
//!
//! A quorum list wins over all that was known when it was sent. What was learned after that stays until the
//! watch from the list's version has caught up. Otherwise an older view never replaces a newer one. It
//! judges views and never what they mean.

use std::collections::{BTreeMap, VecDeque};

use super::options::GRAVES_MAX;
use crate::{
    clock::Millis,
    cluster::{Kind, Listing, Object, Uid, Version},
    mutant::{Mutant, planted},
    op::Op,
};

/// What is known of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Feed {
    kind: Kind,
    records: BTreeMap<Uid, Record>,
    /// Learned from answers only; no list or watch has shown it.
    unconfirmed: BTreeMap<Uid, Version>,
    graves: BTreeMap<Uid, Op>,
    graves_in_order: VecDeque<Uid>,
    /// Nothing up to here was left out.
    version: Version,
    /// Where the running watch began.
    pub(super) watched_from: Version,
    /// Whether a list was ever answered.
    pub(super) is_synced: bool,
    /// Whether the next thing to do is a list.
    pub(super) needs_list: bool,
    /// The list that is under way.
    pub(super) list: Option<Op>,
    /// When the last one was sent.
    pub(super) listed_at: Option<Millis>,
    /// The watch that runs or is being begun.
    pub(super) watch: Option<Op>,
    /// When it was begun.
    pub(super) watch_began: Millis,
    /// How many lists or watches have failed in a row.
    pub(super) failures: u32,
    /// The cluster has asked for neither list nor watch before this.
    pub(super) not_before: Millis,
    /// What the last failure was.
    pub(super) trouble: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Record {
    version: Version,
    /// The last call that had been sent when it was learned.
    mark: Op,
}

/// What a view changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It looks so now.
    Put(Object),
    /// It is gone; this is how it last looked, where that was told.
    Gone(Uid, Option<Object>),
}

impl Feed {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            records: BTreeMap::new(),
            unconfirmed: BTreeMap::new(),
            graves: BTreeMap::new(),
            graves_in_order: VecDeque::new(),
            version: Version::default(),
            watched_from: Version::default(),
            is_synced: false,
            needs_list: true,
            list: None,
            listed_at: None,
            watch: None,
            watch_began: Millis::default(),
            failures: 0,
            not_before: Millis::default(),
            trouble: None,
        }
    }

    /// From where to watch.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Takes the answer to the list `op`. `mark` is the last call that has been sent.
    pub(super) fn listed(&mut self, op: Op, mark: Op, listing: Listing) -> Vec<Change> {
        let is_later = |known: Op| known >= op && !planted(Mutant::ListResetsLaterNews);
        let mut changes = Vec::new();
        let mut listed = BTreeMap::new();
        for object in listing.objects {
            if kind_of(&object) == self.kind {
                listed.insert(uid_of(&object).clone(), object);
            }
        }
        let unlisted: Vec<Uid> = self
            .records
            .iter()
            .filter(|(uid, record)| !listed.contains_key(uid) && !is_later(record.mark))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in unlisted {
            self.records.remove(&uid);
            self.unconfirmed.remove(&uid);
            changes.push(Change::Gone(uid, None));
        }
        for (uid, object) in listed {
            if self.graves.get(&uid).is_some_and(|grave| is_later(*grave)) {
                continue;
            }
            self.unconfirmed.remove(&uid);
            let version = version_of(&object);
            let is_newer = self.records.get(&uid).is_some_and(|r| is_later(r.mark) && r.version >= version);
            if !is_newer {
                self.records.insert(uid, Record { version, mark });
                changes.push(Change::Put(object));
            }
        }
        self.graves.retain(|_, grave| *grave >= op);
        let graves = &self.graves;
        self.graves_in_order.retain(|uid| graves.contains_key(uid));
        self.version = listing.version;
        self.list = None;
        self.is_synced = true;
        self.needs_list = false;
        self.doubt();
        changes
    }

    /// Takes an object that a watch shows.
    pub(super) fn seen(&mut self, mark: Op, object: Object) -> Option<Change> {
        if kind_of(&object) != self.kind {
            return None;
        }
        let (uid, version) = (uid_of(&object).clone(), version_of(&object));
        self.unconfirmed.remove(&uid);
        let is_older = match self.records.get(&uid) {
            Some(record) => version < record.version,
            // The list at that version did not hold it, so it had gone by then.
            None => version <= self.watched_from || self.graves.contains_key(&uid),
        };
        self.caught_up(version);
        if is_older {
            return None;
        }
        self.records.insert(uid, Record { version, mark });
        Some(Change::Put(object))
    }

    /// Takes the end of an object that a watch shows. A UID never comes back.
    pub(super) fn gone(&mut self, mark: Op, object: Object) -> Option<Change> {
        if kind_of(&object) != self.kind {
            return None;
        }
        let (uid, version) = (uid_of(&object).clone(), version_of(&object));
        self.unconfirmed.remove(&uid);
        self.caught_up(version);
        if self.graves.insert(uid.clone(), mark).is_none() {
            self.graves_in_order.push_back(uid.clone());
            if self.graves_in_order.len() > GRAVES_MAX
                && let Some(oldest) = self.graves_in_order.pop_front()
            {
                self.graves.remove(&oldest);
            }
        }
        self.records.remove(&uid).map(|_| Change::Gone(uid, Some(object)))
    }

    /// Takes an object that an answer shows, not knowing whether it is still so.
    pub(super) fn answered(&mut self, mark: Op, object: Object) -> Option<Change> {
        let (uid, version) = (uid_of(&object).clone(), version_of(&object));
        if self.graves.contains_key(&uid) {
            return None;
        }
        match self.records.get(&uid) {
            Some(record) if version <= record.version => return None,
            Some(_) => {}
            None => {
                self.unconfirmed.insert(uid.clone(), version);
            }
        }
        self.records.insert(uid, Record { version, mark });
        self.doubt();
        Some(Change::Put(object))
    }

    /// Nothing up to `version` was left out.
    pub(super) fn caught_up(&mut self, version: Version) {
        if version > self.version {
            self.version = version;
        }
        self.doubt();
    }

    /// An object that the watch has passed without showing it may have gone before the watch began: only
    /// a list can tell.
    fn doubt(&mut self) {
        if self.list.is_none() && self.unconfirmed.values().any(|version| *version <= self.version) {
            self.needs_list = true;
        }
    }
}

fn kind_of(object: &Object) -> Kind {
    match object {
        Object::Job(_) => Kind::Jobs,
        Object::Pod(_) => Kind::Pods,
    }
}

fn uid_of(object: &Object) -> &Uid {
    match object {
        Object::Job(job) => &job.uid,
        Object::Pod(pod) => &pod.uid,
    }
}

fn version_of(object: &Object) -> Version {
    match object {
        Object::Job(job) => job.version,
        Object::Pod(pod) => pod.version,
    }
}
