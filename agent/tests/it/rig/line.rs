//! The line between the agents and the server, where a story wants one that can be cut, delayed, lied on.
//!
//! Each connection carries one call, so that what happens to a call happens to nobody else's. It forwards
//! bytes as they are, unless a [`Trick`] is set for the call; what it never does is to try anything again.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How long a held call sleeps between two looks at whether it may go on.
const LOOK: Duration = Duration::from_millis(10);
/// No call of a story has a head longer than this.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What the line lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passes {
    /// All.
    Both,
    /// Nothing: connections break at once.
    Nothing,
    /// Calls arrive when this ends, as packets that are sent again until they come through.
    NoCalls,
    /// Calls arrive, their answers only when this ends.
    NoAnswers,
}

/// What happens to a call.
#[derive(Clone, Debug)]
pub(crate) enum Trick {
    /// It never comes to the server; this is the whole answer, head and all.
    Answer(Vec<u8>),
    /// It never comes to the server; this is the answer's begin, and then these bytes for ever.
    Endless(Vec<u8>, Vec<u8>),
    /// It never comes to the server; this is the answer's begin, and nothing follows.
    Silence(Vec<u8>),
    /// The server does it, and this is answered instead of what it says.
    Instead(Vec<u8>),
    /// In the server's answer the first text becomes the second. Both have the same length.
    Exchange(&'static str, &'static str),
    /// The server does it; the answer is cut after this many bytes.
    Cut(usize),
}

/// A call to which something happens.
#[derive(Debug)]
struct Rule {
    method: &'static str,
    path_end: &'static str,
    trick: Trick,
    times: usize,
}

#[derive(Debug)]
struct Shared {
    server: String,
    passes: Mutex<Passes>,
    rules: Mutex<Vec<Rule>>,
    calls: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

/// One such line; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) address: String,
    shared: Arc<Shared>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// A line to a server's address.
    pub(crate) fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            passes: Mutex::new(Passes::Both),
            rules: Mutex::default(),
            calls: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let of_line = Arc::clone(&shared);
        thread::spawn(move || {
            for call in listener.incoming().flatten() {
                if of_line.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&of_line);
                // What breaks here breaks for both ends: that is what the line is for.
                thread::spawn(move || shared.carry(call).ok());
            }
        });
        Self { address, shared }
    }

    /// From now on this much passes.
    pub(crate) fn passes(&self, passes: Passes) {
        *held(&self.shared.passes) = passes;
    }

    /// The next `times` calls of this method whose path ends so meet a trick.
    pub(crate) fn trick(&self, method: &'static str, path_end: &'static str, times: usize, trick: Trick) {
        held(&self.shared.rules).push(Rule { method, path_end, trick, times });
    }

    /// How many calls of this method, whose path ends so, came until now.
    pub(crate) fn calls(&self, method: &str, path_end: &str) -> usize {
        let is_meant = |call: &&String| call.starts_with(method) && call.ends_with(path_end);
        held(&self.shared.calls).iter().filter(is_meant).count()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // So that the listener looks.
        TcpStream::connect(&self.address).ok();
    }
}

impl Shared {
    fn carry(&self, mut caller: TcpStream) -> std::io::Result<()> {
        self.wait_until_not(Passes::NoCalls);
        let head = read_head(&mut caller)?;
        let mut words = head.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let path = path.split('?').next().unwrap_or_default();
        held(&self.calls).push(format!("{method} {path}"));
        if *held(&self.passes) == Passes::Nothing {
            return Ok(());
        }
        match self.drawn(method, path) {
            Some(Trick::Answer(answer)) => caller.write_all(&answer),
            Some(Trick::Silence(begin)) => {
                caller.write_all(&begin)?;
                self.hold(&mut caller);
                Ok(())
            }
            Some(Trick::Endless(begin, piece)) => {
                caller.write_all(&begin)?;
                while !self.is_over.load(Ordering::Relaxed) {
                    caller.write_all(&piece)?;
                }
                Ok(())
            }
            Some(Trick::Instead(answer)) => {
                self.forward(&mut caller, &head)?;
                caller.write_all(&answer)
            }
            Some(Trick::Exchange(from, to)) => {
                let answer = self.forward(&mut caller, &head)?;
                caller.write_all(&exchanged(&answer, from.as_bytes(), to.as_bytes()))
            }
            Some(Trick::Cut(bytes)) => {
                let answer = self.forward(&mut caller, &head)?;
                caller.write_all(answer.get(..bytes).unwrap_or(&answer))
            }
            None => {
                let answer = self.forward(&mut caller, &head)?;
                caller.write_all(&answer)
            }
        }
    }

    /// Brings a call to the server: the whole answer, when answers pass.
    fn forward(&self, caller: &mut TcpStream, head: &str) -> std::io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(&self.server)?;
        let (first, rest) = head.split_once("\r\n").unwrap_or((head, "\r\n"));
        // One call a connection: the answer ends where the connection does.
        write!(server, "{first}\r\nconnection: close\r\n{rest}")?;
        let (mut from, mut to) = (caller.try_clone()?, server.try_clone()?);
        let body = thread::spawn(move || {
            std::io::copy(&mut from, &mut to).ok();
            // The caller is gone, or we have told it that we read no more: the answer is there then.
            to.shutdown(Shutdown::Both).ok();
        });
        let mut answer = Vec::new();
        let read = server.read_to_end(&mut answer);
        caller.shutdown(Shutdown::Read).ok();
        body.join().ok();
        read?;
        self.wait_until_not(Passes::NoAnswers);
        if *held(&self.passes) == Passes::Nothing { Ok(Vec::new()) } else { Ok(answer) }
    }

    fn drawn(&self, method: &str, path: &str) -> Option<Trick> {
        let mut rules = held(&self.rules);
        let fits =
            |rule: &&mut Rule| rule.times > 0 && rule.method == method && path.ends_with(rule.path_end);
        let rule = rules.iter_mut().find(fits)?;
        rule.times -= 1;
        Some(rule.trick.clone())
    }

    fn wait_until_not(&self, passes: Passes) {
        while *held(&self.passes) == passes && !self.is_over.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
        }
    }

    /// Until the caller has enough, or the story is over.
    fn hold(&self, caller: &mut TcpStream) {
        caller.set_read_timeout(Some(LOOK)).expect("a time");
        let mut bytes = [0; 4096];
        while !self.is_over.load(Ordering::Relaxed) {
            match caller.read(&mut bytes) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

/// The head of a call, without headers that speak of the connection.
fn read_head(caller: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0; 1];
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        if caller.read(&mut byte)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn exchanged(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "a length is announced in the head");
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(from.len()).position(|window| window == from) {
        bytes[at + found..at + found + to.len()].copy_from_slice(to);
        at += found + to.len();
    }
    bytes
}
