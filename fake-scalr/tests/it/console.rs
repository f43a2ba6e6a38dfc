//! The console: appended at its offset, streamed while it grows.

use axum::http::StatusCode;
use expect_test::expect;
use scalr_protocol::console::CHUNK_BYTES_MAX;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::fixture::{Fake, Started, USER};

fn output(at: &Started, query: &str) -> String {
    format!("/api/iacp/v3/plans/{}/output{query}", at.plan)
}

#[tokio::test]
async fn a_log_is_appended_at_its_offset_and_told_how_far_it_is() {
    let fake = Fake::new();
    let at = fake.started().await;
    let mut report = String::new();
    for (range, body) in [
        ("bytes 0-4/*", "hello"),
        ("bytes 0-4/*", "hello"),
        ("bytes 3-9/*", "lo, wor"),
        ("bytes 12-12/*", "x"),
        ("bytes 5-11/*", ", world"),
    ] {
        let answer = fake.append(&at, range, body).await;
        report += &format!("{range}: {} [{}]\n", answer.line(), answer.header("range"));
    }
    expect![[r#"
        bytes 0-4/*: 202 [bytes=0-4]
        bytes 0-4/*: 202 [bytes=0-4]
        bytes 3-9/*: 416 range-mismatch: `bytes 3-9/*` does not follow the 5 bytes that are stored [bytes=0-4]
        bytes 12-12/*: 416 range-mismatch: `bytes 12-12/*` does not follow the 5 bytes that are stored [bytes=0-4]
        bytes 5-11/*: 202 [bytes=0-11]
    "#]].assert_eq(&report);
    let text = fake.get(&output(&at, ""), USER).await;
    assert_eq!(text.body, "hello, world");
    assert_eq!(text.header("output-ended"), "false");
    assert_eq!(fake.get(&output(&at, "?from=7"), USER).await.body, "world");
}

#[tokio::test]
async fn a_chunk_that_is_wrong_is_refused_and_stores_nothing() {
    let fake = Fake::new();
    let at = fake.started().await;
    let huge = vec![b'x'; usize::try_from(CHUNK_BYTES_MAX).unwrap() + 1];
    let mut report = String::new();
    for (range, body) in [
        ("bytes 0-4/*", b"four".to_vec()),
        ("bytes 4-0/*", b"hello".to_vec()),
        ("bytes 0-/*", b"hello".to_vec()),
        ("bytes 0-18446744073709551615/*", b"hello".to_vec()),
        ("", b"hello".to_vec()),
        ("bytes 0-4194304/*", huge),
    ] {
        report += &format!("{range}: {}\n", fake.append(&at, range, body).await.line());
    }
    let other = [("content-type", "text/plain"), ("content-range", "bytes 0-4/*")];
    let answer = fake.call("PATCH", &at.path("log"), &at.token, &other, "hello").await;
    report += &format!("text: {}\n", answer.line());
    expect![[r#"
        bytes 0-4/*: 400 malformed: `bytes 0-4/*` is 5 bytes, the body has 4 {"parameter":"content-range"}
        bytes 4-0/*: 400 malformed: `bytes 4-0/*` is no range: expected `bytes FIRST-LAST/*` {"parameter":"content-range"}
        bytes 0-/*: 400 malformed: `bytes 0-/*` is no range: expected `bytes FIRST-LAST/*` {"parameter":"content-range"}
        bytes 0-18446744073709551615/*: 400 malformed: `bytes 0-18446744073709551615/*` is no range: expected `bytes FIRST-LAST/*` {"parameter":"content-range"}
        : 400 malformed: `` is no range: expected `bytes FIRST-LAST/*` {"parameter":"content-range"}
        bytes 0-4194304/*: 413 too-large: at most 4194304 bytes are taken here
        text: 415 unsupported-media-type: the content type is `text/plain`; expected `application/octet-stream` {"parameter":"content-type"}
    "#]].assert_eq(&report);
    assert_eq!(fake.get(&output(&at, ""), USER).await.body, "");
    assert_eq!(fake.append(&at, "bytes 0-4/*", "hello").await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_reader_that_waits_is_woken_by_the_next_bytes() {
    let fake = Fake::new();
    let at = fake.started().await;
    let path = output(&at, "?from=0&wait-ms=30000");
    // The reader waits before anything is written: both are polled, the reader first.
    let (read, written) = tokio::join!(biased; fake.get(&path, USER), fake.append(&at, "bytes 0-1/*", "hi"));
    assert_eq!(written.status, StatusCode::ACCEPTED);
    assert_eq!((read.body.as_ref(), read.header("output-ended")), (&b"hi"[..], "false"));
}

#[tokio::test]
async fn a_reader_that_waits_in_vain_is_answered_with_nothing() {
    let fake = Fake::new();
    let at = fake.started().await;
    let read = fake.get(&output(&at, "?from=0&wait-ms=50"), USER).await;
    assert_eq!((read.status, read.body.len(), read.header("output-ended")), (StatusCode::OK, 0, "false"));
    let beyond = fake.get(&output(&at, "?from=7"), USER).await;
    expect!["416 range-mismatch: the output has 0 bytes, not 7"].assert_eq(&beyond.line());
}

#[tokio::test]
async fn the_output_ends_when_the_outcome_and_all_bytes_are_there() {
    let fake = Fake::new();
    let at = fake.started().await;
    fake.append(&at, "bytes 0-4/*", "hello").await;
    let sha256: String = Sha256::digest(b"hello!").iter().map(|byte| format!("{byte:02x}")).collect();
    let finish = json!({"data": {"type": "agent-task-finishes", "attributes": {
        "fence": at.fence, "outcome": "failed", "exit-code": 1,
        "error": {"code": "plan-failed", "message": "it did not work"},
        "log": {"bytes": 6, "sha256": sha256},
    }}});
    let answer = fake.json("POST", &at.path("finish"), &at.token, &finish).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.json()["data"]["attributes"], json!({"recorded": "log-incomplete", "log-bytes": 5}));
    assert_eq!(fake.get(&output(&at, ""), USER).await.header("output-ended"), "false");
    let path = output(&at, "?from=5&wait-ms=30000");
    let (read, _) = tokio::join!(biased; fake.get(&path, USER), fake.append(&at, "bytes 5-5/*", "!"));
    assert_eq!((read.body.as_ref(), read.header("output-ended")), (&b"!"[..], "true"));
    let run = fake.get(&format!("/api/iacp/v3/runs/{}", at.run), USER).await.json();
    assert_eq!(run["data"]["attributes"]["status"], "errored");
    assert_eq!(run["data"]["attributes"]["error-message"], "it did not work");
}

#[tokio::test]
async fn an_acquire_that_waits_is_woken_by_a_run() {
    let fake = Fake::new();
    let workspace = fake.workspace("demo").await;
    let (agent, session) = fake.controller().await;
    let ask = json!({"slots": 1, "ahead": 0, "actions": ["plan"], "wait-ms": 30000});
    let path = format!("agents/{agent}/acquire");
    let acquired = fake.said("POST", path, session, "agent-acquires", ask);
    let (acquired, run) = tokio::join!(biased; acquired, fake.run(&workspace, json!({})));
    assert_eq!(acquired["tasks"][0]["run"], run["id"]);
}

#[tokio::test]
async fn an_acquire_that_waits_in_vain_is_answered_with_204() {
    let fake = Fake::new();
    let (agent, session) = fake.controller().await;
    let body = json!({"data": {"type": "agent-acquires", "attributes": {
        "slots": 1, "ahead": 0, "actions": ["plan"], "wait-ms": 50,
    }}});
    let path = format!("/api/agent/v1/agents/{agent}/acquire");
    assert_eq!(fake.json("POST", &path, &session, &body).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_cancel_wakes_who_waits_for_signals() {
    let fake = Fake::new();
    let at = fake.started().await;
    let path = at.path("signals?after=0&wait-ms=30000");
    let cancel = format!("/api/iacp/v3/runs/{}/actions/cancel", at.run);
    let nothing = json!({});
    let (signals, canceled) =
        tokio::join!(biased; fake.get(&path, &at.token), fake.json("POST", &cancel, USER, &nothing));
    assert_eq!(canceled.status, StatusCode::ACCEPTED, "{}", canceled.line());
    assert_eq!(signals.json()["data"]["attributes"]["signals"], json!(["cancel"]));
}
