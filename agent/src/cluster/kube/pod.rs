//! What a pod of Kubernetes means in our nouns: what keeps it from starting, why it is ended, what its
//! containers do. Pure.
//!
//! It never takes the word of anybody but the kubelet for the end of a container, and not even the kubelet's
//! where that says that it does not know.

use jiff::{SignedDuration, Timestamp};
use scalr_core::cluster::{
    Container, Disruption, JobName, NodeName, Pod, PodName, PodTrouble, TroubleKind, Uid,
};

use super::{
    api::{ContainerView, Meta, PodStatusView, PodView, TerminatedView, WaitingView},
    error::cut,
    seen::{Unreadable, marks, version},
};

/// The container that supervises.
pub(super) const WORKER: &str = "worker";
/// The container that executes.
pub(super) const RUNNER: &str = "runner";
/// On every pod of a Job since Kubernetes 1.27, and also when the Job is gone and left its pods behind.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
const JOB_UID: &str = "batch.kubernetes.io/controller-uid";

/// A pod as it was seen.
pub(super) fn pod(view: &PodView) -> Result<Pod, Unreadable> {
    let meta = &view.metadata;
    let (task, fence) = marks(meta)?;
    let (job, job_uid) = owner(meta)?;
    let (worker, runner) = (container(&view.status, WORKER), container(&view.status, RUNNER));
    let is_waiting = !is_over(view) && (worker == Container::Waiting || runner == Container::Waiting);
    Ok(Pod {
        name: PodName::from(&*meta.name),
        uid: Uid::from(&*meta.uid),
        version: version(&meta.resource_version)?,
        job,
        job_uid,
        task,
        fence,
        is_deleting: meta.deletion_timestamp.is_some(),
        node: view.spec.node_name.as_deref().filter(|node| !node.is_empty()).map(NodeName::from),
        trouble: if is_waiting { trouble(view) } else { None },
        worker,
        runner,
        disruption: disruption(view),
    })
}

/// Whether a pod is still to start, so that a look at its events may tell why it does not.
pub(super) fn is_starting(pod: &Pod) -> bool {
    pod.worker == Container::Waiting && pod.disruption.is_none() && !pod.is_deleting
}

fn owner(meta: &Meta) -> Result<(JobName, Uid), Unreadable> {
    if let (Some(name), Some(uid)) = (meta.labels.get(JOB_NAME), meta.labels.get(JOB_UID)) {
        return Ok((JobName::from(&**name), Uid::from(&**uid)));
    }
    let owner = meta.owner_references.iter().find(|owner| owner.kind == "Job" && owner.controller);
    owner.map(|owner| (JobName::from(&*owner.name), Uid::from(&*owner.uid))).ok_or(Unreadable::Owner)
}

fn is_over(view: &PodView) -> bool {
    matches!(&*view.status.phase, "Succeeded" | "Failed")
}

fn container(status: &PodStatusView, name: &str) -> Container {
    let Some(found) = status.container_statuses.iter().find(|container| container.name == name) else {
        return Container::Waiting;
    };
    match (&found.state.terminated, &found.state.running) {
        // The kubelet has lost sight of it: what may still run is not known to have ended.
        (Some(end), _) if end.reason == "ContainerStatusUnknown" => Container::Running,
        (Some(end), _) => {
            Container::Terminated { exit_code: end.exit_code, is_oom: end.reason == "OOMKilled" }
        }
        (None, Some(_)) => Container::Running,
        (None, None) => Container::Waiting,
    }
}

/// What keeps it from starting, by its status alone.
fn trouble(view: &PodView) -> Option<PodTrouble> {
    let status = &view.status;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses);
    // What can't heal goes before what comes first.
    let can_heal = |trouble: &PodTrouble| trouble.kind != TroubleKind::ImageInvalid;
    let waiting = containers.filter_map(waiting_trouble).min_by_key(can_heal);
    waiting.or_else(|| {
        let unscheduled = status.conditions.iter().find(|condition| {
            condition.kind == "PodScheduled"
                && condition.status == "False"
                && matches!(&*condition.reason, "Unschedulable" | "SchedulingGated")
        })?;
        Some(PodTrouble { kind: TroubleKind::Unschedulable, message: cut(&unscheduled.message) })
    })
}

fn waiting_trouble(container: &ContainerView) -> Option<PodTrouble> {
    let waiting = container.state.waiting.as_ref()?;
    let kind = kind_of(&waiting.reason)?;
    Some(PodTrouble { kind, message: said(&container.name, waiting) })
}

/// The kubelet's reasons (`pkg/kubelet/images/types.go`, `pkg/kubelet/container/sync_result.go`). Those that
/// say that all goes well, `ContainerCreating` and `PodInitializing`, are no trouble.
fn kind_of(reason: &str) -> Option<TroubleKind> {
    match reason {
        "InvalidImageName" => Some(TroubleKind::ImageInvalid),
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => Some(TroubleKind::ImagePull),
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "PreCreateHookError"
        | "PreStartHookError"
        | "PostStartHookError"
        | "RunContainerError"
        | "CrashLoopBackOff"
        | "CreatePodSandboxError"
        | "ConfigPodSandboxError" => Some(TroubleKind::ContainerCreate),
        _ => None,
    }
}

fn said(container: &str, waiting: &WaitingView) -> String {
    if waiting.message.is_empty() {
        cut(&format!("{container}: {}", waiting.reason))
    } else {
        cut(&format!("{container}: {}: {}", waiting.reason, waiting.message))
    }
}

fn disruption(view: &PodView) -> Option<Disruption> {
    let status = &view.status;
    let target = status.conditions.iter().find(|condition| condition.is_true("DisruptionTarget"));
    let by_condition = target.map(|condition| match &*condition.reason {
        "PreemptionByScheduler" => Disruption::Preempted,
        // A taint drives away what runs on a node that does not answer; PodGC collects what was on one that
        // is no more.
        "DeletionByTaintManager" | "DeletionByPodGC" => Disruption::NodeLost,
        // `EvictionByEvictionAPI`, `TerminationByKubelet`, and whatever will come.
        _ => Disruption::Evicted,
    });
    let by_reason = || match &*status.reason {
        "Evicted"
        | "Preempting"
        | "Terminated"
        | "NodeShutdown"
        | "Shutdown"
        | "UnexpectedAdmissionError" => Some(Disruption::Evicted),
        "NodeLost" | "NodeAffinity" => Some(Disruption::NodeLost),
        _ => None,
    };
    by_condition.or_else(by_reason).or_else(|| was_cut_short(view).then_some(Disruption::Deleted))
}

/// Whether it was deleted before it had ended by itself.
fn was_cut_short(view: &PodView) -> bool {
    let Some(going) = &view.metadata.deletion_timestamp else { return false };
    if !is_over(view) {
        return true;
    }
    // The time at which it is to be gone, less the grace, is that of the deletion.
    let grace = SignedDuration::from_secs(view.metadata.deletion_grace_period_seconds.unwrap_or(0));
    let Some(deleted_at) = time(going).and_then(|at| at.checked_sub(grace).ok()) else { return false };
    let ends = view.status.container_statuses.iter().filter_map(|c| c.state.terminated.as_ref());
    ends.filter_map(finished_at).any(|finished_at| finished_at > deleted_at)
}

fn finished_at(end: &TerminatedView) -> Option<Timestamp> {
    time(end.finished_at.as_deref()?)
}

pub(super) fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

#[cfg(test)]
mod tests;
