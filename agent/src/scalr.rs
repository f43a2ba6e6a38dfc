//! [`HttpScalr`] and [`HttpTask`]: the two seams to Scalr over HTTP.
//!
//! Each call is made once; retries are the brains'. No token is ever part of an error or a log line.

mod answer;
mod call;
pub mod connect;
mod task;

use std::{
    path::PathBuf,
    sync::{Arc, RwLock},
};

use scalr_core::{
    refusal,
    scalr::{Door, Registration, Scalr, ScalrError, WorkerLostAnswer},
};
use scalr_protocol::{
    agent::{
        Acquire, Acquired, Heartbeat, HeartbeatAnswer, LaunchEvents, LaunchFailed, Messages, Register,
        Registered, Release, WorkerLost,
    },
    id::{AgentId, TaskId},
    secret::Secret,
};
use url::Url;

use self::{
    answer::{Refusal, scalr_error},
    call::{Call, Caller},
};
pub use self::{
    call::Bounds,
    task::{BlobBody, HttpTask},
};

/// Where the pool token comes from.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// Given as a value.
    Value(Secret),
    /// In a file, which is read again, once, when the token was refused.
    File(PathBuf),
}

impl TokenSource {
    /// The token as it is now.
    pub fn read(&self) -> Result<Secret, std::io::Error> {
        match self {
            Self::Value(token) => Ok(token.clone()),
            Self::File(path) => Ok(Secret::new(std::fs::read_to_string(path)?.trim())),
        }
    }
}

/// Scalr, for an agent. Cheap to clone; clones share the session.
#[derive(Clone, Debug)]
pub struct HttpScalr {
    caller: Caller,
    source: TokenSource,
    tokens: Arc<RwLock<Tokens>>,
}

#[derive(Debug)]
struct Tokens {
    pool: Secret,
    session: Option<Secret>,
}

impl HttpScalr {
    /// Speaks to the server at `url` through `client`, with the pool token from `source`.
    pub fn new(client: reqwest::Client, url: &Url, source: TokenSource) -> Result<Self, std::io::Error> {
        let tokens = Tokens { pool: source.read()?, session: None };
        Ok(Self { caller: Caller::new(client, url), source, tokens: Arc::new(RwLock::new(tokens)) })
    }

    /// With other bounds than the usual ones.
    #[must_use]
    pub fn within(mut self, bounds: Bounds) -> Self {
        self.caller.bounds = bounds;
        self
    }

    /// The calls of one task, with this session until `start` brings the task's own token.
    pub fn task(&self) -> HttpTask {
        HttpTask::new(self.caller.clone(), self.clone())
    }

    fn pool_token(&self) -> Secret {
        match self.tokens.read() {
            Ok(tokens) => tokens.pool.clone(),
            Err(poisoned) => poisoned.into_inner().pool.clone(),
        }
    }

    /// The session's token; the pool's before there is a session, which the server then refuses.
    pub(crate) fn session_token(&self) -> Secret {
        let tokens = match self.tokens.read() {
            Ok(tokens) => tokens,
            Err(poisoned) => poisoned.into_inner(),
        };
        tokens.session.clone().unwrap_or_else(|| tokens.pool.clone())
    }

    fn keep(&self, change: impl FnOnce(&mut Tokens)) {
        match self.tokens.write() {
            Ok(mut tokens) => change(&mut tokens),
            Err(poisoned) => change(&mut poisoned.into_inner()),
        }
    }

    /// Whether the token file now holds another token than the one that was refused.
    fn has_new_pool_token(&self) -> bool {
        let Ok(token) = self.source.read() else { return false };
        let is_new = token != self.pool_token();
        self.keep(|tokens| tokens.pool = token);
        is_new
    }

    async fn register_once(&self, request: &Register) -> Result<Registered, Refusal> {
        self.caller.ask(Call::post("/agents", &self.pool_token()).message(request)).await
    }

    /// A call of the session that answers a message.
    async fn ask<A>(&self, call: Call) -> Result<A, ScalrError>
    where
        A: serde::de::DeserializeOwned,
    {
        self.caller.ask(call).await.map_err(scalr_error)
    }
}

impl Scalr for HttpScalr {
    async fn register(&self, request: &Register) -> Result<Registration, ScalrError> {
        let mut answer = self.register_once(request).await;
        if matches!(&answer, Err(refusal) if refusal.is_unauthorized()) && self.has_new_pool_token() {
            answer = self.register_once(request).await;
        }
        let registered = answer.map_err(scalr_error)?;
        self.keep(|tokens| tokens.session = Some(registered.session_token.clone()));
        Ok(Registration {
            agent: registered.agent,
            heartbeat_ms: registered.heartbeat_ms,
            wait_ms_max: registered.wait_ms_max,
        })
    }

    async fn heartbeat(&self, agent: &AgentId, request: &Heartbeat) -> Result<HeartbeatAnswer, ScalrError> {
        let path = format!("/agents/{agent}/heartbeat");
        self.ask(Call::post(&path, &self.session_token()).message(request)).await
    }

    async fn deregister(&self, agent: &AgentId) -> Result<(), ScalrError> {
        let call = Call::delete(&format!("/agents/{agent}"), &self.session_token());
        self.caller.tell(call).await.or_else(|no| no.unless(refusal::Refusal::deregistered))
    }

    async fn acquire(&self, agent: &AgentId, request: &Acquire) -> Result<Acquired, ScalrError> {
        let path = format!("/agents/{agent}/acquire");
        let call = Call::post(&path, &self.session_token()).message(request);
        let answer = self.caller.ask_if_any(call.long_poll(request.wait_ms)).await;
        answer.map(Option::unwrap_or_default).map_err(scalr_error)
    }

    async fn release(&self, task: &TaskId, request: &Release) -> Result<Door, ScalrError> {
        let path = format!("/agent-tasks/{task}/release");
        door(self.caller.tell(Call::post(&path, &self.session_token()).message(request)).await)
    }

    async fn launch_events(&self, agent: &AgentId, request: &LaunchEvents) -> Result<(), ScalrError> {
        let path = format!("/agents/{agent}/launch-events");
        self.caller.tell(Call::post(&path, &self.session_token()).message(request)).await.map_err(scalr_error)
    }

    async fn launch_failed(&self, task: &TaskId, request: &LaunchFailed) -> Result<Door, ScalrError> {
        let path = format!("/agent-tasks/{task}/launch-failed");
        door(self.caller.tell(Call::post(&path, &self.session_token()).message(request)).await)
    }

    async fn worker_lost(&self, task: &TaskId, request: &WorkerLost) -> Result<WorkerLostAnswer, ScalrError> {
        let path = format!("/agent-tasks/{task}/worker-lost");
        let answer = self.caller.tell(Call::post(&path, &self.session_token()).message(request)).await;
        let noted = answer.map(|()| WorkerLostAnswer::Noted);
        noted.or_else(|no| no.unless(refusal::Refusal::worker_lost))
    }

    async fn messages(&self, agent: &AgentId, after: u64, wait_ms: u64) -> Result<Messages, ScalrError> {
        let path = format!("/agents/{agent}/messages?after={after}&wait-ms={wait_ms}");
        let call = Call::get(&path, &self.session_token()).long_poll(wait_ms);
        let answer = self.caller.ask_if_any(call).await.map_err(scalr_error)?;
        Ok(answer.unwrap_or(Messages { last: after, hints: Vec::new() }))
    }
}

/// What an answer to `release` or `launch-failed` says of the door.
fn door(answer: Result<(), Refusal>) -> Result<Door, ScalrError> {
    answer.map(|()| Door::Shut).or_else(|no| no.unless(refusal::Refusal::door))
}
