//! The `http` backend, as Terraform speaks it.

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::STANDARD};
use expect_test::expect;
use serde_json::{Value, json};

use crate::fixture::{Answer, Fake, Started, USER};

fn lock(id: &str) -> String {
    json!({"ID": id, "Operation": "OperationTypeApply", "Info": "", "Who": "me@here", "Version": "1.15.5",
           "Created": "2026-11-22T00:00:00Z", "Path": ""})
    .to_string()
}

fn state(serial: u64) -> String {
    json!({"version": 4, "serial": serial, "lineage": "l", "outputs": {}, "resources": []}).to_string()
}

/// As the tool does: the run's token as a password.
async fn tool(fake: &Fake, at: &Started, method: &str, query: &str, body: String) -> Answer {
    let basic = format!("Basic {}", STANDARD.encode(format!("scalr:{}", at.run_token)));
    let path = format!("{}{query}", at.state_path());
    fake.call(method, &path, "", &[("authorization", &basic), ("content-type", "application/json")], body)
        .await
}

#[tokio::test]
async fn an_apply_locks_reads_writes_and_unlocks() {
    let fake = Fake::new();
    let at = fake.started().await;
    let mut report = String::new();
    for (method, query, body) in [
        ("GET", "", String::new()),
        ("LOCK", "", lock("1")),
        ("LOCK", "", lock("1")),
        ("POST", "?ID=1", state(1)),
        ("POST", "?ID=1", state(1)),
        ("GET", "", String::new()),
        ("UNLOCK", "", lock("1")),
        ("UNLOCK", "", lock("1")),
    ] {
        let answer = tool(&fake, &at, method, query, body).await;
        report += &format!("{method}{query}: {} {}\n", answer.status.as_u16(), answer.body.len());
    }
    expect![[r#"
        GET: 204 0
        LOCK: 200 0
        LOCK: 200 0
        POST?ID=1: 200 0
        POST?ID=1: 200 0
        GET: 200 66
        UNLOCK: 200 0
        UNLOCK: 200 0
    "#]]
    .assert_eq(&report);
    assert_eq!(tool(&fake, &at, "GET", "", String::new()).await.body, state(1));
    let current = format!("/api/iacp/v3/workspaces/{}/current-state-version", at.workspace);
    let current = fake.get(&current, USER).await.json();
    assert_eq!(current["data"]["attributes"]["serial"], 1);
    let download =
        format!("/api/iacp/v3/state-versions/{}/download", current["data"]["id"].as_str().unwrap());
    assert_eq!(fake.get(&download, USER).await.body, state(1));
}

#[tokio::test]
async fn a_conflict_is_answered_with_the_bare_lock_info() {
    let fake = Fake::new();
    let at = fake.started().await;
    let holder: Value = serde_json::from_str(&lock("1")).unwrap();
    assert_eq!(tool(&fake, &at, "LOCK", "", lock("1")).await.status, StatusCode::OK);
    for (method, query, body) in [
        ("LOCK", "", lock("2")),
        ("POST", "?ID=2", state(1)),
        ("POST", "", state(1)),
        ("UNLOCK", "", lock("2")),
    ] {
        let answer = tool(&fake, &at, method, query, body).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::LOCKED, holder.clone()), "{method}{query}");
    }
    // A force-unlock has an empty body.
    assert_eq!(tool(&fake, &at, "UNLOCK", "", String::new()).await.status, StatusCode::OK);
    assert_eq!(tool(&fake, &at, "LOCK", "", lock("2")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_holds_the_lock_is_told_to_people_and_they_may_take_it_away() {
    let fake = Fake::new();
    let at = fake.started().await;
    tool(&fake, &at, "LOCK", "", lock("1")).await;
    let workspace = format!("/api/iacp/v3/workspaces/{}", at.workspace);
    let shown = fake.get(&workspace, USER).await.json();
    let held = &shown["data"]["attributes"]["state-lock"];
    assert_eq!((&held["who"], &held["run"]), (&json!("me@here"), &json!(at.run)), "{held}");
    let path = format!("{workspace}/actions/force-unlock");
    let spared = fake.json("POST", &path, USER, &json!({})).await;
    assert_eq!(spared.status, StatusCode::CONFLICT, "its task is not over");
    let unlocked = fake.json("POST", &path, USER, &json!({"force": true})).await;
    assert_eq!(unlocked.json()["meta"]["state-lock"]["who"], "me@here");
    let again = fake.json("POST", &path, USER, &json!({})).await;
    assert_eq!(again.json()["meta"]["state-lock"], Value::Null);
}

#[tokio::test]
async fn what_is_no_state_and_no_lock_is_refused() {
    let fake = Fake::new();
    let at = fake.started().await;
    let mut report = String::new();
    for (method, query, body) in [
        ("POST", "?ID=1", "hello"),
        ("POST", "?ID=1", "{}"),
        ("POST", "?ID=1", r#"{"serial": "one"}"#),
        ("LOCK", "", "hello"),
        ("LOCK", "", "{}"),
        ("UNLOCK", "", "{"),
        ("PUT", "", ""),
    ] {
        let answer = tool(&fake, &at, method, query, body.to_owned()).await;
        report += &format!("{method} {body}: {}\n", at.tidied(&answer.line()));
    }
    let other = at.state_path().replace(&at.workspace, "ws-other");
    let answer = fake.get(&other, &at.run_token).await;
    report += &format!("another workspace: {}\n", at.tidied(&answer.line()));
    let answer = fake.get(&at.state_path(), &at.token).await;
    report += &format!("the task's token: {}\n", answer.line());
    let answer = fake.call("GET", &at.state_path(), "", &[("authorization", "Basic !!!")], "").await;
    report += &format!("no base64: {}\n", answer.line());
    expect![[r#"
        POST hello: 400 malformed: not a state: expected value at line 1 column 1
        POST {}: 400 malformed: not a state: missing field `serial` at line 1 column 2
        POST {"serial": "one"}: 400 malformed: not a state: invalid type: string "one", expected u64 at line 1 column 16
        LOCK hello: 400 malformed: expected value at line 1 column 1
        LOCK {}: 422 invalid: a lock needs an `ID` {"pointer":"/ID"}
        UNLOCK {: 400 malformed: EOF while parsing an object at line 1 column 1
        PUT : 405 method-not-allowed: `/api/agent/v1/workspaces/WS/state` does not take PUT
        another workspace: 403 forbidden: the run token is good for the state of WS only
        the task's token: 403 forbidden: a state needs a run token or a user token
        no base64: 401 invalid-token: send `Authorization: Bearer TOKEN` {"parameter":"authorization"}
    "#]].assert_eq(&report);
}
