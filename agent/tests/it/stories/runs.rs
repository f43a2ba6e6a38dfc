//! What a run goes through from plan to apply, and what it waits for.

use serde_json::json;

use crate::rig::{Rig, example};

#[test]
fn a_plan_waits_for_its_approval_and_is_applied_as_it_was_saved() {
    let rig = Rig::new();
    // The moment of the plan: another plan would have another.
    let folder = rig.configuration("moment", "output \"planned\" {\n value = plantimestamp()\n}\n");
    let run = rig.submit(&folder, &[]);
    rig.await_status(&run, "planned");
    assert_eq!(rig.waits(&run), "waits for somebody to approve or discard its plan");
    let plan = rig.console(&run);
    assert_eq!(rig.state("moment"), None, "nothing was applied yet");
    rig.await_job_end("plan");
    rig.does(&["approve", &run]);
    rig.await_status(&run, "applied");
    let state = rig.state("moment").unwrap();
    let planned = state["outputs"]["planned"]["value"].as_str().unwrap();
    assert!(plan.contains(planned), "{planned} is not of this plan:\n{plan}");
    let stages: Vec<_> = tasks(&rig, &run);
    assert_eq!(stages, ["apply", "plan"], "two tasks");
}

/// The actions of a run's tasks, sorted.
fn tasks(rig: &Rig, run: &str) -> Vec<String> {
    let all = rig.inspect();
    let of_run = |task: &&serde_json::Value| task["run"] == run;
    let tasks = all["tasks"].as_object().into_iter().flat_map(|tasks| tasks.values()).filter(of_run);
    let mut actions: Vec<_> = tasks.map(|task| task["action"].as_str().unwrap().to_owned()).collect();
    actions.sort();
    actions
}

#[test]
fn a_discarded_plan_is_never_applied() {
    let rig = Rig::new();
    let run = rig.submit(&example("hello"), &[]);
    rig.await_status(&run, "planned");
    rig.does(&["discard", &run]);
    rig.await_status(&run, "discarded");
    assert_eq!(tasks(&rig, &run), ["plan"]);
    assert_eq!(rig.state("hello"), None);
}

#[test]
fn the_state_is_kept_so_a_second_run_has_nothing_to_do() {
    let rig = Rig::new();
    let first = rig.submit(&example("hello"), &["--auto-apply"]);
    rig.await_status(&first, "applied");
    let second = rig.submit(&example("hello"), &["--auto-apply"]);
    rig.await_status(&second, "planned_and_finished");
    let console = rig.console(&second);
    assert!(console.contains("No changes. Your infrastructure matches the configuration."), "{console}");
}

#[test]
fn a_dry_run_ends_after_its_plan() {
    let rig = Rig::new();
    let run = rig.submit(&example("hello"), &["--dry", "--auto-apply"]);
    rig.await_status(&run, "planned_and_finished");
    assert!(rig.console(&run).contains("Plan: 2 to add, 0 to change, 0 to destroy."));
    assert_eq!(tasks(&rig, &run), ["plan"]);
    assert_eq!(rig.state("hello"), None);
}

#[test]
fn destroy_removes_what_the_state_holds() {
    let rig = Rig::new();
    let made = rig.submit(&example("hello"), &["--auto-apply"]);
    rig.await_status(&made, "applied");
    assert_eq!(rig.resources("hello").len(), 2);
    let destroyed = rig.submit(&example("hello"), &["--destroy", "--auto-apply"]);
    rig.await_status(&destroyed, "applied");
    let console = rig.console(&destroyed);
    assert!(console.contains("Resources: 0 added, 0 changed, 2 destroyed."), "{console}");
    assert_eq!(rig.resources("hello").len(), 0);
}

#[test]
fn a_second_run_waits_for_the_first_and_says_so() {
    let rig = Rig::new();
    let folder = rig.slow();
    let first = rig.submit(&folder, &["--auto-apply"]);
    rig.await_mark("began");
    let second = rig.submit(&folder, &["--auto-apply"]);
    assert_eq!(rig.status(&second), "pending");
    assert_eq!(rig.waits(&second), format!("waits for {first} (applying) of workspace slow"));
    rig.mark("go");
    rig.await_status(&first, "applied");
    rig.await_status(&second, "planned_and_finished");
    assert_eq!(rig.marks("began").len(), 1);
}

#[test]
fn runs_of_two_workspaces_do_not_wait_for_each_other() {
    let rig = Rig::new();
    let slow = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    let hello = rig.submit(&example("hello"), &["--auto-apply"]);
    rig.await_status(&hello, "applied");
    assert_eq!(rig.status(&slow), "applying");
    rig.mark("go");
    rig.await_status(&slow, "applied");
}

#[test]
fn with_no_capacity_left_a_run_waits_and_says_so() {
    let rig = Rig::serving(&["--heartbeat-every", "200ms"]);
    rig.start_controller(&["--concurrency", "1", "--name", "only"]);
    let slow = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    let hello = rig.submit(&example("hello"), &["--auto-apply"]);
    let mut reasons = Vec::new();
    rig.until("the run says that it waits for capacity", || {
        let reason = rig.waits(&hello);
        let is_so = reason.contains("at agent only:");
        reasons.push(reason);
        is_so
    });
    assert_eq!(rig.status(&hello), "plan_queued");
    rig.mark("go");
    rig.await_status(&slow, "applied");
    rig.await_status(&hello, "applied");
}

#[test]
fn a_locked_workspace_runs_nothing_and_says_who_locked_it() {
    let rig = Rig::new();
    let first = rig.submit(&example("hello"), &["--auto-apply"]);
    rig.await_status(&first, "applied");
    rig.does(&["lock", "hello", "--reason", "the books are closed"]);
    let second = rig.submit(&example("hello"), &["--auto-apply"]);
    let waits = rig.waits(&second);
    assert!(waits.starts_with("waits until workspace hello is unlocked; "), "{waits}");
    assert!(waits.ends_with(": the books are closed"), "{waits}");
    assert_eq!(tasks(&rig, &second), Vec::<String>::new());
    let unlocked = rig.does(&["unlock", "hello"]);
    assert!(unlocked.contains("because: the books are closed"), "{unlocked}");
    rig.await_status(&second, "planned_and_finished");
}

#[test]
fn a_state_that_another_holds_names_its_holder() {
    let rig = Rig::new();
    let first = rig.submit(&example("hello"), &["--auto-apply"]);
    rig.await_status(&first, "applied");
    rig.lock_state("hello", &lock_of_anna());
    let second = rig.submit(&example("hello"), &["--auto-apply"]);
    rig.await_status(&second, "errored");
    let console = rig.console(&second);
    assert!(console.contains("Error: Error acquiring the state lock"), "{console}");
    assert!(console.contains("anna@laptop"), "{console}");
    let unlocked = rig.does(&["unlock", "hello"]);
    assert!(unlocked.contains("anna@laptop held it"), "{unlocked}");
    let third = rig.submit(&example("hello"), &["--auto-apply"]);
    rig.await_status(&third, "planned_and_finished");
}

/// What a tool on a laptop says when it locks.
pub(super) fn lock_of_anna() -> serde_json::Value {
    json!({
        "ID": "6d2ba9c0-0b3c-4a43-9c2c-5f0f6a3d7f10",
        "Operation": "OperationTypeApply",
        "Info": "",
        "Who": "anna@laptop",
        "Version": "1.15.5",
        "Created": "2026-01-02T03:04:05.678Z",
        "Path": ""
    })
}
