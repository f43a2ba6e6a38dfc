//! Events as the components of a cluster write them.

use expect_test::{Expect, expect};
use scalr_core::cluster::{Container, NodeName, Version};
use scalr_protocol::id::{Fence, TaskId};
use serde_json::{Value, json};

use super::*;

#[track_caller]
fn check(node: Option<&str>, trouble: Option<TroubleKind>, events: Value, expected: &Expect) {
    let pod = Pod {
        name: "pod-1".into(),
        uid: "u-1".into(),
        version: Version::default(),
        job: "job-1".into(),
        job_uid: "u-0".into(),
        task: TaskId::new("atask-1").unwrap(),
        fence: Fence(1),
        is_deleting: false,
        node: node.map(NodeName::from),
        trouble: trouble.map(|kind| PodTrouble { kind, message: "by its status".to_owned() }),
        worker: Container::Waiting,
        runner: Container::Waiting,
        disruption: None,
    };
    let events: Vec<EventView> = serde_json::from_value(events).unwrap();
    let said = pod_trouble(&pod, &events).map_or("-".to_owned(), |t| format!("{:?}: {}", t.kind, t.message));
    expected.assert_eq(&said);
}

fn event(reason: &str, at: &str) -> Value {
    json!({"reason": reason, "message": "as it says", "lastTimestamp": format!("2026-11-22T08:{at}Z")})
}

#[test]
fn a_node_is_coming_until_somebody_says_that_none_is() {
    let unschedulable = Some(TroubleKind::Unschedulable);
    let scheduler = || event("FailedScheduling", "05:00");
    check(None, unschedulable, json!([scheduler()]), &expect!["-"]);
    check(
        None,
        unschedulable,
        json!([scheduler(), event("TriggeredScaleUp", "01:00")]),
        &expect!["ScalingUp: TriggeredScaleUp: as it says"],
    );
    check(
        None,
        unschedulable,
        json!([event("Nominated", "01:00")]),
        &expect!["ScalingUp: Nominated: as it says"],
    );
    let later = json!([event("NotTriggerScaleUp", "03:00"), event("TriggeredScaleUp", "01:00")]);
    check(None, unschedulable, later, &expect!["-"]);
    let again = json!({
        "reason": "TriggeredScaleUp", "message": "once more", "eventTime": "2026-11-22T08:00:00.000000Z",
        "series": {"count": 2, "lastObservedTime": "2026-11-22T08:04:00.000000Z"},
    });
    check(
        None,
        unschedulable,
        json!([event("NotTriggerScaleUp", "03:00"), again]),
        &expect!["ScalingUp: TriggeredScaleUp: once more"],
    );
}

#[test]
fn what_a_kubelet_tries_again_is_told_by_its_events_only() {
    check(
        Some("n"),
        None,
        json!([event("Scheduled", "00:00"), event("FailedMount", "02:00")]),
        &expect!["Volume: FailedMount: as it says"],
    );
    check(
        Some("n"),
        None,
        json!([event("FailedCreatePodSandBox", "02:00")]),
        &expect!["ContainerCreate: FailedCreatePodSandBox: as it says"],
    );
    check(Some("n"), None, json!([event("Pulling", "02:00")]), &expect!["-"]);
    let pulling = Some(TroubleKind::ImagePull);
    check(Some("n"), pulling, json!([event("FailedMount", "02:00")]), &expect!["-"]);
}

#[test]
fn a_job_without_a_pod_is_told_by_what_its_last_attempt_heard() {
    let said = |events: Value| {
        let events: Vec<EventView> = serde_json::from_value(events).unwrap();
        job_trouble(&events).map_or("-".to_owned(), |t| format!("{:?}: {}", t.kind, t.message))
    };
    let failed = |message: &str, at: &str| {
        let at = format!("2026-11-22T08:{at}Z");
        json!({"reason": "FailedCreate", "message": message, "lastTimestamp": at})
    };
    let quota = || failed("Error creating: pods \"a-x\" is forbidden: exceeded quota: runs", "01:00");
    let security = || failed("Error creating: pods \"a-x\" is forbidden: violates PodSecurity", "02:00");
    let text = [
        said(json!([quota()])),
        said(json!([security(), quota()])),
        said(json!([quota(), event("SuccessfulCreate", "03:00")])),
        said(json!([failed("Error creating: Internal error occurred", "01:00")])),
        said(json!([event("Suspended", "01:00")])),
    ];
    expect![[r#"
        Quota: Error creating: pods "a-x" is forbidden: exceeded quota: runs
        Refused: Error creating: pods "a-x" is forbidden: violates PodSecurity
        -
        -
        -"#]]
    .assert_eq(&text.join("\n"));
}
