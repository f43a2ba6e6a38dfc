//! `HttpScalr` and `HttpTask` against servers that say what a real one would not: each answer ends in one
//! error of the seam, within the bounds of a call, and no call is made twice.
//!
//! The answers are raw bytes, so that they can be broken in every way. Where a bound is time, it is a short
//! one: that the call ends at all is what it is for.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use expect_test::{Expect, expect};
use scalr_agent::scalr::{Bounds, HttpScalr, HttpTask, TokenSource, connect};
use scalr_core::{
    scalr::Scalr as _,
    task_api::{BlobBytes as _, TaskApi as _, TaskError},
};
use scalr_protocol::{
    agent::{Heartbeat, Release, ReleaseReason},
    blob::{BlobKind, BlobRef, Digest},
    id::{AgentId, Fence, TaskId},
    secret::Secret,
    task::Lease,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use url::Url;

/// How long a server that drips is silent.
const DRIP: Duration = Duration::from_millis(50);

/// What a scripted server does once it has read a call.
#[derive(Clone)]
enum Says {
    /// These bytes, and then the connection ends.
    Bytes(Vec<u8>),
    /// These bytes, then this piece, again and again.
    Drips(Vec<u8>, Vec<u8>),
    /// These bytes, and this piece for ever, as fast as it is taken.
    Floods(Vec<u8>, Vec<u8>),
}

/// A server that says one thing to all.
struct Scripted {
    url: Url,
    calls: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
}

impl Scripted {
    async fn that(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let server = Self { url, calls: Arc::default(), sent: Arc::default() };
        let (calls, sent) = (Arc::clone(&server.calls), Arc::clone(&server.sent));
        tokio::spawn(async move {
            while let Ok((call, _)) = listener.accept().await {
                calls.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(say(call, says.clone(), Arc::clone(&sent)));
            }
        });
        server
    }

    fn scalr(&self) -> HttpScalr {
        let client = connect::client(&self.url, None).unwrap();
        HttpScalr::new(client, &self.url, TokenSource::Value(Secret::new("the-token"))).unwrap()
    }

    fn task(&self) -> HttpTask {
        self.scalr().task()
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn say(mut call: TcpStream, says: Says, sent: Arc<AtomicUsize>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if call.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let (begin, piece, pause) = match says {
        Says::Bytes(bytes) => (bytes, None, None),
        Says::Drips(begin, piece) => (begin, Some(piece), Some(DRIP)),
        Says::Floods(begin, piece) => (begin, Some(piece), None),
    };
    let mut next = Some(&begin);
    while let Some(bytes) = next {
        if call.write_all(bytes).await.is_err() {
            return;
        }
        sent.fetch_add(bytes.len(), Ordering::SeqCst);
        if let Some(pause) = pause {
            sleep(pause).await;
        }
        next = piece.as_ref();
    }
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let headers = format!("agent-protocol: 0.1\r\n{headers}");
    strangers_answer(status, &headers, body)
}

/// An answer that is not the server's.
fn strangers_answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

fn refusal(status: &str, code: &str) -> Vec<u8> {
    let number = status.split(' ').next().unwrap();
    let body = json!({"errors": [{"status": number, "code": code, "title": "T", "detail": "why"}]});
    answer(status, "content-type: application/vnd.api+json\r\n", &body.to_string())
}

fn document(kind: &str, attributes: &serde_json::Value) -> String {
    json!({"data": {"type": kind, "attributes": attributes}}).to_string()
}

fn id() -> TaskId {
    TaskId::new("atask-1").unwrap()
}

fn lease() -> Lease {
    Lease { fence: Fence(1), phase: "plan".to_owned() }
}

fn heartbeat() -> Heartbeat {
    serde_json::from_value(json!({"status": "idle", "slots": 1, "draining": false, "tasks": []})).unwrap()
}

/// What each answer means to a renewal, to a heartbeat and to an append of the console.
async fn check(answers: &[(&str, Vec<u8>)], expected: Expect) {
    let mut told = String::new();
    for (name, bytes) in answers {
        let server = Scripted::that(Says::Bytes(bytes.clone())).await;
        let port = server.url.port().unwrap().to_string();
        let renewed = server.task().lease(&id(), &lease()).await;
        let beaten = server.scalr().heartbeat(&AgentId::new("agent-1").unwrap(), &heartbeat()).await;
        let appended = server.task().append(&id(), 0, "text".into()).await;
        let line = format!("{name}\n  lease {renewed:?}\n  heartbeat {beaten:?}\n  log {appended:?}\n");
        told.push_str(&line.replace(&port, "PORT"));
        assert_eq!(server.calls(), 3, "{name}: each call is made once");
    }
    expected.assert_eq(&told);
}

#[tokio::test]
async fn a_refusal_is_what_its_status_and_code_say() {
    let answers = [
        ("401", refusal("401 Unauthorized", "invalid-token")),
        ("401 without a body", answer("401 Unauthorized", "", "")),
        ("403", refusal("403 Forbidden", "forbidden")),
        ("409 canceled", refusal("409 Conflict", "canceled")),
        ("409 with a code of a later version", refusal("409 Conflict", "moon-is-full")),
        ("410 lost", refusal("410 Gone", "lost")),
        ("410 without a body", answer("410 Gone", "", "")),
        ("429 with a year", answer("429 Too Many", "retry-after: 31536000\r\n", "")),
        ("429 with a date", answer("429 Too Many", "retry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n", "")),
        ("503 with -1", answer("503 Away", "retry-after: -1\r\n", "")),
    ];
    check(
        &answers,
        expect![[r#"
        401
          lease Err(Unauthorized { detail: "T: why" })
          heartbeat Err(Unauthorized { detail: "T: why" })
          log Err(Unauthorized { detail: "T: why" })
        401 without a body
          lease Err(Unauthorized { detail: "HTTP 401 Unauthorized without a reason" })
          heartbeat Err(Unauthorized { detail: "HTTP 401 Unauthorized without a reason" })
          log Err(Unauthorized { detail: "HTTP 401 Unauthorized without a reason" })
        403
          lease Err(Unauthorized { detail: "T: why" })
          heartbeat Err(Refused { status: 403, detail: "T: why" })
          log Err(Unauthorized { detail: "T: why" })
        409 canceled
          lease Err(Canceled)
          heartbeat Err(Refused { status: 409, detail: "T: why" })
          log Err(Canceled)
        409 with a code of a later version
          lease Err(Refused { status: 409, detail: "T: why" })
          heartbeat Err(Refused { status: 409, detail: "T: why" })
          log Err(Refused { status: 409, detail: "T: why" })
        410 lost
          lease Err(Lost)
          heartbeat Err(Refused { status: 410, detail: "T: why" })
          log Err(Lost)
        410 without a body
          lease Err(Refused { status: 410, detail: "HTTP 410 Gone without a reason" })
          heartbeat Err(Refused { status: 410, detail: "HTTP 410 Gone without a reason" })
          log Err(Refused { status: 410, detail: "HTTP 410 Gone without a reason" })
        429 with a year
          lease Err(RateLimited { retry_after_ms: 600000 })
          heartbeat Err(RateLimited { retry_after_ms: 600000 })
          log Err(RateLimited { retry_after_ms: 600000 })
        429 with a date
          lease Err(RateLimited { retry_after_ms: 1000 })
          heartbeat Err(RateLimited { retry_after_ms: 1000 })
          log Err(RateLimited { retry_after_ms: 1000 })
        503 with -1
          lease Err(RateLimited { retry_after_ms: 1000 })
          heartbeat Err(RateLimited { retry_after_ms: 1000 })
          log Err(RateLimited { retry_after_ms: 1000 })
    "#]],
    )
    .await;
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_no_answer() {
    let good = document("agent-task-leases", &json!({"ttl-ms": 60_000}));
    let api = "content-type: application/vnd.api+json\r\n";
    let long = format!(
        "HTTP/1.1 200 OK\r\nagent-protocol: 0.1\r\nconnection: close\r\ncontent-length: 999\r\n\r\n{good}"
    );
    let answers = [
        ("nothing at all", Vec::new()),
        ("no HTTP", b"220 smtp.example.com ESMTP\r\n".to_vec()),
        ("a cut head", b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
        ("a cut body", long.into_bytes()),
        ("cut JSON", answer("200 OK", api, &good[..good.len() - 3])),
        ("HTML", answer("200 OK", "content-type: text/html\r\n", "<html>Hello</html>")),
        ("no body", answer("200 OK", api, "")),
        ("another kind", answer("200 OK", api, &document("agent-task-leases", &json!({"ttl-ms": "soon"})))),
        ("a million brackets", answer("200 OK", api, &"[".repeat(1_000_000))),
        ("a loop", answer("307 Again", "location: /api/agent/v1/agent-tasks/atask-1/lease\r\n", "")),
        ("a place elsewhere", answer("302 There", "location: http://198.51.100.1/take-the-token\r\n", "")),
    ];
    check(&answers, expect![[r#"
        nothing at all
          lease Err(Unreachable { detail: "client error (SendRequest): connection closed before message completed" })
          heartbeat Err(Unreachable { detail: "client error (SendRequest): connection closed before message completed" })
          log Err(Unreachable { detail: "client error (SendRequest): connection closed before message completed" })
        no HTTP
          lease Err(Unreachable { detail: "client error (SendRequest): invalid HTTP version parsed" })
          heartbeat Err(Unreachable { detail: "client error (SendRequest): invalid HTTP version parsed" })
          log Err(Unreachable { detail: "client error (SendRequest): invalid HTTP version parsed" })
        a cut head
          lease Err(Unreachable { detail: "client error (SendRequest): connection closed before message completed" })
          heartbeat Err(Unreachable { detail: "client error (SendRequest): connection closed before message completed" })
          log Err(Unreachable { detail: "client error (SendRequest): connection closed before message completed" })
        a cut body
          lease Err(Unreachable { detail: "error decoding response body: request or response body error: error reading a body from connection: end of file before message length reached" })
          heartbeat Err(Unreachable { detail: "error decoding response body: request or response body error: error reading a body from connection: end of file before message length reached" })
          log Ok(0)
        cut JSON
          lease Err(Unreachable { detail: "an unreadable answer: EOF while parsing a string at line 1 column 64" })
          heartbeat Err(Unreachable { detail: "an unreadable answer: missing field `wanted` at line 1 column 38" })
          log Ok(0)
        HTML
          lease Err(Unreachable { detail: "an unreadable answer: expected value at line 1 column 1" })
          heartbeat Err(Unreachable { detail: "an unreadable answer: expected value at line 1 column 1" })
          log Ok(0)
        no body
          lease Err(Unreachable { detail: "an unreadable answer: EOF while parsing a value at line 1 column 0" })
          heartbeat Err(Unreachable { detail: "an unreadable answer: EOF while parsing a value at line 1 column 0" })
          log Ok(0)
        another kind
          lease Err(Unreachable { detail: "an unreadable answer: invalid type: string \"soon\", expected u64 at line 1 column 38" })
          heartbeat Err(Unreachable { detail: "an unreadable answer: missing field `wanted` at line 1 column 39" })
          log Ok(0)
        a million brackets
          lease Err(Unreachable { detail: "an unreadable answer: invalid type: sequence, expected a string at line 1 column 2" })
          heartbeat Err(Unreachable { detail: "an unreadable answer: invalid type: sequence, expected a string at line 1 column 2" })
          log Ok(0)
        a loop
          lease Err(Unreachable { detail: "HTTP 307 Temporary Redirect without a reason" })
          heartbeat Err(Unreachable { detail: "HTTP 307 Temporary Redirect without a reason" })
          log Err(Unreachable { detail: "HTTP 307 Temporary Redirect without a reason" })
        a place elsewhere
          lease Err(Unreachable { detail: "HTTP 302 Found without a reason" })
          heartbeat Err(Unreachable { detail: "HTTP 302 Found without a reason" })
          log Err(Unreachable { detail: "HTTP 302 Found without a reason" })
    "#]]).await;
}

#[tokio::test]
async fn what_a_stranger_says_is_no_word_of_the_server() {
    let page = "content-type: text/html\r\n";
    let mut told = String::new();
    for status in
        ["200 OK", "201 Created", "202 Accepted", "204 None", "401 Who", "403 No", "404 Where", "410 Gone"]
    {
        let body = if status.starts_with("204") { "" } else { "<html>Sign in</html>" };
        let server = Scripted::that(Says::Bytes(strangers_answer(status, page, body))).await;
        let (scalr, task) = (server.scalr(), server.task());
        let release = Release { fence: Fence(1), reason: ReleaseReason::Drain };
        let blob = BlobRef { kind: BlobKind::PlanFile, bytes: 0, sha256: Digest([0; 32]) };
        let said = [
            format!("{:?}", scalr.release(&id(), &release).await),
            format!("{:?}", scalr.deregister(&AgentId::new("agent-1").unwrap()).await),
            format!("{:?}", task.start(&id(), Fence(1), "key").await),
            format!("{:?}", task.append(&id(), 0, "text".into()).await),
            format!("{:?}", task.blob(&id(), BlobKind::LockFile).await.map(drop)),
            format!("{:?}", task.put_blob(&id(), &blob, tempfile::tempfile().unwrap()).await),
            format!("{:?}", task.signals(&id(), 0, 0).await),
        ];
        let odd = said.iter().filter(|one| **one != said[0]).count();
        let _ = writeln!(told, "{} ({odd} say something else)", said[0]);
    }
    expect![[r#"
        Err(Unreachable { detail: "HTTP 200 OK from something that does not speak the agent protocol" }) (0 say something else)
        Err(Unreachable { detail: "HTTP 201 Created from something that does not speak the agent protocol" }) (0 say something else)
        Err(Unreachable { detail: "HTTP 202 Accepted from something that does not speak the agent protocol" }) (0 say something else)
        Err(Unreachable { detail: "HTTP 204 No Content from something that does not speak the agent protocol" }) (0 say something else)
        Err(Unreachable { detail: "HTTP 401 Unauthorized from something that does not speak the agent protocol" }) (0 say something else)
        Err(Unreachable { detail: "HTTP 403 Forbidden from something that does not speak the agent protocol" }) (0 say something else)
        Err(Unreachable { detail: "HTTP 404 Not Found from something that does not speak the agent protocol" }) (0 say something else)
        Err(Unreachable { detail: "HTTP 410 Gone from something that does not speak the agent protocol" }) (0 say something else)
    "#]].assert_eq(&told);
}

#[tokio::test]
async fn what_a_later_version_adds_is_ignored() {
    let api = "content-type: text/plain\r\n";
    let lease = |attributes| answer("200 OK", api, &document("agent-task-leases", &attributes));
    let answers = [
        ("unknown fields", lease(json!({"ttl-ms": 1, "signal": null, "moon": {"is": "full"}}))),
        ("an unknown signal", lease(json!({"ttl-ms": 1, "signal": "dance"}))),
    ];
    check(&answers, expect![[r#"
        unknown fields
          lease Ok(LeaseAnswer { ttl_ms: 1, signal: None })
          heartbeat Err(Unreachable { detail: "an unreadable answer: missing field `wanted` at line 1 column 69" })
          log Ok(0)
        an unknown signal
          lease Ok(LeaseAnswer { ttl_ms: 1, signal: Some(Unknown) })
          heartbeat Err(Unreachable { detail: "an unreadable answer: missing field `wanted` at line 1 column 51" })
          log Ok(0)
    "#]]).await;
}

#[tokio::test]
async fn how_much_of_the_log_a_server_has_is_read_with_care() {
    let said = |status: &str, range: &str| answer(status, &format!("range: {range}\r\n"), "");
    let answers = [
        ("less than was sent", said("202 Accepted", "bytes=0-1")),
        ("nothing any more", answer("416 Range Not Satisfiable", "", "")),
        ("less than before", said("416 Range Not Satisfiable", "bytes=0-0")),
        ("more than there is", said("202 Accepted", "bytes=0-18446744073709551614")),
        ("more than can be", said("202 Accepted", "bytes=0-18446744073709551615")),
        ("nonsense", said("202 Accepted", "bytes=a-b")),
        ("not from its begin", said("416 Range Not Satisfiable", "bytes=5-9")),
    ];
    let mut told = String::new();
    for (name, bytes) in answers {
        let server = Scripted::that(Says::Bytes(bytes)).await;
        let appended = server.task().append(&id(), 0, "text".into()).await;
        let _ = writeln!(told, "{name}: {appended:?}");
    }
    expect![[r#"
        less than was sent: Ok(2)
        nothing any more: Ok(0)
        less than before: Ok(1)
        more than there is: Ok(18446744073709551615)
        more than can be: Err(Unreachable { detail: "`bytes=0-18446744073709551615` is no range: expected `bytes FIRST-LAST/*`" })
        nonsense: Err(Unreachable { detail: "`bytes=a-b` is no range: expected `bytes FIRST-LAST/*`" })
        not from its begin: Err(Refused { status: 416, detail: "HTTP 416 Range Not Satisfiable without a reason" })
    "#]].assert_eq(&told);
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nagent-protocol: 0.1\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_body_that_never_ends_is_read_up_to_its_bound() {
    for head in [HEAD, b"HTTP/1.1 500 Oops\r\nagent-protocol: 0.1\r\nconnection: close\r\n\r\n"] {
        let server = Scripted::that(Says::Floods(head.to_vec(), vec![b' '; 64 * 1024])).await;
        let renewed = server.task().lease(&id(), &lease()).await;
        let told = format!("{renewed:?}");
        assert!(told.starts_with("Err(Unreachable"), "{told}");
        let sent = server.sent.load(Ordering::SeqCst);
        // What was read, and what the sockets hold of what was not.
        assert!(sent < 16 << 20, "{sent} bytes were taken");
        assert_eq!(server.calls(), 1);
    }
}

/// Bounds that a test can wait for.
const SHORT: Bounds = Bounds { call_ms: 300, long_poll_slack_ms: 100, blob_ms: 1_000, blob_silence_ms: 300 };

/// Servers that answer for ever: silent from the begin, with a head that drips, with a body that does, with a
/// body that never begins.
fn slow() -> [Says; 4] {
    let drips = |begin: &[u8], piece: &[u8]| Says::Drips(begin.to_vec(), piece.to_vec());
    [drips(b"", b""), drips(b"HTTP/1.1 200 OK\r\nx-slow: ", b"a"), drips(HEAD, b" "), drips(HEAD, b"")]
}

#[tokio::test]
async fn an_answer_that_drips_ends_with_the_calls_bound() {
    let mut told = String::new();
    for says in slow() {
        let server = Scripted::that(says).await;
        let task = server.scalr().within(SHORT).task();
        let renewed = task.lease(&id(), &lease()).await;
        let signals = task.signals(&id(), 0, 200).await;
        let _ = writeln!(told, "{renewed:?} {signals:?}");
        assert_eq!(server.calls(), 2, "each is made once");
    }
    expect![[r#"
        Err(Unreachable { detail: "timed out" }) Err(Unreachable { detail: "timed out" })
        Err(Unreachable { detail: "timed out" }) Err(Unreachable { detail: "timed out" })
        Err(Unreachable { detail: "timed out" }) Err(Unreachable { detail: "timed out" })
        Err(Unreachable { detail: "timed out" }) Err(Unreachable { detail: "timed out" })
    "#]]
    .assert_eq(&told);
}

#[tokio::test]
async fn a_blob_that_drips_or_falls_silent_ends_with_its_bound() {
    let mut told = String::new();
    for says in slow() {
        let server = Scripted::that(says).await;
        let fetch = async || {
            let mut blob = server.scalr().within(SHORT).task().blob(&id(), BlobKind::PlanFile).await?;
            while blob.next().await?.is_some() {}
            Ok::<_, TaskError>(())
        };
        let _ = writeln!(told, "{:?}", fetch().await);
    }
    expect![[r#"
        Err(Unreachable { detail: "timed out" })
        Err(Unreachable { detail: "timed out" })
        Err(Unreachable { detail: "timed out" })
        Err(Unreachable { detail: "nothing came for 300 ms" })
    "#]]
    .assert_eq(&told);
}
