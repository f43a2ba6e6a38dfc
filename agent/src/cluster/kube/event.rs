//! What events tell of a pod that does not start, or of a Job that gets no pod, where their status is silent.
//! Pure.
//!
//! Events are hints: they come late, are dropped under load and vanish after an hour. Nothing is concluded
//! from their absence.

use jiff::Timestamp;
use scalr_core::cluster::{JobTrouble, JobTroubleKind, Pod, PodTrouble, TroubleKind};

use super::{api::EventView, error::cut, pod::time};

/// What keeps a pod from starting, as its events have it; `None` leaves what its status says.
pub(super) fn pod_trouble(pod: &Pod, events: &[EventView]) -> Option<PodTrouble> {
    let is_scheduled = pod.node.is_some();
    match pod.trouble.as_ref().map(|trouble| trouble.kind) {
        None | Some(TroubleKind::Unschedulable | TroubleKind::ScalingUp) => {}
        // The kubelet says it itself.
        Some(
            TroubleKind::ImagePull
            | TroubleKind::ImageInvalid
            | TroubleKind::ContainerCreate
            | TroubleKind::Volume,
        ) => return None,
    }
    let told = |event: &EventView| {
        let kind = if is_scheduled { on_node(&event.reason) } else { off_node(&event.reason) }?;
        Some((
            latest(event),
            PodTrouble { kind, message: cut(&format!("{}: {}", event.reason, event.message)) },
        ))
    };
    let trouble = events.iter().filter_map(told).max_by_key(|(at, _)| *at).map(|(_, trouble)| trouble)?;
    // A node is coming, or not: of what the scheduler says its own condition tells more.
    (is_scheduled || trouble.kind == TroubleKind::ScalingUp).then_some(trouble)
}

/// What an event says of a pod that no node has: of Kubernetes' scheduler, of the Cluster Autoscaler
/// (`TriggeredScaleUp`, `NotTriggerScaleUp`) and of Karpenter (`Nominated`).
fn off_node(reason: &str) -> Option<TroubleKind> {
    match reason {
        "TriggeredScaleUp" | "Nominated" => Some(TroubleKind::ScalingUp),
        "NotTriggerScaleUp" => Some(TroubleKind::Unschedulable),
        _ => None,
    }
}

/// What an event says of a pod that is on its node.
fn on_node(reason: &str) -> Option<TroubleKind> {
    match reason {
        "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" | "VolumeResizeFailed" => {
            Some(TroubleKind::Volume)
        }
        "FailedCreatePodSandBox"
        | "FailedPodSandBoxStatus"
        | "NetworkNotReady"
        | "FailedCreatePodContainer" => Some(TroubleKind::ContainerCreate),
        _ => None,
    }
}

/// What keeps a Job from getting a pod: what the Job controller was told when it last tried to make one. The
/// sentences are those of the quota and of the admission; what is neither, such as a server that is too busy,
/// is tried again at once and is no trouble.
pub(super) fn job_trouble(events: &[EventView]) -> Option<JobTrouble> {
    let of_pods = events.iter().filter(|event| matches!(&*event.reason, "FailedCreate" | "SuccessfulCreate"));
    let last = of_pods.max_by_key(|event| latest(event))?;
    let said = &last.message;
    let kind = if last.reason == "SuccessfulCreate" {
        return None;
    } else if said.contains("exceeded quota") || said.contains("failed quota") {
        JobTroubleKind::Quota
    } else if ["is forbidden", "denied the request", "is invalid", "denied request"]
        .iter()
        .any(|no| said.contains(no))
    {
        JobTroubleKind::Refused
    } else {
        return None;
    };
    Some(JobTrouble { kind, message: cut(said) })
}

/// When it was last so.
fn latest(event: &EventView) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_deref());
    let times = [
        series,
        event.last_timestamp.as_deref(),
        event.event_time.as_deref(),
        event.first_timestamp.as_deref(),
    ];
    times.into_iter().flatten().find_map(time)
}

#[cfg(test)]
mod tests;
