//! Bad input to every route gets one clear refusal, as `errors[]`.

use std::fmt::Write as _;

use expect_test::expect;
use fake_scalr::server::{ROUTES, Takes, Who};
use scalr_protocol::MEDIA_TYPE;

use crate::fixture::{Fake, POOL, Started, USER};

const JSON: (&str, &str) = ("content-type", MEDIA_TYPE);
const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");

/// A path with its parameters filled in.
fn filled(path: &str, at: &Started) -> String {
    path.replace("{agent}", &at.agent)
        .replace("{task}", &at.task)
        .replace("{kind}", "plan-file")
        .replace("{workspace}", &at.workspace)
        .replace("{run}", &at.run)
        .replace("{plan}", &at.plan)
        .replace("{apply}", "apply-0")
        .replace("{pool}", "apool-default")
        .replace("{version}", "v-0")
        .replace("{var}", "var-0")
        .replace("{token}", "at-0")
}

#[tokio::test]
async fn every_route_wants_its_token() {
    let fake = Fake::new();
    let at = fake.started().await;
    for route in ROUTES.iter().filter(|route| route.token != Who::Nobody) {
        let path = filled(route.path, &at);
        let refused = fake.call(route.method, &path, "", &[JSON], "{}").await;
        assert_eq!(
            refused.line(),
            "401 invalid-token: send `Authorization: Bearer TOKEN` {\"parameter\":\"authorization\"}",
            "{}",
            route.name
        );
    }
}

#[tokio::test]
async fn no_route_takes_the_token_of_another_kind() {
    let fake = Fake::new();
    let at = fake.started().await;
    let mut report = String::new();
    for route in ROUTES.iter().filter(|route| route.token != Who::Nobody) {
        let path = filled(route.path, &at);
        let wrong = if route.token == Who::User || route.token == Who::Run { POOL } else { USER };
        let content = if route.body == Takes::Octets { OCTETS } else { JSON };
        let body = match route.body {
            Takes::Document(kind) => smallest(kind),
            Takes::Nothing | Takes::Json | Takes::Octets => String::new(),
        };
        let body = match route.name {
            "state-post" => r#"{"serial": 1}"#.to_owned(),
            "state-lock" | "state-unlock" => r#"{"ID": "l"}"#.to_owned(),
            "faults-add" => r#"{"route": "*", "kind": "latency"}"#.to_owned(),
            "log" | "blob-put" => "x".to_owned(),
            _ => body,
        };
        let digest = "sha-256=:LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=:";
        let headers = [content, ("content-range", "bytes 0-0/*"), ("content-digest", digest)];
        let refused = fake.call(route.method, &path, wrong, &headers, body).await;
        writeln!(report, "{}: {}", route.name, at.tidied(&refused.line())).unwrap();
    }
    expect![[r#"
        register: 403 forbidden: registering needs a pool token
        heartbeat: 403 forbidden: this call needs the session token of a controller
        deregister: 403 forbidden: this call needs the session token of a controller
        acquire: 403 forbidden: this call needs the session token of a controller
        launch-events: 403 forbidden: this call needs the session token of a controller
        messages: 403 forbidden: this call needs the session token of a controller
        release: 403 forbidden: this call needs the session token of a controller
        launch-failed: 403 forbidden: this call needs the session token of a controller
        worker-lost: 403 forbidden: this call needs the session token of a controller
        start: 403 forbidden: a start needs the session token of the task's worker
        lease: 403 forbidden: this call needs a task token
        signals: 403 forbidden: this call needs a task token
        log: 403 forbidden: this call needs a task token
        blob-get: 403 forbidden: this call needs a task token
        blob-put: 403 forbidden: this call needs a task token
        finish: 403 forbidden: this call needs a task token
        state-get: 403 forbidden: a state needs a run token or a user token
        state-post: 403 forbidden: a state needs a run token or a user token
        state-lock: 403 forbidden: a state needs a run token or a user token
        state-unlock: 403 forbidden: a state needs a run token or a user token
        workspaces: 403 forbidden: the public API needs a user token
        workspace-create: 403 forbidden: the public API needs a user token
        workspace: 403 forbidden: the public API needs a user token
        workspace-update: 403 forbidden: the public API needs a user token
        workspace-lock: 403 forbidden: the public API needs a user token
        workspace-unlock: 403 forbidden: the public API needs a user token
        state-force-unlock: 403 forbidden: the public API needs a user token
        state-current: 403 forbidden: the public API needs a user token
        state-versions: 403 forbidden: the public API needs a user token
        state-version: 403 forbidden: the public API needs a user token
        state-download: 403 forbidden: the public API needs a user token
        vars: 403 forbidden: the public API needs a user token
        var-create: 403 forbidden: the public API needs a user token
        var-delete: 403 forbidden: the public API needs a user token
        configuration-version-create: 403 forbidden: the public API needs a user token
        configuration-version: 403 forbidden: the public API needs a user token
        configuration-version-upload: 403 forbidden: the public API needs a user token
        configuration-version-download: 403 forbidden: the public API needs a user token
        runs: 403 forbidden: the public API needs a user token
        run-create: 403 forbidden: the public API needs a user token
        run: 403 forbidden: the public API needs a user token
        run-apply: 403 forbidden: the public API needs a user token
        run-discard: 403 forbidden: the public API needs a user token
        run-cancel: 403 forbidden: the public API needs a user token
        run-force-cancel: 403 forbidden: the public API needs a user token
        runs-queue: 403 forbidden: the public API needs a user token
        plan: 403 forbidden: the public API needs a user token
        plan-output: 403 forbidden: the public API needs a user token
        plan-json: 403 forbidden: the public API needs a user token
        apply: 403 forbidden: the public API needs a user token
        apply-output: 403 forbidden: the public API needs a user token
        agent-pools: 403 forbidden: the public API needs a user token
        agent-pool: 403 forbidden: the public API needs a user token
        access-tokens: 403 forbidden: the public API needs a user token
        access-token-create: 403 forbidden: the public API needs a user token
        access-token-delete: 403 forbidden: the public API needs a user token
        agents: 403 forbidden: the public API needs a user token
        agent: 403 forbidden: the public API needs a user token
        faults-add: 403 forbidden: the public API needs a user token
        faults: 403 forbidden: the public API needs a user token
        faults-clear: 403 forbidden: the public API needs a user token
        inspect: 403 forbidden: the public API needs a user token
    "#]]
    .assert_eq(&report);
}

/// The smallest document of a kind that can be read.
fn smallest(kind: &str) -> String {
    let attributes = match kind {
        "agents" => {
            r#"{"name":"n","instance-id":"i","version":"0","os":"o","driver":"d","mode":"controller","capacity":1}"#
        }
        "agent-heartbeats" => r#"{"status":"idle","slots":0,"draining":false,"tasks":[]}"#,
        "agent-acquires" => r#"{"slots":1,"ahead":0,"actions":["plan"],"wait-ms":0}"#,
        "agent-launch-events" => r#"{"events":[]}"#,
        "agent-releases" => r#"{"fence":1,"reason":"drain"}"#,
        "agent-launch-failures" => r#"{"fence":1,"reason":"volume","message":"m","retryable":true}"#,
        "agent-worker-losses" => r#"{"fence":1,"reason":"exited","ended":true}"#,
        "agent-task-starts" => r#"{"fence":1}"#,
        "agent-task-leases" => r#"{"fence":1,"phase":"confirm"}"#,
        "agent-task-finishes" => {
            r#"{"fence":1,"outcome":"failed","log":{"bytes":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}"#
        }
        "workspaces" => r#"{"name":"n"}"#,
        "vars" => r#"{"key":"k","value":"v","category":"terraform"}"#,
        _ => "{}",
    };
    format!(
        r#"{{"data":{{"type":"{kind}","attributes":{attributes},"relationships":{{"workspace":{{"data":{{"type":"workspaces","id":"ws-0"}}}}}}}}}}"#
    )
}

#[tokio::test]
async fn what_can_not_be_read_is_refused_with_what_and_where() {
    let fake = Fake::new();
    let at = fake.started().await;
    let mut report = String::new();
    for route in ROUTES {
        let Takes::Document(kind) = route.body else { continue };
        let path = filled(route.path, &at);
        let token = match route.token {
            Who::Pool => POOL,
            Who::Session => &at.session,
            Who::Task => &at.token,
            Who::Nobody | Who::Run | Who::User => USER,
        };
        let send = |header, body: String| fake.call(route.method, &path, token, header, body);
        writeln!(report, "{}", route.name).unwrap();
        for (what, header, body) in [
            ("no content type", &[][..], "{}".to_owned()),
            ("no JSON", &[JSON], "hello".to_owned()),
            ("torn", &[JSON], smallest(kind).split_at(40).0.to_owned()),
            ("an empty object", &[JSON], "{}".to_owned()),
            ("another type", &[JSON], smallest(kind).replacen(kind, "ducks", 1)),
            ("no attributes", &[JSON], format!(r#"{{"data":{{"type":"{kind}","attributes":{{}}}}}}"#)),
        ] {
            let answer = send(header, body).await;
            writeln!(report, "  {what}: {}", at.tidied(&answer.line())).unwrap();
        }
    }
    expect![[r#"
        register
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing a string at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `agents` {"pointer":"/data/type"}
          no attributes: 400 malformed: missing field `name` at line 1 column 40
        heartbeat
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing a string at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `agent-heartbeats` {"pointer":"/data/type"}
          no attributes: 400 malformed: missing field `status` at line 1 column 50
        acquire
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing a string at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `agent-acquires` {"pointer":"/data/type"}
          no attributes: 400 malformed: missing field `slots` at line 1 column 48
        launch-events
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing a string at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `agent-launch-events` {"pointer":"/data/type"}
          no attributes: 400 malformed: missing field `events` at line 1 column 53
        release
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing a string at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `agent-releases` {"pointer":"/data/type"}
          no attributes: 400 malformed: missing field `fence` at line 1 column 48
        launch-failed
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing a value at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `agent-launch-failures` {"pointer":"/data/type"}
          no attributes: 400 malformed: missing field `fence` at line 1 column 55
        worker-lost
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing a string at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `agent-worker-losses` {"pointer":"/data/type"}
          no attributes: 400 malformed: missing field `fence` at line 1 column 53
        start
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing a string at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `agent-task-starts` {"pointer":"/data/type"}
          no attributes: 400 malformed: missing field `fence` at line 1 column 51
        lease
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing a string at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `agent-task-leases` {"pointer":"/data/type"}
          no attributes: 400 malformed: missing field `fence` at line 1 column 51
        finish
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing a string at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `agent-task-finishes` {"pointer":"/data/type"}
          no attributes: 400 malformed: missing field `fence` at line 1 column 53
        workspace-create
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` or `application/json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing a string at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `workspaces` {"pointer":"/data/type"}
          no attributes: 422 invalid: name the workspace {"pointer":"/data/attributes/name"}
        workspace-update
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` or `application/json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing a string at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `workspaces` {"pointer":"/data/type"}
          no attributes: 200
        var-create
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` or `application/json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing a string at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `vars` {"pointer":"/data/type"}
          no attributes: 422 invalid: name the workspace in `relationships` {"pointer":"/data/relationships/workspace/data/id"}
        configuration-version-create
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` or `application/json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing an object at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `configuration-versions` {"pointer":"/data/type"}
          no attributes: 422 invalid: name the workspace in `relationships` {"pointer":"/data/relationships/workspace/data/id"}
        run-create
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` or `application/json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing a string at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `runs` {"pointer":"/data/type"}
          no attributes: 422 invalid: name the workspace in `relationships` {"pointer":"/data/relationships/workspace/data/id"}
        access-token-create
          no content type: 415 unsupported-media-type: the content type is `none`; expected `application/vnd.api+json` or `application/json` {"parameter":"content-type"}
          no JSON: 400 malformed: expected value at line 1 column 1
          torn: 400 malformed: EOF while parsing a string at line 1 column 40
          an empty object: 400 malformed: missing field `data` at line 1 column 2
          another type: 422 invalid: the type is `ducks`; expected `access-tokens` {"pointer":"/data/type"}
          no attributes: 201
    "#]].assert_eq(&report);
}

#[tokio::test]
async fn a_malformed_id_is_refused_where_ids_are_ours() {
    let fake = Fake::new();
    let at = fake.started().await;
    let mut report = String::new();
    let long = "x".repeat(129);
    for (path, id) in [
        ("/api/agent/v1/agents/{}/messages", ".."),
        ("/api/agent/v1/agents/{}/messages", "a%20b"),
        ("/api/agent/v1/agent-tasks/{}/signals", "a%2Fb"),
        ("/api/agent/v1/agent-tasks/{}/signals", long.as_str()),
        ("/api/agent/v1/agent-tasks/{}/signals", "%FF"),
        ("/api/agent/v1/workspaces/{}/state", "%0A"),
        ("/api/iacp/v3/runs/{}", "a%2Fb"),
        ("/api/iacp/v3/workspaces/{}", "%C3%A4"),
        ("/api/iacp/v3/plans/{}", "a%2Fb"),
        ("/api/iacp/v3/runs/{}", "run-0"),
    ] {
        let answer = fake.get(&path.replace("{}", id), USER).await;
        writeln!(report, "{}: {}", id.get(..8).unwrap_or(id), at.tidied(&answer.line())).unwrap();
    }
    expect![[r#"
        ..: 400 malformed: `..` is no agent id: an id has 1 to 128 letters, digits, '-', '_' or '.' {"parameter":"path"}
        a%20b: 400 malformed: `a b` is no agent id: an id has 1 to 128 letters, digits, '-', '_' or '.' {"parameter":"path"}
        a%2Fb: 400 malformed: `a/b` is no task id: an id has 1 to 128 letters, digits, '-', '_' or '.' {"parameter":"path"}
        xxxxxxxx: 400 malformed: `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is no task id: an id has 1 to 128 letters, digits, '-', '_' or '.' {"parameter":"path"}
        %FF: 400 malformed: Invalid UTF-8 in `task` {"parameter":"path"}
        %0A: 400 malformed: `
        ` is no workspace id: an id has 1 to 128 letters, digits, '-', '_' or '.' {"parameter":"path"}
        a%2Fb: 400 malformed: `a/b` is no run id: an id has 1 to 128 letters, digits, '-', '_' or '.' {"parameter":"path"}
        %C3%A4: 400 malformed: `ä` is no workspace id: an id has 1 to 128 letters, digits, '-', '_' or '.' {"parameter":"path"}
        a%2Fb: 404 not-found: there is no plan `a/b`
        run-0: 404 not-found: there is no run `run-0`
    "#]].assert_eq(&report);
}

#[tokio::test]
async fn what_is_no_route_and_no_method_is_refused_as_everything_else() {
    let fake = Fake::new();
    let at = fake.started().await;
    let mut report = String::new();
    for (method, path) in [
        ("GET", "/nope"),
        ("GET", "/api/agent/v1/"),
        ("GET", "/api/agent/v1/agents"),
        ("PATCH", "/api/iacp/v3/runs"),
        ("BREW", "/"),
        ("DELETE", &at.state_path()),
        ("LOCK", "/api/iacp/v3/runs"),
    ] {
        let answer = fake.call(method, path, USER, &[], "").await;
        let version = answer.header("agent-protocol");
        writeln!(report, "{method} {}: {} {version}", at.tidied(path), at.tidied(&answer.line())).unwrap();
    }
    expect![[r#"
        GET /nope: 404 not-found: there is no `/nope` 
        GET /api/agent/v1/: 404 not-found: there is no `/api/agent/v1/` 0.1
        GET /api/agent/v1/agents: 405 method-not-allowed: `/api/agent/v1/agents` does not take GET 0.1
        PATCH /api/iacp/v3/runs: 405 method-not-allowed: `/api/iacp/v3/runs` does not take PATCH 
        BREW /: 405 method-not-allowed: `/` does not take BREW 
        DELETE /api/agent/v1/workspaces/WS/state: 405 method-not-allowed: `/api/agent/v1/workspaces/WS/state` does not take DELETE 0.1
        LOCK /api/iacp/v3/runs: 405 method-not-allowed: `/api/iacp/v3/runs` does not take LOCK 
    "#]].assert_eq(&report);
}

#[tokio::test]
async fn values_that_make_no_sense_are_refused() {
    let fake = Fake::new();
    let at = fake.started().await;
    let mut report = String::new();
    for (method, path, attributes) in [
        ("PATCH", "workspaces/WS", r#"{"iac-platform":"pulumi"}"#),
        ("PATCH", "workspaces/WS", r#"{"run-operation-timeout":0}"#),
        ("PATCH", "workspaces/WS", r#"{"name":"other"}"#),
        ("PATCH", "workspaces/WS", r#"{"hooks":{"after":"true"}}"#),
        ("POST", "workspaces", r#"{}"#),
        ("POST", "workspaces", r#"{"name":"demo"}"#),
        ("POST", "vars", r#"{"value":"v","category":"terraform"}"#),
        ("POST", "vars", r#"{"key":"k","value":"v","category":"env"}"#),
        ("POST", "runs", r#"{"refresh":false,"refresh-only":true}"#),
        ("POST", "runs", r#"{}"#),
        ("POST", "configuration-versions", r#"{}"#),
    ] {
        let kind = path.split('/').next().unwrap();
        let of = if path == "configuration-versions" { "ws-0" } else { &at.workspace };
        let body = format!(
            r#"{{"data":{{"type":"{kind}","attributes":{attributes},"relationships":{{"workspace":{{"data":{{"type":"workspaces","id":"{of}"}}}}}}}}}}"#
        );
        let full = format!("/api/iacp/v3/{}", path.replace("WS", &at.workspace));
        let answer = fake.call(method, &full, USER, &[JSON], body).await;
        writeln!(report, "{path} {attributes}: {}", at.tidied(&answer.line())).unwrap();
    }
    for query in ["page[number]=x", "page[size]=-1", "filter[workspace]=a/b"] {
        let answer = fake.get(&format!("/api/iacp/v3/runs?{query}"), USER).await;
        writeln!(report, "runs?{query}: {}", answer.line()).unwrap();
    }
    let upload = "/api/iacp/v3/configuration-versions/cv-0/upload";
    let answer = fake.call("PUT", upload, USER, &[OCTETS], "x").await;
    writeln!(report, "upload to none: {}", answer.line()).unwrap();
    expect![[r#"
        workspaces/WS {"iac-platform":"pulumi"}: 422 invalid: `pulumi` is no platform: expected terraform or opentofu {"pointer":"/data/attributes/iac-platform"}
        workspaces/WS {"run-operation-timeout":0}: 422 invalid: `0` minutes; expected 1 to 720 {"pointer":"/data/attributes/run-operation-timeout"}
        workspaces/WS {"name":"other"}: 422 invalid: a workspace can't be renamed here {"pointer":"/data/attributes/name"}
        workspaces/WS {"hooks":{"after":"true"}}: 400 malformed: unknown variant `after`, expected one of `pre-init`, `pre-plan`, `post-plan`, `pre-apply`, `post-apply` at line 1 column 59
        workspaces {}: 422 invalid: name the workspace {"pointer":"/data/attributes/name"}
        workspaces {"name":"demo"}: 422 invalid: `demo` is taken by WS: choose another name {"pointer":"/data/attributes/name"}
        vars {"value":"v","category":"terraform"}: 422 invalid: the key is missing {"pointer":"/data/attributes/key"}
        vars {"key":"k","value":"v","category":"env"}: 400 malformed: unknown variant `env`, expected `terraform` or `shell` at line 1 column 75
        runs {"refresh":false,"refresh-only":true}: 422 invalid: `refresh-only` and no `refresh` exclude each other {"pointer":"/data/attributes/refresh"}
        runs {}: 201
        configuration-versions {}: 404 not-found: there is no workspace `ws-0`
        runs?page[number]=x: 400 malformed: page[number]: invalid digit found in string {"parameter":"query"}
        runs?page[size]=-1: 400 malformed: page[size]: invalid digit found in string {"parameter":"query"}
        runs?filter[workspace]=a/b: 400 malformed: filter[workspace]: `a/b` is no workspace id: an id has 1 to 128 letters, digits, '-', '_' or '.' {"parameter":"query"}
        upload to none: 404 not-found: there is no configuration version `cv-0`
    "#]].assert_eq(&report);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let fake = Fake::new();
    let huge = vec![b' '; 4 * 1024 * 1024 + 1];
    let answer = fake.call("POST", "/api/agent/v1/agents", POOL, &[JSON], huge).await;
    expect!["413 too-large: at most 4194304 bytes are taken here"].assert_eq(&answer.line());
}

#[tokio::test]
async fn another_version_of_the_protocol_is_refused_and_every_answer_names_ours() {
    let fake = Fake::new();
    for (version, expected) in [
        ("0.1", expect!["401 invalid-token: the server does not know it"]),
        ("0.2", expect!["426 protocol-unsupported: version `0.2` was asked for; 0.1 is spoken here"]),
        ("1.0", expect!["426 protocol-unsupported: version `1.0` was asked for; 0.1 is spoken here"]),
        ("banana", expect!["426 protocol-unsupported: version `banana` was asked for; 0.1 is spoken here"]),
    ] {
        let headers = [JSON, ("agent-protocol", version)];
        let body = smallest("agents");
        let answer = fake.call("POST", "/api/agent/v1/agents", "t", &headers, body).await;
        assert_eq!(answer.header("agent-protocol"), "0.1");
        expected.assert_eq(&answer.line());
    }
}
