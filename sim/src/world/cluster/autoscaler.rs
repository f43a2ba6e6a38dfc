//! The autoscaler: nodes for pods that find no room, and away with those that stand empty.
//!
//! It looks at whole periods, and only when there may be something to do. It must never make more nodes than
//! a pool may have, nor leave fewer.

use scalr_core::{clock::Millis, cluster::TroubleKind};

use super::{
    ClusterModel,
    alphabet::{Internal, NodeKey, NodeTimer, PodKey},
    quantity::Room,
    scheduling::Class,
    turn::{Timer, Turn},
};
use crate::luck::{Purpose, Span};

const BOOT: Purpose = Purpose::named("boot");
const OFF: Purpose = Purpose::named("switch off");

/// What the autoscaler remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Autoscaler {
    scan: Timer,
    /// For each pool, until when it is left alone.
    backoff: Vec<Millis>,
}

impl Autoscaler {
    pub(super) fn new(pools: usize) -> Self {
        Self { scan: Timer::default(), backoff: vec![Millis(0); pools] }
    }

    /// Every pool may be tried again.
    pub(super) fn forget_backoff(&mut self) {
        self.backoff.fill(Millis(0));
    }
}

impl ClusterModel {
    /// There may be something to do at its next look.
    pub(super) fn autoscale_soon(&mut self, turn: &mut Turn<'_>) {
        let scan_ms = self.setup.control.scan_ms.max(1);
        let at = Millis((turn.now.0 / scan_ms + 1) * scan_ms);
        self.autoscaler.scan.set_by(turn, at, Internal::Autoscale);
    }

    /// A node is empty: it may be taken away after a while.
    pub(super) fn autoscale_when_idle(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let Some(node) = self.nodes.get(&key) else { return };
        let pool = &self.setup.pools[node.pool];
        if pool.count.max(pool.max) > pool.min && self.size_of(node.pool) > pool.min {
            let at = turn.now + self.setup.control.idle_ms;
            self.autoscaler.scan.set_by(turn, at, Internal::Autoscale);
        }
    }

    /// A pool may be smaller than it should be.
    pub(super) fn autoscale_if_small(&mut self, turn: &mut Turn<'_>, pool: usize) {
        if self.size_of(pool) < self.setup.pools[pool].min {
            self.autoscale_soon(turn);
        }
    }

    /// How many machines a pool has or will have.
    fn size_of(&self, pool: usize) -> u32 {
        let is_counted = |node: &&super::nodes::NodeRecord| {
            node.pool == pool && (node.is_on || node.is_booting) && !node.is_leaving
        };
        u32::try_from(self.nodes.values().filter(is_counted).count()).unwrap_or(u32::MAX)
    }

    /// Looks, and makes and takes away.
    pub(super) fn autoscale(&mut self, turn: &mut Turn<'_>) {
        if !self.autoscaler.scan.ring(turn.now) {
            return;
        }
        for pool in 0..self.setup.pools.len() {
            for _ in self.size_of(pool)..self.setup.pools[pool].min {
                self.launch(turn, pool);
            }
        }
        let is_booting = self.nodes.values().any(|node| node.is_booting);
        let classes: Vec<Class> =
            self.queue.classes.keys().copied().filter(|class| !class.is_unfit).collect();
        for class in classes {
            if !is_booting {
                self.disappoint(class);
            }
            self.help(turn, class);
            self.tell_unhelped(turn, class);
        }
        self.scale_down(turn);
    }

    /// No node is coming: whoever was told so waits like the others.
    fn disappoint(&mut self, class: Class) {
        if let Some(waiting) = self.queue.classes.get_mut(&class) {
            waiting.give_up_hope();
        }
    }

    /// Makes nodes for pods that wait, and tells those pods.
    fn help(&mut self, turn: &mut Turn<'_>, class: Class) {
        for pool in 0..self.setup.pools.len() {
            let setup = &self.setup.pools[pool];
            let each = Room { cpu_m: setup.cpu_m, memory_mi: setup.memory_mi }.holds(class.room);
            let max = self.weather.nodes_max(turn.now, pool).unwrap_or(setup.max).min(setup.max);
            let size = self.size_of(pool);
            let Some(waiting) = self.queue.classes.get(&class) else { return };
            let unhelped = u32::try_from(waiting.unhelped.len()).unwrap_or(u32::MAX);
            if unhelped == 0 || each == 0 {
                continue;
            }
            let booting = self.nodes.values().filter(|node| node.pool == pool && node.is_booting).count();
            let coming = u32::try_from(booting).unwrap_or(u32::MAX).saturating_mul(each);
            let spare = coming.saturating_sub(u32::try_from(waiting.helped()).unwrap_or(u32::MAX));
            let wanted = unhelped.saturating_sub(spare).div_ceil(each);
            let made = if turn.now < self.autoscaler.backoff[pool] {
                let event = Internal::Autoscale;
                let at = self.autoscaler.backoff[pool];
                self.autoscaler.scan.set_by(turn, at, event);
                0
            } else {
                wanted.min(max.saturating_sub(size))
            };
            for _ in 0..made {
                self.launch(turn, pool);
            }
            let helped = unhelped.min(spare.saturating_add(made.saturating_mul(each)));
            self.tell_helped(turn, class, helped);
        }
    }

    fn tell_helped(&mut self, turn: &mut Turn<'_>, class: Class, count: u32) {
        for _ in 0..count {
            let Some(waiting) = self.queue.classes.get_mut(&class) else { return };
            let Some(pod) = waiting.unhelped.pop_first() else { return };
            self.set_trouble(turn, pod, TroubleKind::ScalingUp);
        }
    }

    fn tell_unhelped(&mut self, turn: &mut Turn<'_>, class: Class) {
        let Some(waiting) = self.queue.classes.get(&class) else { return };
        let is_wrong = |pod: &&PodKey| {
            let trouble = self.pods.get(pod).and_then(|pod| pod.view.trouble.as_ref());
            trouble.is_some_and(|trouble| trouble.kind == TroubleKind::ScalingUp)
        };
        let wrong: Vec<PodKey> = waiting.unhelped.iter().filter(is_wrong).copied().collect();
        for pod in wrong {
            self.set_trouble(turn, pod, TroubleKind::Unschedulable);
        }
    }

    /// Asks the provider for a machine.
    fn launch(&mut self, turn: &mut Turn<'_>, pool: usize) {
        let key = self.make_node(pool);
        let slow_ms = self.weather.slow_boot_ms(turn.now);
        let boot_ms = turn.span(BOOT, u64::from(key.0), 0, &self.setup.pools[pool].boot) + slow_ms;
        if let Some(node) = self.nodes.get_mut(&key) {
            node.boot.set(turn, turn.now + boot_ms, Internal::Node(key, NodeTimer::Boot));
        }
    }

    /// A machine is up, or the provider had none.
    pub(super) fn booted(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let Some(pool) = self.nodes.get(&key).map(|node| node.pool) else { return };
        if self.weather.is_out_of_stock(turn.now, pool) {
            self.nodes.remove(&key);
            self.autoscaler.backoff[pool] = turn.now + self.setup.control.stockout_backoff_ms;
        } else {
            self.node_up(turn, key);
        }
        self.autoscale_soon(turn);
    }

    /// Takes away what has stood empty for long, and looks again when the next may have.
    fn scale_down(&mut self, turn: &mut Turn<'_>) {
        let idle_ms = self.setup.control.idle_ms;
        let mut next = Millis::NEVER;
        let keys: Vec<NodeKey> = self.nodes.keys().copied().collect();
        for key in keys {
            let Some(node) = self.nodes.get(&key).filter(|node| node.takes_pods(turn.now)) else { continue };
            let Some(since) = node.idle_since else { continue };
            if node.others != Room::default() || self.size_of(node.pool) <= self.setup.pools[node.pool].min {
                continue;
            }
            if turn.now < since + idle_ms {
                next = next.min(since + idle_ms);
            } else {
                self.take_away(turn, key);
            }
        }
        if next != Millis::NEVER {
            self.autoscaler.scan.set_by(turn, next, Internal::Autoscale);
        }
    }

    /// A node takes no more pods, and its machine is switched off soon.
    pub(super) fn take_away(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let span = Span::Even { min: 2_000, max: 15_000 };
        let after_ms = turn.span(OFF, u64::from(key.0), 0, &span);
        let Some(node) = self.nodes.get_mut(&key) else { return };
        node.is_leaving = true;
        node.off.set_by(turn, turn.now + after_ms, Internal::Node(key, NodeTimer::Off));
        self.reindex(turn, key);
    }
}
