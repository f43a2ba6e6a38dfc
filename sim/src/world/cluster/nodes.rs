//! Nodes: machines, their kubelets, the wires to them, and what the API server says of each; the control
//! plane's answer to silence.
//!
//! A machine, its kubelet, its wire and its Node object come and go each for itself: containers run as long
//! as the machine does. It must never end a container because an object is gone.

use std::collections::BTreeSet;

use scalr_core::{
    clock::Millis,
    cluster::{Disruption, NodeName},
};

use super::{
    ClusterModel,
    alphabet::{Internal, NodeKey, NodeTimer, PodKey, Reaction, Role},
    pods::{Phase, Stage},
    quantity::Room,
    turn::{Timer, Turn},
    weather::Spells,
};
use crate::luck::{Purpose, key_of, mix};

const ORPHANS: Purpose = Purpose::named("orphans");

/// From the end of a machine until its provider deletes the Node object: the node lifecycle's own period.
const CLOUD_DELETES_MS: u64 = 5_000;
/// From a kubelet's return until its node is registered again.
const REGISTER_MS: u64 = 10_000;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each comes and goes without the others: that is the point"
)]
pub(super) struct NodeRecord {
    pub(super) name: NodeName,
    pub(super) pool: usize,
    pub(super) zone: u32,
    pub(super) tie: u64,
    /// Whether its machine runs.
    pub(super) is_on: bool,
    pub(super) is_booting: bool,
    /// Whether there is a Node object.
    pub(super) is_registered: bool,
    /// Whether that says it is ready.
    pub(super) is_ready: bool,
    /// No new pods until then.
    pub(super) cordoned_until: Millis,
    /// Its disk is full until then.
    pub(super) pressed_until: Millis,
    /// Whether it is being taken away.
    pub(super) is_leaving: bool,
    /// Its kubelet is away until then, if it is.
    pub(super) kubelet_away: Option<Millis>,
    /// It is cut from the API server until then, if it is.
    pub(super) cut: Option<Millis>,
    pub(super) is_cut_from_scalr: bool,
    /// What it says it has.
    pub(super) room: Room,
    /// What it has, and until when that is not what it says.
    pub(super) real: Room,
    /// What it has when all is well.
    pub(super) whole: Room,
    pub(super) shrunk_until: Millis,
    /// What stored pods have been given.
    pub(super) booked: Room,
    /// What others use.
    pub(super) crowds: Spells<Room>,
    pub(super) others: Room,
    /// Stored pods that are bound to it.
    pub(super) pods: BTreeSet<PodKey>,
    /// Pods of which its kubelet knows.
    pub(super) local: BTreeSet<PodKey>,
    pub(super) has_images: bool,
    pub(super) idle_since: Option<Millis>,
    pub(super) indexed: Option<(u32, u64, NodeKey)>,
    pub(super) flaps_left: u32,
    pub(super) flap_period_ms: u64,
    /// Its drain ends with force then.
    pub(super) force_at: Option<Millis>,
    pub(super) is_off_when_empty: bool,
    pub(super) boot: Timer,
    pub(super) silence: Timer,
    pub(super) toleration: Timer,
    pub(super) unregister: Timer,
    pub(super) register: Timer,
    pub(super) orphans: Timer,
    pub(super) drain: Timer,
    pub(super) off: Timer,
    pub(super) flap: Timer,
}

impl NodeRecord {
    fn new(key: NodeKey, pool: usize, zone: u32, room: Room) -> Self {
        let name = format!("node-{pool}-{}", key.0);
        Self {
            tie: mix(key_of(&name)),
            name: NodeName::from(name.as_str()),
            pool,
            zone,
            is_on: false,
            is_booting: true,
            is_registered: false,
            is_ready: false,
            cordoned_until: Millis(0),
            pressed_until: Millis(0),
            is_leaving: false,
            kubelet_away: None,
            cut: None,
            is_cut_from_scalr: false,
            room,
            real: room,
            whole: room,
            shrunk_until: Millis(0),
            booked: Room::default(),
            crowds: Spells::default(),
            others: Room::default(),
            pods: BTreeSet::new(),
            local: BTreeSet::new(),
            has_images: false,
            idle_since: Some(Millis(0)),
            indexed: None,
            flaps_left: 0,
            flap_period_ms: 0,
            force_at: None,
            is_off_when_empty: false,
            boot: Timer::default(),
            silence: Timer::default(),
            toleration: Timer::default(),
            unregister: Timer::default(),
            register: Timer::default(),
            orphans: Timer::default(),
            drain: Timer::default(),
            off: Timer::default(),
            flap: Timer::default(),
        }
    }

    /// What is free of what it says it has.
    pub(super) fn free(&self) -> Room {
        self.room.less(self.booked).less(self.others)
    }

    /// Whether the scheduler may use it.
    pub(super) fn takes_pods(&self, now: Millis) -> bool {
        self.is_registered
            && self.is_ready
            && !self.is_leaving
            && now >= self.cordoned_until
            && now >= self.pressed_until
    }

    /// Whether its kubelet works.
    pub(super) fn has_kubelet(&self) -> bool {
        self.is_on && self.kubelet_away.is_none()
    }

    /// Whether its kubelet and the API server hear each other.
    pub(super) fn is_heard(&self) -> bool {
        self.has_kubelet() && self.cut.is_none()
    }
}

impl ClusterModel {
    /// Another machine of a pool, off as yet.
    pub(super) fn make_node(&mut self, pool: usize) -> NodeKey {
        self.last_node += 1;
        let key = NodeKey(self.last_node);
        let setup = &self.setup.pools[pool];
        let room = Room { cpu_m: setup.cpu_m, memory_mi: setup.memory_mi };
        // Where the volume is, if that matters: no other would help.
        let zone = self.volumes.zone().unwrap_or(key.0 - 1) % setup.zones.max(1);
        self.nodes.insert(key, NodeRecord::new(key, pool, zone, room));
        key
    }

    /// A node is there from the first moment.
    pub(super) fn begin_node(&mut self, key: NodeKey) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        node.is_booting = false;
        node.is_on = true;
        node.is_registered = true;
        node.is_ready = true;
        node.indexed = Some((node.free().cpu_m, node.tie, key));
        self.queue.free.insert((node.free().cpu_m, node.tie, key));
    }

    /// A machine is up, and its node registered and ready.
    pub(super) fn node_up(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        node.is_booting = false;
        node.is_on = true;
        node.is_registered = true;
        node.is_ready = true;
        node.idle_since = Some(turn.now);
        self.reindex(turn, key);
        self.autoscale_when_idle(turn, key);
        self.schedule_soon(turn);
    }

    /// Something about a node is due.
    pub(super) fn node_due(&mut self, turn: &mut Turn<'_>, key: NodeKey, timer: NodeTimer) {
        let now = turn.now;
        let Some(node) = self.nodes.get_mut(&key) else { return };
        match timer {
            NodeTimer::Boot if node.boot.ring(now) => self.booted(turn, key),
            NodeTimer::Silence if node.silence.ring(now) => self.silent(turn, key),
            NodeTimer::Toleration if node.toleration.ring(now) => self.not_tolerated(turn, key),
            NodeTimer::Unregister if node.unregister.ring(now) => self.unregistered(turn, key),
            NodeTimer::Register if node.register.ring(now) => self.registered(turn, key),
            NodeTimer::Orphans if node.orphans.ring(now) => self.collect_orphans(turn, key),
            NodeTimer::Drain if node.drain.ring(now) => self.drain_on(turn, key),
            NodeTimer::Off if node.off.ring(now) => self.node_off(turn, key),
            NodeTimer::Flap if node.flap.ring(now) => self.flap(turn, key),
            NodeTimer::Boot
            | NodeTimer::Silence
            | NodeTimer::Toleration
            | NodeTimer::Unregister
            | NodeTimer::Register
            | NodeTimer::Orphans
            | NodeTimer::Drain
            | NodeTimer::Off
            | NodeTimer::Flap => {}
        }
    }

    /// A kubelet may be heard again, or no longer.
    pub(super) fn contact(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let silence_ms = self.setup.control.node_silence_ms;
        let Some(node) = self.nodes.get_mut(&key) else { return };
        if !node.is_heard() {
            node.register.clear();
            if node.is_registered && node.is_ready && !node.silence.is_set() {
                node.silence.set(turn, turn.now + silence_ms, Internal::Node(key, NodeTimer::Silence));
            }
            return;
        }
        node.silence.clear();
        node.toleration.clear();
        node.unregister.clear();
        if node.is_registered {
            node.is_ready = true;
            self.reindex(turn, key);
            self.schedule_soon(turn);
        } else {
            node.register.set(turn, turn.now + REGISTER_MS, Internal::Node(key, NodeTimer::Register));
        }
        self.kubelet_resumes(turn, key);
    }

    fn silent(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let toleration_ms = self.setup.control.toleration_ms;
        let Some(node) = self.nodes.get_mut(&key) else { return };
        node.is_ready = false;
        node.toleration.set(turn, turn.now + toleration_ms, Internal::Node(key, NodeTimer::Toleration));
        if !node.is_on {
            let at = turn.now + CLOUD_DELETES_MS;
            node.unregister.set_by(turn, at, Internal::Node(key, NodeTimer::Unregister));
        }
        self.reindex(turn, key);
    }

    fn not_tolerated(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let Some(node) = self.nodes.get(&key) else { return };
        for pod in node.pods.clone() {
            if self.pods.get(&pod).is_some_and(|pod| pod.is_active()) {
                self.delete_pod(turn, pod, Disruption::NodeLost, None);
            }
        }
    }

    fn unregistered(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        node.is_registered = false;
        node.is_ready = false;
        node.silence.clear();
        node.toleration.clear();
        let after_ms = turn.span(ORPHANS, u64::from(key.0), turn.now.0, &self.setup.control.orphan);
        node.orphans.set(turn, turn.now + after_ms, Internal::Node(key, NodeTimer::Orphans));
        self.reindex(turn, key);
    }

    fn registered(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let Some(node) = self.nodes.get_mut(&key).filter(|node| node.is_heard()) else { return };
        node.is_registered = true;
        node.is_ready = true;
        node.orphans.clear();
        self.reindex(turn, key);
        self.schedule_soon(turn);
    }

    /// Pods whose Node object is gone have failed, it is said, and go, whatever their containers do.
    fn collect_orphans(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let Some(node) = self.nodes.get(&key).filter(|node| !node.is_registered) else { return };
        for pod in node.pods.clone() {
            self.collect_orphan(turn, pod);
        }
        self.forget_node(key);
    }

    /// A pod's Node object is gone.
    pub(super) fn collect_orphan(&mut self, turn: &mut Turn<'_>, key: PodKey) {
        let Some(pod) = self.pods.get_mut(&key).filter(|pod| pod.is_stored) else { return };
        if !pod.phase.is_over() {
            pod.view.disruption = Some(Disruption::NodeLost);
            self.set_phase(turn, key, Phase::Failed);
            self.write_pod(turn, key, false);
        }
        self.delete_pod(turn, key, Disruption::NodeLost, Some(0));
    }

    /// A machine is switched off, with all that runs on it.
    pub(super) fn node_off(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let Some(node) = self.nodes.get_mut(&key).filter(|node| node.is_on) else { return };
        node.is_on = false;
        node.drain.clear();
        node.flap.clear();
        let (is_silent, pool) = (!node.is_ready, node.pool);
        if node.is_leaving || is_silent {
            // Whoever takes it away deletes the Node object at once; of a silent node its provider is asked.
            let at = turn.now + CLOUD_DELETES_MS;
            node.unregister.set_by(turn, at, Internal::Node(key, NodeTimer::Unregister));
        }
        for pod_key in node.local.clone() {
            let Some(pod) = self.pods.get_mut(&pod_key) else { continue };
            // All at once: a runner is not there to see its worker go.
            let mut roles: Vec<_> = pod.local.running().collect();
            roles.sort_by_key(|role| *role != Role::Runner);
            for role in roles {
                turn.out.push(Reaction::Kill { pod: pod_key, role });
            }
            if pod.local.stage < Stage::Running {
                pod.local.stage = Stage::Ended;
                self.volumes.detach(pod_key);
            }
        }
        self.contact(turn, key);
        self.volumes.node_off(key);
        self.autoscale_if_small(turn, pool);
    }

    /// Forgets a machine of which nothing is left.
    pub(super) fn forget_node(&mut self, key: NodeKey) {
        let Some(node) = self.nodes.get(&key) else { return };
        let is_used = |pod: &PodKey| self.pods.contains_key(pod);
        if !node.is_on
            && !node.is_booting
            && !node.is_registered
            && !node.pods.iter().chain(&node.local).any(is_used)
        {
            self.unindex(key);
            self.nodes.remove(&key);
        }
    }

    /// A node is cut off from the API server, and from Scalr as well, or not.
    pub(super) fn cut_node(&mut self, turn: &mut Turn<'_>, key: NodeKey, until: Millis, is_from_scalr: bool) {
        let Some(node) = self.nodes.get_mut(&key).filter(|node| node.is_on) else { return };
        node.cut = Some(node.cut.map_or(until, |before| before.max(until)));
        if is_from_scalr && !node.is_cut_from_scalr {
            node.is_cut_from_scalr = true;
            self.say_cut(turn, key, true);
        }
        self.contact(turn, key);
    }

    /// A node's wire is whole again.
    pub(super) fn mend_node(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        node.cut = None;
        if std::mem::take(&mut node.is_cut_from_scalr) {
            self.say_cut(turn, key, false);
        }
        self.contact(turn, key);
    }

    fn say_cut(&mut self, turn: &mut Turn<'_>, key: NodeKey, is_cut: bool) {
        let Some(node) = self.nodes.get(&key) else { return };
        for pod in &node.local {
            if self.pods.get(pod).is_some_and(|pod| pod.local.running().next().is_some()) {
                turn.out.push(Reaction::Cut { pod: *pod, is_cut });
            }
        }
    }

    fn flap(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        if node.flaps_left == 0 {
            return;
        }
        node.flaps_left -= 1;
        let period_ms = node.flap_period_ms;
        if node.flaps_left > 0 {
            node.flap.set(turn, turn.now + 2 * period_ms, Internal::Node(key, NodeTimer::Flap));
        }
        self.cut_node(turn, key, turn.now + period_ms, false);
        turn.later(turn.now + period_ms, Internal::Recover);
    }
}
