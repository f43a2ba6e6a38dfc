//! A cancel at every phase.

use std::fs;

use super::full;
use crate::rig::{Rig, example};

/// The names of the Jobs that were made.
fn jobs(rig: &Rig) -> Vec<String> {
    let listed = fs::read_dir(rig.data().join("jobs")).into_iter().flatten().flatten();
    let names = listed.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.starts_with('.')).collect()
}

#[test]
fn a_pending_run_is_canceled_at_once() {
    let rig = Rig::new();
    let first = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    let second = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.does(&["cancel", &second]);
    assert_eq!(rig.status(&second), "canceled");
    rig.mark("go");
    rig.await_status(&first, "applied");
    assert_eq!(rig.console(&second), "");
}

#[test]
fn a_queued_run_is_canceled_at_once_and_never_launched() {
    let rig = Rig::serving(&[]);
    let canceled = rig.submit(&example("hello"), &["--auto-apply"]);
    assert_eq!(rig.waits(&canceled), "queued: no agent of the pool is online");
    rig.does(&["cancel", &canceled]);
    assert_eq!(rig.status(&canceled), "canceled");
    rig.start_controller(&[]);
    let next = rig.submit(&example("hello"), &["--dry"]);
    rig.await_status(&next, "planned_and_finished");
    assert_eq!(jobs(&rig).len(), 1, "only the next run has a Job");
}

#[test]
fn a_leased_run_is_canceled_at_once_and_runs_nothing() {
    let rig = Rig::serving(&["--heartbeat-every", "300ms"]);
    let [applied, held] = full(&rig);
    rig.does(&["cancel", &held]);
    assert_eq!(rig.status(&held), "canceled");
    rig.mark("go");
    rig.await_status(&applied, "applied");
    // There is room now, and what comes next gets it.
    let next = rig.submit(&rig.slow(), &["--dry"]);
    rig.await_status(&next, "planned_and_finished");
    assert_eq!(rig.status(&held), "canceled");
    assert_eq!(rig.console(&held), "");
    assert!(rig.marks("ran").is_empty());
}

#[test]
fn a_plan_is_canceled_by_one_interrupt() {
    let rig = Rig::new();
    let first = rig.submit(&example("hello"), &["--auto-apply"]);
    rig.await_status(&first, "applied");
    // The tool waits for the lock of the state as long as we like.
    rig.lock_state("hello", &super::runs::lock_of_anna());
    let run = rig.submit(&example("hello"), &["--auto-apply"]);
    rig.until("it waits for the lock", || rig.console(&run).contains("Acquiring state lock"));
    rig.does(&["cancel", &run]);
    rig.await_status(&run, "canceled");
    let console = rig.console(&run);
    assert!(console.contains("Run canceled. Stopping gracefully..."), "{console}");
    assert_eq!(console.matches("Interrupt received.").count(), 1, "{console}");
    assert_eq!(rig.run(&run).related("apply"), None);
}

#[test]
fn an_apply_is_canceled_by_one_interrupt_and_its_state_is_saved() {
    let rig = Rig::new();
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    rig.does(&["cancel", &run]);
    rig.await_status(&run, "canceled");
    let console = rig.console(&run);
    assert!(console.contains("Run canceled. Stopping gracefully..."), "{console}");
    assert_eq!(console.matches("Interrupt received.").count(), 1, "{console}");
    assert!(!console.contains("Two interrupts received"), "{console}");
    assert!(rig.resources("slow").contains(&"first".to_owned()), "{:?}", rig.state("slow"));
    rig.mark("go");
    let next = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_status(&next, "applied");
}

#[test]
fn a_canceled_tool_is_waited_for() {
    let rig = Rig::serving(&[]);
    rig.stand_in();
    rig.start_controller(&[]);
    let run = rig.submit(&rig.configuration("stood-in", "# nothing"), &["--auto-apply"]);
    rig.await_mark("began");
    rig.does(&["cancel", &run]);
    rig.await_mark("signals");
    rig.does(&["cancel", &run]);
    assert_eq!(rig.status(&run), "applying");
    fs::write(rig.mark_path("exit"), "1").unwrap();
    rig.mark("go");
    rig.await_status(&run, "canceled");
    assert_eq!(rig.marks("signals"), ["INT"], "a second cancel is no second interrupt");
    let console = rig.console(&run);
    assert!(console.contains("Interrupted.\nApplied."), "all that it said is there: {console}");
}

#[test]
fn a_forced_cancel_kills_the_tool_and_all_that_it_started() {
    let rig = Rig::new();
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    rig.does(&["cancel", "--force", &run]);
    rig.await_status(&run, "canceled");
    let console = rig.console(&run);
    assert!(console.contains("Run force-canceled."), "{console}");
    assert!(!console.contains("Interrupt received."), "{console}");
    // The killed tool could not unlock.
    let unlocked = rig.does(&["unlock", "slow"]);
    assert!(unlocked.contains(&format!("for run {run}")), "{unlocked}");
}

#[test]
fn a_forced_cancel_after_a_cancel_ends_the_wait() {
    let rig = Rig::serving(&[]);
    rig.stand_in();
    rig.start_controller(&[]);
    let run = rig.submit(&rig.configuration("stood-in", "# nothing"), &["--auto-apply"]);
    rig.await_mark("began");
    rig.does(&["cancel", &run]);
    rig.await_mark("signals");
    rig.does(&["cancel", "--force", &run]);
    rig.await_status(&run, "canceled");
    assert_eq!(rig.marks("signals"), ["INT"]);
    assert!(rig.marks("ended").is_empty());
}
