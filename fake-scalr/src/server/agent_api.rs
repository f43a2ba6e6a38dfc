//! Calls 1 to 9: what an agent says. Each handler makes one command, and knows the answer's status.
//!
//! It must never decide: who may do what, and what comes of it, is the state's.

use axum::{extract::State, http::StatusCode};
use scalr_protocol::{
    agent::{Acquire, Heartbeat, LaunchEvents, LaunchFailed, Register, Release, WorkerLost},
    document::Message,
    error::{ApiError, ErrorCode},
    id::{AgentId, TaskId},
};
use serde::{Deserialize, Serialize};

use super::{
    Server,
    answer::{Answer, Asked, Bearer, Of, Once, Refused, Said, document, message, nothing},
};
use crate::state::{AgentCall, Command, Key, Reply, Token};

/// What a long poll asks.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct After {
    /// The last number seen.
    #[serde(default)]
    pub(super) after: u64,
    /// How long to wait.
    #[serde(default)]
    pub(super) wait_ms: u64,
}

#[derive(Serialize)]
struct Nothing {
    data: Option<()>,
}

/// 200 with nothing to say.
pub(super) fn done() -> axum::response::Response {
    document(StatusCode::OK, &Nothing { data: None })
}

/// A reply that does not belong to the call: a defect of ours.
pub(super) fn odd() -> Refused {
    Refused::new(ErrorCode::Internal, "the state answered another call")
}

/// 200 with the message, 204 without one.
pub(super) fn any<A: Message + Serialize>(found: Option<A>) -> axum::response::Response {
    match found {
        Some(found) => message(StatusCode::OK, found),
        None => nothing(StatusCode::NO_CONTENT),
    }
}

fn apply(server: &Server, bearer: Token, key: Option<Key>, call: AgentCall) -> Result<Reply, ApiError> {
    server.apply(Command::Agent { bearer, key, call })
}

pub(super) async fn register(
    State(server): State<Server>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    Said(register): Said<Register>,
) -> Answer {
    let reply = apply(&server, bearer, key, AgentCall::Register(register))?;
    let Reply::Registered { answer, taken_over } = reply else { return Err(odd()) };
    Ok(message(if taken_over { StatusCode::OK } else { StatusCode::CREATED }, answer))
}

pub(super) async fn heartbeat(
    State(server): State<Server>,
    Of(agent): Of<AgentId>,
    Bearer(bearer): Bearer,
    Said(beat): Said<Heartbeat>,
) -> Answer {
    let Reply::Heartbeat(answer) = apply(&server, bearer, None, AgentCall::Heartbeat { agent, beat })? else {
        return Err(odd());
    };
    Ok(message(StatusCode::OK, answer))
}

pub(super) async fn deregister(
    State(server): State<Server>,
    Of(agent): Of<AgentId>,
    Bearer(bearer): Bearer,
) -> Answer {
    let Reply::Done = apply(&server, bearer, None, AgentCall::Deregister { agent })? else {
        return Err(odd());
    };
    Ok(nothing(StatusCode::NO_CONTENT))
}

pub(super) async fn acquire(
    State(server): State<Server>,
    Of(agent): Of<AgentId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    Said(ask): Said<Acquire>,
) -> Answer {
    let found = server
        .wait(server.wakes(), ask.wait_ms, |left_ms| {
            let ask = Acquire { wait_ms: left_ms, ..ask.clone() };
            let call = AgentCall::Acquire { agent: agent.clone(), ask };
            let Reply::Acquired(acquired) = apply(&server, bearer.clone(), key.clone(), call)? else {
                return Err(odd().0);
            };
            Ok(if acquired.tasks.is_empty() { None } else { Some(acquired) })
        })
        .await?;
    Ok(any(found))
}

pub(super) async fn release(
    State(server): State<Server>,
    Of(task): Of<TaskId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    Said(release): Said<Release>,
) -> Answer {
    let Reply::Done = apply(&server, bearer, key, AgentCall::Release { task, release })? else {
        return Err(odd());
    };
    Ok(done())
}

pub(super) async fn launch_events(
    State(server): State<Server>,
    Of(agent): Of<AgentId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    Said(events): Said<LaunchEvents>,
) -> Answer {
    let Reply::Done = apply(&server, bearer, key, AgentCall::LaunchEvents { agent, events })? else {
        return Err(odd());
    };
    Ok(nothing(StatusCode::ACCEPTED))
}

pub(super) async fn launch_failed(
    State(server): State<Server>,
    Of(task): Of<TaskId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    Said(failure): Said<LaunchFailed>,
) -> Answer {
    let Reply::Done = apply(&server, bearer, key, AgentCall::LaunchFailed { task, failure })? else {
        return Err(odd());
    };
    Ok(done())
}

pub(super) async fn worker_lost(
    State(server): State<Server>,
    Of(task): Of<TaskId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    Said(loss): Said<WorkerLost>,
) -> Answer {
    let Reply::Done = apply(&server, bearer, key, AgentCall::WorkerLost { task, loss })? else {
        return Err(odd());
    };
    Ok(done())
}

pub(super) async fn messages(
    State(server): State<Server>,
    Of(agent): Of<AgentId>,
    Bearer(bearer): Bearer,
    Asked(After { after, wait_ms }): Asked<After>,
) -> Answer {
    let found = server
        .wait(server.wakes(), wait_ms, |_| {
            let call = AgentCall::Messages { agent: agent.clone(), after };
            let Reply::Messages(messages) = apply(&server, bearer.clone(), None, call)? else {
                return Err(odd().0);
            };
            Ok(if messages.hints.is_empty() { None } else { Some(messages) })
        })
        .await?;
    Ok(any(found))
}
