//! The rules of this repository that no other tool knows.
//!
//! Each rule reads the files as they lie in the work tree and says where it is broken and what to do. It must
//! never guess at style: what rustfmt, clippy or cargo-deny can hold is theirs.

mod boundaries;
mod documents;
mod sources;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// One text file of the repository.
struct File {
    /// From the root on, with `/`.
    path: String,
    /// The whole of it.
    text: String,
}

impl File {
    /// Lines with their numbers, from 1 on.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    fn is_rust(&self) -> bool {
        has_extension(&self.path, "rs")
    }

    fn is_markdown(&self) -> bool {
        has_extension(&self.path, "md")
    }

    /// Lines of Rust without their comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().map(|(number, line)| (number, without_comment(line)))
    }

    /// A breach of a rule in one of its lines.
    fn breach(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

/// Tests are lists of examples, under rules of their own.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Cuts a line at `//`, but not within `://`.
fn without_comment(line: &str) -> &str {
    line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':')).map_or(line, |(at, _)| &line[..at])
}

/// Whether a line has `word`, not as a part of a longer name.
fn names(line: &str, word: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(in_name) && !line[at + word.len()..].starts_with(in_name))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Folders that hold nothing of ours.
const SKIPPED: &[&str] = &[".git", ".tools", "target"];

/// Every text file of the repository, in order.
fn repository() -> Vec<File> {
    let mut files = Vec::new();
    collect(&root(), "", &mut files);
    assert!(files.len() > 50, "only {} files found under {}", files.len(), root().display());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), &format!("{path}/"), files),
            Ok(kind) if kind.is_file() => {
                // What is no text is none of our business.
                if let Ok(text) = fs::read_to_string(entry.path()) {
                    files.push(File { path, text });
                }
            }
            Ok(_) | Err(_) => {}
        }
    }
}

#[track_caller]
fn nothing(breaches: &[String]) {
    let mut report = String::new();
    for breach in breaches {
        let _ = writeln!(report, "  {breach}");
    }
    assert!(breaches.is_empty(), "{} breaches:\n{report}", breaches.len());
}

/// A made-up repository of one file, to see that a rule bites.
fn planted(path: &str, text: &str) -> Vec<File> {
    vec![File { path: path.to_owned(), text: text.to_owned() }]
}
