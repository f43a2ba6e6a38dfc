//! One try of a call for the state, made to Scalr itself, the way the tool itself would go.
//!
//! Makes each try once, on a connection of its own. Believes only who speaks the agent protocol: the 404 of
//! an ingress would be an empty state to the tool, and a page to sign in at a state that was saved.

mod names;
mod trust;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::TryStreamExt as _;
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{self, HeaderName},
};
use reqwest::{Client, NoProxy, Proxy, redirect};
use scalr_protocol::VERSION_HEADER;
use url::{Host, Url};

use self::names::Names;
use super::spool::{Body, Spool, SpoolError};

/// How long a connection may take to come about, while nothing stops.
const CONNECT_MS_MAX: u64 = 10_000;

/// What belongs to one connection, and to nobody beyond it.
const OF_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The state at Scalr.
#[derive(Debug)]
pub(super) struct Upstream {
    client: Client,
    state: Url,
}

/// A call of the tool's.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// What Scalr says to it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// A try that came to nothing.
#[derive(Debug)]
pub(super) struct Fruitless {
    /// Why, for people.
    pub(super) why: String,
    /// How long the server asks not to be called, in ms.
    pub(super) retry_after_ms: u64,
    /// Somebody answered who could not show that he is Scalr.
    pub(super) is_untrusted: bool,
}

/// How many bytes have moved in a try.
#[derive(Clone, Debug, Default)]
pub(super) struct Moved(Arc<AtomicU64>);

impl Moved {
    fn more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Another number whenever something has moved.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Fruitless {
    fn new(why: impl Into<String>) -> Self {
        let why = why.into();
        // The words of rustls, whose error is out of reach here.
        let is_untrusted = why.starts_with("invalid peer certificate");
        Self { why, retry_after_ms: 0, is_untrusted }
    }

    pub(super) fn silent() -> Self {
        Self::new("no answer in time")
    }
}

impl Upstream {
    /// A client for the way that a tool with this environment would go, which trusts these authorities, or
    /// those whom the tool would; or why there is none.
    pub(super) fn new(
        state: Url,
        env: &BTreeMap<String, String>,
        authorities: Option<&str>,
    ) -> Result<Self, String> {
        let mut builder = Client::builder()
            .retry(reqwest::retry::never())
            .redirect(redirect::Policy::none())
            // A connection that was kept may have died with the server's last process, and a stop has one
            // try.
            .pool_max_idle_per_host(0)
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_millis(CONNECT_MS_MAX))
            .no_proxy();
        if state.scheme() == "https" {
            builder = builder.tls_certs_only(match authorities {
                Some(pem) => trust::given(pem)?,
                None => trust::roots(env)?,
            });
        } else {
            builder = builder.tls_certs_only([]);
        }
        let proxy = proxy(&state, env)?;
        let is_named = |url: &Url| matches!(url.host(), Some(Host::Domain(_)));
        if is_named(&state) || proxy.as_ref().is_some_and(|(url, _)| is_named(url)) {
            builder = builder.dns_resolver(Names::of_system()?);
        }
        if let Some((_, proxy)) = proxy {
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|error| format!("no HTTP client: {}", root_cause(&error)))?;
        Ok(Self { client, state })
    }

    /// Makes the call once. The answer is whole: a body that breaks off is no answer.
    pub(super) async fn once(
        &self,
        asked: &Asked,
        moved: &Moved,
        folder: &Path,
    ) -> Result<Answer, Fruitless> {
        let mut url = self.state.clone();
        url.set_query(asked.query.as_deref());
        let mut request = self.client.request(asked.method.clone(), url).headers(end_to_end(&asked.headers));
        if asked.body.bytes > 0 {
            let counter = moved.clone();
            let pieces = asked.body.pieces().inspect_ok(move |_piece| counter.more());
            request = request.header(header::CONTENT_LENGTH, asked.body.bytes);
            request = request.body(reqwest::Body::wrap_stream(pieces));
        }
        let broken = |error: &reqwest::Error| Fruitless::new(root_cause(error));
        let mut answer = request.send().await.map_err(|error| broken(&error))?;
        moved.more();
        let status = answer.status();
        if !answer.headers().contains_key(VERSION_HEADER) {
            return Err(Fruitless::new(format!("{status}, and not from Scalr")));
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            let seconds = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let seconds: u64 = seconds.and_then(|value| value.trim().parse().ok()).unwrap_or(0);
            let retry_after_ms = seconds.saturating_mul(1_000);
            return Err(Fruitless { retry_after_ms, ..Fruitless::new(status.to_string()) });
        }
        let headers = end_to_end(answer.headers());
        let mut spool = Spool::new(folder);
        while let Some(piece) = answer.chunk().await.map_err(|error| broken(&error))? {
            moved.more();
            spool.push(piece).await.map_err(|error: SpoolError| Fruitless::new(error.to_string()))?;
        }
        Ok(Answer { status, headers, body: spool.finish() })
    }
}

/// Without what speaks of the connection, of the host, and of the body's length, which each side says itself.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in OF_CONNECTION.iter().chain([&header::HOST, &header::CONTENT_LENGTH, &header::EXPECT]) {
        kept.remove(name);
    }
    kept
}

/// The proxy that a Go program with this environment would use: none for this machine itself, the variable of
/// the scheme, in capitals first. Source: Go, `golang.org/x/net/http/httpproxy`.
fn proxy(state: &Url, env: &BTreeMap<String, String>) -> Result<Option<(Url, Proxy)>, String> {
    let is_here = match state.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => true,
    };
    let first = |names: [&str; 2]| names.into_iter().find_map(|name| env.get(name).filter(|v| !v.is_empty()));
    let names =
        if state.scheme() == "https" { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let Some(value) = first(names).filter(|_| !is_here) else { return Ok(None) };
    let address = if value.contains("://") { value.clone() } else { format!("http://{value}") };
    // The value may hold a password: it is not repeated.
    let unusable = || format!("the proxy in {} can't be used by it", names[0]);
    let url = Url::parse(&address).map_err(|_| unusable())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(unusable());
    }
    let except = first(["NO_PROXY", "no_proxy"]).and_then(|list| NoProxy::from_string(list));
    let proxy = Proxy::all(url.clone()).map_err(|_| unusable())?.no_proxy(except);
    Ok(Some((url, proxy)))
}

/// The innermost reason: the layers round it only say that a request failed.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
