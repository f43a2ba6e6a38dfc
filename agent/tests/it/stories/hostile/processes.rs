//! What user code does to the processes round it, and how it tries to outlive its run.

use rustix::process::Signal;

use super::{ended, next_run_is_fine, no_token_is_anywhere, obedient, python};
use crate::rig::{Rig, is_soak};

#[test]
fn who_kills_his_runner_ends_his_run_and_himself() {
    let rig = obedient(&[]);
    let run = rig.submit(&rig.scripts("kills", &[("plan", "kill -9 $PPID; exec sleep 1000")]), &["--dry"]);
    let told = ended(&rig, &run);
    assert!(told.starts_with("errored: the runner is gone"), "{told}");
    next_run_is_fine(&rig);
}

#[test]
fn who_kills_all_that_belongs_to_his_run_but_its_keeper_is_killed_with_it() {
    let rig = Rig::serving(&["--renew-every", "300ms", "--lost-after", "2s", "--lease-ttl", "1s"]);
    rig.obey();
    rig.start_controller(&[]);
    let kills = "job=/proc/$PPID/cwd; worker=$(cat $job/worker.pid)
        (trap '' TERM INT HUP; setsid sh -c 'exec sleep 1000') &
        kill -9 $worker $PPID; exec sleep 1000";
    let run = rig.submit(&rig.scripts("all", &[("plan", kills)]), &["--dry"]);
    let told = ended(&rig, &run);
    assert!(told.starts_with("errored: "), "{told}");
    next_run_is_fine(&rig);
}

#[test]
fn who_stops_his_runner_is_ended_within_the_grace_and_leaves_nothing() {
    let rig = obedient(&["--worker-grace", "4s"]);
    let stops = "kill -STOP $PPID; echo stopped >> $marks/stopped; sleep 1000 & sleep 1000";
    let run = rig.submit(&rig.scripts("stops", &[("plan", stops)]), &["--dry"]);
    rig.await_mark("stopped");
    rig.signal_part("plan", "worker", Signal::TERM);
    rig.await_status(&run, "errored");
    rig.await_job_end("plan");
    next_run_is_fine(&rig);
}

#[test]
fn who_stops_his_worker_waits_for_it_to_be_woken() {
    let rig = obedient(&[]);
    let stops = "kill -STOP $(cat /proc/$PPID/cwd/worker.pid) && echo stopped >> $marks/stopped";
    let run = rig.submit(&rig.scripts("stops", &[("plan", stops)]), &["--dry"]);
    rig.await_status(&run, "planned_and_finished");
    assert_eq!(rig.marks("stopped").len(), 1);
    next_run_is_fine(&rig);
}

/// Leaves processes behind in every way there is: each deaf, in a session of its own, and with the output
/// open; and some that are another process every few dozen microseconds.
const CROWD: &str = r#"
import os, signal, sys, time
for name in ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1"]:
  signal.signal(getattr(signal, name), signal.SIG_IGN)
def sleeper():
  while True: time.sleep(1000)
def comet(): os.execl("/bin/sh", "crowd.py", "-c", "c() { c & exit; }; c")
def daemon(then):
  if os.fork(): return
  os.setsid()
  if os.fork(): os._exit(0)
  then()
for n in range(int(sys.argv[1])): daemon(sleeper)
for n in range(int(sys.argv[2])): daemon(comet)
print("a crowd is about")
"#;

#[test]
fn a_crowd_that_is_deaf_forks_without_end_and_holds_the_output_open_goes_with_its_command() {
    let rig = obedient(&[]);
    let (sleepers, comets) = if is_soak() { (1_000, 20) } else { (200, 3) };
    let crowd = format!("{} crowd.py {sleepers} {comets}", python("").replace(" -c ''", ""));
    let folder = rig.scripts("crowd", &[("plan", &crowd), ("apply", "echo applied")]);
    std::fs::write(folder.join("crowd.py"), CROWD).unwrap();
    let run = rig.submit(&folder, &["--auto-apply"]);
    rig.await_status(&run, "applied");
    assert!(rig.console(&run).contains("a crowd is about"));
    assert_eq!(rig.processes(&["crowd.py"]), [0; 0]);
    next_run_is_fine(&rig);
}

#[test]
fn a_crowd_whose_runner_was_killed_goes_with_its_job() {
    let rig = obedient(&[]);
    let comets = if is_soak() { 20 } else { 3 };
    let crowd = format!("{} crowd.py 50 {comets}; kill -9 $PPID", python("").replace(" -c ''", ""));
    let folder = rig.scripts("crowd", &[("plan", &crowd)]);
    std::fs::write(folder.join("crowd.py"), CROWD).unwrap();
    let run = rig.submit(&folder, &["--dry"]);
    rig.await_status(&run, "errored");
    rig.await_job_end("plan");
    assert_eq!(rig.processes(&["crowd.py"]), [0; 0]);
    next_run_is_fine(&rig);
}

#[test]
fn who_removes_what_he_stands_on_ends_only_his_own_run() {
    let rig = obedient(&["--concurrency", "2"]);
    let (all, job) = ("rm -rf \"$SCALR_RUN_CONTENT_ROOT/..\"", "rm -rf /proc/$PPID/cwd/data/*");
    let told = super::each(&rig, "plan", &[], &["--dry"], &[("the run", all), ("what the worker has", job)]);
    assert_eq!(told.matches("errored").count(), 2, "{told}");
    no_token_is_anywhere(&rig);
    next_run_is_fine(&rig);
}

#[test]
fn a_disk_that_does_not_take_the_end_of_a_job_has_the_room_that_its_run_took() {
    let rig = obedient(&[]);
    // As on a full disk, the exit can't be written: something stands where it is written first.
    let blocks = "cd /proc/$PPID/cwd && mkdir .worker.exit.$(cat keeper.pid)";
    let run = rig.submit(&rig.scripts("full", &[("plan", blocks)]), &["--dry"]);
    rig.await_status(&run, "planned_and_finished");
    let (job, folder) = (rig.job("plan"), rig.data().join("runs").join(&run));
    rig.until("the run's folder is gone", || !folder.exists());
    assert!(!job.join("end.json").exists(), "the Job is not over before that is written");
    let keeper = std::fs::read_to_string(job.join("keeper.pid")).unwrap();
    std::fs::remove_dir(job.join(format!(".worker.exit.{keeper}"))).unwrap();
    rig.await_job_end("plan");
    next_run_is_fine(&rig);
}
