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
pub(super) fn odd(reply: &Reply) -> Refused {
    Refused::new(ErrorCode::Internal, format!("the state answered {reply:?}"))
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
    match apply(&server, bearer, key, AgentCall::Register(register))? {
        Reply::Registered { answer, taken_over: false } => Ok(message(StatusCode::CREATED, answer)),
        Reply::Registered { answer, taken_over: true } => Ok(message(StatusCode::OK, answer)),
        reply => Err(odd(&reply)),
    }
}

pub(super) async fn heartbeat(
    State(server): State<Server>,
    Of(agent): Of<AgentId>,
    Bearer(bearer): Bearer,
    Said(beat): Said<Heartbeat>,
) -> Answer {
    match apply(&server, bearer, None, AgentCall::Heartbeat { agent, beat })? {
        Reply::Heartbeat(answer) => Ok(message(StatusCode::OK, answer)),
        reply => Err(odd(&reply)),
    }
}

pub(super) async fn deregister(
    State(server): State<Server>,
    Of(agent): Of<AgentId>,
    Bearer(bearer): Bearer,
) -> Answer {
    match apply(&server, bearer, None, AgentCall::Deregister { agent })? {
        Reply::Done => Ok(nothing(StatusCode::NO_CONTENT)),
        reply => Err(odd(&reply)),
    }
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
            match apply(&server, bearer.clone(), key.clone(), call)? {
                Reply::Acquired(acquired) if acquired.tasks.is_empty() => Ok(None),
                Reply::Acquired(acquired) => Ok(Some(acquired)),
                reply => Err(odd(&reply).0),
            }
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
    match apply(&server, bearer, key, AgentCall::Release { task, release })? {
        Reply::Done => Ok(done()),
        reply => Err(odd(&reply)),
    }
}

pub(super) async fn launch_events(
    State(server): State<Server>,
    Of(agent): Of<AgentId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    Said(events): Said<LaunchEvents>,
) -> Answer {
    match apply(&server, bearer, key, AgentCall::LaunchEvents { agent, events })? {
        Reply::Done => Ok(nothing(StatusCode::ACCEPTED)),
        reply => Err(odd(&reply)),
    }
}

pub(super) async fn launch_failed(
    State(server): State<Server>,
    Of(task): Of<TaskId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    Said(failure): Said<LaunchFailed>,
) -> Answer {
    match apply(&server, bearer, key, AgentCall::LaunchFailed { task, failure })? {
        Reply::Done => Ok(done()),
        reply => Err(odd(&reply)),
    }
}

pub(super) async fn worker_lost(
    State(server): State<Server>,
    Of(task): Of<TaskId>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    Said(loss): Said<WorkerLost>,
) -> Answer {
    match apply(&server, bearer, key, AgentCall::WorkerLost { task, loss })? {
        Reply::Done => Ok(done()),
        reply => Err(odd(&reply)),
    }
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
            match apply(&server, bearer.clone(), None, call)? {
                Reply::Messages(messages) if messages.hints.is_empty() => Ok(None),
                Reply::Messages(messages) => Ok(Some(messages)),
                reply => Err(odd(&reply).0),
            }
        })
        .await?;
    Ok(any(found))
}
