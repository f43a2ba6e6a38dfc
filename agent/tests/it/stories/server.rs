//! The server goes away in the middle of an apply, and comes back at the same place with its data.

use rustix::process::Signal;
use serde_json::json;

use crate::rig::Rig;

fn server_comes_back(signal: Signal, code: Option<i32>) {
    let rig = Rig::serving(&["--heartbeat-every", "300ms", "--renew-every", "300ms"]);
    rig.stand_in();
    rig.start_controller(&[]);
    let run = rig.submit(&rig.configuration("stood-in", "# nothing"), &["--auto-apply"]);
    rig.await_mark("began");
    rig.until("the console came so far", || rig.console(&run).contains("Applying."));
    assert_eq!(rig.end_server(signal), code);
    rig.mark("go");
    rig.await_mark("ended");
    rig.start_server();
    rig.await_status(&run, "applied");
    let console = rig.console(&run);
    let apply = &console[console.find("Applying.").expect("its begin")..];
    assert_eq!(apply, "Applying.\nApplied.\n", "the log is whole");
    assert_eq!(rig.marks("began").len(), 1);
}

#[test]
fn a_server_that_is_killed_in_mid_apply_loses_nothing() {
    server_comes_back(Signal::KILL, None);
}

#[test]
fn a_server_that_is_stopped_in_mid_apply_loses_nothing() {
    server_comes_back(Signal::TERM, Some(0));
}

#[test]
fn an_apply_with_the_real_tool_outlives_a_killed_server() {
    let rig = Rig::serving(&["--heartbeat-every", "300ms", "--renew-every", "300ms"]);
    rig.start_controller(&[]);
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    assert_eq!(rig.end_server(Signal::KILL), None);
    rig.start_server();
    rig.mark("go");
    rig.await_status(&run, "applied");
    let console = rig.console(&run);
    assert!(console.contains("Apply complete! Resources: 2 added, 0 changed, 0 destroyed."), "{console}");
    assert_eq!(rig.resources("slow"), ["first", "second"]);
}

#[test]
fn a_waiting_plan_outlives_a_killed_server() {
    let rig = Rig::new();
    let run = rig.submit(&crate::rig::example("hello"), &[]);
    rig.await_status(&run, "planned");
    let before = rig.console(&run);
    rig.await_job_end("plan");
    assert_eq!(rig.end_server(Signal::KILL), None);
    rig.start_server();
    assert_eq!(rig.console(&run), before);
    rig.does(&["approve", &run]);
    rig.await_status(&run, "applied");
}

#[test]
fn a_state_that_the_server_did_not_take_is_pushed_again_by_the_worker() {
    let rig = Rig::new();
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    rig.fault(&json!({"route": "state-post", "kind": "refuse", "times": 1, "code": "too-large"}));
    rig.mark("go");
    rig.await_status(&run, "errored");
    let console = rig.console(&run);
    assert!(console.contains("Failed to save state"), "{console}");
    assert_eq!(rig.resources("slow"), ["first", "second"]);
    let next = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_status(&next, "planned_and_finished");
}

#[test]
fn a_network_that_loses_calls_and_answers_changes_nothing() {
    let rig = Rig::serving(&["--heartbeat-every", "300ms", "--renew-every", "300ms"]);
    let fault = |kind: &str| json!({"route": "*", "kind": kind, "times": null, "permille": 50});
    rig.fault(&json!({"seed": 7, "faults": [fault("lost-before"), fault("lost-after"), fault("refuse")]}));
    rig.start_controller(&[]);
    let hook = format!("pre-apply=echo ran >> {}", rig.mark_path("ran").display());
    let run = rig.submit(&crate::rig::example("hello"), &["--auto-apply", "--hook", &hook]);
    rig.await_status(&run, "applied");
    assert_eq!(rig.marks("ran").len(), 1);
    let console = rig.console(&run);
    assert_eq!(console.matches("Apply complete! Resources: 2 added").count(), 1, "{console}");
    rig.clear_faults();
}
