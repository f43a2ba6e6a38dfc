//! A task's user code starts at most once, and every task has exactly one outcome, whoever is killed.

use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use super::full;
use crate::rig::{AGENT, Daemon, Rig};

/// Timings under which a worker that is gone is soon lost.
const SOON_LOST: [&str; 8] =
    ["--heartbeat-every", "300ms", "--renew-every", "300ms", "--lease-ttl", "1s", "--lost-after", "4s"];

/// A second worker of the first stage, with a runner of its own, as if the Job had two pods.
fn second_pod(rig: &Rig, stage: &str) -> [Daemon; 2] {
    let (job, own) = (rig.job(stage), rig.path().join("second"));
    std::fs::create_dir_all(&own).unwrap();
    let socket = own.join("runner.sock");
    let mut runner: Command = rig.command(AGENT);
    runner.arg("runner").arg("--socket").arg(&socket);
    let runner = Daemon::start("second-runner", &mut runner, rig.path());
    let mut worker = rig.agent("worker");
    worker.arg("--podinfo").arg(job.join("podinfo")).arg("--socket").arg(&socket);
    worker.arg("--run-dir").arg(own.join("run")).arg("--data-dir").arg(own.join("data"));
    worker.args(["--name", "second-pod"]);
    [runner, Daemon::start("second-worker", &mut worker, rig.path())]
}

#[test]
fn of_two_workers_that_race_one_runs_the_task_and_the_other_nothing() {
    let rig = Rig::new();
    // Both ask before either is answered.
    rig.fault(&json!({"route": "start", "kind": "latency", "times": 2, "latency-ms": 1500}));
    let hook = format!("pre-plan=echo ran >> {}", rig.mark_path("ran").display());
    let run = rig.submit(&crate::rig::example("hello"), &["--dry", "--hook", &hook]);
    let [runner, worker] = second_pod(&rig, "plan");
    rig.await_status(&run, "planned_and_finished");
    assert_eq!(worker.ended(), Some(0), "{}", worker.log());
    assert_eq!(runner.ended(), Some(0), "{}", runner.log());
    assert_eq!(rig.marks("ran").len(), 1, "the hook ran once");
}

#[test]
fn a_worker_that_comes_too_late_exits_having_run_nothing() {
    let rig = Rig::new();
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    let [runner, worker] = second_pod(&rig, "apply");
    assert_eq!(worker.ended(), Some(0), "{}", worker.log());
    assert_eq!(runner.ended(), Some(0), "{}", runner.log());
    rig.mark("go");
    rig.await_status(&run, "applied");
    assert_eq!(rig.marks("began").len(), 1);
}

#[test]
fn a_controller_that_is_killed_before_the_launch_leaves_the_task_to_the_next() {
    // The task is free again when the lease of the killed one has run out.
    let rig = Rig::serving(&["--heartbeat-every", "300ms", "--launch-lease", "2s"]);
    let [applied, held] = full(&rig);
    assert_eq!(rig.end_controller(Signal::KILL), None);
    rig.start_controller(&["--name", "one"]);
    rig.await_status(&held, "applied");
    assert_eq!(rig.marks("ran").len(), 1);
    rig.mark("go");
    rig.await_status(&applied, "applied");
    assert_eq!(rig.marks("began").len(), 1);
}

#[test]
fn a_controller_that_is_killed_before_its_worker_started_is_missed_by_nobody() {
    let rig = Rig::serving(&["--heartbeat-every", "300ms"]);
    rig.start_controller(&[]);
    rig.fault(&json!({"route": "start", "kind": "latency", "times": 1, "latency-ms": 2000}));
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.job("plan");
    assert_eq!(rig.end_controller(Signal::KILL), None);
    rig.start_controller(&[]);
    rig.mark("go");
    rig.await_status(&run, "applied");
    assert_eq!(rig.marks("began").len(), 1);
}

#[test]
fn a_controller_that_is_killed_in_mid_apply_changes_nothing() {
    let rig = Rig::serving(&["--heartbeat-every", "300ms"]);
    rig.start_controller(&[]);
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    assert_eq!(rig.end_controller(Signal::KILL), None);
    rig.start_controller(&[]);
    let controllers = || rig.does(&["agents"]).lines().count() - 1;
    rig.until("the next controller has taken over", || controllers() == 1);
    assert_eq!(rig.status(&run), "applying");
    rig.mark("go");
    rig.await_status(&run, "applied");
    assert_eq!(rig.marks("began").len(), 1);
}

#[test]
fn a_worker_goes_on_to_its_end_without_a_controller() {
    let rig = Rig::new();
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    assert_eq!(rig.end_controller(Signal::KILL), None);
    rig.mark("go");
    rig.await_status(&run, "applied");
    rig.await_job_end("apply");
    assert_eq!(rig.marks("began").len(), 1);
}

#[test]
fn a_worker_that_is_killed_in_mid_apply_is_lost_and_its_tool_interrupted_once_and_waited_for() {
    let rig = Rig::serving(&SOON_LOST);
    rig.stand_in();
    rig.start_controller(&[]);
    let run = rig.submit(&rig.configuration("stood-in", "# nothing"), &["--auto-apply"]);
    rig.await_mark("began");
    rig.signal_part("apply", "worker", Signal::KILL);
    rig.await_mark("signals");
    rig.await_status(&run, "errored");
    let error = rig.error(&run);
    assert!(error.starts_with("the apply was lost: worker "), "{error}");
    assert!(rig.marks("ended").is_empty(), "it is waited for still");
    rig.mark("go");
    rig.await_job_end("apply");
    assert_eq!(rig.marks("signals"), ["INT"]);
    assert_eq!(rig.marks("began").len(), 1, "nothing started it again");
    assert_eq!(rig.marks("ended").len(), 1);
}

#[test]
fn a_worker_that_is_killed_in_mid_apply_loses_no_state() {
    let rig = Rig::serving(&SOON_LOST);
    rig.start_controller(&[]);
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    rig.signal_part("apply", "worker", Signal::KILL);
    rig.await_status(&run, "errored");
    rig.await_job_end("apply");
    assert!(rig.error(&run).starts_with("the apply was lost: "), "{}", rig.error(&run));
    assert!(
        rig.console(&run).ends_with("\n[the console ends here: its worker was lost]\n"),
        "{}",
        rig.console(&run)
    );
    assert!(rig.resources("slow").contains(&"first".to_owned()), "{:?}", rig.state("slow"));
    assert_eq!(rig.marks("began").len(), 1, "nothing started it again");
    // Terraform has unlocked, so the next run finds its way.
    rig.mark("go");
    let next = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_status(&next, "applied");
}

#[test]
fn a_keeper_that_is_killed_in_mid_apply_is_missed_by_nobody() {
    let rig = Rig::new();
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    rig.signal_part("apply", "keeper", Signal::KILL);
    rig.mark("go");
    rig.await_status(&run, "applied");
    rig.await_job_end("apply");
    assert_eq!(rig.marks("began").len(), 1);
}

#[test]
fn a_runner_that_is_killed_in_mid_apply_takes_its_tool_along_and_the_run_ends_errored() {
    let rig = Rig::new();
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    rig.signal_part("apply", "runner", Signal::KILL);
    rig.await_status(&run, "errored");
    let error = rig.error(&run);
    assert!(error.starts_with("the runner is gone"), "{error}");
    rig.await_job_end("apply");
    assert_eq!(rig.marks("began").len(), 1, "nothing started it again");
    let unlocked = rig.does(&["unlock", "slow"]);
    assert!(unlocked.contains(&format!("for run {run}")), "{unlocked}");
}

#[test]
fn when_the_machine_dies_in_mid_apply_the_run_is_lost_and_says_who_held_it() {
    let rig = Rig::serving(&SOON_LOST);
    rig.start_controller(&[]);
    let run = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    rig.end_machine();
    rig.start_controller(&[]);
    rig.await_status(&run, "errored");
    let error = rig.error(&run);
    assert!(error.starts_with("the apply was lost: worker "), "{error}");
    assert!(error.ends_with("; it held the lock of the state"), "{error}");
    assert_eq!(rig.marks("began").len(), 1, "nothing started it again");
    rig.does(&["unlock", "slow"]);
    rig.mark("go");
    let next = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_status(&next, "applied");
}
