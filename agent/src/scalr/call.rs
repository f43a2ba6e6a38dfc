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

/// How long a call may take that is no long poll: longer than any server answers, shorter than a launch
/// lease.
const CALL_MS_MAX: u64 = 30_000;
/// How large a message may be that is no octet stream: a payload with thousands of variables is far below.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A call, ready to be made.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    authorization: HeaderValue,
    headers: Vec<(HeaderName, String)>,
    body: Body,
    within: Duration,
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
            within: Duration::from_millis(CALL_MS_MAX),
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

    /// May take this long rather than the usual time.
    pub(crate) fn within_ms(mut self, within_ms: u64) -> Self {
        self.within = Duration::from_millis(within_ms);
        self
    }
}

/// Makes calls to one server.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    client: reqwest::Client,
    base: String,
}

impl Caller {
    pub(crate) fn new(client: reqwest::Client, url: &Url) -> Self {
        Self { client, base: format!("{}{BASE_PATH}", url.as_str().trim_end_matches('/')) }
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
        let answer = self.send(call).await?;
        if answer.status().as_u16() == 204 {
            return Ok(None);
        }
        let body = read(answer).await?;
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
            .timeout(call.within)
            .header(AUTHORIZATION, call.authorization)
            .header(ACCEPT, MEDIA_TYPE)
            .header(VERSION_HEADER, VERSION);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let answer = request.body(call.body).send().await.map_err(|error| Refusal::unanswered(&error))?;
        if answer.status().is_success() { Ok(answer) } else { Err(Refusal::read(answer).await) }
    }
}

/// Reads a message's body, within its bound.
pub(super) async fn read(mut answer: Response) -> Result<Bytes, Refusal> {
    let mut body = BytesMut::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| Refusal::unanswered(&error))? {
        if body.len() + piece.len() > MESSAGE_BYTES_MAX {
            return Err(Refusal::broken(&format!("an answer of more than {MESSAGE_BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}
