//! What the documents must say, and where they may point.

use std::{collections::BTreeSet, path::Path};

use expect_test::expect;
use scalr_protocol::{agent::Action, blob::BlobKind, error::ErrorCode};

use super::{File, is_test, names, nothing, planted, repository, root};

/// Lines outside of code blocks.
fn prose(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    file.lines().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// A heading's anchor: lower-case letters and digits, `-` for spaces, nothing else.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>()
        .replace(' ', "-")
}

fn anchors(file: &File) -> BTreeSet<String> {
    prose(file)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| anchor(line.trim_start_matches('#')))
        .collect()
}

/// The targets of `[text](target)` in a line.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, _)| line[at + 2..].split_once(')')).map(|(target, _)| target)
}

/// `docs/a.md` and `../b.md` make `b.md`.
fn resolved(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

fn dead_links(files: &[File], there: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is_markdown()) {
        for (number, target) in prose(file).flat_map(|(number, line)| targets(line).map(move |t| (number, t)))
        {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { file.path.clone() } else { resolved(&file.path, path) };
            if !there(&path) {
                found.push(
                    file.breach(number, format!("the link `{target}` leads nowhere: there is no {path}")),
                );
                continue;
            }
            let known = files.iter().find(|file| file.path == path).map(anchors).unwrap_or_default();
            if !heading.is_empty() && !known.contains(heading) {
                found.push(file.breach(number, format!("the link `{target}` leads to no heading of {path}")));
            }
        }
    }
    found
}

/// The variables and flags that clap's attributes declare, where they do.
fn declared_options(file: &File) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // `long` without a value takes its name from the field that follows.
    let (mut in_attribute, mut unnamed) = (false, false);
    for (number, line) in file.code() {
        in_attribute |= line.contains("#[arg(");
        let quoted = |prefix: &str| line.split_once(prefix).and_then(|(_, rest)| rest.split('"').next());
        if in_attribute {
            found.extend(quoted("env = \"").map(|name| (number, name.to_owned())));
            match quoted("long = \"") {
                Some(name) => found.push((number, format!("--{name}"))),
                None => unnamed |= names(line, "long"),
            }
            in_attribute = !line.contains(")]");
        }
        if let Some(field) = line.trim().strip_prefix("pub ").and_then(|rest| rest.split(':').next()) {
            if unnamed {
                found.push((number, format!("--{}", field.replace('_', "-"))));
            }
            unnamed = false;
        }
    }
    found
}

fn undocumented_options(files: &[File]) -> Vec<String> {
    let page = "docs/options.md";
    let text = files.iter().find(|file| file.path == page).map_or("", |file| file.text.as_str());
    let declares = |file: &&File| {
        ["agent/src/options", "fake-scalr/src/options"].iter().any(|prefix| file.path.starts_with(prefix))
            && file.is_rust()
            && !is_test(&file.path)
    };
    let mut found = Vec::new();
    for file in files.iter().filter(declares) {
        for (number, name) in declared_options(file) {
            if !text.contains(&format!("`{name}`")) {
                found.push(file.breach(number, format!("`{name}` is not in {page}: add its row")));
            }
        }
    }
    found
}

#[test]
fn every_link_leads_somewhere() {
    nothing(&dead_links(&repository(), |path| root().join(Path::new(path)).exists()));
}

#[test]
fn every_option_is_documented() {
    nothing(&undocumented_options(&repository()));
}

#[test]
fn the_protocol_page_knows_every_word() {
    let files = repository();
    let page =
        files.iter().find(|file| file.path == "docs/protocol.md").map_or("", |file| file.text.as_str());
    let codes = ErrorCode::ALL.iter().map(|code| {
        let name = serde_json::to_string(code).unwrap_or_default();
        (name.trim_matches('"').to_owned(), "protocol/src/error.rs")
    });
    let actions = Action::ALL.iter().map(|action| (action.as_str().to_owned(), "protocol/src/agent.rs"));
    let blobs = BlobKind::ALL.iter().map(|kind| (kind.as_str().to_owned(), "protocol/src/blob.rs"));
    let missing: Vec<String> = codes
        .chain(actions)
        .chain(blobs)
        .filter(|(word, _)| !page.contains(&format!("`{word}`")))
        .map(|(word, path)| format!("{path}: `{word}` is not in docs/protocol.md: say what it means"))
        .collect();
    nothing(&missing);
}

#[test]
fn the_rules_for_documents_bite() {
    let page = [
        "# A heading, with `code`",
        "[a](b.md) [b](../c.md#x)",
        "```",
        "[c](in-code.md)",
        "```",
        "[d](#a-heading-with-code)",
    ]
    .join("\n");
    expect![[r"
        docs/a.md:2: the link `b.md` leads nowhere: there is no docs/b.md
        docs/a.md:2: the link `../c.md#x` leads to no heading of c.md"]]
    .assert_eq(&dead_links(&planted("docs/a.md", &page), |path| path != "docs/b.md").join("\n"));
    let options = "#[arg(\n    long,\n    env = \"SCALR_NEW\"\n)]\npub new_one: u64,\npub other: u64,\n";
    expect![[r"
        agent/src/options.rs:3: `SCALR_NEW` is not in docs/options.md: add its row
        agent/src/options.rs:5: `--new-one` is not in docs/options.md: add its row"]]
    .assert_eq(&undocumented_options(&planted("agent/src/options.rs", options)).join("\n"));
}
