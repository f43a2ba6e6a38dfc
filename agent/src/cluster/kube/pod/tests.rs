//! Pods as kubelets, schedulers and evictors leave them.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

/// A pod with this spec and status, and what is in `extra` of its metadata.
fn view(extra: Value, node: Option<&str>, status: &Value) -> PodView {
    let mut metadata = json!({
        "name": "job-1-x", "uid": "u-1", "resourceVersion": "7",
        "labels": {"batch.kubernetes.io/job-name": "job-1", "batch.kubernetes.io/controller-uid": "u-0"},
        "annotations": {"scalr.io/task": "atask-1", "scalr.io/fence": "2"},
        "managedFields": [{"manager": "kubelet"}],
    });
    if let (Value::Object(metadata), Value::Object(extra)) = (&mut metadata, extra) {
        metadata.extend(extra);
    }
    serde_json::from_value(json!({"metadata": metadata, "spec": {"nodeName": node}, "status": status}))
        .unwrap()
}

#[track_caller]
fn check(extra: Value, node: Option<&str>, status: &Value, expected: &Expect) {
    let pod = pod(&view(extra, node, status)).unwrap();
    let trouble =
        pod.trouble.map_or("-".to_owned(), |trouble| format!("{:?}: {}", trouble.kind, trouble.message));
    let text = format!(
        "worker {:?}, runner {:?}\ntrouble {trouble}\ndisruption {:?}",
        pod.worker, pod.runner, pod.disruption
    );
    expected.assert_eq(&text);
}

fn waiting(name: &str, reason: &str, message: &str) -> Value {
    json!({"name": name, "state": {"waiting": {"reason": reason, "message": message}}})
}

fn ended(name: &str, exit_code: i32, reason: &str, at: &str) -> Value {
    json!({"name": name, "state": {"terminated": {"exitCode": exit_code, "reason": reason, "finishedAt": at}}})
}

#[test]
fn a_pod_that_no_node_takes_is_unschedulable() {
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient cpu.",
    });
    check(
        json!({}),
        None,
        &json!({"phase": "Pending", "conditions": [condition]}),
        &expect![[r"
        worker Waiting, runner Waiting
        trouble Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.
        disruption None"]],
    );
}

#[test]
fn what_keeps_a_container_waiting_has_a_class() {
    let pulling =
        [waiting("worker", "ContainerCreating", ""), waiting("runner", "ImagePullBackOff", "Back-off")];
    check(
        json!({}),
        Some("n"),
        &json!({"phase": "Pending", "containerStatuses": pulling}),
        &expect![[r"
        worker Waiting, runner Waiting
        trouble ImagePull: runner: ImagePullBackOff: Back-off
        disruption None"]],
    );
    let invalid =
        [waiting("worker", "ErrImagePull", "x"), waiting("runner", "InvalidImageName", "bad reference")];
    check(
        json!({}),
        Some("n"),
        &json!({"phase": "Pending", "containerStatuses": invalid}),
        &expect![[r"
        worker Waiting, runner Waiting
        trouble ImageInvalid: runner: InvalidImageName: bad reference
        disruption None"]],
    );
    let init = [waiting("install", "CreateContainerConfigError", "secret \"token\" not found")];
    check(
        json!({}),
        Some("n"),
        &json!({"phase": "Pending", "initContainerStatuses": init}),
        &expect![[r#"
            worker Waiting, runner Waiting
            trouble ContainerCreate: install: CreateContainerConfigError: secret "token" not found
            disruption None"#]],
    );
    let fine = [waiting("worker", "PodInitializing", ""), waiting("runner", "PodInitializing", "")];
    check(
        json!({}),
        Some("n"),
        &json!({"phase": "Pending", "containerStatuses": fine}),
        &expect![[r"
        worker Waiting, runner Waiting
        trouble -
        disruption None"]],
    );
}

#[test]
fn a_pod_at_work_is_in_no_trouble_whatever_its_sidecars_do() {
    let running = |name| json!({"name": name, "state": {"running": {"startedAt": "2026-11-22T08:00:00Z"}}});
    let init = [waiting("proxy", "CrashLoopBackOff", "back-off 5m0s")];
    let status = json!({
        "phase": "Running", "initContainerStatuses": init,
        "containerStatuses": [running("runner"), running("worker"), waiting("extra", "ErrImagePull", "")],
    });
    check(
        json!({}),
        Some("n"),
        &status,
        &expect![[r"
        worker Running, runner Running
        trouble -
        disruption None"]],
    );
}

#[test]
fn only_what_the_kubelet_saw_end_has_ended() {
    let at = "2026-11-22T08:00:00Z";
    let status = json!({"phase": "Failed", "containerStatuses": [
        ended("worker", 0, "Completed", at), ended("runner", 137, "OOMKilled", at),
    ]});
    check(
        json!({}),
        Some("n"),
        &status,
        &expect![[r"
        worker Terminated { exit_code: 0, is_oom: false }, runner Terminated { exit_code: 137, is_oom: true }
        trouble -
        disruption None"]],
    );
    // A kubelet that has lost sight of its containers.
    let status = json!({"phase": "Failed", "containerStatuses": [
        ended("worker", 137, "ContainerStatusUnknown", at), ended("runner", 137, "ContainerStatusUnknown", at),
    ]});
    check(
        json!({}),
        Some("n"),
        &status,
        &expect![[r"
        worker Running, runner Running
        trouble -
        disruption None"]],
    );
}

#[test]
fn whoever_ends_a_pod_is_named() {
    let target = |reason: &str| {
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": reason});
        json!({"phase": "Running", "conditions": [condition]})
    };
    let by = |reason: &str| pod(&view(json!({}), Some("n"), &target(reason))).unwrap().disruption;
    let reasons = [
        "PreemptionByScheduler",
        "EvictionByEvictionAPI",
        "TerminationByKubelet",
        "DeletionByTaintManager",
        "DeletionByPodGC",
    ];
    let text: Vec<String> = reasons.iter().map(|reason| format!("{reason}: {:?}", by(reason))).collect();
    expect![[r"
        PreemptionByScheduler: Some(Preempted)
        EvictionByEvictionAPI: Some(Evicted)
        TerminationByKubelet: Some(Evicted)
        DeletionByTaintManager: Some(NodeLost)
        DeletionByPodGC: Some(NodeLost)"]]
    .assert_eq(&text.join("\n"));
    check(
        json!({}),
        Some("n"),
        &json!({"phase": "Failed", "reason": "Evicted"}),
        &expect![[r"
        worker Waiting, runner Waiting
        trouble -
        disruption Some(Evicted)"]],
    );
}

#[test]
fn a_pod_that_is_deleted_before_it_has_ended_was_deleted_and_one_that_is_cleaned_up_was_not() {
    let going = || json!({"deletionTimestamp": "2026-11-22T08:06:00Z", "deletionGracePeriodSeconds": 360});
    let is_deleted = |status: Value| pod(&view(going(), Some("n"), &status)).unwrap().disruption;
    assert_eq!(is_deleted(json!({"phase": "Running"})), Some(Disruption::Deleted));
    let over = |at: &str| json!({"phase": "Failed", "containerStatuses": [ended("worker", 1, "Error", at)]});
    assert_eq!(is_deleted(over("2026-11-22T07:59:00Z")), None);
    assert_eq!(is_deleted(over("2026-11-22T08:00:30Z")), Some(Disruption::Deleted));
}

#[test]
fn a_pod_names_its_job_by_labels_or_by_its_owner_and_its_task_by_annotations() {
    let read = |extra: Value| match pod(&view(extra, None, &json!({}))) {
        Ok(pod) => format!("{} {} {} {}", pod.job, pod.job_uid, pod.task, pod.fence),
        Err(error) => error.to_string(),
    };
    let owner = json!([{"kind": "Job", "name": "job-2", "uid": "u-2", "controller": true}]);
    let text = [
        read(json!({})),
        read(json!({"labels": {}, "ownerReferences": owner})),
        read(json!({"labels": {}})),
        read(json!({"annotations": {"scalr.io/task": "../x", "scalr.io/fence": "1"}})),
        read(json!({"annotations": {"scalr.io/task": "atask-1"}})),
        read(json!({"resourceVersion": "abc"})),
    ];
    expect![[r"
        job-1 u-0 atask-1 2
        job-2 u-2 atask-1 2
        no Job is its owner
        it has no annotation `scalr.io/task` that can be read
        it has no annotation `scalr.io/fence` that can be read
        its resourceVersion `abc` is no number"]]
    .assert_eq(&text.join("\n"));
}
