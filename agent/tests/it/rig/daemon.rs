//! A process that runs beside the story, with its log in a file.

use std::{
    cell::RefCell,
    fs::{self, File},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use rustix::process::{Pid, Signal, kill_process};

use super::comes_true;

/// One such process. Dropping it leaves it to the rig's teardown.
pub(crate) struct Daemon {
    name: String,
    child: RefCell<Child>,
    log: PathBuf,
}

impl Daemon {
    /// Starts it; what it says is appended to `<name>.log`.
    pub(crate) fn start(name: &str, command: &mut Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).expect("a log");
        command.stdout(file.try_clone().expect("a log")).stderr(file);
        let child = command.spawn().expect("it can be started");
        Self { name: name.to_owned(), child: RefCell::new(child), log }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn number(&self) -> i32 {
        self.pid().as_raw_pid()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child.borrow())
    }

    /// Everything that it said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if !self.has_ended() {
            kill_process(self.pid(), signal).expect("our own child");
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.child.borrow_mut().try_wait().expect("our own child").is_some()
    }

    /// Waits for its end: the exit code; none if a signal ended it.
    #[track_caller]
    pub(crate) fn ended(&self) -> Option<i32> {
        assert!(comes_true(|| self.has_ended()), "the {} does not end:\n{}", self.name, self.log());
        let status = self.child.borrow_mut().wait().expect("our own child");
        assert!(status.code().is_some() || status.signal() == Some(9), "{}: {status}", self.name);
        status.code()
    }
}

/// A number as the folder of a Job has it.
pub(super) fn pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.trim().parse().ok()?)
}
