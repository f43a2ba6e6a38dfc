//! Faults as they are carried out, and how they end.
//!
//! Each only sets a condition or does what somebody would do; what follows from it is decided where it is
//! felt. It must never touch what a brain was told.

use scalr_core::{
    clock::Millis,
    cluster::{Disruption, WatchEnd},
};

use super::{
    super::setup::TaskNumber,
    ClusterModel,
    alphabet::{Internal, JobKey, NodeKey, NodeTimer, PodKey},
    fault::{
        ApiFault, ClusterFault, NodeAim, NodeFault, PodAim, PodFault, PoolFault, VolumeFault, WatchFault,
    },
    nodes::NodeRecord,
    setup::QuotaSetup,
    turn::Turn,
    weather::{Meant, Weather},
};

impl ClusterModel {
    /// Something breaks or heals.
    pub(super) fn strike(&mut self, turn: &mut Turn<'_>, fault: ClusterFault) {
        match fault {
            ClusterFault::Heal => self.heal(turn),
            ClusterFault::Api(fault) => self.strike_api(turn, fault),
            ClusterFault::Watch(fault) => self.strike_watches(turn, &fault),
            ClusterFault::Pod(fault) => self.strike_pods(turn, fault),
            ClusterFault::Node(fault) => self.strike_nodes(turn, &fault),
            ClusterFault::Pool(fault) => self.strike_pools(turn, &fault),
            ClusterFault::Volume(fault) => self.strike_volumes(turn, &fault),
        }
    }

    fn pods_meant(&self, aim: PodAim) -> Vec<PodKey> {
        let stored = self.pods.iter().filter(|(_, pod)| pod.is_stored);
        match aim {
            PodAim::All => stored.map(|(key, _)| *key).collect(),
            PodAim::Of(task) => {
                stored.filter(|(_, pod)| pod.number == Some(task)).map(|(key, _)| *key).collect()
            }
            PodAim::Nth(nth) => {
                let all: Vec<PodKey> = stored.map(|(key, _)| *key).collect();
                (nth as usize).checked_rem(all.len()).map(|place| all[place]).into_iter().collect()
            }
        }
    }

    /// Pods that are there and pods to come; nobody where one was meant and there is none.
    fn meant(&self, aim: PodAim) -> Option<Meant> {
        match aim {
            PodAim::All => Some(Meant::All),
            PodAim::Of(task) => Some(Meant::Task(task)),
            PodAim::Nth(_) => self.pods_meant(aim).first().map(|key| Meant::Pod(*key)),
        }
    }

    fn nodes_meant(&self, aim: NodeAim) -> Vec<NodeKey> {
        let on: Vec<NodeKey> =
            self.nodes.iter().filter(|(_, node)| node.is_on).map(|(key, _)| *key).collect();
        match aim {
            NodeAim::All => on,
            NodeAim::Nth(nth) => {
                (nth as usize).checked_rem(on.len()).map(|place| on[place]).into_iter().collect()
            }
            NodeAim::Of(task) => {
                let pods = self.pods.values();
                let mut of_task = pods.filter(|pod| pod.number == Some(task) && pod.node.is_some());
                of_task.next_back().and_then(|pod| pod.node).into_iter().collect()
            }
        }
    }

    fn jobs_of_task(&self, task: TaskNumber) -> Vec<JobKey> {
        self.jobs_of(|job| job.is_ours && job.number == Some(task))
    }

    /// What concerns the API server.
    fn strike_api(&mut self, turn: &mut Turn<'_>, fault: ApiFault) {
        let now = turn.now;
        match fault {
            ApiFault::Refuse { call, how, permille, for_ms } => {
                self.weather.refusals.cast(now + for_ms, (call, how, permille));
            }
            ApiFault::SlowCalls { call, by_ms, for_ms } => {
                self.weather.slow_calls.cast(now + for_ms, (call, by_ms));
            }
            ApiFault::TakeName { task, for_ms } => self.weather.promise_name(task, for_ms),
            ApiFault::Quota { jobs, pods, for_ms } => {
                self.weather.quotas.cast(now + for_ms, QuotaSetup { jobs, pods });
            }
            ApiFault::KeepJob { task, for_ms } => {
                for key in self.jobs_of_task(task) {
                    if let Some(job) = self.jobs.get_mut(&key) {
                        job.kept_until = now + for_ms;
                    }
                }
                turn.later(now + for_ms, Internal::Recover);
            }
            ApiFault::Recreate { task } => {
                for key in self.jobs_of_task(task) {
                    self.recreate(turn, key);
                }
            }
            ApiFault::Copy { task } => {
                if let Some(key) = self.jobs_of_task(task).first() {
                    self.copy(turn, *key);
                }
            }
            ApiFault::ExpireAtOnce { for_ms } => self.weather.expiry.cast(now + for_ms, ()),
            ApiFault::UserDeletesJob { task } => {
                for key in self.jobs_of_task(task) {
                    self.delete_job(turn, key, false);
                }
            }
            ApiFault::UserDeletesPod { pod, is_forced } => {
                for key in self.pods_meant(pod) {
                    self.delete_pod(turn, key, Disruption::Deleted, is_forced.then_some(0));
                }
            }
            ApiFault::NamespaceEnds { for_ms } => {
                self.weather.namespace.cast(now + for_ms, ());
                for key in self.jobs_of(|_| true) {
                    self.delete_job(turn, key, false);
                }
                turn.later(now + for_ms, Internal::Recover);
            }
            ApiFault::Backup => self.back_up(),
            ApiFault::Restore => self.restore(turn),
        }
    }

    /// What concerns watches.
    fn strike_watches(&mut self, turn: &mut Turn<'_>, fault: &WatchFault) {
        match *fault {
            WatchFault::Delay { watch, by_ms, for_ms } => self.slow_watches(turn, watch, by_ms, for_ms),
            WatchFault::Stall { watch, for_ms } => self.stall_watches(turn, watch, for_ms, false, None),
            WatchFault::Coalesce { watch, for_ms } => self.stall_watches(turn, watch, for_ms, true, None),
            WatchFault::Cut { watch, is_error } => {
                let broken = WatchEnd::Error { detail: "http2: client connection lost".to_owned() };
                self.cut_watches(turn, watch, &if is_error { broken } else { WatchEnd::Eof });
            }
            WatchFault::Gone { watch } => self.cut_watches(turn, watch, &WatchEnd::Gone),
            WatchFault::Compact => {
                self.api.jobs.forget(Millis::NEVER, 0);
                self.api.pods.forget(Millis::NEVER, 0);
            }
            WatchFault::Gap { watch, for_ms } => {
                self.stall_watches(turn, watch, for_ms, false, Some(&WatchEnd::Gone));
            }
            WatchFault::ServerLag { server, by_ms, for_ms } => {
                let server = server % self.setup.api.servers.max(1);
                self.weather.lags.cast(turn.now + for_ms, (server, by_ms));
            }
            WatchFault::Bookmarks => self.say_bookmarks(turn),
        }
    }

    fn on_meant(&mut self, aim: PodAim, cast: impl FnOnce(&mut Weather, Meant)) {
        if let Some(meant) = self.meant(aim) {
            cast(&mut self.weather, meant);
        }
    }

    /// What concerns pods.
    fn strike_pods(&mut self, turn: &mut Turn<'_>, fault: PodFault) {
        let now = turn.now;
        let mut ends_ms = None;
        match fault {
            PodFault::Evict { pod } => {
                for key in self.pods_meant(pod) {
                    self.evict(turn, key);
                }
            }
            PodFault::Preempt { pod, for_ms } => {
                for key in self.pods_meant(pod) {
                    self.preempt(turn, key, now + for_ms);
                }
                ends_ms = Some(for_ms);
            }
            PodFault::Crowd { permille, for_ms } => {
                self.crowd(turn, permille, now + for_ms);
                ends_ms = Some(for_ms);
            }
            PodFault::Images { pod, how, for_ms } => {
                self.on_meant(pod, |weather, meant| weather.images.cast(now + for_ms, (meant, how)));
            }
            PodFault::CreateError { pod, for_ms } => {
                self.on_meant(pod, |weather, meant| weather.create_errors.cast(now + for_ms, meant));
            }
            PodFault::MountError { pod, for_ms } => {
                self.on_meant(pod, |weather, meant| weather.mount_errors.cast(now + for_ms, meant));
            }
            PodFault::QuietStatus { pod, for_ms } => {
                self.on_meant(pod, |weather, meant| weather.quiet.cast(now + for_ms, meant));
                ends_ms = Some(for_ms);
            }
            PodFault::StuckTerminating { pod, for_ms } => {
                self.on_meant(pod, |weather, meant| weather.stuck.cast(now + for_ms, meant));
                ends_ms = Some(for_ms);
            }
            PodFault::Unschedulable { pod, for_ms } => {
                self.on_meant(pod, |weather, meant| weather.unschedulable.cast(now + for_ms, meant));
                self.requeue_all(turn);
                ends_ms = Some(for_ms);
            }
        }
        if let Some(for_ms) = ends_ms {
            turn.later(now + for_ms, Internal::Recover);
        }
    }

    /// What concerns nodes.
    fn strike_nodes(&mut self, turn: &mut Turn<'_>, fault: &NodeFault) {
        let now = turn.now;
        let (NodeFault::Lost { node }
        | NodeFault::KubeletStopped { node, .. }
        | NodeFault::KubeletRestart { node, .. }
        | NodeFault::Partition { node, .. }
        | NodeFault::Flap { node, .. }
        | NodeFault::SpotReclaim { node, .. }
        | NodeFault::Drain { node, .. }
        | NodeFault::Cordon { node, .. }
        | NodeFault::DiskPressure { node, .. }
        | NodeFault::Shrink { node, .. }) = fault
        else {
            let NodeFault::ZoneOutage { zone, is_fatal, for_ms } = fault else {
                unreachable!("every other fault names a node")
            };
            return self.zone_out(turn, *zone, *is_fatal, now + *for_ms);
        };
        for key in self.nodes_meant(*node) {
            if let Some(until) = self.strike_node(turn, key, fault) {
                turn.later(until, Internal::Recover);
            }
        }
    }

    /// A fault befalls one node. Says when it may be over, unless it is heard of otherwise.
    fn strike_node(&mut self, turn: &mut Turn<'_>, key: NodeKey, fault: &NodeFault) -> Option<Millis> {
        let now = turn.now;
        match *fault {
            NodeFault::Lost { .. } => self.node_off(turn, key),
            NodeFault::KubeletStopped { deleted_after_ms, for_ms, .. } => {
                self.stop_kubelet(turn, key, now + for_ms);
                self.delete_node_after(turn, key, deleted_after_ms);
                return Some(now + for_ms);
            }
            NodeFault::KubeletRestart { for_ms, .. } => {
                self.stop_kubelet(turn, key, now + for_ms);
                return Some(now + for_ms);
            }
            NodeFault::Partition { is_cut_from_scalr, deleted_after_ms, for_ms, .. } => {
                self.cut_node(turn, key, now + for_ms, is_cut_from_scalr);
                self.delete_node_after(turn, key, deleted_after_ms);
                return Some(now + for_ms);
            }
            NodeFault::Flap { times, period_ms, .. } => {
                let node = self.nodes.get_mut(&key)?;
                (node.flaps_left, node.flap_period_ms) = (times, period_ms.max(1));
                node.flap.set(turn, now, Internal::Node(key, NodeTimer::Flap));
            }
            NodeFault::SpotReclaim { notice_ms, .. } => self.reclaim(turn, key, notice_ms),
            NodeFault::Drain { force_after_ms, for_ms, .. } => {
                self.drain(turn, key, now + for_ms, force_after_ms.map(|after_ms| now + after_ms));
                return Some(now + for_ms);
            }
            NodeFault::Cordon { for_ms, .. } => {
                let node = self.nodes.get_mut(&key)?;
                node.cordoned_until = node.cordoned_until.max(now + for_ms);
                self.reindex(turn, key);
                return Some(now + for_ms);
            }
            NodeFault::DiskPressure { for_ms, .. } => {
                self.press(turn, key, now + for_ms);
                return Some(now + for_ms);
            }
            NodeFault::Shrink { permille, for_ms, .. } => {
                let node = self.nodes.get_mut(&key)?;
                node.real = node.real.part(permille);
                node.shrunk_until = now + for_ms;
                return Some(now + for_ms);
            }
            NodeFault::ZoneOutage { .. } => {}
        }
        None
    }

    fn zone_out(&mut self, turn: &mut Turn<'_>, zone: u32, is_fatal: bool, until: Millis) {
        let zones = self.setup.pools.iter().map(|pool| pool.zones).max().unwrap_or(1).max(1);
        let in_zone = |(_, node): &(&NodeKey, &NodeRecord)| node.is_on && node.zone == zone % zones;
        let keys: Vec<NodeKey> = self.nodes.iter().filter(in_zone).map(|(key, _)| *key).collect();
        for key in keys {
            if is_fatal {
                self.node_off(turn, key);
            } else {
                self.cut_node(turn, key, until, true);
            }
        }
        turn.later(until, Internal::Recover);
    }

    /// What concerns pools.
    fn strike_pools(&mut self, turn: &mut Turn<'_>, fault: &PoolFault) {
        let now = turn.now;
        match *fault {
            PoolFault::SlowBoot { by_ms, for_ms } => self.weather.slow_boots.cast(now + for_ms, by_ms),
            PoolFault::Stockout { pool, for_ms } => {
                let pool = self.pool_meant(pool);
                self.weather.stockouts.cast(now + for_ms, pool);
            }
            PoolFault::ScaleDownRace => self.weather.races += 1,
            PoolFault::MaxNodes { pool, max, for_ms } => {
                let pool = self.pool_meant(pool);
                self.weather.node_limits.cast(now + for_ms, (pool, max));
                turn.later(now + for_ms, Internal::Recover);
            }
            PoolFault::Consolidate { node } => {
                for key in self.nodes_meant(node) {
                    self.consolidate(turn, key);
                }
            }
        }
    }

    fn pool_meant(&self, pool: u32) -> usize {
        (pool as usize).checked_rem(self.setup.pools.len()).unwrap_or(0)
    }

    /// What concerns cache volumes.
    fn strike_volumes(&mut self, turn: &mut Turn<'_>, fault: &VolumeFault) {
        let now = turn.now;
        match *fault {
            VolumeFault::Elsewhere { for_ms } => self.weather.volume_elsewhere.cast(now + for_ms, ()),
            VolumeFault::Slow { permille, for_ms } => {
                self.weather.volume_slow.cast(now + for_ms, permille);
            }
            VolumeFault::Wiped { node } => {
                let nodes = self.nodes_meant(node);
                self.volumes.wipe(&nodes);
            }
            VolumeFault::Full { for_ms } => self.weather.volume_full.cast(now + for_ms, ()),
            VolumeFault::Corrupt => self.volumes.corrupt(),
            VolumeFault::Locked { for_ms } => self.weather.volume_locked.cast(now + for_ms, ()),
            VolumeFault::Emptied { pod } => {
                for key in self.pods_meant(pod) {
                    self.volumes.empty(key);
                }
            }
            VolumeFault::Pinned { zone, for_ms } => {
                let zones = self.setup.pools.iter().map(|pool| pool.zones).max().unwrap_or(1).max(1);
                self.weather.volume_pinned.cast(now + for_ms, zone % zones);
                turn.later(now + for_ms, Internal::Recover);
            }
        }
    }
}
