//! The public API, as Scalr's own clients would use it.

use axum::http::StatusCode;
use expect_test::expect;
use serde_json::{Value, json};

use crate::fixture::{Fake, USER};

#[tokio::test]
async fn lists_come_in_pages() {
    let fake = Fake::new();
    for name in ["a", "b", "c", "d", "e"] {
        fake.workspace(name).await;
    }
    let page = fake.get("/api/iacp/v3/workspaces?page[number]=2&page[size]=2", USER).await.json();
    let names: Vec<_> = page["data"].as_array().unwrap().iter().map(|w| &w["attributes"]["name"]).collect();
    assert_eq!(names, ["c", "d"]);
    expect![[
        r#"{"current-page":2,"next-page":3,"page-size":2,"prev-page":1,"total-count":5,"total-pages":3}"#
    ]]
    .assert_eq(&page["meta"]["pagination"].to_string());
}

#[tokio::test]
async fn a_sensitive_value_never_comes_out() {
    let fake = Fake::new();
    let workspace = fake.workspace("demo").await;
    let of = json!({"workspace": {"data": {"type": "workspaces", "id": workspace}}});
    let attributes = json!({"key": "k", "value": "hush", "category": "shell", "sensitive": true});
    let made = fake.created("vars", "vars", attributes, of).await;
    assert_eq!(made["attributes"]["value"], Value::Null);
    let listed = fake.get(&format!("/api/iacp/v3/vars?filter[workspace]={workspace}"), USER).await;
    assert!(!String::from_utf8_lossy(&listed.body).contains("hush"));
    let path = format!("/api/iacp/v3/vars/{}", made["id"].as_str().unwrap());
    assert_eq!(fake.call("DELETE", &path, USER, &[], "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(fake.call("DELETE", &path, USER, &[], "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_workspace_is_locked_and_unlocked_once() {
    let fake = Fake::new();
    let workspace = fake.workspace("demo").await;
    let mut report = String::new();
    for action in ["unlock", "lock", "lock", "unlock"] {
        let path = format!("/api/iacp/v3/workspaces/{workspace}/actions/{action}");
        let answer = fake.json("POST", &path, USER, &json!({"reason": "holidays"})).await;
        let line = answer.line();
        report += &format!("{action}: {}\n", line.split(" at 20").next().unwrap());
    }
    expect![[r#"
        unlock: 409 conflict: it is not locked
        lock: 200
        lock: 409 conflict: user locked it
        unlock: 200
    "#]]
    .assert_eq(&report);
}

#[tokio::test]
async fn an_upload_can_be_downloaded_and_must_be_an_archive() {
    let fake = Fake::new();
    let workspace = fake.workspace("demo").await;
    let run = fake.run(&workspace, json!({"is-dry": true})).await;
    let version = run["relationships"]["configuration-version"]["data"]["id"].as_str().unwrap();
    let path = format!("/api/iacp/v3/configuration-versions/{version}");
    assert_eq!(fake.get(&format!("{path}/download"), USER).await.body, &b"\x1f\x8bconfiguration"[..]);
    let upload = format!("{path}/upload");
    let octets = [("content-type", "application/octet-stream")];
    let mut report = String::new();
    for body in [&b"hello"[..], b"", b"\x1f\x8bother"] {
        report += &format!(
            "{}\n",
            fake.call("PUT", &upload, USER, &octets, body).await.line().replace(version, "CV")
        );
    }
    let wrong = [octets[0], ("content-digest", "sha-256=:LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=:")];
    report += &format!("{}\n", fake.call("PUT", &upload, USER, &wrong, &b"\x1f\x8b"[..]).await.line());
    expect![[r#"
        422 invalid: the body is no gzip; send a tar.gz
        422 invalid: the body is no gzip; send a tar.gz
        409 differs: CV is there with sha256:1fe3359e3e2fabd95e654fbc9700bfc626b1f98c06d805ea30b3a0b9a547f993: create another
        422 digest-mismatch: the content's SHA-256 is ee98dc6af27a9f1c8cc4aaa2fd05b5f6e7c98f51390253a5263b0d096c3510fe {"parameter":"content-digest"}
    "#]].assert_eq(&report);
}

#[tokio::test]
async fn what_people_decide_about_a_run_depends_on_where_it_is() {
    let fake = Fake::new();
    let at = fake.started().await;
    let mut report = String::new();
    for action in ["apply", "discard", "cancel", "force-cancel"] {
        let path = format!("/api/iacp/v3/runs/{}/actions/{action}", at.run);
        let answer = fake.json("POST", &path, USER, &json!({})).await;
        report += &format!("{action}: {}\n", at.tidied(&answer.line()));
    }
    expect![[r#"
        apply: 409 conflict: RUN is planning: only a planned run can be applied
        discard: 409 conflict: RUN is planning: only a pending or a planned run can be discarded
        cancel: 202
        force-cancel: 202
    "#]]
    .assert_eq(&report);
}

#[tokio::test]
async fn a_revoked_pool_token_registers_nobody() {
    let fake = Fake::new();
    let pool = "agent-pools/apool-default/access-tokens";
    let made = fake.created(pool, "access-tokens", json!({"description": "d"}), json!({})).await;
    let (id, text) = (made["id"].as_str().unwrap(), made["attributes"]["token"].as_str().unwrap());
    let register = json!({"data": {"type": "agents", "attributes": {
        "name": "n", "instance-id": "i", "version": "0", "os": "o", "driver": "d", "mode": "controller", "capacity": 1,
    }}});
    let registered = fake.json("POST", "/api/agent/v1/agents", text, &register).await;
    assert_eq!(registered.status, StatusCode::CREATED);
    let agents = fake.get("/api/iacp/v3/agents", USER).await.json();
    assert_eq!(agents["data"][0]["attributes"]["name"], "n");
    let revoke = format!("/api/iacp/v3/access-tokens/{id}");
    assert_eq!(fake.call("DELETE", &revoke, USER, &[], "").await.status, StatusCode::NO_CONTENT);
    let refused = fake.json("POST", "/api/agent/v1/agents", text, &register).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let listed = fake.get(&format!("/api/iacp/v3/{pool}"), USER).await;
    assert!(!String::from_utf8_lossy(&listed.body).contains(text), "it is shown once");
}

#[tokio::test]
async fn blobs_are_checked_both_ways() {
    let fake = Fake::new();
    let at = fake.started().await;
    let path = at.path("blobs/plan-file");
    let digest = |bytes: &[u8]| {
        use sha2::Digest;
        scalr_protocol::blob::Digest(sha2::Sha256::digest(bytes).into()).to_header()
    };
    let mut report = String::new();
    for (claimed, body) in [(&b"one"[..], "two"), (b"one", "one"), (b"one", "one"), (b"two", "two")] {
        let headers =
            [("content-type", "application/octet-stream"), ("content-digest", &digest(claimed) as &str)];
        let answer = fake.call("PUT", &path, &at.token, &headers, body).await;
        report += &format!("{body}: {}\n", at.tidied(&answer.line()));
    }
    let got = fake.get(&path, &at.token).await;
    assert_eq!((got.body.as_ref(), got.header("content-digest")), (&b"one"[..], digest(b"one").as_str()));
    for kind in ["configuration-version", "plan-json", "ducks"] {
        let answer = fake.get(&at.path(&format!("blobs/{kind}")), &at.token).await;
        report += &format!("{kind}: {}\n", at.tidied(&answer.line()));
    }
    let headers = [("content-type", "application/octet-stream")];
    let answer = fake.call("PUT", &path, &at.token, &headers, "one").await;
    report += &format!("no digest: {}\n", answer.line());
    expect![[r#"
        two: 422 digest-mismatch: the content's SHA-256 is 3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3 {"parameter":"content-digest"}
        one: 201
        one: 204
        two: 409 differs: plan-file is there with sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed
        configuration-version: 200
        plan-json: 404 not-found: the task has no plan-json
        ducks: 404 not-found: `ducks` is no kind of blob {"parameter":"path"}
        no digest: 400 malformed: send `content-digest: sha-256=:BASE64:` {"parameter":"content-digest"}
    "#]].assert_eq(&report);
}

#[tokio::test]
async fn a_new_workspace_has_the_tool_that_this_project_fetches() {
    let fake = Fake::new();
    let made = fake.created("workspaces", "workspaces", json!({"name": "demo"}), json!({})).await;
    let (platform, version) =
        (&made["attributes"]["iac-platform"], made["attributes"]["terraform-version"].as_str().unwrap());
    assert_eq!(platform, "terraform");
    let fetched = include_str!("../../../scripts/tools.txt");
    assert!(fetched.contains(&format!("# Terraform {version} ")), "{version} is not what it names");
}
