//! What is really so in the cluster, for invariants. No brain ever sees it.

use std::collections::BTreeMap;

use scalr_core::cluster::{Job, JobName, NodeName, Pod};
use scalr_protocol::id::{Fence, TaskId};

use super::{
    ClusterModel,
    alphabet::{PodKey, Role},
    api_server::Ledger,
    pods::PodRecord,
    quantity::Room,
};

/// A container that runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Live {
    /// In which pod.
    pub pod: PodKey,
    /// Which.
    pub role: Role,
    /// For which task.
    pub task: TaskId,
    /// Under which fence.
    pub fence: Fence,
    /// Where.
    pub node: NodeName,
    /// Whether the API server still has the pod.
    pub is_stored: bool,
}

/// How full a node is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Load {
    /// Which.
    pub node: NodeName,
    /// What it has, as it says.
    pub room: Room,
    /// What stored pods that are not over have been given.
    pub booked: Room,
    /// Whether it is ready, as the API server has it.
    pub is_ready: bool,
    /// Whether its machine runs.
    pub is_on: bool,
}

impl ClusterModel {
    /// Every container that runs, whether or not anybody can see it.
    pub fn live(&self) -> impl Iterator<Item = Live> {
        self.pods.iter().flat_map(|(key, pod)| self.live_in(*key, pod))
    }

    fn live_in(&self, key: PodKey, pod: &PodRecord) -> Vec<Live> {
        let Some(node) = pod.node.and_then(|node| self.nodes.get(&node)) else { return Vec::new() };
        let live = |role| Live {
            pod: key,
            role,
            task: pod.spec.task.clone(),
            fence: pod.spec.fence,
            node: node.name.clone(),
            is_stored: pod.is_stored,
        };
        pod.local.running().map(live).collect()
    }

    /// How many containers of a task run.
    pub fn live_of(&self, task: &TaskId) -> u32 {
        self.live.get(task).copied().unwrap_or(0)
    }

    /// The tasks of which anything runs, and how many containers.
    pub fn live_tasks(&self) -> &BTreeMap<TaskId, u32> {
        &self.live
    }

    /// How many Jobs calls have made for each task and fence. More than one is a matter of names: the first
    /// was gone before the second.
    pub fn jobs_made(&self) -> &BTreeMap<(TaskId, Fence), u32> {
        &self.made
    }

    /// What was asked of the API server.
    pub fn ledger(&self) -> &Ledger {
        &self.api.ledger
    }

    /// The Jobs of ours that are stored.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter(|job| job.is_ours).map(|job| &job.view)
    }

    /// The pods that are stored.
    pub fn pods(&self) -> impl Iterator<Item = (PodKey, &Pod)> {
        self.pods.iter().filter(|(_, pod)| pod.is_stored).map(|(key, pod)| (*key, &pod.view))
    }

    /// A pod as it is stored, or was at last while anything of it runs.
    pub fn pod(&self, key: PodKey) -> Option<&Pod> {
        self.pods.get(&key).map(|pod| &pod.view)
    }

    /// The Job of a name, whoever's it is.
    pub fn job_named(&self, name: &JobName) -> Option<&Job> {
        self.names.get(name).and_then(|key| self.jobs.get(key)).map(|job| &job.view)
    }

    /// Every node that has a machine or a Node object.
    pub fn nodes(&self) -> impl Iterator<Item = Load> {
        self.nodes.values().filter(|node| node.is_on || node.is_registered).map(|node| Load {
            node: node.name.clone(),
            room: node.room,
            booked: node.booked,
            is_ready: node.is_registered && node.is_ready,
            is_on: node.is_on,
        })
    }

    /// The version of the last write.
    pub fn revision(&self) -> u64 {
        self.api.revision
    }

    /// What is wrong with the cluster's own books, for whoever checks: never anything.
    pub fn faults_in_books(&self) -> Option<String> {
        let active = self.pods.values().filter(|pod| pod.is_active()).count();
        if active != self.active_pods as usize {
            return Some(format!("{active} pods are active, not {}", self.active_pods));
        }
        for (key, node) in &self.nodes {
            let on_it = self.pods.values().filter(|pod| pod.node == Some(*key) && pod.is_active());
            let booked = on_it.fold(Room::default(), |sum, pod| sum.plus(pod.room));
            if booked != node.booked {
                return Some(format!("{} has {booked:?} booked, not {:?}", node.name, node.booked));
            }
            if node.indexed.is_some() && !booked.fits(node.whole) {
                return Some(format!("{} has more booked than it has: {booked:?}", node.name));
            }
        }
        let mut live = BTreeMap::new();
        for container in self.live() {
            *live.entry(container.task).or_insert(0) += 1;
        }
        if live != self.live {
            return Some(format!("{live:?} run, not {:?}", self.live));
        }
        let lost = self.pods.iter().find(|(_, pod)| pod.is_active() && !self.is_accounted(pod));
        lost.map(|(key, _)| format!("{key} neither waits nor is bound")).or_else(|| self.volume_faults())
    }

    fn is_accounted(&self, pod: &PodRecord) -> bool {
        pod.view.is_deleting
            || match pod.node {
                Some(node) => self.nodes.contains_key(&node) || pod.collect.is_set(),
                None => self.queue.classes.values().any(|waiting| {
                    waiting
                        .all
                        .iter()
                        .any(|key| self.pods.get(key).is_some_and(|other| other.view.uid == pod.view.uid))
                }),
            }
    }
}
