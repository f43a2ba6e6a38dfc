//! What every driver writes on a Job and its pods to say which task they are for: labels, which one selects
//! by, and annotations, which hold the whole truth.

use scalr_core::cluster::JobSpec;

use crate::worker::podinfo::{FENCE, TASK};

/// The longest value of a label.
const LABEL_BYTES_MAX: usize = 63;

/// Ids, and the names for people, sorted by key.
pub(super) fn annotations(spec: &JobSpec) -> [(&'static str, String); 11] {
    [
        ("scalr.io/account", spec.account.to_string()),
        ("scalr.io/account-name", spec.account_name.clone()),
        ("scalr.io/action", spec.action.as_str().to_owned()),
        ("scalr.io/environment", spec.environment.to_string()),
        ("scalr.io/environment-name", spec.environment_name.clone()),
        (FENCE, spec.fence.to_string()),
        ("scalr.io/run", spec.run.to_string()),
        ("scalr.io/stage", spec.stage.clone()),
        (TASK, spec.task.to_string()),
        ("scalr.io/workspace", spec.workspace.to_string()),
        ("scalr.io/workspace-name", spec.workspace_name.clone()),
    ]
}

/// Ids to select by, sorted by key. One that can't be a label's value is left out: its annotation has it.
pub(super) fn labels(spec: &JobSpec) -> impl Iterator<Item = (&'static str, String)> {
    [
        ("scalr.io/account", spec.account.to_string()),
        ("scalr.io/environment", spec.environment.to_string()),
        ("scalr.io/run", spec.run.to_string()),
        ("scalr.io/stage", spec.stage.clone()),
        (TASK, spec.task.to_string()),
        ("scalr.io/workspace", spec.workspace.to_string()),
    ]
    .into_iter()
    .filter(|(_, value)| is_label(value))
}

/// Whether Kubernetes takes a text as a label's value.
pub fn is_label(value: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= LABEL_BYTES_MAX
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_kubernetes_takes_becomes_a_label() {
        for good in ["", "a", "run-1", "v1.2_x", &"a".repeat(63)] {
            assert!(is_label(good), "{good}");
        }
        for bad in ["-a", "a-", "a b", "ü", "a/b", &"a".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
    }
}
