//! Plans and applies: how far they are, what they say, what they left.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::StreamExt;
use scalr_protocol::{blob::BlobKind, console::stored_header, error::ErrorCode};
use serde::Deserialize;
use serde_json::json;

use super::{missing, one};
use crate::{
    OUTPUT_ENDED_HEADER,
    resource::Resource,
    server::{
        Server,
        answer::{Answer, Asked, Bearer, Of, Refused, octets},
        task_api::with_digest,
    },
    state::{
        State as Scalr, Token,
        ids::{ApplyId, PlanId},
        views::StageView,
    },
};

/// Which of the two a path means.
#[derive(Clone, Copy)]
enum Kind {
    Plan,
    Apply,
}

impl Kind {
    fn of(self, state: &Scalr, id: &str) -> Option<StageView> {
        match self {
            Self::Plan => state.plan(&PlanId::new(id)),
            Self::Apply => state.apply_stage(&ApplyId::new(id)),
        }
    }

    fn found(self, server: &Server, bearer: &Token, id: &str) -> Result<StageView, Refused> {
        let what = match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
        };
        server.read_as(bearer, |state| self.of(state, id))?.ok_or_else(|| missing(what, id))
    }
}

fn resource(kind: &str, view: &StageView) -> Resource {
    let summary = view.summary.unwrap_or_default();
    let count = |n: u32| view.summary.map(|_| n);
    let attributes = json!({
        "status": view.status,
        "has-changes": summary.has_changes,
        "resource-additions": count(summary.resource_additions),
        "resource-changes": count(summary.resource_changes),
        "resource-destructions": count(summary.resource_destructions),
        "resource-imports": count(summary.resource_imports),
        "resource-forgets": count(summary.resource_forgets),
        "error-message": view.error_message,
        "output-bytes": view.log_bytes,
        "blobs": view.blobs,
    });
    Resource::new(kind, &view.id, attributes).with("run", "runs", Some(&view.run)).with(
        "agent-task",
        "agent-tasks",
        view.task.as_ref(),
    )
}

pub(in crate::server) async fn plan(
    State(server): State<Server>,
    Of(id): Of<String>,
    Bearer(bearer): Bearer,
) -> Answer {
    Ok(one(StatusCode::OK, resource("plans", &Kind::Plan.found(&server, &bearer, &id)?)))
}

pub(in crate::server) async fn apply(
    State(server): State<Server>,
    Of(id): Of<String>,
    Bearer(bearer): Bearer,
) -> Answer {
    Ok(one(StatusCode::OK, resource("applies", &Kind::Apply.found(&server, &bearer, &id)?)))
}

/// Ours: where to begin, and how long to wait for more.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::server) struct From {
    #[serde(default)]
    from: u64,
    #[serde(default)]
    wait_ms: u64,
}

pub(in crate::server) async fn plan_output(
    State(server): State<Server>,
    Of(id): Of<String>,
    Bearer(bearer): Bearer,
    Asked(from): Asked<From>,
) -> Answer {
    output(&server, &bearer, Kind::Plan, &id, from).await
}

pub(in crate::server) async fn apply_output(
    State(server): State<Server>,
    Of(id): Of<String>,
    Bearer(bearer): Bearer,
    Asked(from): Asked<From>,
) -> Answer {
    output(&server, &bearer, Kind::Apply, &id, from).await
}

/// What stands where the console of a lost task ends. It is no part of the log: should its worker still
/// bring the rest, that takes its place.
const CUT_MARK: &str = "\n[the console ends here: its worker was lost]\n";

async fn output(server: &Server, bearer: &Token, kind: Kind, id: &str, asked: From) -> Answer {
    let From { from, wait_ms } = asked;
    // What there is when nothing came in time is an answer, too.
    let news = server.wait(server.versions(), wait_ms, |left_ms| {
        let view = kind.found(server, bearer, id).map_err(|e| e.0)?;
        let news = view.log_bytes != from || !view.is_log_open || left_ms == 0;
        Ok(news.then_some(view))
    });
    let Some(view) = news.await? else { return Err(missing("output of", id)) };
    let Some(task) = view.task.as_ref().filter(|_| view.log_bytes >= from) else {
        if view.log_bytes < from {
            let detail = format!("the output has {} bytes, not {from}", view.log_bytes);
            let mut response = Refused::new(ErrorCode::RangeMismatch, detail).into_response();
            if let Some(value) = stored_header(view.log_bytes).and_then(|v| HeaderValue::try_from(v).ok()) {
                response.headers_mut().insert(header::RANGE, value);
            }
            return Ok(response);
        }
        return Ok(text(octets(Body::empty()), &view));
    };
    let body = server.inner.store.log(task, from, view.log_bytes).await?;
    let (body, mark_bytes) = if view.is_log_cut {
        let mark =
            futures_util::stream::once(std::future::ready(Ok(Bytes::from_static(CUT_MARK.as_bytes()))));
        (Body::from_stream(body.into_data_stream().chain(mark)), CUT_MARK.len() as u64)
    } else {
        (body, 0)
    };
    let mut response = text(octets(body), &view);
    let bytes = view.log_bytes - from + mark_bytes;
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    Ok(response)
}

fn text(mut response: Response, view: &StageView) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let ended = if view.is_log_open { "false" } else { "true" };
    headers.insert(OUTPUT_ENDED_HEADER, HeaderValue::from_static(ended));
    response
}

pub(in crate::server) async fn json_output(
    State(server): State<Server>,
    Of(id): Of<String>,
    Bearer(bearer): Bearer,
) -> Answer {
    let plan = Kind::Plan.found(&server, &bearer, &id)?;
    let blob = plan.blobs.into_iter().find(|blob| blob.kind == BlobKind::PlanJson);
    let blob = blob.ok_or_else(|| Refused::new(ErrorCode::NotFound, format!("plan `{id}` has no JSON")))?;
    let mut response = with_digest(octets(server.inner.store.blob(blob.sha256).await?), &blob);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
