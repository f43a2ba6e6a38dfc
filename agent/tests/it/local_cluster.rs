//! The local driver with real processes: the contract of every cluster, and what happens when things are
//! killed.

mod bench;

use std::fs;

use rustix::process::Signal;
use scalr_agent::cluster::local::LocalCluster;
use scalr_core::{
    cluster::{
        Cluster, ClusterError, Consistency, Container, Job, JobEnd, Kind, Watch, WatchEnd, WatchEvent,
    },
    contract::cluster::{self as contract, spec},
};

use self::bench::{Local, RUNNER, WORKER, bounded, until};

macro_rules! clauses {
    ($($clause:ident),+ $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $clause() {
            bounded(contract::$clause(Local::new())).await;
        }
    )+ };
}

clauses! {
    a_created_job_is_in_the_next_quorum_list,
    creating_the_same_again_is_success,
    a_name_taken_for_something_else_is_refused,
    two_that_race_for_a_name_get_one_job,
    a_finished_job_is_complete_and_its_pod_proves_it,
    a_finished_job_is_over,
    a_deleted_job_is_over_or_gone,
    another_uid_deletes_nothing,
    deleting_what_is_gone_is_success,
    a_deleted_job_takes_its_pods_along,
    a_watch_goes_on_where_its_list_ended,
    a_jobs_life_is_told_in_order,
}

async fn create(cluster: &LocalCluster, name: &str) -> Job {
    cluster.create(&spec("atask-1", 1, name)).await.expect("it is made")
}

fn terminated(exit_code: i32) -> Container {
    Container::Terminated { exit_code, is_oom: false }
}

fn failed(reason: &str) -> JobEnd {
    JobEnd::Failed { reason: reason.to_owned() }
}

#[tokio::test]
async fn worker_and_runner_get_what_is_theirs_and_no_more() {
    let local = Local::new();
    let cluster = local.open();
    create(&cluster, "job-1").await;
    let job = local.job("job-1");
    local.pod(&cluster, |pod| pod.worker == Container::Running && pod.runner == Container::Running).await;
    until("both have said what they got", || {
        local.run().join("work").exists()
            && fs::read_to_string(job.join("runner.env")).is_ok_and(|text| !text.is_empty())
    })
    .await;
    let read = |name: &str| fs::read_to_string(job.join(name)).expect(name);
    let data = local.data().canonicalize().expect("the data folder").display().to_string();
    let said = format!("{}{}{}", read("worker.args"), read("runner.args"), read("worker.task"))
        .replace(&data, "DATA");
    expect_test::expect![[r#"
        --podinfo DATA/jobs/job-1/podinfo --socket DATA/jobs/job-1/runner.sock --run-dir DATA/runs/run-1 --data-dir DATA/jobs/job-1/data --name job-1-0
        --socket DATA/jobs/job-1/runner.sock
        scalr.io/account="acc-1"
        scalr.io/account-name="example"
        scalr.io/action="plan"
        scalr.io/environment="env-1"
        scalr.io/environment-name="production"
        scalr.io/fence="1"
        scalr.io/run="run-1"
        scalr.io/stage="plan"
        scalr.io/task="atask-1"
        scalr.io/workspace="ws-1"
        scalr.io/workspace-name="network"
    "#]]
    .assert_eq(&said);
    assert!(read("worker.env").contains("SCALR_AGENT_TOKEN=the-pool-token"));
    // What the shell itself adds aside.
    let environment = read("runner.env");
    let names = environment.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    let given: Vec<_> = names.filter(|name| !matches!(*name, "PWD" | "OLDPWD" | "SHLVL" | "_")).collect();
    assert_eq!(given.len(), 2, "PATH and LANG, not {given:?}");
    for entry in fs::read_dir(&job).expect("the folder").flatten() {
        let is_script_output = entry.file_name() == "worker.env";
        let holds_token = fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("the-pool-token"));
        assert!(is_script_output || !holds_token, "{:?} holds the token", entry.path());
    }
}

#[tokio::test]
async fn a_finished_job_leaves_its_folder_and_nothing_else() {
    let local = Local::new();
    let cluster = local.open();
    create(&cluster, "job-1").await;
    until("the worker works", || local.run().join("work").exists()).await;
    local.let_finish("job-1");
    assert_eq!(local.end(&cluster).await, JobEnd::Complete);
    local.until_nothing_runs().await;
    assert!(!local.run().exists() && local.job("job-1").exists());
}

#[tokio::test]
async fn a_finished_job_is_swept_after_its_time() {
    let mut local = Local::new();
    (local.options.ttl_ms, local.options.failed_ttl_ms) = (0, 0);
    let cluster = local.open();
    create(&cluster, "job-1").await;
    local.let_finish("job-1");
    until("it is swept", || !local.job("job-1").exists()).await;
    local.until_nothing_runs().await;
}

#[tokio::test]
async fn jobs_outlive_their_controller_and_the_next_one_sees_them() {
    let local = Local::new();
    let cluster = local.open();
    let made = create(&cluster, "job-1").await;
    let mut watch = cluster.watch(Kind::Jobs, made.version).await.expect("a watch");
    drop(cluster);
    bounded(async { while watch.next().await != WatchEvent::Ended(WatchEnd::Eof) {} }).await;
    let next = local.open();
    assert_eq!(create(&next, "job-1").await.uid, made.uid);
    let pod =
        local.pod(&next, |pod| pod.worker == Container::Running && pod.runner == Container::Running).await;
    assert_eq!(pod.job_uid, made.uid);
    local.let_finish("job-1");
    assert_eq!(local.end(&next).await, JobEnd::Complete);
}

#[tokio::test]
async fn a_worker_that_is_killed_ends_the_job_when_its_runner_has_ended() {
    let local = Local::new();
    let cluster = local.open();
    create(&cluster, "job-1").await;
    until("the worker works", || local.run().join("work").exists()).await;
    local.signal("job-1", "worker", Signal::KILL).await;
    assert_eq!(local.end(&cluster).await, failed("the worker exited with 137"));
    local.pod(&cluster, |pod| pod.worker == terminated(137) && pod.runner == terminated(0)).await;
    local.until_nothing_runs().await;
    assert!(!local.run().exists());
}

#[tokio::test]
async fn a_runner_that_does_not_stop_without_its_worker_is_killed() {
    let mut local = Local::new();
    local.scripts(WORKER, "while true; do sleep 0.02; done");
    local.options.runner_wait_ms = 200;
    let cluster = local.open();
    create(&cluster, "job-1").await;
    local.signal("job-1", "worker", Signal::KILL).await;
    local.pod(&cluster, |pod| pod.worker == terminated(137) && pod.runner == terminated(137)).await;
    local.until_nothing_runs().await;
}

#[tokio::test]
async fn what_a_runner_leaves_behind_is_killed_before_it_counts_as_ended() {
    let mut local = Local::new();
    // Twice forked, in a session of its own, deaf to all that can be ignored.
    let leaves = "(setsid sh -c \"trap '' TERM INT HUP; while true; do sleep 0.02; done\" &) ; touch left; ";
    local.scripts(WORKER, &format!("{leaves}{RUNNER}"));
    let cluster = local.open();
    create(&cluster, "job-1").await;
    until("it has forked", || local.job("job-1").join("left").exists()).await;
    local.signal("job-1", "runner", Signal::KILL).await;
    let pod = local.pod(&cluster, |pod| pod.runner == terminated(137)).await;
    assert_eq!(pod.worker, Container::Running, "the worker is spared");
    // The keeper, the worker and what that has below it: nothing else.
    until("only the worker is left", || local.processes().len() <= 3).await;
    local.let_finish("job-1");
    assert_eq!(local.end(&cluster).await, failed("the runner exited with 137"));
    local.until_nothing_runs().await;
}

#[tokio::test]
async fn deletion_asks_first_and_leaves_no_process_and_no_folder() {
    let mut local = Local::new();
    let told = local.data().parent().expect("a folder").join("told");
    let asked = format!("trap 'echo worker >> {0}; exit 0' TERM; {WORKER}", told.display());
    let (worker, runner) =
        (asked.clone(), asked.replace("echo worker", "echo runner").replace(WORKER, RUNNER));
    local.scripts(&worker, &runner);
    let cluster = local.open();
    let made = create(&cluster, "job-1").await;
    let job = local.job("job-1");
    until("both are up", || local.run().join("work").exists() && job.join("runner.env").exists()).await;
    cluster.delete(&made.name, &made.uid).await.expect("it goes");
    until("it is gone", || !job.exists()).await;
    local.until_nothing_runs().await;
    assert!(!local.run().exists());
    let told = fs::read_to_string(told).expect("both were told");
    let mut told: Vec<_> = told.lines().collect();
    told.sort_unstable();
    assert_eq!(told, ["runner", "worker"], "each is told once");
}

#[tokio::test]
async fn deletion_ends_the_deaf_too_and_needs_no_controller() {
    let mut local = Local::new();
    local.options.grace_ms = 200;
    local.scripts(&format!("trap '' TERM; {WORKER}"), &format!("trap '' TERM; {RUNNER}"));
    let cluster = local.open();
    let made = create(&cluster, "job-1").await;
    until("the worker works", || local.run().join("work").exists()).await;
    cluster.delete(&made.name, &made.uid).await.expect("it goes");
    drop(cluster);
    until("it is gone", || !local.job("job-1").exists()).await;
    local.until_nothing_runs().await;
    assert!(!local.run().exists());
}

#[tokio::test]
async fn without_its_keeper_a_job_runs_on_and_locks_prove_its_end() {
    let local = Local::new();
    let cluster = local.open();
    create(&cluster, "job-1").await;
    until("the worker works", || local.run().join("work").exists()).await;
    local.signal("job-1", "keeper", Signal::KILL).await;
    let pod = local.pod(&cluster, |_| true).await;
    assert_eq!((pod.worker, pod.runner), (Container::Running, Container::Running), "nothing proves an end");
    assert_eq!(cluster.create(&spec("atask-1", 1, "job-1")).await.expect("it runs").end, None);
    local.let_finish("job-1");
    assert_eq!(local.end(&cluster).await, failed("KeeperLost"));
    local.pod(&cluster, scalr_core::cluster::Pod::is_proved_over).await;
    until("the sweep has cleaned up", || !local.run().exists()).await;
    assert_eq!(local.open().create(&spec("atask-1", 1, "job-1")).await, Err(ClusterError::Over));
}

#[tokio::test]
async fn without_its_keeper_a_job_is_deleted_by_the_sweep() {
    for (guard, grace_ms) in [("", 3_600_000), ("trap '' TERM; ", 200)] {
        let mut local = Local::new();
        local.options.grace_ms = grace_ms;
        // What was forked away holds the runner's lock, and goes with it.
        let leaves = "(setsid sh -c 'while [ ! -e worker.exit ]; do sleep 0.02; done' &) ; ";
        local.scripts(&format!("{guard}{WORKER}"), &format!("{guard}{leaves}{RUNNER}"));
        local.options.runner_wait_ms = 200;
        let cluster = local.open();
        let made = create(&cluster, "job-1").await;
        until("both are up", || {
            local.run().join("work").exists() && local.job("job-1").join("runner.env").exists()
        })
        .await;
        local.signal("job-1", "keeper", Signal::KILL).await;
        if grace_ms == 200 {
            cluster.delete(&made.name, &made.uid).await.expect("it goes");
        } else {
            local.signal("job-1", "worker", Signal::KILL).await;
            assert_eq!(local.end(&cluster).await, failed("KeeperLost"));
            cluster.delete(&made.name, &made.uid).await.expect("it goes");
        }
        until("it is gone", || !local.job("job-1").exists()).await;
        local.until_nothing_runs().await;
        until("the run's folder is gone", || !local.run().exists()).await;
    }
}

#[tokio::test]
async fn a_runner_whose_keeper_was_killed_before_it_began_a_worker_ends_at_once() {
    let local = Local::new();
    let cluster = local.open();
    create(&cluster, "job-1").await;
    let job = local.job("job-1");
    until("both are up", || local.run().join("work").exists() && job.join("runner.env").exists()).await;
    // What a keeper leaves that was killed between the two: a runner whose number, even, is not written.
    local.signal("job-1", "keeper", Signal::STOP).await;
    local.signal("job-1", "worker", Signal::KILL).await;
    for file in ["worker.lock", "worker.pid", "runner.pid"] {
        fs::remove_file(job.join(file)).expect("it was there");
    }
    local.signal("job-1", "keeper", Signal::KILL).await;
    assert_eq!(local.end(&cluster).await, failed("KeeperLost"));
    local.until_nothing_runs().await;
}

#[tokio::test]
async fn a_keeper_may_be_killed_at_any_moment() {
    let mut local = Local::new();
    (local.options.ttl_ms, local.options.failed_ttl_ms) = (0, 0);
    local.options.runner_wait_ms = 100;
    let starts = local.data().parent().expect("a folder").join("starts");
    local.scripts(&format!("echo \"$2\" >> {}; {WORKER}", starts.display()), RUNNER);
    let cluster = local.open();
    let mut killed = 0;
    for n in 0..24_u64 {
        let name = format!("job-{n}");
        create(&cluster, &name).await;
        // From before its first step to long after its last.
        tokio::time::sleep(std::time::Duration::from_millis(n)).await;
        for keeper in local.keepers(&name) {
            // It may have ended by itself.
            killed += u32::from(rustix::process::kill_process(keeper, Signal::KILL).is_ok());
        }
        // As another controller would that does not know.
        let again = cluster.create(&spec("atask-1", 1, &name)).await;
        assert!(matches!(again, Ok(_) | Err(ClusterError::Over)), "{again:?}");
        local.let_finish(&name);
    }
    assert!(killed > 0, "they live long enough");
    let left = |folder: &str| fs::read_dir(local.data().join(folder)).expect("the folder").count();
    until("all are swept", || left("jobs") == 1 && left("runs") == 1).await;
    local.until_nothing_runs().await;
    let text = fs::read_to_string(&starts).unwrap_or_default();
    let mut started: Vec<_> = text.lines().collect();
    let all = started.len();
    started.sort_unstable();
    started.dedup();
    assert_eq!(started.len(), all, "none is started twice");
}

#[tokio::test]
async fn nothing_is_started_twice() {
    let local = Local::new();
    let cluster = local.open();
    create(&cluster, "job-1").await;
    until("the worker works", || local.run().join("work").exists()).await;
    let keep = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_scalr-agent"));
        command.arg("keeper").arg("--job").arg(local.job("job-1")).output().expect("it runs")
    };
    assert_eq!(keep().status.code(), Some(1), "the first keeper lives");
    local.signal("job-1", "keeper", Signal::KILL).await;
    until("its lock is free", || {
        let lock = fs::File::open(local.job("job-1").join("keeper.lock")).expect("the lock");
        lock.try_lock_shared().is_ok()
    })
    .await;
    assert_eq!(keep().status.code(), Some(1), "what the first one began is not begun again");
}

#[tokio::test]
async fn a_loser_does_not_take_the_winners_folder_away() {
    let local = Local::new();
    let cluster = local.open();
    create(&cluster, "job-1").await;
    cluster.create(&spec("atask-1", 2, "job-1-2")).await.expect("it is made");
    until("they work", || local.run().join("work").exists()).await;
    local.let_finish("job-1");
    until("the first has ended", || local.job("job-1").join("end.json").exists()).await;
    until("its keeper has gone", || {
        let lock = fs::File::open(local.job("job-1").join("keeper.lock")).expect("the lock");
        lock.try_lock_shared().is_ok()
    })
    .await;
    cluster.list(Kind::Jobs, Consistency::Quorum).await.expect("a list");
    assert!(local.run().join("work").exists());
    local.let_finish("job-1-2");
    until("the last has taken it away", || !local.run().exists()).await;
}

#[tokio::test]
async fn what_the_killed_left_half_done_is_swept() {
    let local = Local::new();
    drop(local.open());
    let jobs = local.data().join("jobs");
    for half in [".new-job-1-abc", ".gone-job-2-abc/podinfo", "job-3"] {
        fs::create_dir_all(jobs.join(half)).expect("a folder");
    }
    fs::write(jobs.join("job-3/spec.json"), "{\"uid\":").expect("a file");
    fs::create_dir_all(local.data().join("runs/.gone-run-1")).expect("a folder");
    fs::create_dir_all(local.data().join("runs/run-2/config")).expect("a folder");
    let cluster = local.open();
    assert_eq!(cluster.list(Kind::Jobs, Consistency::Quorum).await.expect("a list").objects, []);
    let left = |folder: &str| fs::read_dir(local.data().join(folder)).expect("the folder").count();
    until("only the marks are left", || left("jobs") == 1 && left("runs") == 1).await;
}

#[tokio::test]
async fn bad_places_and_programs_are_one_clear_line() {
    let mut local = Local::new();
    let data = local.data().to_owned();
    fs::create_dir_all(data.join("runs/precious")).expect("a folder");
    let line = LocalCluster::open(local.options.clone()).expect_err("it is not ours").to_string();
    assert_eq!(
        line.replace(data.to_str().expect("text"), "DATA"),
        "`DATA/runs` holds files that are not the agent's: choose another data folder"
    );
    assert!(data.join("runs/precious").exists());
    fs::remove_dir(data.join("runs/precious")).expect("it is empty");

    local.options.keeper_command = vec!["/nowhere/scalr-agent".into(), "keeper".into()];
    let cluster = local.open();
    let refused = cluster.create(&spec("atask-1", 1, "job-1")).await.expect_err("no such program");
    expect_test::expect![
        "refused: the keeper `/nowhere/scalr-agent` can't be started: No such file or directory (os error 2)"
    ]
    .assert_eq(&refused.to_string());
    assert!(!local.job("job-1").exists());
    let refused = cluster.create(&spec("atask-1", 1, "../job")).await.expect_err("no name");
    expect_test::expect!["refused: `../job` is no name of a Job: 1 to 63 lower-case letters, digits or `-`"]
        .assert_eq(&refused.to_string());

    fs::remove_dir_all(&data).expect("it goes");
    let broken = cluster.list(Kind::Jobs, Consistency::Quorum).await.expect_err("it is gone").to_string();
    assert_eq!(
        broken.replace(data.to_str().expect("text"), "DATA"),
        "no answer: `DATA/jobs` can't be read: No such file or directory (os error 2)"
    );
}

#[tokio::test]
async fn a_worker_that_cant_be_started_is_a_start_error() {
    let mut local = Local::new();
    local.options.worker_command = vec!["/nowhere/worker".into()];
    let cluster = local.open();
    create(&cluster, "job-1").await;
    assert_eq!(local.end(&cluster).await, failed("StartError"));
    local.pod(&cluster, |pod| pod.worker == terminated(128)).await;
    local.until_nothing_runs().await;
}
