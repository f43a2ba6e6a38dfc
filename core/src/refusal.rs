//! What a server's refusal means to whoever called: from the protocol's statuses and codes to the errors of
//! the seams. Every adapter reads the table here, so that a simulated refusal means what a real one does.
//!
//! It must never say that something was not done where nobody knows.

use scalr_protocol::error::ErrorCode;

use crate::{
    scalr::{Door, ScalrError, WorkerLostAnswer},
    task_api::TaskError,
};

/// How long to wait when a server says 429 and not how long.
pub const RETRY_AFTER_MS: u64 = 1_000;

/// A call that the server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The protocol's code, or what the status alone says.
    pub code: ErrorCode,
    /// What the server said, for people.
    pub detail: String,
    /// When to come back, where the server says so.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// What a refused `release` or `launch-failed` says of the door.
    pub fn door(self) -> Result<Door, ScalrError> {
        if matches!(self.code, ErrorCode::FenceStale | ErrorCode::Canceled) {
            Ok(Door::Shut)
        } else if matches!(self.code, ErrorCode::AlreadyStarted | ErrorCode::Finished) {
            Ok(Door::Started)
        } else if self.code == ErrorCode::Claimed {
            Ok(Door::Claimed)
        } else {
            Err(self.into())
        }
    }

    /// What a refused `worker-lost` says of the task.
    pub fn worker_lost(self) -> Result<WorkerLostAnswer, ScalrError> {
        if self.code == ErrorCode::NotStarted {
            Ok(WorkerLostAnswer::NotStarted)
        } else if matches!(self.code, ErrorCode::Finished | ErrorCode::Canceled) {
            Ok(WorkerLostAnswer::Finished)
        } else {
            Err(self.into())
        }
    }

    /// Who is not registered is deregistered.
    pub fn deregistered(self) -> Result<(), ScalrError> {
        if matches!(self.status, 404 | 410) { Ok(()) } else { Err(self.into()) }
    }
}

impl From<Refusal> for ScalrError {
    fn from(Refusal { status, code, detail, retry_after_ms }: Refusal) -> Self {
        match (status, code) {
            (401, _) => Self::Unauthorized { detail },
            (_, ErrorCode::SessionExpired) => Self::SessionExpired,
            (_, ErrorCode::QuotaExceeded) => Self::QuotaExceeded { detail },
            (_, ErrorCode::NameInUse) => Self::NameInUse { detail },
            (_, ErrorCode::Draining) => Self::Draining,
            (426, _) => Self::ProtocolUnsupported { detail },
            (429, _) => Self::RateLimited { retry_after_ms: retry_after_ms.unwrap_or(RETRY_AFTER_MS) },
            (500.., _) => match retry_after_ms {
                Some(retry_after_ms) => Self::RateLimited { retry_after_ms },
                None => Self::Unreachable { detail },
            },
            // Something between us and the server answered: a proxy, a load balancer.
            (408 | 300..=399, _) => Self::Unreachable { detail },
            _ => Self::Refused { status, detail },
        }
    }
}

impl From<Refusal> for TaskError {
    fn from(Refusal { status, code, detail, retry_after_ms }: Refusal) -> Self {
        match (status, code) {
            (401 | 403, _) => Self::Unauthorized { detail },
            (_, ErrorCode::SessionExpired) => Self::SessionExpired,
            (_, ErrorCode::AlreadyStarted | ErrorCode::Claimed) => Self::AlreadyStarted,
            (_, ErrorCode::FenceStale) => Self::FenceStale,
            (_, ErrorCode::Canceled) => Self::Canceled,
            (_, ErrorCode::Finished) => Self::Finished,
            (_, ErrorCode::ClaimExpired) => Self::ClaimExpired,
            (_, ErrorCode::Lost) => Self::Lost,
            (_, ErrorCode::Closed) => Self::Closed,
            (_, ErrorCode::Differs) => Self::Differs { detail },
            (_, ErrorCode::DigestMismatch) => Self::DigestMismatch,
            (404, _) => Self::NotFound,
            (413, _) => Self::TooLarge { detail },
            (429, _) => Self::RateLimited { retry_after_ms: retry_after_ms.unwrap_or(RETRY_AFTER_MS) },
            (500.., _) => match retry_after_ms {
                Some(retry_after_ms) => Self::RateLimited { retry_after_ms },
                None => Self::Unreachable { detail },
            },
            (408 | 300..=399, _) => Self::Unreachable { detail },
            _ => Self::Refused { status, detail },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: ErrorCode, retry_after_ms: Option<u64>) -> Refusal {
        Refusal { status, code, detail: "said".to_owned(), retry_after_ms }
    }

    #[test]
    fn a_server_in_trouble_leaves_it_open_whether_the_call_was_carried_out() {
        for status in [500, 502, 503, 504, 599] {
            let error = ScalrError::from(refusal(status, ErrorCode::Unknown, None));
            assert_eq!(error, ScalrError::Unreachable { detail: "said".to_owned() });
            let error = TaskError::from(refusal(status, ErrorCode::Unknown, Some(7_000)));
            assert_eq!(error, TaskError::RateLimited { retry_after_ms: 7_000 });
        }
    }

    #[test]
    fn what_a_proxy_answers_is_no_word_of_the_server() {
        for status in [301, 302, 307, 408] {
            let error = TaskError::from(refusal(status, ErrorCode::Unknown, None));
            assert_eq!(error, TaskError::Unreachable { detail: "said".to_owned() });
        }
    }

    #[test]
    fn a_door_is_shut_only_by_what_rules_a_start_out() {
        let shut: Vec<_> = ErrorCode::ALL
            .iter()
            .filter(|code| refusal(code.status(), **code, None).door() == Ok(Door::Shut))
            .collect();
        assert_eq!(shut, [&ErrorCode::Canceled, &ErrorCode::FenceStale]);
    }
}
