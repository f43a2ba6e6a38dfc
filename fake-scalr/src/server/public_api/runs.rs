//! Runs: create, list, show, and what people decide about them.

use axum::{extract::State, http::StatusCode};
use scalr_protocol::{
    error::{ApiError, ErrorCode},
    id::RunId,
    task::{RunMode, Variable, VariableCategory, Vcs},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Attributes, Listing, Sent, many, missing, one};
use crate::{
    resource::Resource,
    server::{
        Server,
        agent_api::odd,
        answer::{Answer, Asked, Bearer, Of, Once},
    },
    state::{
        PublicCall, Reply, State as Scalr, command::NewRun, ids::ConfigurationVersionId, status::RunStatus,
        views::RunView,
    },
};

/// What a run may be told.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::server) struct RunAttributes {
    #[serde(default)]
    is_destroy: bool,
    #[serde(default)]
    is_dry: bool,
    auto_apply: Option<bool>,
    refresh: Option<bool>,
    #[serde(default)]
    refresh_only: bool,
    message: Option<String>,
    source: Option<String>,
    #[serde(default)]
    target_addrs: Vec<String>,
    #[serde(default)]
    replace_addrs: Vec<String>,
    #[serde(default)]
    variables: Vec<RunVariable>,
    /// Ours: higher goes first.
    #[serde(default)]
    priority: i32,
    /// Ours: the commit it was made for.
    vcs: Option<Vcs>,
}

impl Attributes for RunAttributes {
    const TYPE: &'static str = "runs";
}

/// A variable of one run.
#[derive(Debug, Deserialize)]
struct RunVariable {
    key: String,
    value: scalr_protocol::secret::Secret,
    #[serde(default = "terraform")]
    category: VariableCategory,
    #[serde(default)]
    hcl: bool,
    #[serde(default)]
    sensitive: bool,
}

fn terraform() -> VariableCategory {
    VariableCategory::Terraform
}

impl RunAttributes {
    /// The words of the API are three switches; what they mean together is one mode.
    fn mode(&self) -> Result<RunMode, ApiError> {
        match (self.refresh_only, self.refresh) {
            (true, Some(false)) => {
                let detail = "`refresh-only` and no `refresh` exclude each other";
                Err(ApiError::new(ErrorCode::Invalid, detail).at("/data/attributes/refresh"))
            }
            (true, None | Some(true)) => Ok(RunMode::Refresh),
            (false, Some(false)) => Ok(RunMode::SkipRefresh),
            (false, None | Some(true)) if self.is_dry => Ok(RunMode::Dry),
            (false, None | Some(true)) => Ok(RunMode::Apply),
        }
    }
}

pub(in crate::server) fn resource(view: &RunView, state: &Scalr) -> Resource {
    let timestamps: Map<String, Value> =
        view.status_timestamps.iter().map(|(status, at)| (format!("{status}-at"), json!(at))).collect();
    let summary = state.plan(&view.plan).and_then(|plan| plan.summary);
    let attributes = json!({
        "status": view.status,
        "status-timestamps": timestamps,
        "created-at": view.created_at,
        "is-destroy": view.is_destroy,
        "is-dry": view.is_dry,
        "refresh": view.mode != RunMode::SkipRefresh,
        "refresh-only": view.mode == RunMode::Refresh,
        "auto-apply": view.auto_apply,
        "has-changes": summary.is_some_and(|summary| summary.has_changes),
        "message": view.message,
        "source": view.source,
        "target-addrs": view.targets,
        "replace-addrs": view.replace,
        "vcs": view.vcs,
        "waiting-reason": view.waiting_reason,
        "error-message": view.error_message,
        "is-cancel-requested": view.is_cancel_requested,
        "workspace-name": view.workspace_name,
    });
    Resource::new("runs", &view.id, attributes)
        .with("workspace", "workspaces", Some(&view.workspace))
        .with("configuration-version", "configuration-versions", Some(&view.configuration_version))
        .with("plan", "plans", Some(&view.plan))
        .with("apply", "applies", view.apply.as_ref())
}

fn shown(server: &Server, reply: &Reply, status: StatusCode) -> Answer {
    let Reply::Run(id) = reply else { return Err(odd()) };
    let resource = server.read(|state| state.run(id).map(|view| resource(&view, state)));
    Ok(one(status, resource.ok_or_else(|| missing("run", id))?))
}

pub(in crate::server) async fn create(
    State(server): State<Server>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    sent: Sent<RunAttributes>,
) -> Answer {
    let workspace = sent.workspace()?;
    let configuration_version = sent.0.related("configuration-version").map(ConfigurationVersionId::new);
    let attributes = sent.0.attributes;
    let mode = attributes.mode()?;
    let variable = |v: RunVariable| Variable {
        key: v.key,
        value: v.value,
        category: v.category,
        hcl: v.hcl,
        sensitive: v.sensitive,
    };
    let run = NewRun {
        workspace,
        configuration_version,
        is_destroy: attributes.is_destroy,
        is_dry: attributes.is_dry,
        mode,
        auto_apply: attributes.auto_apply,
        message: attributes.message.unwrap_or_default(),
        source: attributes.source.unwrap_or_else(|| "api".to_owned()),
        vcs: attributes.vcs,
        variables: attributes.variables.into_iter().map(variable).collect(),
        targets: attributes.target_addrs,
        replace: attributes.replace_addrs,
        priority: attributes.priority,
    };
    let reply = server.change(&bearer, key, PublicCall::CreateRun(run))?;
    shown(&server, &reply, StatusCode::CREATED)
}

/// The newest first, as Scalr has it.
pub(in crate::server) async fn list(
    State(server): State<Server>,
    Bearer(bearer): Bearer,
    Asked(listing): Asked<Listing>,
) -> Answer {
    let all = server.read_as(&bearer, |state| {
        let fits = |view: &&RunView| {
            listing.status.as_ref().is_none_or(|s| s.split(',').any(|s| s == view.status.as_str()))
        };
        state.runs(listing.workspace.as_ref()).iter().filter(fits).map(|view| resource(view, state)).collect()
    })?;
    Ok(many(all, &listing))
}

/// Those that wait for a turn or an agent, the first to go first.
pub(in crate::server) async fn queue(
    State(server): State<Server>,
    Bearer(bearer): Bearer,
    Asked(listing): Asked<Listing>,
) -> Answer {
    let all = server.read_as(&bearer, |state| {
        let waits = |view: &&RunView| {
            matches!(view.status, RunStatus::Pending | RunStatus::PlanQueued | RunStatus::ApplyQueued)
        };
        state.runs_queue().iter().filter(waits).map(|view| resource(view, state)).collect()
    })?;
    Ok(many(all, &listing))
}

/// Ours: wait while the status is this.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::server) struct Unless {
    unless_status: Option<String>,
    #[serde(default)]
    wait_ms: u64,
}

pub(in crate::server) async fn show(
    State(server): State<Server>,
    Of(id): Of<RunId>,
    Bearer(bearer): Bearer,
    Asked(Unless { unless_status, wait_ms }): Asked<Unless>,
) -> Answer {
    let news = server.wait(server.versions(), wait_ms, |left_ms| {
        let view = server.read_as(&bearer, |state| state.run(&id))?.ok_or_else(|| missing("run", &id).0)?;
        let is_news = left_ms == 0 || unless_status.as_deref().is_none_or(|s| s != view.status.as_str());
        Ok(is_news.then_some(()))
    });
    news.await?;
    let found = server.read(|state| state.run(&id).map(|view| resource(&view, state)));
    Ok(one(StatusCode::OK, found.ok_or_else(|| missing("run", &id))?))
}

pub(in crate::server) async fn confirm(
    State(server): State<Server>,
    Of(run): Of<RunId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
) -> Answer {
    let reply = server.change(&bearer, key, PublicCall::ConfirmRun { run })?;
    shown(&server, &reply, StatusCode::ACCEPTED)
}

pub(in crate::server) async fn discard(
    State(server): State<Server>,
    Of(run): Of<RunId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
) -> Answer {
    let reply = server.change(&bearer, key, PublicCall::DiscardRun { run })?;
    shown(&server, &reply, StatusCode::ACCEPTED)
}

pub(in crate::server) async fn cancel(
    State(server): State<Server>,
    Of(run): Of<RunId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
) -> Answer {
    let reply = server.change(&bearer, key, PublicCall::CancelRun { run, force: false })?;
    shown(&server, &reply, StatusCode::ACCEPTED)
}

/// Kills the tool instead of interrupting it. Ours.
pub(in crate::server) async fn force_cancel(
    State(server): State<Server>,
    Of(run): Of<RunId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
) -> Answer {
    let reply = server.change(&bearer, key, PublicCall::CancelRun { run, force: true })?;
    shown(&server, &reply, StatusCode::ACCEPTED)
}
