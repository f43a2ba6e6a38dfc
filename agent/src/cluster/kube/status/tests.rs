//! What the status says.

use std::sync::Arc as Shared;

use expect_test::expect;
use scalr_core::cluster::{ClusterError, Job, JobEnd};
use scalr_protocol::id::{Fence, TaskId};

use super::*;
use crate::cluster::kube::template::{Template, tests::least};

const NOW: &str = "2026-11-22T08:00:00Z";

fn valid() -> Known {
    Known::Valid(Shared::new(Template::read(&least(), 0).unwrap()))
}

fn job(uid: &str, end: Option<JobEnd>) -> Job {
    Job {
        name: uid.into(),
        uid: uid.into(),
        version: scalr_core::cluster::Version(1),
        task: TaskId::new("atask-1").unwrap(),
        fence: Fence(1),
        is_deleting: false,
        end,
        trouble: None,
    }
}

fn written(known: &Known, subject: &Subject, tally: &Tally, now: &str) -> Option<Value> {
    next(known, subject, tally, now.parse().unwrap())
}

fn lines(status: &Value) -> String {
    let conditions = status["conditions"].as_array().unwrap().iter().map(|condition| {
        let word = |key: &str| condition[key].as_str().unwrap().to_owned();
        format!(
            "{} {} since {}: {} {}",
            word("type"),
            word("status"),
            word("lastTransitionTime"),
            word("reason"),
            word("message")
        )
    });
    let counts = ["observedGeneration", "inFlight", "launched", "failed", "lastLaunch"];
    let counts = counts.map(|key| format!("{key} {}", status[key])).join(", ");
    conditions.chain([counts]).map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_status_tells_what_is_wrong_and_since_when() {
    let mut subject = Subject { generation: 3, ..Subject::default() };
    let first = written(&valid(), &subject, &Tally::default(), NOW).unwrap();
    expect![[r"
        TemplateValid True since 2026-11-22T08:00:00Z: Valid
        Ready True since 2026-11-22T08:00:00Z: Dispatching
        Stalled False since 2026-11-22T08:00:00Z: JobsTaken
        observedGeneration 3, inFlight 0, launched 0, failed 0, lastLaunch null"]]
    .assert_eq(&lines(&first));
    // Nothing new is nothing to write.
    subject.status = first;
    assert_eq!(written(&valid(), &subject, &Tally::default(), "2026-11-22T09:00:00Z"), None);
    // What stays so keeps its moment.
    let invalid = Known::Invalid(vec!["spec.jobTemplate.spec is missing".to_owned()]);
    let second = written(&invalid, &subject, &Tally::default(), "2026-11-22T09:00:00Z").unwrap();
    expect![[r"
        TemplateValid False since 2026-11-22T09:00:00Z: Incomplete spec.jobTemplate.spec is missing
        Ready False since 2026-11-22T09:00:00Z: TemplateInvalid tasks are held until the template is valid
        Stalled False since 2026-11-22T08:00:00Z: JobsTaken
        observedGeneration 3, inFlight 0, launched 0, failed 0, lastLaunch null"]]
    .assert_eq(&lines(&second));
    subject.is_paused = true;
    let paused = written(&valid(), &subject, &Tally::default(), NOW).unwrap();
    expect![[r"
        TemplateValid True since 2026-11-22T08:00:00Z: Valid
        Ready False since 2026-11-22T08:00:00Z: Paused dispatch is paused by the annotation scalr.io/paused
        Stalled False since 2026-11-22T08:00:00Z: JobsTaken
        observedGeneration 3, inFlight 0, launched 0, failed 0, lastLaunch null"]]
    .assert_eq(&lines(&paused));
}

#[test]
fn what_several_processes_did_adds_up() {
    let mut subject = Subject { generation: 1, ..Subject::default() };
    let now = NOW.parse().unwrap();
    let (mut one, mut other) = (Tally::default(), Tally::default());
    for uid in ["a", "b"] {
        one.offered(&Ok(job(uid, None)), now);
        // The other sees it too, and counts it among those in flight only.
        other.seen(&job(uid, None));
    }
    // A repeat is no second launch.
    one.offered(&Ok(job("a", None)), now);
    let failed = Some(JobEnd::Failed { reason: "BackoffLimitExceeded".to_owned() });
    for tally in [&mut one, &mut other] {
        tally.seen(&job("b", failed.clone()));
    }
    subject.status = written(&valid(), &subject, &one, NOW).unwrap();
    let told = one.clone();
    one.wrote(&told);
    assert_eq!(written(&valid(), &subject, &one, NOW), None);
    other.offered(&Ok(job("c", None)), now);
    subject.status = written(&valid(), &subject, &other, NOW).unwrap();
    expect![[r#"
        TemplateValid True since 2026-11-22T08:00:00Z: Valid
        Ready True since 2026-11-22T08:00:00Z: Dispatching
        Stalled False since 2026-11-22T08:00:00Z: JobsTaken
        observedGeneration 1, inFlight 2, launched 3, failed 1, lastLaunch "2026-11-22T08:00:00Z""#]]
    .assert_eq(&lines(&subject.status));
    other.gone(&"c".into());
    other.keep(&["x".into()].into());
    assert_eq!(other.in_flight(), 0);
}

#[test]
fn a_cluster_that_takes_no_job_stalls_the_template_until_it_does() {
    let subject = Subject { generation: 1, ..Subject::default() };
    let (mut tally, now) = (Tally::default(), NOW.parse().unwrap());
    tally.offered(&Err(ClusterError::Refused { detail: "no such field".to_owned() }), now);
    tally.offered(&Err(ClusterError::RateLimited { retry_after_ms: 1 }), now);
    expect![[r"
        TemplateValid True since 2026-11-22T08:00:00Z: Valid
        Ready False since 2026-11-22T08:00:00Z: JobsRefused the cluster refuses the Jobs that are made of it
        Stalled True since 2026-11-22T08:00:00Z: JobsRefused no such field
        observedGeneration 1, inFlight 0, launched 0, failed 0, lastLaunch null"]]
    .assert_eq(&lines(&written(&valid(), &subject, &tally, NOW).unwrap()));
    tally.offered(&Ok(job("a", None)), now);
    assert_eq!(tally.refused, None);
}

#[test]
fn what_changes_is_an_event_and_what_is_well_from_the_begin_is_none() {
    let options = KubeOptions {
        namespace: "runs".to_owned(),
        template_kind: crate::cluster::kube::TemplateKind::AgentTask,
        template: "scalr-agent-task".to_owned(),
        server: "example.scalr.io".to_owned(),
        ttl_s: 60,
        deadline_s: 60,
    };
    let mut subject = Subject { generation: 1, uid: "u-t".to_owned(), ..Subject::default() };
    let mut said = Vec::new();
    let mut turn = |known: &Known, is_paused: bool| {
        subject.is_paused = is_paused;
        let Some(status) = written(known, &subject, &Tally::default(), NOW) else {
            return said.push("-".to_owned());
        };
        for event in news(&subject, &status, &options, NOW.parse().unwrap()) {
            said.push(format!("{} {}: {}", event["type"], event["reason"], event["message"]));
        }
        said.push("-".to_owned());
        subject.status = status;
    };
    turn(&valid(), false);
    turn(&Known::Invalid(vec!["spec.jobTemplate.spec is missing".to_owned()]), false);
    turn(&valid(), true);
    turn(&valid(), true);
    turn(&valid(), false);
    expect![[r#"
        -
        "Warning" "Incomplete": "spec.jobTemplate.spec is missing"
        "Warning" "TemplateInvalid": "tasks are held until the template is valid"
        -
        "Normal" "Valid": "TemplateValid is True"
        "Warning" "Paused": "dispatch is paused by the annotation scalr.io/paused"
        -
        -
        "Normal" "Dispatching": "Ready is True"
        -"#]]
    .assert_eq(&said.join("\n"));
}
