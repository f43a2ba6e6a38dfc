//! What `submit` and `logs` do when somebody leaves: the person, or whoever reads what they print.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::{
    commands::{APPLY, PLAN, agent, command, example},
    durability::{Served, binary},
    fixture::USER,
};

/// A command whose output nobody reads.
async fn unread(served: &Served, dir: &TempDir, words: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = binary();
    command.args(words).current_dir(dir.path()).stdin(Stdio::null()).stdout(writer);
    command.env("SCALR_URL", &served.url).env("SCALR_TOKEN", USER);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test]
async fn when_nobody_reads_submit_still_ends_as_its_run_does_and_logs_ends_quietly() {
    let (dir, data) = (example(), TempDir::new().unwrap());
    let served = Served::start(data.path()).await;
    let words = ["submit", "demo", "--auto-apply"];
    let (output, ()) = tokio::join!(unread(&served, &dir, &words), agent(&served, &[PLAN, APPLY]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let (run, _) = said.split_once(':').unwrap();
    assert!(said.ends_with(&format!("{run}: applied\n")), "{said}");

    let logs = unread(&served, &dir, &["logs", run]).await;
    assert_eq!((logs.status.code(), logs.stderr.as_slice()), (Some(0), &b""[..]), "{logs:?}");
    let logs = command(&served, dir.path(), &["logs", run]).await;
    assert_eq!(logs.stdout, format!("{}{}", PLAN.console, APPLY.console).as_bytes());
}

#[tokio::test]
async fn when_the_person_leaves_submit_says_what_goes_on_and_how_to_end_it() {
    let (dir, data) = (example(), TempDir::new().unwrap());
    let served = Served::start(data.path()).await;
    let mut submit = binary();
    submit.args(["submit", "demo"]).current_dir(dir.path()).stdin(Stdio::null());
    submit.env("SCALR_URL", &served.url).env("SCALR_TOKEN", USER);
    submit.stdout(Stdio::null()).stderr(Stdio::piped());
    let left = move || {
        let mut child = submit.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        // A reason that stands is said, and then nothing more comes.
        while !said.contains(": waiting: ") {
            assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
        }
        let kill = format!("kill -INT {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        stderr.read_to_string(&mut said).unwrap();
        (child.wait().unwrap().code(), said)
    };
    let (code, said) = tokio::task::spawn_blocking(left).await.unwrap();
    let (run, _) = said.split_once(':').unwrap();
    let lines: Vec<_> = said.lines().map(|line| line.replace(run, "RUN")).collect();
    assert_eq!(
        lines,
        [
            "RUN: created in workspace demo",
            "RUN: changes will wait for `fake-scalr approve RUN`; submit with --auto-apply to go on without",
            "RUN: plan_queued",
            "RUN: waiting: queued: no agent of the pool is online",
            "fake-scalr: interrupted; what was submitted goes on (`fake-scalr cancel RUN` ends it)",
        ]
    );
    assert_eq!(code, Some(1));
}
