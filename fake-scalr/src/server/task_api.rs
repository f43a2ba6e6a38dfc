//! Calls 10 to 15: what the worker of one task says, its log and its blobs.
//!
//! Bytes come first, the state's word second, the answer last: what is acknowledged is on disk. It must never
//! write a log byte at an offset that the state has already, or has not reached.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use scalr_protocol::{
    blob::{BlobKind, BlobRef, DIGEST_HEADER, Digest},
    console::{CHUNK_BYTES_MAX, ContentRange, stored_header},
    error::{ApiError, ErrorCode},
    id::TaskId,
    task::{Finish, Finished, Lease, Start},
};

use super::{
    Server,
    agent_api::{After, any, odd},
    answer::{
        Answer, Asked, Bearer, Of, Once, Refused, Said, content_type, drain, message, nothing, octets,
        read_parts,
    },
};
use crate::state::{AgentCall, Command, Reply, TaskCall, Token};

/// The largest blob: a plan of a very large configuration is some hundred megabytes.
const BLOB_BYTES_MAX: u64 = 1024 * 1024 * 1024;
const OCTETS: &str = "application/octet-stream";

/// One appends to a task's log at a time, so that a log file and the state's length can't part.
#[derive(Debug, Default)]
pub(super) struct LogLocks(Mutex<BTreeMap<TaskId, Arc<tokio::sync::Mutex<()>>>>);

impl LogLocks {
    fn of(&self, task: &TaskId) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Locks that nobody holds are dropped, so that the map stays as small as what is going on.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(task.clone()).or_default())
    }
}

fn apply(server: &Server, bearer: Token, task: TaskId, call: TaskCall) -> Result<Reply, ApiError> {
    server.apply(Command::Task { bearer, task, call })
}

pub(super) async fn start(
    State(server): State<Server>,
    Of(task): Of<TaskId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    Said(start): Said<Start>,
) -> Answer {
    let call = AgentCall::Start { task, start };
    let Reply::Started(started) = server.apply(Command::Agent { bearer, key, call })? else {
        return Err(odd());
    };
    Ok(message(StatusCode::OK, *started))
}

pub(super) async fn lease(
    State(server): State<Server>,
    Of(task): Of<TaskId>,
    Bearer(bearer): Bearer,
    Said(lease): Said<Lease>,
) -> Answer {
    let Reply::Lease(answer) = apply(&server, bearer, task, TaskCall::Lease(lease))? else {
        return Err(odd());
    };
    Ok(message(StatusCode::OK, answer))
}

pub(super) async fn signals(
    State(server): State<Server>,
    Of(task): Of<TaskId>,
    Bearer(bearer): Bearer,
    Asked(After { after, wait_ms }): Asked<After>,
) -> Answer {
    let found = server
        .wait(server.wakes(), wait_ms, |_| {
            let Reply::Signals(signals) =
                apply(&server, bearer.clone(), task.clone(), TaskCall::Signals { after })?
            else {
                return Err(odd().0);
            };
            Ok(if signals.signals.is_empty() { None } else { Some(signals) })
        })
        .await?;
    Ok(any(found))
}

pub(super) async fn log(
    State(server): State<Server>,
    Of(task): Of<TaskId>,
    Bearer(bearer): Bearer,
    request: Request,
) -> Answer {
    content_type(request.headers(), &[OCTETS])?;
    let range = content_range(request.headers())?;
    if range.bytes() > CHUNK_BYTES_MAX {
        drain(request.into_body()).await;
        return Err(super::bytes::too_large(CHUNK_BYTES_MAX).into());
    }
    let parts = read_parts(request.into_body(), CHUNK_BYTES_MAX).await?;
    let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
    if bytes != range.bytes() {
        let detail = format!("`{range}` is {} bytes, the body has {bytes}", range.bytes());
        return Err(Refused(ApiError::new(ErrorCode::Malformed, detail).of_parameter("content-range")));
    }
    let lock = server.inner.log_locks.of(&task);
    let _only = lock.lock_owned().await;
    // The bytes wait on disk behind the stored length until the state has taken them. Those that begin
    // anywhere else are told where the log is, whatever they are.
    if server.read(|state| state.log_bytes(&task)) == Some(range.first) {
        let (server, task) = (server.clone(), task.clone());
        tokio::task::spawn_blocking(move || server.inner.store.write_log(&task, range.first, &parts))
            .await
            .map_err(|e| Refused::new(ErrorCode::Internal, e.to_string()))??;
    }
    let reply = apply(&server, bearer, task, TaskCall::LogAppend { first: range.first, bytes })?;
    if let Reply::LogMismatch { stored } = reply {
        let detail = format!("`{range}` does not follow the {stored} bytes that are stored");
        return Ok(with_stored(Refused::new(ErrorCode::RangeMismatch, detail).into_response(), stored));
    }
    let Reply::Log { stored, .. } = reply else { return Err(odd()) };
    Ok(with_stored(StatusCode::ACCEPTED.into_response(), stored))
}

fn content_range(headers: &HeaderMap) -> Result<ContentRange, Refused> {
    let value = headers.get(header::CONTENT_RANGE).map(|v| String::from_utf8_lossy(v.as_bytes()));
    let refused =
        |detail: String| Refused(ApiError::new(ErrorCode::Malformed, detail).of_parameter("content-range"));
    let value = value.ok_or_else(|| refused("send `Content-Range: bytes FIRST-LAST/*`".to_owned()))?;
    ContentRange::parse(&value).map_err(|e| refused(e.to_string()))
}

fn with_stored(mut response: Response, stored: u64) -> Response {
    if let Some(value) = stored_header(stored).and_then(|v| HeaderValue::try_from(v).ok()) {
        response.headers_mut().insert(header::RANGE, value);
    }
    response
}

/// The kind in a path; one that is unknown is a path that is none.
fn kind_of(text: &str) -> Result<BlobKind, Refused> {
    text.parse().map_err(|e: scalr_protocol::blob::UnknownBlobKind| {
        Refused(ApiError::new(ErrorCode::NotFound, e.to_string()).of_parameter("path"))
    })
}

pub(super) async fn blob(
    State(server): State<Server>,
    Of((task, kind)): Of<(TaskId, String)>,
    Bearer(bearer): Bearer,
) -> Answer {
    let kind = kind_of(&kind)?;
    let Reply::Blob(blob) = apply(&server, bearer, task, TaskCall::BlobGet { kind })? else {
        return Err(odd());
    };
    Ok(with_digest(octets(server.inner.store.blob(blob.sha256).await?), &blob))
}

/// Adds length and digest, so that whoever fetches can check what came.
pub(super) fn with_digest(mut response: Response<Body>, blob: &BlobRef) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(blob.bytes));
    if let Ok(value) = HeaderValue::try_from(blob.sha256.to_header()) {
        headers.insert(DIGEST_HEADER, value);
    }
    response
}

pub(super) async fn put_blob(
    State(server): State<Server>,
    Of((task, kind)): Of<(TaskId, String)>,
    Bearer(bearer): Bearer,
    request: Request,
) -> Answer {
    let kind = kind_of(&kind)?;
    content_type(request.headers(), &[OCTETS])?;
    let expected = content_digest(request.headers())?.ok_or_else(|| {
        let detail = format!("send `{DIGEST_HEADER}: sha-256=:BASE64:`");
        Refused(ApiError::new(ErrorCode::Malformed, detail).of_parameter(DIGEST_HEADER))
    })?;
    let stored = server.inner.store.take(request.into_body(), BLOB_BYTES_MAX, Some(expected)).await?;
    let blob = BlobRef { kind, bytes: stored.bytes, sha256: stored.sha256 };
    let reply = apply(&server, bearer, task, TaskCall::BlobPut(blob))?;
    let Reply::BlobStored { created } = reply else { return Err(odd()) };
    Ok(nothing(if created { StatusCode::CREATED } else { StatusCode::NO_CONTENT }))
}

/// The digest that a sender claims, if he claims one.
pub(super) fn content_digest(headers: &HeaderMap) -> Result<Option<Digest>, Refused> {
    let Some(value) = headers.get(DIGEST_HEADER) else { return Ok(None) };
    let digest = Digest::from_header(&String::from_utf8_lossy(value.as_bytes()));
    digest
        .map(Some)
        .map_err(|e| Refused(ApiError::new(ErrorCode::Malformed, e.to_string()).of_parameter(DIGEST_HEADER)))
}

pub(super) async fn finish(
    State(server): State<Server>,
    Of(task): Of<TaskId>,
    Bearer(bearer): Bearer,
    Said(finish): Said<Finish>,
) -> Answer {
    let log = finish.log;
    let reply = apply(&server, bearer, task.clone(), TaskCall::Finish(finish))?;
    let Reply::Finished(finished) = reply else { return Err(odd()) };
    let status = match finished {
        Finished::Whole => {
            check_log(&server, task, log.bytes, log.sha256);
            StatusCode::OK
        }
        Finished::LogIncomplete { .. } | Finished::Late { .. } => StatusCode::ACCEPTED,
    };
    Ok(message(status, finished))
}

/// The outcome stands whatever the log is; one that differs is a defect of somebody's, and is said aloud.
fn check_log(server: &Server, task: TaskId, bytes: u64, expected: Digest) {
    let server = server.clone();
    tokio::task::spawn_blocking(move || match server.inner.store.log_digest(&task, bytes) {
        Ok(found) if found == expected => {}
        Ok(found) => tracing::error!(%task, bytes, %found, %expected, "the log is not what its worker sent"),
        Err(error) => tracing::error!(%task, %error, "the log can't be checked"),
    });
}
