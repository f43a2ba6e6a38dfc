//! A server that is away, in trouble, or can't be reached: the work goes on, and nothing of it is lost.
//!
//! Timers are shortened, so that an outage of two seconds misses several of everything. A soak lets them last
//! as long as outages do.

use std::{fs, path::PathBuf};

use rustix::process::Signal;
use serde_json::json;

use crate::rig::{Passes, Rig, Trick, last};

/// Timings under which two seconds are several leases and many renewals.
const QUICK: [&str; 6] = ["--heartbeat-every", "300ms", "--renew-every", "300ms", "--lease-ttl", "1s"];

/// A run in mid-apply that says a line twenty times a second, on a line of our own.
fn chatty() -> (Rig, String) {
    let rig = Rig::serving(&QUICK);
    rig.lay_line();
    rig.stand_in();
    rig.mark("chatty");
    rig.start_controller(&[]);
    let run = rig.submit(&rig.configuration("stood-in", "# nothing"), &["--auto-apply"]);
    rig.await_mark("began");
    rig.until("the console came so far", || rig.console(&run).contains("line 1\n"));
    (rig, run)
}

/// Lets the apply end, and checks that the console has every line once, and that nobody was disturbed.
#[track_caller]
fn ends_well(rig: &Rig, run: &str) {
    rig.mark("go");
    rig.await_status(run, "applied");
    let console = rig.console(run);
    let apply = &console[console.find("Applying.").expect("its begin")..];
    let lines = fs::read_to_string(rig.mark_path("lines")).unwrap();
    assert_eq!(apply, format!("Applying.\n{lines}Applied.\n"));
    assert_eq!(rig.marks("began").len(), 1);
    assert!(rig.marks("signals").is_empty(), "nobody was interrupted");
}

fn server_is_away(soak_s: u64) {
    let (rig, run) = chatty();
    assert_eq!(rig.end_server(Signal::KILL), None);
    last(soak_s);
    rig.start_server();
    ends_well(&rig, &run);
}

#[test]
fn a_server_that_is_killed_and_away_for_a_while_loses_and_doubles_no_byte() {
    server_is_away(20);
}

#[test]
fn a_server_that_is_killed_and_away_for_minutes_loses_and_doubles_no_byte() {
    server_is_away(300);
}

#[test]
fn a_run_that_ends_while_the_server_is_away_is_applied_when_it_is_back() {
    let (rig, run) = chatty();
    assert_eq!(rig.end_server(Signal::KILL), None);
    rig.mark("go");
    rig.await_mark("ended");
    last(20);
    rig.start_server();
    ends_well(&rig, &run);
}

#[test]
fn a_server_that_is_killed_again_and_again_loses_and_doubles_no_byte() {
    let (rig, run) = chatty();
    for _ in 0..4 {
        assert_eq!(rig.end_server(Signal::KILL), None);
        rig.start_server();
        let came = rig.console(&run).len();
        rig.until("more of the console came", || rig.console(&run).len() > came);
    }
    ends_well(&rig, &run);
}

#[test]
fn a_server_that_answers_500_for_a_minute_disturbs_nobody() {
    let (rig, run) = chatty();
    rig.fault(&json!({"route": "*", "kind": "refuse", "times": null, "code": "internal"}));
    last(60);
    rig.clear_faults();
    ends_well(&rig, &run);
}

#[test]
fn a_server_that_asks_to_come_back_later_disturbs_nobody() {
    let (rig, run) = chatty();
    let later = json!({"route": "*", "kind": "refuse", "times": null, "code": "rate-limited",
                       "retry-after-s": 1});
    rig.fault(&later);
    last(60);
    rig.clear_faults();
    ends_well(&rig, &run);
}

fn line_is(passes: Passes) {
    let (rig, run) = chatty();
    rig.line().passes(passes);
    last(60);
    rig.line().passes(Passes::Both);
    ends_well(&rig, &run);
}

#[test]
fn a_line_that_is_cut_loses_and_doubles_no_byte() {
    line_is(Passes::Nothing);
}

#[test]
fn calls_that_arrive_late_lose_and_double_no_byte() {
    line_is(Passes::NoCalls);
}

#[test]
fn answers_that_arrive_late_lose_and_double_no_byte() {
    line_is(Passes::NoAnswers);
}

/// Every `errored.tfstate` in the folders of runs.
fn errored_states(rig: &Rig) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![rig.data().join("runs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else if entry.file_name() == "errored.tfstate" {
                found.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn what_a_run_out_of_reach_for_too_long_has_done_is_delivered_late() {
    let rig = Rig::serving(&[&QUICK[..], &["--lost-after", "8s"]].concat());
    rig.lay_line();
    rig.start_controller(&[]);
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    rig.line().passes(Passes::Nothing);
    // The worker stops the tool while the task is still its own, and the tool leaves what it could not push.
    rig.until("the tool has saved its state", || !errored_states(&rig).is_empty());
    rig.await_status(&run, "errored");
    let error = rig.error(&run);
    assert!(error.starts_with("the apply was lost: worker "), "{error}");
    assert!(!error.contains("said later"), "{error}");
    rig.line().passes(Passes::Both);
    rig.until("the outcome came late", || rig.error(&run).contains("; its worker said later: errored"));
    rig.await_job_end("apply");
    let console = rig.console(&run);
    assert!(
        console.contains("Contact with Scalr was lost for too long. Stopping gracefully..."),
        "{console}"
    );
    assert_eq!(console.matches("Interrupt received.").count(), 1, "{console}");
    assert!(!console.contains("the console ends here"), "{console}");
    assert!(rig.resources("slow").contains(&"first".to_owned()), "{:?}", rig.state("slow"));
    assert_eq!(rig.marks("began").len(), 1, "nothing started it again");
    // What pushed the state has taken the lock over and given it back, so the next run finds its way.
    rig.mark("go");
    let next = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_status(&next, "applied");
}

/// What the runner of an apply has said.
fn runner_log(rig: &Rig) -> String {
    fs::read_to_string(rig.job("apply").join("runner.log")).unwrap_or_default()
}

/// Waits until a call for the state has been made in vain again and again.
fn await_held(rig: &Rig) {
    rig.until("the relay holds a call", || runner_log(rig).contains("failures=3"));
}

/// A run whose tool is in mid-apply.
fn in_mid_apply(args: &[&str]) -> (Rig, String) {
    let rig = Rig::serving(&[&QUICK[..], args].concat());
    rig.start_controller(&[]);
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    (rig, run)
}

/// Checks that a run that was stopped has left no state behind, and nothing that hinders the next one.
#[track_caller]
fn lost_no_state(rig: &Rig) {
    assert!(rig.resources("slow").contains(&"first".to_owned()), "{:?}", rig.state("slow"));
    assert_eq!(rig.marks("began").len(), 1, "nothing started it again");
    rig.mark("go");
    let next = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_status(&next, "applied");
}

#[test]
fn an_apply_that_saves_its_state_into_an_outage_ends_applied() {
    let (rig, run) = in_mid_apply(&[]);
    assert_eq!(rig.end_server(Signal::KILL), None);
    rig.mark("go");
    await_held(&rig);
    last(400);
    rig.start_server();
    rig.await_status(&run, "applied");
    let console = rig.console(&run);
    for line in ["Scalr does not answer (Connection refused (os error 111)): ", "Scalr answers again: "] {
        assert_eq!(console.matches(line).count(), 1, "{console}");
    }
    assert_eq!(rig.resources("slow"), ["first", "second"]);
    assert!(rig.does(&["unlock", "slow"]).contains("not locked"));
}

#[test]
fn two_applies_that_save_their_states_into_one_outage_both_end_applied() {
    let rig = Rig::serving(&QUICK);
    rig.start_controller(&[]);
    let configuration = |name: &str| {
        let wait = rig.mark_and_wait("began");
        let main = format!(
            "resource \"terraform_data\" \"{name}\" {{\n  provisioner \"local-exec\" {{\n    command = \"{wait}\"\n  }}\n}}\n"
        );
        rig.configuration(name, &main)
    };
    let runs = ["one", "two"].map(|name| rig.submit(&configuration(name), &["--auto-apply"]));
    rig.until("both are at it", || rig.marks("began").len() == 2);
    assert_eq!(rig.end_server(Signal::KILL), None);
    rig.mark("go");
    last(60);
    rig.start_server();
    for (run, name) in runs.iter().zip(["one", "two"]) {
        rig.await_status(run, "applied");
        assert_eq!(rig.resources(name), [name]);
    }
}

#[test]
fn a_plan_waits_for_its_state_while_the_server_is_in_trouble() {
    let rig = Rig::serving(&QUICK);
    for route in ["state-get", "state-lock", "state-post", "state-unlock"] {
        rig.fault(&json!({"route": route, "kind": "refuse", "times": 2, "code": "internal"}));
    }
    rig.start_controller(&[]);
    let run = rig.submit(&crate::rig::example("hello"), &["--auto-apply"]);
    rig.await_status(&run, "applied");
    let console = rig.console(&run);
    for purpose in ["reading", "locking", "saving", "unlocking"] {
        assert!(console.contains(&format!("Scalr answers again: {purpose} the state goes on.")), "{console}");
    }
}

#[test]
fn the_404_of_an_ingress_is_no_empty_state() {
    let rig = Rig::serving(&QUICK);
    rig.lay_line();
    rig.start_controller(&[]);
    let first = rig.submit(&crate::rig::example("hello"), &["--auto-apply"]);
    rig.await_status(&first, "applied");
    let no_backend = b"HTTP/1.1 404 Not Found\r\ncontent-length: 21\r\n\r\ndefault backend - 404";
    rig.line().trick("GET", "/state", 3, Trick::Answer(no_backend.to_vec()));
    let next = rig.submit(&crate::rig::example("hello"), &["--auto-apply"]);
    rig.await_status(&next, "planned_and_finished");
    assert!(rig.console(&next).contains("404 Not Found, and not from Scalr"), "{}", rig.console(&next));
}

#[test]
fn a_run_that_is_canceled_while_its_state_cannot_be_saved_loses_none() {
    let (rig, run) = in_mid_apply(&[]);
    for route in ["state-get", "state-lock", "state-post", "state-unlock"] {
        rig.fault(&json!({"route": route, "kind": "refuse", "times": null, "code": "unavailable"}));
    }
    rig.does(&["cancel", &run]);
    rig.until("the tool has saved its state", || !errored_states(&rig).is_empty());
    last(60);
    rig.clear_faults();
    rig.until("the run is over", || rig.is_over(&run));
    let console = rig.console(&run);
    assert_eq!(console.matches("the state is given up.").count(), 1, "{console}");
    assert_eq!(console.matches("Interrupt received.").count(), 1, "{console}");
    lost_no_state(&rig);
}

#[test]
fn a_plan_that_was_made_over_a_relay_is_applied_without_one() {
    let rig = Rig::new();
    let says = "pre-plan=echo The state is at $TF_HTTP_ADDRESS.";
    let run = rig.submit(&crate::rig::example("hello"), &["--hook", says]);
    rig.until("the plan is made", || rig.status(&run) == "planned");
    let console = rig.console(&run);
    let (_, address) = console.split_once("The state is at http://").expect("its address");
    let (address, _) = address.split_once('/').expect("its path");
    let _taken = std::net::TcpListener::bind(address).expect("nobody listens there any more");
    rig.does(&["approve", &run]);
    rig.await_status(&run, "applied");
    let console = rig.console(&run);
    let said = format!("There is no relay for the state ({address} can't be listened on: ");
    assert!(console.contains(&said), "{console}");
}

/// Stops a part of the Job with SIGTERM while the server is away, with all retries as they are by default.
fn stopped_in_an_outage(part: &str) {
    let (rig, run) = in_mid_apply(&[]);
    assert_eq!(rig.end_server(Signal::KILL), None);
    rig.signal_part("apply", part, Signal::TERM);
    rig.until("the tool has saved its state", || !errored_states(&rig).is_empty());
    last(60);
    rig.start_server();
    rig.await_status(&run, "errored");
    assert_eq!(rig.error(&run), "The worker is being shut down");
    lost_no_state(&rig);
}

#[test]
fn a_worker_that_is_stopped_while_the_server_is_away_loses_no_state() {
    stopped_in_an_outage("worker");
}

#[test]
fn a_job_that_is_stopped_while_the_server_is_away_loses_no_state() {
    stopped_in_an_outage("keeper");
}

#[test]
fn a_stop_in_the_middle_of_a_wait_for_the_server_ends_the_wait() {
    let (rig, run) = in_mid_apply(&[]);
    assert_eq!(rig.end_server(Signal::KILL), None);
    rig.mark("go");
    await_held(&rig);
    rig.signal_part("apply", "runner", Signal::TERM);
    rig.until("the tool has saved its state", || !errored_states(&rig).is_empty());
    rig.start_server();
    rig.await_status(&run, "errored");
    assert_eq!(rig.resources("slow"), ["first", "second"]);
    let next = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_status(&next, "planned_and_finished");
}

#[test]
fn the_state_of_a_run_whose_worker_dies_in_an_outage_is_saved_without_it() {
    let (rig, run) = in_mid_apply(&["--lost-after", "3s"]);
    assert_eq!(rig.end_server(Signal::KILL), None);
    rig.signal_part("apply", "worker", Signal::KILL);
    await_held(&rig);
    // Less than half of what the tool may take to stop.
    last(20);
    assert_eq!(errored_states(&rig), [] as [PathBuf; 0], "nobody would fetch it");
    rig.start_server();
    rig.await_status(&run, "errored");
    rig.await_job_end("apply");
    lost_no_state(&rig);
}

#[test]
fn calls_for_the_state_whose_answers_were_lost_are_made_once() {
    let rig = Rig::new();
    let lose = |route: &str| rig.fault(&json!({"route": route, "kind": "lost-after", "times": 1}));
    lose("state-lock");
    lose("state-post");
    let run = rig.submit(&crate::rig::example("hello"), &["--auto-apply"]);
    rig.await_status(&run, "applied");
    lose("state-unlock");
    let next = rig.submit(&crate::rig::example("hello"), &["--auto-apply"]);
    rig.await_status(&next, "planned_and_finished");
    let again = rig.submit(&crate::rig::example("hello"), &["--auto-apply"]);
    rig.await_status(&again, "planned_and_finished");
}

#[test]
fn with_its_pool_token_revoked_a_run_ends_applied_and_no_new_one_is_taken() {
    let rig = Rig::serving(&QUICK);
    rig.start_controller(&[]);
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    rig.revoke_pool_tokens();
    let next = rig.submit(&crate::rig::example("hello"), &["--auto-apply"]);
    rig.mark("go");
    rig.await_status(&run, "applied");
    assert_ne!(rig.await_controller_end(), Some(0));
    assert_eq!(rig.waits(&next), "queued: no agent of the pool is online");
    assert_eq!(rig.marks("began").len(), 1);
}
