//! Who is signalled, and with what.

use rustix::process::Signal as Unix;
use scalr_agent::worker::runner_link::{CommandKind, Ended, RunnerEvent, Signal};

use super::bench::{Bench, Runner, content, lives};

/// A leader and its child, in one group, who say what they get, until the file `go` is there.
const FAMILY: &str = r"
import os, signal, time
def report(who):
    for name in ('SIGINT', 'SIGTERM'):
        said = f'{who} {name}\n'.encode()
        signal.signal(getattr(signal, name), lambda *_, said=said: os.write(1, said))
    os.write(1, f'{who} ready\n'.encode())
if os.fork():
    report('leader')
else:
    report('child')
while not os.path.exists('go'):
    time.sleep(0.01)
";

#[tokio::test]
async fn a_tool_is_interrupted_once_and_its_children_are_not() {
    let mut bench = Bench::start().await;
    let id = bench.link.exec(bench.python(CommandKind::Tool, FAMILY)).await.expect("exec");
    assert_eq!(bench.lines(2).await, ["child ready", "leader ready"]);
    bench.link.signal(id, Signal::Interrupt).await.expect("signal");
    assert_eq!(bench.lines(1).await, ["leader SIGINT"]);
    bench.link.signal(id, Signal::Interrupt).await.expect("signal");
    bench.link.signal(id, Signal::Terminate).await.expect("signal");
    std::fs::write(bench.runner.path("go"), "").expect("go");
    let run = bench.rest(id).await;
    assert_eq!((run.text().as_str(), run.ended()), ("", Ended::Code(0)));
    bench.bye().await;
}

#[tokio::test]
async fn a_hook_is_interrupted_terminated_and_killed_with_its_group() {
    let mut bench = Bench::start().await;
    let id = bench.link.exec(bench.python(CommandKind::Hook, FAMILY)).await.expect("exec");
    assert_eq!(bench.lines(2).await, ["child ready", "leader ready"]);
    bench.link.signal(id, Signal::Interrupt).await.expect("signal");
    assert_eq!(bench.lines(2).await, ["child SIGINT", "leader SIGINT"]);
    bench.link.signal(id, Signal::Terminate).await.expect("signal");
    assert_eq!(bench.lines(2).await, ["child SIGTERM", "leader SIGTERM"]);
    bench.link.signal(id, Signal::Kill).await.expect("signal");
    let run = bench.rest(id).await;
    assert_eq!((run.text().as_str(), run.ended()), ("", Ended::Signal(9)));
    bench.bye().await;
}

/// Leaves its group, its session and its parent; holds the pipe unless told otherwise.
fn daemon(redirect: &str) -> String {
    format!(
        "(setsid sh -c 'echo $$ > pid; exec sleep 1000' {redirect} &)
        while [ ! -s pid ]; do sleep 0.01; done"
    )
}

#[tokio::test]
async fn a_kill_reaches_who_has_forked_away() {
    let mut bench = Bench::start().await;
    let script = format!("{}; echo ready; exec sleep 1000", daemon(""));
    let id = bench.link.exec(bench.sh(&script)).await.expect("exec");
    assert_eq!(bench.lines(1).await, ["ready"]);
    let pid = content(&bench.runner.path("pid")).await;
    assert!(lives(&pid));
    bench.link.signal(id, Signal::Kill).await.expect("signal");
    let run = bench.rest(id).await;
    assert_eq!((run.ended(), run.exited.survivors), (Ended::Signal(9), false));
    assert!(!lives(&pid));
    bench.bye().await;
}

#[tokio::test]
async fn what_a_command_leaves_behind_is_killed_before_its_end_is_told() {
    let mut bench = Bench::start().await;
    for redirect in ["", "> /dev/null 2>&1"] {
        let run = bench.run(bench.sh(&format!("{}; echo over; exit 5", daemon(redirect)))).await;
        assert_eq!((run.text().as_str(), run.ended()), ("over\n", Ended::Code(5)));
        let pid = content(&bench.runner.path("pid")).await;
        assert!(!lives(&pid), "redirected by `{redirect}`");
        std::fs::remove_file(bench.runner.path("pid")).expect("remove");
    }
    bench.bye().await;
}

#[tokio::test]
async fn what_ends_by_itself_after_its_leader_is_waited_for() {
    let mut bench = Bench::start().await;
    let run = bench.run(bench.sh("(sleep 0.2; echo last) & echo first")).await;
    assert_eq!((run.text().as_str(), run.ended()), ("first\nlast\n", Ended::Code(0)));
    bench.bye().await;
}

#[tokio::test]
async fn a_crowd_that_keeps_forking_is_killed_to_the_last() {
    let mut bench = Bench::start().await;
    // Each waits for none of its children, and ends: pids move on all the time.
    let script = "echo ready; f() { sleep 0.002; f & f2=$!; }; f; f; f; sleep 1000";
    let id = bench.link.exec(bench.sh(script)).await.expect("exec");
    assert_eq!(bench.lines(1).await, ["ready"]);
    bench.link.signal(id, Signal::Kill).await.expect("signal");
    let run = bench.rest(id).await;
    assert_eq!((run.ended(), run.exited.survivors), (Ended::Signal(9), false));
    bench.bye().await;
}

#[tokio::test]
async fn a_terminated_runner_tells_its_worker_and_does_nothing_else() {
    let mut bench = Bench::start().await;
    let id = bench.link.exec(bench.python(CommandKind::Tool, FAMILY)).await.expect("exec");
    assert_eq!(bench.lines(2).await, ["child ready", "leader ready"]);
    bench.runner.signal(Unix::TERM);
    assert_eq!(bench.next().await, RunnerEvent::Stopping { grace_ms: Some(30_000) });
    bench.runner.signal(Unix::TERM);
    std::fs::write(bench.runner.path("go"), "").expect("go");
    let run = bench.rest(id).await;
    assert_eq!((run.text().as_str(), run.ended()), ("", Ended::Code(0)));
    bench.bye().await;
}

#[tokio::test]
async fn a_runner_that_nobody_came_to_stops_at_once() {
    let mut runner = Runner::start();
    while !runner.socket.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    runner.signal(Unix::TERM);
    assert_eq!(runner.exit_code().await, Some(0));
    assert!(!runner.socket.exists());
}

/// At its first interrupt talks more than any pipe holds, then counts what comes, and ends when told to.
const STOPS_WELL: &str = r"
import os, signal, time
interrupts = 0
def interrupt(*_):
    global interrupts
    interrupts += 1
signal.signal(signal.SIGINT, interrupt)
signal.signal(signal.SIGTERM, interrupt)
print('ready', flush=True)
while not interrupts:
    time.sleep(0.01)
for _ in range(64):
    os.write(1, b'x' * 65536)
open('stopping', 'w').write('yes\n')
while not os.path.exists('go'):
    time.sleep(0.01)
open('interrupts', 'w').write(f'{interrupts}\n')
";

#[tokio::test]
async fn a_tool_that_lost_its_worker_is_interrupted_once_and_waited_for() {
    let mut bench = Bench::start().await;
    bench.link.exec(bench.python(CommandKind::Tool, STOPS_WELL)).await.expect("exec");
    assert_eq!(bench.lines(1).await, ["ready"]);
    let Bench { mut runner, link, events } = bench;
    drop((link, events));
    content(&runner.path("stopping")).await;
    // Also the pod's end is no second interrupt.
    runner.signal(Unix::TERM);
    std::fs::write(runner.path("go"), "").expect("go");
    assert_eq!(runner.exit_code().await, Some(1));
    assert_eq!(content(&runner.path("interrupts")).await, "1\n");
}

#[tokio::test]
async fn a_worker_lost_after_its_interrupt_is_no_second_one() {
    let mut bench = Bench::start().await;
    let id = bench.link.exec(bench.python(CommandKind::Tool, STOPS_WELL)).await.expect("exec");
    assert_eq!(bench.lines(1).await, ["ready"]);
    bench.link.signal(id, Signal::Interrupt).await.expect("signal");
    let Bench { mut runner, link, events } = bench;
    drop((link, events));
    content(&runner.path("stopping")).await;
    std::fs::write(runner.path("go"), "").expect("go");
    assert_eq!(runner.exit_code().await, Some(1));
    assert_eq!(content(&runner.path("interrupts")).await, "1\n");
}

#[tokio::test]
async fn a_tool_that_lost_its_worker_and_does_not_stop_is_killed_with_all_it_has() {
    let mut bench = Runner::start_with("", 300).connect().await;
    let script = format!("trap '' INT; {}; echo ready; while :; do sleep 1; done", daemon(""));
    bench.link.exec(bench.sh(&script)).await.expect("exec");
    assert_eq!(bench.lines(1).await, ["ready"]);
    let Bench { mut runner, link, events } = bench;
    drop((link, events));
    assert_eq!(runner.exit_code().await, Some(1));
    assert!(!lives(&content(&runner.path("pid")).await));
}
