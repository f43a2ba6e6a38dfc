//! The server's log of a task, through its routes: appends at any offset, repeats, gaps, an end, restarts.
//!
//! A line each: `put FIRST BYTES` with a body of so many, `next BYTES` where the log ends, `range TEXT`
//! with a body of five, `short FIRST BYTES` with a body of one byte too few, `read FROM`, `finish BYTES`,
//! `restart`. The judge knows the rule: what begins where the log ends is taken, what is all there is a
//! repeat, anything else is told where the log ends. Each body is of other bytes, so that one that
//! overwrites another is seen.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, StatusCode},
};
use fake_scalr::{
    PUBLIC_BASE_PATH,
    server::{self, Server},
    state::Settings,
};
use http_body_util::BodyExt as _;
use scalr_protocol::{
    BASE_PATH, MEDIA_TYPE,
    blob::Digest,
    console::{CHUNK_BYTES_MAX, ContentRange, parse_stored},
    secret::Secret,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

use crate::{Met, Target, mutate::Shape, script, sure};

pub(crate) const TARGET: Target = Target {
    name: "log",
    about: "the server's log is what was appended at its end, across repeats, gaps and restarts",
    shape: Shape::Lines,
    words: &[
        "put",
        "next",
        "range",
        "short",
        "read",
        "finish",
        "restart",
        "bytes\\s0-4/*",
        "0",
        "5",
        "10",
        "5000000",
    ],
    classes: &[
        "appended",
        "repeated",
        "told where it ends",
        "no range",
        "another length",
        "too large",
        "read",
        "read beyond the end",
        "finished",
        "finished before all was there",
        "another finish",
        "beyond what was said",
        "closed",
        "restarted",
    ],
    inputs: 800,
    run,
};

const USER: &str = "user-token";
const POOL: &str = "pool-token";
const OCTETS: &str = "application/octet-stream";
const STEPS_MAX: usize = 30;
/// How often a folder is tried that an ended server may still hold: a second, where a moment will do.
const YIELDS_MAX: u32 = 1_000;

fn run(input: &[u8], met: &mut Met) {
    let runtime = sure(tokio::runtime::Builder::new_current_thread().enable_all().build(), "a runtime");
    runtime.block_on(async {
        let folder = sure(crate::place(), "a folder");
        let mut judged = Judged::begin(folder.path()).await;
        for (number, words) in script::lines(input).take(STEPS_MAX).enumerate() {
            let body = |bytes: usize| vec![b'a' + (number % 26).to_le_bytes()[0]; bytes];
            let argument =
                |place: usize| words.get(place).and_then(|word| script::number(word)).unwrap_or_default();
            let length = |place: usize| script::small(words.get(place), 3_000);
            match words[0] {
                b"put" => judged.put(argument(1), argument(2), body(length(2)), met).await,
                b"next" => judged.put(judged.all.len() as u64, argument(1), body(length(1)), met).await,
                b"short" => {
                    judged.put(argument(1), argument(2), body(length(2).saturating_sub(1)), met).await;
                }
                b"range" => {
                    let text =
                        String::from_utf8_lossy(&script::unescaped(&words[1..].join(&b' '))).into_owned();
                    judged.range(&text, body(5), met).await;
                }
                b"read" => judged.read(argument(1), met).await,
                b"finish" => judged.finish(argument(1), met).await,
                b"restart" => judged.restart(met).await,
                _ => {}
            }
        }
        judged.read(0, met).await;
    });
}

struct Answer {
    status: StatusCode,
    stored: Option<u64>,
    body: Bytes,
}

impl Answer {
    fn attributes(&self) -> Value {
        let json: Value = sure(serde_json::from_slice(&self.body), "JSON");
        json["data"]["attributes"].clone()
    }
}

/// A server with one started task, and what its log should be.
struct Judged {
    folder: PathBuf,
    /// None only while it restarts.
    app: Option<Router>,
    task: String,
    token: String,
    plan: String,
    fence: u64,
    all: Vec<u8>,
    /// How long its finish said that the log is.
    said: Option<u64>,
}

impl Judged {
    async fn begin(folder: &Path) -> Self {
        let mut judged = Self {
            folder: folder.to_owned(),
            app: Some(opened(folder)),
            task: String::new(),
            token: String::new(),
            plan: String::new(),
            fence: 0,
            all: Vec::new(),
            said: None,
        };
        let workspace = judged.makes("workspaces", json!({"name": "fuzz"}), json!({})).await;
        let of = json!({"workspace": {"data": {"type": "workspaces", "id": workspace["id"]}}});
        let version = judged.makes("configuration-versions", json!({}), of.clone()).await;
        let upload = version["attributes"]["upload-url"].as_str().unwrap_or_default().to_owned();
        judged
            .asks("PUT", &upload, USER, &[("content-type", OCTETS)], b"\x1f\x8bconfiguration".to_vec())
            .await;
        let mut of_run = of;
        of_run["configuration-version"] =
            json!({"data": {"type": "configuration-versions", "id": version["id"]}});
        let run = judged.makes("runs", json!({}), of_run).await;
        judged.plan = text(&run["relationships"]["plan"]["data"]["id"]);
        judged.start().await;
        judged
    }

    /// Takes the task as a controller and a worker do.
    async fn start(&mut self) {
        let about = json!({"version": "0.1.0", "os": "linux", "driver": "local", "capacity": 1});
        let controller = with(&about, json!({"name": "c", "instance-id": "c-1", "mode": "controller"}));
        let session = self.says(["POST", "agents", "agents"], POOL, controller).await;
        let path = format!("agents/{}/acquire", text(&session["agent"]));
        let ask = json!({"slots": 1, "ahead": 0, "actions": ["plan"], "wait-ms": 0});
        let acquired =
            self.says(["POST", &path, "agent-acquires"], &text(&session["session-token"]), ask).await;
        let grant = &acquired["tasks"][0];
        self.task = text(&grant["id"]);
        self.fence = grant["fence"].as_u64().unwrap_or_default();
        let fence = json!({"fence": self.fence});
        let worker = json!({"name": "w", "instance-id": "w-1", "mode": "worker", "task": self.task});
        let worker =
            self.says(["POST", "agents", "agents"], POOL, with(&with(&about, worker), fence.clone())).await;
        let path = format!("agent-tasks/{}/start", self.task);
        let started = self
            .says(["POST", &path, "agent-task-starts"], &text(&worker["session-token"]), fence.clone())
            .await;
        self.token = text(&started["task-token"]);
        let path = format!("agent-tasks/{}/lease", self.task);
        let token = self.token.clone();
        self.says(["PUT", &path, "agent-task-leases"], &token, with(&fence, json!({"phase": "confirm"})))
            .await;
    }

    async fn asks(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let mut request =
            Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = sure(request.body(Body::from(body)), "a request");
        let Some(app) = self.app.clone() else { unreachable!("it restarts between requests") };
        let response = sure(app.oneshot(request).await, "an answer");
        let (parts, body) = response.into_parts();
        let range = parts.headers.get("range").map(|range| sure(range.to_str(), "text"));
        let stored = range.map(|range| sure(parse_stored(Some(range)), "how much is stored"));
        let body = sure(body.collect().await, "a body").to_bytes();
        assert!(!parts.status.is_server_error(), "{path}: {} {body:?}", parts.status);
        Answer { status: parts.status, stored, body }
    }

    async fn makes(&self, kind: &str, attributes: Value, relationships: Value) -> Value {
        let body = json!({"data": {"type": kind, "attributes": attributes, "relationships": relationships}});
        let path = format!("{PUBLIC_BASE_PATH}/{kind}");
        let answer =
            self.asks("POST", &path, USER, &[("content-type", MEDIA_TYPE)], body.to_string().into()).await;
        let json: Value = sure(serde_json::from_slice(&answer.body), "JSON");
        json["data"].clone()
    }

    async fn says(&self, [method, path, kind]: [&str; 3], token: &str, attributes: Value) -> Value {
        let body = json!({"data": {"type": kind, "attributes": attributes}});
        let path = format!("{BASE_PATH}/{path}");
        let answer =
            self.asks(method, &path, token, &[("content-type", MEDIA_TYPE)], body.to_string().into()).await;
        assert!(answer.status.is_success(), "{path}: {} {:?}", answer.status, answer.body);
        answer.attributes()
    }

    async fn sends(&self, range: &str, body: Vec<u8>) -> Answer {
        let headers = [("content-type", OCTETS), ("content-range", range)];
        self.asks("PATCH", &format!("{BASE_PATH}/agent-tasks/{}/log", self.task), &self.token, &headers, body)
            .await
    }

    async fn put(&mut self, first: u64, bytes: u64, body: Vec<u8>, met: &mut Met) {
        let Some(range) = ContentRange::new(first, bytes) else { return };
        self.judge(range, &range.to_string(), body, met).await;
    }

    async fn range(&mut self, text: &str, body: Vec<u8>, met: &mut Met) {
        // What can't stand in a header can't be sent.
        if !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return;
        }
        if let Ok(range) = ContentRange::parse(text) {
            self.judge(range, text, body, met).await;
        } else {
            assert_eq!(self.sends(text, body).await.status, StatusCode::BAD_REQUEST, "{text:?}");
            met.see("no range");
        }
    }

    async fn judge(&mut self, range: ContentRange, header: &str, body: Vec<u8>, met: &mut Met) {
        let answer = self.sends(header, body.clone()).await;
        let (stored, end) = (self.all.len() as u64, range.first.saturating_add(range.bytes()));
        let is_closed = self.said == Some(stored);
        let (status, class, told) = if range.bytes() > CHUNK_BYTES_MAX {
            (StatusCode::PAYLOAD_TOO_LARGE, "too large", None)
        } else if range.bytes() != body.len() as u64 {
            (StatusCode::BAD_REQUEST, "another length", None)
        } else if range.first.checked_add(range.bytes()).is_none() {
            (StatusCode::BAD_REQUEST, "no range", None)
        } else if end <= stored {
            (StatusCode::ACCEPTED, "repeated", Some(stored))
        } else if is_closed {
            (answer.status, "closed", None)
        } else if range.first != stored {
            (StatusCode::RANGE_NOT_SATISFIABLE, "told where it ends", Some(stored))
        } else if self.said.is_some_and(|said| end > said) {
            (StatusCode::CONFLICT, "beyond what was said", None)
        } else {
            self.all.extend_from_slice(&body);
            (StatusCode::ACCEPTED, "appended", Some(end))
        };
        assert_eq!((answer.status, class), (status, class), "{header} at {stored}: {:?}", answer.body);
        assert!(class != "closed" || answer.status.is_client_error());
        if let Some(told) = told {
            assert_eq!(answer.stored.unwrap_or_default(), told, "{header}");
        }
        met.see(class);
    }

    async fn read(&self, from: u64, met: &mut Met) {
        let path = format!("{PUBLIC_BASE_PATH}/plans/{}/output?from={from}", self.plan);
        let answer = self.asks("GET", &path, USER, &[], Vec::new()).await;
        if let Some(there) = usize::try_from(from).ok().and_then(|from| self.all.get(from..)) {
            assert_eq!(answer.status, StatusCode::OK);
            assert!(answer.body == there, "the log from {from} is not what was appended");
            met.see("read");
        } else {
            assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE);
            met.see("read beyond the end");
        }
    }

    async fn finish(&mut self, bytes: u64, met: &mut Met) {
        let is_whole = bytes == self.all.len() as u64;
        let digest = Digest(Sha256::digest(&self.all).into()).to_string();
        let digest = if is_whole { digest } else { "0".repeat(64) };
        let body = json!({"data": {"type": "agent-task-finishes", "attributes": {
            "fence": self.fence, "outcome": "failed", "exit-code": 1,
            "error": {"code": "plan-failed", "message": "it did not work"},
            "log": {"bytes": bytes, "sha256": digest},
        }}});
        let path = format!("{BASE_PATH}/agent-tasks/{}/finish", self.task);
        let headers = [("content-type", MEDIA_TYPE)];
        let answer = self.asks("POST", &path, &self.token, &headers, body.to_string().into()).await;
        let stored = self.all.len() as u64;
        if answer.status.is_client_error() {
            // Less than is there, another length than before, or another digest than that of what is there.
            met.see("another finish");
            return;
        }
        assert!(bytes >= stored, "{bytes} were said to be all, and there are {stored}");
        assert!(self.said.is_none_or(|said| said == bytes), "one finish");
        self.said = Some(bytes);
        met.see(if bytes == stored { "finished" } else { "finished before all was there" });
    }

    async fn restart(&mut self, met: &mut Met) {
        // The folder is one server's alone, so all that is left of the old one has to come to its end.
        self.app = None;
        for _ in 0..YIELDS_MAX {
            if let Ok(server) = Server::open(Settings::default(), Vec::new(), Some(&self.folder)) {
                self.app = Some(app(server));
                met.see("restarted");
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the old server does not let go of its folder");
    }
}

fn opened(folder: &Path) -> Router {
    app(sure(Server::open(Settings::default(), Vec::new(), Some(folder)), "a server"))
}

fn app(server: Server) -> Router {
    let tokens = (Some(Secret::new(USER)), Some(Secret::new(POOL)));
    sure(server.credentials(None, tokens.0, tokens.1), "its tokens");
    server::app(server)
}

fn with(one: &Value, other: Value) -> Value {
    let (Value::Object(mut all), Value::Object(other)) = (one.clone(), other) else { return Value::Null };
    all.extend(other);
    Value::Object(all)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
