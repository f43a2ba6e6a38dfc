//! The Job of one task, made of the template: every field of the template stays, and ours win only here.
//!
//! - `apiVersion`, `kind`, `metadata.name` and `metadata.namespace`;
//! - the labels and annotations that begin with `scalr.io/`, of the Job and of its pods;
//! - what the platform presets of the container `runner`: its image, its CPU request, its memory request and
//!   limit; a CPU limit that is below a preset request is raised to it, since Kubernetes would refuse it.
//!
//! What the template leaves open of a Job's failure and end is filled in: see `fill`.

use scalr_core::cluster::JobSpec;
use scalr_protocol::agent::Presets;
use serde_json::{Map, Value, json};

use super::{pod::RUNNER, quantity, template::Template};
use crate::cluster::marks;

/// What every Job of ours carries beside its task's marks, so that nobody takes it for his own: see
/// [`super::KubeOptions::selector`].
pub(super) type Own<'a> = &'a [(&'static str, String)];

/// How long a finished Job stays where the template does not say, and the last ceiling of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// `ttlSecondsAfterFinished`.
    pub(super) ttl_s: u64,
    /// `activeDeadlineSeconds`.
    pub(super) deadline_s: u64,
}

/// Makes the Job.
pub(super) fn job(template: &Template, spec: &JobSpec, namespace: &str, own: Own<'_>, ends: Ends) -> Value {
    let mut job = template.job.clone();
    job.insert("apiVersion".to_owned(), "batch/v1".into());
    job.insert("kind".to_owned(), "Job".into());
    let metadata = object(&mut job, "metadata");
    metadata.insert("name".to_owned(), spec.name.as_str().into());
    metadata.insert("namespace".to_owned(), namespace.into());
    mark(metadata, spec, own);
    let job_spec = object(&mut job, "spec");
    fill(job_spec, ends);
    let pod = object(job_spec, "template");
    mark(object(pod, "metadata"), spec, own);
    let containers = object(pod, "spec").get_mut("containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten().filter(|container| container["name"] == RUNNER) {
        preset(container, &spec.presets);
    }
    Value::Object(job)
}

/// The object under a key, made where there is none: a template that was found valid has no other kind of
/// value there.
fn object<'a>(parent: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = parent.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(object) => object,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            unreachable!("it was just made one")
        }
    }
}

fn mark(metadata: &mut Map<String, Value>, spec: &JobSpec, own: Own<'_>) {
    let labels = object(metadata, "labels");
    for (key, value) in marks::labels(spec).chain(own.iter().cloned()) {
        labels.insert(key.to_owned(), value.into());
    }
    let annotations = object(metadata, "annotations");
    for (key, value) in marks::annotations(spec) {
        annotations.insert(key.to_owned(), value.into());
    }
}

/// How a Job may fail and end where the template leaves it open. A pod that was disrupted is replaced, and
/// its successor asks Scalr whether it may still begin, since only Scalr knows; any other failure is the
/// Job's. A replacement waits until its predecessor has ended.
fn fill(spec: &mut Map<String, Value>, ends: Ends) {
    let policy = || {
        json!({"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}},
        ]})
    };
    let mut open = |key: &str, value: Value| {
        if spec.get(key).is_none_or(Value::is_null) {
            spec.insert(key.to_owned(), value);
        }
    };
    open("backoffLimit", 0.into());
    open("podFailurePolicy", policy());
    open("podReplacementPolicy", "Failed".into());
    open("ttlSecondsAfterFinished", ends.ttl_s.into());
    open("activeDeadlineSeconds", ends.deadline_s.into());
}

fn preset(container: &mut Value, presets: &Presets) {
    let Value::Object(container) = container else { return };
    if let Some(image) = &presets.image {
        container.insert("image".to_owned(), image.as_str().into());
    }
    if presets.cpu.is_none() && presets.memory.is_none() {
        return;
    }
    let resources = object(container, "resources");
    if let Some(cpu) = &presets.cpu {
        object(resources, "requests").insert("cpu".to_owned(), cpu.as_str().into());
        let limits = resources.get_mut("limits").and_then(Value::as_object_mut);
        if let Some(limit) = limits.and_then(|limits| limits.get_mut("cpu"))
            && quantity::is_below(limit, cpu)
        {
            *limit = cpu.as_str().into();
        }
    }
    if let Some(memory) = &presets.memory {
        for key in ["requests", "limits"] {
            object(resources, key).insert("memory".to_owned(), memory.as_str().into());
        }
    }
}

#[cfg(test)]
mod tests;
