//! Bearer tokens: what each is good for. A token's text never shows in `Debug`, and a new kind of token must
//! never be derivable from another that its holder may show around.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use scalr_protocol::{
    error::{ApiError, ErrorCode},
    id::{AgentId, Fence, InstanceId, TaskId},
};
use serde::{Deserialize, Serialize};

use super::{Now, Reply, State, ids::PoolTokenId};

/// The text of a bearer token. Cheap to clone; prints as `[redacted]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(Arc<str>);

impl Token {
    /// Takes a text as a token.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text itself. Every caller is a place to look at in a review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// An idempotency key, as the caller drew it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Arc<str>);

impl Key {
    /// Takes a text as a key.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
}

/// What every session token begins with, so that one that is not known any more is answered with 410, after
/// which the agent registers again, rather than with 401, after which it stops. It says nothing else.
const SESSION_PREFIX: &str = "session-";

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TokenUse {
    /// The public API, in somebody's name.
    User { name: String },
    /// Registering.
    Pool { id: PoolTokenId },
    /// The calls of a controller.
    Session { agent: AgentId },
    /// The start of one task.
    Worker { task: TaskId, instance: InstanceId },
    /// The calls of one claim of a task.
    Task { task: TaskId, fence: Fence },
    /// The state of the workspace of one claim of a task.
    Run { task: TaskId, fence: Fence },
}

/// A pool token, beside its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PoolToken {
    pub(super) description: String,
    pub(super) created_at: Timestamp,
    pub(super) is_revoked: bool,
}

impl State {
    /// Whether the token is good for the public API, and whose it is.
    pub fn authorise_user(&self, bearer: &Token) -> Result<&str, ApiError> {
        match self.use_of(bearer)? {
            TokenUse::User { name } => Ok(name),
            TokenUse::Pool { .. }
            | TokenUse::Session { .. }
            | TokenUse::Worker { .. }
            | TokenUse::Task { .. }
            | TokenUse::Run { .. } => Err(forbidden("the public API needs a user token")),
        }
    }

    /// Whether the token is this task's: worth asking before a large body is read.
    pub fn authorise_task(&self, bearer: &Token, task: &TaskId) -> Result<(), ApiError> {
        self.claim_fence(bearer, task).map(|_| ())
    }

    pub(super) fn use_of(&self, bearer: &Token) -> Result<&TokenUse, ApiError> {
        self.tokens.get(bearer).ok_or_else(|| {
            if bearer.expose().starts_with(SESSION_PREFIX) {
                ApiError::new(ErrorCode::SessionExpired, "register again")
            } else {
                ApiError::new(ErrorCode::InvalidToken, "the server does not know it")
            }
        })
    }

    /// The pool token's name, if it may register.
    pub(super) fn authorise_pool(&self, bearer: &Token) -> Result<PoolTokenId, ApiError> {
        match self.use_of(bearer)? {
            TokenUse::Pool { id } => {
                self.refuse_revoked(id)?;
                Ok(id.clone())
            }
            TokenUse::User { .. }
            | TokenUse::Session { .. }
            | TokenUse::Worker { .. }
            | TokenUse::Task { .. }
            | TokenUse::Run { .. } => Err(forbidden("registering needs a pool token")),
        }
    }

    /// 401 when agents of this pool token may take no more work.
    pub(super) fn refuse_revoked(&self, pool_token: &PoolTokenId) -> Result<(), ApiError> {
        match self.pool_tokens.get(pool_token) {
            Some(token) if !token.is_revoked => Ok(()),
            Some(_) | None => Err(ApiError::new(
                ErrorCode::InvalidToken,
                format!("the pool token {pool_token} was revoked"),
            )),
        }
    }

    /// The controller whose session this is.
    pub(super) fn authorise_session(&self, bearer: &Token) -> Result<AgentId, ApiError> {
        match self.use_of(bearer)? {
            TokenUse::Session { agent } => Ok(agent.clone()),
            TokenUse::User { .. }
            | TokenUse::Pool { .. }
            | TokenUse::Worker { .. }
            | TokenUse::Task { .. }
            | TokenUse::Run { .. } => Err(forbidden("this call needs the session token of a controller")),
        }
    }

    /// The same, where the path names an agent.
    pub(super) fn authorise_agent(&self, bearer: &Token, agent: &AgentId) -> Result<(), ApiError> {
        let own = self.authorise_session(bearer)?;
        if own == *agent {
            Ok(())
        } else {
            Err(forbidden(&format!("the session is that of {own}, not of {agent}")))
        }
    }

    /// Under which fence the bearer claimed this task.
    pub(super) fn claim_fence(&self, bearer: &Token, path: &TaskId) -> Result<Fence, ApiError> {
        match self.use_of(bearer)? {
            TokenUse::Task { task, fence } if task == path => Ok(*fence),
            TokenUse::Task { task, .. } => {
                Err(forbidden(&format!("the token is that of {task}, not of {path}")))
            }
            TokenUse::User { .. }
            | TokenUse::Pool { .. }
            | TokenUse::Session { .. }
            | TokenUse::Worker { .. }
            | TokenUse::Run { .. } => Err(forbidden("this call needs a task token")),
        }
    }

    pub(super) fn issue_user_token(&mut self, now: Now, name: String, text: Option<Token>) -> Reply {
        let token = text.unwrap_or_else(|| self.new_token(now, "user"));
        self.tokens.insert(token.clone(), TokenUse::User { name });
        self.touch();
        Reply::UserToken(token)
    }

    pub(super) fn issue_pool_token(&mut self, now: Now, description: String, text: Option<Token>) -> Reply {
        let id = PoolTokenId::new(&self.new_id(now, "at"));
        let text = text.unwrap_or_else(|| self.new_pool_token(now));
        self.tokens.insert(text.clone(), TokenUse::Pool { id: id.clone() });
        let token = PoolToken { description, created_at: now.wall, is_revoked: false };
        self.pool_tokens.insert(id.clone(), token);
        self.touch();
        Reply::PoolToken { id, text }
    }

    pub(super) fn revoke_pool_token(&mut self, id: &PoolTokenId) -> Result<Reply, ApiError> {
        let token = self.pool_tokens.get_mut(id).ok_or_else(|| not_found("pool token", id.as_str()))?;
        if !token.is_revoked {
            token.is_revoked = true;
            self.touch_and_wake();
        }
        Ok(Reply::Done)
    }

    pub(super) fn new_session_token(&mut self, now: Now) -> Token {
        self.new_token(now, SESSION_PREFIX.trim_end_matches('-'))
    }

    /// 128 bits, as hex, behind a word that says what leaked when one is found somewhere.
    pub(super) fn new_token(&mut self, now: Now, kind: &str) -> Token {
        let drawn = self.draw(now, kind);
        Token::new(&format!("{kind}-{}", hex(&drawn[..16])))
    }

    /// Shaped like a JWT, so that `iss` tells an agent the server's address. It is not signed: its third part
    /// is the secret itself, and the server compares the whole text.
    fn new_pool_token(&mut self, now: Now) -> Token {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let payload = serde_json::json!({ "iss": self.settings.url, "sub": self.pool.as_str() });
        let payload = URL_SAFE_NO_PAD.encode(payload.to_string());
        let secret = URL_SAFE_NO_PAD.encode(&self.draw(now, "pool")[..16]);
        Token::new(&format!("{header}.{payload}.{secret}"))
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

pub(super) fn forbidden(detail: &str) -> ApiError {
    ApiError::new(ErrorCode::Forbidden, detail)
}

pub(super) fn not_found(what: &str, id: &str) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("there is no {what} `{id}`"))
}
