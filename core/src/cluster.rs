//! The seam to what runs Jobs, in our own nouns: a Kubernetes namespace in production, a folder of
//! processes on a laptop, a made-up cluster in simulation.

use std::{fmt, sync::Arc};

use scalr_protocol::{
    agent::{Action, Presets},
    id::{AccountId, EnvironmentId, Fence, RunId, TaskId, WorkspaceId},
};
use serde::{Deserialize, Serialize};

/// What runs Jobs. An implementation is a thin map: it makes each call once and decides nothing.
pub trait Cluster: Send + Sync {
    /// A watch in progress.
    type Watch: Watch;

    /// Everything of one kind that is ours. A quorum list holds all that was acknowledged before it was
    /// sent; any other may be older than what was seen.
    fn list(
        &self,
        kind: Kind,
        consistency: Consistency,
    ) -> impl Future<Output = Result<Listing, ClusterError>> + Send;

    /// Changes of one kind after a version. Each object's changes come in order; two kinds' don't.
    fn watch(
        &self,
        kind: Kind,
        after: Version,
    ) -> impl Future<Output = Result<Self::Watch, ClusterError>> + Send;

    /// Makes a Job, whole, in one call. Idempotent: a Job of the same name for the same task and fence that
    /// is neither being deleted nor finished is success. After [`ClusterError::Unreachable`] it may exist.
    fn create(&self, job: &JobSpec) -> impl Future<Output = Result<Job, ClusterError>> + Send;

    /// Deletes the Job with this very UID, and its pods in the background. Idempotent: one that is gone, or
    /// has another UID, is success. After an error it may be going.
    fn delete(&self, name: &JobName, uid: &Uid) -> impl Future<Output = Result<(), ClusterError>> + Send;
}

/// Changes as they come.
pub trait Watch: Send {
    /// The next one. After [`WatchEvent::Ended`] there is no other.
    fn next(&mut self) -> impl Future<Output = WatchEvent> + Send;
}

/// What can be listed and watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Jobs.
    Jobs,
    /// The pods of Jobs.
    Pods,
}

/// How fresh a list must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Consistency {
    /// Holds all that was acknowledged before it was sent.
    Quorum,
    /// May come from a cache.
    Cached,
}

/// A point in the cluster's history of one kind. Later is larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)+) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self(value.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+ };
}

names! {
    /// A Job's name: at most 63 characters of a DNS label.
    JobName;
    /// A pod's name.
    PodName;
    /// What tells two objects of one name apart.
    Uid;
    /// A node's name.
    NodeName;
}

/// A Job to be made: what the controller patches into the template, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobSpec {
    /// `<basename>-<run>-<stage>`, from the second fence on with `-<fence>`.
    pub name: JobName,
    /// The task it is for.
    pub task: TaskId,
    /// The grant it is for.
    pub fence: Fence,
    /// What the task does.
    pub action: Action,
    /// The stage's name.
    pub stage: String,
    /// The run it belongs to.
    pub run: RunId,
    /// The run's workspace.
    pub workspace: WorkspaceId,
    /// The workspace's name, for people.
    pub workspace_name: String,
    /// The workspace's environment.
    pub environment: EnvironmentId,
    /// The environment's name, for people.
    pub environment_name: String,
    /// The environment's account.
    pub account: AccountId,
    /// The account's name, for people.
    pub account_name: String,
    /// What the platform wants instead of the template's own.
    pub presets: Presets,
}

/// A Job as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub name: JobName,
    /// Its UID.
    pub uid: Uid,
    /// When in the cluster's history it looked so.
    pub version: Version,
    /// The task it is for.
    pub task: TaskId,
    /// The grant it is for.
    pub fence: Fence,
    /// Whether it is being deleted.
    pub is_deleting: bool,
    /// Whether the cluster says that it has ended.
    pub end: Option<JobEnd>,
    /// What keeps it from getting a pod, if anything is known to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<JobTrouble>,
}

/// What keeps a Job from getting a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobTrouble {
    /// The class.
    pub kind: JobTroubleKind,
    /// What the cluster says, at most 1 KiB.
    pub message: String,
}

/// The classes of what keeps a Job from getting a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum JobTroubleKind {
    /// A quota leaves no room for a pod: it heals when others end.
    Quota,
    /// The cluster won't take such a pod, by its rules or by a policy of its operators.
    Refused,
}

/// How a Job ended, as the cluster sees it. Scalr's answer, not this, says how the task ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum JobEnd {
    /// Condition `Complete`.
    Complete,
    /// Condition `Failed`.
    Failed {
        /// Such as `BackoffLimitExceeded`.
        reason: String,
    },
}

/// A pod of a Job as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pod {
    /// Its name.
    pub name: PodName,
    /// Its UID.
    pub uid: Uid,
    /// When in the cluster's history it looked so.
    pub version: Version,
    /// The Job it belongs to.
    pub job: JobName,
    /// The Job's UID.
    pub job_uid: Uid,
    /// The task it is for.
    pub task: TaskId,
    /// The grant it is for.
    pub fence: Fence,
    /// Whether it is being deleted.
    pub is_deleting: bool,
    /// Where it runs, once it is scheduled.
    pub node: Option<NodeName>,
    /// What keeps it from starting, if anything does.
    pub trouble: Option<PodTrouble>,
    /// The container that supervises.
    pub worker: Container,
    /// The container that executes.
    pub runner: Container,
    /// Why the cluster ended or is ending it, such as an eviction. A reason, never proof that it ended.
    pub disruption: Option<Disruption>,
}

impl Pod {
    /// Whether worker and runner have both terminated, as their kubelet or keeper wrote it: the only proof
    /// that nothing of the task runs any more.
    pub fn is_proved_over(&self) -> bool {
        matches!((&self.worker, &self.runner), (Container::Terminated { .. }, Container::Terminated { .. }))
    }
}

/// What a container does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Container {
    /// It has not run yet.
    #[default]
    Waiting,
    /// It runs.
    Running,
    /// It has ended, as its kubelet or keeper wrote it.
    Terminated {
        /// Its exit code; 128 + n for signal n.
        exit_code: i32,
        /// Whether it was killed for its memory.
        is_oom: bool,
    },
}

/// What keeps a pod from starting.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodTrouble {
    /// The class.
    pub kind: TroubleKind,
    /// What the cluster says, at most 1 KiB.
    pub message: String,
}

/// The classes of what keeps a pod from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TroubleKind {
    /// No node has room, and none is known to come.
    Unschedulable,
    /// No node has room, and one is coming.
    ScalingUp,
    /// An image can't be pulled, and it is being tried again.
    ImagePull,
    /// An image's name is no image's name: it can't heal.
    ImageInvalid,
    /// A container can't be created, and it is being tried again.
    ContainerCreate,
    /// A volume can't be mounted, and it is being tried again.
    Volume,
}

/// Why the cluster ends a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Disruption {
    /// Evicted, through the API or by pressure on its node.
    Evicted,
    /// A pod of higher priority needed its place.
    Preempted,
    /// Its node is gone.
    NodeLost,
    /// Somebody deleted it.
    Deleted,
}

/// A Job or a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Object {
    /// A Job.
    Job(Job),
    /// A pod.
    Pod(Pod),
}

/// The answer to a list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Listing {
    /// When in the cluster's history it is true.
    pub version: Version,
    /// All there was.
    pub objects: Vec<Object>,
}

/// One thing that a watch says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WatchEvent {
    /// An object looks so now; its version is that of the change. What is learned of it by other means than
    /// its history, such as what keeps it from starting, shows it again under the version that it has.
    Seen(Object),
    /// An object is gone; this is how it last looked, with the version of its end.
    Gone(Object),
    /// Nothing up to here was left out.
    Bookmark(Version),
    /// The watch is over.
    Ended(WatchEnd),
}

/// How a watch ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WatchEnd {
    /// The history has been forgotten that far back (410): list again.
    Gone,
    /// It ended as watches do: watch on from the last version.
    Eof,
    /// It broke.
    Error {
        /// What happened.
        detail: String,
    },
}

/// Why a call to the cluster brought no answer that its caller hoped for. One variant for each thing that
/// the caller does differently.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum ClusterError {
    /// A Job of this name exists for another task or fence.
    #[error("a Job of this name exists for something else")]
    NameTaken,
    /// A Job of this name for this task and fence exists but is being deleted or has finished.
    #[error("the Job exists and is over")]
    Over,
    /// A quota leaves no room: wait.
    #[error("a quota leaves no room: {detail}")]
    QuotaExceeded {
        /// What the cluster said.
        detail: String,
    },
    /// The cluster won't take this Job, now or later.
    #[error("refused: {detail}")]
    Refused {
        /// What the cluster said.
        detail: String,
    },
    /// The agent may not do this here, or its namespace is not there: wait for somebody who mends it.
    #[error("not allowed: {detail}")]
    NotAllowed {
        /// What the cluster said.
        detail: String,
    },
    /// There is no usable task template: wait for one.
    #[error("no usable task template: {detail}")]
    Template {
        /// What is wrong with it.
        detail: String,
    },
    /// 429.
    #[error("the cluster asks to come back later")]
    RateLimited {
        /// After how long.
        retry_after_ms: u64,
    },
    /// The history has been forgotten that far back (410): list again.
    #[error("the version is too old")]
    Gone,
    /// No answer, a cut answer or a 5xx: the call may or may not have been carried out.
    #[error("no answer: {detail}")]
    Unreachable {
        /// What happened.
        detail: String,
    },
}
