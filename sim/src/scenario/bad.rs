//! What is wrong with a scenario file, in one line: the file, the line and column, the field, and what was
//! expected.

use std::borrow::Cow;

use serde_json::{Value, error::Category};

use super::{BYTES_MAX, VERSION, check::Mistake};

/// Where in the file it is; nothing of a file that is not there.
fn place(bad: &BadScenario) -> String {
    if bad.line == 0 { String::new() } else { format!(":{}:{}: {}", bad.line, bad.column, bad.field) }
}

/// A file that is no scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {expected}", place(self))]
pub struct BadScenario {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; 0 of a file that can't be had.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The field's path, such as `world.runs[3].at-ms`; `.` for the whole.
    pub field: String,
    /// What was found and what was expected.
    pub expected: String,
}

impl BadScenario {
    pub(super) fn too_large(file: &str, bytes: usize) -> Self {
        let expected = format!("{bytes} bytes, expected at most {BYTES_MAX}");
        Self::whole(file, expected)
    }

    /// Something about the whole file.
    pub(super) fn whole(file: &str, expected: String) -> Self {
        Self { file: file.to_owned(), line: 1, column: 1, field: ".".to_owned(), expected }
    }

    /// A file that can't be had.
    pub fn unopened(file: &str, error: &std::io::Error) -> Self {
        let expected = format!("{}, expected a scenario file", one_line(&error.to_string()));
        Self { line: 0, ..Self::whole(file, expected) }
    }

    /// Bytes that are no text, from this one on.
    pub(super) fn no_text(file: &str, before: &[u8]) -> Self {
        let before = String::from_utf8_lossy(before);
        let (line, column) = position(&before, before.len());
        let expected = "a byte that is no UTF-8, expected text".to_owned();
        Self { file: file.to_owned(), line, column, field: ".".to_owned(), expected }
    }

    pub(super) fn unreadable(
        file: &str,
        text: &str,
        error: &serde_path_to_error::Error<serde_json::Error>,
    ) -> Self {
        let inner = error.inner();
        let field = one_line(&error.path().to_string().replace('?', "."));
        // The library says where it stopped: inside the field, or just after it.
        let line = inner.line().clamp(1, text.lines().count().max(1));
        let said = inner.to_string();
        let mut expected = one_line(said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what));
        if !expected.contains("expected") {
            expected.push_str(match inner.classify() {
                Category::Data if expected.starts_with("duplicate") => ", expected it once",
                Category::Data => ", expected it here",
                Category::Syntax | Category::Eof | Category::Io => ", expected JSON",
            });
        }
        if field == "." && expected.starts_with("invalid length") {
            "a list, expected an object with named members".clone_into(&mut expected);
        }
        if expected.starts_with("missing field `version`") {
            expected = format!("missing field `version`, expected {VERSION}");
        }
        Self { file: file.to_owned(), line, column: inner.column().max(1), field, expected }
    }

    pub(super) fn trailing(file: &str, error: &serde_json::Error) -> Self {
        let expected = "characters after the scenario, expected the end of the file".to_owned();
        let (line, column) = (error.line().max(1), error.column().max(1));
        Self { file: file.to_owned(), line, column, field: ".".to_owned(), expected }
    }

    pub(super) fn mistake(file: &str, text: &str, mistake: Mistake) -> Self {
        let (line, column) = position(text, begin_of(text, &mistake.path));
        let mut field = if mistake.path.is_empty() { ".".to_owned() } else { String::new() };
        for step in &mistake.path {
            match step {
                Step::Key(key) if field.is_empty() => field.push_str(key),
                Step::Key(key) => field.extend([".", key.as_ref()]),
                Step::Place(place) => field.extend(["[", &place.to_string(), "]"]),
            }
        }
        Self { file: file.to_owned(), line, column, field: one_line(&field), expected: mistake.expected }
    }
}

/// A step of a path into JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(Cow<'static, str>),
    Place(usize),
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// The line and the column of a byte, from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[begin..].chars().count() + 1)
}

/// Where the value at a path begins; its nearest container where it is not written. The text is JSON: it was
/// read before.
fn begin_of(text: &str, path: &[Step]) -> usize {
    let mut at = 0;
    let mut found = skip_space(text, at);
    at = found;
    for step in path {
        match find(text, at, step) {
            Some(place) => {
                at = place;
                found = place;
            }
            None => break,
        }
    }
    found
}

/// Where the value of a member or an element begins, in the container that begins at `at`.
fn find(text: &str, at: usize, step: &Step) -> Option<usize> {
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
                name == *key
            }
            Step::Place(wanted) => place == *wanted,
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
const WHOLE: [&str; 3] = ["even", "exponential", "lognormal"];

/// A value without the members that are as in `plain`, all the way down.
pub(super) fn without_defaults(value: Value, plain: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter_map(|(name, member)| {
                let usual = plain.get(&name);
                // A list of runs is as long as it is, even where each is as usual, and all else with it.
                let runs = if name == "runs" { Some(&member) } else { member.get("runs") };
                let has_runs = runs.and_then(Value::as_array).is_some_and(|runs| !runs.is_empty());
                let is_kept = name == "version" || has_runs;
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
