//! `HttpScalr` and `HttpTask` against fake-scalr: every clause of the contract, over a socket.

use std::io::{Seek, Write};

use fake_scalr::{
    client::Client,
    resource::One,
    server::{Server, serve},
    state::Settings,
};
use reqwest::Method;
use scalr_agent::scalr::{HttpScalr, HttpTask, TokenSource, connect};
use scalr_core::contract::scalr::{self as contract, Bench};
use scalr_protocol::{blob::Digest, id::RunId, secret::Secret};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, sync::oneshot};
use url::Url;

/// A server of its own for each clause.
struct Http {
    server: Server,
    url: Url,
    person: Client,
    user: Secret,
    pool: Secret,
    _stop: oneshot::Sender<()>,
    n_submitted: u32,
}

impl Http {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let server = Server::temporary(Settings { url: url.to_string(), ..Settings::default() }).unwrap();
        let credentials = server.credentials(None, None, None).unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, server.clone(), async move {
            let _dropped = stopped.await;
        });
        tokio::spawn(async move { serving.await.unwrap() });
        let person = Client::new(&url, credentials.user.clone()).unwrap();
        let (user, pool) = (credentials.user, credentials.agent);
        Self { server, url, person, user, pool, _stop: stop, n_submitted: 0 }
    }

    async fn create(&self, kind: &str, resource: One) -> String {
        let made: One = self.person.send(Method::POST, kind, &resource).await.unwrap();
        made.data.id
    }
}

impl Bench for Http {
    type Scalr = HttpScalr;
    type Task = HttpTask;

    async fn agent(&mut self) -> HttpScalr {
        let client = connect::client(&self.url, None).unwrap();
        HttpScalr::new(client, &self.url, TokenSource::Value(self.pool.clone())).unwrap()
    }

    fn task(&mut self, session: &HttpScalr) -> HttpTask {
        session.task()
    }

    async fn submit(&mut self) -> RunId {
        self.n_submitted += 1;
        let name = format!("workspace-{}", self.n_submitted);
        let workspace = self.create("workspaces", One::new("workspaces", json!({ "name": name }))).await;
        let version = One::new("configuration-versions", json!({})).of("workspace", "workspaces", &workspace);
        let version = self.create("configuration-versions", version).await;
        let (archive, _) = self.file(b"\x1f\x8b: a gzip by its first bytes; nobody unpacks it here");
        self.person.upload(&format!("configuration-versions/{version}/upload"), archive).await.unwrap();
        let run = One::new("runs", json!({})).of("workspace", "workspaces", &workspace).of(
            "configuration-version",
            "configuration-versions",
            &version,
        );
        RunId::new(&self.create("runs", run).await).unwrap()
    }

    async fn cancel(&mut self, run: &RunId) {
        self.person.act(&format!("runs/{run}/actions/cancel"), &json!({})).await.unwrap();
    }

    async fn advance(&mut self, ms: u64) {
        self.server.advance(ms).unwrap();
    }

    async fn lose_next_answer(&mut self) {
        let client = connect::client(&self.url, None).unwrap();
        let answer = client
            .post(self.url.join("/fake/faults").unwrap())
            .bearer_auth(self.user.expose())
            .json(&json!({ "route": "*", "kind": "lost-after" }))
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    fn file(&mut self, bytes: &[u8]) -> (std::fs::File, Digest) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        (file, Digest(Sha256::digest(bytes).into()))
    }
}

macro_rules! clauses {
    ($($clause:ident)+) => { $(
        #[tokio::test]
        async fn $clause() {
            contract::$clause(&mut Http::new().await).await;
        }
    )+ };
}

clauses! {
    one_name_is_one_instance
    a_lapsed_lease_is_adopted
    another_agent_is_told_who_holds
    a_release_shuts_the_door
    a_rebalanced_task_goes_to_others
    five_failed_launches_end_a_task
    deregistering_is_idempotent
    a_task_starts_at_most_once
    an_unconfirmed_claim_expires
    the_log_is_a_gapless_prefix
    a_blob_is_taken_once
    one_outcome_is_recorded
    a_finish_waits_for_the_log
    a_cancel_is_a_signal
    a_cancel_before_the_confirm_is_final
    what_comes_late_is_kept
    a_lost_worker_is_noted
}
