//! The scheduler: pods that wait, in order, and nodes by the room they have.
//!
//! Pods that ask for the same are tried once a pass: where the first has no room, none has. It must never
//! promise more room than a node says it has.

use std::collections::{BTreeMap, BTreeSet};

use scalr_core::cluster::TroubleKind;

use super::{
    ClusterModel,
    alphabet::{Internal, NodeKey, NodeTimer, PodKey},
    nodes::NodeRecord,
    quantity::Room,
    turn::{Timer, Turn},
};
use crate::luck::{Purpose, Span};

const SCHEDULE: Purpose = Purpose::named("schedule");
const RACE: Purpose = Purpose::named("scale-down race");

/// How many pods a pass binds or marks; so a burst takes as long as it does in a real scheduler, a few
/// hundred a second.
const PASS_MAX: usize = 10;

/// Pods that differ in nothing that the scheduler looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Class {
    pub(super) room: Room,
    /// No node fits it, whatever its room.
    pub(super) is_unfit: bool,
}

/// The pods of a class that wait, in order of age.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Waiting {
    pub(super) all: BTreeSet<PodKey>,
    /// Those that were not told yet that they wait.
    fresh: BTreeSet<PodKey>,
    /// Those that were, and for which no node is coming.
    pub(super) unhelped: BTreeSet<PodKey>,
}

impl Waiting {
    /// How many were told that a node is coming.
    pub(super) fn helped(&self) -> usize {
        self.all.len().saturating_sub(self.fresh.len() + self.unhelped.len())
    }

    /// No node is coming for anybody.
    pub(super) fn give_up_hope(&mut self) {
        if self.helped() > 0 {
            self.unhelped = self.all.difference(&self.fresh).copied().collect();
        }
    }
}

/// Everything that waits, and where there is room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Queue {
    pub(super) classes: BTreeMap<Class, Waiting>,
    class_of: BTreeMap<PodKey, Class>,
    /// Nodes that take pods, by their free CPU; equals in an order of their own.
    pub(super) free: BTreeSet<(u32, u64, NodeKey)>,
    passes: u64,
    pass: Timer,
}

impl Queue {
    /// Whether a pod waits for a node.
    pub(super) fn is_waiting(&self, key: PodKey) -> bool {
        self.class_of.contains_key(&key)
    }
}

impl ClusterModel {
    /// A pod waits for a node.
    pub(super) fn enqueue(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(pod) = self.pods.get(&key) else { return };
        let is_unfit = self.weather.is_unschedulable(turn.now, pod.target(key));
        let class = Class { room: pod.room, is_unfit };
        let waiting = self.queue.classes.entry(class).or_default();
        waiting.all.insert(key);
        waiting.fresh.insert(key);
        self.queue.class_of.insert(key, class);
        self.schedule_soon(turn);
    }

    /// A pod waits no more.
    pub(super) fn dequeue(&mut self, key: PodKey) {
        let Some(class) = self.queue.class_of.remove(&key) else { return };
        if let Some(waiting) = self.queue.classes.get_mut(&class) {
            waiting.all.remove(&key);
            waiting.fresh.remove(&key);
            waiting.unhelped.remove(&key);
            if waiting.all.is_empty() {
                self.queue.classes.remove(&class);
            }
        }
    }

    /// Every pod that waits is looked at again: what fits it may be something else now.
    pub(super) fn requeue_all(&mut self, turn: &mut Turn<'_>) {
        let waiting: Vec<_> = self.queue.class_of.keys().copied().collect();
        for key in waiting {
            let Some(pod) = self.pods.get(&key) else { continue };
            let is_unfit = self.weather.is_unschedulable(turn.now, pod.target(key));
            if self.queue.class_of.get(&key).is_some_and(|class| class.is_unfit != is_unfit) {
                self.dequeue(key);
                self.enqueue(turn, key);
            }
        }
        self.schedule_soon(turn);
    }

    /// There may be something to schedule.
    pub(super) fn schedule_soon(&mut self, turn: &mut Turn<'_>) {
        if !self.queue.classes.is_empty() && !self.queue.pass.is_set() {
            self.queue.passes += 1;
            let after_ms = turn.span(SCHEDULE, 0, self.queue.passes, &self.setup.control.schedule);
            self.queue.pass.set(turn, turn.now + after_ms, Internal::Schedule);
        }
    }

    /// Tries the pods that wait.
    pub(super) fn schedule(&mut self, turn: &mut Turn<'_>) {
        if !self.queue.pass.ring(turn.now) {
            return;
        }
        let zone = self.volume_zone(turn.now);
        let mut hopeless = BTreeSet::new();
        for _ in 0..PASS_MAX {
            let candidates = self.queue.classes.iter().filter(|(class, _)| !hopeless.contains(*class));
            let first = candidates.filter_map(|(class, waiting)| Some((*waiting.all.first()?, *class))).min();
            let Some((pod, class)) = first else { break };
            match self.find_node(class, zone) {
                Some(node) => self.bind(turn, pod, node),
                None => {
                    hopeless.insert(class);
                }
            }
        }
        let mut left = PASS_MAX;
        for class in &hopeless {
            while left > 0
                && let Some(waiting) = self.queue.classes.get_mut(class)
                && let Some(pod) = waiting.fresh.pop_first()
            {
                left -= 1;
                waiting.unhelped.insert(pod);
                self.set_trouble(turn, pod, TroubleKind::Unschedulable);
            }
        }
        if !hopeless.is_empty() {
            self.autoscale_soon(turn);
        }
        let is_left = |(class, waiting): (&Class, &Waiting)| {
            !waiting.fresh.is_empty() || !hopeless.contains(class) && !waiting.all.is_empty()
        };
        if self.queue.classes.iter().any(is_left) {
            self.schedule_soon(turn);
        }
    }

    /// The node with the most free CPU that has room.
    fn find_node(&self, class: Class, zone: Option<u32>) -> Option<NodeKey> {
        if class.is_unfit {
            return None;
        }
        let roomy = self.queue.free.iter().rev().take_while(|(cpu_m, ..)| *cpu_m >= class.room.cpu_m);
        roomy.map(|(.., key)| *key).find(|key| {
            let fits =
                |node: &NodeRecord| class.room.fits(node.free()) && zone.is_none_or(|zone| zone == node.zone);
            self.nodes.get(key).is_some_and(fits)
        })
    }

    fn bind(&mut self, turn: &mut Turn<'_>, key: PodKey, node_key: NodeKey) {
        self.dequeue(key);
        let (Some(pod), Some(node)) = (self.pods.get_mut(&key), self.nodes.get_mut(&node_key)) else {
            return;
        };
        pod.node = Some(node_key);
        pod.view.node = Some(node.name.clone());
        pod.view.trouble = None;
        node.pods.insert(key);
        node.booked = node.booked.plus(pod.room);
        node.idle_since = None;
        if self.weather.races > 0 {
            // Somebody has decided to take it away before it was bound.
            self.weather.races -= 1;
            let span = Span::Even { min: 1, max: 20_000 };
            let after_ms = turn.span(RACE, u64::from(node_key.0), u64::from(self.weather.races), &span);
            node.off.set(turn, turn.now + after_ms, Internal::Node(node_key, NodeTimer::Off));
        }
        self.reindex(turn, node_key);
        self.write_pod(turn, key, false);
        self.kubelet_hears(turn, key);
    }

    /// A pod's room on its node is free again.
    pub(super) fn unbook(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(pod) = self.pods.get(&key) else { return };
        let (room, Some(node_key)) = (pod.room, pod.node) else { return };
        let Some(node) = self.nodes.get_mut(&node_key) else { return };
        node.booked = node.booked.less(room);
        if node.booked == Room::default() {
            node.idle_since = Some(turn.now);
            self.autoscale_when_idle(turn, node_key);
        }
        self.reindex(turn, node_key);
        self.schedule_soon(turn);
    }

    /// A node's room, or whether it takes pods, may have changed.
    pub(super) fn reindex(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        node.others = node.crowds.now(turn.now).fold(Room::default(), |sum, room| sum.plus(*room));
        let now = node.takes_pods(turn.now).then(|| (node.free().cpu_m, node.tie, key));
        if node.indexed == now {
            return;
        }
        if let Some(before) = node.indexed.take() {
            self.queue.free.remove(&before);
        }
        if let Some(now) = now {
            self.queue.free.insert(now);
        }
        node.indexed = now;
    }

    /// A node is no more.
    pub(super) fn unindex(&mut self, key: NodeKey) {
        if let Some(before) = self.nodes.get_mut(&key).and_then(|node| node.indexed.take()) {
            self.queue.free.remove(&before);
        }
    }
}
