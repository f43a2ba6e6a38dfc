//! Answers that a real server would not give, to the whole worker: it neither runs anything twice nor loses
//! anything of the log, and what can't be helped ends in the right words.

use std::fs;

use serde_json::json;

use crate::rig::{Rig, Trick, example};

/// Timings under which each call of a worker comes several times a second.
const QUICK: [&str; 6] = ["--heartbeat-every", "300ms", "--renew-every", "300ms", "--lease-ttl", "4s"];

/// What a worker may have in memory at most.
const MEMORY_KIB_MAX: u64 = 64 * 1024;

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nagent-protocol: 0.1\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// What something that wants people to sign in says.
fn page() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 20\r\n\r\n<html>Sign in</html>".to_vec()
}

/// A rig with a line, and a run that is submitted once the tricks are set.
fn rig() -> Rig {
    let rig = Rig::serving(&QUICK);
    rig.lay_line();
    rig
}

/// Runs the example, counting how often the hooks before both stages run.
#[track_caller]
fn runs(rig: &Rig) -> String {
    rig.start_controller(&[]);
    let hook = |stage: &str| format!("pre-{stage}=echo ran >> {}", rig.mark_path(stage).display());
    let (plan, apply) = (hook("plan"), hook("apply"));
    rig.submit(&example("hello"), &["--auto-apply", "--hook", &plan, "--hook", &apply])
}

#[track_caller]
fn runs_once_and_whole(rig: &Rig) {
    let run = runs(rig);
    rig.await_status(&run, "applied");
    assert_eq!([rig.marks("plan").len(), rig.marks("apply").len()], [1, 1]);
    let console = rig.console(&run);
    assert_eq!(console.matches("Executing pre-plan hook...").count(), 1, "{console}");
    assert_eq!(console.matches("Executing pre-apply hook...").count(), 1, "{console}");
    assert_eq!(console.matches("Apply complete! Resources: 2 added").count(), 1, "{console}");
}

#[test]
fn a_start_whose_answer_was_cut_is_asked_for_again_and_runs_once() {
    let rig = rig();
    rig.line().trick("POST", "/start", 3, Trick::Cut(300));
    runs_once_and_whole(&rig);
    assert!(rig.line().calls("POST", "/start") >= 5);
}

#[test]
fn a_confirm_that_was_answered_by_a_stranger_is_no_confirm() {
    let rig = rig();
    rig.line().trick("PUT", "/lease", 1, Trick::Answer(page()));
    rig.line().trick("PUT", "/lease", 1, Trick::Instead(page()));
    rig.line().trick("PUT", "/lease", 1, Trick::Answer(answer("410 Gone", "", "")));
    runs_once_and_whole(&rig);
}

#[test]
fn a_renewal_that_is_never_answered_is_given_up_and_made_again() {
    let rig = rig();
    rig.line().trick("PUT", "/lease", 1, Trick::Silence(Vec::new()));
    rig.line().trick("PUT", "/lease", 1, Trick::Silence(b"HTTP/1.1 200 OK\r\nagent-pro".to_vec()));
    rig.line().trick("PUT", "/lease", 1, Trick::Silence(answer("200 OK", "", "")));
    runs_once_and_whole(&rig);
}

#[test]
fn an_upload_that_a_stranger_took_is_uploaded_again() {
    let rig = rig();
    rig.line().trick("PUT", "/blobs/plan-file", 1, Trick::Answer(page()));
    rig.line().trick("PUT", "/blobs/lock-file", 1, Trick::Answer(page()));
    rig.line().trick("POST", "/finish", 2, Trick::Answer(page()));
    rig.line().trick("POST", "/finish", 1, Trick::Instead(page()));
    runs_once_and_whole(&rig);
}

#[test]
fn a_finish_whose_answer_was_cut_is_said_again_and_recorded_once() {
    let rig = rig();
    // In its first line, in its head, in its body.
    for bytes in [10, 100, 170] {
        rig.line().trick("POST", "/finish", 1, Trick::Cut(bytes));
    }
    runs_once_and_whole(&rig);
    rig.await_job_end("plan");
    rig.await_job_end("apply");
    assert_eq!(rig.line().calls("POST", "/finish"), 5, "two stages, and three that were cut");
}

#[test]
fn a_log_that_goes_back_is_sent_again_from_there() {
    let rig = rig();
    let back = |status: &str, range: &str| Trick::Answer(answer(status, range, ""));
    rig.line().trick("PATCH", "/log", 1, back("416 Range Not Satisfiable", "range: bytes=0-9\r\n"));
    rig.line().trick("PATCH", "/log", 1, back("416 Range Not Satisfiable", ""));
    rig.line().trick("PATCH", "/log", 1, Trick::Instead(page()));
    rig.line().trick("PATCH", "/log", 1, Trick::Instead(answer("202 Accepted", "range: bytes=0-4\r\n", "")));
    rig.line().trick("PATCH", "/log", 1, Trick::Cut(10));
    runs_once_and_whole(&rig);
}

#[test]
fn an_action_of_a_later_version_is_said_to_be_unknown_and_nothing_is_run() {
    let rig = rig();
    rig.line().trick("POST", "/start", 1, Trick::Exchange("\"action\":\"plan\"", "\"action\":\"plot\""));
    let run = runs(&rig);
    rig.await_status(&run, "errored");
    assert_eq!(rig.error(&run), "the agent does not support the action unknown");
    assert!(rig.marks("plan").is_empty());
}

#[test]
fn a_signal_of_a_later_version_is_ignored() {
    let rig = rig();
    let signals = json!({"data": {"type": "agent-task-signals", "attributes":
        {"last": 1, "signals": ["dance"], "moon": "full"}}});
    rig.line().trick("GET", "/signals", 3, Trick::Answer(answer("200 OK", "", &signals.to_string())));
    runs_once_and_whole(&rig);
}

#[test]
fn answers_that_never_end_cost_a_worker_no_memory() {
    let rig = rig();
    rig.stand_in();
    rig.start_controller(&[]);
    let run = rig.submit(&rig.configuration("stood-in", "# nothing"), &["--auto-apply"]);
    rig.await_mark("began");
    let head = b"HTTP/1.1 200 OK\r\nagent-protocol: 0.1\r\nconnection: close\r\n\r\n".to_vec();
    let endless = Trick::Endless(head, vec![b' '; 64 * 1024]);
    for (method, path) in [("PUT", "/lease"), ("GET", "/signals"), ("PATCH", "/log")] {
        rig.line().trick(method, path, 3, endless.clone());
    }
    let before = rig.line().calls("PUT", "/lease");
    rig.until("it renews again", || rig.line().calls("PUT", "/lease") > before + 4);
    let worker = fs::read_to_string(rig.job("apply").join("worker.pid")).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", worker.trim())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib <= MEMORY_KIB_MAX, "{peak_kib} KiB");
    rig.mark("go");
    rig.await_status(&run, "applied");
    assert_eq!(rig.marks("signals"), Vec::<String>::new());
}

#[test]
fn a_plan_that_was_cut_on_its_way_is_fetched_again() {
    let rig = rig();
    rig.line().trick("GET", "/blobs/plan-file", 2, Trick::Cut(900));
    rig.line().trick("GET", "/blobs/configuration-version", 1, Trick::Cut(300));
    rig.line().trick("GET", "/blobs/lock-file", 1, Trick::Answer(page()));
    runs_once_and_whole(&rig);
}

#[test]
fn a_plan_that_is_not_the_one_that_was_made_is_never_applied() {
    let rig = rig();
    // Each file in a zip begins so; the length stays.
    rig.line().trick("GET", "/blobs/plan-file", 1, Trick::Exchange("PK\u{3}\u{4}", "PK\u{3}\u{5}"));
    let run = runs(&rig);
    rig.await_status(&run, "errored");
    assert_eq!(rig.error(&run), "the plan-file does not match its digest");
    assert!(rig.marks("apply").is_empty());
}

#[test]
fn a_configuration_that_never_ends_is_given_up() {
    let rig = rig();
    let head = b"HTTP/1.1 200 OK\r\nagent-protocol: 0.1\r\nconnection: close\r\n\r\n".to_vec();
    rig.line().trick("GET", "/blobs/configuration-version", 1, Trick::Endless(head, vec![b'x'; 64 * 1024]));
    let run = runs(&rig);
    rig.await_status(&run, "errored");
    let error = rig.error(&run);
    assert!(error.starts_with("the configuration-version has more than the "), "{error}");
    assert!(rig.marks("plan").is_empty());
}
