//! Who speaks to sockets and changes files that are another's: user code of one run while another is at work.
//!
//! Here the test itself is that neighbour. It is the same user, as user code of another run is with the local
//! driver, and like that one it is no relative of the run's processes.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use super::{ended, next_run_is_fine, no_token_is_anywhere, obedient, python};
use crate::rig::{Rig, is_soak};

/// Does something over and over while the story goes on.
fn beside<T>(again_and_again: impl Fn() + Sync, story: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let neighbour = scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                again_and_again();
            }
        });
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(story));
        is_over.store(true, Ordering::Release);
        neighbour.join().expect("a neighbour only tries");
        told.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Connects to every runner that listens, often before its worker does, and orders a command of its own.
fn knock(jobs: &Path, knocks: &AtomicU64, heard: &AtomicU64) {
    for job in fs::read_dir(jobs).into_iter().flatten().flatten() {
        let Ok(mut stream) = UnixStream::connect(job.path().join("runner.sock")) else { continue };
        knocks.fetch_add(1, Ordering::Relaxed);
        let exec = br#"{"id":1,"argv":["/bin/true"],"env":{},"cwd":"/","kind":"shell"}"#;
        let frame = [&[1][..], &u32::try_from(exec.len()).unwrap().to_be_bytes(), exec].concat();
        stream.write_all(&frame).ok();
        stream.write_all(&[0xff; 64]).ok();
        stream.set_read_timeout(Some(Duration::from_millis(200))).ok();
        heard.fetch_add(stream.read(&mut [0; 64]).unwrap_or(0) as u64, Ordering::Relaxed);
    }
    thread::sleep(Duration::from_millis(1));
}

#[test]
fn who_knocks_at_every_runner_before_its_worker_does_is_not_let_in() {
    let rig = obedient(&["--concurrency", "2"]);
    let (jobs, knocks, heard) = (rig.data().join("jobs"), AtomicU64::new(0), AtomicU64::new(0));
    let runs = if is_soak() { 40 } else { 4 };
    beside(
        || knock(&jobs, &knocks, &heard),
        || {
            let submit = |n| rig.submit(&rig.scripts(&format!("knocked-{n}"), &[]), &["--dry"]);
            let submitted: Vec<String> = (0..runs).map(submit).collect();
            for run in &submitted {
                rig.await_status(run, "planned_and_finished");
            }
        },
    );
    assert!(knocks.into_inner() > 0, "it came in between");
    assert_eq!(heard.into_inner(), 0, "nobody said a word to it");
    next_run_is_fine(&rig);
}

/// Takes its runner's end of the connection out of it, as a debugger could, and says what no runner says.
const FORGER: &str = r#"
import ctypes, os, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
runner = os.getppid()
pidfd = libc.syscall(434, runner, 0)
taken = 0
for name in os.listdir("/proc/%d/fd" % runner):
  if os.readlink("/proc/%d/fd/%s" % (runner, name)).startswith("socket:"):
    fd = libc.syscall(438, pidfd, int(name), 0)
    if fd >= 0:
      taken += 1
      payload = b"{\"id\":999,\"ended\":{\"code\":0},\"oom_kills\":null,\"dropped_bytes\":0,\"survivors\":false}"
      try: os.write(fd, b"\x83" + struct.pack(">I", len(payload)) + payload + os.urandom(100))
      except OSError: pass
if not taken: sys.exit("the system keeps it from that")
time.sleep(1000)
"#;

#[test]
fn who_speaks_in_his_runners_name_ends_his_own_run() {
    let rig = obedient(&[]);
    let forger = format!("exec {} forger.py", python("").replace(" -c ''", ""));
    // The socket's path leads nowhere while the run is at work.
    let absent = "ls /proc/$PPID/cwd/*.sock >> $marks/sockets 2>/dev/null || :";
    let folder = rig.scripts("forger", &[("init", absent), ("plan", &forger)]);
    fs::write(folder.join("forger.py"), FORGER).unwrap();
    let run = rig.submit(&folder, &["--dry"]);
    let told = ended(&rig, &run);
    assert_eq!(rig.marks("sockets"), [""; 0]);
    let of_a_forger = "errored: the runner is gone: it broke the protocol: command 999 is not running";
    // Where debuggers are kept off (Yama), there is nothing to be taken.
    let is_kept_off = rig.console(&run).contains("the system keeps it from that");
    assert!(told == of_a_forger || is_kept_off, "{told}");
    next_run_is_fine(&rig);
}

/// Puts something else into the place of all that the worker reads of a run, and back.
fn swap(runs: &Path) {
    for run in fs::read_dir(runs).into_iter().flatten().flatten() {
        let run = run.path();
        for name in
            ["data", "config", "data/plan.tfplan", "config/.terraform.lock.hcl", "config/errored.tfstate"]
        {
            let (it, away) = (run.join(name), run.join("tmp").join(name.replace('/', "-")));
            if fs::rename(&it, &away).is_ok() {
                std::os::unix::fs::symlink("/proc/self/environ", &it).ok();
                fs::remove_file(&it).ok();
                fs::rename(&away, &it).ok();
            }
        }
    }
}

#[test]
fn whoever_swaps_files_while_they_are_read_gets_no_other_file_read() {
    let rig = obedient(&["--concurrency", "3"]);
    let memory = rig.watch_memory();
    let place = rig.data().join("runs");
    let runs = if is_soak() { 100 } else { 8 };
    let statuses = beside(
        || swap(&place),
        || {
            let write = "head -c 100000 /dev/urandom > \"$plan\"; echo lock > .terraform.lock.hcl";
            let submit =
                |n| rig.submit(&rig.scripts(&format!("swapped-{n}"), &[("plan", write)]), &["--dry"]);
            let submitted: Vec<String> = (0..runs).map(submit).collect();
            submitted.iter().map(|run| ended(&rig, run)).collect::<Vec<_>>()
        },
    );
    // Some fail, since their files are away just then; none has read what was put there.
    println!("{statuses:#?}");
    no_token_is_anywhere(&rig);
    nothing_of_an_environment(&rig);
    memory.stayed_within_bounds(runs);
    next_run_is_fine(&rig);
}

/// No blob of the server's begins as an environment does.
fn nothing_of_an_environment(rig: &Rig) {
    assert_eq!(rig.found_in("SCALR_AGENT_DATA_DIR="), [""; 0]);
}
