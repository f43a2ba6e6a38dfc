//! What a template must have.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

/// The least that can be used.
pub(in crate::cluster::kube) fn least() -> Value {
    json!({"spec": {"template": {"spec": {
        "restartPolicy": "Never",
        "containers": [
            {"name": "worker", "image": "agent", "volumeMounts": [{"name": "podinfo", "mountPath": "/etc/podinfo"}]},
            {"name": "runner", "image": "runner"},
        ],
        "volumes": [{"name": "podinfo", "downwardAPI": {"items": [
            {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}},
        ]}}],
    }}}})
}

/// The misses of the least template, changed at one place.
#[track_caller]
fn check(pointer: &str, key: &str, value: Value, expected: &Expect) {
    let mut job = least();
    let place = job.pointer_mut(pointer).unwrap();
    place[key] = value;
    let said = match Template::read(&job, 86_400) {
        Ok(_) => "valid".to_owned(),
        Err(misses) => misses.join("\n"),
    };
    expected.assert_eq(&said);
}

#[test]
fn the_least_template_is_valid() {
    assert_eq!(misses(&least(), 86_400), Vec::<String>::new());
}

#[test]
fn what_a_task_cant_do_without_is_named() {
    let spec = "/spec";
    check(
        spec,
        "completions",
        2.into(),
        &expect!["spec.jobTemplate.spec.completions must be 1 or absent: a task runs once"],
    );
    check(
        spec,
        "parallelism",
        0.into(),
        &expect!["spec.jobTemplate.spec.parallelism must be 1 or absent: a task has one pod"],
    );
    check(
        spec,
        "completionMode",
        "Indexed".into(),
        &expect!["spec.jobTemplate.spec.completionMode must be NonIndexed or absent"],
    );
    check(
        spec,
        "suspend",
        true.into(),
        &expect!["spec.jobTemplate.spec.suspend must be false or absent: a suspended Job starts nothing"],
    );
    check(
        spec,
        "manualSelector",
        true.into(),
        &expect!["spec.jobTemplate.spec has a selector of its own: leave selector and manualSelector out"],
    );
    check(
        spec,
        "selector",
        json!({"matchLabels": {}}),
        &expect!["spec.jobTemplate.spec has a selector of its own: leave selector and manualSelector out"],
    );
    check(
        spec,
        "managedBy",
        "example.com/other".into(),
        &expect!["spec.jobTemplate.spec.managedBy names another controller than Kubernetes' own"],
    );
    check(
        spec,
        "activeDeadlineSeconds",
        3_600.into(),
        &expect![
            "spec.jobTemplate.spec.activeDeadlineSeconds must be at least 86400 or absent: it ends tasks"
        ],
    );
    check(spec, "template", json!({}), &expect!["spec.jobTemplate.spec.template.spec is missing"]);
}

#[test]
fn what_a_tasks_pod_cant_do_without_is_named() {
    let (pod, worker) = ("/spec/template/spec", "/spec/template/spec/containers/0");
    check(
        pod,
        "restartPolicy",
        "OnFailure".into(),
        &expect!["spec.jobTemplate.spec.template.spec.restartPolicy must be Never"],
    );
    check(
        pod,
        "containers",
        json!([]),
        &expect![[r"
        spec.jobTemplate.spec.template.spec.containers must have a container that is called `worker`
        spec.jobTemplate.spec.template.spec.containers must have a container that is called `runner`"]],
    );
    check(
        pod,
        "volumes",
        json!([]),
        &expect![
            "spec.jobTemplate.spec.template.spec.volumes must have a downward API volume with a file `annotations` of metadata.annotations"
        ],
    );
    check(
        worker,
        "volumeMounts",
        json!([]),
        &expect![
            "spec.jobTemplate.spec.template.spec.containers: `worker` must mount the downward API volume, at /etc/podinfo by default"
        ],
    );
    check(
        "",
        "metadata",
        json!({"labels": {"a": 1}}),
        &expect!["spec.jobTemplate.metadata.labels must map texts to texts"],
    );
    check("", "spec", Value::Null, &expect!["spec.jobTemplate.spec is missing"]);
}

#[test]
fn what_a_task_can_live_with_is_no_miss() {
    let spec = "/spec";
    check(spec, "completions", 1.into(), &expect!["valid"]);
    check(spec, "suspend", false.into(), &expect!["valid"]);
    check(spec, "activeDeadlineSeconds", 86_400.into(), &expect!["valid"]);
    check(spec, "neverHeardOf", json!({"x": 1}), &expect!["valid"]);
    let projected = json!([{"name": "podinfo", "projected": {"sources": [{"downwardAPI": {"items": [
        {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}},
    ]}}]}}]);
    check("/spec/template/spec", "volumes", projected, &expect!["valid"]);
}

#[test]
fn nothing_is_no_template() {
    for nothing in [Value::Null, json!("text"), json!([])] {
        assert_eq!(misses(&nothing, 0), ["spec.jobTemplate is missing"]);
    }
}
