//! What a story has left behind: processes that name its folder, sockets, folders of runs.

use std::{fs, os::unix::fs::FileTypeExt as _, path::Path};

use rustix::process::{Pid, Signal, kill_process};

/// How deep sockets are looked for: `data/jobs/JOB/runner.sock`, and as much again.
const DEPTH_MAX: u32 = 8;

/// What is left, a line each.
pub(super) struct Remains(pub(super) Vec<String>);

impl Remains {
    /// Looks for everything.
    pub(super) fn of(folder: &Path, data: &Path) -> Self {
        let mut left: Vec<String> =
            Self::processes(folder).into_iter().map(|(pid, line)| format!("process {pid}: {line}")).collect();
        sockets(folder, DEPTH_MAX, &mut left);
        let runs = fs::read_dir(data.join("runs")).into_iter().flatten().flatten();
        let runs = runs.filter(|entry| entry.file_name() != ".scalr-agent");
        left.extend(runs.map(|entry| format!("the folder of a run: {}", entry.path().display())));
        Self(left)
    }

    /// The processes whose command line, environment or working folder names this folder.
    pub(super) fn processes(folder: &Path) -> Vec<(i32, String)> {
        let name = folder.display().to_string();
        let listed = fs::read_dir("/proc").expect("/proc").flatten();
        let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
        let read = |pid: i32, file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let line = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', " ").trim().to_owned();
        listed
            .filter_map(pid)
            .filter(|pid| {
                let works_here = fs::read_link(format!("/proc/{pid}/cwd"))
                    .is_ok_and(|works_in| works_in.starts_with(folder));
                works_here
                    || ["cmdline", "environ"].iter().any(|file| line(&read(*pid, file)).contains(&name))
            })
            // Of one that only waits to be reaped nothing can be read any more.
            .map(|pid| (pid, line(&read(pid, "cmdline"))))
            .collect()
    }

    /// Kills whatever there still is and `is_meant`. Stops all first, so that none sees another die.
    pub(super) fn kill(folder: &Path, is_meant: impl Fn(i32) -> bool) {
        let left = || Self::processes(folder).into_iter().filter(|(pid, _)| is_meant(*pid));
        for signal in [Signal::STOP, Signal::KILL] {
            for pid in left().filter_map(|(pid, _)| Pid::from_raw(pid)) {
                kill_process(pid, signal).ok();
            }
        }
    }
}

fn sockets(folder: &Path, depth: u32, left: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_socket() => left.push(format!("a socket: {}", entry.path().display())),
            Ok(kind) if kind.is_dir() && depth > 0 => sockets(&entry.path(), depth - 1, left),
            Ok(_) | Err(_) => {}
        }
    }
}

#[test]
fn what_is_left_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().canonicalize().expect("its path");
    let run = path.join("data/runs/run-1");
    fs::create_dir_all(&run).expect("a folder");
    let socket = path.join("left.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let mut sleep = std::process::Command::new("sleep");
    let mut left = sleep.arg("60").env("MARK", &path).spawn().expect("a process");
    let mut found = Remains::of(&path, &path.join("data")).0.join("\n");
    Remains::kill(&path, |_| true);
    left.wait().expect("it was killed");
    for (text, name) in [(path.display().to_string(), "DIR"), (left.id().to_string(), "PID")] {
        found = found.replace(&text, name);
    }
    expect_test::expect![[r"
        process PID: sleep 60
        a socket: DIR/left.sock
        the folder of a run: DIR/data/runs/run-1"]]
    .assert_eq(&found);
    assert_eq!(Remains::processes(&path), []);
}
