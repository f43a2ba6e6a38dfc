//! SIGTERM to each process, at rest and in the middle of an apply.

use rustix::process::Signal;

use super::full;
use crate::rig::{Rig, example};

#[test]
fn an_idle_controller_stops_at_once_and_says_goodbye() {
    let rig = Rig::serving(&["--heartbeat-every", "300ms"]);
    rig.start_controller(&["--name", "leaves"]);
    rig.until("it is registered", || rig.does(&["agents"]).contains("leaves"));
    assert_eq!(rig.end_controller(Signal::TERM), Some(0));
    assert!(!rig.does(&["agents"]).contains("idle"), "{}", rig.does(&["agents"]));
}

#[test]
fn a_log_that_cannot_be_written_ends_nobody() {
    let rig = Rig::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut controller = rig.agent("controller");
    let ended = controller.args(["--token", "wrong"]).stderr(full).status().unwrap();
    // Its own end, after several lines that found no place; a panic would be 101.
    assert_eq!(ended.code(), Some(1));
}

#[test]
fn a_controller_that_stops_gives_back_what_it_has_not_launched() {
    let rig = Rig::serving(&["--heartbeat-every", "300ms"]);
    let [applied, held] = full(&rig);
    assert_eq!(rig.end_controller(Signal::TERM), Some(0));
    assert_eq!(rig.waits(&held), "queued: no agent of the pool is online");
    rig.start_controller(&["--name", "two"]);
    rig.await_status(&held, "applied");
    assert_eq!(rig.marks("ran").len(), 1);
    rig.mark("go");
    rig.await_status(&applied, "applied");
}

#[test]
fn a_paused_controller_launches_nothing_and_says_why() {
    let rig = Rig::serving(&["--heartbeat-every", "300ms"]);
    rig.start_controller(&["--paused"]);
    let run = rig.submit(&example("hello"), &["--auto-apply"]);
    rig.until("it says that it is paused", || rig.waits(&run).contains("dispatch is paused by an operator"));
    assert_eq!(rig.end_controller(Signal::TERM), Some(0));
    rig.start_controller(&[]);
    rig.await_status(&run, "applied");
}

#[test]
fn a_controller_stops_without_its_runs_and_the_next_one_takes_over() {
    let rig = Rig::serving(&["--heartbeat-every", "300ms"]);
    rig.start_controller(&["--name", "one"]);
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    assert_eq!(rig.end_controller(Signal::TERM), Some(0));
    assert_eq!(rig.status(&run), "applying");
    rig.start_controller(&["--name", "one"]);
    rig.mark("go");
    rig.await_status(&run, "applied");
    assert_eq!(rig.marks("began").len(), 1);
    let next = rig.submit(&example("hello"), &["--dry"]);
    rig.await_status(&next, "planned_and_finished");
}

/// Stops a process of the apply's Job while the tool is at work. The tool gets one interrupt, is waited for,
/// its state is kept, and the run ends errored with the reason.
fn stop_in_mid_apply(part: &str) {
    let rig = Rig::new();
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    rig.signal_part("apply", part, Signal::TERM);
    rig.await_status(&run, "errored");
    assert_eq!(rig.error(&run), "The worker is being shut down");
    let console = rig.console(&run);
    assert!(console.contains("The worker is being shut down. Stopping gracefully..."), "{console}");
    assert_eq!(console.matches("Interrupt received.").count(), 1, "{console}");
    assert!(!console.contains("Two interrupts received"), "{console}");
    rig.await_job_end("apply");
    assert!(rig.resources("slow").contains(&"first".to_owned()), "{:?}", rig.state("slow"));
    assert_eq!(rig.marks("began").len(), 1, "nothing started it again");
}

#[test]
fn a_worker_that_is_stopped_in_mid_apply_saves_the_state_and_delivers_its_outcome() {
    stop_in_mid_apply("worker");
}

#[test]
fn a_runner_that_is_stopped_in_mid_apply_tells_its_worker() {
    stop_in_mid_apply("runner");
}

#[test]
fn a_keeper_that_is_stopped_in_mid_apply_stops_both_and_waits() {
    stop_in_mid_apply("keeper");
}

#[test]
fn a_tool_that_succeeds_within_the_grace_has_succeeded() {
    let rig = Rig::serving(&[]);
    rig.stand_in();
    rig.start_controller(&[]);
    let run = rig.submit(&rig.configuration("stood-in", "# nothing"), &["--auto-apply"]);
    rig.await_mark("began");
    rig.signal_part("apply", "worker", Signal::TERM);
    rig.await_mark("signals");
    rig.mark("go");
    rig.await_status(&run, "applied");
    assert_eq!(rig.marks("signals"), ["INT"]);
}

#[test]
fn a_tool_that_outlives_the_grace_is_killed_and_the_outcome_delivered() {
    let rig = Rig::serving(&[]);
    rig.stand_in();
    rig.start_controller(&["--worker-grace", "4s"]);
    let run = rig.submit(&rig.configuration("stood-in", "# nothing"), &["--auto-apply"]);
    rig.await_mark("began");
    rig.signal_part("apply", "worker", Signal::TERM);
    rig.await_status(&run, "errored");
    assert_eq!(rig.marks("signals"), ["INT"]);
    assert!(rig.marks("ended").is_empty());
    let console = rig.console(&run);
    assert!(console.contains("It did not stop in time. Killed."), "{console}");
}
