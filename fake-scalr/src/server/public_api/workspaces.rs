//! Workspaces: create, change, lock and unlock.

use std::collections::BTreeMap;

use axum::{extract::State, http::StatusCode};
use scalr_protocol::{
    error::{ApiError, ErrorCode},
    id::WorkspaceId,
    task::{Hook, HookPhase, Tool},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Attributes, Listing, Sent, many, missing, one};
use crate::{
    resource::Resource,
    server::{
        Server,
        agent_api::odd,
        answer::{Answer, Asked, Bearer, Of, Once, Plain, document},
    },
    state::{
        PublicCall, Reply,
        command::{LockHolder, WorkspaceChange},
        views::WorkspaceView,
    },
};

/// What can be set; what is absent stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::server) struct WorkspaceAttributes {
    name: Option<String>,
    auto_apply: Option<bool>,
    working_directory: Option<String>,
    var_files: Option<Vec<String>>,
    iac_platform: Option<String>,
    terraform_version: Option<String>,
    hooks: Option<BTreeMap<HookPhase, Option<String>>>,
    /// Minutes.
    run_operation_timeout: Option<u64>,
}

impl Attributes for WorkspaceAttributes {
    const TYPE: &'static str = "workspaces";
}

/// Scalr's bounds for the operation timeout, in minutes.
const TIMEOUT_MIN: std::ops::RangeInclusive<u64> = 1..=720;

impl WorkspaceAttributes {
    fn change(self, server: &Server, current: &Tool) -> Result<WorkspaceChange, ApiError> {
        let invalid = |detail: String, at: &str| ApiError::new(ErrorCode::Invalid, detail).at(at);
        let minutes = self.run_operation_timeout;
        if let Some(minutes) = minutes.filter(|minutes| !TIMEOUT_MIN.contains(minutes)) {
            let detail = format!("`{minutes}` minutes; expected 1 to 720");
            return Err(invalid(detail, "/data/attributes/run-operation-timeout"));
        }
        let name = match self.iac_platform.as_deref() {
            None => None,
            Some("terraform") => Some("terraform"),
            Some("opentofu") => Some("tofu"),
            Some(other) => {
                let detail = format!("`{other}` is no platform: expected terraform or opentofu");
                return Err(invalid(detail, "/data/attributes/iac-platform"));
            }
        };
        let tool = (name.is_some() || self.terraform_version.is_some()).then(|| {
            let version = self.terraform_version.as_deref().unwrap_or(&current.version);
            server.tool(name.unwrap_or(&current.name), version)
        });
        Ok(WorkspaceChange {
            auto_apply: self.auto_apply,
            working_directory: self.working_directory,
            var_files: self.var_files,
            tool,
            hooks: self.hooks.map(hooks),
            operation_timeout_ms: minutes.map(|minutes| minutes * 60_000),
        })
    }
}

fn hooks(wanted: BTreeMap<HookPhase, Option<String>>) -> Vec<Hook> {
    let hook = |(phase, command): (HookPhase, Option<String>)| {
        let command = command.filter(|command| !command.trim().is_empty())?;
        Some(Hook { phase, source: "workspace".to_owned(), command })
    };
    wanted.into_iter().filter_map(hook).collect()
}

fn resource(view: &WorkspaceView) -> Resource {
    let hooks: BTreeMap<_, _> = view.hooks.iter().map(|h| (h.phase.as_str(), h.command.as_str())).collect();
    let attributes = json!({
        "name": view.name,
        "auto-apply": view.auto_apply,
        "working-directory": view.working_directory,
        "var-files": view.var_files,
        "iac-platform": if view.tool.name == "tofu" { "opentofu" } else { view.tool.name.as_str() },
        "terraform-version": view.tool.version,
        "hooks": hooks,
        "run-operation-timeout": view.operation_timeout_ms / 60_000,
        "execution-mode": "remote",
        "locked": view.lock.is_some(),
        "lock-reason": view.lock.as_ref().map(|lock| &lock.reason),
        "locked-by-name": view.lock.as_ref().map(|lock| &lock.by),
        "locked-at": view.lock.as_ref().map(|lock| lock.at),
        "state-lock": view.state_lock.as_ref().map(holder),
        "created-at": view.created_at,
    });
    Resource::new("workspaces", &view.id, attributes).with("current-run", "runs", view.current_run.as_ref())
}

/// Who holds or held a state's lock, for people. Ours.
fn holder(holder: &LockHolder) -> Value {
    json!({
        "id": holder.info.id,
        "operation": holder.info.operation,
        "who": holder.info.who,
        "run": holder.run,
        "locked-at": holder.locked_at,
        "last-seen-at": holder.last_seen_at,
        "is-running": holder.is_running,
    })
}

fn shown(server: &Server, reply: &Reply, status: StatusCode) -> Answer {
    let Reply::Workspace(id) = reply else { return Err(odd()) };
    let view = server.read(|state| state.workspace(id)).ok_or_else(|| missing("workspace", id))?;
    Ok(one(status, resource(&view)))
}

pub(in crate::server) async fn list(
    State(server): State<Server>,
    Bearer(bearer): Bearer,
    Asked(listing): Asked<Listing>,
) -> Answer {
    let all = server.read_as(&bearer, |state| {
        let fits = |view: &WorkspaceView| {
            listing.name.as_ref().is_none_or(|name| *name == view.name)
                && listing.workspace.as_ref().is_none_or(|id| *id == view.id)
        };
        state.workspaces().iter().filter(|view| fits(view)).map(resource).collect()
    })?;
    Ok(many(all, &listing))
}

pub(in crate::server) async fn create(
    State(server): State<Server>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    Sent(sent): Sent<WorkspaceAttributes>,
) -> Answer {
    let default = server.read_as(&bearer, |state| state.settings().tool.clone())?;
    let name =
        sent.attributes.name.clone().ok_or_else(|| {
            ApiError::new(ErrorCode::Invalid, "name the workspace").at("/data/attributes/name")
        })?;
    let settings = sent.attributes.change(&server, &default)?;
    let reply = server.change(&bearer, key, PublicCall::CreateWorkspace { name, settings })?;
    shown(&server, &reply, StatusCode::CREATED)
}

pub(in crate::server) async fn show(
    State(server): State<Server>,
    Of(id): Of<WorkspaceId>,
    Bearer(bearer): Bearer,
) -> Answer {
    let view = server.read_as(&bearer, |state| state.workspace(&id))?;
    Ok(one(StatusCode::OK, resource(&view.ok_or_else(|| missing("workspace", &id))?)))
}

pub(in crate::server) async fn update(
    State(server): State<Server>,
    Of(workspace): Of<WorkspaceId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    Sent(sent): Sent<WorkspaceAttributes>,
) -> Answer {
    let current = server.read_as(&bearer, |state| state.workspace(&workspace))?;
    let current = current.ok_or_else(|| missing("workspace", &workspace))?;
    if sent.attributes.name.as_ref().is_some_and(|name| *name != current.name) {
        let error = ApiError::new(ErrorCode::Invalid, "a workspace can't be renamed here");
        return Err(error.at("/data/attributes/name").into());
    }
    let settings = sent.attributes.change(&server, &current.tool)?;
    let reply = server.change(&bearer, key, PublicCall::UpdateWorkspace { workspace, settings })?;
    shown(&server, &reply, StatusCode::OK)
}

/// What can be said with a lock.
#[derive(Debug, Default, Deserialize)]
pub(in crate::server) struct Reason {
    #[serde(default)]
    reason: String,
}

pub(in crate::server) async fn lock(
    State(server): State<Server>,
    Of(workspace): Of<WorkspaceId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    Plain(Reason { reason }): Plain<Reason>,
) -> Answer {
    let reply = server.change(&bearer, key, PublicCall::LockWorkspace { workspace, reason })?;
    shown(&server, &reply, StatusCode::OK)
}

pub(in crate::server) async fn unlock(
    State(server): State<Server>,
    Of(workspace): Of<WorkspaceId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
) -> Answer {
    let reply = server.change(&bearer, key, PublicCall::UnlockWorkspace { workspace })?;
    shown(&server, &reply, StatusCode::OK)
}

/// Whose lock of a state may be taken.
#[derive(Debug, Default, Deserialize)]
pub(in crate::server) struct Force {
    /// Also that of a task that is not over.
    #[serde(default)]
    force: bool,
}

/// Takes the state's lock away, and says whose it was. Ours.
pub(in crate::server) async fn force_unlock(
    State(server): State<Server>,
    Of(workspace): Of<WorkspaceId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    Plain(Force { force }): Plain<Force>,
) -> Answer {
    let call = PublicCall::ForceUnlockState { workspace, spare_running: !force };
    let reply = server.change(&bearer, key, call)?;
    let Reply::Unlocked(had) = reply else { return Err(odd()) };
    Ok(document(StatusCode::OK, &json!({"meta": {"state-lock": had.as_ref().map(holder)}})))
}
