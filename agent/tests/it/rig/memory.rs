//! How much memory the workers of a story took at most, as the kernel counts it for each process: `VmHWM`.
//!
//! Memory is no timing: the kernel's mark only rises, so a look at any later moment of a process's life sees
//! all that it ever had.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::json;

use super::Rig;

/// What a worker may take.
pub(crate) const WORKER_KIB_MAX: u64 = 64 * 1024;
/// How often is looked.
const LOOK: Duration = Duration::from_millis(5);
/// How long each worker's last call is held up, so that it is looked at after all that it did.
const LAST_LOOK_MS: u64 = 150;

/// Looks at the memory of all workers of a rig until it is asked for what was seen.
pub(crate) struct Memory {
    is_over: Arc<AtomicBool>,
    seen: JoinHandle<BTreeMap<String, u64>>,
}

impl Rig {
    /// Watches the memory of all workers from now on.
    pub(crate) fn watch_memory(&self) -> Memory {
        self.fault(&json!({"route": "finish", "kind": "latency", "times": null, "latency-ms": LAST_LOOK_MS}));
        let (is_over, jobs) = (Arc::new(AtomicBool::new(false)), self.data().join("jobs"));
        let until = Arc::clone(&is_over);
        let seen = thread::spawn(move || {
            let mut seen = BTreeMap::new();
            while !until.load(Ordering::Acquire) {
                look(&jobs, &mut seen);
                thread::sleep(LOOK);
            }
            seen
        });
        Memory { is_over, seen }
    }
}

impl Memory {
    /// Asserts that so many workers were seen, and that none took more than it may.
    #[track_caller]
    pub(crate) fn stayed_within_bounds(self, workers: usize) {
        self.is_over.store(true, Ordering::Release);
        let seen = self.seen.join().expect("it only looks");
        assert_eq!(seen.len(), workers, "{seen:?}");
        let most = seen.values().max().copied().unwrap_or_default();
        assert!(most > 0 && most <= WORKER_KIB_MAX, "a worker took {most} KiB: {seen:#?}");
        println!("the largest of {workers} workers took {most} KiB");
    }
}

fn look(jobs: &Path, seen: &mut BTreeMap<String, u64>) {
    for job in fs::read_dir(jobs).into_iter().flatten().flatten() {
        if let Some(kib) = kib(&job.path()) {
            let most = seen.entry(job.file_name().to_string_lossy().into_owned()).or_default();
            *most = kib.max(*most);
        }
    }
}

/// The mark of one Job's worker; none before it is one, and once it is gone.
fn kib(job: &Path) -> Option<u64> {
    let pid: u32 = fs::read_to_string(job.join("worker.pid")).ok()?.trim().parse().ok()?;
    let of = PathBuf::from(format!("/proc/{pid}"));
    // Its number may be another's since.
    let line = fs::read(of.join("cmdline")).ok()?;
    let is_worker = String::from_utf8_lossy(&line).split('\0').nth(1) == Some("worker");
    let status = fs::read_to_string(of.join("status")).ok()?;
    let mark = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    is_worker.then(|| mark.trim().trim_end_matches(" kB").parse().ok()).flatten()
}
