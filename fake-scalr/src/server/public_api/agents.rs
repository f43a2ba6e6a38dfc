//! The agent pool, its tokens and its agents.

use axum::{extract::State, http::StatusCode};
use scalr_protocol::id::{AgentId, AgentPoolId};
use serde::Deserialize;
use serde_json::json;

use super::{Attributes, Listing, Sent, many, missing, one};
use crate::{
    resource::Resource,
    server::{
        Server,
        agent_api::odd,
        answer::{Answer, Asked, Bearer, Of, Once, nothing},
    },
    state::{
        PublicCall, Reply,
        ids::PoolTokenId,
        views::{AgentPoolView, AgentView, PoolTokenView},
    },
};

/// What a pool token is for.
#[derive(Debug, Default, Deserialize)]
pub(in crate::server) struct TokenAttributes {
    #[serde(default)]
    description: String,
}

impl Attributes for TokenAttributes {
    const TYPE: &'static str = "access-tokens";
}

fn agent(view: &AgentView) -> Resource {
    let attributes = json!({
        "name": view.name,
        "status": view.status,
        "error-message": view.error_message,
        "version": view.version,
        "os": view.os,
        "driver": view.driver,
        "capacity": view.capacity,
        "slots": view.slots,
        "draining": view.is_draining,
        "unlaunched": view.unlaunched,
        "last-seen-at": view.last_seen_at,
        "created-at": view.created_at,
    });
    Resource::new("agents", &view.id, attributes)
}

fn pool(view: &AgentPoolView) -> Resource {
    let attributes = json!({
        "name": view.name,
        "default": true,
        "in-use": view.online > 0,
        "online": view.online,
        "queued": view.queued,
    });
    Resource::new("agent-pools", &view.id, attributes)
}

fn token(view: &PoolTokenView, text: Option<&str>) -> Resource {
    let attributes = json!({
        "description": view.description,
        "created-at": view.created_at,
        "is-expired": view.is_revoked,
        "token": text,
    });
    Resource::new("access-tokens", &view.id, attributes)
}

pub(in crate::server) async fn list(
    State(server): State<Server>,
    Bearer(bearer): Bearer,
    Asked(listing): Asked<Listing>,
) -> Answer {
    let all = server.read_as(&bearer, |state| state.agents().iter().map(agent).collect())?;
    Ok(many(all, &listing))
}

pub(in crate::server) async fn show(
    State(server): State<Server>,
    Of(id): Of<AgentId>,
    Bearer(bearer): Bearer,
) -> Answer {
    let found = server.read_as(&bearer, |state| state.agent(&id))?;
    Ok(one(StatusCode::OK, agent(&found.ok_or_else(|| missing("agent", &id))?)))
}

pub(in crate::server) async fn pools(
    State(server): State<Server>,
    Bearer(bearer): Bearer,
    Asked(listing): Asked<Listing>,
) -> Answer {
    let all = server.read_as(&bearer, |state| vec![pool(&state.agent_pool())])?;
    Ok(many(all, &listing))
}

fn the_pool(
    server: &Server,
    bearer: &crate::state::Token,
    id: &AgentPoolId,
) -> Result<Resource, super::Refused> {
    let view = server.read_as(bearer, crate::state::State::agent_pool)?;
    if view.id == *id { Ok(pool(&view)) } else { Err(missing("agent pool", id)) }
}

pub(in crate::server) async fn show_pool(
    State(server): State<Server>,
    Of(id): Of<AgentPoolId>,
    Bearer(bearer): Bearer,
) -> Answer {
    Ok(one(StatusCode::OK, the_pool(&server, &bearer, &id)?))
}

pub(in crate::server) async fn tokens(
    State(server): State<Server>,
    Of(id): Of<AgentPoolId>,
    Bearer(bearer): Bearer,
    Asked(listing): Asked<Listing>,
) -> Answer {
    the_pool(&server, &bearer, &id)?;
    let all = server.read(|state| state.pool_tokens().iter().map(|view| token(view, None)).collect());
    Ok(many(all, &listing))
}

pub(in crate::server) async fn create_token(
    State(server): State<Server>,
    Of(id): Of<AgentPoolId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    Sent(sent): Sent<TokenAttributes>,
) -> Answer {
    the_pool(&server, &bearer, &id)?;
    let description = sent.attributes.description;
    let reply = server.change(&bearer, key, PublicCall::CreatePoolToken { description })?;
    let Reply::PoolToken { id, text } = reply else { return Err(odd()) };
    let all = server.read(crate::state::State::pool_tokens);
    let view = all.iter().find(|view| view.id == id).ok_or_else(|| missing("access token", &id))?;
    // The only time that it is shown.
    Ok(one(StatusCode::CREATED, token(view, Some(text.expose()))))
}

pub(in crate::server) async fn revoke_token(
    State(server): State<Server>,
    Of(id): Of<String>,
    Bearer(bearer): Bearer,
    Once(key): Once,
) -> Answer {
    let token = PoolTokenId::new(&id);
    let Reply::Done = server.change(&bearer, key, PublicCall::RevokePoolToken { token })? else {
        return Err(odd());
    };
    Ok(nothing(StatusCode::NO_CONTENT))
}
