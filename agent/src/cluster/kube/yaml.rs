//! A value as YAML, for people and for `kubectl apply -f -`: blocks, and every text that is not a plain word
//! in quotes, so that no reader takes it for something else.

use serde_json::Value;

/// Writes a document, ended by a line.
pub(super) fn document(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text
}

fn write(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                indent(depth, text);
                text.push_str(&scalar(key));
                text.push(':');
                below(value, depth + 1, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                indent(depth, text);
                text.push('-');
                let mut block = String::new();
                below(item, depth + 1, &mut block);
                // A map begins on the line of its dash.
                let block = block.strip_prefix('\n').map_or(block.as_str(), str::trim_start);
                if !block.starts_with(' ') {
                    text.push(' ');
                }
                text.push_str(block);
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            text.push_str(&flat(value));
            text.push('\n');
        }
    }
}

/// A value after its key: on the same line, or below it.
fn below(value: &Value, depth: usize, text: &mut String) {
    let is_block = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    text.push(if is_block { '\n' } else { ' ' });
    write(value, depth, text);
}

fn flat(value: &Value) -> String {
    match value {
        Value::String(word) => scalar(word),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

/// A word as it is, anything else as JSON, which YAML reads.
fn scalar(word: &str) -> String {
    let is_plain = word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&&*word.to_lowercase());
    if is_plain { word.to_owned() } else { Value::from(word).to_string() }
}

fn indent(depth: usize, text: &mut String) {
    text.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_blocks_and_quoted_texts() {
        let value = json!({
            "apiVersion": "batch/v1",
            "empty": {}, "none": [], "on": true,
            "list": [1, "two words", {"a": "true", "b": [{"c": null}]}, [1, 2]],
        });
        expect![[r#"
            apiVersion: batch/v1
            empty: {}
            list:
              - 1
              - "two words"
              - a: "true"
                b:
                  - c: null
              - - 1
                - 2
            none: []
            "on": true
        "#]]
        .assert_eq(&document(&value));
    }
}
