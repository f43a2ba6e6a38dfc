//! What this process has seen of the folder, with versions of its own: each look is compared with the one
//! before, and what differs is a change. Two looks at the same folder give the same history whatever happened
//! in between.

use std::collections::{BTreeMap, VecDeque};

use scalr_core::cluster::{Job, JobName, Kind, Listing, NodeName, Object, Pod, Version, WatchEvent};

use super::folder::Seen;

/// How many changes of one kind are kept for those who watch: hours of them, and a watch that is further
/// behind than that had better list again.
const CHANGES_MAX: usize = 4_096;

/// Jobs and their pods as they were last seen, and how they came to be so.
#[derive(Debug)]
pub(super) struct History {
    node: NodeName,
    jobs: Strand,
    pods: Strand,
}

/// One kind.
#[derive(Debug)]
struct Strand {
    version: u64,
    /// Changes up to here are forgotten.
    forgotten: u64,
    now: BTreeMap<JobName, Object>,
    changes: VecDeque<(u64, WatchEvent)>,
}

/// What a watch hears next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// A change.
    Change(u64, WatchEvent),
    /// It knows all there is.
    Nothing,
    /// What it knows is too old.
    Forgotten,
}

impl History {
    pub(super) fn new(node: NodeName) -> Self {
        Self { node, jobs: Strand::new(), pods: Strand::new() }
    }

    /// Takes a look at all Jobs; true when anything changed.
    pub(super) fn take(&mut self, look: &BTreeMap<JobName, Seen>) -> bool {
        let node = &self.node;
        let jobs =
            self.jobs.take(look.iter().map(|(name, seen)| (name.clone(), Object::Job(job(name, seen)))));
        let pods = self
            .pods
            .take(look.iter().map(|(name, seen)| (name.clone(), Object::Pod(pod(name, seen, node)))));
        jobs || pods
    }

    fn strand(&self, kind: Kind) -> &Strand {
        match kind {
            Kind::Jobs => &self.jobs,
            Kind::Pods => &self.pods,
        }
    }

    /// All of one kind as it was last seen.
    pub(super) fn listing(&self, kind: Kind) -> Listing {
        let strand = self.strand(kind);
        Listing { version: Version(strand.version), objects: strand.now.values().cloned().collect() }
    }

    /// A Job as it was last seen.
    pub(super) fn job(&self, name: &JobName) -> Option<Job> {
        match self.jobs.now.get(name)? {
            Object::Job(job) => Some(job.clone()),
            Object::Pod(_) => None,
        }
    }

    /// The first change of one kind after a version.
    pub(super) fn after(&self, kind: Kind, version: u64) -> Next {
        let strand = self.strand(kind);
        // A version ahead of us is another process's.
        if version < strand.forgotten || version > strand.version {
            return Next::Forgotten;
        }
        let at = strand.changes.partition_point(|(change, _)| *change <= version);
        match strand.changes.get(at) {
            Some((version, event)) => Next::Change(*version, event.clone()),
            None => Next::Nothing,
        }
    }
}

impl Strand {
    /// Nothing, which is a first state too: no version is 0.
    fn new() -> Self {
        Self { version: 1, forgotten: 1, now: BTreeMap::new(), changes: VecDeque::new() }
    }

    fn take(&mut self, look: impl Iterator<Item = (JobName, Object)>) -> bool {
        let before = self.version;
        let mut gone = std::mem::take(&mut self.now);
        for (name, mut object) in look {
            match gone.remove(&name) {
                Some(known) if same(&known, &mut object) => {}
                Some(known) if uid(&known) != uid(&object) => {
                    self.ended(known);
                    self.seen(&mut object);
                }
                Some(_) | None => self.seen(&mut object),
            }
            self.now.insert(name, object);
        }
        for known in gone.into_values() {
            self.ended(known);
        }
        self.version != before
    }

    fn seen(&mut self, object: &mut Object) {
        set_version(object, self.version + 1);
        self.change(WatchEvent::Seen(object.clone()));
    }

    fn ended(&mut self, mut object: Object) {
        set_version(&mut object, self.version + 1);
        self.change(WatchEvent::Gone(object));
    }

    fn change(&mut self, event: WatchEvent) {
        self.version += 1;
        self.changes.push_back((self.version, event));
        while self.changes.len() > CHANGES_MAX {
            if let Some((version, _)) = self.changes.pop_front() {
                self.forgotten = version;
            }
        }
    }
}

/// Whether the object is as it was; it gets the version of the known one.
fn same(known: &Object, object: &mut Object) -> bool {
    let version = match known {
        Object::Job(job) => job.version,
        Object::Pod(pod) => pod.version,
    };
    set_version(object, version.0);
    known == object
}

fn set_version(object: &mut Object, version: u64) {
    match object {
        Object::Job(job) => job.version = Version(version),
        Object::Pod(pod) => pod.version = Version(version),
    }
}

fn uid(object: &Object) -> &scalr_core::cluster::Uid {
    match object {
        Object::Job(job) => &job.uid,
        Object::Pod(pod) => &pod.uid,
    }
}

fn job(name: &JobName, seen: &Seen) -> Job {
    Job {
        name: name.clone(),
        uid: seen.stored.uid.clone(),
        version: Version(0),
        task: seen.stored.spec.task.clone(),
        fence: seen.stored.spec.fence,
        is_deleting: seen.is_deleting,
        end: seen.end.clone(),
        trouble: None,
    }
}

fn pod(name: &JobName, seen: &Seen, node: &NodeName) -> Pod {
    Pod {
        name: format!("{name}-0").as_str().into(),
        uid: format!("{}-0", seen.stored.uid).as_str().into(),
        version: Version(0),
        job: name.clone(),
        job_uid: seen.stored.uid.clone(),
        task: seen.stored.spec.task.clone(),
        fence: seen.stored.spec.fence,
        is_deleting: seen.is_deleting,
        node: Some(node.clone()),
        trouble: None,
        worker: seen.worker.clone(),
        runner: seen.runner.clone(),
        disruption: seen.is_deleting.then_some(scalr_core::cluster::Disruption::Deleted),
    }
}

#[cfg(test)]
mod tests;
