//! What ends pods from outside: evictions through the API with their budget, drains, reclaimed machines,
//! somebody's more important pods, full disks.
//!
//! A budget guards against evictions only; nothing guards against the rest. It must never end a pod without
//! leaving its reason.

use scalr_core::{clock::Millis, cluster::Disruption};

use super::{
    ClusterModel,
    alphabet::{Internal, NodeKey, NodeTimer, PodKey},
    pods::Phase,
    turn::Turn,
};

/// How often a drain tries again what a budget refused: kubectl's own.
const DRAIN_RETRY_MS: u64 = 5_000;

impl ClusterModel {
    /// Asks for an eviction. Says whether the pod goes.
    pub(super) fn evict(&mut self, turn: &mut Turn<'_>, key: PodKey) -> bool {
        let Some(pod) = self.pods.get(&key).filter(|pod| pod.is_stored) else { return true };
        // A budget protects what runs; what is pending or over may always be evicted.
        if self.setup.has_budget && pod.phase == Phase::Running && !pod.view.is_deleting {
            return false;
        }
        self.delete_pod(turn, key, Disruption::Evicted, None);
        true
    }

    /// A node takes no more pods, and those that are there are evicted.
    pub(super) fn drain(
        &mut self,
        turn: &mut Turn<'_>,
        key: NodeKey,
        until: Millis,
        force_at: Option<Millis>,
    ) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        node.cordoned_until = node.cordoned_until.max(until);
        node.force_at = force_at;
        node.drain.set(turn, turn.now, Internal::Node(key, NodeTimer::Drain));
        self.reindex(turn, key);
    }

    /// A drain goes on.
    pub(super) fn drain_on(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let Some(node) = self.nodes.get(&key) else { return };
        let is_over = turn.now >= node.cordoned_until;
        let is_forced = node.force_at.is_some_and(|at| turn.now >= at);
        let is_off_when_empty = node.is_off_when_empty;
        if is_over {
            return;
        }
        let mut is_left = false;
        for pod in node.pods.clone() {
            if !self.pods.get(&pod).is_some_and(|pod| pod.is_active()) {
                continue;
            }
            is_left = true;
            if is_forced {
                self.delete_pod(turn, pod, Disruption::Deleted, None);
            } else {
                self.evict(turn, pod);
            }
        }
        if is_left {
            let Some(node) = self.nodes.get_mut(&key) else { return };
            node.drain.set(turn, turn.now + DRAIN_RETRY_MS, Internal::Node(key, NodeTimer::Drain));
        } else if is_off_when_empty {
            self.take_away(turn, key);
        }
    }

    /// The provider takes a machine back after a notice.
    pub(super) fn reclaim(&mut self, turn: &mut Turn<'_>, key: NodeKey, notice_ms: u64) {
        let at = turn.now + notice_ms;
        self.drain(turn, key, Millis::NEVER, None);
        if let Some(node) = self.nodes.get_mut(&key) {
            node.off.set_by(turn, at, Internal::Node(key, NodeTimer::Off));
        }
    }

    /// The autoscaler empties a node to save it.
    pub(super) fn consolidate(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.is_off_when_empty = true;
        }
        self.drain(turn, key, Millis::NEVER, None);
    }

    /// Somebody's pod takes a pod's place until a moment.
    pub(super) fn preempt(&mut self, turn: &mut Turn<'_>, key: PodKey, until: Millis) {
        let Some(pod) = self.pods.get(&key).filter(|pod| pod.is_active()) else { return };
        let (room, Some(node_key)) = (pod.room, pod.node) else { return };
        if let Some(node) = self.nodes.get_mut(&node_key) {
            node.crowds.cast(until, room);
        }
        self.reindex(turn, node_key);
        self.delete_pod(turn, key, Disruption::Preempted, None);
    }

    /// A node's disk is full: its images go, no pods come, and one of those that are there is evicted.
    pub(super) fn press(&mut self, turn: &mut Turn<'_>, key: NodeKey, until: Millis) {
        let Some(node) = self.nodes.get_mut(&key).filter(|node| node.has_kubelet()) else { return };
        node.pressed_until = until;
        node.has_images = false;
        let victim = node.local.iter().next_back().copied();
        self.reindex(turn, key);
        if let Some(victim) = victim {
            self.evict_hard(turn, victim);
        }
    }
}
