//! One table of everything there is: tasks held and Jobs seen. Room is derived from it, never counted.

use std::collections::{BTreeMap, BTreeSet};

use scalr_protocol::{
    agent::TaskAt,
    id::{Fence, TaskId},
};

use super::entry::{Entry, Standing};
use crate::{
    clock::Millis,
    cluster::{Container, Job, JobName, Pod, Uid},
    mutant::{Mutant, planted},
};

/// The table and its indexes. Whoever changes an entry calls [`Board::index`] afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Board {
    pub(super) entries: BTreeMap<TaskAt, Entry>,
    pub(super) jobs: BTreeMap<Uid, Job>,
    pub(super) pods: BTreeMap<Uid, Pod>,
    /// Who waits for a Job, in the order of the grants.
    pub(super) queue: BTreeMap<u64, TaskAt>,
    /// Jobs that are not over.
    pub(super) live: BTreeSet<Uid>,
    /// Tasks without such a Job that take room nevertheless: one is being made, or their pods outlived it.
    pub(super) ghosts: BTreeSet<TaskAt>,
    /// Tasks for whose Job a request went unanswered that may still act.
    pub(super) uncertain: BTreeSet<TaskAt>,
    /// Tasks whose door is being shut.
    pub(super) closing: BTreeSet<TaskAt>,
    /// Held tasks whose Job has no pod yet, and since when.
    pub(super) podless: BTreeMap<TaskAt, Millis>,
    podless_in_order: BTreeSet<(Millis, TaskAt)>,
    /// Who has which name.
    names: BTreeMap<JobName, TaskAt>,
    grants: u64,
}

impl Board {
    /// A task under a fence.
    pub(super) fn get(&self, key: &TaskAt) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The highest fence under which a task is known.
    pub(super) fn newest(&self, task: &TaskId) -> Option<&TaskAt> {
        self.of_task(task).next_back()
    }

    /// A task under every fence that is known, lowest first.
    pub(super) fn of_task(&self, task: &TaskId) -> impl DoubleEndedIterator<Item = &TaskAt> {
        let first = TaskAt { id: task.clone(), fence: Fence(0) };
        let last = TaskAt { id: task.clone(), fence: Fence(u64::MAX) };
        self.entries.range(first..=last).map(|(key, _)| key)
    }

    /// The next number of a grant.
    pub(super) fn next_grant(&mut self) -> u64 {
        self.grants += 1;
        self.grants
    }

    /// How many Jobs take room: every live one, whoever launched it, and those that may become one.
    pub(super) fn occupied(&self) -> u32 {
        let live = if planted(Mutant::CapacityByCounter) {
            self.live.iter().filter(|uid| self.is_granted_here(uid)).count()
        } else {
            self.live.len()
        };
        let ghosts = if planted(Mutant::CreationsNotCounted) { 0 } else { self.ghosts.len() };
        u32::try_from(live + ghosts).unwrap_or(u32::MAX)
    }

    /// Whether this process heard of the grant of a Job's task.
    fn is_granted_here(&self, job: &Uid) -> bool {
        let key = self.jobs.get(job).map(|job| TaskAt { id: job.task.clone(), fence: job.fence });
        key.and_then(|key| self.get(&key)).is_some_and(|entry| entry.grant.is_some())
    }

    /// How many own Jobs wait for a first pod, and have only since `after`.
    pub(super) fn podless(&self, after: Millis) -> u32 {
        u32::try_from(self.podless_since(after).count()).unwrap_or(u32::MAX)
    }

    /// Since when those wait, longest last.
    pub(super) fn podless_since(&self, after: Millis) -> impl Iterator<Item = Millis> {
        self.podless_in_order.iter().rev().map(|(since, _)| *since).take_while(move |since| *since > after)
    }

    /// Whether something else has this name.
    pub(super) fn is_name_taken(&self, name: &JobName, by_other_than: &TaskAt) -> bool {
        self.names.get(name).is_some_and(|key| key != by_other_than)
    }

    /// Gives a task's Job its name, for good.
    pub(super) fn take_name(&mut self, name: &JobName, key: &TaskAt) {
        self.names.entry(name.clone()).or_insert_with(|| key.clone());
    }

    /// Takes a Job as it looks now.
    pub(super) fn put_job(&mut self, now: Millis, job: Job) -> TaskAt {
        let key = TaskAt { id: job.task.clone(), fence: job.fence };
        // Labels do not change; if somebody changed them, the Job is its new task's.
        if let Some(old) = self.jobs.get(&job.uid)
            && (old.task != job.task || old.fence != job.fence)
        {
            self.drop_job(&job.uid.clone());
        }
        self.take_name(&job.name, &key);
        let entry = self.entries.entry(key.clone()).or_default();
        entry.jobs.insert(job.uid.clone());
        if !entry.is_launched {
            entry.is_launched = true;
            entry.launched_at = now;
        }
        self.jobs.insert(job.uid.clone(), job);
        key
    }

    /// Takes a Job's end.
    pub(super) fn drop_job(&mut self, uid: &Uid) -> Option<TaskAt> {
        let job = self.jobs.remove(uid)?;
        self.live.remove(uid);
        let key = TaskAt { id: job.task, fence: job.fence };
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.jobs.remove(uid);
            // A pod of it may be there that was not seen yet.
            entry.is_witnessed &= entry.podded.remove(uid);
            entry.is_launched &= !planted(Mutant::TtlDeletionReadAsNeverRan);
        }
        if self.names.get(&job.name) == Some(&key)
            && self.entries.get(&key).is_none_or(|entry| entry.name.as_ref() != Some(&job.name))
        {
            self.names.remove(&job.name);
        }
        Some(key)
    }

    /// Takes a pod as it looks now. Says whether it is the task's first.
    pub(super) fn put_pod(&mut self, pod: Pod) -> (TaskAt, bool) {
        let key = TaskAt { id: pod.task.clone(), fence: pod.fence };
        if let Some(old) = self.pods.get(&pod.uid)
            && (old.task != pod.task || old.fence != pod.fence)
        {
            self.drop_pod(&pod.uid.clone());
        }
        let entry = self.entries.entry(key.clone()).or_default();
        entry.pods.insert(pod.uid.clone());
        entry.podded.insert(pod.job_uid.clone());
        let is_first = !entry.had_pod;
        entry.had_pod = true;
        self.pods.insert(pod.uid.clone(), pod);
        (key, is_first)
    }

    /// Takes a pod's end, and says how it last looked.
    pub(super) fn drop_pod(&mut self, uid: &Uid) -> Option<(TaskAt, Pod)> {
        let pod = self.pods.remove(uid)?;
        let key = TaskAt { id: pod.task.clone(), fence: pod.fence };
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.pods.remove(uid);
        }
        Some((key, pod))
    }

    /// The pods of a task.
    pub(super) fn pods_of<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = &'a Pod> {
        pods_of(&self.pods, entry)
    }

    /// The Jobs of a task.
    pub(super) fn jobs_of<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = &'a Job> {
        entry.jobs.iter().filter_map(|uid| self.jobs.get(uid))
    }

    /// Whether worker and runner of a Job have terminated, whatever its sidecars do; or whether the cluster
    /// says that it has ended and no pod of it runs.
    pub(super) fn is_over(&self, entry: &Entry, job: &Job) -> bool {
        is_over(&self.pods, entry, job)
    }

    /// What a deletion of a Job names: the Job itself.
    pub(super) fn to_delete<'a>(&'a self, job: &'a Job) -> &'a Job {
        if !planted(Mutant::DeleteWithoutUid) {
            return job;
        }
        let of_task = self.jobs.values().filter(|other| other.task == job.task);
        of_task.max_by_key(|other| other.fence).unwrap_or(job)
    }

    /// Held tasks that have a Job.
    pub(super) fn launched(&self) -> Vec<TaskAt> {
        let is_launched = |entry: &Entry| entry.is_launched && entry.holding.is_some();
        self.entries.iter().filter(|(_, entry)| is_launched(entry)).map(|(key, _)| key.clone()).collect()
    }

    /// Whether a task has a Job that is not over.
    pub(super) fn has_unfinished_job(&self, entry: &Entry) -> bool {
        entry.jobs.iter().any(|uid| self.live.contains(uid))
    }

    /// Brings the indexes in line with an entry, and forgets it when it is done.
    pub(super) fn index(&mut self, now: Millis, key: &TaskAt) {
        let Self { entries, jobs, pods, live, .. } = self;
        let Some(entry) = entries.get(key) else { return };
        let mut is_live = false;
        for job in entry.jobs.iter().filter_map(|uid| jobs.get(uid)) {
            if is_over(pods, entry, job) {
                live.remove(&job.uid);
            } else {
                is_live = true;
                if !live.contains(&job.uid) {
                    live.insert(job.uid.clone());
                }
            }
        }
        let is_orphan = entry.jobs.is_empty() && pods_of(pods, entry).any(is_running);
        let is_ghost = !is_live && (entry.creation.is_some() || is_orphan);
        let is_waiting = (entry.creation.is_some() || is_live) && !entry.had_pod && entry.holding.is_some();
        let is_queued = entry.is_queued();
        let order = entry.holding.as_ref().map(|holding| holding.order);
        let is_done = entry.is_done();
        let is_closing = entry.door.is_some();
        let is_uncertain = entry.creation.as_ref().is_some_and(|creation| creation.is_uncertain);
        set_member(&mut self.ghosts, key, is_ghost);
        set_member(&mut self.uncertain, key, is_uncertain);
        set_member(&mut self.closing, key, is_closing && !is_done);
        self.index_podless(now, key, is_waiting);
        if let Some(order) = order {
            if is_queued {
                self.queue.insert(order, key.clone());
            } else {
                self.queue.remove(&order);
            }
        }
        if is_done {
            self.forget(key);
        }
    }

    /// Gives up a lease: the task waits here no longer.
    pub(super) fn let_go(&mut self, key: &TaskAt) {
        if let Some(entry) = self.entries.get_mut(key)
            && let Some(holding) = entry.holding.take()
        {
            self.queue.remove(&holding.order);
        }
    }

    fn index_podless(&mut self, now: Millis, key: &TaskAt, is_waiting: bool) {
        if is_waiting {
            if !self.podless.contains_key(key) {
                self.podless.insert(key.clone(), now);
                self.podless_in_order.insert((now, key.clone()));
            }
        } else if let Some(since) = self.podless.remove(key) {
            self.podless_in_order.remove(&(since, key.clone()));
        }
    }

    fn forget(&mut self, key: &TaskAt) {
        if let Some(entry) = self.entries.remove(key)
            && let Some(name) = entry.name
            && self.names.get(&name) == Some(key)
        {
            self.names.remove(&name);
        }
    }

    /// Whether any task here is ours or runs.
    pub(super) fn is_busy(&self) -> bool {
        !self.queue.is_empty()
            || !self.live.is_empty()
            || self.entries.values().any(|e| e.holding.is_some() || e.standing == Standing::Started)
    }
}

fn pods_of<'a>(pods: &'a BTreeMap<Uid, Pod>, entry: &'a Entry) -> impl Iterator<Item = &'a Pod> {
    entry.pods.iter().filter_map(|uid| pods.get(uid))
}

fn is_over(pods: &BTreeMap<Uid, Pod>, entry: &Entry, job: &Job) -> bool {
    let mut pods = pods_of(pods, entry).filter(|pod| pod.job_uid == job.uid).peekable();
    if job.end.is_some() {
        return !pods.any(is_running);
    }
    pods.peek().is_some() && pods.all(Pod::is_proved_over)
}

/// Whether a container of a pod runs.
fn is_running(pod: &Pod) -> bool {
    pod.worker == Container::Running || pod.runner == Container::Running
}

fn set_member(set: &mut BTreeSet<TaskAt>, key: &TaskAt, is_member: bool) {
    if is_member {
        if !set.contains(key) {
            set.insert(key.clone());
        }
    } else {
        set.remove(key);
    }
}
