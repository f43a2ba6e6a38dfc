//! The task template: the Job of which every task's Job is made, as JSON, so that what this version has never
//! heard of stays in it.
//!
//! What is looked at here is only what a task can't do without. Whether Kubernetes takes the rest, Kubernetes
//! says.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    api::Meta,
    pod::{RUNNER, WORKER},
};

/// A custom resource that holds a template, as it comes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TemplateView {
    pub(super) metadata: Meta,
    pub(super) spec: TemplateSpecView,
    pub(super) status: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TemplateSpecView {
    pub(super) job_template: Value,
    pub(super) basename: Option<String>,
}

/// A template that can be used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template {
    /// `metadata` and `spec` of a Job.
    pub(super) job: Map<String, Value>,
}

/// What is known of the template.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Known {
    /// It has not been read yet.
    #[default]
    Unread,
    /// It can't be read, and why. Its last known state is used no more: nobody knows what it is now.
    Unreadable(String),
    /// It does not exist.
    Missing,
    /// It lacks something, each told in a sentence.
    Invalid(Vec<String>),
    /// It can be used.
    Valid(Arc<Template>),
}

impl Template {
    /// Takes a template, or says everything that it lacks. `deadline_s_min` is the smallest
    /// `activeDeadlineSeconds` that cuts no task short.
    pub(super) fn read(job: &Value, deadline_s_min: u64) -> Result<Self, Vec<String>> {
        let misses = misses(job, deadline_s_min);
        let job = job.as_object().filter(|_| misses.is_empty());
        job.map(|job| Self { job: job.clone() }).ok_or(misses)
    }
}

/// Everything that a template lacks.
fn misses(job: &Value, deadline_s_min: u64) -> Vec<String> {
    let mut misses = Vec::new();
    let mut say = |is_missed: bool, what: &str| {
        if is_missed {
            misses.push(format!("spec.jobTemplate{what}"));
        }
    };
    let spec = &job["spec"];
    say(!job.is_object(), " is missing");
    say(job.is_object() && !spec.is_object(), ".spec is missing");
    if !spec.is_object() {
        return misses;
    }
    let is_one = |value: &Value| value.is_null() || value.as_u64() == Some(1);
    say(!is_one(&spec["completions"]), ".spec.completions must be 1 or absent: a task runs once");
    say(!is_one(&spec["parallelism"]), ".spec.parallelism must be 1 or absent: a task has one pod");
    let mode = &spec["completionMode"];
    say(!mode.is_null() && mode != "NonIndexed", ".spec.completionMode must be NonIndexed or absent");
    say(spec["suspend"] == true, ".spec.suspend must be false or absent: a suspended Job starts nothing");
    let has_selector = spec["manualSelector"] == true || !spec["selector"].is_null();
    say(has_selector, ".spec has a selector of its own: leave selector and manualSelector out");
    let managed_by = &spec["managedBy"];
    let is_managed = !managed_by.is_null() && managed_by != "kubernetes.io/job-controller";
    say(is_managed, ".spec.managedBy names another controller than Kubernetes' own");
    let deadline_s = &spec["activeDeadlineSeconds"];
    let is_short = !deadline_s.is_null() && deadline_s.as_u64().is_none_or(|s| s < deadline_s_min);
    let what =
        format!(".spec.activeDeadlineSeconds must be at least {deadline_s_min} or absent: it ends tasks");
    say(is_short, &what);
    for place in ["", ".spec.template"] {
        let metadata = if place.is_empty() { &job["metadata"] } else { &spec["template"]["metadata"] };
        for map in ["labels", "annotations"] {
            say(!is_text_map(&metadata[map]), &format!("{place}.metadata.{map} must map texts to texts"));
        }
    }
    pod_misses(&spec["template"]["spec"], &mut say);
    misses
}

fn is_text_map(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(|map| map.values().all(Value::is_string))
}

fn pod_misses(pod: &Value, say: &mut impl FnMut(bool, &str)) {
    const POD: &str = ".spec.template.spec";
    if !pod.is_object() {
        return say(true, &format!("{POD} is missing"));
    }
    say(pod["restartPolicy"] != "Never", &format!("{POD}.restartPolicy must be Never"));
    for name in [WORKER, RUNNER] {
        say(
            container(pod, name).is_none(),
            &format!("{POD}.containers must have a container that is called `{name}`"),
        );
    }
    let Some(worker) = container(pod, WORKER) else { return };
    let podinfo: Vec<&str> =
        list(&pod["volumes"]).filter(|volume| tells_annotations(volume)).map(name).collect();
    say(
        podinfo.is_empty(),
        &format!(
            "{POD}.volumes must have a downward API volume with a file `annotations` of metadata.annotations"
        ),
    );
    let is_mounted = list(&worker["volumeMounts"]).any(|mount| podinfo.contains(&name(mount)));
    say(
        !podinfo.is_empty() && !is_mounted,
        &format!(
            "{POD}.containers: `{WORKER}` must mount the downward API volume, at /etc/podinfo by default"
        ),
    );
}

/// Whether a volume tells the pod's annotations where a worker looks for them.
fn tells_annotations(volume: &Value) -> bool {
    let is_told = |item: &Value| {
        item["path"] == "annotations" && item["fieldRef"]["fieldPath"] == "metadata.annotations"
    };
    let projected =
        list(&volume["projected"]["sources"]).flat_map(|source| list(&source["downwardAPI"]["items"]));
    list(&volume["downwardAPI"]["items"]).chain(projected).any(is_told)
}

fn container<'a>(pod: &'a Value, wanted: &str) -> Option<&'a Value> {
    list(&pod["containers"]).find(|container| name(container) == wanted)
}

fn name(named: &Value) -> &str {
    named["name"].as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
pub(super) mod tests;
