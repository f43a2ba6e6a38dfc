//! The cluster: a pure model of Kubernetes behind one alphabet. What comes in is a [`Stimulus`], what it
//! leads to are [`Reaction`]s.
//!
//! In reading order: [`alphabet`] is what goes in and out, [`setup`] what a cluster is made of, [`fault`] how
//! it breaks; `api_server`, `history` and `watches` are what clients see; `job_controller`, `scheduling`,
//! `nodes`, `autoscaler`, `kubelet` and [`volumes`] what happens behind it, `pods` what they all hold;
//! `disruption`, `strikes`, `weather` and `recovery` what goes wrong; [`ground`] what is really so, and
//! `progress` how far a pod has come.
//!
//! What is stored, what kubelets know and what runs are three things, and each learns of the other late or
//! never. It must never see a brain, nor tell one more than an API server would.

pub mod alphabet;
mod api_server;
mod autoscaler;
mod disruption;
pub mod fault;
pub mod ground;
mod history;
mod job_controller;
mod kubelet;
mod nodes;
mod pods;
mod progress;
mod quantity;
mod recovery;
mod scheduling;
pub mod setup;
mod strikes;
mod turn;
pub mod volumes;
mod watches;
mod weather;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use scalr_core::{
    clock::Millis,
    cluster::{Container, JobName},
    op::Op,
};
use scalr_protocol::id::{Fence, TaskId};

pub use self::{
    alphabet::{ClientId, Internal, JobKey, NodeKey, PodKey, Reaction, Role, Stimulus},
    api_server::Ledger,
    fault::ClusterFault,
    quantity::Room,
    setup::ClusterSetup,
    volumes::Warmth,
};
use self::{
    api_server::ApiServer, autoscaler::Autoscaler, job_controller::JobRecord, nodes::NodeRecord,
    pods::PodRecord, recovery::Saved, scheduling::Queue, turn::Turn, volumes::Volumes, watches::WatchRecord,
    weather::Weather,
};
use super::setup::TaskNumber;
use crate::luck::Luck;

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterModel {
    setup: Arc<ClusterSetup>,
    now: Millis,
    api: ApiServer,
    watches: BTreeMap<(ClientId, Op), WatchRecord>,
    names: BTreeMap<JobName, JobKey>,
    jobs: BTreeMap<JobKey, Box<JobRecord>>,
    pods: BTreeMap<PodKey, Box<PodRecord>>,
    nodes: BTreeMap<NodeKey, NodeRecord>,
    queue: Queue,
    autoscaler: Autoscaler,
    volumes: Volumes,
    weather: Weather,
    saved: Option<Box<Saved>>,
    /// How many containers of each task run.
    live: BTreeMap<TaskId, u32>,
    /// How many stored pods are not over.
    active_pods: u32,
    numbers: BTreeMap<TaskId, TaskNumber>,
    made: BTreeMap<(TaskId, Fence), u32>,
    last_job: u64,
    last_pod: u64,
    last_node: u32,
}

impl ClusterModel {
    /// One whose nodes are ready and that has no Jobs.
    pub fn new(setup: &ClusterSetup) -> Self {
        let mut cluster = Self {
            setup: Arc::new(setup.clone()),
            now: Millis(0),
            api: ApiServer::default(),
            watches: BTreeMap::new(),
            names: BTreeMap::new(),
            jobs: BTreeMap::new(),
            pods: BTreeMap::new(),
            nodes: BTreeMap::new(),
            queue: Queue::default(),
            autoscaler: Autoscaler::new(setup.pools.len()),
            volumes: Volumes::new(&setup.cache),
            weather: Weather::default(),
            saved: None,
            live: BTreeMap::new(),
            active_pods: 0,
            numbers: BTreeMap::new(),
            made: BTreeMap::new(),
            last_job: 0,
            last_pod: 0,
            last_node: 0,
        };
        // Version 0 means none.
        cluster.api.revision = 1;
        for (pool, setup) in setup.pools.iter().enumerate() {
            for _ in 0..setup.count {
                let key = cluster.make_node(pool);
                cluster.begin_node(key);
            }
        }
        cluster
    }

    /// Says which task of the workload this is, before any Job is made for it: faults are aimed by it, and
    /// dice are thrown for it.
    pub fn introduce(&mut self, task: &TaskId, number: TaskNumber) {
        self.numbers.insert(task.clone(), number);
    }

    /// Takes what happens and says what follows. The clock never goes back.
    pub fn react(&mut self, now: Millis, luck: &Luck, stimulus: Stimulus, out: &mut Vec<Reaction>) {
        self.now = now;
        let turn = &mut Turn { now, luck, out };
        match stimulus {
            Stimulus::Call { client, op, call } => self.call(turn, client, op, call),
            Stimulus::Abandon { client, op } => {
                self.watches.remove(&(client, op));
                self.forget_waiting(|of, waiting| (of, waiting) == (client, op));
            }
            Stimulus::ClientGone { client } => {
                self.watches.retain(|(of, _), _| *of != client);
                self.forget_waiting(|of, _| of == client);
            }
            Stimulus::Internal(internal) => self.ring(turn, internal),
            Stimulus::Exited { pod, role, exit_code, is_oom } => {
                self.exited(turn, pod, role, Container::Terminated { exit_code, is_oom });
            }
            Stimulus::Fault(fault) => self.strike(turn, fault),
        }
    }

    fn ring(&mut self, turn: &mut Turn<'_>, internal: Internal) {
        match internal {
            Internal::Sync(job) => self.sync_job(turn, job),
            Internal::Expire(job) => self.expire_job(turn, job),
            Internal::Collect(pod) => self.collect_pod(turn, pod),
            Internal::Kubelet(pod) => self.kubelet_due(turn, pod),
            Internal::Report(pod) => self.report(turn, pod),
            Internal::Grace(pod) => self.grace_over(turn, pod),
            Internal::Schedule => self.schedule(turn),
            Internal::Autoscale => self.autoscale(turn),
            Internal::Node(node, timer) => self.node_due(turn, node, timer),
            Internal::Watch(client, op, timer) => self.watch_due(turn, (client, op), timer),
            Internal::Act(number) => self.act_late(turn, number),
            Internal::Recover => self.recover(turn),
        }
    }

    fn number_of(&self, task: &TaskId) -> Option<TaskNumber> {
        self.numbers.get(task).copied()
    }
}
