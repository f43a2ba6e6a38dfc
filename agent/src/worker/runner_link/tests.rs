use tempfile::TempDir;
use tokio::net::UnixListener;

use super::*;

const OUTPUT: u8 = 0x82;

fn frame(message: &ToWorker) -> Vec<u8> {
    message.frame().expect("within bounds")
}

fn hello() -> Vec<u8> {
    let hello = Hello { version: VERSION, uid: 1, gid: 2, path: String::new(), home: String::new() };
    frame(&ToWorker::Hello(hello))
}

fn output(id: u64) -> Vec<u8> {
    frame(&ToWorker::Output { id, bytes: b"x".to_vec() })
}

fn exited(id: u64) -> Vec<u8> {
    let ended = Ended::Code(0);
    frame(&ToWorker::Exited(Exited { id, ended, oom_kills: None, dropped_bytes: 0, survivors: false }))
}

fn command() -> Command {
    let argv = vec!["tool".to_owned()];
    Command { argv, env: BTreeMap::new(), cwd: "/".to_owned(), kind: CommandKind::Tool, state: None }
}

/// A runner that says these bytes and then only listens.
async fn link(says: Vec<u8>) -> Result<(RunnerLink, RunnerEvents), LinkError> {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("runner.sock");
    let listener = UnixListener::bind(&path).expect("listen");
    tokio::spawn(async move {
        let (mut stream, _address) = listener.accept().await.expect("accept");
        stream.write_all(&says).await.expect("write");
        let mut rest = Vec::new();
        let _bytes = stream.read_to_end(&mut rest).await;
    });
    RunnerLink::connect(&path, 0).await
}

/// What the worker hears of a runner that says hello and these, when the first command was started.
async fn heard(says: &[Vec<u8>]) -> Vec<String> {
    let (mut link, mut events) = link([hello(), says.concat()].concat()).await.expect("a link");
    link.exec(command()).await.expect("exec");
    let mut heard = Vec::new();
    for _ in says {
        match events.next().await {
            RunnerEvent::Gone(gone) => {
                heard.push(gone.to_string());
                assert_eq!(events.next().await, RunnerEvent::Gone(gone), "it is gone for good");
                break;
            }
            RunnerEvent::Output { id, .. } => heard.push(format!("output {id}")),
            RunnerEvent::Exited(Exited { id, .. }) => heard.push(format!("exited {id}")),
            RunnerEvent::Failed { id, message, .. } => heard.push(format!("failed {id}: {message}")),
            RunnerEvent::Stopping { .. } => heard.push("stopping".to_owned()),
        }
    }
    heard
}

#[tokio::test]
async fn what_is_in_order_is_passed_on() {
    let stopping = frame(&ToWorker::Stopping { grace_ms: None });
    let (mut link, mut events) =
        link([hello(), output(1), stopping, exited(1), output(2), exited(2)].concat()).await.expect("a link");
    assert_eq!(link.exec(command()).await.expect("exec"), 1);
    assert!(matches!(link.exec(command()).await, Err(LinkError::Busy)));
    assert!(matches!(events.next().await, RunnerEvent::Output { id: 1, .. }));
    assert_eq!(events.next().await, RunnerEvent::Stopping { grace_ms: None });
    assert!(matches!(events.next().await, RunnerEvent::Exited(Exited { id: 1, .. })));
    assert_eq!(link.exec(command()).await.expect("exec"), 2);
    assert!(matches!(events.next().await, RunnerEvent::Output { id: 2, .. }));
    assert!(matches!(events.next().await, RunnerEvent::Exited(Exited { id: 2, .. })));
}

#[tokio::test]
async fn a_hostile_runner_is_gone_at_its_first_word_out_of_order() {
    let nonsense = |what: &str| format!("it broke the protocol: {what}");
    let stopping = || frame(&ToWorker::Stopping { grace_ms: None });
    assert_eq!(heard(&[hello()]).await, [nonsense("a second hello")]);
    assert_eq!(heard(&[output(2)]).await, [nonsense("command 2 is not running")]);
    assert_eq!(heard(&[output(0)]).await, [nonsense("command 0 is not running")]);
    assert_eq!(heard(&[exited(0)]).await, [nonsense("command 0 is not running")]);
    assert_eq!(heard(&[exited(1), output(1)]).await, ["exited 1", &nonsense("command 1 is not running")]);
    assert_eq!(heard(&[exited(1), exited(1)]).await, ["exited 1", &nonsense("command 1 is not running")]);
    assert_eq!(heard(&[stopping(), stopping()]).await, ["stopping", &nonsense("a second stop")]);
    assert_eq!(heard(&[vec![0x7f; 9]]).await, [nonsense("frame of unknown kind 0x7f")]);
    assert_eq!(
        heard(&[vec![OUTPUT, 0xff, 0xff, 0xff, 0xff]]).await,
        [nonsense("frame of kind 0x82 with 4294967295 bytes, 65544 are allowed")]
    );
}

#[tokio::test]
async fn a_message_is_shown_as_one_line() {
    let message = format!("no\n\u{1b}[31mway{}", "!".repeat(5000));
    let heard = heard(&[frame(&ToWorker::Error(Failed { id: 1, code: 127, message }))]).await;
    let shown = heard[0].strip_prefix("failed 1: ").expect("failed");
    assert!(shown.starts_with("no  [31mway!!!"));
    assert_eq!(shown.chars().count(), MESSAGE_CHARS_MAX);
}

#[tokio::test]
async fn without_a_hello_there_is_no_link() {
    assert!(matches!(link(output(0)).await, Err(LinkError::Gone(Gone::Nonsense(_)))));
    assert!(matches!(
        link(b"HTTP/1.1 400 Bad Request".to_vec()).await,
        Err(LinkError::Gone(Gone::Nonsense(_)))
    ));
    let old = Hello { version: VERSION + 1, uid: 1, gid: 2, path: String::new(), home: String::new() };
    assert!(matches!(link(frame(&ToWorker::Hello(old))).await, Err(LinkError::Gone(Gone::Nonsense(_)))));
}

#[tokio::test]
async fn a_socket_that_comes_late_is_waited_for_and_one_that_never_comes_is_not() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("runner.sock");
    let (link, listener) = tokio::join!(RunnerLink::connect(&path, 60_000), async {
        sleep(Duration::from_millis(50)).await;
        let listener = UnixListener::bind(&path).expect("listen");
        let (mut stream, _address) = listener.accept().await.expect("accept");
        stream.write_all(&hello()).await.expect("write");
        (listener, stream)
    });
    link.expect("a link");
    drop(listener);
    let error = RunnerLink::connect(&folder.path().join("never"), 40).await.expect_err("nobody");
    assert_eq!(
        error.to_string(),
        "no runner on its socket after 40 ms: No such file or directory (os error 2)"
    );
}

#[tokio::test]
async fn a_runner_that_closes_is_gone() {
    let (worker, runner) = UnixStream::pair().expect("a pair");
    let (reader, _writer) = worker.into_split();
    let running = Arc::new(AtomicU64::new(NONE));
    let mut events =
        RunnerEvents { reader, decoder: Decoder::default(), running, stopping_said: false, gone: None };
    drop(runner);
    assert_eq!(events.next().await, RunnerEvent::Gone(Gone::Closed));
    assert_eq!(events.next().await, RunnerEvent::Gone(Gone::Closed));
}
