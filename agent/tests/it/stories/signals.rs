//! However many ask for a stop, and however often: a tool gets one interrupt, is waited for, and what it
//! started gets nothing; only what does not stop in time is killed.

use rustix::process::Signal;
use serde_json::json;

use crate::rig::{Rig, example, is_soak, last};

/// A run of the stand-in for the tool in mid-apply.
fn stood_in(args: &[&str], marks: &[&str]) -> (Rig, String) {
    let rig = Rig::serving(&[]);
    rig.stand_in();
    for name in marks {
        rig.mark(name);
    }
    rig.start_controller(args);
    let run = rig.submit(&rig.configuration("stood-in", "# nothing"), &["--auto-apply"]);
    rig.await_mark("began");
    (rig, run)
}

/// A grace of ten seconds, and a shorter one where time is short.
fn grace() -> [&'static str; 2] {
    ["--worker-grace", if is_soak() { "10s" } else { "4s" }]
}

#[test]
fn a_tool_that_needs_long_to_stop_is_waited_for_and_asked_once_by_all_together() {
    let (rig, run) = stood_in(&[], &[]);
    rig.does(&["cancel", &run]);
    rig.await_mark("signals");
    rig.signal_part("apply", "runner", Signal::TERM);
    rig.signal_part("apply", "worker", Signal::TERM);
    rig.signal_part("apply", "keeper", Signal::TERM);
    rig.does(&["cancel", &run]);
    last(40);
    assert!(rig.marks("ended").is_empty());
    rig.mark("go");
    rig.await_status(&run, "applied");
    assert_eq!(rig.marks("signals"), ["INT"]);
}

#[test]
fn the_real_tool_hears_of_a_stop_once_whoever_asks_while_it_saves_its_state() {
    let rig = Rig::new();
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    // It saves its state after an interrupt, and a second one would then end it at once.
    rig.fault(&json!({"route": "state-post", "kind": "latency", "times": null, "latency-ms": 1500}));
    rig.signal_part("apply", "worker", Signal::TERM);
    rig.until("it was interrupted", || rig.console(&run).contains("Interrupt received."));
    rig.signal_part("apply", "runner", Signal::TERM);
    rig.signal_part("apply", "keeper", Signal::TERM);
    rig.does(&["cancel", &run]);
    rig.await_status(&run, "errored");
    let console = rig.console(&run);
    assert_eq!(console.matches("Interrupt received.").count(), 1, "{console}");
    assert!(!console.contains("Two interrupts received"), "{console}");
    assert!(rig.resources("slow").contains(&"first".to_owned()), "{:?}", rig.state("slow"));
    assert!(rig.does(&["unlock", "slow"]).contains("not locked"), "{}", rig.does(&["unlock", "slow"]));
}

#[test]
fn a_plugin_that_any_signal_would_end_gets_none() {
    let (rig, run) = stood_in(&[], &["plugin"]);
    rig.does(&["cancel", &run]);
    rig.until("the stop has begun", || rig.console(&run).contains("Run canceled."));
    rig.signal_part("apply", "keeper", Signal::TERM);
    last(8);
    rig.mark("go");
    rig.await_status(&run, "applied");
    assert_eq!(rig.marks("plugin"), ["whole"]);
    assert_eq!(rig.marks("signals"), ["INT"]);
}

#[test]
fn a_hook_that_is_deaf_to_all_is_killed_within_the_grace_and_the_outcome_delivered() {
    let rig = Rig::serving(&[]);
    rig.start_controller(&grace());
    let hook = format!("pre-plan=trap '' INT TERM HUP; {}", rig.mark_and_wait("deaf"));
    let run = rig.submit(&example("hello"), &["--auto-apply", "--hook", &hook]);
    rig.await_mark("deaf");
    rig.signal_part("plan", "worker", Signal::TERM);
    rig.await_status(&run, "errored");
    assert_eq!(rig.error(&run), "The worker is being shut down");
    rig.await_job_end("plan");
}

#[test]
fn within_a_short_grace_the_real_tool_saves_its_state_and_unlocks() {
    let rig = Rig::serving(&[]);
    rig.start_controller(&["--worker-grace", "10s"]);
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    rig.signal_part("apply", "keeper", Signal::TERM);
    rig.await_status(&run, "errored");
    let console = rig.console(&run);
    assert_eq!(console.matches("Interrupt received.").count(), 1, "{console}");
    assert!(!console.contains("Two interrupts received"), "{console}");
    assert!(!console.contains("Killed."), "{console}");
    rig.mark("go");
    let next = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_status(&next, "applied");
}

#[test]
fn a_forced_cancel_within_a_grace_ends_the_wait() {
    let (rig, run) = stood_in(&[], &[]);
    rig.signal_part("apply", "worker", Signal::TERM);
    rig.await_mark("signals");
    rig.does(&["cancel", "--force", &run]);
    rig.await_status(&run, "canceled");
    assert_eq!(rig.marks("signals"), ["INT"]);
    assert!(rig.marks("ended").is_empty());
}
