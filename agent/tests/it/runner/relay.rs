//! The relay between a tool and its state, against a server that says what it is told to.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use expect_test::{Expect, expect};
use rustix::process::Signal as Unix;
use scalr_agent::worker::runner_link::{Command, CommandKind, Signal, StateOrder};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::bench::{Bench, Runner, content};

const PATH: &str = "/api/agent/v1/workspaces/ws-1/state";

/// What the server does with one call, once it has read it.
#[derive(Clone, Debug)]
enum Says {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Nothing, and goes.
    HangsUp,
    /// Nothing, and stays.
    Nothing,
}

/// A call as it came: its first line, what is of interest in its head, its body.
#[derive(Clone, Debug)]
struct Call {
    line: String,
    head: String,
    bytes: usize,
    sha256: [u8; 32],
}

#[derive(Debug, Default)]
struct Server {
    script: Mutex<VecDeque<Says>>,
    calls: Mutex<Vec<Call>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer of Scalr's.
fn scalr(status: &str, headers: &str, body: &[u8]) -> Says {
    stranger(status, &format!("agent-protocol: 0.1\r\n{headers}"), body)
}

fn stranger(status: &str, headers: &str, body: &[u8]) -> Says {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    Says::Bytes([head.as_bytes(), body].concat())
}

impl Server {
    /// Says these, one after the other, and then `200` for ever. Its address.
    async fn that_says(script: impl Into<VecDeque<Says>>) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let server = Arc::new(Self { script: Mutex::new(script.into()), calls: Mutex::default() });
        let serving = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((call, _)) = listener.accept().await {
                // What breaks off is given up.
                tokio::spawn(Arc::clone(&serving).answer(call));
            }
        });
        (server, address)
    }

    async fn answer(self: Arc<Self>, mut stream: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).expect("text");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().expect("a number"));
        let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; 64 * 1024]);
        while bytes < length {
            let read = stream.read(&mut piece).await?;
            if read == 0 {
                return Ok(());
            }
            hash.update(&piece[..read]);
            bytes += read;
        }
        let line = head.lines().next().unwrap_or_default().to_owned();
        held(&self.calls).push(Call { line, head, bytes, sha256: hash.finalize().into() });
        let says = held(&self.script).pop_front().unwrap_or_else(|| scalr("200 OK", "", b""));
        match says {
            Says::Bytes(bytes) => stream.write_all(&bytes).await,
            Says::HangsUp => Ok(()),
            Says::Nothing => stream.read_u8().await.map(drop),
        }
    }

    fn calls(&self) -> Vec<Call> {
        held(&self.calls).clone()
    }

    async fn until_called(&self, times: usize) {
        while self.calls().len() < times {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

/// Makes calls as a tool would: `call(method, path, body)` says the status and the body.
const TOOL: &str = r"
import http.client, os, signal, sys, urllib.parse
signal.signal(signal.SIGINT, signal.SIG_IGN)
state = urllib.parse.urlparse(os.environ['TF_HTTP_ADDRESS'])
def call(method, path=state.path, body=None, headers={}):
    connection = http.client.HTTPConnection(state.hostname, state.port)
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers
def show(*asked, **more):
    status, body, _ = call(*asked, **more)
    print(status, body.decode(), flush=True)
";

/// A tool whose state is that server's.
fn tool(bench: &Bench, address: &str, run: &str, script: &str) -> Command {
    let upstream = format!("http://{address}{PATH}");
    let mut command = bench.python(CommandKind::Tool, &format!("{TOOL}{script}"));
    command.env.insert("TF_HTTP_ADDRESS".to_owned(), upstream.clone());
    let spool = bench.runner.folder.path().to_str().expect("text").to_owned();
    // Others run these tests on this machine too.
    let run = format!("{run}-{}", std::process::id());
    command.state = Some(StateOrder { run, upstream, spool, authorities: None });
    command
}

/// What a tool says that makes these calls, and the calls that the server saw.
async fn check(run: &str, script: &str, says: Vec<Says>, expected: Expect) {
    let mut bench = Bench::start().await;
    let (server, address) = Server::that_says(says).await;
    let ran = bench.run(tool(&bench, &address, run, script)).await;
    let mut told = ran.text();
    for Call { line, head, bytes, .. } in server.calls() {
        let _ = writeln!(told, "> {line} ({bytes} bytes)");
        for name in ["authorization", "content-md5"] {
            if let Some(header) = head.lines().find(|line| line.to_lowercase().starts_with(name)) {
                let _ = writeln!(told, ">   {header}");
            }
        }
    }
    bench.bye().await;
    expected.assert_eq(&told);
}

#[tokio::test]
async fn what_scalr_answers_is_passed_on_as_it_is() {
    let script = "
show('GET', headers={'Authorization': 'Basic eDp5'})
show('GET')
status, body, headers = call('GET')
print(status, body.decode(), headers['content-type'], headers['x-own'])
show('LOCK', body='{}', headers={'Content-MD5': 'abc'})
show('POST', state.path + '?ID=1%202', body='{\"serial\":1}')
show('UNLOCK', body='')
for _ in range(3): show('GET')
";
    let says = vec![
        scalr("204 No Content", "", b""),
        scalr("404 Not Found", "", b""),
        scalr(
            "200 OK",
            "content-type: application/json\r\nx-own: yes\r\nconnection: close\r\n",
            b"{\"a\":1}",
        ),
        scalr("423 Locked", "", b"{\"ID\":\"held\"}"),
        scalr("409 Conflict", "", b"no"),
        scalr("200 OK", "", b""),
        scalr("401 Unauthorized", "", b"who?"),
        scalr("307 Temporary Redirect", "location: https://elsewhere.example/state\r\n", b""),
        scalr("413 Payload Too Large", "", b""),
    ];
    let expected = expect![[r#"
        204 
        404 
        200 {"a":1} application/json yes
        423 {"ID":"held"}
        409 no
        200 
        401 who?
        307 
        413 
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
        >   authorization: Basic eDp5
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
        > LOCK /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (2 bytes)
        >   content-md5: abc
        > POST /api/agent/v1/workspaces/ws-1/state?ID=1%202 HTTP/1.1 (12 bytes)
        > UNLOCK /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
    "#]];
    check("run-passes", script, says, expected).await;
}

#[tokio::test]
async fn what_a_stranger_answers_is_not_passed_on_but_asked_again() {
    let says = vec![
        stranger("404 Not Found", "", b"default backend"),
        stranger("200 OK", "", b"sign in"),
        stranger("401 Unauthorized", "", b"who?"),
        scalr("200 OK", "", b"the state"),
    ];
    check(
        "run-strangers",
        "show('GET')",
        says,
        expect![[r"
        Scalr does not answer (200 OK, and not from Scalr): reading the state is tried until it does.
        Scalr answers again: reading the state goes on.
        200 the state
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
    "]],
    )
    .await;
}

#[tokio::test]
async fn what_does_not_come_whole_is_asked_again() {
    let cut = b"HTTP/1.1 200 OK\r\nagent-protocol: 0.1\r\ncontent-length: 9\r\n\r\nhalf";
    let says = vec![Says::HangsUp, Says::Bytes(cut.to_vec()), scalr("200 OK", "", b"the state")];
    check("run-broken", "show('GET')", says, expect![[r"
        Scalr does not answer (end of file before message length reached): reading the state is tried until it does.
        Scalr answers again: reading the state goes on.
        200 the state
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
    "]]).await;
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again() {
    let says = vec![
        scalr("503 Service Unavailable", "", b""),
        scalr("429 Too Many Requests", "retry-after: 1\r\n", b""),
        scalr("200 OK", "", b""),
    ];
    check(
        "run-trouble",
        "show('LOCK', body='{}')",
        says,
        expect![[r"
        Scalr does not answer (429 Too Many Requests): locking the state is tried until it does.
        Scalr answers again: locking the state goes on.
        200 
        > LOCK /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (2 bytes)
        > LOCK /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (2 bytes)
        > LOCK /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (2 bytes)
    "]],
    )
    .await;
}

/// A secret that is told in two pieces is masked only where nothing comes in between.
#[tokio::test]
async fn what_is_said_of_an_outage_never_comes_within_a_line() {
    let script = "
print('open ses', end='', flush=True)
call('GET')
print('ame', flush=True)
";
    let expected = expect![[r"
        open sesame
        Scalr does not answer (503 Service Unavailable): reading the state is tried until it does.
        Scalr answers again: reading the state goes on.
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
    "]];
    let trouble = || scalr("503 Service Unavailable", "", b"");
    check("run-within-a-line", script, vec![trouble(), trouble()], expected).await;
}

#[tokio::test]
async fn what_is_no_call_for_the_state_is_refused() {
    let script = "
show('GET', '/api/agent/v1/workspaces/ws-2/state')
show('GET', '/')
show('GET', 'http://elsewhere.example' + state.path + 's')
for method in ['PUT', 'DELETE', 'HEAD', 'OPTIONS']: show(method)
show('GET')
";
    let expected = expect![[r"
        403 this relay is for the state of one run and for nothing else

        403 this relay is for the state of one run and for nothing else

        403 this relay is for the state of one run and for nothing else

        405 a state is read, written, locked and unlocked

        405 a state is read, written, locked and unlocked

        405 
        405 a state is read, written, locked and unlocked

        200 
        > GET /api/agent/v1/workspaces/ws-1/state HTTP/1.1 (0 bytes)
    "]];
    check("run-foreign", script, vec![], expected).await;
}

/// Saves a state that nobody takes, and marks what came of it.
const SAVES: &str = "
open('saves', 'w').write('yes\\n')
status, body, _ = call('POST', body='x' * 100000)
open('saved', 'w').write(f'{status} {body.decode()}')
";

#[tokio::test]
async fn from_an_interrupt_on_the_tool_is_told_that_there_is_no_answer() {
    let mut bench = Bench::start().await;
    let (server, address) = Server::that_says(vec![Says::Nothing; 9]).await;
    let command = tool(&bench, &address, "run-interrupted", &format!("{SAVES}show('UNLOCK')"));
    let id = bench.link.exec(command).await.expect("exec");
    server.until_called(1).await;
    bench.link.signal(id, Signal::Interrupt).await.expect("signal");
    let run = bench.rest(id).await;
    assert_eq!(content(&bench.runner.path("saved")).await, "424 Scalr has not answered\n");
    assert!(run.text().contains("424 Scalr has not answered"), "{}", run.text());
    assert_eq!(server.calls().len(), 2, "the one that was there, and one for the next");
    bench.bye().await;
}

#[tokio::test]
async fn from_a_sigterm_on_too_and_the_next_command_is_in_haste_as_well() {
    let mut bench = Bench::start().await;
    let (server, address) = Server::that_says(vec![Says::Nothing; 9]).await;
    let command = tool(&bench, &address, "run-terminated", SAVES);
    let id = bench.link.exec(command).await.expect("exec");
    server.until_called(1).await;
    bench.runner.signal(Unix::TERM);
    assert!(matches!(bench.next().await, scalr_agent::worker::runner_link::RunnerEvent::Stopping { .. }));
    bench.rest(id).await;
    assert_eq!(content(&bench.runner.path("saved")).await, "424 Scalr has not answered\n");
    let run = bench.run(tool(&bench, &address, "run-terminated", "show('LOCK')")).await;
    assert!(run.text().ends_with("424 Scalr has not answered\n\n"), "{}", run.text());
    // What is answered is passed on all the same.
    held(&server.script).clear();
    let run = bench.run(tool(&bench, &address, "run-terminated", "show('POST', body='x')")).await;
    assert_eq!(run.text(), "200 \n");
    bench.bye().await;
}

#[tokio::test]
async fn without_a_worker_the_state_is_held_until_it_is_saved() {
    let mut bench = Bench::start().await;
    let (server, address) = Server::that_says(vec![scalr("503 Unavailable", "", b""); 3]).await;
    bench.link.exec(tool(&bench, &address, "run-alone", SAVES)).await.expect("exec");
    server.until_called(1).await;
    let Bench { mut runner, link, events } = bench;
    drop((link, events));
    assert_eq!(runner.exit_code().await, Some(1));
    assert_eq!(std::fs::read_to_string(runner.path("saved")).expect("it was saved"), "200 ");
    let calls = server.calls();
    assert_eq!(calls.len(), 4);
    assert!(calls.iter().all(|call| call.sha256 == calls[0].sha256 && call.bytes == 100_000));
}

#[tokio::test]
async fn without_a_worker_and_without_time_it_is_given_up() {
    // Half of it is for the tool's own end.
    let mut bench = Runner::start_with("", 6_000).connect().await;
    let (server, address) = Server::that_says(vec![scalr("503 Unavailable", "", b""); 99]).await;
    bench.link.exec(tool(&bench, &address, "run-late", SAVES)).await.expect("exec");
    server.until_called(1).await;
    let Bench { mut runner, link, events } = bench;
    drop((link, events));
    assert_eq!(runner.exit_code().await, Some(1));
    assert_eq!(
        std::fs::read_to_string(runner.path("saved")).expect("it was told"),
        "424 Scalr has not answered\n"
    );
}

#[tokio::test]
async fn where_somebody_else_listens_the_tool_asks_scalr_itself_and_that_is_said() {
    let mut bench = Bench::start().await;
    let (server, address) = Server::that_says(vec![]).await;
    let address_of = bench.run(tool(&bench, &address, "run-taken", "print(state.netloc)")).await.text();
    assert!(address_of.starts_with("127."), "{address_of}");
    let _squatter = std::net::TcpListener::bind(address_of.trim()).expect("nobody listens any more");
    let run = bench.run(tool(&bench, &address, "run-taken", "show('GET'); print(state.netloc)")).await;
    let text = run.text().replace(address_of.trim(), "RELAY").replace(&address, "SERVER");
    expect![[r"
        There is no relay for the state (RELAY can't be listened on: Address already in use (os error 98)): the tool asks Scalr itself.
        200 
        SERVER
    "]].assert_eq(&text);
    assert_eq!(server.calls().len(), 1);
    bench.bye().await;
}

#[tokio::test]
async fn two_runs_at_a_time_have_a_relay_each_and_one_run_always_has_the_same() {
    let (mut one, mut two) = (Bench::start().await, Bench::start().await);
    let (server, address) = Server::that_says(vec![Says::Nothing, Says::Nothing]).await;
    let mut addresses = BTreeMap::new();
    let script = "print(state.netloc, flush=True); show('GET')";
    let of_one = one.link.exec(tool(&one, &address, "run-one", script)).await.expect("exec");
    let of_two = two.link.exec(tool(&two, &address, "run-two", script)).await.expect("exec");
    addresses.insert("one", one.lines(1).await);
    addresses.insert("two", two.lines(1).await);
    assert_ne!(addresses["one"], addresses["two"]);
    server.until_called(2).await;
    one.link.signal(of_one, Signal::Interrupt).await.expect("signal");
    one.rest(of_one).await;
    two.link.signal(of_two, Signal::Kill).await.expect("signal");
    two.rest(of_two).await;
    // Another process of the same run, as plan and apply are.
    let again = two.run(tool(&two, &address, "run-one", "print(state.netloc)")).await;
    assert_eq!(again.text().trim(), addresses["one"][0]);
    one.bye().await;
    two.bye().await;
}

/// Serves HTTPS as `localhost`, whose certificate an authority of these tests has signed. Says its port.
const TLS_SERVER: &str = r"
import http.server, ssl, sys
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('agent-protocol', '0.1')
        self.send_header('content-length', '9')
        self.end_headers()
        self.wfile.write(b'the state')
    def log_message(self, *_): pass
server = http.server.HTTPServer(('127.0.0.1', 0), Answers)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('server.pem')
server.socket = context.wrap_socket(server.socket, server_side=True)
open('port.new', 'w').write(f'{server.server_port}\n')
import os; os.rename('port.new', 'port')
server.serve_forever()
";

#[tokio::test]
async fn over_tls_who_is_trusted_answers_and_who_is_not_is_no_outage() {
    let mut bench = Bench::start().await;
    let folder = bench.runner.folder.path().to_owned();
    std::fs::write(folder.join("server.pem"), include_str!("tls/server.pem")).expect("a certificate");
    std::fs::write(folder.join("ca.pem"), include_str!("tls/ca.pem")).expect("an authority");
    let mut server = std::process::Command::new("python3");
    let mut server = server.args(["-c", TLS_SERVER]).current_dir(&folder).spawn().expect("a server");
    let port = content(&bench.runner.path("port")).await;
    let mut asks = tool(&bench, "nowhere", "run-tls", "show('GET')");
    if let Some(state) = &mut asks.state {
        state.upstream = format!("https://localhost:{}{PATH}", port.trim());
    }
    let mut trusting = asks.clone();
    let authority = folder.join("ca.pem").display().to_string();
    trusting.env.insert("SSL_CERT_FILE".to_owned(), authority);
    assert_eq!(bench.run(trusting).await.text(), "200 the state\n");
    // The authorities of this machine, whatever they are, have not signed it.
    let nobody = folder.join("nobody");
    std::fs::create_dir(&nobody).expect("a folder");
    asks.env.insert("SSL_CERT_FILE".to_owned(), folder.join("server.pem").display().to_string());
    asks.env.insert("SSL_CERT_DIR".to_owned(), nobody.display().to_string());
    expect![[r"
        Scalr does not answer (invalid peer certificate: UnknownIssuer): reading the state is tried until it does.
        Scalr is not trusted (invalid peer certificate: UnknownIssuer): reading the state is given up.
        424 Scalr has not answered

    "]].assert_eq(&bench.run(asks.clone()).await.text());
    // Whom the worker trusts counts more than what the image has.
    if let Some(state) = &mut asks.state {
        state.authorities = Some(include_str!("tls/ca.pem").to_owned());
    }
    assert_eq!(bench.run(asks).await.text(), "200 the state\n");
    server.kill().expect("our own child");
    server.wait().expect("its end");
    bench.bye().await;
}

/// The most memory that a process has had at once, in KiB.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test]
async fn a_large_state_goes_both_ways_and_again_without_being_held_in_memory() {
    const BYTES: usize = 96 * 1024 * 1024;
    let mut bench = Bench::start().await;
    let pid = bench.runner.process.id();
    let state: Vec<u8> = (0..BYTES).map(|at| b"0123456789abcdef"[(at / 7) % 16]).collect();
    let says = vec![scalr("503 Unavailable", "", b""), Says::HangsUp, scalr("200 OK", "", b"")];
    let (server, address) = Server::that_says(says).await;
    held(&server.script).push_back(scalr("200 OK", "", &state));
    let small = bench.run(tool(&bench, &address, "run-large", "")).await;
    assert_eq!(small.text(), "");
    let before_kib = peak_kib(pid);
    let script = format!(
        "
import hashlib
state = bytes(b'0123456789abcdef'[(at // 7) % 16] for at in range(16 * 7)) * ({BYTES} // 112 + 1)
print(call('POST', body=state[:{BYTES}])[0])
print(hashlib.sha256(call('GET')[1]).hexdigest())
"
    );
    // The script's own name for the address is taken by the state.
    let script = script.replace("state", "large");
    let run = bench.run(tool(&bench, &address, "run-large", &script)).await;
    let sha256: [u8; 32] = Sha256::digest(&state).into();
    let hex = sha256.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let text = run.text();
    assert!(text.contains("200\n") && text.contains(&hex), "{text}");
    let calls = server.calls();
    assert_eq!(calls.len(), 4);
    assert!(calls[..3].iter().all(|call| call.bytes == BYTES && call.sha256 == sha256));
    let grown_kib = peak_kib(pid).saturating_sub(before_kib);
    assert!(grown_kib < 16 * 1024, "the runner has grown by {grown_kib} KiB");
    let left = std::fs::read_dir(bench.runner.folder.path()).expect("a list").flatten();
    let left: Vec<String> = left.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(left, [] as [String; 0], "nothing is left on the disk");
    bench.bye().await;
}
