//! The commands, as the real binary runs them against a real server.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
};

use expect_test::expect;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{
    durability::{Served, binary},
    fixture::{POOL, USER},
};

/// What one stage does: which action it is, what it says, and how it ends.
pub(crate) struct Stage {
    action: &'static str,
    pub(crate) console: &'static str,
    outcome: &'static str,
    has_changes: bool,
}

pub(crate) const PLAN: Stage = Stage {
    action: "plan",
    console: "Plan: 1 to add\n\u{1b}[1mbold\r\n",
    outcome: "succeeded",
    has_changes: true,
};
pub(crate) const APPLY: Stage = Stage { action: "apply", console: "Apply complete!", ..PLAN };

/// Plays an agent with one worker for each stage, over HTTP.
pub(crate) async fn agent(served: &Served, stages: &[Stage]) {
    let said = async |method: &str, path: &str, token: &str, kind: &str, attributes: Value| {
        let body = json!({"data": {"type": kind, "attributes": attributes}});
        let (status, answer) = served.send(method, &format!("/api/agent/v1/{path}"), token, body).await;
        assert!(status.is_success(), "{path}: {answer}");
        answer["data"]["attributes"].clone()
    };
    let mut who = json!({"name": "c", "instance-id": "c", "version": "0.1.0", "os": "linux/x86_64", "driver": "local",
                         "mode": "controller", "capacity": 1});
    let controller = said("POST", "agents", POOL, "agents", who.clone()).await;
    let session = controller["session-token"].as_str().unwrap().to_owned();
    let acquire = format!("agents/{}/acquire", controller["agent"].as_str().unwrap());
    for Stage { action, console, outcome, has_changes } in stages {
        let ask = json!({"slots": 1, "ahead": 0, "actions": ["plan", "apply"], "wait-ms": 30000});
        let grant = said("POST", &acquire, &session, "agent-acquires", ask).await["tasks"][0].clone();
        assert_eq!(grant["action"], json!(action));
        let (id, fence) = (grant["id"].clone(), grant["fence"].clone());
        who["name"] = json!(format!("w-{action}"));
        who["instance-id"] = who["name"].clone();
        who["mode"] = json!("worker");
        who["task"] = id.clone();
        who["fence"] = fence.clone();
        let worker = said("POST", "agents", POOL, "agents", who.clone()).await;
        let worker = worker["session-token"].as_str().unwrap().to_owned();
        let task = format!("agent-tasks/{}", id.as_str().unwrap());
        let start = json!({"fence": fence});
        let started = said("POST", &format!("{task}/start"), &worker, "agent-task-starts", start).await;
        let token = started["task-token"].as_str().unwrap().to_owned();
        let lease = json!({"fence": fence, "phase": "confirm"});
        said("PUT", &format!("{task}/lease"), &token, "agent-task-leases", lease).await;
        let range = format!("bytes 0-{}/*", console.len() - 1);
        served.append(&format!("/api/agent/v1/{task}/log"), &token, &range, console).await;
        let sha256: String = Sha256::digest(console).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut finish = json!({
            "fence": fence, "outcome": outcome,
            "summary": {"has-changes": has_changes, "resource-additions": 1, "resource-changes": 0,
                        "resource-destructions": 0, "resource-imports": 0, "resource-forgets": 0},
            "log": {"bytes": console.len(), "sha256": sha256},
        });
        if *outcome == "failed" {
            finish["error"] = json!({"code": "plan-failed", "message": "terraform plan exited with 1"});
        }
        said("POST", &format!("{task}/finish"), &token, "agent-task-finishes", finish).await;
    }
}

pub(crate) async fn command(served: &Served, dir: &Path, words: &[&str]) -> Output {
    let mut command = binary();
    command.args(words).current_dir(dir).stdin(Stdio::null());
    command.env("SCALR_URL", &served.url).env("SCALR_TOKEN", USER);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Exit status, stdout and stderr, with what is drawn or depends on the time named.
fn report(output: &Output, dir: &Path, run: &str) -> String {
    let text = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        timeless(&text.replace(&dir.display().to_string(), "DIR").replace(run, "RUN"))
    };
    format!("exit {}\n{}--\n{}", output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// The text with every time of day as `TIME`.
pub(crate) fn timeless(text: &str) -> String {
    let is_date = |text: &str| {
        let date = text.as_bytes().get(..10).unwrap_or_default();
        date.len() == 10 && date.iter().enumerate().all(|(n, b)| b.is_ascii_digit() != matches!(n, 4 | 7))
    };
    let (mut rest, mut report) = (text, String::new());
    while let Some(first) = rest.chars().next() {
        let end = if is_date(rest) { rest.find(['Z', 'C']) } else { None };
        let (piece, taken) =
            end.map_or((&rest[..first.len_utf8()], first.len_utf8()), |end| ("TIME", end + 1));
        report.push_str(piece);
        rest = &rest[taken..];
    }
    report
}

pub(crate) fn example() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("demo")).unwrap();
    fs::write(dir.path().join("demo/main.tf"), "resource \"terraform_data\" \"a\" {}").unwrap();
    dir
}

#[tokio::test]
async fn submit_shows_both_consoles_byte_for_byte_and_ends_with_0() {
    let (dir, data) = (example(), TempDir::new().unwrap());
    let served = Served::start(data.path()).await;
    let words = ["submit", "demo", "--auto-apply", "--var", "a=b"];
    let (output, ()) = tokio::join!(command(&served, dir.path(), &words), agent(&served, &[PLAN, APPLY]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}{}", PLAN.console, APPLY.console));
}

#[tokio::test]
async fn submit_waits_for_an_approval_and_goes_on_with_it() {
    let (dir, data) = (example(), TempDir::new().unwrap());
    let served = Served::start(data.path()).await;
    let rest = async {
        agent(&served, &[PLAN]).await;
        let runs = served.send("GET", "/api/iacp/v3/runs", USER, json!({})).await.1;
        assert_eq!(runs["data"][0]["attributes"]["status"], "planned");
        let run = runs["data"][0]["id"].as_str().unwrap().to_owned();
        let approved = command(&served, dir.path(), &["approve", &run]).await;
        assert_eq!(approved.status.code(), Some(0), "{approved:?}");
        agent(&served, &[APPLY]).await;
        run
    };
    let (output, run) = tokio::join!(command(&served, dir.path(), &["submit", "demo"]), rest);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("{run}: changes will wait for `fake-scalr approve {run}`;")), "{said}");
    assert!(said.contains(&format!("approve with: fake-scalr approve {run}\n")), "{said}");
    assert!(said.ends_with(&format!("{run}: applied\n")), "{said}");
    let logs = command(&served, dir.path(), &["logs", &run]).await;
    assert_eq!(logs.stdout, output.stdout);
}

#[tokio::test]
async fn submit_ends_with_1_and_the_error_when_the_run_fails() {
    let (dir, data) = (example(), TempDir::new().unwrap());
    let served = Served::start(data.path()).await;
    let failed = [Stage { outcome: "failed", ..PLAN }];
    let (output, ()) =
        tokio::join!(command(&served, dir.path(), &["submit", "demo"]), agent(&served, &failed));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.stdout, PLAN.console.as_bytes());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.ends_with(": errored: terraform plan exited with 1\n"), "{said}");
}

#[tokio::test]
async fn a_dry_run_ends_with_its_plan() {
    let (dir, data) = (example(), TempDir::new().unwrap());
    let served = Served::start(data.path()).await;
    let words = ["submit", "demo", "--dry"];
    let (output, ()) = tokio::join!(command(&served, dir.path(), &words), agent(&served, &[PLAN]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().ends_with(": planned_and_finished\n"));
}

#[tokio::test]
async fn a_run_that_nobody_takes_says_why_and_can_be_canceled() {
    let (dir, data) = (example(), TempDir::new().unwrap());
    let served = Served::start(data.path()).await;
    let made = command(&served, dir.path(), &["submit", "demo", "--no-wait"]).await;
    let run = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let mut text = String::new();
    for words in [
        &["runs"][..],
        &["agents"],
        &["logs", &run],
        &["approve", &run],
        &["discard", &run],
        &["cancel", &run],
        &["cancel", "--force", "run-0"],
        &["lock", "demo", "--reason", "holidays"],
        &["lock", "demo"],
        &["unlock", "demo"],
        &["unlock", "demo"],
        &["unlock", "nowhere"],
        &["runs", "--workspace", "nowhere"],
    ] {
        let output = command(&served, dir.path(), words).await;
        text += &format!("$ {}\n{}", words.join(" ").replace(&run, "RUN"), report(&output, dir.path(), &run));
    }
    expect![[r#"
        $ runs
        exit 0
        RUN                 WORKSPACE  STATUS       CREATED                  WHY
        RUN  demo       plan_queued  TIME  queued: no agent of the pool is online
        --
        $ agents
        exit 0
        AGENT  STATUS  DRIVER  VERSION  FREE  LAST SEEN
        --
        $ logs RUN
        exit 0
        --
        $ approve RUN
        exit 1
        --
        fake-scalr: not possible in this state: RUN is plan_queued: only a planned run can be applied
        $ discard RUN
        exit 1
        --
        fake-scalr: not possible in this state: RUN is plan_queued: only a pending or a planned run can be discarded
        $ cancel RUN
        exit 0
        --
        RUN: cancel was asked for
        $ cancel --force run-0
        exit 1
        --
        fake-scalr: not found: there is no run `run-0`
        $ lock demo --reason holidays
        exit 0
        workspace demo is locked
        --
        $ lock demo
        exit 1
        --
        fake-scalr: not possible in this state: user locked it at TIME: unlock it first
        $ unlock demo
        exit 0
        workspace demo is unlocked; user had locked it at TIME, because: holidays
        --
        $ unlock demo
        exit 0
        workspace demo is not locked, nor is its state
        --
        $ unlock nowhere
        exit 1
        --
        fake-scalr: there is no workspace `nowhere`; `runs` lists those in use
        $ runs --workspace nowhere
        exit 1
        --
        fake-scalr: there is no workspace `nowhere`
    "#]].assert_eq(&text);
}

#[tokio::test]
async fn a_mistake_is_one_line_and_the_right_exit_status() {
    let (dir, data) = (example(), TempDir::new().unwrap());
    let served = Served::start(data.path()).await;
    fs::create_dir(dir.path().join("empty")).unwrap();
    let mut text = String::new();
    for words in [
        &["submit", "nowhere"][..],
        &["submit", "empty"],
        &["submit", "demo", "--working-directory", "live"],
        &["submit", "demo", "--workspace", ""],
        &["submit", "demo", "--token", "wrong"],
        &["runs", "--url", "http://127.0.0.1:9"],
        &["runs", "--frobnicate"],
        &["serve", "--listen", "192.0.2.1:1"],
        &["logs", "run-0"],
    ] {
        let output = command(&served, dir.path(), words).await;
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{output:?}");
        text += &format!("$ {}\n{}", words.join(" "), report(&output, dir.path(), "run-0"));
    }
    expect![[r#"
        $ submit nowhere
        exit 64
        --
        fake-scalr: `nowhere` is no folder: No such file or directory (os error 2); name the folder that holds the configuration
        $ submit empty
        exit 64
        --
        fake-scalr: `empty` holds no *.tf or *.tf.json file; name the folder that holds the configuration, or its --working-directory
        $ submit demo --working-directory live
        exit 64
        --
        fake-scalr: `demo/live` holds no *.tf or *.tf.json file; name the folder that holds the configuration, or its --working-directory
        $ submit demo --workspace 
        exit 1
        --
        fake-scalr: a value is not allowed: `` is no name: 1 to 128 letters, digits, spaces, '-', '_' or '.'
        $ submit demo --token wrong
        exit 1
        --
        fake-scalr: the token is not valid: the server does not know it
        $ runs --url http://127.0.0.1:9
        exit 1
        --
        fake-scalr: http://127.0.0.1:9/ can't be reached (Connection refused (os error 111)); start it with `fake-scalr serve`, or set --url or SCALR_URL
        $ runs --frobnicate
        exit 64
        --
        fake-scalr: unexpected argument '--frobnicate' found; `--help` tells what is possible
        $ serve --listen 192.0.2.1:1
        exit 1
        --
        fake-scalr: can't listen on 192.0.2.1:1: Cannot assign requested address (os error 99); choose another --listen
        $ logs run-0
        exit 1
        --
        fake-scalr: not found: there is no run `RUN`
    "#]].assert_eq(&text);
}

#[test]
fn a_missing_token_says_where_it_is_to_be_had() {
    let output = binary().arg("runs").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    expect![[r#"
        fake-scalr: the following required arguments were not provided: --token <TOKEN>; set SCALR_TOKEN, which `fake-scalr serve` prints; `--help` tells what is possible
    "#]]
    .assert_eq(&String::from_utf8(output.stderr).unwrap());
}

#[tokio::test]
async fn the_list_as_json_is_the_servers_own() {
    let (dir, data) = (example(), TempDir::new().unwrap());
    let served = Served::start(data.path()).await;
    command(&served, dir.path(), &["submit", "demo", "--no-wait"]).await;
    let output = command(&served, dir.path(), &["runs", "--json"]).await;
    let runs: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(runs[0]["attributes"]["status"], "plan_queued");
}
