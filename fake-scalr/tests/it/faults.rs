//! Faults by switch.

use axum::http::StatusCode;
use expect_test::expect;
use serde_json::{Value, json};

use crate::fixture::{Fake, USER};

async fn set(fake: &Fake, fault: Value) -> String {
    fake.json("POST", "/fake/faults", USER, &fault).await.line()
}

async fn lease(fake: &Fake, at: &crate::fixture::Started) -> StatusCode {
    let body =
        json!({"data": {"type": "agent-task-leases", "attributes": {"fence": at.fence, "phase": "plan"}}});
    fake.json("PUT", &at.path("lease"), &at.token, &body).await.status
}

#[tokio::test]
async fn a_fault_strikes_as_often_as_it_was_told() {
    let fake = Fake::new();
    let at = fake.started().await;
    set(&fake, json!({"route": "lease", "kind": "refuse", "code": "rate-limited", "retry-after-s": 7, "times": 2, "skip": 1}))
        .await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(lease(&fake, &at).await.as_u16());
    }
    assert_eq!(seen, [200, 429, 429, 200, 200]);
}

#[tokio::test]
async fn an_answer_lost_after_the_effect_had_its_effect_and_one_lost_before_had_none() {
    let fake = Fake::new();
    let at = fake.started().await;
    let length = async || {
        let plan = fake.get(&format!("/api/iacp/v3/plans/{}", at.plan), USER).await.json();
        plan["data"]["attributes"]["output-bytes"].as_u64().unwrap()
    };
    set(&fake, json!({"route": "log", "kind": "lost-before"})).await;
    assert_eq!(fake.append(&at, "bytes 0-1/*", "hi").await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(length().await, 0);
    set(&fake, json!({"route": "log", "kind": "lost-after"})).await;
    assert_eq!(fake.append(&at, "bytes 0-1/*", "hi").await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(length().await, 2);
    assert_eq!(fake.append(&at, "bytes 0-1/*", "hi").await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_long_poll_can_be_cut_and_a_call_can_be_late() {
    let fake = Fake::new();
    let at = fake.started().await;
    set(&fake, json!({"route": "signals", "kind": "cut", "latency-ms": 50})).await;
    let path = at.path("signals?after=0&wait-ms=30000");
    assert_eq!(fake.get(&path, &at.token).await.status, StatusCode::BAD_GATEWAY);
    set(&fake, json!({"route": "*", "kind": "latency", "latency-ms": 10})).await;
    assert_eq!(lease(&fake, &at).await, StatusCode::OK);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults() {
    let run = async |seed: u64| {
        let fake = Fake::new();
        let at = fake.started().await;
        let fault = json!({"route": "lease", "kind": "refuse", "code": "unavailable", "times": null, "permille": 500});
        set(&fake, json!({"seed": seed, "faults": [fault]})).await;
        let mut seen = Vec::new();
        for _ in 0..32 {
            seen.push(lease(&fake, &at).await.as_u16());
        }
        seen
    };
    let first = run(1).await;
    assert_eq!(first, run(1).await);
    assert_ne!(first, run(2).await);
    assert!(first.contains(&200) && first.contains(&503));
}

#[tokio::test]
async fn a_fault_that_makes_no_sense_is_refused() {
    let fake = Fake::new();
    let mut report = String::new();
    for fault in [
        json!({"route": "lunch", "kind": "cut"}),
        json!({"route": "log", "kind": "explode"}),
        json!({"kind": "cut"}),
        json!({"route": "log", "kind": "refuse", "colour": "red"}),
        json!([]),
    ] {
        let line = set(&fake, fault.clone()).await;
        report += &format!("{fault}: {}\n", line.split(" or one of ").next().unwrap());
    }
    expect![[r#"
        {"kind":"cut","route":"lunch"}: 422 invalid: `lunch` is no route: expected `*`
        {"kind":"explode","route":"log"}: 400 malformed: expected a fault {"route", "kind", …} or {"seed", "faults": […]}
        {"kind":"cut"}: 400 malformed: expected a fault {"route", "kind", …} or {"seed", "faults": […]}
        {"colour":"red","kind":"refuse","route":"log"}: 400 malformed: expected a fault {"route", "kind", …} or {"seed", "faults": […]}
        []: 400 malformed: expected a fault {"route", "kind", …} or {"seed", "faults": […]}
    "#]].assert_eq(&report);
    assert_eq!(fake.get("/fake/faults", USER).await.json(), json!([]));
    assert_eq!(fake.call("DELETE", "/fake/faults", USER, &[], "").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn on_a_socket_a_lost_answer_is_a_broken_connection() {
    let dir = tempfile::TempDir::new().unwrap();
    let served = crate::durability::Served::start(dir.path()).await;
    let fault = json!({"route": "workspace-create", "kind": "lost-after"});
    assert_eq!(served.send("POST", "/fake/faults", USER, fault).await.0, StatusCode::OK);
    let body = json!({"data": {"type": "workspaces", "attributes": {"name": "demo"}}});
    let lost = reqwest::Client::new()
        .post(format!("{}/api/iacp/v3/workspaces", served.url))
        .bearer_auth(USER)
        .header("content-type", "application/vnd.api+json")
        .body(body.to_string())
        .send()
        .await;
    assert!(lost.is_err(), "{lost:?}");
    let (status, again) = served.send("POST", "/api/iacp/v3/workspaces", USER, body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "it was created: {again}");
}
