//! The driver against a recorded API server: what it asks, word for word, and what it makes of the answers.

mod script;

use expect_test::{Expect, expect};
use scalr_core::{
    cluster::{Watch as _, WatchEnd, WatchEvent},
    contract::cluster::spec,
};
use serde_json::json;

use self::script::{Script, job, pod, status};
use super::*;

/// The calls that were made, but for those of the template.
#[track_caller]
fn asked(script: &Script, expected: &Expect) {
    expected.assert_eq(&script.calls().join("\n"));
}

#[tokio::test]
async fn a_job_is_made_in_one_call() {
    let (cluster, script) = script::open();
    script.answer(201, &job("job-1", "u-1", 7, "atask-1", 1));
    let made = cluster.create(&spec("atask-1", 1, "job-1")).await.unwrap();
    assert_eq!((made.uid.as_str(), made.version, made.fence.0), ("u-1", Version(7), 1));
    asked(
        &script,
        &expect![[
            r#"POST /apis/batch/v1/namespaces/runs/jobs? {"apiVersion":"batch/v1","kind":"Job","metadata":{"annotations":{"scalr.io/account":"acc-1","scalr.io/account-name":"example","scalr.io/action":"plan","scalr.io/environment":"env-1","scalr.io/environment-name":"production","scalr.io/fence":"1","scalr.io/run":"run-1","scalr.io/stage":"plan","scalr.io/task":"atask-1","scalr.io/workspace":"ws-1","scalr.io/workspace-name":"network"},"labels":{"scalr.io/account":"acc-1","scalr.io/environment":"env-1","scalr.io/run":"run-1","scalr.io/server":"example.scalr.io","scalr.io/stage":"plan","scalr.io/task":"atask-1","scalr.io/template":"scalr-agent-task","scalr.io/workspace":"ws-1"},"name":"job-1","namespace":"runs"},"spec":{"activeDeadlineSeconds":151800,"backoffLimit":0,"podFailurePolicy":{"rules":[{"action":"Ignore","onPodConditions":[{"status":"True","type":"DisruptionTarget"}]},{"action":"FailJob","onExitCodes":{"operator":"NotIn","values":[0]}}]},"podReplacementPolicy":"Failed","template":{"metadata":{"annotations":{"scalr.io/account":"acc-1","scalr.io/account-name":"example","scalr.io/action":"plan","scalr.io/environment":"env-1","scalr.io/environment-name":"production","scalr.io/fence":"1","scalr.io/run":"run-1","scalr.io/stage":"plan","scalr.io/task":"atask-1","scalr.io/workspace":"ws-1","scalr.io/workspace-name":"network"},"labels":{"scalr.io/account":"acc-1","scalr.io/environment":"env-1","scalr.io/run":"run-1","scalr.io/server":"example.scalr.io","scalr.io/stage":"plan","scalr.io/task":"atask-1","scalr.io/template":"scalr-agent-task","scalr.io/workspace":"ws-1"}},"spec":{"containers":[{"image":"agent","name":"worker","volumeMounts":[{"mountPath":"/etc/podinfo","name":"podinfo"}]},{"image":"runner","name":"runner"}],"restartPolicy":"Never","volumes":[{"downwardAPI":{"items":[{"fieldRef":{"fieldPath":"metadata.annotations"},"path":"annotations"}]},"name":"podinfo"}]}},"ttlSecondsAfterFinished":60}}"#
        ]],
    );
}

#[tokio::test]
async fn a_name_that_is_taken_is_looked_at() {
    let taken = || status(409, "AlreadyExists", "jobs.batch \"job-1\" already exists");
    let over = |mut job: serde_json::Value, change: fn(&mut serde_json::Value)| {
        change(&mut job);
        job
    };
    let ours = || job("job-1", "u-1", 7, "atask-1", 1);
    let found = [
        ours(),
        over(ours(), |job| job["metadata"]["deletionTimestamp"] = "2026-11-22T08:00:00Z".into()),
        over(ours(), |job| job["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]})),
        over(ours(), |job| {
            job["status"] = json!({"conditions": [{"type": "FailureTarget", "status": "True"}]});
        }),
        job("job-1", "u-1", 7, "atask-1", 2),
        job("job-1", "u-1", 7, "atask-2", 1),
        over(ours(), |job| job["metadata"]["labels"]["scalr.io/server"] = "another".into()),
        over(ours(), |job| job["metadata"]["annotations"] = json!({})),
    ];
    let mut said = Vec::new();
    for found in found {
        let (cluster, script) = script::open();
        script.answer(409, &taken());
        script.answer(200, &found);
        said.push(match cluster.create(&spec("atask-1", 1, "job-1")).await {
            Ok(job) => format!("{} at {}", job.uid, job.version.0),
            Err(error) => error.to_string(),
        });
    }
    expect![[r"
        u-1 at 7
        the Job exists and is over
        the Job exists and is over
        u-1 at 7
        a Job of this name exists for something else
        a Job of this name exists for something else
        a Job of this name exists for something else
        a Job of this name exists for something else"]]
    .assert_eq(&said.join("\n"));
}

#[tokio::test]
async fn a_job_that_is_gone_when_it_is_looked_at_may_be_made_again() {
    let (cluster, script) = script::open();
    script.answer(409, &status(409, "AlreadyExists", "taken"));
    script.answer(404, &status(404, "NotFound", "gone"));
    let error = cluster.create(&spec("atask-1", 1, "job-1")).await.unwrap_err();
    assert!(matches!(error, ClusterError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_list_is_read_page_by_page_and_a_cached_one_at_once() {
    let (cluster, script) = script::open();
    let page = |items: serde_json::Value, more: &str| {
        let metadata = json!({"resourceVersion": "41", "continue": more});
        json!({"metadata": metadata, "items": items})
    };
    script.answer(200, &page(json!([job("job-1", "u-1", 7, "atask-1", 1)]), "next+page"));
    script.answer(
        200,
        &page(json!([{"metadata": {"name": "strange"}}, job("job-2", "u-2", 9, "atask-2", 1)]), ""),
    );
    let listing = cluster.list(Kind::Jobs, Consistency::Quorum).await.unwrap();
    assert_eq!((listing.version, listing.objects.len()), (Version(41), 2));
    script.answer(200, &page(json!([pod("pod-1", "u-3", 8)]), ""));
    let listing = cluster.list(Kind::Pods, Consistency::Cached).await.unwrap();
    assert!(matches!(&listing.objects[..], [Object::Pod(pod)] if pod.job.as_str() == "job-1"));
    asked(
        &script,
        &expect![[r"
        GET /apis/batch/v1/namespaces/runs/jobs?&labelSelector=scalr.io%2Fserver%3Dexample.scalr.io%2Cscalr.io%2Ftemplate%3Dscalr-agent-task&limit=250
        GET /apis/batch/v1/namespaces/runs/jobs?&labelSelector=scalr.io%2Fserver%3Dexample.scalr.io%2Cscalr.io%2Ftemplate%3Dscalr-agent-task&limit=250&continue=next%2Bpage
        GET /api/v1/namespaces/runs/pods?&labelSelector=scalr.io%2Fserver%3Dexample.scalr.io%2Cscalr.io%2Ftemplate%3Dscalr-agent-task&resourceVersion=0&resourceVersionMatch=NotOlderThan"]],
    );
}

#[tokio::test]
async fn a_deletion_names_the_uid_and_takes_the_pods_along() {
    let (cluster, script) = script::open();
    let delete = async || cluster.delete(&"job-1".into(), &Uid::from("u-1")).await;
    script.answer(200, &status(200, "", ""));
    assert_eq!(delete().await, Ok(()));
    script.answer(404, &status(404, "NotFound", "gone"));
    assert_eq!(delete().await, Ok(()));
    script.answer(409, &status(409, "Conflict", "the UID in the precondition (u-1) does not match"));
    assert_eq!(delete().await, Ok(()));
    script.answer(503, &status(503, "ServiceUnavailable", "etcd"));
    assert!(matches!(delete().await, Err(ClusterError::Unreachable { .. })));
    asked(
        &script,
        &expect![[r#"
        DELETE /apis/batch/v1/namespaces/runs/jobs/job-1? {"propagationPolicy":"Background","preconditions":{"uid":"u-1"}}
        DELETE /apis/batch/v1/namespaces/runs/jobs/job-1? {"propagationPolicy":"Background","preconditions":{"uid":"u-1"}}
        DELETE /apis/batch/v1/namespaces/runs/jobs/job-1? {"propagationPolicy":"Background","preconditions":{"uid":"u-1"}}
        DELETE /apis/batch/v1/namespaces/runs/jobs/job-1? {"propagationPolicy":"Background","preconditions":{"uid":"u-1"}}"#]],
    );
}

#[tokio::test]
async fn a_watch_tells_what_happens_however_it_is_cut_into_pieces() {
    let (cluster, script) = script::open();
    let line =
        |kind: &str, object: serde_json::Value| format!("{}\n", json!({"type": kind, "object": object}));
    let text = [
        line("ADDED", job("job-1", "u-1", 43, "atask-1", 1)),
        line("MODIFIED", json!({"metadata": {"name": "strange", "resourceVersion": "44"}})),
        "\n".to_owned(),
        line("BOOKMARK", json!({"kind": "Job", "metadata": {"resourceVersion": "45"}})),
        line("DELETED", job("job-1", "u-1", 46, "atask-1", 1)),
        "{\"type\":\"ADDED\",\"obj".to_owned(),
    ]
    .concat();
    script.stream(text.as_bytes().chunks(7));
    let mut watch = cluster.watch(Kind::Jobs, Version(42)).await.unwrap();
    let mut told = Vec::new();
    loop {
        let event = watch.next().await;
        told.push(match &event {
            WatchEvent::Seen(Object::Job(job)) => format!("seen {} at {}", job.name, job.version.0),
            WatchEvent::Gone(Object::Job(job)) => format!("gone {} at {}", job.name, job.version.0),
            WatchEvent::Seen(_) | WatchEvent::Gone(_) | WatchEvent::Bookmark(_) | WatchEvent::Ended(_) => {
                format!("{event:?}")
            }
        });
        if matches!(event, WatchEvent::Ended(_)) {
            break;
        }
    }
    expect![[r"
        seen job-1 at 43
        Bookmark(Version(44))
        Bookmark(Version(45))
        gone job-1 at 46
        Ended(Eof)"]]
    .assert_eq(&told.join("\n"));
    asked(
        &script,
        &expect![
            "GET /apis/batch/v1/namespaces/runs/jobs?&watch=true&timeoutSeconds=290&labelSelector=scalr.io%2Fserver%3Dexample.scalr.io%2Cscalr.io%2Ftemplate%3Dscalr-agent-task&allowWatchBookmarks=true&resourceVersion=42"
        ],
    );
}

#[tokio::test]
async fn a_history_that_is_gone_says_so_before_a_watch_and_in_it() {
    let (cluster, script) = script::open();
    script.answer(410, &status(410, "Expired", "too old resource version"));
    assert_eq!(cluster.watch(Kind::Pods, Version(1)).await.unwrap_err(), ClusterError::Gone);
    let error = json!({"type": "ERROR", "object": status(410, "Expired", "too old resource version")});
    script.stream([format!("{error}\n").as_bytes()].into_iter());
    let mut watch = cluster.watch(Kind::Pods, Version(1)).await.unwrap();
    assert_eq!(watch.next().await, WatchEvent::Ended(WatchEnd::Gone));
}

#[tokio::test]
async fn who_does_not_start_is_seen_again_with_what_its_events_tell() {
    let (cluster, script) = script::open();
    let event = |reason: &str, message: &str| {
        let event = json!({"reason": reason, "message": message, "lastTimestamp": "2026-11-22T08:00:00Z"});
        json!({"metadata": {}, "items": [event]})
    };
    // Turns come after seconds; here they have come.
    let due = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
    let view: PodView = serde_json::from_value(pod("pod-1", "u-3", 8)).unwrap();
    cluster.shared.starting().seen(due, pod::pod(&view).unwrap(), true);
    script.open_stream();
    let mut watch = cluster.watch(Kind::Pods, Version(8)).await.unwrap();
    script.answer(200, &event("TriggeredScaleUp", "pod triggered scale-up"));
    let WatchEvent::Seen(Object::Pod(seen)) = watch.next().await else { panic!("a pod is seen") };
    assert_eq!(
        (seen.version, seen.trouble.unwrap().message.as_str()),
        (Version(8), "TriggeredScaleUp: pod triggered scale-up")
    );

    let mut view = job("job-1", "u-1", 9, "atask-1", 1);
    view["status"] = json!({});
    let view: JobView = serde_json::from_value(view).unwrap();
    cluster.shared.podless().seen(due, seen::job(&view).unwrap(), seen::is_podless(&view));
    script.open_stream();
    let mut watch = cluster.watch(Kind::Jobs, Version(9)).await.unwrap();
    script
        .answer(200, &event("FailedCreate", "Error creating: pods \"x\" is forbidden: exceeded quota: runs"));
    let WatchEvent::Seen(Object::Job(seen)) = watch.next().await else { panic!("a Job is seen") };
    assert_eq!(seen.trouble.unwrap().kind, scalr_core::cluster::JobTroubleKind::Quota);
    let calls = script.calls();
    let looks: Vec<&str> = calls.iter().map(String::as_str).filter(|call| call.contains("/events")).collect();
    expect![[r"
        GET /api/v1/namespaces/runs/events?&fieldSelector=involvedObject.uid%3Du-3&limit=250
        GET /api/v1/namespaces/runs/events?&fieldSelector=involvedObject.uid%3Du-1&limit=250"]]
    .assert_eq(&looks.join("\n"));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for_longer_than_the_bound() {
    let (cluster, script) = script::open();
    script.silence();
    let wire = cluster.shared.wire.clone().bounded(20);
    let answer =
        wire.list::<Page<JobView>>(&cluster.shared.jobs, &Select::default()).await.map_err(error::of_read);
    expect!["no answer: no answer in 20 ms"].assert_eq(&answer.unwrap_err().to_string());
}

#[tokio::test]
async fn without_a_template_that_can_be_used_no_job_is_made() {
    let mut said = Vec::new();
    for template in [script::Template::Missing, script::Template::NotInstalled, script::Template::Invalid] {
        let (cluster, script) = script::open_with(template);
        said.push(cluster.create(&spec("atask-1", 1, "job-1")).await.unwrap_err().to_string());
        assert_eq!(script.calls(), Vec::<String>::new());
    }
    expect![[r"
        no usable task template: AgentTask `scalr-agent-task` does not exist
        no usable task template: AgentTask `scalr-agent-task` can't be read: the resource `atasks.scalr.io` is not installed: `scalr-agent crd apply` does it
        no usable task template: AgentTask `scalr-agent-task` is not valid: spec.jobTemplate.spec.suspend must be false or absent: a suspended Job starts nothing"]].assert_eq(&said.join("\n"));
}

#[tokio::test]
async fn a_template_that_changes_is_the_next_jobs_template() {
    let (cluster, script) = script::open();
    script.answer(201, &job("job-1", "u-1", 7, "atask-1", 1));
    cluster.create(&spec("atask-1", 1, "job-1")).await.unwrap();
    script.change_template(|template| template["spec"]["jobTemplate"]["spec"]["backoffLimit"] = 5.into());
    let mut sight = cluster.sight.clone();
    sight
        .wait_for(|sight| sight.subject.as_ref().is_some_and(|subject| subject.generation == 2))
        .await
        .unwrap();
    script.answer(201, &job("job-2", "u-2", 8, "atask-2", 1));
    cluster.create(&spec("atask-2", 1, "job-2")).await.unwrap();
    let limits: Vec<bool> = script.calls().iter().map(|call| call.contains("\"backoffLimit\":5")).collect();
    assert_eq!(limits, [false, true]);
}

#[test]
fn a_server_is_a_label() {
    let label = |url: &str| server_label(&url.parse().unwrap());
    let long = format!("https://{}.scalr.io", "a".repeat(60));
    let said = ["https://example.scalr.io", "http://127.0.0.1:8080/x", "http://[::1]:9", &long].map(label);
    expect![[r"
        example.scalr.io
        127.0.0.1_8080
        816890df9541aacc
        ea3b22b896eb2986"]]
    .assert_eq(&said.join("\n"));
    assert!(said.iter().all(|label| marks::is_label(label)));
}
