//! What is wrong with a scenario file, in one line: the file, the line, the field, and what was expected.

use serde_json::Value;

use super::{BYTES_MAX, check::Mistake};

/// A file that is no scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {field}: {expected}")]
pub struct BadScenario {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The field's path, such as `world.runs[3].at-ms`; `.` for the whole.
    pub field: String,
    /// What was found and what was expected.
    pub expected: String,
}

impl BadScenario {
    pub(super) fn too_large(file: &str, bytes: usize) -> Self {
        let expected = format!("{bytes} bytes, expected at most {BYTES_MAX}");
        Self { file: file.to_owned(), line: 1, field: ".".to_owned(), expected }
    }

    pub(super) fn unreadable(
        file: &str,
        text: &str,
        error: &serde_path_to_error::Error<serde_json::Error>,
    ) -> Self {
        let inner = error.inner();
        let field = error.path().to_string();
        // The library counts the lines up to where it stopped: inside the field, or just after it.
        let line = inner.line().clamp(1, text.lines().count().max(1));
        let said = inner.to_string();
        let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
        Self { file: file.to_owned(), line, field, expected: one_line(said) }
    }

    pub(super) fn trailing(file: &str, error: &serde_json::Error) -> Self {
        let expected = "characters after the scenario, expected the end of the file".to_owned();
        Self { file: file.to_owned(), line: error.line().max(1), field: ".".to_owned(), expected }
    }

    pub(super) fn mistake(file: &str, text: &str, mistake: Mistake) -> Self {
        let line = line_of(text, &mistake.path);
        let mut field = String::new();
        for step in &mistake.path {
            match step {
                Step::Key(key) if field.is_empty() => field.push_str(key),
                Step::Key(key) => field.extend([".", key]),
                Step::Place(place) => field.push_str(&format!("[{place}]")),
            }
        }
        Self { file: file.to_owned(), line, field, expected: mistake.expected }
    }
}

/// A step of a path into JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(&'static str),
    Place(usize),
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// The line on which the value at a path begins; that of its nearest container where it is not written.
/// The text is JSON: it was read before.
fn line_of(text: &str, path: &[Step]) -> usize {
    let mut at = 0;
    let mut found = skip_space(text, at);
    at = found;
    for step in path {
        match find(text, at, *step) {
            Some(place) => {
                at = place;
                found = place;
            }
            None => break,
        }
    }
    text.get(..found).map_or(1, |before| before.matches('\n').count() + 1)
}

/// Where the value of a member or an element begins, in the container that begins at `at`.
fn find(text: &str, at: usize, step: Step) -> Option<usize> {
    let mut at = skip_space(text, at + 1);
    let mut place = 0;
    loop {
        if matches!(text.as_bytes().get(at)?, b'}' | b']') {
            return None;
        }
        let is_it = match step {
            Step::Key(key) => {
                let end = skip_value(text, at)?;
                let name: String = serde_json::from_str(text.get(at..end)?).ok()?;
                at = skip_space(text, skip_space(text, end) + 1);
                name == key
            }
            Step::Place(wanted) => place == wanted,
        };
        if is_it {
            return Some(at);
        }
        place += 1;
        at = skip_space(text, skip_value(text, at)?);
        if text.as_bytes().get(at) == Some(&b',') {
            at = skip_space(text, at + 1);
        }
    }
}

fn skip_space(text: &str, from: usize) -> usize {
    let rest = text.as_bytes().get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Where a value ends that begins at `at`.
fn skip_value(text: &str, at: usize) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_str(text.get(at..)?).into_iter::<serde::de::IgnoredAny>();
    values.next()?.ok()?;
    Some(at + values.byte_offset())
}

/// Members whose type has to be written whole, if it is written.
const WHOLE: [&str; 5] = ["settings", "options", "even", "exponential", "lognormal"];

/// A value without the members that are as in `plain`, all the way down.
pub(super) fn without_defaults(value: Value, plain: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter_map(|(name, member)| {
                let usual = plain.get(&name);
                // A list of runs is as long as it is, even where each is as usual.
                let is_kept = name == "version" || (name == "runs" && member != Value::Array(Vec::new()));
                if usual == Some(&member) && !is_kept {
                    return None;
                }
                if WHOLE.contains(&name.as_str()) {
                    return Some((name, member));
                }
                Some((name, without_defaults(member, usual.unwrap_or(&Value::Null))))
            });
            Value::Object(members.collect())
        }
        Value::Array(elements) => {
            // Elements of a list are as the first of the usual list, where there is one.
            let usual = plain.get(0).cloned().unwrap_or_default();
            Value::Array(elements.into_iter().map(|element| without_defaults(element, &usual)).collect())
        }
        value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => value,
    }
}
