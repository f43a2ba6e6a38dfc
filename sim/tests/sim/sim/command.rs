//! The program as a person meets it: what it prints, and how it ends.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use expect_test::{Expect, expect, expect_file};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(args)
        .current_dir(root())
        .output()
        .expect("the simulator runs")
}

/// The exit code, standard output and standard error of a command, of these lines only.
#[track_caller]
fn check_lines(args: &[&str], lines: impl Fn(&str) -> bool, is_expected: impl Fn(&str)) {
    let output = sim(args);
    let mut text = format!("exit {}\n", output.status.code().expect("it ends by itself"));
    for stream in [output.stdout, output.stderr] {
        let stream = String::from_utf8(stream).expect("it prints text");
        for line in stream.lines().filter(|line| lines(line)) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    is_expected(&text);
}

#[track_caller]
fn check(args: &[&str], expected: &Expect) {
    check_lines(args, |_| true, |text| expected.assert_eq(text));
}

#[test]
fn a_run_is_summed_up() {
    check(
        &["run", "examples/scenarios/burst.json"],
        &expect![[r#"
            exit 0
            about     One commit plans twelve workspaces and there is room for four Jobs: read the waits, then ask `explain --task 11:plan` why the last one waited.
            seed      1, 1369 events until 202.634s, hash 7fd9cf0e6f20db1c
            runs      12: 12 planned_and_finished
            waits     12 from queued to started: half within 45.199s, 95 of 100 within 75.682s, all within 75.682s
            work      12 from started to over: half within 21.690s, 95 of 100 within 28.709s, all within 28.709s
            faults    0 planned, of these fired: none
            promises  all kept
        "#]],
    );
}

#[test]
fn another_seed_is_another_history() {
    let said = |seed| {
        String::from_utf8(sim(&["run", "examples/scenarios/burst.json", "--seed", seed]).stdout).unwrap()
    };
    assert_eq!(said("8"), said("8"));
    assert_ne!(said("8"), said("9"));
}

#[test]
fn a_run_reads_like_a_score() {
    // Heartbeats, polls and the console are the pulse of it; here is the tune.
    let is_pulse = |line: &str| {
        [
            "heartbeat",
            "wait for",
            "hinted",
            "acquire",
            "granted nothing",
            "console",
            "log are stored",
            "lease goes on",
            "is signalled",
        ]
        .iter()
        .any(|word| line.contains(word))
    };
    let args = ["run", "examples/scenarios/evicted-while-starting.json", "--trace"];
    check_lines(&args, |line| !is_pulse(line), |text| expect_file!["score.txt"].assert_eq(text));
}

#[test]
fn every_line_of_a_score_stands_in_its_columns() {
    let output = sim(&["run", "examples/scenarios/rollout.json", "--trace"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let score: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
    assert!(score.len() > 300, "{} lines", score.len());
    for line in score {
        let columns: Vec<char> = line.chars().take(40).collect();
        assert_eq!(columns[20], ' ', "{line}");
        assert_ne!(columns[22], ' ', "{line}");
        assert_eq!(columns[38], ' ', "{line}");
    }
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let command =
        format!("{} run examples/scenarios/burst.json --trace | head -n 1", env!("CARGO_BIN_EXE_sim"));
    let output =
        Command::new("bash").args(["-o", "pipefail", "-c", &command]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_wait_is_explained_interval_by_interval() {
    check(
        &["explain", "examples/scenarios/cache-on-two-nodes.json", "--task", "1:plan"],
        &expect![[r#"
            exit 0
            1:plan under seed 6
                      at          for  who          what
                  1.000s                            is queued
                  1.000s                            is granted to agent-000002ddb6683d (process 1) under fence 1
                  1.000s       0.022s  scalr        at agent agent-0, which has not launched it yet
                  1.022s       0.010s  agent-0      it has just arrived and is about to be planned
                  1.032s       0.016s  agent-0      its Job is being made
                  1.048s       0.048s  agent-0      its Job was made: it has no pod yet
                  1.096s       0.016s  cluster      its pod waits for a node
                  1.112s       0.030s  cluster      its pod is on node-0-2, whose kubelet has not begun with it
                  1.142s       1.015s  cluster      its volumes are being mounted on node-0-2
                  2.157s      15.112s  cluster      its images are being pulled on node-0-2
                 17.269s       0.481s  cluster      its containers are being made on node-0-2
                 17.750s       0.174s  cluster      its worker comes up on node-0-2
                 17.797s                            a worker begins: process 2 in p1 for fence 1
                 17.924s       0.073s  worker       a worker has claimed it and is about to start it
                 17.997s                            process 2 is confirmed
                 17.997s       0.052s  worker       its worker is at confirm
                 18.049s       0.129s  worker       its worker is at configuration
                 18.178s       1.129s  worker       its worker is at tool
                 19.307s       3.347s  worker       its worker is at init
                 22.654s      15.478s  worker       its worker is at plan
                 38.132s       1.443s  worker       its worker is at show
                 39.575s       0.171s  worker       its worker is at plan-file
                 39.746s       0.201s  worker       its worker is at plan-json
                 39.947s       0.343s  worker       its worker is at lock-file
                 40.290s       0.033s  worker       its worker is at finish
                 40.323s                            is over: finished, succeeded
                 40.371s                            process 2 ends with 0
            waited 16.997s, then worked 22.326s: finished (succeeded)
        "#]],
    );
}

#[test]
fn a_loss_is_explained_to_its_end() {
    let args = ["explain", "examples/scenarios/node-lost-in-mid-apply.json", "--task", "0:apply"];
    check(
        &args,
        &expect![[r#"
            exit 0
            0:apply under seed 2
                      at          for  who          what
                  1.000s      37.457s  scalr        its plan is not over yet
                 38.457s                            is queued
                 38.457s                            is granted to agent-000002f99f8f0f (process 1) under fence 1
                 38.457s       0.021s  scalr        at agent agent-0, which has not launched it yet
                 38.478s       0.010s  agent-0      it has just arrived and is about to be planned
                 38.488s       0.009s  agent-0      its Job is being made
                 38.497s       0.041s  agent-0      its Job was made: it has no pod yet
                 38.538s       0.009s  cluster      its pod waits for a node
                 38.547s       0.008s  cluster      its pod is on node-0-1, whose kubelet has not begun with it
                 38.555s       0.779s  cluster      its volumes are being mounted on node-0-1
                 39.334s       6.846s  cluster      its images are being pulled on node-0-1
                 46.180s       0.998s  cluster      its containers are being made on node-0-1
                 47.178s       0.276s  cluster      its worker comes up on node-0-1
                 47.337s                            a worker begins: process 3 in p2 for fence 1
                 47.454s       0.044s  worker       a worker has claimed it and is about to start it
                 47.498s                            process 3 is confirmed
                 47.498s       0.014s  worker       its worker is at confirm
                 47.512s       0.340s  worker       its worker is at configuration
                 47.852s       0.167s  worker       its worker is at saved-plan
                 48.019s       0.021s  worker       its worker is at tool
                 48.040s       3.121s  worker       its worker is at init
                 51.161s       5.000s  worker       its worker is at apply
                 56.161s                            process 3 ends with 137
                 56.161s               !!           N1 NODE_LOST: A machine dies.
                 56.161s      51.337s  cluster      its worker is gone, and Scalr does not know yet
                107.498s    1740.000s  scalr        unreachable: nothing was heard of worker agent-run-00000677f76d1f-apply-2 since 2026-11-22T00:00:47Z
                178.477s                            a worker begins: process 4 in p3 for fence 1
                178.631s                            process 4 ends with 0
               1847.498s                            is over: lost
            waited 9.041s, then worked 1800.000s: lost; the run says: the apply was lost: worker agent-run-00000677f76d1f-apply-2 held it and was last seen at 2026-11-22T00:00:47Z; the node is gone
        "#]],
    );
}

#[test]
fn what_is_so_at_a_moment_is_said_of_every_task() {
    check(
        &["explain", "examples/scenarios/burst.json", "--at", "40s"],
        &expect![[r#"
            exit 0
            0:plan    agent-0: number 5 of 7 waiting here: as many Jobs are in flight as may be (4), queued at 1.000s
            1:plan    worker: its worker is at plan, queued at 1.000s
            2:plan    agent-0: number 3 of 7 waiting here: as many Jobs are in flight as may be (4), queued at 1.000s
            3:plan    agent-0: number 7 of 7 waiting here: as many Jobs are in flight as may be (4), queued at 1.000s
            4:plan    worker: its worker is at init, queued at 1.000s
            5:plan    worker: its worker is at plan, queued at 1.000s
            6:plan    over since 32.380s: finished (succeeded)
            7:plan    agent-0: number 1 of 7 waiting here: as many Jobs are in flight as may be (4), queued at 1.000s
            8:plan    agent-0: number 6 of 7 waiting here: as many Jobs are in flight as may be (4), queued at 1.000s
            9:plan    worker: its worker is at init, queued at 1.000s
            10:plan   agent-0: number 2 of 7 waiting here: as many Jobs are in flight as may be (4), queued at 1.000s
            11:plan   agent-0: number 4 of 7 waiting here: as many Jobs are in flight as may be (4), queued at 1.000s
        "#]],
    );
}

#[test]
fn a_broken_promise_ends_with_1_and_tells_its_story() {
    // Nobody heals what a user's own quota forbids for ever: the run never comes to its end.
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("no-room.json");
    let scenario = r#"{"version":1,"about":"no Job may be made","chaos-ms":0,"patience-ms":60000,
        "world":{"cluster":{"quota":{"jobs":0}},"runs":[{"at-ms":1000,"is-dry":true}]}}"#;
    std::fs::write(&path, scenario).unwrap();
    check(
        &["run", path.to_str().unwrap()],
        &expect![[r#"
            exit 1
            about     no Job may be made
            seed      0, 112 events until 60.018s, hash b9506fcb1ec978ab
            runs      1: 1 plan_queued
            waits     none
            work      none
            faults    0 planned, of these fired: none
            promises  broken: L1 ALL_TERMINAL at 60.018s (event 112), run 0 plan: it has not ended (it is leased, and the last of it was that its Job was asked for): number 1 of 1 waiting here: the namespace's quota leaves no room: exceeded quota: used: count/jobs.batch=0, limited: 0

            1 runs, controllers agent-0 of 10, 0 faults, healing at 0.000s, seed 0
            1.000s run 0 plan: is queued
            1.000s run 0 plan: is granted to agent-000002c5bff363 (process 1) under fence 1
            1.043s run 0 plan: process 1 makes its Job for fence 1
            1.047s run 0 plan: process 1 asks for its Job under fence 1
            1.055s run 0 plan: process 1 hears of its Job for fence 1: there is no room for it
            2.003s run 0 plan: process 1 makes its Job for fence 1
            2.007s run 0 plan: process 1 asks for its Job under fence 1
            2.021s run 0 plan: process 1 hears of its Job for fence 1: there is no room for it
            3.491s run 0 plan: process 1 makes its Job for fence 1
            3.496s run 0 plan: process 1 asks for its Job under fence 1
            3.515s run 0 plan: process 1 hears of its Job for fence 1: there is no room for it
            7.357s run 0 plan: process 1 makes its Job for fence 1
            7.360s run 0 plan: process 1 asks for its Job under fence 1
            7.370s run 0 plan: process 1 hears of its Job for fence 1: there is no room for it
            12.703s run 0 plan: process 1 makes its Job for fence 1
            12.704s run 0 plan: process 1 asks for its Job under fence 1
            12.715s run 0 plan: process 1 hears of its Job for fence 1: there is no room for it
            13.161s run 0 plan: process 1 makes its Job for fence 1
            13.166s run 0 plan: process 1 asks for its Job under fence 1
            13.178s run 0 plan: process 1 hears of its Job for fence 1: there is no room for it
            37.970s run 0 plan: process 1 makes its Job for fence 1
            37.975s run 0 plan: process 1 asks for its Job under fence 1
            37.985s run 0 plan: process 1 hears of its Job for fence 1: there is no room for it
            L1 ALL_TERMINAL at 60.018s (event 112), run 0 plan: it has not ended (it is leased, and the last of it was that its Job was asked for): number 1 of 1 waiting here: the namespace's quota leaves no room: exceeded quota: used: count/jobs.batch=0, limited: 0
        "#]],
    );
}

#[test]
fn bad_options_end_with_64() {
    let burst = "examples/scenarios/burst.json";
    for args in [
        &["run"][..],
        &["run", burst, "--seed", "x"],
        &["explain", burst],
        &["explain", burst, "--task", "plan"],
        &["explain", burst, "--task", "0:destroy"],
        &["explain", burst, "--task", "99:plan"],
        &["explain", burst, "--at", "soon"],
        &["explain", burst, "--at", "99999999999999999999h"],
        &["play"],
    ] {
        let output = sim(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn bad_files_end_with_64_in_one_line() {
    check(
        &["run", "examples/scenarios/none.json"],
        &expect![[r#"
            exit 64
            examples/scenarios/none.json: No such file or directory (os error 2), expected a scenario file
        "#]],
    );
    check(
        &["run", "README.md"],
        &expect![[r#"
        exit 64
        README.md:1:1: .: expected value
    "#]],
    );
}

#[test]
fn the_schema_is_printed() {
    let output = sim(&["schema"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), sim::scenario::Scenario::schema());
}
