//! What the commands speak to the server: the public API, as a person uses it.
//!
//! It must never retry, and never show its token. Every failure is one line.

use std::{fs::File, time::Duration};

use bytes::Bytes;
pub use reqwest::Method;
use reqwest::{RequestBuilder, Response, StatusCode, header};
use scalr_protocol::{
    MEDIA_TYPE,
    error::{ApiError, Errors},
    secret::Secret,
};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

/// Longer than any long poll that is asked for, short enough that a dead server is noticed.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);
/// On one machine or one network: longer is not slow but away.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer came.
    #[error("{url} can't be reached ({why}); start it with `fake-scalr serve`, or set --url or SCALR_URL")]
    Unreachable {
        /// The server.
        url: String,
        /// Why not.
        why: String,
    },
    /// TLS can't be spoken here.
    #[error("{url} can't be spoken to ({why}); install CA certificates, or name a bundle in SSL_CERT_FILE")]
    Untrusting {
        /// The server.
        url: String,
        /// What is missing.
        why: String,
    },
    /// The server said no.
    #[error("{0}")]
    Refused(Box<ApiError>),
    /// What answered is no Scalr.
    #[error("{url} gave an answer that is none of Scalr's: {why}; check --url or SCALR_URL")]
    Garbled {
        /// What was called.
        url: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A connection to one server as one person.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    token: Secret,
}

impl Client {
    /// Prepares a connection; nothing is sent.
    pub fn new(url: &Url, token: Secret) -> Result<Self, ClientError> {
        let mut builder =
            reqwest::Client::builder().connect_timeout(CONNECT_WITHIN).read_timeout(ANSWER_WITHIN);
        if url.scheme() == "http" {
            // Without TLS no roots are needed, and a machine without any must not fail for that.
            builder = builder.tls_certs_only([]);
        }
        let http = builder
            .build()
            .map_err(|e| ClientError::Untrusting { url: url.to_string(), why: root_cause(&e) })?;
        Ok(Self { http, url: url.clone(), token })
    }

    /// Gets a resource, such as `runs/run-1`; the query is part of the path.
    pub async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, ClientError> {
        self.json(self.request(Method::GET, path)).await
    }

    /// Sends a resource.
    pub async fn send<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<A, ClientError> {
        // Types of ours without maps of odd keys always have a JSON.
        let text = serde_json::to_vec(body)
            .map_err(|e| ClientError::Garbled { url: path.to_owned(), why: e.to_string() })?;
        self.json(self.request(method, path).header(header::CONTENT_TYPE, MEDIA_TYPE).body(text)).await
    }

    /// Does something to a resource, such as `runs/run-1/actions/apply`, and wants no answer.
    pub async fn act(&self, path: &str, body: &impl Serialize) -> Result<(), ClientError> {
        let text = serde_json::to_vec(body)
            .map_err(|e| ClientError::Garbled { url: path.to_owned(), why: e.to_string() })?;
        let request = self.request(Method::POST, path).header(header::CONTENT_TYPE, MEDIA_TYPE).body(text);
        self.answer(request).await.map(drop)
    }

    /// Removes a resource.
    pub async fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.answer(self.request(Method::DELETE, path)).await.map(drop)
    }

    /// Uploads a file.
    pub async fn upload(&self, path: &str, file: File) -> Result<(), ClientError> {
        let request = self
            .request(Method::PUT, path)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            // An upload takes as long as it takes.
            .timeout(Duration::from_hours(1))
            .body(tokio::fs::File::from_std(file));
        self.answer(request).await.map(drop)
    }

    /// Opens a stream of bytes.
    pub async fn bytes(&self, path: &str) -> Result<ByteStream, ClientError> {
        let request = self.request(Method::GET, path);
        let response = self.answer(request).await?;
        Ok(ByteStream { url: self.url.to_string(), response })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let base = self.url.as_str().trim_end_matches('/');
        self.http
            .request(method, format!("{base}{}/{path}", crate::PUBLIC_BASE_PATH))
            .header(header::ACCEPT, MEDIA_TYPE)
            .bearer_auth(self.token.expose())
    }

    async fn json<A: DeserializeOwned>(&self, request: RequestBuilder) -> Result<A, ClientError> {
        let response = self.answer(request).await?;
        let url = response.url().to_string();
        let text = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        serde_json::from_slice(&text).map_err(|e| ClientError::Garbled { url, why: e.to_string() })
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (url, status) = (response.url().to_string(), response.status());
        let text = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        Err(refusal(url, status, &text))
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Unreachable { url: self.url.to_string(), why: root_cause(error) }
    }
}

/// Bytes as they come.
#[derive(Debug)]
pub struct ByteStream {
    url: String,
    response: Response,
}

impl ByteStream {
    /// The next bytes; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.response
            .chunk()
            .await
            .map_err(|e| ClientError::Unreachable { url: self.url.clone(), why: root_cause(&e) })
    }

    /// Whether the server said that nothing will follow.
    pub fn ended(&self) -> bool {
        self.response.headers().get(crate::OUTPUT_ENDED_HEADER).is_some_and(|v| v == "true")
    }
}

fn refusal(url: String, status: StatusCode, text: &[u8]) -> ClientError {
    match serde_json::from_slice::<Errors>(text).ok().and_then(|e| e.errors.into_iter().next()) {
        Some(error) => ClientError::Refused(Box::new(error)),
        None => ClientError::Garbled { url, why: format!("status {status}") },
    }
}

/// reqwest says what it was doing; what went wrong is at the end of the chain.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
