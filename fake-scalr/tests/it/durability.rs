//! What was acknowledged is there after a kill -9, and a folder belongs to one server.

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
};

use axum::http::StatusCode;
use expect_test::expect;
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{POOL, USER};

/// The real binary, killed with -9 when it is dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) url: String,
    http: Client,
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fake-scalr"));
    command.env_clear();
    command
}

impl Served {
    /// Starts it on a free port and waits until it says where it is.
    pub(crate) async fn start(dir: &Path) -> Self {
        let credentials = dir.join("credentials");
        drop(fs::remove_file(&credentials));
        let child = binary()
            .args(["serve", "--listen", "127.0.0.1:0", "--user-token", USER, "--agent-token", POOL])
            .arg("--data-dir")
            .arg(dir.join("data"))
            .arg("--credentials")
            .arg(&credentials)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut served = Self { child, url: String::new(), http: Client::new() };
        // The file appears whole, after the socket is bound; a child that ended never makes it.
        while !credentials.exists() {
            assert_eq!(served.child.try_wait().unwrap(), None, "{}", served.stderr());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let text = fs::read_to_string(&credentials).unwrap();
        let url = text.lines().find_map(|line| line.strip_prefix("SCALR_URL=")).unwrap();
        url.clone_into(&mut served.url);
        served
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut text).unwrap();
        }
        text
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let method = method.parse().unwrap();
        let answer = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(token)
            .header("content-type", "application/vnd.api+json")
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let text = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&text).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> Value {
        self.send("GET", path, USER, json!({})).await.1
    }

    /// Appends to a console.
    pub(crate) async fn append(&self, path: &str, token: &str, range: &str, console: &str) {
        let status = self.octets("PATCH", path, token, range, console.as_bytes().to_vec()).await;
        assert_eq!(status, StatusCode::ACCEPTED);
    }

    async fn octets(&self, method: &str, path: &str, token: &str, range: &str, body: Vec<u8>) -> StatusCode {
        let answer = self
            .http
            .request(method.parse().unwrap(), format!("{}{path}", self.url))
            .bearer_auth(token)
            .header("content-type", "application/octet-stream")
            .header("content-range", range)
            .body(body)
            .send()
            .await
            .unwrap();
        answer.status()
    }
}

async fn workspace(served: &Served, name: &str) -> String {
    let body = json!({"data": {"type": "workspaces", "attributes": {"name": name}}});
    let (status, made) = served.send("POST", "/api/iacp/v3/workspaces", USER, body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    made["data"]["id"].as_str().unwrap().to_owned()
}

async fn run(served: &Served, workspace: &str) -> (String, String) {
    let of = json!({"workspace": {"data": {"type": "workspaces", "id": workspace}}});
    let body = json!({"data": {"type": "configuration-versions", "attributes": {}, "relationships": of}});
    let (_, version) = served.send("POST", "/api/iacp/v3/configuration-versions", USER, body).await;
    let upload = version["data"]["attributes"]["upload-url"].as_str().unwrap();
    let archive = b"\x1f\x8bconfiguration".to_vec();
    assert_eq!(served.octets("PUT", upload, USER, "", archive).await, StatusCode::OK);
    let body = json!({"data": {"type": "runs", "attributes": {}, "relationships": of}});
    let (status, run) = served.send("POST", "/api/iacp/v3/runs", USER, body).await;
    assert_eq!(status, StatusCode::CREATED, "{run}");
    let plan = run["data"]["relationships"]["plan"]["data"]["id"].as_str().unwrap();
    (run["data"]["id"].as_str().unwrap().to_owned(), plan.to_owned())
}

/// Starts the only task that there is; its path and its token.
async fn started(served: &Served) -> (String, String) {
    let said = async |path: &str, token: &str, kind: &str, attributes: Value| {
        let body = json!({"data": {"type": kind, "attributes": attributes}});
        let method = if kind == "agent-task-leases" { "PUT" } else { "POST" };
        let (status, answer) = served.send(method, &format!("/api/agent/v1/{path}"), token, body).await;
        assert!(status.is_success(), "{path}: {answer}");
        answer["data"]["attributes"].clone()
    };
    let mut agent = json!({"name": "c", "instance-id": "c", "version": "0", "os": "o", "driver": "d",
                           "mode": "controller", "capacity": 1});
    let controller = said("agents", POOL, "agents", agent.clone()).await;
    let ask = json!({"slots": 1, "ahead": 0, "actions": ["plan"], "wait-ms": 0});
    let path = format!("agents/{}/acquire", controller["agent"].as_str().unwrap());
    let grant = said(&path, controller["session-token"].as_str().unwrap(), "agent-acquires", ask).await;
    let (id, fence) = (grant["tasks"][0]["id"].clone(), grant["tasks"][0]["fence"].clone());
    agent["name"] = json!("w");
    agent["mode"] = json!("worker");
    agent["task"] = id.clone();
    agent["fence"] = fence.clone();
    let worker = said("agents", POOL, "agents", agent).await;
    let task = format!("agent-tasks/{}", id.as_str().unwrap());
    let session = worker["session-token"].as_str().unwrap();
    let start = said(&format!("{task}/start"), session, "agent-task-starts", json!({"fence": fence})).await;
    let token = start["task-token"].as_str().unwrap().to_owned();
    let lease = json!({"fence": fence, "phase": "confirm"});
    said(&format!("{task}/lease"), &token, "agent-task-leases", lease).await;
    (format!("/api/agent/v1/{task}"), token)
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_kill_9() {
    let dir = TempDir::new().unwrap();
    let served = Served::start(dir.path()).await;
    let demo = workspace(&served, "demo").await;
    let (run_id, plan) = run(&served, &demo).await;
    let (task, token) = started(&served).await;
    assert_eq!(
        served.octets("PATCH", &format!("{task}/log"), &token, "bytes 0-4/*", b"hello".to_vec()).await,
        202
    );
    let before = served.get(&format!("/api/iacp/v3/runs/{run_id}")).await;
    drop(served);

    let served = Served::start(dir.path()).await;
    assert_eq!(served.get(&format!("/api/iacp/v3/runs/{run_id}")).await, before);
    let range = served.octets("PATCH", &format!("{task}/log"), &token, "bytes 5-6/*", b", ".to_vec()).await;
    assert_eq!(range, StatusCode::ACCEPTED, "the task's token and its log's length are known");
    drop(served);

    let served = Served::start(dir.path()).await;
    let output = format!("{}/api/iacp/v3/plans/{plan}/output", served.url);
    let text = Client::new().get(output).bearer_auth(USER).send().await.unwrap().text().await.unwrap();
    assert_eq!(text, "hello, ");
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_it_is_killed_in_the_middle_of_work() {
    let dir = TempDir::new().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let served = Served::start(dir.path()).await;
        let names: Vec<String> = (0..40).map(|n| format!("ws-{round}-{n}")).collect();
        let pid = served.child.id().to_string();
        for (n, name) in names.iter().enumerate() {
            if n == 25 {
                kill_9(&pid);
            }
            let body = json!({"data": {"type": "workspaces", "attributes": {"name": name}}});
            let sent = served
                .http
                .post(format!("{}/api/iacp/v3/workspaces", served.url))
                .bearer_auth(USER)
                .header("content-type", "application/vnd.api+json")
                .body(body.to_string())
                .send()
                .await;
            if sent.is_ok_and(|answer| answer.status() == StatusCode::CREATED) {
                acknowledged.push(name.clone());
            }
        }
    }
    assert!(acknowledged.len() >= 75, "{acknowledged:?}");
    let served = Served::start(dir.path()).await;
    let mut found = Vec::new();
    for page in 1.. {
        let list = served.get(&format!("/api/iacp/v3/workspaces?page[size]=100&page[number]={page}")).await;
        let names = list["data"].as_array().unwrap().iter().map(|w| w["attributes"]["name"].clone());
        found.extend(names.map(|name| name.as_str().unwrap().to_owned()));
        if list["meta"]["pagination"]["next-page"].is_null() {
            break;
        }
    }
    let missing: Vec<_> = acknowledged.iter().filter(|name| !found.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// As a person would: the process must not be asked.
fn kill_9(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

/// Runs `serve` where it must fail; its exit status and what it said.
fn refused(dir: &Path) -> (Option<i32>, String) {
    let output = binary()
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.join("data"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap().replace(&dir.display().to_string(), "DIR");
    (output.status.code(), text)
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused() {
    let dir = TempDir::new().unwrap();
    let served = Served::start(dir.path()).await;
    let (code, text) = refused(dir.path());
    assert_eq!(code, Some(1));
    expect![[r#"
        fake-scalr: `DIR/data` is in use by another fake-scalr (process PID); stop it or choose another --data-dir
    "#]].assert_eq(&text.replace(&served.child.id().to_string(), "PID"));
    let answer = served.get("/api/iacp/v3/runs").await;
    assert!(answer["data"].is_array(), "the first goes on");
}

#[tokio::test]
async fn a_torn_journal_is_cut_and_a_corrupt_one_stops_the_start() {
    let dir = TempDir::new().unwrap();
    let served = Served::start(dir.path()).await;
    workspace(&served, "one").await;
    workspace(&served, "two").await;
    drop(served);
    let journal = fs::read_dir(dir.path().join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "log"))
        .unwrap();
    let whole = fs::read(&journal).unwrap();

    let mut corrupt = whole.clone();
    let middle = corrupt.windows(3).position(|bytes| bytes == b"one").unwrap();
    corrupt[middle] = b'O';
    fs::write(&journal, &corrupt).unwrap();
    let (code, text) = refused(dir.path());
    assert_eq!(code, Some(1));
    assert!(text.contains("is corrupt at line") && text.contains("truncate -s"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");

    fs::write(&journal, &whole[..whole.len() - 7]).unwrap();
    let mut served = Served::start(dir.path()).await;
    let list = served.get("/api/iacp/v3/workspaces").await;
    assert_eq!(list["meta"]["pagination"]["total-count"], 1);
    served.child.kill().unwrap();
    let log = served.stderr();
    assert!(log.contains("the last record was torn by a crash and is cut"), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[tokio::test]
async fn it_stops_with_exit_0_when_it_is_told_to_though_somebody_waits() {
    let dir = TempDir::new().unwrap();
    let mut served = Served::start(dir.path()).await;
    let demo = workspace(&served, "demo").await;
    let (_, plan) = run(&served, &demo).await;
    let wait = format!("{}/api/iacp/v3/plans/{plan}/output?wait-ms=30000", served.url);
    let waiting = tokio::spawn(Client::new().get(wait).bearer_auth(USER).send());
    for signal in ["-TERM", "-INT"] {
        let pid = served.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert_eq!(served.child.wait().unwrap().code(), Some(0), "{}", served.stderr());
        served = Served::start(dir.path()).await;
    }
    // It was answered or cut, but not left to sit out its wait.
    drop(waiting.await.unwrap());
}

#[tokio::test]
async fn the_credentials_are_for_their_owner_only_and_survive_a_restart() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let read = async || {
        let served = Served::start(dir.path()).await;
        let path = dir.path().join("credentials");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        drop(served);
        text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let first = read().await;
    assert_eq!(first, [format!("SCALR_TOKEN={USER}"), format!("SCALR_AGENT_TOKEN={POOL}")]);
    assert_eq!(read().await, first);
}
