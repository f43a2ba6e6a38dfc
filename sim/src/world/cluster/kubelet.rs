//! Kubelets: from a pod that is bound to processes that run, and from processes that have ended to what is
//! written about them.
//!
//! A kubelet that is away does nothing, and its containers go on; one that is cut off goes on with what runs
//! and writes nothing. It must never write what it does not know, nor begin a container twice.

use scalr_core::cluster::{Container, Disruption, TroubleKind};

use super::{
    ClusterModel,
    alphabet::{Internal, NodeKey, PodKey, Reaction, Role},
    fault::ImageTrouble,
    nodes::NodeRecord,
    pods::{Phase, Stage},
    quantity::Room,
    turn::Turn,
};
use crate::luck::Purpose;

const SEE: Purpose = Purpose::named("kubelet sees");
const MOUNT: Purpose = Purpose::named("mount");
const PULL: Purpose = Purpose::named("pull");
const INIT: Purpose = Purpose::named("init container");
const STATUS: Purpose = Purpose::named("status");
const CLEANUP: Purpose = Purpose::named("cleanup");

/// How long a kubelet waits before it tries something again: it doubles. Kubernetes' own.
const RETRY_MS: u64 = 10_000;
const RETRY_MS_MAX: u64 = 300_000;
/// What is left running of pods that a kubelet does not know after its restart gets a second.
const STRANGER_GRACE_MS: u64 = 1_000;

impl ClusterModel {
    /// The API server has something new about a pod for its kubelet.
    pub(super) fn kubelet_hears(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let see = &self.setup.kubelet.see;
        let Some(pod) = self.pods.get_mut(&key) else { return };
        let Some(node) = pod.node.and_then(|node| self.nodes.get(&node)) else { return };
        if node.is_heard() {
            let after_ms = turn.span(SEE, pod.luck, pod.attempt(0), see);
            pod.hear.set_by(turn, turn.now + after_ms, Internal::Kubelet(key));
        }
    }

    /// A kubelet works again, or is heard again.
    pub(super) fn kubelet_resumes(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let Some(node) = self.nodes.get(&key) else { return };
        let (here, bound) = (node.local.clone(), node.pods.clone());
        for pod_key in here.union(&bound) {
            self.kubelet_hears(turn, *pod_key);
            self.report_soon(turn, *pod_key);
            let Some(pod) = self.pods.get_mut(pod_key) else { continue };
            if let Some(at) = pod.local.killed_at {
                pod.grace.set(turn, at.max(turn.now), Internal::Grace(*pod_key));
            }
            let is_waiting = pod.local.stage > Stage::Unseen && pod.local.stage != Stage::Running;
            if is_waiting && !pod.kubelet.is_set() {
                pod.kubelet.set(turn, turn.now, Internal::Kubelet(*pod_key));
            }
        }
    }

    /// A kubelet goes on with a pod.
    pub(super) fn kubelet_due(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(pod) = self.pods.get_mut(&key) else { return };
        let (has_heard, is_due) = (pod.hear.ring(turn.now), pod.kubelet.ring(turn.now));
        let Some(node) = pod.node.and_then(|node| self.nodes.get(&node)) else { return };
        if !node.is_heard() {
            // It takes up again what it left.
            return;
        }
        if has_heard {
            self.kubelet_sees(turn, key);
        }
        if is_due {
            self.kubelet_goes_on(turn, key);
        }
    }

    /// A kubelet looks at what the API server has.
    fn kubelet_sees(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(pod) = self.pods.get(&key) else { return };
        if !pod.is_stored || pod.view.is_deleting || pod.phase.is_over() {
            let grace_ms = if pod.is_stored { pod.grace_ms } else { pod.grace_ms.max(STRANGER_GRACE_MS) };
            self.stop_pod(turn, key, grace_ms);
        } else if pod.local.stage == Stage::Unseen {
            self.admit(turn, key);
        }
    }

    /// A kubelet sees a pod for the first time.
    fn admit(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(node_key) = self.pods.get(&key).and_then(|pod| pod.node) else { return };
        let used = self.used_on(node_key);
        let (Some(pod), Some(node)) = (self.pods.get_mut(&key), self.nodes.get_mut(&node_key)) else {
            return;
        };
        node.local.insert(key);
        if !pod.room.plus(used).fits(node.real) {
            // `OutOfcpu`: from now on the node says what it has.
            node.room = node.real;
            pod.local.stage = Stage::Ended;
            pod.local.is_failed = true;
            self.reindex(turn, node_key);
            self.report_soon(turn, key);
            return;
        }
        self.go_to(turn, key, Stage::Mounting);
    }

    /// What the pods that a kubelet has admitted ask for.
    fn used_on(&self, node: NodeKey) -> Room {
        let Some(node) = self.nodes.get(&node) else { return Room::default() };
        let pods = node.local.iter().filter_map(|pod| self.pods.get(pod));
        let pods = pods.filter(|pod| pod.is_stored && pod.local.stage != Stage::Ended);
        pods.fold(node.others, |sum, pod| sum.plus(pod.room))
    }

    /// What was in progress with a pod is done, or is to be tried again.
    fn kubelet_goes_on(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(pod) = self.pods.get(&key) else { return };
        let is_retry = pod.local.trouble.is_some();
        let stage = pod.local.stage;
        match (stage, is_retry) {
            (Stage::Mounting | Stage::Pulling | Stage::Creating, true) => self.go_to(turn, key, stage),
            (Stage::Mounting, false) => self.go_to(turn, key, Stage::Pulling),
            (Stage::Pulling, false) => {
                if let Some(node) = pod.node.and_then(|node| self.nodes.get_mut(&node)) {
                    node.has_images = true;
                }
                self.go_to(turn, key, Stage::Creating);
            }
            (Stage::Creating, false) => self.start_containers(turn, key),
            (Stage::Ended, _) => self.clean_up(turn, key),
            (Stage::Unseen | Stage::Running, _) => {}
        }
    }

    /// Begins a stage, unless something is in its way.
    fn go_to(&mut self, turn: &mut Turn<'_>, key: PodKey, stage: Stage) {
        let trouble = self.trouble_at(turn, key, stage);
        let takes_ms = self.stage_ms(turn, key, stage);
        let Some(pod) = self.pods.get_mut(&key) else { return };
        if pod.local.stage != stage {
            pod.local.stage = stage;
            pod.local.tries = 0;
        }
        let was = std::mem::replace(&mut pod.local.trouble, trouble);
        let node_key = pod.node;
        let after_ms = if trouble.is_some() {
            let retry_ms = (RETRY_MS << pod.local.tries.min(6)).min(RETRY_MS_MAX);
            pod.local.tries += 1;
            retry_ms
        } else {
            takes_ms
        };
        pod.kubelet.set(turn, turn.now + after_ms, Internal::Kubelet(key));
        if was != trouble {
            self.report_soon(turn, key);
        }
        if stage == Stage::Mounting
            && trouble.is_none()
            && let Some(node_key) = node_key
            && let Some(node) = self.nodes.get(&node_key)
        {
            self.volumes.attach(key, node_key, node.zone);
        }
    }

    /// What is in the way of a stage.
    fn trouble_at(&self, turn: &Turn<'_>, key: PodKey, stage: Stage) -> Option<TroubleKind> {
        let pod = self.pods.get(&key)?;
        let target = pod.target(key);
        match stage {
            Stage::Mounting => {
                let is_failing = self.weather.is_mount_failing(turn.now, target)
                    || !self.volumes.can_attach(turn.now, &self.weather, pod.node?);
                is_failing.then_some(TroubleKind::Volume)
            }
            Stage::Pulling => match self.weather.image(turn.now, target)? {
                ImageTrouble::Slow { .. } => None,
                ImageTrouble::Refused => {
                    let has_images = self.nodes.get(&pod.node?).is_some_and(|node| node.has_images);
                    (!has_images).then_some(TroubleKind::ImagePull)
                }
                ImageTrouble::Invalid => Some(TroubleKind::ImageInvalid),
            },
            Stage::Creating => {
                self.weather.is_create_failing(turn.now, target).then_some(TroubleKind::ContainerCreate)
            }
            Stage::Unseen | Stage::Running | Stage::Ended => None,
        }
    }

    /// How long a stage takes.
    fn stage_ms(&self, turn: &Turn<'_>, key: PodKey, stage: Stage) -> u64 {
        let Some(pod) = self.pods.get(&key) else { return 0 };
        let setup = &self.setup.kubelet;
        let span = |purpose, span| turn.span(purpose, pod.luck, pod.attempt(0), span);
        match stage {
            Stage::Mounting => span(MOUNT, &setup.mount),
            Stage::Pulling => {
                let has_images =
                    pod.node.and_then(|node| self.nodes.get(&node)).is_some_and(|node| node.has_images);
                let slow_ms = match self.weather.image(turn.now, pod.target(key)) {
                    Some(ImageTrouble::Slow { by_ms }) => *by_ms,
                    Some(ImageTrouble::Refused | ImageTrouble::Invalid) | None => 0,
                };
                slow_ms + span(PULL, if has_images { &setup.pull_warm } else { &setup.pull_cold })
            }
            Stage::Creating => span(INIT, &setup.init),
            Stage::Unseen | Stage::Running | Stage::Ended => 0,
        }
    }

    fn start_containers(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(pod) = self.pods.get_mut(&key) else { return };
        let Some(node_key) = pod.node else { return };
        let Some(node) = self.nodes.get(&node_key) else { return };
        pod.local.stage = Stage::Running;
        *self.live.entry(pod.spec.task.clone()).or_default() += 2;
        for role in Role::ALL {
            *pod.local.container_mut(role) = Container::Running;
            let (job, node) = ((*pod.spec).clone(), node.name.clone());
            turn.out.push(Reaction::Run { pod: key, role, job, node });
        }
        self.report_soon(turn, key);
    }

    /// Ends what runs of a pod, within a grace.
    pub(super) fn stop_pod(&mut self, turn: &mut Turn<'_>, key: PodKey, grace_ms: u64) {
        let Some(pod) = self.pods.get_mut(&key) else { return };
        if pod.local.stage == Stage::Ended {
            pod.kubelet.set_by(turn, turn.now, Internal::Kubelet(key));
            self.report_soon(turn, key);
        } else if pod.local.stage == Stage::Running {
            let at = turn.now + grace_ms;
            if pod.local.killed_at.is_none() {
                turn.out.push(Reaction::Terminate { pod: key, grace_ms });
            }
            if pod.local.killed_at.is_none_or(|before| at < before) {
                pod.local.killed_at = Some(at);
                pod.grace.set(turn, at, Internal::Grace(key));
            }
        } else {
            pod.local.stage = Stage::Ended;
            pod.local.is_failed = true;
            pod.local.trouble = None;
            pod.kubelet.clear();
            self.volumes.detach(key);
            self.report_soon(turn, key);
            self.forget_pod(key);
        }
    }

    /// A pod's grace is over.
    pub(super) fn grace_over(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(pod) = self.pods.get_mut(&key) else { return };
        let is_there = pod.node.and_then(|node| self.nodes.get(&node)).is_some_and(NodeRecord::has_kubelet);
        if pod.grace.ring(turn.now) && is_there {
            for role in pod.local.running() {
                turn.out.push(Reaction::Kill { pod: key, role });
            }
        }
    }

    /// A process has ended.
    pub(super) fn exited(&mut self, turn: &mut Turn<'_>, key: PodKey, role: Role, end: Container) {
        let Some(pod) = self.pods.get_mut(&key) else { return };
        if *pod.local.container(role) != Container::Running {
            return;
        }
        *pod.local.container_mut(role) = end;
        if let Some(live) = self.live.get_mut(&pod.spec.task) {
            *live -= 1;
            if *live == 0 {
                self.live.remove(&pod.spec.task);
            }
        }
        if pod.local.running().next().is_none() {
            pod.local.stage = Stage::Ended;
            pod.grace.clear();
            self.volumes.detach(key);
        }
        self.report_soon(turn, key);
        self.forget_pod(key);
    }

    /// What a kubelet knows is to be written.
    pub(super) fn report_soon(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let span = &self.setup.kubelet.status;
        let Some(pod) = self.pods.get_mut(&key) else { return };
        let after_ms = turn.span(STATUS, pod.luck, pod.attempt(pod.local.reports), span);
        pod.report.set_by(turn, turn.now + after_ms, Internal::Report(key));
    }

    /// A kubelet writes what it knows, all of it at once: what was in between is never seen.
    pub(super) fn report(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(pod) = self.pods.get_mut(&key) else { return };
        let is_heard = pod.node.and_then(|node| self.nodes.get(&node)).is_some_and(NodeRecord::is_heard);
        if !pod.report.ring(turn.now) || !is_heard || self.weather.is_quiet(turn.now, pod.target(key)) {
            return;
        }
        pod.local.reports += 1;
        if pod.is_stored {
            self.write_status(turn, key);
        }
        let Some(pod) = self.pods.get_mut(&key) else { return };
        if pod.local.stage == Stage::Ended && !pod.local.is_final_written {
            pod.local.is_final_written = true;
            let after_ms = turn.span(CLEANUP, pod.luck, pod.attempt(0), &self.setup.kubelet.cleanup);
            pod.kubelet.set(turn, turn.now + after_ms, Internal::Kubelet(key));
        }
    }

    fn write_status(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(pod) = self.pods.get_mut(&key) else { return };
        let before = (pod.phase, pod.view.clone());
        let local = &pod.local;
        let is_zero = |container: &Container| matches!(container, Container::Terminated { exit_code: 0, .. });
        let phase = match local.stage {
            Stage::Unseen | Stage::Mounting | Stage::Pulling | Stage::Creating => Phase::Pending,
            Stage::Running => Phase::Running,
            Stage::Ended if !local.is_failed && is_zero(&local.worker) && is_zero(&local.runner) => {
                Phase::Succeeded
            }
            Stage::Ended => Phase::Failed,
        };
        pod.view.worker = local.worker.clone();
        pod.view.runner = local.runner.clone();
        if let Some(disruption) = local.disruption {
            pod.view.disruption = Some(disruption);
        }
        if local.trouble.is_none() {
            pod.view.trouble = None;
        }
        let trouble = local.trouble;
        // Somebody may have said already that it is over; that stays.
        if !pod.phase.is_over() && pod.phase != phase {
            self.set_phase(turn, key, phase);
        }
        if let Some(kind) = trouble {
            self.set_trouble(turn, key, kind);
        }
        let Some(pod) = self.pods.get(&key) else { return };
        if (pod.phase, &pod.view) != (before.0, &before.1) && pod.view.version == before.1.version {
            self.write_pod(turn, key, false);
        }
    }

    /// A kubelet lets go of a pod that has ended, once it is deleted.
    fn clean_up(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(pod) = self.pods.get_mut(&key) else { return };
        let is_stuck = self.weather.is_stuck(turn.now, pod.target(key));
        if pod.local.is_final_written && pod.view.is_deleting && pod.is_stored && !is_stuck {
            pod.is_released = true;
        }
        self.try_remove_pod(turn, key);
    }

    /// A kubelet ends a pod at once, because its node is in need.
    pub(super) fn evict_hard(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(pod) = self.pods.get_mut(&key) else { return };
        pod.local.is_failed = true;
        pod.local.disruption = Some(Disruption::Evicted);
        self.stop_pod(turn, key, STRANGER_GRACE_MS);
    }
}
