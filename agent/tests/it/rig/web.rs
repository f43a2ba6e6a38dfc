//! The server as a story reaches it: the public API, and the server's own switches.

use std::io::{Seek as _, Write as _};

use fake_scalr::{
    client::{Client, ClientError, Method},
    resource::{Many, One, Resource},
};
use scalr_agent::scalr::connect;
use scalr_protocol::secret::Secret;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use url::Url;

/// Where the server is, and who is who.
pub(super) struct Web {
    pub(super) url: String,
    pub(super) user_token: String,
    pub(super) agent_token: String,
    runtime: Runtime,
    client: Client,
}

impl Web {
    /// From the file of credentials that the server writes.
    pub(super) fn new(credentials: &str) -> Self {
        let value = |key: &str| {
            let line = credentials.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.expect("the server's own file").to_owned()
        };
        let (url, user_token) = (value("SCALR_URL"), value("SCALR_TOKEN"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = Client::new(&Url::parse(&url).expect("its URL"), Secret::new(user_token.clone()));
        Self {
            client: client.expect("a client"),
            runtime,
            agent_token: value("SCALR_AGENT_TOKEN"),
            url,
            user_token,
        }
    }

    /// The address that it listens on.
    pub(super) fn address(&self) -> String {
        self.url.trim_start_matches("http://").trim_end_matches('/').to_owned()
    }

    pub(super) fn get(&self, path: &str) -> Result<Resource, ClientError> {
        self.runtime.block_on(async { Ok(self.client.get::<One>(path).await?.data) })
    }

    pub(super) fn list(&self, path: &str) -> Vec<Resource> {
        self.runtime.block_on(self.client.get::<Many>(path)).expect("a list").data
    }

    /// A JSON file.
    pub(super) fn download(&self, path: &str) -> Value {
        let bytes = self.runtime.block_on(async {
            let mut stream = self.client.bytes(path).await?;
            let mut all = Vec::new();
            while let Some(part) = stream.next().await? {
                all.extend_from_slice(&part);
            }
            Ok::<_, ClientError>(all)
        });
        serde_json::from_slice(&bytes.expect("its bytes")).expect("JSON")
    }

    /// A run of a new workspace with this archive, auto-applied; its id.
    pub(super) fn submit(&self, workspace: &str, archive: &[u8]) -> String {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(archive).and_then(|()| file.rewind()).expect("the archive in a file");
        let done = self.runtime.block_on(async {
            let make = async |kind: &str, resource: One| {
                let made: One = self.client.send(Method::POST, kind, &resource).await?;
                Ok::<_, ClientError>(made.data.id)
            };
            let workspace = make("workspaces", One::new("workspaces", json!({"name": workspace}))).await?;
            let version = One::new("configuration-versions", json!({}));
            let version = version.of("workspace", "workspaces", &workspace);
            let version = make("configuration-versions", version).await?;
            self.client.upload(&format!("configuration-versions/{version}/upload"), file).await?;
            let run = One::new("runs", json!({"auto-apply": true}))
                .of("workspace", "workspaces", &workspace)
                .of("configuration-version", "configuration-versions", &version);
            make("runs", run).await
        });
        done.expect("a run")
    }

    pub(super) fn inspect(&self) -> Value {
        serde_json::from_str(&self.call("GET", "/fake/inspect", None)).expect("JSON")
    }

    pub(super) fn post(&self, path: &str, body: &Value) {
        self.call("POST", path, Some(body));
    }

    pub(super) fn clear_faults(&self) {
        self.call("DELETE", "/fake/faults", None);
    }

    pub(super) fn revoke_pool_tokens(&self) {
        for pool in self.list("agent-pools") {
            for token in self.list(&format!("agent-pools/{}/access-tokens", pool.id)) {
                self.call("DELETE", &format!("/api/iacp/v3/access-tokens/{}", token.id), None);
            }
        }
    }

    pub(super) fn send(&self, method: &str, path: &str, body: &Value) {
        self.call(method, path, Some(body));
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> String {
        let client = connect::client(&Url::parse(&self.url).expect("its URL"), None).expect("a client");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = client.request(method, format!("{}{path}", self.url.trim_end_matches('/')));
        request = request.bearer_auth(&self.user_token);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.runtime.block_on(async {
            let answer = request.send().await.expect("an answer");
            let (status, text) = (answer.status(), answer.text().await.expect("its text"));
            assert!(status.is_success(), "{path}: {status}: {text}");
            text
        })
    }
}
