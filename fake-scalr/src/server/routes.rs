//! Every route, once: its name (by which faults find it), who may call it, what it answers. The router and
//! the `OpenAPI` document are both made from this table, so that they can't part.

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any, delete, get, patch, post, put},
};
use scalr_protocol::{BASE_PATH, VERSION, VERSION_HEADER, error::ErrorCode};

use super::{
    Server, agent_api,
    answer::{Refused, no_method, no_route},
    faults, inspect, openapi, page,
    public_api::{agents, configurations, runs, stages, states, variables, workspaces},
    state_api, task_api,
};

/// One call.
#[derive(Debug)]
pub struct Route {
    /// The name by which faults find it.
    pub name: &'static str,
    /// Its method.
    pub method: &'static str,
    /// Its path, with parameters in braces.
    pub path: &'static str,
    /// Which token it wants.
    pub token: Who,
    /// What it takes.
    pub body: Takes,
    /// The statuses of its answers, besides refusals that every route may give.
    pub answers: &'static [u16],
    /// What it does.
    pub summary: &'static str,
    /// None where another route of the same path serves all methods.
    handler: Option<fn() -> MethodRouter<Server>>,
}

/// Which token a route wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// None.
    Nobody,
    /// A pool token.
    Pool,
    /// A session token.
    Session,
    /// A task token.
    Task,
    /// A run token, or a user token.
    Run,
    /// A user token.
    User,
}

/// What a route takes as its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// A JSON:API document whose `data.type` is this.
    Document(&'static str),
    /// Plain JSON, or nothing.
    Json,
    /// Bytes.
    Octets,
}

use Takes::{Document, Json, Nothing, Octets};
use Who::{Nobody, Pool, Run, Session, Task, User};

impl Route {
    /// Whether it belongs to the agent protocol.
    pub fn is_agents(&self) -> bool {
        self.path.starts_with(BASE_PATH)
    }
}

macro_rules! routes {
    ($(
        $name:literal $method:ident $path:literal $token:ident
        $body:expr, $answers:expr, $summary:literal, $handler:expr;
    )+) => {
        &[$(Route {
            name: $name,
            method: stringify!($method),
            path: $path,
            token: $token,
            body: $body,
            answers: &$answers,
            summary: $summary,
            handler: $handler,
        },)+]
    };
}

/// All of them.
#[rustfmt::skip]
pub const ROUTES: &[Route] = routes! {
    "register" POST "/api/agent/v1/agents" Pool Document("agents"), [201, 200, 403, 409], "Register an agent", Some(|| post(agent_api::register));
    "heartbeat" POST "/api/agent/v1/agents/{agent}/heartbeat" Session Document("agent-heartbeats"), [200, 410], "Say that an agent lives, and hear of its tasks", Some(|| post(agent_api::heartbeat));
    "deregister" DELETE "/api/agent/v1/agents/{agent}" Session Nothing, [204], "Deregister an agent", Some(|| delete(agent_api::deregister));
    "acquire" POST "/api/agent/v1/agents/{agent}/acquire" Session Document("agent-acquires"), [200, 204, 409], "Wait for tasks", Some(|| post(agent_api::acquire));
    "launch-events" POST "/api/agent/v1/agents/{agent}/launch-events" Session Document("agent-launch-events"), [202], "Tell what happens before a start", Some(|| post(agent_api::launch_events));
    "messages" GET "/api/agent/v1/agents/{agent}/messages" Session Nothing, [200, 204], "Wait for hints", Some(|| get(agent_api::messages));
    "release" POST "/api/agent/v1/agent-tasks/{task}/release" Session Document("agent-releases"), [200, 409, 410], "Give an unstarted task back", Some(|| post(agent_api::release));
    "launch-failed" POST "/api/agent/v1/agent-tasks/{task}/launch-failed" Session Document("agent-launch-failures"), [200, 409, 410], "Tell that a task could not be started", Some(|| post(agent_api::launch_failed));
    "worker-lost" POST "/api/agent/v1/agent-tasks/{task}/worker-lost" Session Document("agent-worker-losses"), [200, 409], "Tell how a worker was lost", Some(|| post(agent_api::worker_lost));
    "start" POST "/api/agent/v1/agent-tasks/{task}/start" Session Document("agent-task-starts"), [200, 409, 410], "Claim a task", Some(|| post(task_api::start));
    "lease" PUT "/api/agent/v1/agent-tasks/{task}/lease" Task Document("agent-task-leases"), [200, 409, 410], "Confirm a claim, then renew it", Some(|| put(task_api::lease));
    "signals" GET "/api/agent/v1/agent-tasks/{task}/signals" Task Nothing, [200, 204], "Wait for signals", Some(|| get(task_api::signals));
    "log" PATCH "/api/agent/v1/agent-tasks/{task}/log" Task Octets, [202, 416], "Append to the console", Some(|| patch(task_api::log));
    "blob-get" GET "/api/agent/v1/agent-tasks/{task}/blobs/{kind}" Task Nothing, [200], "Fetch a file of the task", Some(|| get(task_api::blob));
    "blob-put" PUT "/api/agent/v1/agent-tasks/{task}/blobs/{kind}" Task Octets, [201, 204, 409, 422], "Upload a file of the task", Some(|| put(task_api::put_blob));
    "finish" POST "/api/agent/v1/agent-tasks/{task}/finish" Task Document("agent-task-finishes"), [200, 202, 409], "Record the outcome", Some(|| post(task_api::finish));
    "state-get" GET "/api/agent/v1/workspaces/{workspace}/state" Run Nothing, [200, 204], "Fetch the state", Some(|| any(state_api::any_method));
    "state-post" POST "/api/agent/v1/workspaces/{workspace}/state" Run Json, [200, 423], "Store a state", None;
    "state-lock" LOCK "/api/agent/v1/workspaces/{workspace}/state" Run Json, [200, 423], "Lock the state", None;
    "state-unlock" UNLOCK "/api/agent/v1/workspaces/{workspace}/state" Run Json, [200, 423], "Unlock the state", None;

    "workspaces" GET "/api/iacp/v3/workspaces" User Nothing, [200], "List workspaces", Some(|| get(workspaces::list));
    "workspace-create" POST "/api/iacp/v3/workspaces" User Document("workspaces"), [201, 422], "Create a workspace", Some(|| post(workspaces::create));
    "workspace" GET "/api/iacp/v3/workspaces/{workspace}" User Nothing, [200], "Show a workspace", Some(|| get(workspaces::show));
    "workspace-update" PATCH "/api/iacp/v3/workspaces/{workspace}" User Document("workspaces"), [200, 422], "Change a workspace", Some(|| patch(workspaces::update));
    "workspace-lock" POST "/api/iacp/v3/workspaces/{workspace}/actions/lock" User Json, [200, 409], "Lock a workspace", Some(|| post(workspaces::lock));
    "workspace-unlock" POST "/api/iacp/v3/workspaces/{workspace}/actions/unlock" User Nothing, [200, 409], "Unlock a workspace", Some(|| post(workspaces::unlock));
    "state-force-unlock" POST "/api/iacp/v3/workspaces/{workspace}/actions/force-unlock" User Json, [200, 409], "Take the lock of a state away, with `force` also from a task that is not over (not Scalr's)", Some(|| post(workspaces::force_unlock));
    "state-current" GET "/api/iacp/v3/workspaces/{workspace}/current-state-version" User Nothing, [200], "Show the latest state version", Some(|| get(states::current));
    "state-versions" GET "/api/iacp/v3/state-versions" User Nothing, [200], "List state versions", Some(|| get(states::list));
    "state-version" GET "/api/iacp/v3/state-versions/{version}" User Nothing, [200], "Show a state version", Some(|| get(states::show));
    "state-download" GET "/api/iacp/v3/state-versions/{version}/download" User Nothing, [200], "Download a state version", Some(|| get(states::download));
    "vars" GET "/api/iacp/v3/vars" User Nothing, [200], "List variables", Some(|| get(variables::list));
    "var-create" POST "/api/iacp/v3/vars" User Document("vars"), [201, 422], "Create a variable", Some(|| post(variables::create));
    "var-delete" DELETE "/api/iacp/v3/vars/{var}" User Nothing, [204], "Delete a variable", Some(|| delete(variables::delete));
    "configuration-version-create" POST "/api/iacp/v3/configuration-versions" User Document("configuration-versions"), [201], "Create a configuration version", Some(|| post(configurations::create));
    "configuration-version" GET "/api/iacp/v3/configuration-versions/{version}" User Nothing, [200], "Show a configuration version", Some(|| get(configurations::show));
    "configuration-version-upload" PUT "/api/iacp/v3/configuration-versions/{version}/upload" User Octets, [200, 409, 422], "Upload a tar.gz (not Scalr's)", Some(|| put(configurations::upload));
    "configuration-version-download" GET "/api/iacp/v3/configuration-versions/{version}/download" User Nothing, [200], "Download a configuration version", Some(|| get(configurations::download));
    "runs" GET "/api/iacp/v3/runs" User Nothing, [200], "List runs, the newest first", Some(|| get(runs::list));
    "run-create" POST "/api/iacp/v3/runs" User Document("runs"), [201, 422], "Create a run", Some(|| post(runs::create));
    "run" GET "/api/iacp/v3/runs/{run}" User Nothing, [200], "Show a run", Some(|| get(runs::show));
    "run-apply" POST "/api/iacp/v3/runs/{run}/actions/apply" User Json, [202, 409], "Approve a run", Some(|| post(runs::confirm));
    "run-discard" POST "/api/iacp/v3/runs/{run}/actions/discard" User Json, [202, 409], "Discard a run", Some(|| post(runs::discard));
    "run-cancel" POST "/api/iacp/v3/runs/{run}/actions/cancel" User Json, [202, 409], "Cancel a run", Some(|| post(runs::cancel));
    "run-force-cancel" POST "/api/iacp/v3/runs/{run}/actions/force-cancel" User Json, [202, 409], "Cancel a run by killing its tool (not Scalr's)", Some(|| post(runs::force_cancel));
    "runs-queue" GET "/api/iacp/v3/runs-queue" User Nothing, [200], "List runs that wait, the first to go first", Some(|| get(runs::queue));
    "plan" GET "/api/iacp/v3/plans/{plan}" User Nothing, [200], "Show a plan", Some(|| get(stages::plan));
    "plan-output" GET "/api/iacp/v3/plans/{plan}/output" User Nothing, [200, 416], "The console of a plan; `from` and `wait-ms` are not Scalr's", Some(|| get(stages::plan_output));
    "plan-json" GET "/api/iacp/v3/plans/{plan}/json-output" User Nothing, [200], "The plan as JSON", Some(|| get(stages::json_output));
    "apply" GET "/api/iacp/v3/applies/{apply}" User Nothing, [200], "Show an apply", Some(|| get(stages::apply));
    "apply-output" GET "/api/iacp/v3/applies/{apply}/output" User Nothing, [200, 416], "The console of an apply; `from` and `wait-ms` are not Scalr's", Some(|| get(stages::apply_output));
    "agent-pools" GET "/api/iacp/v3/agent-pools" User Nothing, [200], "List agent pools", Some(|| get(agents::pools));
    "agent-pool" GET "/api/iacp/v3/agent-pools/{pool}" User Nothing, [200], "Show an agent pool", Some(|| get(agents::show_pool));
    "access-tokens" GET "/api/iacp/v3/agent-pools/{pool}/access-tokens" User Nothing, [200], "List the tokens of a pool", Some(|| get(agents::tokens));
    "access-token-create" POST "/api/iacp/v3/agent-pools/{pool}/access-tokens" User Document("access-tokens"), [201], "Create a token of a pool", Some(|| post(agents::create_token));
    "access-token-delete" DELETE "/api/iacp/v3/access-tokens/{token}" User Nothing, [204], "Revoke a token of a pool", Some(|| delete(agents::revoke_token));
    "agents" GET "/api/iacp/v3/agents" User Nothing, [200], "List agents", Some(|| get(agents::list));
    "agent" GET "/api/iacp/v3/agents/{agent}" User Nothing, [200], "Show an agent", Some(|| get(agents::show));

    "faults-add" POST "/fake/faults" User Json, [200, 422], "Set faults", Some(|| post(faults::add));
    "faults" GET "/fake/faults" User Nothing, [200], "List the faults that are set", Some(|| get(faults::list));
    "faults-clear" DELETE "/fake/faults" User Nothing, [204], "Clear all faults", Some(|| delete(faults::clear));
    "inspect" GET "/fake/inspect" User Nothing, [200], "Everything that the server knows", Some(|| get(inspect::inspect));
    "openapi" GET "/openapi.json" Nobody Nothing, [200], "This document", Some(|| get(openapi::show));
    "page" GET "/" Nobody Nothing, [200], "The status page", Some(|| get(page::show));
};

/// The route of a method and a matched path.
pub(super) fn of(method: &Method, path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.path == path && route.method == method.as_str())
}

/// The router of all routes.
pub(super) fn router(server: Server) -> Router {
    ROUTES
        .iter()
        .filter_map(|route| Some((route.path, route.handler?())))
        .fold(Router::new(), |router, (path, handler)| {
            let layer = from_fn_with_state((server.clone(), path), faults::layer);
            router.route(path, handler.layer(layer))
        })
        .method_not_allowed_fallback(no_method)
        .fallback(no_route)
        .layer(from_fn(version))
        .with_state(server)
}

/// Refuses other versions of the agent protocol, and names this one in every answer.
async fn version(request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with(BASE_PATH) {
        return next.run(request).await;
    }
    let asked =
        request.headers().get(VERSION_HEADER).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let mut response = match asked {
        // The tool's own calls know nothing of versions.
        None => next.run(request).await,
        Some(asked) if asked == VERSION => next.run(request).await,
        Some(asked) => {
            let asked: String = asked.chars().take(64).collect();
            let detail = format!("version `{asked}` was asked for; {VERSION} is spoken here");
            let mut response = Refused::new(ErrorCode::ProtocolUnsupported, detail).into_response();
            // As RFC 9110 wants with 426, though nothing is upgraded.
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("agent-protocol"));
            response
        }
    };
    response.headers_mut().insert(HeaderName::from_static(VERSION_HEADER), HeaderValue::from_static(VERSION));
    debug_assert!(response.status() != StatusCode::SWITCHING_PROTOCOLS);
    response
}
