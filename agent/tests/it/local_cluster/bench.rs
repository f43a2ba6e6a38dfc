//! A local cluster in a folder of its own, with real processes: the agent's keeper, and shell scripts for
//! worker and runner that stay up until the file `finish` appears beside them.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use scalr_agent::cluster::local::{LocalCluster, LocalOptions};
use scalr_core::{
    cluster::{Cluster, Consistency, Job, JobEnd, Kind, Object, Pod},
    contract::cluster::Bench,
};
use scalr_protocol::secret::Secret;

/// How long a test waits for anything, before it fails: far more than anything takes.
const WAIT: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(10);

/// Says what it was given, works in the run's folder, and stays.
pub(super) const WORKER: &str = r#"
echo "$@" > worker.args; env > worker.env; cat "$2/annotations" > worker.task
mkdir -p "$6" && touch "$6/work"
while [ -d . ] && [ ! -e finish ]; do sleep 0.02; done
"#;
/// Stays until the worker is gone, as the real one does.
pub(super) const RUNNER: &str = r#"
echo "$@" > runner.args; env > runner.env
while [ -d "$PWD" ] && [ ! -e finish ] && [ ! -e worker.exit ]; do sleep 0.02; done
"#;

/// A folder, and what clusters in it are told.
pub(super) struct Local {
    pub(super) options: LocalOptions,
    _folder: tempfile::TempDir,
}

impl Local {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let mut options = LocalOptions::new(data, Path::new(env!("CARGO_BIN_EXE_scalr-agent")));
        let set = |name: &str, value: &str| (OsString::from(name), Secret::new(value));
        options.worker_environment = vec![
            set("PATH", "/usr/local/bin:/usr/bin:/bin"),
            set("LANG", "C.UTF-8"),
            set("SCALR_URL", "https://example.scalr.io"),
            set("SCALR_AGENT_TOKEN", "the-pool-token"),
        ];
        // Nothing is swept away before a test has looked at it.
        (options.ttl_ms, options.failed_ttl_ms) = (3_600_000, 3_600_000);
        let mut local = Self { options, _folder: folder };
        local.scripts(WORKER, RUNNER);
        local
    }

    /// What worker and runner do.
    pub(super) fn scripts(&mut self, worker: &str, runner: &str) {
        let script = |text: &str| ["/bin/sh", "-c", text, "sh"].map(OsString::from).to_vec();
        self.options.worker_command = script(worker);
        self.options.runner_command = script(runner);
    }

    pub(super) fn open(&self) -> LocalCluster {
        LocalCluster::open(self.options.clone()).expect("a folder of its own")
    }

    pub(super) fn data(&self) -> &Path {
        &self.options.data_dir
    }

    pub(super) fn job(&self, name: &str) -> PathBuf {
        self.data().join("jobs").join(name)
    }

    pub(super) fn run(&self) -> PathBuf {
        self.data().join("runs/run-1")
    }

    /// Lets worker and runner of a Job exit with 0.
    pub(super) fn let_finish(&self, name: &str) {
        // One that is gone already needs no leave.
        fs::write(self.job(name).join("finish"), "").ok();
    }

    /// Sends a signal to one of a Job's processes.
    pub(super) async fn signal(&self, name: &str, part: &str, signal: Signal) {
        let path = self.job(name).join(format!("{part}.pid"));
        let mut pid = None;
        until("its number is written", || {
            pid = fs::read_to_string(&path).ok().and_then(|text| text.parse().ok()).and_then(Pid::from_raw);
            pid.is_some()
        })
        .await;
        kill_process(pid.expect("its number"), signal).expect("it runs");
    }

    /// The processes that work somewhere in the data folder.
    pub(super) fn processes(&self) -> Vec<Pid> {
        let Ok(data) = self.data().canonicalize() else { return Vec::new() };
        let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw);
        let works_here = |pid: &Pid| {
            fs::read_link(format!("/proc/{}/cwd", pid.as_raw_pid()))
                .is_ok_and(|folder| folder.starts_with(&data))
        };
        fs::read_dir("/proc").expect("/proc").flatten().filter_map(pid).filter(works_here).collect()
    }

    /// The keepers of a Job: one, or none any more.
    pub(super) fn keepers(&self, job: &str) -> Vec<Pid> {
        let Ok(folder) = self.job(job).canonicalize() else { return Vec::new() };
        let is_its = |pid: &Pid| {
            let command =
                fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_pid())).unwrap_or_default();
            let mut arguments = command.split('\0').skip(1);
            arguments.next() == Some("keeper") && arguments.any(|argument| Path::new(argument) == folder)
        };
        self.processes().into_iter().filter(is_its).collect()
    }

    pub(super) async fn until_nothing_runs(&self) {
        until("nothing runs", || self.processes().is_empty()).await;
    }

    /// The Job once it has ended.
    pub(super) async fn end(&self, cluster: &LocalCluster) -> JobEnd {
        for _ in 0..WAIT.as_millis() / LOOK.as_millis() {
            let listing = cluster.list(Kind::Jobs, Consistency::Quorum).await.expect("a list");
            if let [Object::Job(Job { end: Some(end), .. })] = &listing.objects[..] {
                return end.clone();
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("the Job did not end")
    }

    /// The one pod, once it is as it should be.
    pub(super) async fn pod(&self, cluster: &LocalCluster, fits: impl Fn(&Pod) -> bool) -> Pod {
        let mut last = None;
        for _ in 0..WAIT.as_millis() / LOOK.as_millis() {
            let listing = cluster.list(Kind::Pods, Consistency::Quorum).await.expect("a list");
            if let [Object::Pod(pod)] = &listing.objects[..] {
                if fits(pod) {
                    return pod.clone();
                }
                last = Some(pod.clone());
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("the pod did not become what it should; last seen: {last:?}")
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // A test that failed leaves nothing running either.
        for pid in self.processes() {
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

impl Bench for Local {
    type Cluster = LocalCluster;

    async fn cluster(&mut self) -> LocalCluster {
        self.open()
    }

    async fn finish(&mut self, job: &Job) {
        self.let_finish(job.name.as_str());
    }
}

/// Waits for something that is seen to happen.
pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..WAIT.as_millis() / LOOK.as_millis() {
        if is_so() {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
    panic!("waited in vain until {what}")
}

/// A test that waits on a watch ends too.
pub(super) async fn bounded(test: impl Future<Output = ()>) {
    tokio::time::timeout(WAIT, test).await.expect("it ends");
}
