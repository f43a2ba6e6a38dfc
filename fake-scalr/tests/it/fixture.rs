//! A server without a socket, and the few calls that bring it where a test begins.

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Request, StatusCode},
};
use fake_scalr::{
    server::{self, Server},
    state::Settings,
};
use http_body_util::BodyExt;
use scalr_protocol::{MEDIA_TYPE, secret::Secret};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt;

pub(crate) const USER: &str = "user-token";
pub(crate) const POOL: &str = "pool-token";

pub(crate) struct Fake {
    app: Router,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The status, and what was refused.
    pub(crate) fn line(&self) -> String {
        let status = self.status.as_u16();
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(value) if value.get("errors").is_some() => {
                let error = &value["errors"][0];
                assert_eq!(error["status"], json!(status.to_string()), "{value}");
                let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
                let source = error.get("source").map(|source| format!(" {source}")).unwrap_or_default();
                format!("{status} {}: {}{source}", text("code"), text("detail"))
            }
            Ok(_) | Err(_) => status.to_string(),
        }
    }
}

impl Fake {
    pub(crate) fn new() -> Self {
        let server = Server::temporary(Settings::default()).unwrap();
        server.credentials(None, Some(Secret::new(USER)), Some(Secret::new(POOL))).unwrap();
        Self { app: server::app(server) }
    }

    /// Serves it on a free port, for as long as the test runs; its address.
    pub(crate) async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = server::local_url(listener.local_addr().unwrap());
        let app = self.app.clone();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        url
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn json(&self, method: &str, path: &str, token: &str, body: &Value) -> Answer {
        self.call(method, path, token, &[("content-type", MEDIA_TYPE)], body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.call("GET", path, token, &[], "").await
    }

    /// A message of the agent protocol; the answer's attributes.
    #[track_caller]
    pub(crate) fn said(
        &self,
        method: &'static str,
        path: String,
        token: String,
        kind: &'static str,
        attributes: Value,
    ) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let body = json!({"data": {"type": kind, "attributes": attributes}});
            let answer = self.json(method, &format!("/api/agent/v1/{path}"), &token, &body).await;
            assert!(answer.status.is_success(), "{caller}: {path}: {}", answer.line());
            if answer.body.is_empty() { Value::Null } else { answer.json()["data"]["attributes"].clone() }
        }
    }

    /// A resource of the public API; the answer's `data`.
    pub(crate) async fn created(
        &self,
        path: &str,
        kind: &str,
        attributes: Value,
        relationships: Value,
    ) -> Value {
        let body = json!({"data": {"type": kind, "attributes": attributes, "relationships": relationships}});
        let answer = self.json("POST", &format!("/api/iacp/v3/{path}"), USER, &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.line());
        answer.json()["data"].clone()
    }

    pub(crate) async fn workspace(&self, name: &str) -> String {
        let made = self.created("workspaces", "workspaces", json!({"name": name}), json!({})).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// A run with a small configuration.
    pub(crate) async fn run(&self, workspace: &str, attributes: Value) -> Value {
        let of = json!({"workspace": {"data": {"type": "workspaces", "id": workspace}}});
        let version =
            self.created("configuration-versions", "configuration-versions", json!({}), of.clone()).await;
        let id = version["id"].as_str().unwrap();
        let path = version["attributes"]["upload-url"].as_str().unwrap();
        let octets = [("content-type", "application/octet-stream")];
        let uploaded = self.call("PUT", path, USER, &octets, &b"\x1f\x8bconfiguration"[..]).await;
        assert_eq!(uploaded.status, StatusCode::OK, "{}", uploaded.line());
        let mut relationships = of;
        relationships["configuration-version"] =
            json!({"data": {"type": "configuration-versions", "id": id}});
        self.created("runs", "runs", attributes, relationships).await
    }

    /// Registers an agent; its id and session token.
    pub(crate) async fn registered(&self, mut attributes: Value) -> (String, String) {
        let more = json!({"version": "0.1.0", "os": "linux/x86_64", "driver": "local"});
        attributes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.said("POST", "agents".into(), POOL.into(), "agents", attributes).await;
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        (text("agent"), text("session-token"))
    }

    pub(crate) async fn controller(&self) -> (String, String) {
        let controller = json!({"name": "c", "instance-id": "c-1", "mode": "controller", "capacity": 5});
        self.registered(controller).await
    }

    /// A task of a run, started by a worker, whose plan waits to be told how it ends.
    pub(crate) async fn started(&self) -> Started {
        let workspace = self.workspace("demo").await;
        let run = self.run(&workspace, json!({})).await;
        let (agent, session) = self.controller().await;
        let ask = json!({"slots": 5, "ahead": 0, "actions": ["plan", "apply"], "wait-ms": 0});
        let acquired = self
            .said("POST", format!("agents/{agent}/acquire"), session.clone(), "agent-acquires", ask)
            .await;
        let grant = acquired["tasks"][0].clone();
        let task = grant["id"].as_str().unwrap().to_owned();
        let worker = json!({
            "name": "w", "instance-id": "w-1", "mode": "worker", "capacity": 0,
            "task": task, "fence": grant["fence"],
        });
        let (_, worker) = self.registered(worker).await;
        let start = json!({"fence": grant["fence"]});
        let started =
            self.said("POST", format!("agent-tasks/{task}/start"), worker, "agent-task-starts", start).await;
        let token = started["task-token"].as_str().unwrap().to_owned();
        let lease = json!({"fence": grant["fence"], "phase": "confirm"});
        let path = format!("agent-tasks/{task}/lease");
        self.said("PUT", path, token.clone(), "agent-task-leases", lease).await;
        Started {
            workspace,
            run: run["id"].as_str().unwrap().to_owned(),
            plan: run["relationships"]["plan"]["data"]["id"].as_str().unwrap().to_owned(),
            agent,
            session,
            task,
            fence: grant["fence"].as_u64().unwrap(),
            token,
            run_token: started["run-token"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) async fn append(&self, at: &Started, range: &str, body: impl Into<Body>) -> Answer {
        let headers = [("content-type", "application/octet-stream"), ("content-range", range)];
        self.call("PATCH", &at.path("log"), &at.token, &headers, body).await
    }
}

pub(crate) struct Started {
    pub(crate) workspace: String,
    pub(crate) run: String,
    pub(crate) plan: String,
    pub(crate) agent: String,
    pub(crate) session: String,
    pub(crate) task: String,
    pub(crate) fence: u64,
    pub(crate) token: String,
    pub(crate) run_token: String,
}

impl Started {
    /// The path of one of the task's calls.
    pub(crate) fn path(&self, call: &str) -> String {
        format!("/api/agent/v1/agent-tasks/{}/{call}", self.task)
    }

    pub(crate) fn state_path(&self) -> String {
        format!("/api/agent/v1/workspaces/{}/state", self.workspace)
    }

    /// Ids and tokens are drawn: reports name what they stand for.
    pub(crate) fn tidied(&self, text: &str) -> String {
        text.replace(&self.task, "TASK")
            .replace(&self.plan, "PLAN")
            .replace(&self.run, "RUN")
            .replace(&self.workspace, "WS")
            .replace(&self.agent, "AGENT")
    }
}
