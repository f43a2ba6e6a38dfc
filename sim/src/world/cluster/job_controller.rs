//! The Job controller with its neighbours, garbage collection and the TTL controller: one pod for each Job,
//! another when the rules say so, the end, and what comes after it.
//!
//! It sees only what is stored, and late. As Kubernetes does it with `podReplacementPolicy: Failed`, a Job
//! gets its next pod only once the last is `Failed` by somebody's word: its kubelet's, or that of the
//! collector of pods whose node is gone, though its containers may still run. It must never know more.

use std::{collections::BTreeSet, sync::Arc};

use scalr_core::{
    clock::Millis,
    cluster::{Container, Disruption, Job, JobEnd, JobSpec, Uid, Version},
};

use super::{
    super::setup::TaskNumber,
    ClusterModel,
    alphabet::{Internal, JobKey, PodKey},
    pods::Phase,
    quantity::Room,
    turn::{Timer, Turn},
};
use crate::luck::Purpose;

const JOB_SYNC: Purpose = Purpose::named("job sync");
const POD_SYNC: Purpose = Purpose::named("pod sync");
const COLLECT: Purpose = Purpose::named("collect");

/// The longest wait between two pods of a Job, and between two tries to make one: Kubernetes' own.
const BACKOFF_MS_MAX: u64 = 600_000;
const QUOTA_RETRY_MS: u64 = 1_000;
const QUOTA_RETRY_MS_MAX: u64 = 60_000;

/// A Job as the API server and the Job controller have it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct JobRecord {
    pub(super) view: Job,
    pub(super) spec: Arc<JobSpec>,
    pub(super) room: Room,
    /// Whether it carries our labels: others' Jobs only hold a name, and have no pods here.
    pub(super) is_ours: bool,
    pub(super) number: Option<TaskNumber>,
    /// The object of its draws.
    pub(super) luck: u64,
    /// Its pods that are stored.
    pub(super) pods: BTreeSet<PodKey>,
    made: u32,
    failed: u32,
    is_succeeded: bool,
    /// Why it is failing: it has failed once no pod is left.
    failing: Option<&'static str>,
    not_before: Millis,
    quota_tries: u32,
    /// Whether its pods go first when it is deleted.
    is_foreground: bool,
    /// A finalizer of somebody's keeps it until then.
    pub(super) kept_until: Millis,
    sync: Timer,
    pub(super) expire: Timer,
}

impl JobRecord {
    /// How many pods it ever had.
    pub(super) fn pods_made(&self) -> u64 {
        u64::from(self.made)
    }
}

impl ClusterModel {
    /// Stores a Job.
    pub(super) fn make_job(
        &mut self,
        turn: &mut Turn<'_>,
        spec: &Arc<JobSpec>,
        room: Room,
        is_ours: bool,
    ) -> JobKey {
        self.last_job += 1;
        let key = JobKey(self.last_job);
        let number = self.number_of(&spec.task);
        let view = Job {
            name: spec.name.clone(),
            uid: Uid::from(format!("j{}", key.0).as_str()),
            version: Version(0),
            task: spec.task.clone(),
            fence: spec.fence,
            is_deleting: false,
            end: None,
            trouble: None,
        };
        let job = JobRecord {
            view,
            spec: Arc::clone(spec),
            room,
            is_ours,
            number,
            luck: self.task_luck(spec),
            pods: BTreeSet::new(),
            made: 0,
            failed: 0,
            is_succeeded: false,
            failing: None,
            not_before: Millis(0),
            quota_tries: 0,
            is_foreground: false,
            kept_until: Millis(0),
            sync: Timer::default(),
            expire: Timer::default(),
        };
        self.names.insert(spec.name.clone(), key);
        self.jobs.insert(key, Box::new(job));
        self.write_job(turn, key, false);
        if is_ours {
            self.sync_job_soon(turn, key, false);
            if let Some(deadline_ms) = self.setup.job.active_deadline_ms
                && let Some(job) = self.jobs.get_mut(&key)
            {
                job.expire.set(turn, turn.now + deadline_ms, Internal::Expire(key));
            }
        }
        key
    }

    /// The Job controller hears of a Job, or of its pods.
    pub(super) fn sync_job_soon(&mut self, turn: &mut Turn<'_>, key: JobKey, is_about_pods: bool) {
        let control = &self.setup.control;
        let Some(job) = self.jobs.get_mut(&key).filter(|job| job.is_ours) else { return };
        let attempt = u64::from(job.made);
        let after_ms = if is_about_pods {
            turn.span(POD_SYNC, job.luck, attempt, &control.pod_sync)
        } else {
            turn.span(JOB_SYNC, job.luck, attempt, &control.job_sync)
        };
        job.sync.set_by(turn, turn.now + after_ms, Internal::Sync(key));
    }

    /// The Job controller looks at a Job.
    pub(super) fn sync_job(&mut self, turn: &mut Turn<'_>, key: JobKey) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        if !job.sync.ring(turn.now) {
            return;
        }
        self.count_pods(turn, key);
        let Some(job) = self.jobs.get(&key) else { return };
        if job.view.is_deleting || job.view.end.is_some() {
            return;
        }
        if let Some(reason) = job.failing {
            let pods = job.pods.clone();
            let mut is_over = true;
            for pod in pods {
                if self.pods.get(&pod).is_some_and(|pod| !pod.phase.is_over()) {
                    is_over = false;
                    self.delete_pod(turn, pod, Disruption::Deleted, None);
                }
            }
            if is_over {
                self.finish_job(turn, key, JobEnd::Failed { reason: reason.to_owned() });
            }
        } else if job.is_succeeded {
            self.finish_job(turn, key, JobEnd::Complete);
        } else if !job.pods.iter().any(|pod| self.pods.get(pod).is_some_and(|pod| !pod.phase.is_over())) {
            self.next_pod(turn, key);
        }
    }

    /// Counts the pods that are over, and lets go of them.
    fn count_pods(&mut self, turn: &mut Turn<'_>, key: JobKey) {
        let (limit, has_policy) = (self.setup.job.backoff_limit, self.setup.job.has_failure_policy);
        let backoff_ms = self.setup.control.pod_backoff_ms;
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let mut over = Vec::new();
        for pod_key in &job.pods {
            let Some(pod) = self.pods.get_mut(pod_key) else { continue };
            if !pod.phase.is_over() || !pod.has_finalizer {
                continue;
            }
            pod.has_finalizer = false;
            over.push(*pod_key);
            if pod.phase == Phase::Succeeded {
                job.is_succeeded = true;
                continue;
            }
            let exits = [&pod.view.worker, &pod.view.runner];
            let is_exit = |container: &&Container| match container {
                Container::Terminated { exit_code, .. } => *exit_code != 0,
                Container::Waiting | Container::Running => false,
            };
            // The rules in their order: an exit code that is not 0 comes before a disruption.
            if has_policy && exits.iter().any(is_exit) {
                job.failing.get_or_insert("PodFailurePolicy");
            } else if !(has_policy && pod.view.disruption.is_some_and(|why| why != Disruption::Deleted)) {
                job.failed += 1;
            }
            let wait_ms = backoff_ms.saturating_mul(1 << job.made.saturating_sub(1).min(16));
            job.not_before = turn.now + wait_ms.min(BACKOFF_MS_MAX);
        }
        if job.failed > limit {
            job.failing.get_or_insert("BackoffLimitExceeded");
        }
        for pod in over {
            self.try_remove_pod(turn, pod);
        }
    }

    fn next_pod(&mut self, turn: &mut Turn<'_>, key: JobKey) {
        let pods_max = self.quota(turn.now).pods;
        let is_ending = self.weather.is_namespace_ending(turn.now);
        let is_full = pods_max.is_some_and(|max| self.active_pods >= max);
        let Some(job) = self.jobs.get_mut(&key) else { return };
        if turn.now < job.not_before {
            job.sync.set_by(turn, job.not_before, Internal::Sync(key));
            return;
        }
        if is_ending || is_full {
            let wait_ms = (QUOTA_RETRY_MS << job.quota_tries.min(6)).min(QUOTA_RETRY_MS_MAX);
            job.quota_tries += 1;
            job.sync.set_by(turn, turn.now + wait_ms, Internal::Sync(key));
            return;
        }
        job.quota_tries = 0;
        job.made += 1;
        self.make_pod(turn, key);
        // Its status says how many pods are active.
        self.write_job(turn, key, false);
    }

    fn finish_job(&mut self, turn: &mut Turn<'_>, key: JobKey, end: JobEnd) {
        let is_at_once = self.weather.is_expiring_at_once(turn.now);
        let ttl_ms = if is_at_once { 0 } else { self.setup.job.ttl_ms };
        let Some(job) = self.jobs.get_mut(&key) else { return };
        job.view.end = Some(end);
        job.expire.clear();
        job.expire.set(turn, turn.now + ttl_ms, Internal::Expire(key));
        self.write_job(turn, key, false);
    }

    /// A Job's time is over: as a finished one, as a live one, or as somebody's.
    pub(super) fn expire_job(&mut self, turn: &mut Turn<'_>, key: JobKey) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        if !job.expire.ring(turn.now) {
            return;
        }
        if job.view.end.is_some() || !job.is_ours {
            self.delete_job(turn, key, true);
        } else {
            job.failing.get_or_insert("DeadlineExceeded");
            self.sync_job_soon(turn, key, false);
        }
    }

    /// Deletes a Job: its pods after it, or before it.
    pub(super) fn delete_job(&mut self, turn: &mut Turn<'_>, key: JobKey, is_foreground: bool) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        if job.view.is_deleting {
            return;
        }
        job.view.is_deleting = true;
        job.is_foreground = is_foreground;
        if turn.now < job.kept_until || (is_foreground && !job.pods.is_empty()) {
            let pods = if is_foreground { job.pods.clone() } else { BTreeSet::new() };
            self.write_job(turn, key, false);
            for pod in pods {
                self.collect_soon(turn, pod);
            }
        } else {
            self.remove_job(turn, key);
        }
    }

    /// A Job that is being deleted goes, if nothing keeps it.
    pub(super) fn try_remove_job(&mut self, turn: &mut Turn<'_>, key: JobKey) {
        let Some(job) = self.jobs.get(&key).filter(|job| job.view.is_deleting) else { return };
        if turn.now >= job.kept_until && (job.pods.is_empty() || !job.is_foreground) {
            self.remove_job(turn, key);
        }
    }

    fn remove_job(&mut self, turn: &mut Turn<'_>, key: JobKey) {
        self.write_job(turn, key, true);
        let Some(job) = self.jobs.remove(&key) else { return };
        self.names.remove(&job.view.name);
        for pod in job.pods {
            self.collect_soon(turn, pod);
        }
    }

    /// Garbage collection will find a pod.
    fn collect_soon(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(pod) = self.pods.get_mut(&key) else { return };
        let after_ms = turn.span(COLLECT, pod.luck, pod.nth, &self.setup.control.collect);
        pod.collect.set_by(turn, turn.now + after_ms, Internal::Collect(key));
    }

    /// The Job controller begins anew with a Job.
    pub(super) fn resume_job(&mut self, turn: &mut Turn<'_>, key: JobKey) {
        let ttl_ms = self.setup.job.ttl_ms;
        let deadline_ms = self.setup.job.active_deadline_ms;
        let Some(job) = self.jobs.get_mut(&key) else { return };
        job.sync = Timer::default();
        job.expire = Timer::default();
        let lives_ms = if job.view.end.is_some() { Some(ttl_ms) } else { deadline_ms };
        if let Some(lives_ms) = lives_ms {
            job.expire.set(turn, turn.now + lives_ms, Internal::Expire(key));
        }
        let pods = if job.view.is_deleting { job.pods.clone() } else { BTreeSet::new() };
        for pod in pods {
            self.collect_soon(turn, pod);
        }
        self.sync_job_soon(turn, key, false);
    }

    /// A stored pod whose Job or node is gone is found sooner or later.
    pub(super) fn collect_if_orphaned(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let is_orphan = |pod: &super::pods::PodRecord| {
            let is_node_gone = pod.node.is_some_and(|node| !self.nodes.contains_key(&node));
            pod.is_stored && (is_node_gone || !self.jobs.contains_key(&pod.job))
        };
        if self.pods.get(&key).is_some_and(|pod| is_orphan(pod)) {
            self.collect_soon(turn, key);
        }
    }

    /// What is kept by somebody's finalizer goes when that is gone.
    pub(super) fn release_jobs(&mut self, turn: &mut Turn<'_>) {
        let waiting = |job: &JobRecord| job.view.is_deleting;
        for key in self.jobs_of(waiting) {
            self.try_remove_job(turn, key);
        }
    }
}
