//! What a command says reaches the worker: whole, in order, and no faster than it is taken.

use std::time::Duration;

use scalr_agent::worker::runner_link::{CommandKind, Ended, RunnerEvent, Signal};

use super::bench::{Bench, OWN_VARIABLE, content};

#[tokio::test]
async fn output_and_errors_keep_their_order() {
    let mut bench = Bench::start().await;
    let script = "i=0; while [ $i -lt 300 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let run = bench.run(bench.sh(script)).await;
    let expected: Vec<String> = (0..300).flat_map(|i| [format!("out {i}"), format!("err {i}")]).collect();
    assert_eq!(run.text().lines().collect::<Vec<_>>(), expected);
    bench.bye().await;
}

#[tokio::test]
async fn ten_megabytes_of_anything_arrive_as_they_were() {
    let mut bench = Bench::start().await;
    let run = bench.run(bench.sh("head -c 10485760 /dev/urandom | tee copy")).await;
    assert_eq!(run.output.len(), 10 * 1024 * 1024);
    assert!(run.output == std::fs::read(bench.runner.path("copy")).expect("the copy"));
    assert_eq!(run.ended(), Ended::Code(0));
    bench.bye().await;
}

#[tokio::test]
async fn a_command_gets_exactly_its_environment_and_no_input() {
    let mut bench = Bench::start().await;
    let mut command = bench.command(CommandKind::Tool, &["/usr/bin/env"]);
    command.env = [("ONLY".to_owned(), "this".to_owned())].into();
    assert_eq!(bench.run(command).await.text(), "ONLY=this\n");
    let run = bench.run(bench.sh(&format!("cat; echo ${{{OWN_VARIABLE}-none}}"))).await;
    assert_eq!(run.text(), "none\n");
    bench.bye().await;
}

#[tokio::test]
async fn says_who_it_is() {
    let bench = Bench::start().await;
    let hello = bench.link.hello();
    assert_eq!(hello.uid, rustix::process::geteuid().as_raw());
    assert_eq!(hello.gid, rustix::process::getegid().as_raw());
    assert_eq!((hello.path.as_str(), hello.home.as_str()), ("/image/bin", "/image/home"));
    bench.bye().await;
}

/// Writes 16 MiB in pieces of 4 KiB, and keeps count in a file of eight bytes.
const COUNTED: &str = r"
import os
with open('count', 'wb', buffering=0) as count:
    for i in range(4096):
        os.write(1, b'x' * 4096)
        os.pwrite(count.fileno(), (4096 * (i + 1)).to_bytes(8, 'little'), 0)
";
/// What the pipe (64 KiB), the runner (192 KiB) and the socket (some 400 KiB) may hold, with room.
const UNDERWAY_BYTES_MAX: u64 = 2 * 1024 * 1024;

#[tokio::test]
async fn a_tool_is_no_faster_than_its_worker() {
    let mut bench = Bench::start().await;
    let id = bench.link.exec(bench.python(CommandKind::Tool, COUNTED)).await.expect("exec");
    let count = bench.runner.path("count");
    let written = || {
        let count = std::fs::read(&count).unwrap_or_default();
        count.first_chunk().map_or(0, |count| u64::from_le_bytes(*count))
    };
    while written() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Time in which a tool that nobody slows writes everything; what is judged is how much it wrote.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut taken = 0;
    let exited = loop {
        assert!(written() <= taken + UNDERWAY_BYTES_MAX, "{} written, {taken} taken", written());
        match bench.next().await {
            RunnerEvent::Output { bytes, .. } => taken += bytes.len() as u64,
            RunnerEvent::Exited(exited) => break exited,
            other @ (RunnerEvent::Failed { .. } | RunnerEvent::Stopping { .. } | RunnerEvent::Gone(_)) => {
                panic!("{other:?}")
            }
        }
    };
    assert_eq!((exited.id, exited.dropped_bytes, taken), (id, 0, 16 * 1024 * 1024));
    bench.bye().await;
}

/// Says `ready`, and at the interrupt writes 32 MiB and a file.
const TALKS_AT_THE_END: &str = r"
import os, signal, sys
def stop(*_):
    rest = 32 * 1024 * 1024
    while rest:
        rest -= os.write(1, b'x' * min(rest, 65536))
    open('over', 'w').write('over\n')
    os._exit(3)
signal.signal(signal.SIGINT, stop)
print('ready', flush=True)
while True:
    signal.pause()
";

#[tokio::test]
async fn a_tool_that_stops_is_never_slowed_by_a_worker_that_takes_nothing() {
    let mut bench = Bench::start().await;
    let id = bench.link.exec(bench.python(CommandKind::Tool, TALKS_AT_THE_END)).await.expect("exec");
    assert_eq!(bench.lines(1).await, ["ready"]);
    bench.link.signal(id, Signal::Interrupt).await.expect("signal");
    // Nothing is taken meanwhile.
    content(&bench.runner.path("over")).await;
    let run = bench.rest(id).await;
    assert_eq!(run.ended(), Ended::Code(3));
    assert!(run.exited.dropped_bytes > 0);
    assert_eq!(run.output.len() as u64 + run.exited.dropped_bytes, 32 * 1024 * 1024);
    bench.bye().await;
}

#[tokio::test]
async fn a_worker_that_takes_all_loses_nothing_of_a_stop() {
    let mut bench = Bench::start().await;
    let id = bench.link.exec(bench.python(CommandKind::Tool, TALKS_AT_THE_END)).await.expect("exec");
    assert_eq!(bench.lines(1).await, ["ready"]);
    bench.link.drain(id).await.expect("drain");
    bench.link.signal(id, Signal::Interrupt).await.expect("signal");
    let run = bench.rest(id).await;
    assert_eq!((run.exited.dropped_bytes, run.output.len()), (0, 32 * 1024 * 1024));
    bench.bye().await;
}
