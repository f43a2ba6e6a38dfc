//! What the API's refusals mean to whoever made the call. Pure; told by status, reason and cause, and by the
//! text only where Kubernetes says it nowhere else.

use scalr_core::cluster::{ClusterError, WatchEnd};

use super::api::StatusView;

/// After how long to come back where the API does not say: as long as its priority and fairness does.
const RETRY_AFTER_MS: u64 = 1_000;
/// The longest pause that is believed: a server that asks for more is asked again, once an hour.
const RETRY_AFTER_MS_MAX: u64 = 3_600_000;
/// What is kept of what the API says: a 422 may quote the whole object.
const DETAIL_CHARS_MAX: usize = 1_024;

/// Why a call brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallError {
    /// The API said no.
    Said(Refusal),
    /// No answer, or half of one.
    Nothing(String),
}

/// A `Status` that is no success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Of HTTP.
    pub(super) code: u16,
    /// Such as `AlreadyExists`.
    pub(super) reason: String,
    /// For people.
    pub(super) message: String,
    /// The reasons of its causes.
    pub(super) causes: Vec<String>,
    /// By the header or the body.
    pub(super) retry_after_ms: Option<u64>,
}

impl Refusal {
    /// Reads an answer that is no success. What is no `Status` comes from something in between.
    pub(super) fn read(code: u16, retry_after: Option<&str>, body: &[u8]) -> Self {
        let header_ms = retry_after.and_then(|text| text.trim().parse::<u64>().ok()).map(|s| s * 1_000);
        if let Ok(status) = serde_json::from_slice::<StatusView>(body) {
            return Self { code, ..Self::told(status) }.with_retry_after(header_ms);
        }
        let message = cut(String::from_utf8_lossy(body).trim());
        Self { code, message, ..Self::default() }.with_retry_after(header_ms)
    }

    /// A `Status` in a watch.
    pub(super) fn told(status: StatusView) -> Self {
        let seconds = status.details.retry_after_seconds;
        Self {
            code: status.code,
            reason: status.reason,
            message: cut(&status.message),
            causes: status.details.causes.into_iter().map(|cause| cause.reason).collect(),
            retry_after_ms: (seconds > 0).then_some(seconds.saturating_mul(1_000)),
        }
    }

    fn with_retry_after(mut self, header_ms: Option<u64>) -> Self {
        self.retry_after_ms = header_ms.or(self.retry_after_ms);
        self
    }

    /// Whether a name is taken.
    pub(super) fn is_taken(&self) -> bool {
        self.code == 409 && self.reason == "AlreadyExists"
    }

    /// Whether the history has been forgotten that far back.
    pub(super) fn is_gone(&self) -> bool {
        self.code == 410 || matches!(&*self.reason, "Gone" | "Expired")
    }

    /// Whether it is a want of rights, and not an admission that says no.
    fn is_denied(&self) -> bool {
        // The authorizer's sentence; an admission's `Forbidden` does not have it.
        self.code == 401 || (self.code == 403 && self.message.contains(" cannot "))
    }

    /// Whether its namespace is going away.
    fn is_terminating(&self) -> bool {
        self.causes.iter().any(|cause| cause == "NamespaceTerminating")
    }

    /// Whether an admission policy of the cluster says no, which uses the code of a validation for it.
    fn is_policy(&self) -> bool {
        self.message.contains("ValidatingAdmissionPolicy") || self.message.contains("admission webhook")
    }

    /// In one line.
    pub(super) fn detail(&self) -> String {
        if self.message.is_empty() { format!("{} {}", self.code, self.reason) } else { self.message.clone() }
    }
}

impl CallError {
    /// In one line.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::Said(refusal) => refusal.detail(),
            Self::Nothing(detail) => detail.clone(),
        }
    }

    /// Whether a right is missing.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self, Self::Said(refusal) if refusal.is_denied())
    }

    /// Whether what was asked for is not there.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Said(refusal) if refusal.code == 404)
    }
}

/// What a list or a watch that failed means.
pub(super) fn of_read(error: CallError) -> ClusterError {
    match error {
        CallError::Said(refusal) if refusal.is_gone() => ClusterError::Gone,
        CallError::Said(refusal) if refusal.code == 429 => rate_limited(&refusal),
        CallError::Said(refusal) => unreachable_with(&refusal),
        CallError::Nothing(detail) => ClusterError::Unreachable { detail },
    }
}

/// What a creation that failed means, but for a name that is taken. A Job that has nothing of its task's own
/// in its specification is as its template is: what is wrong with it is wrong with every task's, and none of
/// them has to fail for it.
pub(super) fn of_create(error: CallError, has_presets: bool) -> ClusterError {
    let refusal = match error {
        CallError::Said(refusal) => refusal,
        CallError::Nothing(detail) => return ClusterError::Unreachable { detail },
    };
    let detail = refusal.detail();
    match refusal.code {
        429 => rate_limited(&refusal),
        403 if is_quota(&refusal) => ClusterError::QuotaExceeded { detail },
        // An operator mends it: nobody's run has to fail for it. What is not found is the namespace.
        404 => ClusterError::NotAllowed { detail },
        401 | 403 if refusal.is_denied() || refusal.is_terminating() => ClusterError::NotAllowed { detail },
        400 | 422 if !has_presets && !refusal.is_policy() => ClusterError::Template { detail },
        400 | 403 | 405 | 406 | 413 | 415 | 422 => ClusterError::Refused { detail },
        _ => unreachable_with(&refusal),
    }
}

/// What a deletion that failed means: nothing, where what was to go is gone or is another.
pub(super) fn of_delete(error: CallError) -> Result<(), ClusterError> {
    match error {
        // Another UID has the name.
        CallError::Said(refusal) if refusal.code == 404 || refusal.code == 409 => Ok(()),
        CallError::Said(refusal) if refusal.code == 429 => Err(rate_limited(&refusal)),
        CallError::Said(refusal) => Err(unreachable_with(&refusal)),
        CallError::Nothing(detail) => Err(ClusterError::Unreachable { detail }),
    }
}

/// How a watch ends that says no in its stream.
pub(super) fn of_stream(refusal: &Refusal) -> WatchEnd {
    if refusal.is_gone() { WatchEnd::Gone } else { WatchEnd::Error { detail: refusal.detail() } }
}

/// A quota is told by its sentence only: the admission plugin gives neither reason nor cause.
fn is_quota(refusal: &Refusal) -> bool {
    refusal.message.contains("exceeded quota") || refusal.message.contains("failed quota")
}

fn rate_limited(refusal: &Refusal) -> ClusterError {
    let retry_after_ms = refusal.retry_after_ms.unwrap_or(RETRY_AFTER_MS).clamp(1, RETRY_AFTER_MS_MAX);
    ClusterError::RateLimited { retry_after_ms }
}

fn unreachable_with(refusal: &Refusal) -> ClusterError {
    ClusterError::Unreachable { detail: format!("{} {}", refusal.code, refusal.detail()) }
}

/// At most so much as is worth telling, in one line.
pub(super) fn cut(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(DETAIL_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests;
