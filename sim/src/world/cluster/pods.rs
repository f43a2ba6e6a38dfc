//! Pods as the API server has them, and beside each what its kubelet knows; how they come, are deleted, and
//! go.
//!
//! The two sides differ whenever the kubelet can't write or has not yet. It must never take one for the
//! other.

use std::sync::Arc;

use scalr_core::{
    clock::Millis,
    cluster::{Container, Disruption, JobSpec, Pod, PodName, PodTrouble, TroubleKind, Uid, Version},
};

use super::{
    super::setup::TaskNumber,
    ClusterModel,
    alphabet::{Internal, JobKey, NodeKey, PodKey, Role},
    api_server::message_of,
    quantity::Room,
    turn::{Timer, Turn},
    weather::Target,
};
use crate::luck::Purpose;

const COLLECT_UNSCHEDULED: Purpose = Purpose::named("collect unscheduled");

/// How often pods that are deleted and were never scheduled are collected: Kubernetes' own.
const POD_GC_MS: u64 = 20_000;

/// A pod's phase as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    /// Not all of its containers have begun.
    Pending,
    /// They have.
    Running,
    /// All have ended with 0.
    Succeeded,
    /// All have ended, or somebody says so.
    Failed,
}

impl Phase {
    /// Whether it is over, as somebody said.
    pub(super) fn is_over(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Succeeded | Self::Failed => true,
        }
    }
}

/// How far a kubelet is with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Stage {
    /// It has not seen it.
    Unseen,
    /// Volumes are to be mounted.
    Mounting,
    /// Images are to be there.
    Pulling,
    /// Containers are to be made, the first of them the init container.
    Creating,
    /// They run, or one of them does.
    Running,
    /// Nothing of it runs any more.
    Ended,
}

/// What a kubelet knows of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Local {
    pub(super) stage: Stage,
    pub(super) worker: Container,
    pub(super) runner: Container,
    pub(super) trouble: Option<TroubleKind>,
    /// How often the stage was tried.
    pub(super) tries: u32,
    /// When its containers are killed, once it is stopping.
    pub(super) killed_at: Option<Millis>,
    /// The kubelet has rejected or evicted it.
    pub(super) is_failed: bool,
    pub(super) disruption: Option<Disruption>,
    /// How often it has written.
    pub(super) reports: u32,
    /// What it knows at last is written.
    pub(super) is_final_written: bool,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            stage: Stage::Unseen,
            worker: Container::Waiting,
            runner: Container::Waiting,
            trouble: None,
            tries: 0,
            killed_at: None,
            is_failed: false,
            disruption: None,
            reports: 0,
            is_final_written: false,
        }
    }
}

impl Local {
    pub(super) fn container(&self, role: Role) -> &Container {
        match role {
            Role::Worker => &self.worker,
            Role::Runner => &self.runner,
        }
    }

    pub(super) fn container_mut(&mut self, role: Role) -> &mut Container {
        match role {
            Role::Worker => &mut self.worker,
            Role::Runner => &mut self.runner,
        }
    }

    /// Which of its containers run.
    pub(super) fn running(&self) -> impl Iterator<Item = Role> + use<> {
        let (worker, runner) = (self.worker == Container::Running, self.runner == Container::Running);
        Role::ALL.into_iter().filter(move |role| match role {
            Role::Worker => worker,
            Role::Runner => runner,
        })
    }
}

/// A pod, as long as it is stored or anything of it runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PodRecord {
    /// As it is stored.
    pub(super) view: Pod,
    pub(super) phase: Phase,
    pub(super) job: JobKey,
    pub(super) spec: Arc<JobSpec>,
    pub(super) room: Room,
    pub(super) number: Option<TaskNumber>,
    /// The object of its draws, and its attempt.
    pub(super) luck: u64,
    pub(super) nth: u64,
    /// Whether the API server has it.
    pub(super) is_stored: bool,
    /// Whether the Job controller has not counted it.
    pub(super) has_finalizer: bool,
    /// Whether its kubelet, or who stands for it, is done with it.
    pub(super) is_released: bool,
    /// How long its processes get, once it is deleted.
    pub(super) grace_ms: u64,
    pub(super) node: Option<NodeKey>,
    pub(super) local: Local,
    pub(super) hear: Timer,
    pub(super) kubelet: Timer,
    pub(super) report: Timer,
    pub(super) grace: Timer,
    pub(super) collect: Timer,
}

impl PodRecord {
    pub(super) fn target(&self, key: PodKey) -> Target {
        Target { key, number: self.number }
    }

    /// The attempt for a draw that is thrown more than once.
    pub(super) fn attempt(&self, tries: u32) -> u64 {
        self.nth << 16 | u64::from(tries)
    }

    /// Whether what its kubelet knows is written.
    pub(super) fn is_told(&self) -> bool {
        let has_told = self.local.stage != Stage::Ended || self.local.is_final_written;
        let trouble = self.view.trouble.as_ref().map(|trouble| trouble.kind);
        has_told
            && self.view.worker == self.local.worker
            && self.view.runner == self.local.runner
            && (trouble == self.local.trouble || self.phase.is_over())
    }

    /// Whether it counts against its node and the quota.
    pub(super) fn is_active(&self) -> bool {
        self.is_stored && !self.phase.is_over()
    }
}

impl ClusterModel {
    /// Stores the next pod of a Job, for the scheduler to find.
    pub(super) fn make_pod(&mut self, turn: &mut Turn<'_>, job_key: JobKey) {
        let grace_ms = self.setup.pod.grace_ms;
        self.last_pod += 1;
        let key = PodKey(self.last_pod);
        let Some(job) = self.jobs.get_mut(&job_key) else { return };
        job.pods.insert(key);
        let nth = job.pods_made();
        let view = Pod {
            name: PodName::from(format!("{}-{key}", job.view.name).as_str()),
            uid: Uid::from(format!("{key}").as_str()),
            version: Version(0),
            job: job.view.name.clone(),
            job_uid: job.view.uid.clone(),
            task: job.spec.task.clone(),
            fence: job.spec.fence,
            is_deleting: false,
            node: None,
            trouble: None,
            worker: Container::Waiting,
            runner: Container::Waiting,
            disruption: None,
        };
        let pod = PodRecord {
            view,
            phase: Phase::Pending,
            job: job_key,
            spec: Arc::clone(&job.spec),
            room: job.room,
            number: job.number,
            luck: job.luck,
            nth,
            is_stored: true,
            has_finalizer: true,
            is_released: false,
            grace_ms,
            node: None,
            local: Local::default(),
            hear: Timer::default(),
            kubelet: Timer::default(),
            report: Timer::default(),
            grace: Timer::default(),
            collect: Timer::default(),
        };
        self.pods.insert(key, Box::new(pod));
        self.active_pods += 1;
        self.api.ledger.pods += 1;
        self.write_pod(turn, key, false);
        self.enqueue(turn, key);
    }

    /// Deletes a pod, with its own grace or another. Its kubelet hears of it; one that was never scheduled
    /// has none.
    pub(super) fn delete_pod(
        &mut self,
        turn: &mut Turn<'_>,
        key: PodKey,
        why: Disruption,
        grace_ms: Option<u64>,
    ) {
        let Some(pod) = self.pods.get_mut(&key).filter(|pod| pod.is_stored) else { return };
        let grace_ms = grace_ms.unwrap_or(pod.grace_ms);
        let is_sooner = grace_ms < pod.grace_ms;
        if pod.view.is_deleting && !is_sooner {
            return;
        }
        pod.grace_ms = grace_ms;
        if !pod.view.is_deleting {
            pod.view.is_deleting = true;
            if !pod.phase.is_over() {
                pod.view.disruption.get_or_insert(why);
            }
        }
        // The API server waits for no kubelet where there is none, where all is over as it says, and where
        // it is told not to.
        if pod.node.is_none() || pod.phase.is_over() || grace_ms == 0 {
            pod.is_released = true;
        }
        let is_unscheduled = pod.node.is_none();
        let luck = pod.luck;
        let nth = pod.nth;
        if is_unscheduled && pod.has_finalizer {
            let span = crate::luck::Span::Even { min: 1, max: POD_GC_MS };
            let after_ms = turn.span(COLLECT_UNSCHEDULED, luck, nth, &span);
            pod.collect.set_by(turn, turn.now + after_ms, Internal::Collect(key));
        }
        self.dequeue(key);
        self.write_pod(turn, key, false);
        self.kubelet_hears(turn, key);
        self.try_remove_pod(turn, key);
    }

    /// Garbage collection has come to a pod: its Job or its node is gone, or it was deleted before it was
    /// scheduled.
    pub(super) fn collect_pod(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(pod) = self.pods.get_mut(&key) else { return };
        if !pod.collect.ring(turn.now) || !pod.is_stored {
            return;
        }
        let is_node_gone = pod.node.is_some_and(|node| !self.nodes.contains_key(&node));
        let is_unscheduled = pod.view.is_deleting && pod.node.is_none();
        // Of a Job that goes or is gone nobody counts the pods.
        let is_counted = self.jobs.get(&pod.job).is_some_and(|job| !job.view.is_deleting);
        if !is_counted {
            pod.has_finalizer = false;
            self.delete_pod(turn, key, Disruption::Deleted, None);
        } else if is_unscheduled {
            self.set_phase(turn, key, Phase::Failed);
            self.write_pod(turn, key, false);
        }
        if is_node_gone {
            self.collect_orphan(turn, key);
        }
        self.try_remove_pod(turn, key);
    }

    /// A stored pod is in another phase now.
    pub(super) fn set_phase(&mut self, turn: &mut Turn<'_>, key: PodKey, phase: Phase) {
        let Some(pod) = self.pods.get_mut(&key) else { return };
        let was_active = pod.is_active();
        pod.phase = phase;
        let (is_active, job) = (pod.is_active(), pod.job);
        if phase.is_over() {
            pod.view.trouble = None;
        }
        if was_active && !is_active {
            self.active_pods -= 1;
            self.unbook(turn, key);
            self.dequeue(key);
        }
        if phase.is_over() {
            self.sync_job_soon(turn, job, true);
        }
    }

    /// What keeps a stored pod from starting is this now.
    pub(super) fn set_trouble(&mut self, turn: &mut Turn<'_>, key: PodKey, kind: TroubleKind) {
        let Some(pod) = self.pods.get_mut(&key) else { return };
        if pod.view.trouble.as_ref().is_none_or(|trouble| trouble.kind != kind) {
            pod.view.trouble = Some(PodTrouble { kind, message: message_of(kind).to_owned() });
            self.write_pod(turn, key, false);
        }
    }

    /// A deleted pod goes, if nothing keeps it.
    pub(super) fn try_remove_pod(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(pod) = self.pods.get(&key) else { return };
        if pod.is_stored && pod.view.is_deleting && pod.is_released && !pod.has_finalizer {
            let was_active = pod.is_active();
            self.write_pod(turn, key, true);
            if let Some(pod) = self.pods.get_mut(&key) {
                pod.is_stored = false;
                pod.collect.clear();
                let job_key = pod.job;
                let node = pod.node;
                if was_active {
                    self.active_pods -= 1;
                    self.unbook(turn, key);
                }
                if let Some(node) = node.and_then(|node| self.nodes.get_mut(&node)) {
                    node.pods.remove(&key);
                }
                if let Some(job) = self.jobs.get_mut(&job_key) {
                    job.pods.remove(&key);
                }
                self.try_remove_job(turn, job_key);
                self.kubelet_hears(turn, key);
            }
        }
        self.forget_pod(key);
    }

    /// Forgets a pod of which nothing is left anywhere.
    pub(super) fn forget_pod(&mut self, key: PodKey) {
        let Some(pod) = self.pods.get(&key) else { return };
        if !pod.is_stored && pod.local.running().next().is_none() {
            let node = pod.node;
            self.pods.remove(&key);
            self.volumes.detach(key);
            if let Some(key_of_node) = node
                && let Some(node) = self.nodes.get_mut(&key_of_node)
            {
                node.local.remove(&key);
                self.forget_node(key_of_node);
            }
        }
    }
}
