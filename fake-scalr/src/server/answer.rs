//! How requests are read and answers written: JSON:API documents, and `errors[]` for every refusal.
//!
//! It must never let a refusal of the framework out as plain text, and never read a body without a bound.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::BodyExt;
use scalr_protocol::{
    IDEMPOTENCY_HEADER, MEDIA_TYPE,
    document::{Document, Message},
    error::{ApiError, ErrorCode, Errors},
};
use serde::{Serialize, de::DeserializeOwned};

use super::bytes::{broken_off, too_large};
use crate::state::{Key, Token};

/// The largest JSON body: a heartbeat that names ten thousand tasks is about 1 MiB.
pub(super) const JSON_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What `Retry-After` says where nothing else does, in seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// A refusal on its way out.
#[derive(Debug)]
pub(super) struct Refused(pub(super) ApiError);

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl Refused {
    /// A refusal with its detail.
    pub(super) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self(ApiError::new(code, detail))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let later = matches!(self.0.code, ErrorCode::RateLimited | ErrorCode::Unavailable);
        let mut response = document(status, &Errors { errors: vec![self.0] });
        if later {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S);
        }
        response
    }
}

/// What every handler gives.
pub(super) type Answer = Result<Response, Refused>;

/// Any JSON body, as JSON:API types it.
pub(super) fn document(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}

/// A message in its envelope.
pub(super) fn message<A: Message + Serialize>(status: StatusCode, attributes: A) -> Response {
    document(status, &Document::of(attributes))
}

/// An answer without a body.
pub(super) fn nothing(status: StatusCode) -> Response {
    status.into_response()
}

/// A stream of bytes.
pub(super) fn octets(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response()
}

/// The bearer token, or the password of `Basic`, as Terraform's `http` backend sends it.
#[derive(Debug)]
pub(super) struct Bearer(pub(super) Token);

impl<S: Sync> FromRequestParts<S> for Bearer {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let missing = || {
            ApiError::new(ErrorCode::InvalidToken, "send `Authorization: Bearer TOKEN`")
                .of_parameter("authorization")
        };
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let (scheme, rest) = value.and_then(|v| v.split_once(' ')).ok_or_else(missing)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Self(Token::new(rest.trim())));
        }
        let password = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(rest.trim()).ok());
        let pair = password.flatten().and_then(|pair| String::from_utf8(pair).ok()).ok_or_else(missing)?;
        let (_user, password) = pair.split_once(':').ok_or_else(missing)?;
        Ok(Self(Token::new(password)))
    }
}

/// The idempotency key, if one was sent.
#[derive(Debug)]
pub(super) struct Once(pub(super) Option<Key>);

impl<S: Sync> FromRequestParts<S> for Once {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_HEADER) else { return Ok(Self(None)) };
        match value.to_str() {
            Ok(key) if (1..=128).contains(&key.len()) => Ok(Self(Some(Key::new(key)))),
            Ok(_) | Err(_) => {
                let detail = "a key has 1 to 128 visible characters";
                Err(Refused(ApiError::new(ErrorCode::Malformed, detail).of_parameter(IDEMPOTENCY_HEADER)))
            }
        }
    }
}

/// Parts of the path, each of its own type.
#[derive(Debug)]
pub(super) struct Of<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Of<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let rejected =
            |detail: String| Refused(ApiError::new(ErrorCode::Malformed, detail).of_parameter("path"));
        Path::from_request_parts(parts, state).await.map(|Path(value)| Self(value)).map_err(|e| {
            let text = e.body_text();
            let what = text.strip_prefix("Invalid URL: ").unwrap_or(&text);
            rejected(what.to_owned())
        })
    }
}

/// The query.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        Query::from_request_parts(parts, state).await.map(|Query(value)| Self(value)).map_err(|e| {
            let text = e.body_text();
            let what = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            Refused(ApiError::new(ErrorCode::Malformed, what).of_parameter("query"))
        })
    }
}

/// A message of the agent protocol, out of its envelope.
#[derive(Debug)]
pub(super) struct Said<A>(pub(super) A);

impl<S: Sync, A: Message + DeserializeOwned> FromRequest<S> for Said<A> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        content_type(request.headers(), &[MEDIA_TYPE])?;
        let document: Document<A> = json(&read(request, JSON_BYTES_MAX).await?)?;
        if document.data.kind == A::TYPE {
            Ok(Self(document.data.attributes))
        } else {
            let detail = format!("the type is `{}`; expected `{}`", document.data.kind, A::TYPE);
            Err(Refused(ApiError::new(ErrorCode::Invalid, detail).at("/data/type")))
        }
    }
}

/// A plain JSON body; an absent one is that of `{}`.
#[derive(Debug)]
pub(super) struct Plain<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Plain<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        let headers = request.headers().clone();
        let text = read(request, JSON_BYTES_MAX).await?;
        if text.is_empty() {
            return json(b"{}").map(Self);
        }
        content_type(&headers, &[MEDIA_TYPE, "application/json"])?;
        json(&text).map(Self)
    }
}

/// Refuses another content type than one of these.
pub(super) fn content_type(headers: &HeaderMap, accepted: &[&str]) -> Result<(), Refused> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if accepted.iter().any(|a| essence.eq_ignore_ascii_case(a)) {
        return Ok(());
    }
    let given: String = if given.is_empty() { "none".to_owned() } else { given.chars().take(64).collect() };
    let detail = format!("the content type is `{given}`; expected `{}`", accepted.join("` or `"));
    Err(Refused(ApiError::new(ErrorCode::UnsupportedMediaType, detail).of_parameter("content-type")))
}

/// Reads a whole body within a bound.
pub(super) async fn read(request: Request, bytes_max: u64) -> Result<Bytes, Refused> {
    let parts = read_parts(request.into_body(), bytes_max).await?;
    match <[Bytes; 1]>::try_from(parts) {
        Ok([whole]) => Ok(whole),
        Err(parts) => Ok(parts.concat().into()),
    }
}

/// Reads a whole body within a bound, in the parts in which it came, uncopied.
pub(super) async fn read_parts(body: Body, bytes_max: u64) -> Result<Vec<Bytes>, Refused> {
    let (mut body, mut parts, mut bytes) = (body, Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(part) = frame.map_err(|e| broken_off(&e))?.into_data() else { continue };
        bytes += part.len() as u64;
        if bytes > bytes_max {
            drain(body).await;
            return Err(too_large(bytes_max).into());
        }
        parts.push(part);
    }
    Ok(parts)
}

/// How much of an unwanted body is read all the same.
const DRAIN_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads on for a while without keeping anything: whoever still sends when the connection closes may never
/// see why.
pub(super) async fn drain(mut body: Body) {
    let mut left = DRAIN_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, |part| part.len() as u64);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// Reads JSON; the refusal says what is wrong, and where.
pub(super) fn json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(text).map_err(|e| Refused::new(ErrorCode::Malformed, e.to_string()))
}

/// Answers a path that is none.
pub(super) async fn no_route(request: Request) -> Refused {
    Refused::new(ErrorCode::NotFound, format!("there is no `{}`", request.uri().path()))
}

/// Answers a method that the path does not have.
pub(super) async fn no_method(request: Request) -> Refused {
    let detail = format!("`{}` does not take {}", request.uri().path(), request.method());
    Refused::new(ErrorCode::MethodNotAllowed, detail)
}
