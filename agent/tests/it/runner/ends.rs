//! How commands and visits begin and end.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use expect_test::expect;
use scalr_agent::worker::runner_link::{Command, CommandKind, Ended, LinkError, RunnerEvent, RunnerLink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::bench::{Bench, Runner, within};

#[tokio::test]
async fn tells_codes_and_signals() {
    let mut bench = Bench::start().await;
    for code in [0, 1, 2, 7, 255] {
        assert_eq!(bench.run(bench.sh(&format!("exit {code}"))).await.ended(), Ended::Code(code));
    }
    for signal in [9, 11, 15] {
        assert_eq!(bench.run(bench.sh(&format!("kill -{signal} $$"))).await.ended(), Ended::Signal(signal));
    }
    bench.bye().await;
}

#[tokio::test]
async fn a_command_that_can_not_start_says_why_and_the_next_one_starts() {
    let mut bench = Bench::start().await;
    let folder = bench.runner.folder.path().to_str().expect("text").to_owned();
    let write = |name: &str, content: &str, mode: u32| {
        std::fs::write(bench.runner.path(name), content).expect("write");
        std::fs::set_permissions(bench.runner.path(name), PermissionsExt::from_mode(mode)).expect("chmod");
    };
    write("plain", "#!/bin/sh\n", 0o644);
    write("orphaned", "#!/no/such/interpreter\n", 0o755);
    let tool = |argv: &[&str]| Command {
        env: [("PATH".to_owned(), "/nowhere:/bin".to_owned())].into(),
        ..bench.command(CommandKind::Tool, argv)
    };
    let commands = [
        tool(&["no-such-tool"]),
        tool(&["/no/such/tool"]),
        tool(&["./plain"]),
        tool(&["./orphaned"]),
        tool(&["/"]),
        tool(&["a\0b"]),
        tool(&[]),
        Command { cwd: format!("{folder}/missing"), ..tool(&["true"]) },
        Command { cwd: format!("{folder}/plain"), ..tool(&["true"]) },
        Command { cwd: ".".to_owned(), ..tool(&["true"]) },
    ];
    let mut said = String::new();
    for command in commands {
        bench.link.exec(command).await.expect("exec");
        let RunnerEvent::Failed { code, message, .. } = bench.next().await else { panic!("it started") };
        writeln!(said, "{code} {}", message.replace(&folder, "FOLDER")).expect("a string");
    }
    expect![[r"
        127 `no-such-tool`: not found in PATH `/nowhere:/bin`
        127 `/no/such/tool`: not found
        126 `./plain`: not executable
        127 `./orphaned`: its interpreter was not found
        126 `/`: not executable
        126 `a b`: nul byte found in provided data
        1 no program: argv is empty
        1 `FOLDER/missing`: no such folder to start in
        1 `FOLDER/plain`: no such folder to start in
        1 `.`: no such folder to start in
    "]]
    .assert_eq(&said);
    assert_eq!(bench.run(bench.sh("echo well")).await.text(), "well\n");
    bench.bye().await;
}

#[tokio::test]
async fn a_program_that_is_found_later_in_the_path_runs() {
    let mut bench = Bench::start().await;
    let mut command = bench.command(CommandKind::Shell, &["tool", "a b", "c"]);
    let script = "#!/bin/sh\nfor a; do echo \"[$a]\"; done\n";
    std::fs::create_dir(bench.runner.path("bin")).expect("mkdir");
    std::fs::write(bench.runner.path("bin/tool"), script).expect("write");
    std::fs::set_permissions(bench.runner.path("bin/tool"), PermissionsExt::from_mode(0o755)).expect("chmod");
    let path = format!("/nowhere:{}", bench.runner.path("bin").display());
    command.env = [("PATH".to_owned(), path)].into();
    assert_eq!(bench.run(command).await.text(), "[a b]\n[c]\n");
    bench.bye().await;
}

#[tokio::test]
async fn one_command_runs_at_a_time() {
    let mut bench = Bench::start().await;
    let id = bench.link.exec(bench.sh("while [ ! -e go ]; do sleep 0.01; done")).await.expect("exec");
    assert!(matches!(bench.link.exec(bench.sh("true")).await, Err(LinkError::Busy)));
    std::fs::write(bench.runner.path("go"), "").expect("go");
    assert_eq!(bench.rest(id).await.ended(), Ended::Code(0));
    assert_eq!(bench.run(bench.sh("true")).await.ended(), Ended::Code(0));
    bench.bye().await;
}

#[tokio::test]
async fn arguments_and_environment_as_large_as_linux_takes_them_pass() {
    let mut bench = Bench::start().await;
    let mut command = bench.sh("echo ${#LARGE_0} ${#LARGE_9}");
    for i in 0..10 {
        command.env.insert(format!("LARGE_{i}"), "x".repeat(120 * 1024));
    }
    assert_eq!(bench.run(command.clone()).await.text(), "122880 122880\n");
    command.env.insert("LARGE_9".to_owned(), "x".repeat(4 * 1024 * 1024));
    assert!(matches!(bench.link.exec(command).await, Err(LinkError::DoesNotFit(_))));
    bench.bye().await;
}

#[tokio::test]
async fn a_deep_socket_path_will_do() {
    let below = "a-folder-name-of-some-length/".repeat(8);
    let mut bench = Runner::start_with(&below, 1_000).connect().await;
    assert!(bench.runner.socket.as_os_str().len() > 200);
    assert_eq!(bench.run(bench.sh("echo deep")).await.text(), "deep\n");
    assert!(!bench.runner.socket.exists());
    bench.bye().await;
}

#[tokio::test]
async fn takes_one_connection_and_removes_the_socket() {
    let bench = Bench::start().await;
    assert!(!bench.runner.socket.exists());
    let second = RunnerLink::connect(&bench.runner.socket, 0).await;
    assert!(matches!(second, Err(LinkError::NoRunner { waited_ms: 0, .. })));
    bench.bye().await;
}

#[tokio::test]
async fn who_queued_for_the_socket_is_refused() {
    let runner = Runner::start();
    // It is bound a moment before it is listened on.
    let mut visitors = vec![persistent(&runner).await];
    for _ in 0..3 {
        // Nobody may be there any more.
        if let Ok(visitor) = UnixStream::connect(&runner.socket).await {
            visitors.push(visitor);
        }
    }
    let mut greeted = 0;
    let mut kept = Vec::new();
    for mut visitor in visitors {
        let mut first = [0];
        if matches!(within(visitor.read(&mut first)).await, Ok(1)) {
            greeted += 1;
            kept.push(visitor);
        }
    }
    assert_eq!(greeted, 1);
    drop(kept);
}

#[tokio::test]
async fn a_worker_lost_before_any_command_leaves_nothing_to_do() {
    let Bench { mut runner, link, events } = Bench::start().await;
    drop((link, events));
    assert_eq!(runner.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_worker_that_makes_no_sense_ends_the_visit() {
    let mut runner = Runner::start();
    let mut visitor = persistent(&runner).await;
    visitor.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("write");
    assert_eq!(runner.exit_code().await, Some(2));
}

/// A connection without the link's manners.
async fn persistent(runner: &Runner) -> UnixStream {
    let connected = async {
        loop {
            match UnixStream::connect(&runner.socket).await {
                Ok(visitor) => return visitor,
                Err(_not_yet) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    within(connected).await
}
