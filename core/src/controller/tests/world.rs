//! A small world for the properties: a Scalr and a cluster that keep their contracts, with the truth in
//! plain sight. The simulator has a better one; this one is here so that a mistake is found next door.

use std::collections::{BTreeMap, BTreeSet};

use scalr_protocol::{
    agent::{Acquire, Acquired, Heartbeat, HeartbeatAnswer, TaskAt, TaskVerdict, Verdict},
    id::{Fence, TaskId},
};

use super::story::grant;
use crate::{
    clock::Millis,
    cluster::{
        ClusterError, Container, Job, JobEnd, JobSpec, Kind, Listing, Object, Pod, Uid, Version, WatchEvent,
    },
    scalr::Door,
};

/// `SplitMix64`.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        let at = self.roll(from.len() as u64);
        from.get(usize::try_from(at).unwrap()).cloned()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Queued,
    Leased {
        until: Millis,
    },
    Claimed {
        until: Millis,
    },
    Started,
    /// Terminal, and whether it was confirmed.
    Over {
        was_started: bool,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) fence: Fence,
    pub(super) state: State,
    pub(super) failures: u32,
    /// When it counts as lost.
    lost_at: Option<Millis>,
}

/// Scalr, as far as a controller can tell.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) tasks: BTreeMap<TaskId, Task>,
    /// The session that is good; nobody has one at first.
    pub(super) session: Option<u32>,
}

impl Server {
    pub(super) fn submit(&mut self, task: &TaskId) {
        let queued = Task { fence: Fence(0), state: State::Queued, failures: 0, lost_at: None };
        self.tasks.insert(task.clone(), queued);
    }

    /// Leases lapse, claims expire, workers that say nothing are lost.
    pub(super) fn tick(&mut self, now: Millis) {
        for task in self.tasks.values_mut() {
            match task.state {
                State::Leased { until } if until <= now => task.state = State::Queued,
                State::Claimed { until } if until <= now => task.reject(true),
                State::Started if task.lost_at.is_some_and(|at| at <= now) => {
                    task.state = State::Over { was_started: true };
                }
                State::Queued
                | State::Leased { .. }
                | State::Claimed { .. }
                | State::Started
                | State::Over { .. } => {}
            }
        }
    }

    pub(super) fn acquire(&mut self, now: Millis, request: &Acquire) -> Acquired {
        let room = (request.slots + request.ahead) as usize;
        let mut tasks = Vec::new();
        for (id, task) in self.tasks.iter_mut().filter(|(_, task)| task.state == State::Queued).take(room) {
            task.fence = task.fence.next();
            task.state = State::Leased { until: now + 60_000 };
            tasks.push(grant(&format!("{id}@{}", task.fence)));
        }
        Acquired { tasks }
    }

    pub(super) fn heartbeat(&mut self, now: Millis, request: &Heartbeat, wanted: u32) -> HeartbeatAnswer {
        let verdicts = request.tasks.iter().map(|named| self.judge(now, named)).collect();
        HeartbeatAnswer { wanted, verdicts }
    }

    fn judge(&mut self, now: Millis, named: &TaskAt) -> TaskVerdict {
        let verdict = match self.tasks.get_mut(&named.id) {
            None => Verdict::Stale,
            Some(task) if named.fence < task.fence => Verdict::Stale,
            Some(task) => match task.state {
                State::Over { was_started: false } => Verdict::Dead,
                State::Over { was_started: true } => Verdict::Ended,
                State::Started => Verdict::Started,
                State::Claimed { .. } => Verdict::Claimed,
                State::Queued | State::Leased { .. } => {
                    task.state = State::Leased { until: now + 60_000 };
                    Verdict::Held
                }
            },
        };
        let ttl_ms = (verdict == Verdict::Held).then_some(60_000);
        TaskVerdict { id: named.id.clone(), fence: named.fence, verdict, ttl_ms }
    }

    /// Calls 5 and 7.
    pub(super) fn shut(&mut self, id: &TaskId, fence: Fence, is_failure: bool, is_retryable: bool) -> Door {
        let Some(task) = self.tasks.get_mut(id) else { return Door::Shut };
        if fence < task.fence {
            return Door::Shut;
        }
        match task.state {
            State::Queued | State::Leased { .. } => {
                task.reject(is_failure);
                if is_failure && !is_retryable {
                    task.state = State::Over { was_started: false };
                }
                Door::Shut
            }
            State::Over { was_started: false } => Door::Shut,
            State::Claimed { .. } => Door::Claimed,
            State::Started | State::Over { was_started: true } => Door::Started,
        }
    }

    /// Call 10. Says whether the worker may go on.
    pub(super) fn start(&mut self, now: Millis, at: &TaskAt) -> bool {
        let Some(task) = self.tasks.get_mut(&at.id).filter(|task| task.fence == at.fence) else {
            return false;
        };
        let is_open = matches!(task.state, State::Queued | State::Leased { .. });
        if is_open {
            task.state = State::Claimed { until: now + 60_000 };
        }
        is_open
    }

    /// Call 11, the first.
    pub(super) fn confirm(&mut self, at: &TaskAt) {
        if let Some(task) = self.tasks.get_mut(&at.id)
            && task.fence == at.fence
            && matches!(task.state, State::Claimed { .. })
        {
            task.state = State::Started;
        }
    }

    pub(super) fn finish(&mut self, at: &TaskAt) {
        if let Some(task) = self.tasks.get_mut(&at.id)
            && task.fence == at.fence
            && task.state == State::Started
        {
            task.state = State::Over { was_started: true };
        }
    }

    /// Nothing will be heard of its worker any more.
    pub(super) fn silence(&mut self, at: &TaskAt, lost_at: Millis) {
        if let Some(task) = self.tasks.get_mut(&at.id)
            && task.fence == at.fence
            && task.lost_at.is_none_or(|known| lost_at < known)
        {
            task.lost_at = Some(lost_at);
        }
    }

    pub(super) fn cancel(&mut self, id: &TaskId) {
        if let Some(task) = self.tasks.get_mut(id) {
            match task.state {
                State::Queued | State::Leased { .. } | State::Claimed { .. } => {
                    task.state = State::Over { was_started: false };
                }
                State::Started | State::Over { .. } => {}
            }
        }
    }

    /// The session ends: every lease may lapse.
    pub(super) fn forget_session(&mut self) {
        self.session = None;
    }
}

impl Task {
    fn reject(&mut self, is_failure: bool) {
        self.fence = self.fence.next();
        self.failures += u32::from(is_failure);
        self.state = if self.failures >= 5 { State::Over { was_started: false } } else { State::Queued };
    }
}

/// What a worker is doing, whatever its pod looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Coming,
    Claimed,
    Running,
    Done,
}

/// A namespace, its whole history and the truth about its containers.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    version: u64,
    uids: u64,
    pub(super) jobs: BTreeMap<Uid, Job>,
    pub(super) pods: BTreeMap<Uid, Pod>,
    pub(super) work: BTreeMap<Uid, Work>,
    history: Vec<(Version, Kind, WatchEvent)>,
    /// Pods whose containers have not ended, whether or not the namespace knows them.
    pub(super) really_running: BTreeSet<(TaskAt, Uid)>,
}

impl Namespace {
    fn tick(&mut self) -> Version {
        self.version += 1;
        Version(self.version)
    }

    pub(super) fn list(&self, kind: Kind) -> Listing {
        let objects = match kind {
            Kind::Jobs => self.jobs.values().cloned().map(Object::Job).collect(),
            Kind::Pods => self.pods.values().cloned().map(Object::Pod).collect(),
        };
        Listing { version: Version(self.version), objects }
    }

    /// The first event of a kind after a version.
    pub(super) fn next_event(&self, kind: Kind, after: Version) -> Option<(Version, WatchEvent)> {
        let at = self.history.partition_point(|(version, ..)| *version <= after);
        let mut later = self.history.iter().skip(at);
        later.find(|(_, of, _)| *of == kind).map(|(version, _, event)| (*version, event.clone()))
    }

    pub(super) fn create(&mut self, spec: &JobSpec) -> Result<Job, ClusterError> {
        if let Some(job) = self.jobs.values().find(|job| job.name == spec.name) {
            return if job.task != spec.task || job.fence != spec.fence {
                Err(ClusterError::NameTaken)
            } else if job.is_deleting || job.end.is_some() {
                Err(ClusterError::Over)
            } else {
                Ok(job.clone())
            };
        }
        self.uids += 1;
        let job = Job {
            name: spec.name.clone(),
            uid: format!("uid-{}", self.uids).as_str().into(),
            version: self.tick(),
            task: spec.task.clone(),
            fence: spec.fence,
            is_deleting: false,
            end: None,
            trouble: None,
        };
        self.put_job(job.clone());
        Ok(job)
    }

    fn put_job(&mut self, job: Job) {
        self.history.push((job.version, Kind::Jobs, WatchEvent::Seen(Object::Job(job.clone()))));
        self.jobs.insert(job.uid.clone(), job);
    }

    fn put_pod(&mut self, pod: Pod) {
        self.history.push((pod.version, Kind::Pods, WatchEvent::Seen(Object::Pod(pod.clone()))));
        self.pods.insert(pod.uid.clone(), pod);
    }

    pub(super) fn change_job(&mut self, uid: &Uid, change: impl FnOnce(&mut Job)) {
        if let Some(mut job) = self.jobs.get(uid).cloned() {
            change(&mut job);
            job.version = self.tick();
            self.put_job(job);
        }
    }

    pub(super) fn change_pod(&mut self, uid: &Uid, change: impl FnOnce(&mut Pod)) {
        if let Some(mut pod) = self.pods.get(uid).cloned() {
            change(&mut pod);
            pod.version = self.tick();
            self.put_pod(pod);
        }
    }

    /// The Job controller makes a Job's pod.
    pub(super) fn make_pod(&mut self, job: &Job) {
        self.uids += 1;
        let uid: Uid = format!("uid-{}", self.uids).as_str().into();
        let pod = Pod {
            name: format!("{}-{}", job.name, self.uids).as_str().into(),
            uid: uid.clone(),
            version: self.tick(),
            job: job.name.clone(),
            job_uid: job.uid.clone(),
            task: job.task.clone(),
            fence: job.fence,
            is_deleting: false,
            node: None,
            trouble: None,
            worker: Container::Waiting,
            runner: Container::Waiting,
            disruption: None,
        };
        self.work.insert(uid, Work::Coming);
        self.put_pod(pod);
    }

    /// Both containers of a pod end, and its Job with it.
    pub(super) fn end_pod(&mut self, uid: &Uid, exit_code: i32, is_oom: bool) {
        let Some(pod) = self.pods.get(uid).cloned() else { return };
        self.work.insert(uid.clone(), Work::Done);
        self.really_running.remove(&(TaskAt { id: pod.task, fence: pod.fence }, uid.clone()));
        let ended = Container::Terminated { exit_code, is_oom };
        self.change_pod(uid, |pod| {
            pod.worker = ended.clone();
            pod.runner = ended;
        });
        let end = match exit_code {
            0 => JobEnd::Complete,
            _ => JobEnd::Failed { reason: "PodFailurePolicy".to_owned() },
        };
        self.change_job(&pod.job_uid, |job| job.end = Some(end));
    }

    /// A Job and its pods go away; whatever ran is killed, unless its node is cut off.
    pub(super) fn remove_job(&mut self, uid: &Uid, is_cut_off: bool) {
        let Some(mut job) = self.jobs.remove(uid) else { return };
        job.version = self.tick();
        self.history.push((job.version, Kind::Jobs, WatchEvent::Gone(Object::Job(job))));
        let pods: Vec<Uid> =
            self.pods.values().filter(|p| p.job_uid == *uid).map(|p| p.uid.clone()).collect();
        for uid in pods {
            self.remove_pod(&uid, is_cut_off);
        }
    }

    pub(super) fn remove_pod(&mut self, uid: &Uid, is_cut_off: bool) {
        let Some(mut pod) = self.pods.remove(uid) else { return };
        pod.version = self.tick();
        if !is_cut_off {
            self.work.insert(uid.clone(), Work::Done);
            self.really_running.remove(&(TaskAt { id: pod.task.clone(), fence: pod.fence }, uid.clone()));
        }
        self.history.push((pod.version, Kind::Pods, WatchEvent::Gone(Object::Pod(pod))));
    }

    /// Jobs that are not over, in truth.
    pub(super) fn live(&self) -> usize {
        self.jobs.values().filter(|job| job.end.is_none()).count()
    }
}
