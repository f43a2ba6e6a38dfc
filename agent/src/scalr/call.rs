//! One HTTP call: its parts, its bounds, its answer. Makes it once.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{
    Body, Method, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue},
};
use scalr_protocol::{
    BASE_PATH, MEDIA_TYPE, VERSION, VERSION_HEADER,
    document::{Document, Message},
    secret::Secret,
};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use super::answer::Refusal;

/// How long calls may take, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A call that is no long poll.
    pub call_ms: u64,
    /// How much longer than a long poll's own wait its answer may take.
    pub long_poll_slack_ms: u64,
    /// A blob, either way.
    pub blob_ms: u64,
    /// How long a blob may be silent in between.
    pub blob_silence_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // Longer than any server answers, shorter than a launch lease.
            call_ms: 30_000,
            long_poll_slack_ms: 15_000,
            // A gigabyte at a megabyte a second, and some.
            blob_ms: 20 * 60 * 1_000,
            blob_silence_ms: 60_000,
        }
    }
}

/// What kind of wait a call is.
#[derive(Clone, Copy, Debug)]
enum Wait {
    Call,
    LongPoll { wait_ms: u64 },
    Blob,
}

/// How large a message may be that is no octet stream: verdicts on ten thousand Jobs are about a megabyte.
/// Two are read at once while a task is at work, and a worker has 64 MiB for everything.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How large a payload may be: one with thousands of variables is far below. Nothing else is read meanwhile.
const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How large a refusal may be, of which a few hundred characters are kept.
pub(super) const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// A call, ready to be made.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    authorization: HeaderValue,
    headers: Vec<(HeaderName, String)>,
    body: Body,
    wait: Wait,
    answer_bytes_max: usize,
}

impl Call {
    fn new(method: Method, path: &str, token: &Secret) -> Self {
        // A token that can't stand in a header is refused by the server like any other wrong one.
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
            .unwrap_or(HeaderValue::from_static("Bearer unprintable"));
        authorization.set_sensitive(true);
        Self {
            method,
            path: path.to_owned(),
            authorization,
            headers: Vec::new(),
            body: Body::from(Bytes::new()),
            wait: Wait::Call,
            answer_bytes_max: MESSAGE_BYTES_MAX,
        }
    }

    pub(crate) fn get(path: &str, token: &Secret) -> Self {
        Self::new(Method::GET, path, token)
    }

    pub(crate) fn post(path: &str, token: &Secret) -> Self {
        Self::new(Method::POST, path, token)
    }

    pub(crate) fn put(path: &str, token: &Secret) -> Self {
        Self::new(Method::PUT, path, token)
    }

    pub(crate) fn patch(path: &str, token: &Secret) -> Self {
        Self::new(Method::PATCH, path, token)
    }

    pub(crate) fn delete(path: &str, token: &Secret) -> Self {
        Self::new(Method::DELETE, path, token)
    }

    /// With a message as its body.
    pub(crate) fn message<M: Message + Serialize + Clone>(self, message: &M) -> Self {
        match serde_json::to_vec(&Document::of(message.clone())) {
            Ok(body) => self.header(CONTENT_TYPE, MEDIA_TYPE).body(body),
            Err(error) => unreachable!("a message is a tree of texts and numbers: {error}"),
        }
    }

    /// With an octet stream as its body.
    pub(crate) fn octets(self, body: impl Into<Body>) -> Self {
        self.header(CONTENT_TYPE, "application/octet-stream").body(body)
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// The server waits this long before it answers.
    pub(crate) fn long_poll(mut self, wait_ms: u64) -> Self {
        self.wait = Wait::LongPoll { wait_ms };
        self
    }

    /// It is answered with all that a task needs.
    pub(crate) fn for_payload(mut self) -> Self {
        self.answer_bytes_max = PAYLOAD_BYTES_MAX;
        self
    }

    /// It carries a blob.
    pub(crate) fn of_blob(mut self) -> Self {
        self.wait = Wait::Blob;
        self
    }
}

/// Makes calls to one server.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    client: reqwest::Client,
    base: String,
    pub(super) bounds: Bounds,
}

impl Caller {
    pub(crate) fn new(client: reqwest::Client, url: &Url) -> Self {
        let base = format!("{}{BASE_PATH}", url.as_str().trim_end_matches('/'));
        Self { client, base, bounds: Bounds::default() }
    }

    fn within(&self, wait: Wait) -> Duration {
        Duration::from_millis(match wait {
            Wait::Call => self.bounds.call_ms,
            Wait::LongPoll { wait_ms } => wait_ms.saturating_add(self.bounds.long_poll_slack_ms),
            Wait::Blob => self.bounds.blob_ms,
        })
    }

    /// Makes a call whose answer is a message.
    pub(crate) async fn ask<A: DeserializeOwned>(&self, call: Call) -> Result<A, Refusal> {
        match self.ask_if_any(call).await? {
            Some(answer) => Ok(answer),
            None => Err(Refusal::broken("an empty answer where a message was expected")),
        }
    }

    /// Makes a call whose answer is a message, or nothing (204).
    pub(crate) async fn ask_if_any<A: DeserializeOwned>(&self, call: Call) -> Result<Option<A>, Refusal> {
        let bytes_max = call.answer_bytes_max;
        let answer = self.send(call).await?;
        if answer.status().as_u16() == 204 {
            return Ok(None);
        }
        let body = read(answer, bytes_max).await?;
        let document: Document<A> = serde_json::from_slice(&body)
            .map_err(|error| Refusal::broken(&format!("an unreadable answer: {error}")))?;
        Ok(Some(document.data.attributes))
    }

    /// Makes a call whose answer's body does not matter.
    pub(crate) async fn tell(&self, call: Call) -> Result<(), Refusal> {
        self.send(call).await.map(drop)
    }

    /// Makes a call and gives its answer, if it is a good one.
    pub(crate) async fn send(&self, call: Call) -> Result<Response, Refusal> {
        let url = format!("{}{}", self.base, call.path);
        let mut request = self
            .client
            .request(call.method, url)
            .timeout(self.within(call.wait))
            .header(AUTHORIZATION, call.authorization)
            .header(ACCEPT, MEDIA_TYPE)
            .header(VERSION_HEADER, VERSION);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let answer = request.body(call.body).send().await.map_err(|error| Refusal::unanswered(&error))?;
        if !answer.status().is_success() {
            return Err(Refusal::read(answer).await);
        }
        // A page to sign in at, of whatever stands between, must not be taken for "done".
        if speaks_protocol(&answer) { Ok(answer) } else { Err(Refusal::of_stranger(answer.status())) }
    }
}

/// Whether an answer says that it is one of the agent protocol.
pub(super) fn speaks_protocol(answer: &Response) -> bool {
    answer.headers().contains_key(VERSION_HEADER)
}

/// Reads a message's body, within its bound.
pub(super) async fn read(mut answer: Response, bytes_max: usize) -> Result<Bytes, Refusal> {
    let mut body = BytesMut::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| Refusal::unanswered(&error))? {
        if body.len() + piece.len() > bytes_max {
            return Err(Refusal::broken(&format!("an answer of more than {bytes_max} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}
