//! Files that a command of the user's left behind, made ready for the upload: opened without following
//! anything, bounded, with their digest.
//!
//! It never reads a file into memory, and never trusts a length that it did not count itself. Whoever
//! changes the file between digest and upload only makes the server refuse it.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::Path,
};

use scalr_protocol::blob::{BlobKind, BlobRef, Digest};
use sha2::{Digest as _, Sha256};

use super::beneath::{BeneathError, Folder};

/// How large a file of each kind may be; a server's own limits come on top.
pub fn bytes_max(kind: BlobKind) -> u64 {
    const MIB: u64 = 1 << 20;
    match kind {
        // A plan holds the configuration, the state before and the state planned.
        BlobKind::PlanFile | BlobKind::ErroredState => 1024 * MIB,
        // As the plan, but unpacked, and with values before and after.
        BlobKind::PlanJson => 2048 * MIB,
        // A few lines for each provider.
        BlobKind::LockFile => 4 * MIB,
        BlobKind::ConfigurationVersion
        | BlobKind::Policies
        | BlobKind::PolicyInput
        | BlobKind::PolicyResult
        | BlobKind::CostBreakdown => 512 * MIB,
    }
}

/// A file to upload: what is announced, and the open file at its begin.
#[derive(Debug)]
pub struct Upload {
    /// Kind, length and digest.
    pub blob: BlobRef,
    /// Positioned at its begin. Send `blob.bytes` bytes of it, not more.
    pub file: File,
}

impl Upload {
    /// From a folder in which user code has run; none where there is no such file.
    pub fn from_folder(folder: &Folder, path: &Path, kind: BlobKind) -> Result<Option<Self>, UploadError> {
        match folder.open_file(path, bytes_max(kind)) {
            Ok((file, _)) => Self::from_file(file, kind).map(Some),
            Err(BeneathError::Missing { .. }) => Ok(None),
            Err(cause) => Err(UploadError::Refused { kind, cause }),
        }
    }

    /// From an open file of the worker's own. Reads it whole, once, from its begin.
    pub fn from_file(mut file: File, kind: BlobKind) -> Result<Self, UploadError> {
        let failed = |cause| UploadError::Read { kind, cause };
        file.rewind().map_err(failed)?;
        let bytes_max = bytes_max(kind);
        let (bytes, sha256) = digest((&mut file).take(bytes_max.saturating_add(1))).map_err(failed)?;
        if bytes > bytes_max {
            return Err(UploadError::TooLarge { kind, bytes_max });
        }
        file.rewind().map_err(failed)?;
        Ok(Self { blob: BlobRef { kind, bytes, sha256 }, file })
    }
}

/// Counts and digests what a reader gives, to its end.
pub fn digest(mut reader: impl Read) -> io::Result<(u64, Digest)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((bytes, Digest(hash.finalize().into()))),
            Ok(read) => {
                bytes += read as u64;
                hash.update(buffer.get(..read).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Why a file can't be uploaded.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It is not a file that may be opened, or too large.
    #[error("the {kind} can't be taken: {cause}")]
    Refused {
        /// Which.
        kind: BlobKind,
        /// Why.
        cause: BeneathError,
    },
    /// It grew past the limit while it was read.
    #[error("the {kind} has more than {bytes_max} bytes, the limit")]
    TooLarge {
        /// Which.
        kind: BlobKind,
        /// The limit.
        bytes_max: u64,
    },
    /// It can't be read.
    #[error("failed to read the {kind}: {cause}")]
    Read {
        /// Which.
        kind: BlobKind,
        /// Why.
        cause: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn announces_what_it_will_send() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("plan"), "abc").unwrap();
        let open = Folder::open(folder.path()).unwrap();
        let mut upload = Upload::from_folder(&open, Path::new("plan"), BlobKind::PlanFile).unwrap().unwrap();
        let mut sent = String::new();
        upload.file.read_to_string(&mut sent).unwrap();
        assert_eq!(sent, "abc");
        assert_eq!(upload.blob.bytes, 3);
        assert_eq!(
            upload.blob.sha256.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn takes_nothing_but_a_file_within_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        symlink("/etc/passwd", folder.path().join("link")).unwrap();
        File::create(folder.path().join("sparse")).unwrap().set_len(100 << 30).unwrap();
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        let open = Folder::open(folder.path()).unwrap();
        let take = |path: &str| Upload::from_folder(&open, Path::new(path), BlobKind::LockFile);
        assert!(take("missing").unwrap().is_none());
        let said: Vec<String> =
            ["link", "sparse", "folder"].map(|path| take(path).unwrap_err().to_string()).into();
        expect_test::expect![[r#"
            [
                "the lock-file can't be taken: \"link\" is a link, not a regular file",
                "the lock-file can't be taken: \"sparse\" has 107374182400 bytes, the limit is 4194304",
                "the lock-file can't be taken: \"folder\" is a folder, not a regular file",
            ]
        "#]]
        .assert_debug_eq(&said);
    }
}
