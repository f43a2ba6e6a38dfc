//! What can go wrong, by its id in the project's catalogue, as data.
//!
//! A fault is either a [`Snag`], which happens to calls that fit a description, or a strike, which comes at a
//! moment; both name their place by what it means ("the first create of run 3's plan: carried out, answer
//! lost"). What lasts says for how long; all else heals when the chaos of a scenario is over. Which faults a
//! scenario gets is drawn in `swarm`: a few kinds, so that some scenarios are all watches and others all
//! crashes.
//!
//! It must never hold a place in a global order of events.

mod agents;
mod api;
mod nodes;
mod pods;
mod scalr;
mod swarm;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::world::snag::{Planned, Snag};

pub use self::swarm::{Dice, Swarm};

/// One thing that goes wrong in a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    /// What it is an example of.
    pub id: FaultId,
    /// Where and how it happens.
    pub what: What,
}

/// Where and how a fault happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// To calls that fit.
    Snag(Snag),
    /// At a moment.
    Strike(Planned),
}

macro_rules! catalogue {
    ($($id:ident $name:literal $about:literal $(($why:literal))?;)+) => {
        /// A kind of fault, by its id in the catalogue.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, Deserialize, JsonSchema)]
        pub enum FaultId {
            $(#[doc = $about] $id,)+
        }

        impl FaultId {
            /// The whole catalogue, in order.
            pub const ALL: &'static [Self] = &[$(Self::$id,)+];

            /// Its id and its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$id => concat!(stringify!($id), " ", $name),)+
                }
            }

            /// What it is.
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$id => $about,)+
                }
            }

            /// Why it is never drawn, where it is not.
            pub const fn why_not(self) -> Option<&'static str> {
                match self {
                    $(Self::$id => catalogue!(@why $($why)?),)+
                }
            }
        }
    };
    (@why) => { None };
    (@why $why:literal) => { Some($why) };
}

catalogue! {
    S1 "POLL_TIMEOUT" "A long poll is answered after its caller gave up.";
    S2 "POLL_EMPTY_LIE" "A task is shown late.";
    S3 "TASK_REDELIVERED" "A grant gets lost, or a call comes twice: the same again for somebody.";
    S4 "ACK_LOST_APPLIED" "A call has had its effect; its answer gets lost.";
    S5 "ACK_LOST_NOT_APPLIED" "A call gets lost on its way.";
    S6 "RATE_LIMIT_429" "Scalr asks to come back later.";
    S7 "5XX_BURST" "Scalr is broken or away.";
    S8 "LATENCY_SPIKE" "Every way to Scalr takes longer.";
    S9 "CANCEL_RACE" "A user cancels at a moment of his own.";
    S10 "TOKEN_EXPIRED_401" "A session ends, or a token is refused or rotated.";
    S11 "LONGPOLL_CUT" "A long poll breaks.";
    S12 "TASK_SCHEMA_UNKNOWN_FIELD" "A task has an attribute that nobody knows."
        ("calls have no bytes here; the protocol's fixtures and the agent's tests cover it");
    S13 "SCALR_REASSIGN" "A controller can't reach Scalr until its leases have lapsed.";
    S14 "DUPLICATE_TASK_ID_NEW_CONTENT" "One task id with another content."
        ("the server draws ids itself and never again");
    K1 "CREATE_LOST_REPLY_APPLIED" "A Job is made; the answer gets lost.";
    K2 "CREATE_LOST_NOT_APPLIED" "The creation of a Job gets lost.";
    K3 "ALREADY_EXISTS_FOREIGN" "The name of a Job is taken by somebody else's.";
    K4 "CONFLICT_409" "The API server answers 409.";
    K5 "APF_429" "The API server asks to come back later.";
    K6 "500/503" "The API server is broken.";
    K7 "FORBIDDEN_QUOTA_403" "A quota leaves no room.";
    K8 "WEBHOOK_DENY" "An admission webhook refuses a Job.";
    K9 "SLOW_CREATE" "A Job is made after its creator gave up.";
    K10 "DELETE_BACKGROUND_SLOW" "A finalizer keeps a deleted Job.";
    K11 "RECREATED_SAME_NAME_NEW_UID" "A user replaces a Job, or copies it.";
    K12 "TTL_DELETED_BEFORE_OBSERVED" "Jobs that finish are gone at once.";
    K13 "USER_DELETES" "A user deletes a Job or a pod.";
    K14 "NAMESPACE_TERMINATING" "The namespace is deleted and comes back.";
    K15 "ETCD_RESTORE" "The API server's store is restored: versions go back."
        ("a restored store forgets Jobs that ran: nothing that the agent could do holds its promises");
    W1 "EVENT_DELAY" "A watch says something late.";
    W2 "STALL_NO_ERROR" "Watches say nothing for a while.";
    W3 "COALESCED" "Watches say only how objects look at last.";
    W4 "DISCONNECT" "Watches end.";
    W5 "GONE_410" "The history is forgotten that far back.";
    W6 "RELIST_STALE" "Lists come from caches that are behind.";
    W7 "TIME_TRAVEL" "A watch is begun again at a server that is behind.";
    W8 "DUPLICATE_ON_RELIST" "After a new list all is told again.";
    W9 "DELETED_MISSED" "A deletion is never told.";
    W10 "CROSS_KIND_SKEW" "Pods are told long before their Jobs, or the other way round.";
    W11 "BOOKMARK_ONLY" "Watches say bookmarks.";
    A1 "CRASH_BEFORE_EFFECT" "A process dies before it sends a call.";
    A2 "CRASH_AFTER_SEND" "A process dies once a call is sent.";
    A3 "CRASH_AFTER_APPLY" "A process dies once a call has had its effect.";
    A4 "CRASH_LOOP" "A process dies again and again.";
    A5 "DOWNTIME" "A controller stays away for longer than finished Jobs are kept.";
    A6 "SIGTERM_DURING_CREATE" "A controller is stopped while it makes a Job.";
    A7 "SIGKILL_AT_GRACE" "A controller is stopped; what it can't finish in its grace is cut.";
    A8 "TWO_REPLICAS_ROLLOUT" "A controller is replaced by one of another name.";
    A9 "LEASE_LOST_PARTITION" "A process can reach nobody.";
    A10 "PAUSE" "A process is suspended and goes on with stale beliefs.";
    A11 "CLOCK_SKEW" "A process's clock jumps ahead.";
    A12 "CLOCK_RATE" "A process's clock runs too fast or too slowly.";
    A13 "UPGRADE_SCHEMA" "A new version reads what an old one left."
        ("there is one version yet");
    A14 "CONFIG_RELOAD_POLICY_SWITCH" "The policy changes in mid-queue."
        ("options are read at the start only");
    P1 "EVICT_BEFORE_START" "A pod is evicted before its task is claimed.";
    P2 "EVICT_AFTER_START" "A pod is evicted while user code runs.";
    P3 "PREEMPT_BY_PRIORITY" "A pod of higher priority takes a place.";
    P4 "OOM_KILL" "A runner is killed, for its memory or by anybody.";
    P5 "IMAGE_PULL" "Images are slow or can't be pulled.";
    P6 "CONTAINER_CREATE_ERROR" "Containers can't be created, or volumes mounted.";
    P7 "STARTED_NO_STATUS" "What becomes of containers is not written for a while.";
    P8 "EXIT0_ON_SIGTERM" "A worker ends with 0 when it is stopped."
        ("every worker does, wherever its pod is stopped: P1, P2, P3, N4, N5");
    P9 "STUCK_TERMINATING" "A pod that has ended does not go.";
    P10 "UNSCHEDULABLE" "No node fits a pod, or strangers fill the nodes.";
    P11 "STARTUP_TIMEOUT_RACE" "A worker comes up just when its launch is given up.";
    N1 "NODE_LOST" "A machine dies.";
    N2 "NODE_PARTITION_POD_STILL_RUNNING" "A node is cut off; its containers go on.";
    N3 "NODE_FLAP" "A node is cut off and comes back, again and again.";
    N4 "SPOT_RECLAIM" "The provider takes a node back.";
    N5 "DRAIN_WITH_PDB" "Somebody drains or cordons a node.";
    N6 "DISK_PRESSURE" "A node's disk is full.";
    N7 "KUBELET_RESTART" "A kubelet restarts.";
    N8 "CAPACITY_LIE" "A node has less room than it says.";
    N9 "ZONE_OUTAGE" "A zone is cut off or dies.";
    C1 "SCALE_UP_SLOW" "New nodes take longer.";
    C2 "STOCKOUT" "The provider has no more machines.";
    C3 "SCALE_DOWN_RACE" "A node goes just when a pod is bound to it.";
    C4 "MAX_NODES" "A pool may not grow.";
    C5 "CONSOLIDATION" "The autoscaler drains a node to save it.";
    V1 "RWO_MULTI_ATTACH" "A one-node cache volume is attached elsewhere.";
    V2 "RWX_SATURATED" "A shared cache volume is slow.";
    V3 "HOSTPATH_COLD_NODE" "The cache of a node is empty again.";
    V4 "CACHE_FULL_ENOSPC" "A cache volume is full.";
    V5 "CACHE_CORRUPT" "What lies in cache volumes is broken.";
    V6 "CACHE_LOCK_CONTENTION" "Whoever fills a cache waits for all others who do.";
    V7 "EVICT_WHILE_IN_USE" "Somebody empties a cache volume that is in use.";
    V8 "ZONE_PINNED_PV" "The cache volume is in a zone without nodes.";
}

impl std::fmt::Display for FaultId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
