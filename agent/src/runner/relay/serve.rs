//! What the tool reaches: listens, lets in calls for the one state, holds each until there is an answer.

use std::{
    convert::Infallible,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use scalr_core::clock::{Clock as _, Millis};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    patience::{Held, Mood, Next},
    spool::{Body, Spool, SpoolError},
    upstream::{Answer, Asked, Fruitless, Moved, Upstream},
};
use crate::clock::BootClock;

/// Connections at once: a tool has one or two, and a hook may start tools of its own.
const CONNECTIONS_MAX: usize = 16;
/// How long the head of a call, or the next piece of its body, may take: both come from this machine.
const TOOL_SILENCE_MS_MAX: u64 = 60_000;
/// How often a try is looked at.
const LOOK_MS: u64 = 50;
/// How long nobody is let in after the kernel refused to: it is out of descriptors.
const BREATH_MS: u64 = 100;
/// From how many fruitless tries on people are told: one may be a server that restarts.
const TELL_AFTER: u32 = 2;
/// After how many tries a server that nobody here trusts is believed to stay so, if it was never trusted. An
/// ingress that restarts shows a certificate of its own for a moment.
const UNTRUSTED_MAX: u32 = 3;
/// No answer of Scalr's has it. The tool takes it for final, and never, as a 404, for an empty state.
const NO_ANSWER: StatusCode = StatusCode::FAILED_DEPENDENCY;

type Reply = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// What a relay knows.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) upstream: Upstream,
    /// The state's path, at Scalr and here.
    pub(super) path: String,
    pub(super) mood: watch::Receiver<Mood>,
    /// Where bodies are kept.
    pub(super) folder: PathBuf,
    /// What people should read, a line each.
    pub(super) notes: mpsc::Sender<String>,
    /// Whether Scalr has ever answered.
    pub(super) was_answered: AtomicBool,
    /// Whether people know that a call was given up: in a stop there is one after the other.
    pub(super) gave_up: AtomicBool,
}

/// Lets calls in until it is aborted.
pub(super) async fn serve(listener: TcpListener, door: Door) {
    let door = Arc::new(door);
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _address)) => {
                connections.spawn(converse(stream, Arc::clone(&door)));
            }
            Err(error) => {
                tracing::warn!(%error, "the relay can't let a call in");
                sleep(Duration::from_millis(BREATH_MS)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(stream: TcpStream, door: Arc<Door>) {
    let answer = |request| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(door.answer(request).await) }
    };
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(Duration::from_millis(TOOL_SILENCE_MS_MAX));
    // A tool that was killed hangs up: what it asked for is then given up with the connection.
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await {
        tracing::debug!(%error, "a call broke off");
    }
}

/// What a call is to the state; none for what no tool asks.
fn purpose(method: &Method) -> Option<&'static str> {
    match method.as_str() {
        "GET" => Some("reading the state"),
        "POST" => Some("saving the state"),
        "LOCK" => Some("locking the state"),
        "UNLOCK" => Some("unlocking the state"),
        _ => None,
    }
}

impl Door {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (head, mut incoming) = request.into_parts();
        if head.uri.path() != self.path {
            return refusal(
                StatusCode::FORBIDDEN,
                "this relay is for the state of one run and for nothing else\n",
            );
        }
        let Some(purpose) = purpose(&head.method) else {
            return refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "a state is read, written, locked and unlocked\n",
            );
        };
        let body = match self.take(&mut incoming).await {
            Ok(body) => body,
            Err(Some(SpoolError::TooLarge)) => {
                return refusal(StatusCode::PAYLOAD_TOO_LARGE, "the state is too large\n");
            }
            Err(Some(error @ SpoolError::Disk(_))) => {
                self.tell(format!("{purpose} failed: {error}"));
                return refusal(StatusCode::INSUFFICIENT_STORAGE, "the state can't be kept on its way\n");
            }
            Err(None) => return refusal(StatusCode::BAD_REQUEST, "the call broke off\n"),
        };
        let query = head.uri.query().map(str::to_owned);
        let asked = Asked { method: head.method, query, headers: head.headers, body };
        match self.hold(&asked, purpose).await {
            Some(answer) => reply(answer),
            None => refusal(NO_ANSWER, "Scalr has not answered\n"),
        }
    }

    /// Takes a body as a whole; no reason means that the tool broke off.
    async fn take(&self, incoming: &mut Incoming) -> Result<Body, Option<SpoolError>> {
        let mut spool = Spool::new(&self.folder);
        loop {
            match timeout(Duration::from_millis(TOOL_SILENCE_MS_MAX), incoming.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(piece) = frame.into_data() {
                        spool.push(piece).await.map_err(Some)?;
                    }
                }
                Ok(None) => return Ok(spool.finish()),
                Ok(Some(Err(_))) | Err(_) => return Err(None),
            }
        }
    }

    /// Tries until there is an answer, or until it is better to have none.
    async fn hold(&self, asked: &Asked, purpose: &str) -> Option<Answer> {
        let mut mood = self.mood.clone();
        let mut held = Held::new(BootClock.now());
        let mut last = String::new();
        loop {
            let now_mood = *mood.borrow_and_update();
            match held.next(BootClock.now(), now_mood) {
                Next::Try => match self.attempt(asked).await {
                    Ok(answer) => {
                        self.was_answered.store(true, Ordering::Relaxed);
                        if held.failures() >= TELL_AFTER {
                            self.tell(format!("Scalr answers again: {purpose} goes on."));
                        }
                        return Some(answer);
                    }
                    Err(Fruitless { why, retry_after_ms, is_untrusted }) => {
                        let mood = *self.mood.borrow();
                        held.failed(BootClock.now(), mood, retry_after_ms, rand::random());
                        tracing::warn!(purpose, why, failures = held.failures(), "a try came to nothing");
                        if held.failures() == TELL_AFTER && mood == Mood::Calm {
                            self.tell(format!(
                                "Scalr does not answer ({why}): {purpose} is tried until it does."
                            ));
                        }
                        last = why;
                        if is_untrusted && held.failures() >= UNTRUSTED_MAX && !self.was_answered() {
                            self.tell(format!("Scalr is not trusted ({last}): {purpose} is given up."));
                            return None;
                        }
                    }
                },
                Next::WaitUntil(until) => {
                    tokio::select! {
                        () = BootClock.wake_at(until) => {}
                        // The relay itself lives longer than its calls.
                        _changed = mood.changed() => {}
                    }
                }
                Next::GiveUp => {
                    if !self.gave_up.swap(true, Ordering::Relaxed) {
                        self.tell(format!("Scalr does not answer ({last}): {purpose} is given up."));
                    }
                    return None;
                }
            }
        }
    }

    fn was_answered(&self) -> bool {
        self.was_answered.load(Ordering::Relaxed)
    }

    /// One try, for as long as the mood bears with it.
    async fn attempt(&self, asked: &Asked) -> Result<Answer, Fruitless> {
        let moved = Moved::default();
        tokio::select! {
            tried = self.upstream.once(asked, &moved, &self.folder) => tried,
            () = self.until_hopeless(&moved) => Err(Fruitless::silent()),
        }
    }

    async fn until_hopeless(&self, moved: &Moved) {
        let began = BootClock.now();
        let (mut seen, mut last): (u64, Millis) = (moved.count(), began);
        loop {
            sleep(Duration::from_millis(LOOK_MS)).await;
            let (count, now) = (moved.count(), BootClock.now());
            if count != seen {
                (seen, last) = (count, now);
            }
            if self.mood.borrow().ends_try(now, began, last) {
                return;
            }
        }
    }

    /// Says something to people, where they read. What finds no room is in the log.
    fn tell(&self, note: String) {
        tracing::info!(note, "the relay");
        let _full = self.notes.try_send(note);
    }
}

fn reply(answer: Answer) -> Reply {
    let Answer { status, headers, body } = answer;
    let mut reply = Response::new(StreamBody::new(body.pieces().map_ok(Frame::data)).boxed_unsync());
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    // What may have no body must not announce one.
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        reply.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.bytes));
    }
    reply
}

fn refusal(status: StatusCode, text: &'static str) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    // What was not read of the call must not be taken for the next one.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    reply(Answer { status, headers, body: Body::of(text) })
}
