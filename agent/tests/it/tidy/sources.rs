//! What every source file keeps to.

use std::collections::BTreeSet;

use expect_test::expect;

use super::{File, is_test, nothing, planted, repository};

/// A file that outgrows this is two files.
const LINES_MAX: usize = 500;
/// Tests are lists of examples and may be longer.
const TEST_LINES_MAX: usize = 700;
/// As rustfmt.toml has it; rustfmt leaves strings and comments alone.
const COLUMNS_MAX: usize = 110;
/// A message that is broken over two lines can't be searched for, so a line with one may be longer.
const TEXT_COLUMNS_MAX: usize = 130;

fn too_long(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let (lines, most) =
            (file.text.lines().count(), if is_test(&file.path) { TEST_LINES_MAX } else { LINES_MAX });
        if lines > most {
            found
                .push(file.breach(lines, format!("{lines} lines, at most {most}: split it by what it does")));
        }
    }
    found
}

/// Lines outside of snapshots, whose lines are those of the text they show, and of tables that rustfmt is
/// told to leave alone, where a row is a line.
fn written_lines(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let (mut in_snapshot, mut in_table) = (false, false);
    file.lines().filter(move |(_, line)| {
        let inside = in_snapshot || line.contains("expect![");
        in_snapshot = inside && !(line.contains("\"]") || line.contains("\"#]"));
        in_table = (in_table || line.trim() == "#[rustfmt::skip]") && !line.starts_with('}');
        !inside && !in_table
    })
}

fn too_wide(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        // A raw text on a line of its own is somebody else's form, such as a message's JSON.
        let lines = written_lines(file).filter(|(_, line)| !line.trim_start().starts_with("r#\""));
        for (number, line) in lines {
            let is_comment = line.trim_start().starts_with("//");
            let most = if line.contains('"') && !is_comment { TEXT_COLUMNS_MAX } else { COLUMNS_MAX };
            // rustfmt does not count the comma after a variant.
            let columns = line.trim_end_matches(',').chars().count();
            if columns > most {
                let what = format!("{columns} columns, at most {most}: break the line");
                found.push(file.breach(number, what));
            }
        }
    }
    found
}

/// Texts that must not be committed, each in two halves, so that this file does not hold them.
const FORBIDDEN: &[([&str; 2], &str)] = &[
    (["TO", "DO"], "do it, or file it where work is kept"),
    (["FIX", "ME"], "do it, or file it where work is kept"),
    (["crates", ".io"], "name the package, not where it is kept"),
    (["pypi", ".org"], "name the package, not where it is kept"),
    (["python", "hosted.org"], "name the package, not where it is kept"),
    (["npm", "js."], "name the package, not where it is kept"),
    (["deb.", "debian.org"], "name the package, not where it is kept"),
    (["proxy.", "golang.org"], "name the package, not where it is kept"),
    (["shared/", "design"], "a reader of the repository has no such folder: say it here"),
    (["shared/", "research"], "a reader of the repository has no such folder: say it here"),
    (["/work/", "main"], "a path of one machine: say where in the repository"),
    (["/work/", "targets"], "a path of one machine: say where in the repository"),
];

fn forbidden_texts(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path != "Cargo.lock") {
        for (number, line) in file.lines() {
            for (halves, remedy) in FORBIDDEN.iter().filter(|(halves, _)| line.contains(&halves.concat())) {
                found.push(file.breach(number, format!("`{}`: {remedy}", halves.concat())));
            }
        }
    }
    found
}

fn unreasoned_expectations(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for opening in [["#[", "expect("].concat(), ["#![", "expect("].concat(), ["#[", "allow("].concat()] {
            for (at, _) in file.text.match_indices(&opening) {
                let number = file.text[..at].matches('\n').count() + 1;
                let attribute =
                    file.text[at..].split_once(")]").map_or(&file.text[at..], |(inside, _)| inside);
                if !attribute.contains("reason = ") || opening.contains("allow") {
                    found.push(file.breach(number, "a lint is silenced: use `expect` with a `reason`"));
                }
            }
        }
    }
    found
}

/// `HeartbeatAnswer` → `heartbeat-answer`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

fn messages_without_fixture(files: &[File]) -> Vec<String> {
    let fixtures: BTreeSet<&str> =
        files.iter().filter_map(|f| f.path.strip_prefix("protocol/fixtures/")).collect();
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("protocol/src/")) {
        for (number, line) in file.code() {
            let Some(rest) = line.trim().strip_prefix("impl Message for ") else { continue };
            let fixture = format!("{}.json", kebab(rest.trim_end_matches([' ', '{'])));
            if !fixtures.contains(fixture.as_str()) {
                found.push(file.breach(number, format!("no example: write protocol/fixtures/{fixture}")));
            }
        }
    }
    found
}

#[test]
fn no_file_is_a_warehouse() {
    nothing(&too_long(&repository()));
}

#[test]
fn no_line_runs_out_of_the_window() {
    nothing(&too_wide(&repository()));
}

#[test]
fn nothing_is_left_to_do_and_no_place_of_ours_is_named() {
    nothing(&forbidden_texts(&repository()));
}

#[test]
fn every_silenced_lint_says_why() {
    nothing(&unreasoned_expectations(&repository()));
}

#[test]
fn every_message_has_a_fixture() {
    nothing(&messages_without_fixture(&repository()));
}

#[test]
fn the_rules_for_sources_bite() {
    let long = "x\n".repeat(LINES_MAX + 1);
    expect!["a/src/a.rs:501: 501 lines, at most 500: split it by what it does"]
        .assert_eq(&too_long(&planted("a/src/a.rs", &long)).join("\n"));
    expect![""].assert_eq(&too_long(&planted("a/tests/it/a.rs", &long)).join("\n"));
    expect!["a.rs:1: 111 columns, at most 110: break the line"]
        .assert_eq(&too_wide(&planted("a.rs", &"é".repeat(111))).join("\n"));
    let later = ["// TO", "DO later\n"].concat();
    let said = forbidden_texts(&planted("a.rs", &later)).join("\n");
    expect!["a.rs:1: `…`: do it, or file it where work is kept"].assert_eq(&said.replace(&later[3..7], "…"));
    let silenced = ["\n#[", "expect(\n    clippy::x\n)]"].concat();
    expect!["a.rs:2: a lint is silenced: use `expect` with a `reason`"]
        .assert_eq(&unreasoned_expectations(&planted("a.rs", &silenced)).join("\n"));
    expect!["protocol/src/a.rs:1: no example: write protocol/fixtures/big-news.json"].assert_eq(
        &messages_without_fixture(&planted("protocol/src/a.rs", "impl Message for BigNews {")).join("\n"),
    );
}
