//! What can be wrong with the settings of a run or a workspace.

use crate::worker::beneath::BeneathError;

/// How many targets, replacements and variable files a run may have: they are arguments, of which Linux takes
/// 2 MiB with the environment.
pub(super) const LIST_MAX: usize = 1000;
/// The longest address or path among them.
pub(super) const ARGUMENT_BYTES_MAX: usize = 1024;

/// A setting of the run or the workspace that can't work; one line each.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The working directory leads out, or is no folder.
    #[error("working directory {path:?}: {problem}; set it to a folder of the configuration")]
    WorkingDirectory {
        /// As it is set.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// There is nothing to run in it.
    #[error("working directory {path:?} has no .tf file; set it to the folder of the root module")]
    NoModule {
        /// As it is set.
        path: String,
    },
    /// A variable file can't be used.
    #[error("variable file {path:?}: {problem}; it is looked for from the working directory")]
    VarFile {
        /// As it is set.
        path: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A target or a replacement is no address.
    #[error("{option} {address:?} is no resource address")]
    Address {
        /// `-target` or `-replace`.
        option: &'static str,
        /// As it is set, cut to 256 characters.
        address: String,
    },
    /// Too many of them.
    #[error("the run has {count} {what}, the limit is {LIST_MAX}")]
    TooMany {
        /// How many.
        count: usize,
        /// Of what.
        what: &'static str,
    },
    /// Settings that exclude each other.
    #[error("{first} and {second} can't be used together")]
    Conflict {
        /// The one.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// The folder can't be read or written.
    #[error("failed to prepare the working directory: {cause}")]
    Folder {
        /// What happened.
        cause: BeneathError,
    },
}

/// A setting as it is shown: not without end.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(256).collect()
}
