//! What a Controller can want: the alphabet of its effects. Each is one call; carrying it out makes no
//! choice.

use scalr_protocol::{
    agent::{Acquire, Heartbeat, LaunchEvents, LaunchFailed, Register, Release, WorkerLost},
    id::{AgentId, TaskId},
};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Millis,
    cluster::{Consistency, JobName, JobSpec, Kind, Uid, Version},
    op::Op,
};

/// One call to make.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// Call Scalr.
    Scalr {
        /// The call's name.
        op: Op,
        /// The call.
        call: ScalrCall,
    },
    /// Call the cluster.
    Cluster {
        /// The call's name. A watch's goes on naming its events.
        op: Op,
        /// The call.
        call: ClusterCall,
    },
    /// Drop a call or a watch: its answer is no longer wanted. It may still come, and may have had its
    /// effect.
    Abandon {
        /// Which.
        op: Op,
    },
    /// Send [`Input::Wake`](super::input::Input::Wake) at this moment. A new one replaces the old one.
    WakeAt(Millis),
    /// Say something to whoever operates the agent.
    Log(Note),
    /// The process is done.
    Exit(ControllerExit),
}

/// A call of [`Scalr`](crate::scalr::Scalr).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ScalrCall {
    /// Call 1.
    Register(Register),
    /// Call 2.
    Heartbeat(AgentId, Heartbeat),
    /// Call 3.
    Deregister(AgentId),
    /// Call 4.
    Acquire(AgentId, Acquire),
    /// Call 5.
    Release(TaskId, Release),
    /// Call 6.
    LaunchEvents(AgentId, LaunchEvents),
    /// Call 7.
    LaunchFailed(TaskId, LaunchFailed),
    /// Call 8.
    WorkerLost(TaskId, WorkerLost),
    /// Call 9: the number of the last message seen, and how long to wait.
    Messages(AgentId, u64, u64),
}

/// A call of [`Cluster`](crate::cluster::Cluster).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClusterCall {
    /// List one kind.
    List(Kind, Consistency),
    /// Watch one kind after a version.
    Watch(Kind, Version),
    /// Make a Job.
    Create(Box<JobSpec>),
    /// Delete the Job with this UID.
    Delete(JobName, Uid),
}

/// Something worth a log line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Note {
    /// How much it matters.
    pub level: NoteLevel,
    /// A past participle or a sentence, without ids.
    pub message: String,
    /// The task it is about.
    pub task: Option<TaskId>,
    /// The Job it is about.
    pub job: Option<JobName>,
}

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NoteLevel {
    /// For whoever debugs.
    Debug,
    /// A person would want it in a quiet week.
    Info,
    /// Something has to be retried or was refused.
    Warning,
    /// Somebody has to do something.
    Error,
}

/// How the process should end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ControllerExit {
    /// It was told to stop, and has.
    Stopped,
    /// The pool token is no longer good.
    Unauthorized {
        /// What the server said.
        detail: String,
    },
    /// There is no common protocol version, or the registration was refused for good.
    Refused {
        /// What the server said.
        detail: String,
    },
}
