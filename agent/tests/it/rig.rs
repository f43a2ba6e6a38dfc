//! The whole system in one folder, with the real processes: a server, controllers, and all that they start.
//!
//! A story says what happens; the rig waits with a bound, and tells everything that it knows when a story
//! fails. It never mocks a part, and a story never ends before nothing of it is left: no process, no socket,
//! no folder of a run.

mod daemon;
mod line;
mod memory;
mod remains;
mod secrets;
mod server;
mod standin;
mod told;
mod web;

use std::{
    cell::{Ref, RefCell},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use rustix::process::Signal;

pub(crate) use self::{
    daemon::Daemon,
    line::{Line, Passes, Trick},
};
use self::{remains::Remains, web::Web};

/// How long a story waits for anything: many times what it takes on a busy machine, and less than a test may
/// take, so that the rig still tells what it saw.
const WAIT: Duration = Duration::from_secs(40);
/// The same where times have their full length.
const SOAK_WAIT: Duration = Duration::from_mins(15);
const LOOK: Duration = Duration::from_millis(20);

/// The agent's program.
pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_scalr-agent");

/// Statuses in which a run stays.
const OVER: [&str; 5] = ["applied", "planned_and_finished", "errored", "canceled", "discarded"];

/// One server with its agents, and their folder.
pub(crate) struct Rig {
    folder: tempfile::TempDir,
    path: PathBuf,
    server: RefCell<Option<Daemon>>,
    /// Where a server that comes again listens.
    web: RefCell<Option<Web>>,
    serve_args: Vec<String>,
    /// What is between the agents and the server, if anything is.
    line: RefCell<Option<Line>>,
    /// The program that `terraform` is.
    tool: RefCell<PathBuf>,
    controllers: RefCell<Vec<Daemon>>,
    runs: RefCell<Vec<String>>,
}

impl Rig {
    /// A server and a controller with the driver `local`.
    pub(crate) fn new() -> Self {
        let rig = Self::serving(&[]);
        rig.start_controller(&[]);
        rig
    }

    /// A server alone, with these options of `fake-scalr serve`.
    pub(crate) fn serving(args: &[&str]) -> Self {
        // Short, since the sockets of runners lie below it.
        let folder = tempfile::Builder::new().prefix("rig-").tempdir().expect("a folder");
        let path = folder.path().canonicalize().expect("its path");
        for part in ["marks", "configurations"] {
            fs::create_dir(path.join(part)).expect("a folder");
        }
        let rig = Self {
            folder,
            path,
            server: RefCell::default(),
            web: RefCell::default(),
            line: RefCell::default(),
            serve_args: args.iter().map(|&arg| arg.to_owned()).collect(),
            tool: RefCell::new(terraform()),
            controllers: RefCell::default(),
            runs: RefCell::default(),
        };
        rig.start_server();
        rig
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the agent's data are.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// A program with nothing of this process's environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        #[expect(
            clippy::disallowed_methods,
            reason = "tests have no options to read their surroundings for them"
        )]
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command.env_clear().env("PATH", path).env("HOME", &self.path).stdin(Stdio::null());
        command
    }

    /// Starts the server, at the same place when it comes again.
    pub(crate) fn start_server(&self) {
        let credentials = self.path.join("credentials");
        let listen = match &*self.web.borrow() {
            Some(web) => web.address(),
            None => "127.0.0.1:0".to_owned(),
        };
        fs::remove_file(&credentials).ok();
        let mut command = self.command(fake_scalr());
        command.args(["serve", "--listen", &listen, "--tool", "terraform@1.15.5"]);
        command.arg("--data-dir").arg(self.path.join("server"));
        command.arg("--credentials").arg(&credentials).args(&self.serve_args);
        let server = Daemon::start("server", &mut command, &self.path);
        let mut text = String::new();
        self.until("the server is up", || {
            text = fs::read_to_string(&credentials).unwrap_or_default();
            text.contains("SCALR_AGENT_TOKEN=") || server.has_ended()
        });
        assert!(!server.has_ended(), "the server did not come up:\n{}", server.log());
        *self.web.borrow_mut() = Some(Web::new(&text));
        *self.server.borrow_mut() = Some(server);
    }

    /// Sends the server a signal, and waits for its end.
    pub(crate) fn end_server(&self, signal: Signal) -> Option<i32> {
        let server = self.server.borrow_mut().take().expect("it runs");
        server.signal(signal);
        server.ended()
    }

    /// Lays a line between the server and all agents that are started from now on.
    pub(crate) fn lay_line(&self) {
        let server = self.web.borrow().as_ref().expect("a server").address();
        *self.line.borrow_mut() = Some(Line::to(&server));
    }

    /// The line that was laid.
    pub(crate) fn line(&self) -> Ref<'_, Line> {
        Ref::map(self.line.borrow(), |line| line.as_ref().expect("it was laid"))
    }

    /// Starts a controller with the driver `local`; all that are started work in one folder.
    pub(crate) fn start_controller(&self, args: &[&str]) {
        self.start_controller_under("exec \"$@\"", args);
    }

    /// The same, started by a shell script that goes on to `"$@"`: what it sets holds for all Jobs.
    pub(crate) fn start_controller_under(&self, script: &str, args: &[&str]) {
        let agent = self.agent("controller");
        let mut command = self.command("sh");
        command.args(["-c", script, "sh"]).arg(agent.get_program()).args(agent.get_args());
        command.envs(agent.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let stop = if is_soak() { "60s" } else { "20s" };
        command.args(["--driver", "local", "--stop-timeout", stop, "--drain-timeout", "10"]).args(args);
        command.arg("--data-dir").arg(self.data()).arg("--cache-dir").arg(self.path.join("cache"));
        let controller = Daemon::start("controller", &mut command, &self.path);
        self.controllers.borrow_mut().push(controller);
    }

    /// Sends the last controller a signal, and waits for its end: its exit code, or none after a kill.
    pub(crate) fn end_controller(&self, signal: Signal) -> Option<i32> {
        let controller = self.controllers.borrow_mut().pop().expect("one runs");
        controller.signal(signal);
        controller.ended()
    }

    /// Waits until the last controller has ended by itself: its exit code.
    pub(crate) fn await_controller_end(&self) -> Option<i32> {
        let controller = self.controllers.borrow_mut().pop().expect("one runs");
        controller.ended()
    }

    /// Kills all but the server at once, as when a machine loses its power.
    pub(crate) fn end_machine(&self) {
        let server = self.server.borrow().as_ref().map(Daemon::number);
        Remains::kill(&self.path, |pid| Some(pid) != server);
        for controller in self.controllers.take() {
            assert_eq!(controller.ended(), None, "it was killed");
        }
    }

    /// The agent as one of the things that it can be, with what is not for one of them alone.
    pub(crate) fn agent(&self, role: &str) -> Command {
        let web = self.web.borrow();
        let web = web.as_ref().expect("a server");
        let mut command = self.command(AGENT);
        let line = self.line.borrow();
        let url = line.as_ref().map_or_else(|| web.url.clone(), |line| format!("http://{}", line.address));
        command.arg(role).env("SCALR_URL", url).env("SCALR_AGENT_TOKEN", &web.agent_token);
        command.env("SCALR_AGENT_TOOL_PATHS", format!("terraform={}", self.tool.borrow().display()));
        command
    }

    /// What a person types.
    pub(crate) fn person(&self, args: &[&str]) -> Output {
        self.person_command().args(args).output().expect("it can be started")
    }

    /// The program that a person uses, with the server and a token in its environment.
    pub(crate) fn person_command(&self) -> Command {
        let web = self.web.borrow();
        let web = web.as_ref().expect("a server");
        let mut command = self.command(fake_scalr());
        command.env("SCALR_URL", &web.url).env("SCALR_TOKEN", &web.user_token);
        command
    }

    /// What a person types, and it works; what it says on standard output.
    #[track_caller]
    pub(crate) fn does(&self, args: &[&str]) -> String {
        let output = self.person(args);
        let (said, complained) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "fake-scalr {args:?}: {}\n{said}{complained}", output.status);
        said
    }

    /// Submits a folder and does not wait; the run's id.
    #[track_caller]
    pub(crate) fn submit(&self, folder: &Path, args: &[&str]) -> String {
        let folder = folder.display().to_string();
        let said = self.does(&[&["submit", &folder, "--no-wait"], args].concat());
        let run = said.trim().to_owned();
        self.runs.borrow_mut().push(run.clone());
        run
    }

    /// Submits an archive as it is, through the public API; the run's id.
    pub(crate) fn submit_archive(&self, workspace: &str, archive: &[u8]) -> String {
        let run = self.web.borrow().as_ref().expect("a server").submit(workspace, archive);
        self.runs.borrow_mut().push(run.clone());
        run
    }

    /// A configuration of one file, named as its workspace will be.
    pub(crate) fn configuration(&self, name: &str, main: &str) -> PathBuf {
        let folder = self.path.join("configurations").join(name);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("main.tf"), main).expect("a file");
        folder
    }

    /// A configuration whose apply makes one resource, marks `began`, and goes on when `go` is marked.
    pub(crate) fn slow(&self) -> PathBuf {
        let marks = self.path.join("marks");
        let marks = marks.display();
        self.configuration(
            "slow",
            &format!(
                r#"
                resource "terraform_data" "first" {{}}
                resource "terraform_data" "second" {{
                  depends_on = [terraform_data.first]
                  provisioner "local-exec" {{
                    command = "echo began >> {marks}/began; while [ ! -e {marks}/go ]; do sleep 0.05; done"
                  }}
                }}
                "#
            ),
        )
    }

    /// A command that marks `name`, and stays until `go` is marked.
    pub(crate) fn mark_and_wait(&self, name: &str) -> String {
        let (mark, go) = (self.mark_path(name), self.mark_path("go"));
        format!("echo {name} >> {}; while [ ! -e {} ]; do sleep 0.05; done", mark.display(), go.display())
    }

    /// Where a mark is left.
    pub(crate) fn mark_path(&self, name: &str) -> PathBuf {
        self.path.join("marks").join(name)
    }

    /// Leaves a mark.
    pub(crate) fn mark(&self, name: &str) {
        fs::write(self.mark_path(name), "").expect("a mark");
    }

    /// The lines that were left at a mark: how often something happened.
    pub(crate) fn marks(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.mark_path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for a mark.
    #[track_caller]
    pub(crate) fn await_mark(&self, name: &str) {
        self.until(&format!("`{name}` is marked"), || !self.marks(name).is_empty());
    }

    /// The folder of the Job of a run's stage, once it is there.
    #[track_caller]
    pub(crate) fn job(&self, stage: &str) -> PathBuf {
        let mut found = None;
        self.until(&format!("there is a Job of the {stage}"), || {
            let listed = fs::read_dir(self.data().join("jobs")).into_iter().flatten().flatten();
            found = listed.map(|entry| entry.path()).find(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                !name.starts_with('.') && name.contains(stage) && path.join("podinfo/annotations").exists()
            });
            found.is_some()
        });
        found.expect("it was found")
    }

    /// Sends a signal to a process of a Job: `keeper`, `worker` or `runner`.
    #[track_caller]
    pub(crate) fn signal_part(&self, stage: &str, part: &str, signal: Signal) {
        let number = self.job(stage).join(format!("{part}.pid"));
        let mut pid = None;
        self.until(&format!("the {part} has a number"), || {
            pid = daemon::pid(&fs::read_to_string(&number).unwrap_or_default());
            pid.is_some()
        });
        rustix::process::kill_process(pid.expect("its number"), signal).expect("it runs");
    }

    /// Waits until the Job of a stage is over: nothing of it runs, and that is written.
    #[track_caller]
    pub(crate) fn await_job_end(&self, stage: &str) {
        let end = self.job(stage).join("end.json");
        self.until(&format!("the Job of the {stage} has ended"), || end.exists());
    }

    /// The processes of this rig whose command line has all these words.
    pub(crate) fn processes(&self, words: &[&str]) -> Vec<i32> {
        let has_all = |line: &str| words.iter().all(|word| line.contains(word));
        Remains::processes(&self.path)
            .into_iter()
            .filter(|(_, line)| has_all(line))
            .map(|(pid, _)| pid)
            .collect()
    }

    /// Whether nothing more will happen to a run.
    pub(crate) fn is_over(&self, run: &str) -> bool {
        OVER.contains(&self.status(run).as_str())
    }

    /// Waits for something that is seen to happen.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, is_so: impl FnMut() -> bool) {
        assert!(comes_true(is_so), "waited in vain until {what} (in `{}`)", self.path.display());
    }

    /// Ends everything in order, and says what was wrong on the way.
    fn tear_down(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let ours: Vec<i32> = self.daemons(Daemon::number);
        let of_jobs = || Remains::processes(&self.path).into_iter().filter(|(pid, _)| !ours.contains(pid));
        if !comes_true(|| of_jobs().next().is_none()) {
            wrong.extend(of_jobs().map(|(pid, line)| format!("process {pid}: {line}")));
        }
        let mut stop = |daemon: Daemon| {
            daemon.signal(Signal::TERM);
            let code = daemon.ended();
            if code != Some(0) {
                wrong.push(format!("the {} ended with {code:?}:\n{}", daemon.name(), daemon.log()));
            }
        };
        self.controllers.take().into_iter().for_each(&mut stop);
        self.server.take().into_iter().for_each(&mut stop);
        wrong.extend(Remains::of(&self.path, &self.data()).0);
        wrong
    }

    fn daemons<T>(&self, of: impl Fn(&Daemon) -> T) -> Vec<T> {
        self.controllers.borrow().iter().chain(self.server.borrow().iter()).map(of).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let has_failed = thread::panicking();
        let told = if has_failed { self.tell() } else { String::new() };
        let wrong = if has_failed { Vec::new() } else { self.tear_down() };
        Remains::kill(&self.path, |_| true);
        if has_failed {
            eprintln!("{told}");
        } else if !wrong.is_empty() {
            let logs = self.tell_logs();
            panic!("left in `{}`:\n{}\n{logs}", self.folder.path().display(), wrong.join("\n"));
        }
    }
}

/// Whether times have their full length, as `just soak` wants it.
#[expect(clippy::disallowed_methods, reason = "tests have no options to read their surroundings for them")]
pub(crate) fn is_soak() -> bool {
    std::env::var_os("SCALR_SOAK").is_some()
}

/// Lets something last: this long in seconds in a soak, two seconds elsewhere, which is many times as long as
/// the timers of the story are.
pub(crate) fn last(soak_s: u64) {
    thread::sleep(Duration::from_secs(if is_soak() { soak_s } else { 2 }));
}

/// Looks until it is so, or for too long.
fn comes_true(mut is_so: impl FnMut() -> bool) -> bool {
    let wait = if is_soak() { SOAK_WAIT } else { WAIT };
    for _ in 0..wait.as_millis() / LOOK.as_millis() {
        if is_so() {
            return true;
        }
        thread::sleep(LOOK);
    }
    is_so()
}

/// An example of this repository.
pub(crate) fn example(name: &str) -> PathBuf {
    workspace().join("examples").join(name)
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The server's program, beside the agent's.
pub(crate) fn fake_scalr() -> PathBuf {
    let path = Path::new(AGENT).with_file_name("fake-scalr");
    assert!(path.is_file(), "there is no `{}`: cargo build -p fake-scalr", path.display());
    path
}

/// The real tool.
#[expect(clippy::disallowed_methods, reason = "tests have no options to read their surroundings for them")]
fn terraform() -> PathBuf {
    let named = std::env::var_os("TERRAFORM").map(PathBuf::from);
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&in_path).map(|folder| folder.join("terraform"));
    let found = named.into_iter().chain([workspace().join(".tools/bin/terraform")]).chain(in_path);
    found.into_iter().find(|path| path.is_file()).expect(
        "no terraform: name one in TERRAFORM, put it into PATH, or let `./dev test` install it in .tools/bin",
    )
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Without the colours of a terminal: ESC `[` … a letter.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, coloured)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let end = coloured.find(|c: char| c.is_ascii_alphabetic()).map_or(coloured.len(), |at| at + 1);
        rest = &coloured[end..];
    }
    plain + rest
}
