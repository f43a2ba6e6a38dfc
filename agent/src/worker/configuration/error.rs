//! Why a configuration can't be unpacked, one line each.

use std::{io, path::Path};

use crate::worker::beneath::BeneathError;

/// Why a configuration can't be unpacked; one line each, with the entry, what is wrong, and the limit.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// It is no tar.gz, or it ends in the middle.
    #[error("the configuration is no readable tar.gz: {cause}")]
    Unreadable {
        /// What the reader said, in one line.
        cause: String,
    },
    /// An entry is not allowed.
    #[error("entry {entry:?} of the configuration {problem}")]
    Entry {
        /// Its path, cut to 256 characters.
        entry: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// All entries together are too much.
    #[error("the configuration has more than {max} {what}")]
    TooMuch {
        /// The limit.
        max: u64,
        /// Of what.
        what: &'static str,
    },
    /// The folder is not empty, or can't be written.
    #[error("failed to write the configuration: {cause}")]
    Write {
        /// What the system said.
        cause: BeneathError,
    },
}

/// What is wrong with one entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// `..` or an absolute path.
    #[error("leads out of the folder")]
    PathOutside,
    /// No name at all, or one with a NUL.
    #[error("has no usable name")]
    Nameless,
    /// Too long a path or link target.
    #[error("has a path of {bytes} bytes, the limit is {max}")]
    PathTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Too deep.
    #[error("is {depth} folders deep, the limit is {max}")]
    TooDeep {
        /// Its depth.
        depth: usize,
        /// The limit.
        max: usize,
    },
    /// Too large a file.
    #[error("has {bytes} bytes, the limit is {max}")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A device, a FIFO, a sparse file.
    #[error("is {what}; only files, folders and links are allowed")]
    Forbidden {
        /// What it is.
        what: &'static str,
    },
    /// It would be written through a link of the archive.
    #[error("goes through the link {link:?}")]
    ThroughLink {
        /// The link's path.
        link: String,
    },
    /// A file where a folder is, or the other way round.
    #[error("has the name of another entry of another kind")]
    NameTaken,
    /// A symbolic link that leads out.
    #[error("is a link to {target:?}, which leads out of the folder")]
    LinkOutside {
        /// Where it points.
        target: String,
    },
    /// Links that lead to each other.
    #[error("is a link to {target:?}, which leads through more than {max} links")]
    LinkLoop {
        /// Where it points.
        target: String,
        /// The limit.
        max: usize,
    },
    /// Finding out where the links lead takes too long.
    #[error("is a link, and all links together take more than {max} steps to follow")]
    LinksTooTangled {
        /// The limit.
        max: usize,
    },
    /// A hard link to what is no earlier file.
    #[error("is a hard link to {target:?}, which is no earlier file of the archive")]
    HardLink {
        /// Where it points.
        target: String,
    },
    /// A header that says two things, or nothing that can be understood.
    #[error("has an unusable header: {what}")]
    Header {
        /// What is wrong.
        what: &'static str,
    },
}

impl ConfigurationError {
    /// The reader quotes the archive, so what it said is cut and made printable.
    pub(super) fn unreadable(cause: &io::Error) -> Self {
        let text: String = cause.to_string().chars().take(160).collect();
        Self::Unreadable { cause: text.escape_debug().to_string() }
    }

    pub(super) fn entry(path: &Path, problem: Problem) -> Self {
        Self::Entry { entry: shown(path), problem }
    }

    /// An error of the folder that an archive can provoke is a matter of the entry, the rest is the disk's.
    pub(super) fn written(path: &Path, cause: BeneathError) -> Self {
        match cause {
            BeneathError::Link { .. } | BeneathError::Kind { .. } => Self::entry(path, Problem::NameTaken),
            BeneathError::Outside { .. } => Self::entry(path, Problem::PathOutside),
            BeneathError::Missing { .. }
            | BeneathError::TooLarge { .. }
            | BeneathError::TooMany { .. }
            | BeneathError::Io { .. } => Self::Write { cause },
        }
    }
}

/// A path for people: cut, so that a message stays one line.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().take(256).collect()
}
