//! What a cluster is made of, as data: node pools, what a pod needs, how long everything takes, quotas, the
//! cache volume, the way to the API server.
//!
//! Defaults are those of a healthy cluster (Kubernetes 1.33) with the public chart
//! (<https://github.com/Scalr/agent-helm>). It must never hold anything that happens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::luck::Span;

/// A cluster before its first moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ClusterSetup {
    /// Where nodes come from.
    pub pools: Vec<PoolSetup>,
    /// What a task's pod is and needs.
    pub pod: PodSetup,
    /// What the Job controller is told.
    pub job: JobSetup,
    /// What the namespace may hold.
    pub quota: QuotaSetup,
    /// The API server and the way to it.
    pub api: ApiSetup,
    /// What watches are like.
    pub watch: WatchSetup,
    /// How long the control plane takes.
    pub control: ControlSetup,
    /// How long kubelets take.
    pub kubelet: KubeletSetup,
    /// The volume that providers are cached in.
    pub cache: CacheSetup,
    /// Whether a disruption budget protects task pods that run: `maxUnavailable: 0`, as in the chart.
    pub has_budget: bool,
}

impl Default for ClusterSetup {
    fn default() -> Self {
        Self {
            pools: vec![PoolSetup::default()],
            pod: PodSetup::default(),
            job: JobSetup::default(),
            quota: QuotaSetup::default(),
            api: ApiSetup::default(),
            watch: WatchSetup::default(),
            control: ControlSetup::default(),
            kubelet: KubeletSetup::default(),
            cache: CacheSetup::default(),
            has_budget: true,
        }
    }
}

/// A pool of equal nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PoolSetup {
    /// How many nodes there are at first.
    pub count: u32,
    /// The autoscaler leaves no fewer.
    pub min: u32,
    /// The autoscaler makes no more. A pool whose `max` is not above its `count` does not grow.
    pub max: u32,
    /// What pods may ask of a node, in thousandths of a CPU.
    pub cpu_m: u32,
    /// What pods may ask of a node, in MiB.
    pub memory_mi: u32,
    /// Over how many zones its nodes are spread, at least 1.
    pub zones: u32,
    /// From the decision for a node until it is ready.
    pub boot: Span,
}

impl Default for PoolSetup {
    fn default() -> Self {
        Self {
            count: 3,
            min: 3,
            max: 3,
            cpu_m: 8_000,
            memory_mi: 32_768,
            zones: 1,
            boot: Span::Even { min: 45_000, max: 120_000 },
        }
    }
}

/// What a task's pod is and needs, where presets say nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PodSetup {
    /// The worker's request, in thousandths of a CPU.
    pub worker_cpu_m: u32,
    /// The worker's request, in MiB.
    pub worker_memory_mi: u32,
    /// The runner's request, in thousandths of a CPU.
    pub runner_cpu_m: u32,
    /// The runner's request, in MiB.
    pub runner_memory_mi: u32,
    /// From SIGTERM to SIGKILL.
    pub grace_ms: u64,
}

impl Default for PodSetup {
    fn default() -> Self {
        Self {
            worker_cpu_m: 250,
            worker_memory_mi: 128,
            runner_cpu_m: 500,
            runner_memory_mi: 1_024,
            grace_ms: 360_000,
        }
    }
}

/// What the Job controller is told. The pod failure policy is the chart's: `FailJob` on any exit code but 0,
/// `Ignore` on `DisruptionTarget`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct JobSetup {
    /// After more failed pods than this, a Job has failed.
    pub backoff_limit: u32,
    /// How long a finished Job is kept.
    pub ttl_ms: u64,
    /// How long a Job may be live, if that is limited.
    pub active_deadline_ms: Option<u64>,
    /// Whether the pod failure policy is there; without it every failed pod counts.
    pub has_failure_policy: bool,
}

impl Default for JobSetup {
    fn default() -> Self {
        Self { backoff_limit: 1, ttl_ms: 60_000, active_deadline_ms: None, has_failure_policy: true }
    }
}

/// What the namespace may hold; nothing said is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct QuotaSetup {
    /// `count/jobs.batch`: finished ones count too.
    pub jobs: Option<u32>,
    /// `pods`: those that have not ended.
    pub pods: Option<u32>,
}

/// The API server and the way to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ApiSetup {
    /// One way between a client and the server. The model draws the way back; the way there is the
    /// caller's.
    pub latency: Span,
    /// How long a list or the begin of a watch is served.
    pub read: Span,
    /// How long a write is served.
    pub write: Span,
    /// How many servers there are, at least 1; each call meets any of them.
    pub servers: u32,
    /// How far the caches of each server are behind, in order; those not named are not.
    pub lag_ms: Vec<u64>,
    /// How much history is kept.
    pub history_ms: u64,
    /// How many changes of a kind are kept at most.
    pub history_changes_max: u32,
    /// When an adapter gives up on an answer.
    pub timeout_ms: u64,
}

impl Default for ApiSetup {
    fn default() -> Self {
        Self {
            latency: Span::Even { min: 1, max: 8 },
            read: Span::Even { min: 1, max: 15 },
            write: Span::Even { min: 2, max: 12 },
            servers: 2,
            lag_ms: vec![0, 30],
            history_ms: 300_000,
            history_changes_max: 20_000,
            timeout_ms: 30_000,
        }
    }
}

/// What watches are like.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WatchSetup {
    /// From a change to its being told, over and above the server's lag.
    pub delay: Span,
    /// How long a watch lasts; then it ends as watches do.
    pub lasts: Span,
    /// How often a watch with nothing to say says a bookmark; never for 0.
    pub bookmark_ms: u64,
}

impl Default for WatchSetup {
    fn default() -> Self {
        Self {
            delay: Span::Even { min: 1, max: 20 },
            lasts: Span::Even { min: 240_000, max: 290_000 },
            bookmark_ms: 60_000,
        }
    }
}

/// How long the control plane takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ControlSetup {
    /// Until the Job controller sees a new Job.
    pub job_sync: Span,
    /// Until it sees what became of a pod: it gathers such news for a second.
    pub pod_sync: Span,
    /// Until the next pod after one that failed; doubles with each, up to ten minutes.
    pub pod_backoff_ms: u64,
    /// Until the scheduler tries the pods that wait.
    pub schedule: Span,
    /// Until garbage collection finds pods whose Job is gone.
    pub collect: Span,
    /// How long a node may be silent before it is not ready.
    pub node_silence_ms: u64,
    /// How long pods stay on a node that is not ready.
    pub toleration_ms: u64,
    /// How long pods outlive their deleted node.
    pub orphan: Span,
    /// How often the autoscaler looks.
    pub scan_ms: u64,
    /// How long a node is empty before the autoscaler takes it away.
    pub idle_ms: u64,
    /// How long a pool without stock is left alone.
    pub stockout_backoff_ms: u64,
}

impl Default for ControlSetup {
    fn default() -> Self {
        Self {
            job_sync: Span::Even { min: 5, max: 60 },
            pod_sync: Span::Even { min: 1_000, max: 1_200 },
            pod_backoff_ms: 10_000,
            schedule: Span::Even { min: 2, max: 40 },
            collect: Span::Even { min: 50, max: 2_000 },
            node_silence_ms: 50_000,
            toleration_ms: 300_000,
            orphan: Span::Even { min: 40_000, max: 60_000 },
            scan_ms: 10_000,
            idle_ms: 600_000,
            stockout_backoff_ms: 300_000,
        }
    }
}

/// How long kubelets take.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct KubeletSetup {
    /// Until a kubelet sees what the API server has for it.
    pub see: Span,
    /// To mount volumes and make the sandbox.
    pub mount: Span,
    /// To pull the images on a node that has none of them.
    pub pull_cold: Span,
    /// To find the images on a node that has them.
    pub pull_warm: Span,
    /// The init container.
    pub init: Span,
    /// From a change of a container to its being written.
    pub status: Span,
    /// To clean up after a pod.
    pub cleanup: Span,
}

impl Default for KubeletSetup {
    fn default() -> Self {
        Self {
            see: Span::Even { min: 5, max: 100 },
            mount: Span::Even { min: 200, max: 1_500 },
            pull_cold: Span::Lognormal { median: 18_000, sigma_permille: 500, max: 180_000 },
            pull_warm: Span::Even { min: 50, max: 600 },
            init: Span::Even { min: 200, max: 1_000 },
            status: Span::Even { min: 20, max: 1_000 },
            cleanup: Span::Even { min: 200, max: 2_000 },
        }
    }
}

/// The volume that providers are cached in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct CacheSetup {
    /// What kind it is.
    pub kind: CacheKind,
    /// How much it holds, in bytes.
    pub capacity_bytes: u64,
    /// For a volume that all share: how many may read or write at once before each gets less.
    pub streams: u32,
    /// Whether the volume can be used in one zone only; the first pod decides in which.
    pub is_zonal: bool,
}

impl Default for CacheSetup {
    fn default() -> Self {
        Self {
            kind: CacheKind::EmptyDir,
            capacity_bytes: 20 * 1024 * 1024 * 1024,
            streams: 8,
            is_zonal: false,
        }
    }
}

/// What kind a cache volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CacheKind {
    /// Each pod has its own, empty at first.
    EmptyDir,
    /// One that all pods share, with finite throughput (`ReadWriteMany`).
    Shared,
    /// One that is on one node at a time (`ReadWriteOnce`).
    OneNode,
    /// One on each node (`hostPath`).
    HostPath,
}
