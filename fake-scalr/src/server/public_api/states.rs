//! State versions, for people. The tool's own way to them is the `http` backend.

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
};
use scalr_protocol::id::WorkspaceId;
use serde_json::json;

use super::{Listing, many, missing, one};
use crate::{
    resource::Resource,
    server::{
        Server,
        answer::{Answer, Asked, Bearer, Of, octets},
    },
    state::{command::StateRef, ids::StateVersionId},
};

fn resource(workspace: &WorkspaceId, state: &StateRef) -> Resource {
    let attributes = json!({
        "serial": state.serial,
        "lineage": state.lineage,
        "size": state.bytes,
        "sha256": state.sha256,
        "created-at": state.created_at,
    });
    Resource::new("state-versions", &state.id, attributes)
        .with("workspace", "workspaces", Some(workspace))
        .with("run", "runs", state.run.as_ref())
}

pub(in crate::server) async fn list(
    State(server): State<Server>,
    Bearer(bearer): Bearer,
    Asked(listing): Asked<Listing>,
) -> Answer {
    let all = server.read_as(&bearer, |state| {
        let workspaces = match &listing.workspace {
            Some(workspace) => vec![workspace.clone()],
            None => state.workspaces().into_iter().map(|view| view.id).collect(),
        };
        let of = |id: &WorkspaceId| state.state_versions(id).unwrap_or_default();
        workspaces.iter().flat_map(|id| of(id).into_iter().map(|version| resource(id, &version))).collect()
    })?;
    Ok(many(all, &listing))
}

fn found(
    server: &Server,
    bearer: &crate::state::Token,
    id: &str,
) -> Result<(WorkspaceId, StateRef), super::Refused> {
    let id = StateVersionId::new(id);
    let found = server.read_as(bearer, |state| state.state_version(&id))?;
    found.ok_or_else(|| missing("state version", &id))
}

pub(in crate::server) async fn show(
    State(server): State<Server>,
    Of(id): Of<String>,
    Bearer(bearer): Bearer,
) -> Answer {
    let (workspace, version) = found(&server, &bearer, &id)?;
    Ok(one(StatusCode::OK, resource(&workspace, &version)))
}

pub(in crate::server) async fn download(
    State(server): State<Server>,
    Of(id): Of<String>,
    Bearer(bearer): Bearer,
) -> Answer {
    let (_, version) = found(&server, &bearer, &id)?;
    let mut response = octets(server.inner.store.blob(version.sha256).await?);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(version.bytes));
    Ok(response)
}

pub(in crate::server) async fn current(
    State(server): State<Server>,
    Of(workspace): Of<WorkspaceId>,
    Bearer(bearer): Bearer,
) -> Answer {
    let current = server.read_as(&bearer, |state| state.current_state(&workspace))?;
    let current = current.ok_or_else(|| missing("state of workspace", &workspace))?;
    Ok(one(StatusCode::OK, resource(&workspace, &current)))
}
