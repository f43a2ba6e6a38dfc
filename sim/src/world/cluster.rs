//! The cluster: a pure model of Kubernetes behind one alphabet. What comes in is a [`Stimulus`], what it
//! leads to are [`Reaction`]s.
//!
//! This one has room for everything and takes no time. It must never see a brain, nor tell one more than an
//! API server would.

use std::collections::BTreeMap;

use scalr_core::{
    clock::Millis,
    cluster::{
        ClusterError, Container, Job, JobEnd, JobSpec, Kind, Listing, NodeName, Object, Pod, Uid, Version,
        WatchEvent,
    },
    controller::{effect::ClusterCall, input::Answer},
    op::Op,
};
use serde::{Deserialize, Serialize};

use super::process::ProcessId;
use crate::luck::Luck;

/// Who calls.
pub type ClientId = ProcessId;

/// A pod, whatever its name; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodKey(pub u64);

/// A container of a task's pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It supervises.
    Worker,
    /// It executes.
    Runner,
}

/// What a cluster is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ClusterSetup {}

/// Something that breaks or heals in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterFault {
    /// Everything is whole again.
    Heal,
}

/// An event of the cluster's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Internal {
    /// A finished Job's time is over.
    Expire(Uid),
}

/// What happens to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stimulus {
    /// A request has arrived at the API server.
    Call {
        /// Whose.
        client: ClientId,
        /// Which.
        op: Op,
        /// What.
        call: ClusterCall,
    },
    /// A watch or a call is no longer wanted.
    Abandon {
        /// Whose.
        client: ClientId,
        /// Which.
        op: Op,
    },
    /// A client's connections are gone.
    ClientGone {
        /// Whose.
        client: ClientId,
    },
    /// An event of its own is due.
    Internal(Internal),
    /// A container's process has ended.
    Exited {
        /// In which pod.
        pod: PodKey,
        /// Which.
        role: Role,
        /// 128 + n for signal n.
        exit_code: i32,
        /// Whether it was killed for its memory.
        is_oom: bool,
    },
    /// Something breaks or heals.
    Fault(ClusterFault),
}

/// What the cluster does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reaction {
    /// It answers a call.
    Answer {
        /// Whose.
        client: ClientId,
        /// Which.
        op: Op,
        /// What.
        answer: Answer,
        /// How long until it is there.
        after_ms: u64,
    },
    /// A watch says something.
    Watched {
        /// Whose.
        client: ClientId,
        /// Which.
        op: Op,
        /// Of which kind.
        kind: Kind,
        /// What.
        event: WatchEvent,
        /// How long until it is there.
        after_ms: u64,
    },
    /// An event of its own will be due.
    Later {
        /// After so long.
        after_ms: u64,
        /// What.
        event: Internal,
    },
    /// A kubelet begins the process of a container.
    Run {
        /// In which pod.
        pod: PodKey,
        /// Which.
        role: Role,
        /// For which Job.
        job: JobSpec,
        /// Where.
        node: NodeName,
    },
    /// SIGTERM to both processes of a pod; SIGKILL comes as a kill.
    Terminate {
        /// Which pod.
        pod: PodKey,
        /// When that will be.
        grace_ms: u64,
    },
    /// SIGKILL.
    Kill {
        /// In which pod.
        pod: PodKey,
        /// Which.
        role: Role,
    },
    /// A pod's processes can't reach Scalr, or can again.
    Cut {
        /// Which pod.
        pod: PodKey,
        /// Whether they can't.
        is_cut: bool,
    },
}

/// How much of what `init` needs lies in a pod's cache volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warmth {
    /// Of 1000 bytes, how many.
    pub cached_permille: u32,
    /// How much longer reading and writing take, in thousandths of their usual time.
    pub slow_permille: u32,
}

/// The cluster.
#[derive(Clone, Debug)]
pub struct ClusterModel {
    version: u64,
    made: u64,
    jobs: BTreeMap<Uid, LiveJob>,
    watches: BTreeMap<(ClientId, Op), Kind>,
}

#[derive(Clone, Debug)]
struct LiveJob {
    job: Job,
    pod: Pod,
    key: PodKey,
}

/// How long a finished Job is kept.
const TTL_MS: u64 = 60_000;
const GRACE_MS: u64 = 360_000;

impl ClusterModel {
    /// One without Jobs.
    pub fn new(_setup: &ClusterSetup) -> Self {
        Self { version: 1, made: 0, jobs: BTreeMap::new(), watches: BTreeMap::new() }
    }

    /// How warm a pod's cache is.
    pub fn warmth(&self, _pod: PodKey) -> Warmth {
        Warmth { cached_permille: 0, slow_permille: 1_000 }
    }

    /// `init` of this pod has ended well and has written so many bytes into the cache.
    pub fn cached(&mut self, _pod: PodKey, _bytes: u64) {}

    /// Takes what happens and says what follows.
    pub fn react(&mut self, _now: Millis, _luck: &Luck, stimulus: Stimulus, out: &mut Vec<Reaction>) {
        match stimulus {
            Stimulus::Call { client, op, call } => self.call(client, op, call, out),
            Stimulus::Abandon { client, op } => {
                self.watches.remove(&(client, op));
            }
            Stimulus::ClientGone { client } => {
                self.watches.retain(|(watching, _), _| *watching != client);
            }
            Stimulus::Internal(Internal::Expire(uid)) => self.remove(&uid, out),
            Stimulus::Exited { pod, role, exit_code, is_oom } => {
                self.exited(pod, role, Container::Terminated { exit_code, is_oom }, out);
            }
            Stimulus::Fault(ClusterFault::Heal) => {}
        }
    }

    fn call(&mut self, client: ClientId, op: Op, call: ClusterCall, out: &mut Vec<Reaction>) {
        let answer = match call {
            ClusterCall::List(kind, _) => Answer::Listed(Ok(Listing {
                version: Version(self.version),
                objects: self.jobs.values().map(|live| live.object(kind)).collect(),
            })),
            ClusterCall::Watch(kind, after) => {
                self.watches.insert((client, op), kind);
                let missed: Vec<Object> =
                    self.jobs.values().map(|live| live.object(kind)).filter(|o| version(o) > after).collect();
                out.push(Reaction::Answer { client, op, answer: Answer::Watching(Ok(())), after_ms: 1 });
                for object in missed {
                    let event = WatchEvent::Seen(object);
                    out.push(Reaction::Watched { client, op, kind, event, after_ms: 1 });
                }
                return;
            }
            ClusterCall::Create(spec) => Answer::Created(self.create(*spec, out)),
            ClusterCall::Delete(_, uid) => {
                self.delete(&uid, out);
                Answer::Deleted(Ok(()))
            }
        };
        out.push(Reaction::Answer { client, op, answer, after_ms: 1 });
    }

    fn create(&mut self, spec: JobSpec, out: &mut Vec<Reaction>) -> Result<Job, ClusterError> {
        if let Some(live) = self.jobs.values().find(|live| live.job.name == spec.name) {
            let is_same = live.job.task == spec.task && live.job.fence == spec.fence;
            return match (is_same, live.job.is_deleting || live.job.end.is_some()) {
                (false, _) => Err(ClusterError::NameTaken),
                (true, true) => Err(ClusterError::Over),
                (true, false) => Ok(live.job.clone()),
            };
        }
        self.made += 1;
        let key = PodKey(self.made);
        let uid = Uid::from(format!("uid-{:08}", self.made).as_str());
        let node = NodeName::from("node-0");
        let job = Job {
            name: spec.name.clone(),
            uid: uid.clone(),
            version: Version(self.version + 1),
            task: spec.task.clone(),
            fence: spec.fence,
            is_deleting: false,
            end: None,
        };
        let pod = Pod {
            name: format!("{}-p", spec.name).as_str().into(),
            uid: format!("pod-{:08}", self.made).as_str().into(),
            version: Version(self.version + 2),
            job: spec.name.clone(),
            job_uid: uid.clone(),
            task: spec.task.clone(),
            fence: spec.fence,
            is_deleting: false,
            node: Some(node.clone()),
            trouble: None,
            worker: Container::Running,
            runner: Container::Running,
            disruption: None,
        };
        self.version += 2;
        for role in [Role::Worker, Role::Runner] {
            out.push(Reaction::Run { pod: key, role, job: spec.clone(), node: node.clone() });
        }
        self.jobs.insert(uid.clone(), LiveJob { job: job.clone(), pod, key });
        self.say(&uid, Kind::Jobs, out);
        self.say(&uid, Kind::Pods, out);
        Ok(job)
    }

    fn delete(&mut self, uid: &Uid, out: &mut Vec<Reaction>) {
        let Some(live) = self.jobs.get_mut(uid) else { return };
        live.job.is_deleting = true;
        live.pod.is_deleting = true;
        let pod = live.key;
        if live.pod.is_proved_over() {
            self.remove(uid, out);
        } else {
            self.changed(uid, out);
            out.push(Reaction::Terminate { pod, grace_ms: GRACE_MS });
        }
    }

    fn exited(&mut self, key: PodKey, role: Role, end: Container, out: &mut Vec<Reaction>) {
        let Some(live) = self.jobs.values_mut().find(|live| live.key == key) else { return };
        match role {
            Role::Worker => live.pod.worker = end,
            Role::Runner => live.pod.runner = end,
        }
        let uid = live.job.uid.clone();
        if live.pod.is_proved_over() {
            let zero = Container::Terminated { exit_code: 0, is_oom: false };
            let is_complete = live.pod.worker == zero && live.pod.runner == zero;
            let failed = || JobEnd::Failed { reason: "PodFailurePolicy".to_owned() };
            live.job.end = Some(if is_complete { JobEnd::Complete } else { failed() });
            if live.job.is_deleting {
                self.remove(&uid, out);
                return;
            }
            out.push(Reaction::Later { after_ms: TTL_MS, event: Internal::Expire(uid.clone()) });
        } else if matches!(&live.pod.worker, Container::Terminated { exit_code, .. } if *exit_code != 0) {
            out.push(Reaction::Terminate { pod: key, grace_ms: GRACE_MS });
        }
        self.changed(&uid, out);
    }

    fn changed(&mut self, uid: &Uid, out: &mut Vec<Reaction>) {
        self.version += 2;
        let version = self.version;
        if let Some(live) = self.jobs.get_mut(uid) {
            live.job.version = Version(version - 1);
            live.pod.version = Version(version);
        }
        self.say(uid, Kind::Jobs, out);
        self.say(uid, Kind::Pods, out);
    }

    fn remove(&mut self, uid: &Uid, out: &mut Vec<Reaction>) {
        let Some(mut live) = self.jobs.remove(uid) else { return };
        self.version += 2;
        live.job.version = Version(self.version - 1);
        live.pod.version = Version(self.version);
        for ((client, op), kind) in &self.watches {
            let event = WatchEvent::Gone(live.object(*kind));
            out.push(Reaction::Watched { client: *client, op: *op, kind: *kind, event, after_ms: 1 });
        }
    }

    fn say(&self, uid: &Uid, kind: Kind, out: &mut Vec<Reaction>) {
        let Some(live) = self.jobs.get(uid) else { return };
        for ((client, op), _) in self.watches.iter().filter(|(_, watched)| **watched == kind) {
            let event = WatchEvent::Seen(live.object(kind));
            out.push(Reaction::Watched { client: *client, op: *op, kind, event, after_ms: 1 });
        }
    }
}

impl LiveJob {
    fn object(&self, kind: Kind) -> Object {
        match kind {
            Kind::Jobs => Object::Job(self.job.clone()),
            Kind::Pods => Object::Pod(self.pod.clone()),
        }
    }
}

fn version(object: &Object) -> Version {
    match object {
        Object::Job(job) => job.version,
        Object::Pod(pod) => pod.version,
    }
}
