//! How faults end: what was cut is joined, what was away comes back, what was held goes on; and a store that
//! is put back to an earlier day.
//!
//! It must never bring back what is gone, but by that.

use std::collections::BTreeMap;

use scalr_core::{
    clock::Millis,
    cluster::{JobName, Object, WatchEnd},
};

use super::{
    ClusterModel,
    alphabet::{Internal, JobKey, NodeKey, NodeTimer, PodKey},
    fault::WatchAim,
    job_controller::JobRecord,
    nodes::NodeRecord,
    pods::{PodRecord, Stage},
    quantity::Room,
    turn::{Timer, Turn},
    weather::{Spells, Weather},
};

/// The API server's store as it was once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Saved {
    revision: u64,
    jobs: BTreeMap<JobKey, Box<JobRecord>>,
    names: BTreeMap<JobName, JobKey>,
    pods: BTreeMap<PodKey, Box<PodRecord>>,
}

impl NodeRecord {
    /// Ends what is over. Says whether it can be heard otherwise than before.
    fn recover(&mut self, now: Millis) -> bool {
        let was_heard = self.is_heard();
        if self.kubelet_away.is_some_and(|until| until <= now) {
            self.kubelet_away = None;
        }
        if now >= self.shrunk_until && self.shrunk_until > Millis(0) {
            self.shrunk_until = Millis(0);
            self.real = self.whole;
            self.room = self.whole;
        }
        self.is_heard() != was_heard
    }

    /// Ends everything now.
    fn heal(&mut self, now: Millis) {
        self.kubelet_away = self.kubelet_away.map(|_| now);
        self.cut = self.cut.map(|_| now);
        self.shrunk_until = self.shrunk_until.min(now);
        self.cordoned_until = Millis(0);
        self.pressed_until = Millis(0);
        self.flaps_left = 0;
        self.flap.clear();
        self.force_at = None;
        self.drain.clear();
        self.is_off_when_empty = false;
        self.crowds = Spells::default();
        if !self.is_leaving {
            self.off.clear();
        }
    }
}

impl ClusterModel {
    /// Whatever is over by now ends.
    pub(super) fn recover(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        self.weather.drop_past(now);
        let keys: Vec<NodeKey> = self.nodes.keys().copied().collect();
        for key in keys {
            let Some(node) = self.nodes.get_mut(&key) else { continue };
            let was_away = node.kubelet_away.is_some();
            let is_changed = node.recover(now);
            let is_back = was_away && node.kubelet_away.is_none();
            let is_mended = node.cut.is_some_and(|until| until <= now);
            if is_back {
                self.kubelet_restarted(key);
            }
            if is_mended {
                self.mend_node(turn, key);
            } else if is_changed || is_back {
                self.contact(turn, key);
            }
            self.reindex(turn, key);
        }
        self.release_jobs(turn);
        self.poke_pods(turn, false);
        self.requeue_all(turn);
        if !self.queue.classes.is_empty() {
            self.autoscale_soon(turn);
        }
    }

    /// Everything is whole again.
    pub(super) fn heal(&mut self, turn: &mut Turn<'_>) {
        self.weather = Weather::default();
        self.autoscaler.forget_backoff();
        for node in self.nodes.values_mut() {
            node.heal(turn.now);
        }
        for job in self.jobs.values_mut() {
            job.kept_until = job.kept_until.min(turn.now);
        }
        self.act_on_all(turn);
        self.heal_watches(turn);
        self.recover(turn);
        self.poke_pods(turn, true);
        for pool in 0..self.setup.pools.len() {
            self.autoscale_if_small(turn, pool);
        }
    }

    /// Kubelets look again at what was held up.
    fn poke_pods(&mut self, turn: &mut Turn<'_>, is_at_once: bool) {
        let keys: Vec<PodKey> = self.pods.keys().copied().collect();
        for key in keys {
            let Some(pod) = self.pods.get_mut(&key).filter(|pod| pod.node.is_some()) else { continue };
            let is_ended = pod.local.stage == Stage::Ended;
            let is_held = pod.local.trouble.is_some() && is_at_once;
            if is_ended && pod.view.is_deleting || is_held {
                pod.kubelet.set_by(turn, turn.now, Internal::Kubelet(key));
            }
            if !pod.is_told() {
                self.report_soon(turn, key);
            }
        }
    }

    /// A kubelet is away until a moment. What runs goes on.
    pub(super) fn stop_kubelet(&mut self, turn: &mut Turn<'_>, key: NodeKey, until: Millis) {
        let Some(node) = self.nodes.get_mut(&key).filter(|node| node.is_on) else { return };
        node.kubelet_away = Some(node.kubelet_away.map_or(until, |before| before.max(until)));
        self.contact(turn, key);
    }

    /// Of pods that are gone from the API server a kubelet that restarts knows only their containers.
    fn kubelet_restarted(&mut self, key: NodeKey) {
        let Some(node) = self.nodes.get(&key) else { return };
        for pod in &node.local {
            if let Some(pod) = self.pods.get_mut(pod).filter(|pod| !pod.is_stored) {
                pod.grace_ms = 0;
            }
        }
    }

    /// The Node object of a silent node is deleted after a while.
    pub(super) fn delete_node_after(&mut self, turn: &mut Turn<'_>, key: NodeKey, after_ms: Option<u64>) {
        if let Some(after_ms) = after_ms
            && let Some(node) = self.nodes.get_mut(&key).filter(|node| !node.is_heard())
        {
            let at = turn.now + after_ms;
            node.unregister.set_by(turn, at, Internal::Node(key, NodeTimer::Unregister));
        }
    }

    /// Somebody's pods use some of every node.
    pub(super) fn crowd(&mut self, turn: &mut Turn<'_>, permille: u32, until: Millis) {
        let keys: Vec<NodeKey> = self.nodes.keys().copied().collect();
        for key in keys {
            let Some(node) = self.nodes.get_mut(&key) else { continue };
            let (part, free) = (node.room.part(permille), node.free());
            let room =
                Room { cpu_m: part.cpu_m.min(free.cpu_m), memory_mi: part.memory_mi.min(free.memory_mi) };
            node.crowds.cast(until, room);
            self.reindex(turn, key);
        }
    }

    /// Somebody replaces a Job by one that looks the same.
    pub(super) fn recreate(&mut self, turn: &mut Turn<'_>, key: JobKey) {
        let Some(job) = self.jobs.get(&key) else { return };
        let (spec, room) = (std::sync::Arc::clone(&job.spec), job.room);
        self.delete_job(turn, key, false);
        if !self.names.contains_key(&spec.name) {
            self.make_job(turn, &spec, room, true);
        }
    }

    /// Somebody copies a Job under another name, labels and all.
    pub(super) fn copy(&mut self, turn: &mut Turn<'_>, key: JobKey) {
        let Some(job) = self.jobs.get(&key) else { return };
        let (mut spec, room) = ((*job.spec).clone(), job.room);
        spec.name = JobName::from(format!("{}-copy", spec.name).as_str());
        if !self.names.contains_key(&spec.name) {
            self.make_job(turn, &std::sync::Arc::new(spec), room, true);
        }
    }

    /// Saves the API server's store.
    pub(super) fn back_up(&mut self) {
        let stored = self.pods.iter().filter(|(_, pod)| pod.is_stored);
        self.saved = Some(Box::new(Saved {
            revision: self.api.revision,
            jobs: self.jobs.clone(),
            names: self.names.clone(),
            pods: stored.map(|(key, pod)| (*key, pod.clone())).collect(),
        }));
    }

    /// Puts the API server's store back. What runs goes on, until its kubelet sees that it should not.
    pub(super) fn restore(&mut self, turn: &mut Turn<'_>) {
        let Some(saved) = self.saved.clone() else { return };
        let broken = WatchEnd::Error { detail: "the API server restarts".to_owned() };
        self.cut_watches(turn, WatchAim::default(), &broken);
        let now: Vec<PodKey> = self.pods.keys().copied().collect();
        for key in now {
            self.dequeue(key);
            if let Some(pod) = self.pods.get_mut(&key) {
                pod.is_stored = false;
                pod.collect.clear();
            }
        }
        for node in self.nodes.values_mut() {
            node.pods.clear();
            node.booked = Room::default();
        }
        self.api.revision = saved.revision;
        self.jobs = saved.jobs;
        self.names = saved.names;
        self.active_pods = 0;
        for (key, old) in saved.pods {
            self.restore_pod(turn, key, *old);
        }
        let objects = self.jobs.iter().filter(|(_, job)| job.is_ours);
        let objects = objects.map(|(key, job)| (key.0, Object::Job(job.view.clone())));
        self.api.jobs.replace(self.api.revision, objects);
        let stored = self.pods.iter().filter(|(_, pod)| pod.is_stored);
        let objects = stored.map(|(key, pod)| (key.0, Object::Pod(pod.view.clone())));
        self.api.pods.replace(self.api.revision, objects);
        self.api.forget_servers();
        self.take_up_again(turn);
    }

    /// A pod is stored as it was. What its kubelet knows of it stays; one that has forgotten it takes it for
    /// a new one, and runs it again.
    fn restore_pod(&mut self, turn: &mut Turn<'_>, old_key: PodKey, old: PodRecord) {
        let mut key = old_key;
        let known = self.pods.get(&key).filter(|pod| pod.node == old.node);
        let local = known.map(|pod| pod.local.clone());
        if local.is_none() {
            self.last_pod += 1;
            key = PodKey(self.last_pod);
            if let Some(job) = self.jobs.get_mut(&old.job) {
                job.pods.remove(&old_key);
                job.pods.insert(key);
            }
        }
        let local = local.unwrap_or_default();
        let mut pod = PodRecord { local, ..old };
        for timer in [&mut pod.hear, &mut pod.kubelet, &mut pod.report, &mut pod.grace, &mut pod.collect] {
            *timer = Timer::default();
        }
        pod.local.is_final_written = false;
        let (node, is_active, room) = (pod.node, pod.is_active(), pod.room);
        self.pods.insert(key, Box::new(pod));
        if is_active {
            self.active_pods += 1;
        }
        match node {
            Some(node) => {
                if let Some(node) = self.nodes.get_mut(&node) {
                    node.pods.insert(key);
                    if is_active {
                        node.booked = node.booked.plus(room);
                    }
                }
            }
            None if is_active => self.enqueue(turn, key),
            None => {}
        }
    }

    /// Every controller begins anew with what is stored.
    fn take_up_again(&mut self, turn: &mut Turn<'_>) {
        let jobs: Vec<JobKey> = self.jobs.keys().copied().collect();
        for key in jobs {
            self.resume_job(turn, key);
        }
        let nodes: Vec<NodeKey> = self.nodes.keys().copied().collect();
        for key in nodes {
            self.reindex(turn, key);
            if self.nodes.get(&key).is_some_and(NodeRecord::is_heard) {
                self.kubelet_resumes(turn, key);
            }
        }
        let pods: Vec<PodKey> = self.pods.keys().copied().collect();
        for key in pods {
            self.collect_if_orphaned(turn, key);
            self.forget_pod(key);
        }
    }
}
