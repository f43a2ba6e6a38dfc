//! The public side: a subset of Scalr's public API under its own names, for people and their tools.
//!
//! What Scalr does not have is marked "ours": `force-cancel`, `force-unlock`, `upload`, the parameters `from`
//! and `wait-ms` of an output, the attributes `waiting-reason` and `error-message`. It must never show a
//! token or a sensitive value.

use axum::{
    extract::{FromRequest, Request},
    http::StatusCode,
    response::Response,
};
use scalr_protocol::{
    MEDIA_TYPE,
    error::{ApiError, ErrorCode},
    id::WorkspaceId,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Server,
    answer::{JSON_BYTES_MAX, Refused, content_type, document, json, read},
};
use crate::{
    resource::{Many, Meta, One, Pagination, Resource},
    state::{Command, Key, PublicCall, Reply, Token},
};

pub(super) mod agents;
pub(super) mod configurations;
pub(super) mod runs;
pub(super) mod stages;
pub(super) mod states;
pub(super) mod variables;
pub(super) mod workspaces;

/// As Scalr has it.
const PAGE_SIZE: usize = 20;
const PAGE_SIZE_MAX: usize = 100;

/// What a list may be asked for.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Listing {
    #[serde(rename = "page[number]")]
    page: Option<usize>,
    #[serde(rename = "page[size]")]
    size: Option<usize>,
    /// Only those of this workspace.
    #[serde(rename = "filter[workspace]")]
    workspace: Option<WorkspaceId>,
    /// Only those of this name.
    #[serde(rename = "filter[name]")]
    name: Option<String>,
    /// Only those of one of these statuses.
    #[serde(rename = "filter[status]")]
    status: Option<String>,
}

/// A resource that a client sends.
pub(super) struct Sent<A>(pub(super) Resource<A>);

/// What a resource is called that carries these attributes.
pub(super) trait Attributes: DeserializeOwned + Default {
    const TYPE: &'static str;
}

impl<S: Sync, A: Attributes> FromRequest<S> for Sent<A> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        content_type(request.headers(), &[MEDIA_TYPE, "application/json"])?;
        let one: One<A> = json(&read(request, JSON_BYTES_MAX).await?)?;
        if one.data.kind == A::TYPE {
            Ok(Self(one.data))
        } else {
            let detail = format!("the type is `{}`; expected `{}`", one.data.kind, A::TYPE);
            Err(ApiError::new(ErrorCode::Invalid, detail).at("/data/type").into())
        }
    }
}

impl<A> Sent<A> {
    /// The workspace that it is for.
    fn workspace(&self) -> Result<WorkspaceId, Refused> {
        const POINTER: &str = "/data/relationships/workspace/data/id";
        let id = self.0.related("workspace").ok_or_else(|| {
            ApiError::new(ErrorCode::Invalid, "name the workspace in `relationships`").at(POINTER)
        })?;
        WorkspaceId::new(id)
            .map_err(|e| ApiError::new(ErrorCode::Malformed, e.to_string()).at(POINTER).into())
    }
}

impl Server {
    /// Changes something through the public API.
    fn change(&self, bearer: &Token, key: Option<Key>, call: PublicCall) -> Result<Reply, ApiError> {
        self.apply(Command::Public { bearer: bearer.clone(), key, call })
    }
}

fn one(status: StatusCode, resource: Resource) -> Response {
    document(status, &One { data: resource })
}

/// The wanted page of a list.
fn many(all: Vec<Resource>, listing: &Listing) -> Response {
    let size = listing.size.unwrap_or(PAGE_SIZE).clamp(1, PAGE_SIZE_MAX);
    let (count, page) = (all.len(), listing.page.unwrap_or(1).max(1));
    let pages = count.div_ceil(size).max(1);
    let data = all.into_iter().skip((page - 1).saturating_mul(size)).take(size).collect();
    let pagination = Pagination {
        current_page: page,
        page_size: size,
        prev_page: (page > 1).then(|| page - 1),
        next_page: (page < pages).then(|| page + 1),
        total_pages: pages,
        total_count: count,
    };
    document(StatusCode::OK, &Many::<Value> { data, meta: Meta { pagination } })
}

fn missing(what: &str, id: impl std::fmt::Display) -> Refused {
    Refused::new(ErrorCode::NotFound, format!("there is no {what} `{id}`"))
}
