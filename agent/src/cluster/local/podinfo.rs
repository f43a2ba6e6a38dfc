//! What a pod knows of itself, in the form of Kubernetes' downward API: `labels` and `annotations`, each line
//! a `key="value"` with Go's quoting.

use std::fmt::Write as _;

use scalr_core::cluster::JobSpec;

/// The annotations of a Job's pod, sorted by key: ids, and the names for people.
pub(super) fn annotations(spec: &JobSpec) -> String {
    let fence = spec.fence.to_string();
    lines(&[
        ("scalr.io/account", spec.account.as_str()),
        ("scalr.io/account-name", &spec.account_name),
        ("scalr.io/action", spec.action.as_str()),
        ("scalr.io/environment", spec.environment.as_str()),
        ("scalr.io/environment-name", &spec.environment_name),
        ("scalr.io/fence", &fence),
        ("scalr.io/run", spec.run.as_str()),
        ("scalr.io/stage", &spec.stage),
        ("scalr.io/task", spec.task.as_str()),
        ("scalr.io/workspace", spec.workspace.as_str()),
        ("scalr.io/workspace-name", &spec.workspace_name),
    ])
}

/// The labels of a Job's pod, sorted by key: what one would select by.
pub(super) fn labels(spec: &JobSpec) -> String {
    lines(&[
        ("scalr.io/account", spec.account.as_str()),
        ("scalr.io/environment", spec.environment.as_str()),
        ("scalr.io/run", spec.run.as_str()),
        ("scalr.io/stage", &spec.stage),
        ("scalr.io/task", spec.task.as_str()),
        ("scalr.io/workspace", spec.workspace.as_str()),
    ])
}

fn lines(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        text.push_str(key);
        text.push_str("=\"");
        for c in value.chars() {
            quote(c, &mut text);
        }
        text.push_str("\"\n");
    }
    text
}

/// As `strconv.Quote` does it: <https://pkg.go.dev/strconv#Quote>.
fn quote(c: char, text: &mut String) {
    match c {
        '"' | '\\' => text.extend(['\\', c]),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\0'..='\x1f' | '\x7f' => {
            // Writing to a text can't fail.
            let _ = write!(text, "\\x{:02x}", u32::from(c));
        }
        '\u{80}'..='\u{9f}' => {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        }
        c => text.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_go_does() {
        expect_test::expect![[r#"
            plain="prod"
            odd="a \"b\" \\ c\nd\te\x1b\u0085 ü"
        "#]]
        .assert_eq(&lines(&[("plain", "prod"), ("odd", "a \"b\" \\ c\nd\te\u{1b}\u{85} ü")]));
    }
}
