use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::process::{WaitOptions, waitpid};
use tempfile::TempDir;

use super::*;

/// Says what it gets, until the file `go` is there.
const LISTENS: &str = "trap 'echo INT' INT; trap 'echo TERM' TERM; echo ready > ready
while [ ! -e go ]; do sleep 0.01; done; true";

/// What a command of this kind says to these signals, sent one by one.
fn said(kind: CommandKind, signals: &[Signal]) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let _entered = runtime.enter();
    let folder = TempDir::new().expect("a folder");
    let exec = Exec {
        id: 1,
        argv: ["sh", "-c", LISTENS].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        cwd: folder.path().to_str().expect("text").to_owned(),
        kind,
        state: None,
    };
    let (mut process, output) = Process::start(&exec).expect("a process");
    while !folder.path().join("ready").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    for signal in signals {
        process.signal(*signal);
    }
    fs::write(folder.path().join("go"), "").expect("go");
    let (pid, status) =
        waitpid(Some(process.leader), WaitOptions::empty()).expect("a child").expect("a status");
    process.note_end(pid, status);
    assert_eq!(process.ended(), Some(Ended::Code(0)));
    // Its pid is free now: nothing may be sent to it any more.
    process.signal(Signal::Interrupt);
    let output: OwnedFd = output.into_blocking_fd().expect("a pipe");
    let mut said = String::new();
    fs::File::from(output).read_to_string(&mut said).expect("text");
    said
}

#[test]
fn a_tool_gets_one_interrupt_in_its_life_and_no_sigterm() {
    use Signal::{Interrupt, Kill, Terminate};
    assert_eq!(said(CommandKind::Tool, &[Terminate]), "");
    assert_eq!(said(CommandKind::Tool, &[Terminate, Interrupt, Kill]), "INT\n");
}

#[test]
fn a_hook_gets_what_is_sent() {
    use Signal::{Interrupt, Terminate};
    for kind in [CommandKind::Hook, CommandKind::Shell] {
        assert_eq!(said(kind, &[Interrupt]), "INT\n");
        // The shell itself may say that its `sleep` was terminated.
        assert!(said(kind, &[Terminate]).ends_with("TERM\n"));
    }
}
