//! Every refusal, in one list, and the JSON that carries it.

use serde::{Deserialize, Serialize};

/// Why the server refused. One list, so that both ends know the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// 400: the request can't be read.
    Malformed,
    /// 401: the token is missing, unknown or revoked.
    InvalidToken,
    /// 403: the token is good for something else.
    Forbidden,
    /// 403: the pool's account has as many agents as it may have.
    QuotaExceeded,
    /// 404: there is no such thing.
    NotFound,
    /// 405: not this method.
    MethodNotAllowed,
    /// 409: another live agent has this name.
    NameInUse,
    /// 409: the agent said that it takes no more work.
    Draining,
    /// 409: the task has started.
    AlreadyStarted,
    /// 409: a worker has claimed the task.
    Claimed,
    /// 409: the task was canceled.
    Canceled,
    /// 409: the task has finished.
    Finished,
    /// 409: another outcome or content is recorded already.
    Differs,
    /// 409: the task has not started.
    NotStarted,
    /// 409: the thing is in a state that does not allow this.
    Conflict,
    /// 410: the session has ended; register again.
    SessionExpired,
    /// 410: the fence is not the current one: the door is shut.
    FenceStale,
    /// 410: the claim was not confirmed in time.
    ClaimExpired,
    /// 410: nothing was heard for lost-after.
    Lost,
    /// 410: the time to deliver has passed.
    Closed,
    /// 413: too large.
    TooLarge,
    /// 415: the content type is another one.
    UnsupportedMediaType,
    /// 416: the log is at another offset, which `Range` tells.
    RangeMismatch,
    /// 422: readable, but a value is not allowed; the source points at it.
    Invalid,
    /// 422: the digest is not that of the content.
    DigestMismatch,
    /// 423: the state is locked by somebody else.
    Locked,
    /// 426: the server does not speak this version.
    ProtocolUnsupported,
    /// 429: later, as `Retry-After` says.
    RateLimited,
    /// 500: a defect of the server.
    Internal,
    /// 503: the server can't serve now.
    Unavailable,
    /// One that this version does not know: the status decides.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// Every code of protocol 0.1.
    pub const ALL: [Self; 30] = [
        Self::Malformed,
        Self::InvalidToken,
        Self::Forbidden,
        Self::QuotaExceeded,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NameInUse,
        Self::Draining,
        Self::AlreadyStarted,
        Self::Claimed,
        Self::Canceled,
        Self::Finished,
        Self::Differs,
        Self::NotStarted,
        Self::Conflict,
        Self::SessionExpired,
        Self::FenceStale,
        Self::ClaimExpired,
        Self::Lost,
        Self::Closed,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::RangeMismatch,
        Self::Invalid,
        Self::DigestMismatch,
        Self::Locked,
        Self::ProtocolUnsupported,
        Self::RateLimited,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::InvalidToken => 401,
            Self::Forbidden | Self::QuotaExceeded => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NameInUse
            | Self::Draining
            | Self::AlreadyStarted
            | Self::Claimed
            | Self::Canceled
            | Self::Finished
            | Self::Differs
            | Self::NotStarted
            | Self::Conflict => 409,
            Self::SessionExpired | Self::FenceStale | Self::ClaimExpired | Self::Lost | Self::Closed => 410,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::RangeMismatch => 416,
            Self::Invalid | Self::DigestMismatch => 422,
            Self::Locked => 423,
            Self::ProtocolUnsupported => 426,
            Self::RateLimited => 429,
            Self::Internal | Self::Unknown => 500,
            Self::Unavailable => 503,
        }
    }

    /// A title for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Malformed => "the request can't be read",
            Self::InvalidToken => "the token is not valid",
            Self::Forbidden => "the token does not allow this",
            Self::QuotaExceeded => "the quota of agents is used up",
            Self::NotFound => "not found",
            Self::MethodNotAllowed => "the method is not allowed here",
            Self::NameInUse => "another live agent has this name",
            Self::Draining => "the agent is draining",
            Self::AlreadyStarted => "the task has started",
            Self::Claimed => "a worker has claimed the task",
            Self::Canceled => "the task was canceled",
            Self::Finished => "the task has finished",
            Self::Differs => "something else is recorded already",
            Self::NotStarted => "the task has not started",
            Self::Conflict => "not possible in this state",
            Self::SessionExpired => "the session has ended",
            Self::FenceStale => "the fence is stale",
            Self::ClaimExpired => "the claim was not confirmed in time",
            Self::Lost => "the task was lost",
            Self::Closed => "the time to deliver has passed",
            Self::TooLarge => "too large",
            Self::UnsupportedMediaType => "unsupported media type",
            Self::RangeMismatch => "the log is at another offset",
            Self::Invalid => "a value is not allowed",
            Self::DigestMismatch => "the digest is not that of the content",
            Self::Locked => "the state is locked",
            Self::ProtocolUnsupported => "the protocol version is not supported",
            Self::RateLimited => "too many requests",
            Self::Internal => "internal error",
            Self::Unavailable => "not available now",
            Self::Unknown => "unknown error",
        }
    }
}

/// A refusal, as one entry of `errors`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ApiError {
    /// The HTTP status, as text.
    pub status: String,
    /// The class.
    pub code: ErrorCode,
    /// The class, for people.
    pub title: String,
    /// Which value, where, and what to do.
    #[serde(default)]
    pub detail: String,
    /// Where in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ErrorSource>,
}

/// Where in a request a mistake is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ErrorSource {
    /// A JSON pointer into the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// A parameter of the query, the path or the headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.detail.is_empty() {
            f.write_str(&self.title)
        } else {
            write!(f, "{}: {}", self.title, self.detail)
        }
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    /// A refusal with its detail.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            status: code.status().to_string(),
            code,
            title: code.title().to_owned(),
            detail: detail.into(),
            source: None,
        }
    }

    /// The same, pointing into the body.
    #[must_use]
    pub fn at(mut self, pointer: &str) -> Self {
        self.source = Some(ErrorSource { pointer: Some(pointer.to_owned()), parameter: None });
        self
    }

    /// The same, naming a parameter.
    #[must_use]
    pub fn of_parameter(mut self, parameter: &str) -> Self {
        self.source = Some(ErrorSource { pointer: None, parameter: Some(parameter.to_owned()) });
        self
    }
}

/// The body of every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// At least one.
    pub errors: Vec<ApiError>,
}
