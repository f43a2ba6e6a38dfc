//! What is really so in the cluster, for invariants. No brain ever sees it.

use std::collections::BTreeMap;

use scalr_core::cluster::{Job, JobName, NodeName, Pod, Uid};
use scalr_protocol::id::{Fence, TaskId};

use super::{
    super::truth::JobOwner,
    ClusterModel,
    alphabet::{NodeKey, PodKey, Role},
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

    /// Whose Job it is that a deletion of this name and UID would hit, where it is meant for this grant.
    pub fn owner_of(&self, name: &JobName, uid: &Uid, meant: (&TaskId, Fence)) -> JobOwner {
        match self.jobs.values().find(|job| job.view.uid == *uid) {
            None => JobOwner::Nobody,
            Some(job) if !job.is_ours => JobOwner::Foreign,
            Some(job) if job.view.name == *name && (&job.view.task, job.view.fence) == meant => JobOwner::Own,
            Some(_) => JobOwner::Another,
        }
    }

    /// Whether a Job has had pods that are no more: another may follow, and nobody can know of it in time.
    pub fn has_lost_pods(&self, job: &Uid) -> bool {
        self.jobs.values().any(|record| {
            record.view.uid == *job
                && (record.pods_made() > record.pods.len() as u64 || record.pods_made() > 1)
        })
    }

    /// Whether a Job of this grant is there that has never had a pod.
    pub fn is_podless(&self, task: &TaskId, fence: Fence) -> bool {
        self.jobs.values().any(|record| {
            let is_it = record.is_ours && record.view.task == *task && record.view.fence == fence;
            is_it && record.pods_made() == 0
        })
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

    /// Whether the namespace's quota leaves no room for another Job, or for its pod.
    pub fn is_quota_full(&self) -> bool {
        let quota = self.quota(self.now);
        let is_full = |limit: Option<u32>, count: usize| limit.is_some_and(|limit| count >= limit as usize);
        is_full(quota.jobs, self.jobs.len()) || is_full(quota.pods, self.active_pods as usize)
    }

    /// The version of the last write.
    pub fn revision(&self) -> u64 {
        self.api.revision
    }

    /// What is wrong with the cluster's own books, for whoever checks: never anything. Looks at every pod and
    /// node.
    pub fn faults_in_books(&self) -> Option<String> {
        let mut booked: BTreeMap<NodeKey, Room> = BTreeMap::new();
        let mut live: BTreeMap<&TaskId, u32> = BTreeMap::new();
        let mut active = 0;
        for (key, pod) in &self.pods {
            let running = u32::try_from(pod.local.running().count()).unwrap_or(u32::MAX);
            if running > 0 {
                *live.entry(&pod.spec.task).or_default() += running;
            }
            if !pod.is_active() {
                continue;
            }
            active += 1;
            let is_found = pod.view.is_deleting
                || match pod.node {
                    Some(node) => self.nodes.contains_key(&node) || pod.collect.is_set(),
                    None => self.queue.is_waiting(*key),
                };
            if !is_found {
                return Some(format!("{key} neither waits nor is bound"));
            }
            if let Some(node) = pod.node {
                let sum = booked.entry(node).or_default();
                *sum = sum.plus(pod.room);
            }
        }
        if active != self.active_pods {
            return Some(format!("{active} pods are active, not {}", self.active_pods));
        }
        if !live.iter().map(|(task, count)| (*task, count)).eq(self.live.iter()) {
            return Some(format!("{live:?} run, not {:?}", self.live));
        }
        self.faults_of_nodes(&booked).or_else(|| self.volume_fault().map(|fault| format!("{fault:?}")))
    }

    fn faults_of_nodes(&self, booked: &BTreeMap<NodeKey, Room>) -> Option<String> {
        self.nodes.iter().find_map(|(key, node)| {
            let booked = booked.get(key).copied().unwrap_or_default();
            if booked != node.booked {
                return Some(format!("{} has {booked:?} booked, not {:?}", node.name, node.booked));
            }
            let is_over = node.indexed.is_some() && !booked.fits(node.whole);
            is_over.then(|| format!("{} has more booked than it has: {booked:?}", node.name))
        })
    }
}
