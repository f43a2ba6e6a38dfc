//! What can happen to the cluster and what it can do: its whole alphabet.

use std::fmt;

use scalr_core::{
    cluster::{JobSpec, Kind, NodeName, WatchEvent},
    controller::{effect::ClusterCall, input::Answer},
    op::Op,
};
use serde::{Deserialize, Serialize};

use super::{super::process::ProcessId, fault::ClusterFault};

/// Who calls.
pub type ClientId = ProcessId;

/// A Job, whatever its name; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobKey(pub u64);

/// A pod, whatever its name; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodKey(pub u64);

/// A machine, whatever its Node object; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeKey(pub u32);

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// A container of a task's pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It supervises.
    Worker,
    /// It executes.
    Runner,
}

impl Role {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Worker, Self::Runner];
}

/// An event of the cluster's own. One that has lost its meaning does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Internal {
    /// The Job controller looks at a Job.
    Sync(JobKey),
    /// A Job's time is over: as a finished one, or as a live one.
    Expire(JobKey),
    /// Garbage collection comes to a pod.
    Collect(PodKey),
    /// The kubelet goes on with a pod.
    Kubelet(PodKey),
    /// The kubelet writes what became of a pod.
    Report(PodKey),
    /// A pod's grace is over.
    Grace(PodKey),
    /// The scheduler tries the pods that wait.
    Schedule,
    /// The autoscaler looks.
    Autoscale,
    /// Something about a node is due.
    Node(NodeKey, NodeTimer),
    /// Something about a watch is due.
    Watch(ClientId, Op, WatchTimer),
    /// A slow request is carried out.
    Act(u64),
    /// A fault may be over.
    Recover,
}

/// What can be due about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeTimer {
    /// It has booted.
    Boot,
    /// It has been silent for too long.
    Silence,
    /// Its pods have been tolerated for long enough.
    Toleration,
    /// Its Node object goes.
    Unregister,
    /// It is registered again.
    Register,
    /// Pods of a Node object that is gone are collected.
    Orphans,
    /// Its drain goes on.
    Drain,
    /// Its machine is switched off.
    Off,
    /// It is cut off once more.
    Flap,
}

/// What can be due about a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchTimer {
    /// It ends as watches do.
    End,
    /// It may have nothing to say.
    Bookmark,
    /// It speaks again.
    Speak,
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
    /// An event of its own is due: exactly when it was asked for.
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
        /// How long until it is there: serving and the way back.
        after_ms: u64,
    },
    /// A watch says something. What one watch says comes in this order, and never before its begin was
    /// answered.
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
        /// When that will be, unless the kubelet is away then.
        grace_ms: u64,
    },
    /// SIGKILL. Its exit is told by [`Stimulus::Exited`], like any other.
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
