//! What a Job of Kubernetes means in our nouns. Pure. An object that does not say for which task it is, is
//! nobody's.

use scalr_core::cluster::{Job, JobEnd, JobName, Uid, Version};
use scalr_protocol::id::{Fence, TaskId};

use super::{
    api::{JobView, Meta},
    error::cut,
};
use crate::worker::podinfo::{FENCE, TASK};

/// What cannot be read of an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// It is not for a task.
    #[error("it has no annotation `{0}` that can be read")]
    Mark(&'static str),
    /// Its versions can't be compared.
    #[error("its resourceVersion `{0}` is no number")]
    Version(String),
    /// It belongs to no Job.
    #[error("no Job is its owner")]
    Owner,
}

/// A Job as it was seen.
pub(super) fn job(view: &JobView) -> Result<Job, Unreadable> {
    let meta = &view.metadata;
    let (task, fence) = marks(meta)?;
    Ok(Job {
        name: JobName::from(&*meta.name),
        uid: Uid::from(&*meta.uid),
        version: version(&meta.resource_version)?,
        task,
        fence,
        is_deleting: meta.deletion_timestamp.is_some(),
        end: end(view),
        trouble: None,
    })
}

/// Whether a Job has had no pod yet, as the Job controller counts them.
pub(super) fn is_podless(view: &JobView) -> bool {
    let status = &view.status;
    let pods = status.active + status.succeeded + status.failed;
    pods == 0 && end(view).is_none() && view.metadata.deletion_timestamp.is_none()
}

/// For which task and fence an object is.
pub(super) fn marks(meta: &Meta) -> Result<(TaskId, Fence), Unreadable> {
    let value = |key: &'static str| meta.annotations.get(key).ok_or(Unreadable::Mark(key));
    let task = TaskId::new(value(TASK)?).map_err(|_| Unreadable::Mark(TASK))?;
    let fence = value(FENCE)?.parse().map_err(|_| Unreadable::Mark(FENCE))?;
    Ok((task, Fence(fence)))
}

/// Versions are opaque by the letter of the API and numbers of etcd's in fact, from Kubernetes 1.35 on also
/// by the letter (KEP-5504).
pub(super) fn version(text: &str) -> Result<Version, Unreadable> {
    text.parse().map(Version).map_err(|_| Unreadable::Version(cut(text)))
}

/// `SuccessCriteriaMet` and `FailureTarget` come before it, while pods still stop: they are no end.
fn end(view: &JobView) -> Option<JobEnd> {
    view.status.conditions.iter().find_map(|condition| {
        if condition.is_true("Complete") {
            Some(JobEnd::Complete)
        } else if condition.is_true("Failed") {
            Some(JobEnd::Failed { reason: cut(&condition.reason) })
        } else {
            None
        }
    })
}
