//! What can break in a cluster, and how it heals, as data; in brackets the ids of the catalogue of faults.
//!
//! A fault names its objects by what they mean ("the node of run 3's plan"); one whose object is not there
//! does nothing. Whatever has a `for_ms` heals by itself, and everything heals at [`ClusterFault::Heal`].
//! It must never decide what follows from a fault.

mod aim;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::aim::{NodeAim, PodAim, WatchAim};
use super::super::{setup::TaskNumber, snag::CallKind};

/// Something that breaks or heals in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterFault {
    /// Everything is whole again, whatever was broken. What is gone stays gone; pools grow back.
    Heal,
    /// In the API server and what it stores, or done to Jobs.
    Api(ApiFault),
    /// To watches and the caches behind them.
    Watch(WatchFault),
    /// To pods.
    Pod(PodFault),
    /// To nodes.
    Node(NodeFault),
    /// To where nodes come from.
    Pool(PoolFault),
    /// To cache volumes.
    Volume(VolumeFault),
}

/// What can break in the API server and what it stores, or be done to Jobs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum ApiFault {
    /// The API server answers calls otherwise (K4, K5, K6, K7, K8).
    Refuse {
        /// Which calls: list, watch, create, delete; all where nothing is said.
        call: Option<CallKind>,
        /// How.
        how: ApiTrouble,
        /// Of 1000 calls, how many.
        permille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// Calls are carried out later, perhaps after their caller gave up (K9).
    SlowCalls {
        /// Which calls; all where nothing is said.
        call: Option<CallKind>,
        /// By so much.
        by_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// The name that the next creation for a task asks for is taken by somebody else's Job (K3).
    TakeName {
        /// Whose creation.
        task: TaskNumber,
        /// After so long the Job is deleted.
        for_ms: u64,
    },
    /// The quota is this for a while (K7).
    Quota {
        /// Of Jobs.
        jobs: Option<u32>,
        /// Of pods.
        pods: Option<u32>,
        /// For so long.
        for_ms: u64,
    },
    /// Somebody's finalizer keeps a Job from going once it is deleted (K10).
    KeepJob {
        /// Whose.
        task: TaskNumber,
        /// For so long.
        for_ms: u64,
    },
    /// A user replaces a Job by one of the same name and content (K11).
    Recreate {
        /// Whose.
        task: TaskNumber,
    },
    /// Somebody's Job that carries our labels and annotations, for a task and fence that have one already:
    /// a copy under another name.
    Copy {
        /// Whose.
        task: TaskNumber,
    },
    /// Jobs that finish are deleted at once: the control plane's clock is ahead (K12).
    ExpireAtOnce {
        /// For so long.
        for_ms: u64,
    },
    /// A user deletes a Job (K13).
    UserDeletesJob {
        /// Whose.
        task: TaskNumber,
    },
    /// A user deletes a pod (K13).
    UserDeletesPod {
        /// Which.
        pod: PodAim,
        /// Without waiting for its node.
        is_forced: bool,
    },
    /// The namespace is deleted with all that is in it, and comes back (K14).
    NamespaceEnds {
        /// After so long.
        for_ms: u64,
    },
    /// The API server's store is saved (K15, first half).
    Backup,
    /// The API server's store is what it was at the last [`ApiFault::Backup`]: versions go back, what
    /// was deleted since is there again, what was made since is not (K15).
    Restore,
}

/// What can happen to watches and the caches behind them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum WatchFault {
    /// What watches say comes later (W1; with one kind only, W10).
    Delay {
        /// Which.
        watch: WatchAim,
        /// By so much.
        by_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Watches say nothing, without an error, and then all of it (W2).
    Stall {
        /// Which.
        watch: WatchAim,
        /// For so long.
        for_ms: u64,
    },
    /// Watches say only how objects look at last (W3).
    Coalesce {
        /// Which.
        watch: WatchAim,
        /// For so long; then what they held back.
        for_ms: u64,
    },
    /// Watches end (W4).
    Cut {
        /// Which.
        watch: WatchAim,
        /// Whether they break, rather than ending as watches do.
        is_error: bool,
    },
    /// Watches end because the history is forgotten (W5).
    Gone {
        /// Which.
        watch: WatchAim,
    },
    /// The history is forgotten: no watch can begin in the past (W5).
    Compact,
    /// Watches stall, and then end because the history is forgotten: what was deleted meanwhile is missed
    /// (W9).
    Gap {
        /// Which.
        watch: WatchAim,
        /// How long they stall.
        for_ms: u64,
    },
    /// The caches of a server fall behind (W6, W7).
    ServerLag {
        /// Which, modulo how many there are.
        server: u32,
        /// By so much.
        by_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Every watch that has nothing to say says a bookmark (W11).
    Bookmarks,
}

/// What can happen to pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum PodFault {
    /// A pod is evicted through the API; a budget may refuse that (P1, P2).
    Evict {
        /// Which.
        pod: PodAim,
    },
    /// Somebody's pod of higher priority takes a pod's place (P3).
    Preempt {
        /// Whose place.
        pod: PodAim,
        /// For so long.
        for_ms: u64,
    },
    /// Somebody's pods fill the nodes (capacity; P10 where it does not end).
    Crowd {
        /// Of every node's room, so many thousandths, though never more than is free.
        permille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// Images are slow or can't be pulled (P5).
    Images {
        /// Whose.
        pod: PodAim,
        /// How.
        how: ImageTrouble,
        /// For so long.
        for_ms: u64,
    },
    /// Containers can't be created (P6).
    CreateError {
        /// Whose.
        pod: PodAim,
        /// For so long.
        for_ms: u64,
    },
    /// Volumes can't be mounted.
    MountError {
        /// Whose.
        pod: PodAim,
        /// For so long.
        for_ms: u64,
    },
    /// What becomes of containers is not written: the pod may run and end before its first status (P7).
    QuietStatus {
        /// Whose.
        pod: PodAim,
        /// For so long.
        for_ms: u64,
    },
    /// A pod that has ended does not go (P9).
    StuckTerminating {
        /// Which.
        pod: PodAim,
        /// For so long.
        for_ms: u64,
    },
    /// No node fits a pod (P10).
    Unschedulable {
        /// Which; one that is bound already stays so.
        pod: PodAim,
        /// For so long.
        for_ms: u64,
    },
}

/// What can happen to nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum NodeFault {
    /// A machine dies with all that runs on it (N1).
    Lost {
        /// Which.
        node: NodeAim,
    },
    /// A kubelet stops; the containers go on and reach Scalr (N2, as it was seen on a real cluster).
    KubeletStopped {
        /// Which.
        node: NodeAim,
        /// After so long the Node object is deleted, if at all.
        deleted_after_ms: Option<u64>,
        /// For so long.
        for_ms: u64,
    },
    /// A node is cut from the API server; the containers go on (N2).
    Partition {
        /// Which.
        node: NodeAim,
        /// Whether it is cut from Scalr too.
        is_cut_from_scalr: bool,
        /// After so long the Node object is deleted, if at all.
        deleted_after_ms: Option<u64>,
        /// For so long.
        for_ms: u64,
    },
    /// A node is cut off and comes back, again and again (N3).
    Flap {
        /// Which.
        node: NodeAim,
        /// How often.
        times: u32,
        /// How long each way.
        period_ms: u64,
    },
    /// The provider takes a node back: it is drained, and dies at the end of the notice (N4).
    SpotReclaim {
        /// Which.
        node: NodeAim,
        /// The notice; two minutes in most clouds.
        notice_ms: u64,
    },
    /// Somebody drains a node; a budget may refuse the evictions (N5).
    Drain {
        /// Which.
        node: NodeAim,
        /// After so long what is left is deleted, whatever the budget says; never if nothing is said.
        force_after_ms: Option<u64>,
        /// How long the node stays cordoned.
        for_ms: u64,
    },
    /// No new pods for a node.
    Cordon {
        /// Which.
        node: NodeAim,
        /// For so long.
        for_ms: u64,
    },
    /// A node's disk is full: its images go, and one pod is evicted (N6).
    DiskPressure {
        /// Which.
        node: NodeAim,
        /// For so long.
        for_ms: u64,
    },
    /// A kubelet restarts (N7).
    KubeletRestart {
        /// Which.
        node: NodeAim,
        /// How long it is away.
        for_ms: u64,
    },
    /// A node has less room than it says (N8).
    Shrink {
        /// Which.
        node: NodeAim,
        /// Of what it had, so many thousandths are left.
        permille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// A zone is cut off, or dies (N9).
    ZoneOutage {
        /// Which, modulo how many there are.
        zone: u32,
        /// Whether its machines die, rather than being cut off.
        is_fatal: bool,
        /// For so long.
        for_ms: u64,
    },
}

/// What can happen to where nodes come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum PoolFault {
    /// New nodes take longer (C1).
    SlowBoot {
        /// By so much.
        by_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// The provider has no more machines (C2).
    Stockout {
        /// For which pool, modulo how many there are.
        pool: u32,
        /// For so long.
        for_ms: u64,
    },
    /// The next node that a pod is bound to is just being taken away (C3).
    ScaleDownRace,
    /// A pool may have no more nodes than this (C4).
    MaxNodes {
        /// Which, modulo how many there are.
        pool: u32,
        /// How many.
        max: u32,
        /// For so long.
        for_ms: u64,
    },
    /// The autoscaler drains a node to save it (C5).
    Consolidate {
        /// Which.
        node: NodeAim,
    },
}

/// What can happen to cache volumes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum VolumeFault {
    /// A one-node cache volume is attached elsewhere (V1).
    Elsewhere {
        /// For so long.
        for_ms: u64,
    },
    /// A shared cache volume is slow (V2).
    Slow {
        /// How much longer everything takes, in thousandths.
        permille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// The cache of a node is empty again (V3), or of a shared volume.
    Wiped {
        /// On which.
        node: NodeAim,
    },
    /// A cache volume has no room left (V4).
    Full {
        /// For so long.
        for_ms: u64,
    },
    /// What lies in cache volumes is broken (V5).
    Corrupt,
    /// Whoever fills a cache waits for everybody else who does (V6).
    Locked {
        /// For so long.
        for_ms: u64,
    },
    /// Somebody empties the cache volume of a pod that uses it (V7).
    Emptied {
        /// Whose.
        pod: PodAim,
    },
    /// The cache volume is in a zone whose nodes no pod can be scheduled to (V8).
    Pinned {
        /// Which, modulo how many there are.
        zone: u32,
        /// For so long.
        for_ms: u64,
    },
}

/// How the API server answers instead.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum ApiTrouble {
    /// 429.
    TooMany {
        /// `Retry-After`.
        retry_after_ms: u64,
    },
    /// 500 or 503, without effect.
    Broken,
    /// 500 or 503, though the call was carried out.
    BrokenAfter,
    /// 409, for no reason of ours.
    Conflict,
    /// 403 by an admission webhook. Only a creation: anything else is served.
    Denied,
    /// A webhook that does not answer: 500 after ten seconds. Only a creation.
    WebhookTimeout,
    /// There is no usable task template. Only a creation.
    NoTemplate,
}

/// How images can't be pulled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum ImageTrouble {
    /// They take longer.
    Slow {
        /// By so much.
        by_ms: u64,
    },
    /// The registry refuses.
    Refused,
    /// The name is no image's name.
    Invalid,
}
