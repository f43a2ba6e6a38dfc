//! Call 16: the state of a workspace, as the `http` backend of Terraform and `OpenTofu` speaks.
//!
//! Source for what the tool sends: Terraform 1.15 asks with `Basic` or `Bearer`, uses the methods LOCK and
//! UNLOCK, sends `?ID=` with POST and an empty chunked body with a force-unlock, and shows the holder of a
//! lock only when a 423 has the bare lock info as its body.

use std::{fs::File, io::BufReader};

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use scalr_protocol::{
    error::{ApiError, ErrorCode},
    id::WorkspaceId,
    state::LockInfo,
};
use serde::Deserialize;

use super::{
    Server,
    agent_api::odd,
    answer::{Answer, Asked, Bearer, JSON_BYTES_MAX, Of, Refused, json, no_method, nothing, octets, read},
    bytes::Stored,
};
use crate::state::{Command, Reply, StateCall, Token, command::StatePost};

/// The largest state: the largest that people speak of have some hundred megabytes.
const STATE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// What the query of a POST says.
#[derive(Debug, Deserialize)]
pub(super) struct LockId {
    /// The lock that the writer holds.
    #[serde(rename = "ID")]
    id: Option<String>,
}

/// What must be known of a state file.
#[derive(Deserialize)]
struct StateFile {
    serial: u64,
    #[serde(default)]
    lineage: String,
}

fn apply(
    server: &Server,
    bearer: &Token,
    workspace: &WorkspaceId,
    call: StateCall,
) -> Result<Reply, ApiError> {
    server.apply(Command::State { bearer: bearer.clone(), workspace: workspace.clone(), call })
}

/// LOCK and UNLOCK are no methods that a router knows, so the path takes them all.
pub(super) async fn any_method(
    State(server): State<Server>,
    Of(workspace): Of<WorkspaceId>,
    Bearer(bearer): Bearer,
    Asked(LockId { id }): Asked<LockId>,
    request: Request,
) -> Answer {
    match request.method().clone() {
        Method::GET => get(&server, &bearer, &workspace).await,
        Method::POST => post(&server, &bearer, &workspace, id, request).await,
        method if method.as_str() == "LOCK" => {
            let info: LockInfo = json(&read(request, JSON_BYTES_MAX).await?)?;
            simple(apply(&server, &bearer, &workspace, StateCall::Lock(info))?)
        }
        method if method.as_str() == "UNLOCK" => {
            let body = read(request, JSON_BYTES_MAX).await?;
            let id = if body.is_empty() { None } else { Some(json::<LockInfo>(&body)?.id) };
            simple(apply(&server, &bearer, &workspace, StateCall::Unlock { id })?)
        }
        _ => Err(no_method(request).await),
    }
}

fn simple(reply: Reply) -> Answer {
    if let Reply::Locked(info) = reply {
        return Ok(locked(info));
    }
    let (Reply::Done | Reply::Unlocked(_)) = reply else { return Err(odd()) };
    Ok(nothing(StatusCode::OK))
}

fn locked(info: LockInfo) -> Response {
    (StatusCode::LOCKED, Json(info)).into_response()
}

async fn get(server: &Server, bearer: &Token, workspace: &WorkspaceId) -> Answer {
    let Reply::State(state) = apply(server, bearer, workspace, StateCall::Get)? else { return Err(odd()) };
    let Some(state) = state else { return Ok(nothing(StatusCode::NO_CONTENT)) };
    let mut response = octets(server.inner.store.blob(state.sha256).await?);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(state.bytes));
    Ok(response)
}

async fn post(
    server: &Server,
    bearer: &Token,
    workspace: &WorkspaceId,
    lock_id: Option<String>,
    request: Request,
) -> Answer {
    // Whoever may not read the state may not fill the disk either.
    apply(server, bearer, workspace, StateCall::Get)?;
    let stored = server.inner.store.take(request.into_body(), STATE_BYTES_MAX, None).await?;
    let file = read_state(server, stored).await?;
    let call = StateCall::Post(StatePost {
        lock_id,
        serial: file.serial,
        lineage: file.lineage,
        bytes: stored.bytes,
        sha256: stored.sha256,
    });
    let reply = apply(server, bearer, workspace, call)?;
    if let Reply::Locked(info) = reply {
        return Ok(locked(info));
    }
    let Reply::StateStored { .. } = reply else { return Err(odd()) };
    Ok(nothing(StatusCode::OK))
}

async fn read_state(server: &Server, stored: Stored) -> Result<StateFile, Refused> {
    let path = server.inner.store.blob_path(stored.sha256);
    let read = move || {
        let file = File::open(path).map_err(|e| Refused::new(ErrorCode::Internal, e.to_string()))?;
        serde_json::from_reader(BufReader::new(file))
            .map_err(|e| Refused::new(ErrorCode::Malformed, format!("not a state: {e}")))
    };
    tokio::task::spawn_blocking(read).await.map_err(|e| Refused::new(ErrorCode::Internal, e.to_string()))?
}
