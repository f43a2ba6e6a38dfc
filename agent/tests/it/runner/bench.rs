//! A runner process, a folder for it, and a worker's link to it.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use scalr_agent::runner;
use scalr_agent::worker::runner_link::{
    Command, CommandKind, Ended, Exited, RunnerEvent, RunnerEvents, RunnerLink,
};
use tempfile::TempDir;

/// Nothing here takes so long; a bench that hangs fails by it.
const WAIT_MS: u64 = 60_000;
/// Where the child process finds its part.
const SOCKET: &str = "TEST_RUNNER_SOCKET";
const ORPHAN_WAIT: &str = "TEST_RUNNER_ORPHAN_WAIT_MS";
/// Never to be seen by a command.
pub(super) const OWN_VARIABLE: &str = "TEST_RUNNER_OWN";

pub(super) struct Runner {
    pub(super) folder: TempDir,
    pub(super) socket: PathBuf,
    pub(super) process: Child,
}

pub(super) struct Bench {
    pub(super) runner: Runner,
    pub(super) link: RunnerLink,
    pub(super) events: RunnerEvents,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) output: Vec<u8>,
    pub(super) exited: Exited,
}

impl Run {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.output.clone()).expect("text")
    }

    pub(super) fn ended(&self) -> Ended {
        self.exited.ended
    }
}

impl Runner {
    pub(super) fn start() -> Self {
        Self::start_with("", runner::ORPHAN_WAIT_MS)
    }

    /// Starts it with its socket in a folder below.
    pub(super) fn start_with(below: &str, orphan_wait_ms: u64) -> Self {
        let folder = TempDir::new().expect("a folder");
        let socket = folder.path().join(below).join("runner.sock");
        std::fs::create_dir_all(socket.parent().expect("a parent")).expect("mkdir");
        let process = std::process::Command::new(std::env::current_exe().expect("own path"))
            .args(["--exact", "runner::bench::is_the_runner_process", "--ignored", "--nocapture"])
            .env(SOCKET, &socket)
            .env(ORPHAN_WAIT, orphan_wait_ms.to_string())
            .env(OWN_VARIABLE, "secret")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("a runner");
        Self { folder, socket, process }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) async fn connect(self) -> Bench {
        let (link, events) = RunnerLink::connect(&self.socket, WAIT_MS).await.expect("a link");
        Bench { runner: self, link, events }
    }

    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).expect("the runner is there");
    }

    /// Its exit code, once it has one.
    pub(super) async fn exit_code(&mut self) -> Option<i32> {
        let exited = async {
            loop {
                if let Some(status) = self.process.try_wait().expect("a status") {
                    return status.code();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(exited).await
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // A test that failed half-way; after one that did not it is gone already.
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}

impl Bench {
    pub(super) async fn start() -> Self {
        Runner::start().connect().await
    }

    /// A command with a `PATH` in the bench's folder.
    pub(super) fn command(&self, kind: CommandKind, argv: &[&str]) -> Command {
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        Command {
            argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
            env: [("PATH".to_owned(), path.to_owned())].into(),
            cwd: self.runner.folder.path().to_str().expect("text").to_owned(),
            kind,
            state: None,
        }
    }

    pub(super) fn sh(&self, script: &str) -> Command {
        self.command(CommandKind::Tool, &["sh", "-c", script])
    }

    pub(super) fn python(&self, kind: CommandKind, script: &str) -> Command {
        self.command(kind, &["python3", "-c", script])
    }

    pub(super) async fn next(&mut self) -> RunnerEvent {
        within(self.events.next()).await
    }

    pub(super) async fn run(&mut self, command: Command) -> Run {
        let id = self.link.exec(command).await.expect("exec");
        self.rest(id).await
    }

    /// Everything until the command's end.
    pub(super) async fn rest(&mut self, id: u64) -> Run {
        let mut output = Vec::new();
        loop {
            match self.next().await {
                RunnerEvent::Output { id: of, bytes } => {
                    assert_eq!(of, id);
                    output.extend(bytes);
                }
                RunnerEvent::Exited(exited) => {
                    assert_eq!(exited.id, id);
                    return Run { output, exited };
                }
                other
                @ (RunnerEvent::Failed { .. } | RunnerEvent::Stopping { .. } | RunnerEvent::Gone(_)) => {
                    panic!("{other:?} after {output:?}")
                }
            }
        }
    }

    /// Takes output until it holds `count` lines, and gives them sorted.
    pub(super) async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut output = String::new();
        while output.lines().count() < count || !output.ends_with('\n') {
            match self.next().await {
                RunnerEvent::Output { bytes, .. } => output.push_str(str::from_utf8(&bytes).expect("text")),
                other @ (RunnerEvent::Exited(_)
                | RunnerEvent::Failed { .. }
                | RunnerEvent::Stopping { .. }
                | RunnerEvent::Gone(_)) => {
                    panic!("{other:?} after {output:?}")
                }
            }
        }
        let mut lines: Vec<String> = output.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Says goodbye, and sees the runner off.
    pub(super) async fn bye(mut self) {
        self.link.bye().await.expect("bye");
        assert_eq!(self.runner.exit_code().await, Some(0));
    }
}

/// The future's value; a hang is a failure.
pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_millis(WAIT_MS), future).await.expect("in time")
}

/// The content of a file, once it has one that ends a line.
pub(super) async fn content(path: &Path) -> String {
    let written = async {
        loop {
            match std::fs::read_to_string(path) {
                Ok(content) if content.ends_with('\n') => return content,
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    within(written).await
}

/// Whether a process is there and not merely unburied.
pub(super) fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_name, rest)| !rest.starts_with('Z'))
}

/// Not a test: the process that the benches start, in which the real runner runs.
#[test]
#[ignore = "the other tests start it as a process of its own"]
#[expect(clippy::disallowed_methods, reason = "how a bench tells its child process what to do")]
fn is_the_runner_process() {
    let variable = |name| std::env::var(name).expect("started by a bench");
    let options = runner::Options {
        socket: variable(SOCKET).into(),
        connect_wait_ms: WAIT_MS,
        orphan_wait_ms: variable(ORPHAN_WAIT).parse().expect("a number"),
        grace_ms: Some(30_000),
        path: "/image/bin".to_owned(),
        home: "/image/home".to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let code = match runtime.block_on(runner::run(options)) {
        Ok(code) if code == std::process::ExitCode::SUCCESS => 0,
        Ok(_failure) => 1,
        Err(error) => {
            eprintln!("{error:#}");
            2
        }
    };
    std::process::exit(code);
}
