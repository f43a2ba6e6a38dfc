//! From what HTTP brings to a refusal as the seams know it.

use reqwest::{Response, StatusCode, header::RETRY_AFTER};
use scalr_core::{
    refusal::{self, RETRY_AFTER_MS},
    scalr::ScalrError,
    task_api::TaskError,
};
use scalr_protocol::{
    console::parse_stored,
    error::{ErrorCode, Errors},
};

use super::call::{REFUSAL_BYTES_MAX, read, speaks_protocol};

/// How long a `Retry-After` may be at most: a server that says a year would stop the agent for good.
const RETRY_AFTER_MS_MAX: u64 = 10 * 60 * 1_000;
/// How much of an error's detail is kept.
const DETAIL_CHARS_MAX: usize = 512;

/// Why a call brought no good answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No answer, or none that could be read.
    Unanswered { detail: String },
    /// The server refused, and said how much of the log it has, where it is about that (416).
    Refused { said: refusal::Refusal, stored: Option<u64> },
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

    /// Something between us and the server has answered: nobody knows what the server would say.
    pub(crate) fn of_stranger(status: StatusCode) -> Self {
        Self::broken(&format!("HTTP {status} from something that does not speak the agent protocol"))
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
        let is_servers = speaks_protocol(&answer);
        let first = read(answer, REFUSAL_BYTES_MAX)
            .await
            .ok()
            .and_then(|body| serde_json::from_slice::<Errors>(&body).ok())
            .and_then(|errors| errors.errors.into_iter().next());
        let (code, detail) = match first {
            Some(error) => (error.code, cut(error.to_string())),
            // When to come back is worth knowing whoever says it.
            None if !is_servers && retry_after_ms.is_none() => return Self::of_stranger(status),
            None => (code_of(status), format!("HTTP {status} without a reason")),
        };
        let said = refusal::Refusal { status: status.as_u16(), code, detail, retry_after_ms };
        Self::Refused { said, stored }
    }

    pub(crate) fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused { said, .. } if said.status == 401)
    }

    /// What it means to an agent, where some refusals are answers.
    pub(crate) fn unless<T>(
        self,
        answers: impl FnOnce(refusal::Refusal) -> Result<T, ScalrError>,
    ) -> Result<T, ScalrError> {
        match self {
            Self::Unanswered { detail } => Err(ScalrError::Unreachable { detail }),
            Self::Refused { said, .. } => answers(said),
        }
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
    match refusal {
        Refusal::Unanswered { detail } => ScalrError::Unreachable { detail },
        Refusal::Refused { said, .. } => said.into(),
    }
}

/// What a refusal means to a worker.
pub(crate) fn task_error(refusal: Refusal) -> TaskError {
    match refusal {
        Refusal::Unanswered { detail } => TaskError::Unreachable { detail },
        Refusal::Refused { said, .. } => said.into(),
    }
}
