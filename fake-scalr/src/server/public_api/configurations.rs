//! Configuration versions: made, uploaded as a tar.gz, downloaded.

use std::io::Read;

use axum::{
    extract::{Request, State},
    http::StatusCode,
};
use scalr_protocol::error::{ApiError, ErrorCode};
use serde::Deserialize;
use serde_json::json;

use super::{Attributes, Sent, missing, one};
use crate::{
    PUBLIC_BASE_PATH,
    resource::Resource,
    server::{
        Server,
        agent_api::odd,
        answer::{Answer, Bearer, Of, Once, Refused, content_type, octets},
        bytes::Stored,
        task_api::{content_digest, with_digest},
    },
    state::{PublicCall, Reply, ids::ConfigurationVersionId, views::ConfigurationVersionView},
};

/// The largest archive, packed. Workers have limits of their own for what comes out.
const ARCHIVE_BYTES_MAX: u64 = 256 * 1024 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Nothing can be set.
#[derive(Debug, Default, Deserialize)]
pub(in crate::server) struct ConfigurationVersionAttributes {}

impl Attributes for ConfigurationVersionAttributes {
    const TYPE: &'static str = "configuration-versions";
}

fn resource(view: &ConfigurationVersionView) -> Resource {
    let attributes = json!({
        "status": if view.blob.is_some() { "uploaded" } else { "pending" },
        "size": view.blob.as_ref().map(|blob| blob.bytes),
        "sha256": view.blob.as_ref().map(|blob| blob.sha256),
        "upload-url": format!("{PUBLIC_BASE_PATH}/configuration-versions/{}/upload", view.id),
        "created-at": view.created_at,
    });
    Resource::new("configuration-versions", &view.id, attributes).with(
        "workspace",
        "workspaces",
        Some(&view.workspace),
    )
}

fn shown(server: &Server, reply: &Reply, status: StatusCode) -> Answer {
    let Reply::ConfigurationVersion(id) = reply else { return Err(odd()) };
    let view = server.read(|state| state.configuration_version(id));
    Ok(one(status, resource(&view.ok_or_else(|| missing("configuration version", id))?)))
}

pub(in crate::server) async fn create(
    State(server): State<Server>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    sent: Sent<ConfigurationVersionAttributes>,
) -> Answer {
    let workspace = sent.workspace()?;
    let reply = server.change(&bearer, key, PublicCall::CreateConfigurationVersion { workspace })?;
    shown(&server, &reply, StatusCode::CREATED)
}

fn found(
    server: &Server,
    bearer: &crate::state::Token,
    id: &ConfigurationVersionId,
) -> Result<ConfigurationVersionView, Refused> {
    let view = server.read_as(bearer, |state| state.configuration_version(id))?;
    view.ok_or_else(|| missing("configuration version", id))
}

pub(in crate::server) async fn show(
    State(server): State<Server>,
    Of(id): Of<String>,
    Bearer(bearer): Bearer,
) -> Answer {
    let view = found(&server, &bearer, &ConfigurationVersionId::new(&id))?;
    Ok(one(StatusCode::OK, resource(&view)))
}

/// Takes the archive. Ours.
pub(in crate::server) async fn upload(
    State(server): State<Server>,
    Of(id): Of<String>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    request: Request,
) -> Answer {
    let configuration_version = ConfigurationVersionId::new(&id);
    found(&server, &bearer, &configuration_version)?;
    content_type(request.headers(), &["application/octet-stream", "application/gzip"])?;
    let expected = content_digest(request.headers())?;
    let Stored { bytes, sha256 } =
        server.inner.store.take(request.into_body(), ARCHIVE_BYTES_MAX, expected).await?;
    let mut magic = Vec::new();
    std::fs::File::open(server.inner.store.blob_path(sha256))
        .and_then(|file| file.take(2).read_to_end(&mut magic))
        .map_err(|e| Refused::new(ErrorCode::Internal, e.to_string()))?;
    if magic != GZIP_MAGIC {
        return Err(ApiError::new(ErrorCode::Invalid, "the body is no gzip; send a tar.gz").into());
    }
    let call = PublicCall::ConfigurationUploaded { configuration_version, bytes, sha256 };
    let reply = server.change(&bearer, key, call)?;
    shown(&server, &reply, StatusCode::OK)
}

pub(in crate::server) async fn download(
    State(server): State<Server>,
    Of(id): Of<String>,
    Bearer(bearer): Bearer,
) -> Answer {
    let view = found(&server, &bearer, &ConfigurationVersionId::new(&id))?;
    let blob = view.blob.ok_or_else(|| {
        Refused::new(ErrorCode::NotFound, format!("configuration version `{id}` was not uploaded"))
    })?;
    Ok(with_digest(octets(server.inner.store.blob(blob.sha256).await?), &blob))
}
