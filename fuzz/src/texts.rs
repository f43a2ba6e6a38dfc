//! Short texts in headers, paths and files: a line each, what it is to be and the text.

use std::fs;

use scalr_agent::worker::podinfo::Podinfo;
use scalr_protocol::{
    blob::{BlobKind, Digest},
    console::{ContentRange, parse_stored, stored_header},
    id::TaskId,
};

use crate::{Met, Target, mutate::Shape, script, sure};

pub(crate) const TARGET: Target = Target {
    name: "texts",
    about: "a text is read and written as it was, or refused in one short line",
    shape: Shape::Lines,
    words: &[
        "range",
        "stored",
        "digest",
        "header",
        "id",
        "blob",
        "podinfo",
        "bytes\\s",
        "bytes=0-",
        "/*",
        "-",
        "sha-256=:",
        ":",
        "=",
        "scalr.io/task=\"t\"\\n",
        "scalr.io/fence=\"1\"\\n",
        "+1",
    ],
    classes: &[
        "a range",
        "no range",
        "stored",
        "not stored",
        "a digest",
        "no digest",
        "a digest in a header",
        "no digest in a header",
        "an id",
        "no id",
        "a kind of blob",
        "no kind of blob",
        "a pod's task",
        "a pod without a task",
        "a pod without a fence",
        "a pod whose fence is none",
        "a pod whose task is none",
        "a pod's file that is no text",
    ],
    inputs: 10_000,
    run,
};

fn run(input: &[u8], met: &mut Met) {
    for words in script::lines(input) {
        let Some((what, text)) = words.split_first() else { continue };
        let bytes = script::repeated(&text.join(&b' '), 2_000);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        met.see(match *what {
            b"range" => range(&text),
            b"stored" => stored(&text),
            b"digest" => digest(&text),
            b"header" => header(&text),
            b"id" => id(&text),
            b"blob" => blob(&text),
            b"podinfo" => podinfo(&bytes),
            _ => continue,
        });
    }
}

/// What is refused is said in so few letters that it can stand in a log.
fn short(error: &impl std::fmt::Display) {
    let said = error.to_string();
    assert!(said.chars().count() < 200, "{said:?}");
}

fn range(text: &str) -> &'static str {
    match ContentRange::parse(text) {
        Ok(range) => {
            assert!(range.bytes() > 0);
            assert_eq!(ContentRange::parse(&range.to_string()), Ok(range));
            assert_eq!(ContentRange::new(range.first, range.bytes()), Some(range));
            "a range"
        }
        Err(error) => {
            short(&error);
            "no range"
        }
    }
}

fn stored(text: &str) -> &'static str {
    match parse_stored(Some(text)) {
        Ok(bytes) => {
            assert_eq!(parse_stored(stored_header(bytes).as_deref()), Ok(bytes));
            "stored"
        }
        Err(error) => {
            short(&error);
            "not stored"
        }
    }
}

fn digest(text: &str) -> &'static str {
    match text.parse::<Digest>() {
        Ok(digest) => {
            assert_eq!(digest.to_string(), text.to_ascii_lowercase());
            "a digest"
        }
        Err(_) => "no digest",
    }
}

fn header(text: &str) -> &'static str {
    match Digest::from_header(text) {
        Ok(digest) => {
            assert_eq!(digest.to_header(), text.trim());
            "a digest in a header"
        }
        Err(_) => "no digest in a header",
    }
}

fn id(text: &str) -> &'static str {
    match TaskId::new(text) {
        Ok(id) => {
            assert_eq!(id.as_str(), text);
            assert!(!text.is_empty() && text.len() <= 128 && !text.starts_with('.'));
            assert!(
                text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'),
                "it can be a file's name"
            );
            "an id"
        }
        Err(error) => {
            short(&error);
            "no id"
        }
    }
}

fn blob(text: &str) -> &'static str {
    match text.parse::<BlobKind>() {
        Ok(kind) => {
            assert_eq!(kind.as_str(), text);
            "a kind of blob"
        }
        Err(error) => {
            short(&error);
            "no kind of blob"
        }
    }
}

fn podinfo(bytes: &[u8]) -> &'static str {
    let folder = sure(crate::place(), "a folder");
    sure(fs::write(folder.path().join("annotations"), bytes), "a file");
    match Podinfo::read(folder.path()) {
        Ok(_) => "a pod's task",
        Err(error) => {
            let said = format!("{error:#}");
            let classes = [
                ("no annotation `scalr.io/task`", "a pod without a task"),
                ("no annotation `scalr.io/fence`", "a pod without a fence"),
                ("is no fence", "a pod whose fence is none"),
                ("is no task id", "a pod whose task is none"),
                ("can't be read", "a pod's file that is no text"),
            ];
            let class = classes.iter().find(|(words, _)| said.contains(words)).map(|(_, class)| *class);
            class.unwrap_or_else(|| panic!("{said}"))
        }
    }
}
