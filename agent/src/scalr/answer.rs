//! From HTTP's refusals to those of the seams.

use reqwest::{Response, StatusCode, header::RETRY_AFTER};
use scalr_core::{scalr::ScalrError, task_api::TaskError};
use scalr_protocol::{
    console::parse_stored,
    error::{ErrorCode, Errors},
};

use super::call::read;

/// How long to wait when a server says 429 and not how long.
const RETRY_AFTER_MS: u64 = 1_000;
/// How long a `Retry-After` may be at most: a server that says a year would stop the agent for good.
const RETRY_AFTER_MS_MAX: u64 = 10 * 60 * 1_000;
/// How much of an error's detail is kept.
const DETAIL_CHARS_MAX: usize = 512;

/// Why a call brought no good answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No answer, or none that could be read.
    Unanswered { detail: String },
    /// The server refused.
    Refused { status: u16, code: ErrorCode, detail: String, retry_after_ms: Option<u64>, stored: Option<u64> },
}

impl Refusal {
    pub(crate) fn unanswered(error: &reqwest::Error) -> Self {
        let mut detail = String::new();
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            // reqwest's own line repeats the address; its causes say what happened.
            let line = error.to_string();
            if !line.starts_with("error sending request") && !detail.contains(&line) {
                detail.push_str(if detail.is_empty() { "" } else { ": " });
                detail.push_str(&line);
            }
            cause = error.source();
        }
        Self::Unanswered { detail: cut(if error.is_timeout() { "timed out".to_owned() } else { detail }) }
    }

    pub(crate) fn broken(detail: &str) -> Self {
        Self::Unanswered { detail: cut(detail.to_owned()) }
    }

    /// Reads a refusal from its answer.
    pub(crate) async fn read(answer: Response) -> Self {
        let status = answer.status();
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after_ms = header(RETRY_AFTER).map(|value| retry_after_ms(value.trim()));
        let stored = match status {
            StatusCode::RANGE_NOT_SATISFIABLE => parse_stored(header(reqwest::header::RANGE)).ok(),
            _ => None,
        };
        let first = read(answer)
            .await
            .ok()
            .and_then(|body| serde_json::from_slice::<Errors>(&body).ok())
            .and_then(|errors| errors.errors.into_iter().next());
        let (code, detail) = match first {
            Some(error) => (error.code, cut(error.to_string())),
            None => (code_of(status), format!("HTTP {status} without a reason")),
        };
        Self::Refused { status: status.as_u16(), code, detail, retry_after_ms, stored }
    }

    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Unanswered { .. } => None,
            Self::Refused { code, .. } => Some(*code),
        }
    }

    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Unanswered { .. } => None,
            Self::Refused { status, .. } => Some(*status),
        }
    }

    pub(crate) fn is_unauthorized(&self) -> bool {
        self.status() == Some(401)
    }

    /// How much of the log the server has, where it says so (416).
    pub(crate) fn stored(&self) -> Option<u64> {
        match self {
            Self::Unanswered { .. } => None,
            Self::Refused { stored, .. } => *stored,
        }
    }
}

/// A refusal without a body: the status alone decides.
fn code_of(status: StatusCode) -> ErrorCode {
    match status.as_u16() {
        401 => ErrorCode::InvalidToken,
        403 => ErrorCode::Forbidden,
        404 => ErrorCode::NotFound,
        413 => ErrorCode::TooLarge,
        416 => ErrorCode::RangeMismatch,
        426 => ErrorCode::ProtocolUnsupported,
        429 => ErrorCode::RateLimited,
        503 => ErrorCode::Unavailable,
        _ => ErrorCode::Unknown,
    }
}

fn retry_after_ms(value: &str) -> u64 {
    // The date form is not used by Scalr; who sends it gets the usual wait.
    let seconds = value.parse::<u64>().unwrap_or(RETRY_AFTER_MS / 1_000);
    seconds.saturating_mul(1_000).min(RETRY_AFTER_MS_MAX)
}

fn cut(detail: String) -> String {
    if detail.chars().count() <= DETAIL_CHARS_MAX {
        detail
    } else {
        detail.chars().take(DETAIL_CHARS_MAX).collect()
    }
}

/// What a refusal means to an agent.
pub(crate) fn scalr_error(refusal: Refusal) -> ScalrError {
    let (status, code, detail, retry_after_ms) = match refusal {
        Refusal::Unanswered { detail } => return ScalrError::Unreachable { detail },
        Refusal::Refused { status, code, detail, retry_after_ms, stored: _ } => {
            (status, code, detail, retry_after_ms)
        }
    };
    match (status, code) {
        (401, _) => ScalrError::Unauthorized { detail },
        (_, ErrorCode::SessionExpired) => ScalrError::SessionExpired,
        (_, ErrorCode::QuotaExceeded) => ScalrError::QuotaExceeded { detail },
        (_, ErrorCode::NameInUse) => ScalrError::NameInUse { detail },
        (_, ErrorCode::Draining) => ScalrError::Draining,
        (426, _) => ScalrError::ProtocolUnsupported { detail },
        (429, _) => ScalrError::RateLimited { retry_after_ms: retry_after_ms.unwrap_or(RETRY_AFTER_MS) },
        (500.., _) => match retry_after_ms {
            Some(retry_after_ms) => ScalrError::RateLimited { retry_after_ms },
            None => ScalrError::Unreachable { detail },
        },
        // Something between us and the server answered: a proxy, a load balancer.
        (408 | 300..=399, _) => ScalrError::Unreachable { detail },
        _ => ScalrError::Refused { status, detail },
    }
}

/// What a refusal means to a worker.
pub(crate) fn task_error(refusal: Refusal) -> TaskError {
    let (status, code, detail, retry_after_ms) = match refusal {
        Refusal::Unanswered { detail } => return TaskError::Unreachable { detail },
        Refusal::Refused { status, code, detail, retry_after_ms, stored: _ } => {
            (status, code, detail, retry_after_ms)
        }
    };
    match (status, code) {
        (401 | 403, _) => TaskError::Unauthorized { detail },
        (_, ErrorCode::SessionExpired) => TaskError::SessionExpired,
        (_, ErrorCode::AlreadyStarted | ErrorCode::Claimed) => TaskError::AlreadyStarted,
        (_, ErrorCode::FenceStale) => TaskError::FenceStale,
        (_, ErrorCode::Canceled) => TaskError::Canceled,
        (_, ErrorCode::Finished) => TaskError::Finished,
        (_, ErrorCode::ClaimExpired) => TaskError::ClaimExpired,
        (_, ErrorCode::Lost) => TaskError::Lost,
        (_, ErrorCode::Closed) => TaskError::Closed,
        (_, ErrorCode::Differs) => TaskError::Differs { detail },
        (_, ErrorCode::DigestMismatch) => TaskError::DigestMismatch,
        (404, _) => TaskError::NotFound,
        (413, _) => TaskError::TooLarge { detail },
        (429, _) => TaskError::RateLimited { retry_after_ms: retry_after_ms.unwrap_or(RETRY_AFTER_MS) },
        (500.., _) => match retry_after_ms {
            Some(retry_after_ms) => TaskError::RateLimited { retry_after_ms },
            None => TaskError::Unreachable { detail },
        },
        (408 | 300..=399, _) => TaskError::Unreachable { detail },
        _ => TaskError::Refused { status, detail },
    }
}
