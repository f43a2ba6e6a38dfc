//! What can go wrong below the folder.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::Kind;

/// What went wrong below the folder. Paths are relative to it.
#[derive(Debug, thiserror::Error)]
pub enum BeneathError {
    /// There is nothing of that name.
    #[error("{path:?} is missing")]
    Missing {
        /// The name.
        path: PathBuf,
    },
    /// The name leads out of the folder.
    #[error("{path:?} leads out of its folder")]
    Outside {
        /// The name.
        path: PathBuf,
    },
    /// The name goes through a link, or through something that is no folder.
    #[error("{path:?} goes through a link or a file")]
    Link {
        /// The name.
        path: PathBuf,
    },
    /// It is not what it should be.
    #[error("{path:?} is {found}, not {expected}")]
    Kind {
        /// The name.
        path: PathBuf,
        /// What it is.
        found: Kind,
        /// What it should be.
        expected: Kind,
    },
    /// It is larger than allowed.
    #[error("{path:?} has {bytes} bytes, the limit is {bytes_max}")]
    TooLarge {
        /// The name.
        path: PathBuf,
        /// Its apparent size.
        bytes: u64,
        /// What is allowed.
        bytes_max: u64,
    },
    /// The folder has more entries than allowed.
    #[error("{path:?} has more than {entries_max} entries")]
    TooMany {
        /// The name.
        path: PathBuf,
        /// What is allowed.
        entries_max: usize,
    },
    /// The system said no.
    #[error("{path:?}: {cause}")]
    Io {
        /// The name.
        path: PathBuf,
        /// What it said.
        cause: std::io::Error,
    },
}

pub(super) fn refused(path: &Path, errno: Errno) -> BeneathError {
    let path = path.to_owned();
    match errno {
        Errno::NOENT => BeneathError::Missing { path },
        Errno::LOOP | Errno::NOTDIR => BeneathError::Link { path },
        Errno::XDEV => BeneathError::Outside { path },
        errno => BeneathError::Io { path, cause: errno.into() },
    }
}

pub(super) fn failed(path: &Path, cause: std::io::Error) -> BeneathError {
    BeneathError::Io { path: path.to_owned(), cause }
}
