//! Where the bytes are: logs, blobs, configurations and states, as files below one folder.
//!
//! Blobs are named by their SHA-256 and written beside, then renamed; a log is one file a task, written at
//! its offset. The state machine knows lengths and digests only, and what it does not name is garbage. It
//! must never hold a whole file in memory, and never write to a log what the state did not ask for.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use scalr_protocol::{
    blob::Digest,
    error::{ApiError, ErrorCode},
    id::TaskId,
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio_util::io::ReaderStream;

use super::answer::drain;

/// How much of a file is read at once: large enough that a whole log goes out at disk speed.
const READ_BYTES: usize = 256 * 1024;

/// The folder of all bytes.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    incoming: AtomicU64,
    /// Removed with the store, where no folder was given.
    _temporary: Option<TempDir>,
}

/// What was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// Its length.
    pub(super) bytes: u64,
    /// Its digest.
    pub(super) sha256: Digest,
}

impl Store {
    /// Opens the store in a folder, or in a temporary one.
    pub(super) fn open(dir: Option<&Path>) -> io::Result<Self> {
        let temporary = if dir.is_none() { Some(TempDir::with_prefix("fake-scalr-")?) } else { None };
        let dir = dir.or(temporary.as_ref().map(TempDir::path)).unwrap_or(Path::new(".")).to_owned();
        let make = |name: &str| DirBuilder::new().recursive(true).mode(0o700).create(dir.join(name));
        // What was still coming in when a process was killed was never acknowledged.
        match fs::remove_dir_all(dir.join("incoming")) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
        ["blobs", "logs", "incoming"].into_iter().try_for_each(make)?;
        Ok(Self { dir, incoming: AtomicU64::new(0), _temporary: temporary })
    }

    /// Takes in a body of at most `bytes_max` bytes, and refuses one whose digest is not the expected one.
    pub(super) async fn take(
        &self,
        body: Body,
        bytes_max: u64,
        expected: Option<Digest>,
    ) -> Result<Stored, ApiError> {
        let number = self.incoming.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join("incoming").join(number.to_string());
        let taken = receive(&path, body, bytes_max).await.and_then(|stored| {
            if expected.is_some_and(|expected| expected != stored.sha256) {
                let detail = format!("the content's SHA-256 is {}", stored.sha256);
                return Err(ApiError::new(ErrorCode::DigestMismatch, detail).of_parameter("content-digest"));
            }
            fs::rename(&path, self.blob_path(stored.sha256)).map_err(|e| unwritable(&e))?;
            Ok(stored)
        });
        if taken.is_err() {
            // It is removed at the next start at the latest.
            drop(fs::remove_file(&path));
        }
        taken
    }

    /// Gives out a blob.
    pub(super) async fn blob(&self, blob: Digest) -> Result<Body, ApiError> {
        let file = tokio::fs::File::open(self.blob_path(blob)).await.map_err(|e| unreadable(&e))?;
        Ok(Body::from_stream(ReaderStream::with_capacity(file, READ_BYTES)))
    }

    /// Writes a part of a task's log at its offset.
    pub(super) fn write_log(&self, task: &TaskId, mut offset: u64, parts: &[Bytes]) -> Result<(), ApiError> {
        let path = self.log_path(task);
        let write = || {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
            for part in parts {
                file.write_all_at(part, offset)?;
                offset += part.len() as u64;
            }
            Ok(())
        };
        write().map_err(|e: io::Error| unwritable(&e))
    }

    /// Gives out a task's log from one offset to another.
    pub(super) async fn log(&self, task: &TaskId, from: u64, to: u64) -> Result<Body, ApiError> {
        if from >= to {
            return Ok(Body::empty());
        }
        let mut file = tokio::fs::File::open(self.log_path(task)).await.map_err(|e| unreadable(&e))?;
        file.seek(io::SeekFrom::Start(from)).await.map_err(|e| unreadable(&e))?;
        Ok(Body::from_stream(ReaderStream::with_capacity(file.take(to - from), READ_BYTES)))
    }

    /// The digest of the first `bytes` bytes of a task's log. It reads them all.
    pub(super) fn log_digest(&self, task: &TaskId, bytes: u64) -> Result<Digest, ApiError> {
        let mut hasher = Sha256::new();
        if bytes > 0 {
            let mut file = File::open(self.log_path(task)).map_err(|e| unreadable(&e))?.take(bytes);
            let mut buffer = vec![0; READ_BYTES];
            loop {
                let read = file.read(&mut buffer).map_err(|e| unreadable(&e))?;
                if read == 0 {
                    break;
                }
                hasher.update(&buffer[..read]);
            }
        }
        Ok(Digest(hasher.finalize().into()))
    }

    /// Cuts a log at the length that was acknowledged. A shorter one lost acknowledged bytes, and is an
    /// error.
    pub(super) fn cut_log(&self, task: &TaskId, bytes: u64) -> io::Result<()> {
        let path = self.log_path(task);
        let length = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
        if length < bytes {
            let message = format!("`{}` has {length} bytes where {bytes} were acknowledged", path.display());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        if length > bytes { OpenOptions::new().write(true).open(path)?.set_len(bytes) } else { Ok(()) }
    }

    /// Where a blob is.
    pub(super) fn blob_path(&self, blob: Digest) -> PathBuf {
        self.dir.join("blobs").join(blob.to_string())
    }

    fn log_path(&self, task: &TaskId) -> PathBuf {
        self.dir.join("logs").join(task.as_str())
    }
}

async fn receive(path: &Path, mut body: Body, bytes_max: u64) -> Result<Stored, ApiError> {
    let mut file = tokio::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .await
        .map_err(|e| unwritable(&e))?;
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| broken_off(&e))?;
        let Ok(part) = frame.into_data() else { continue };
        bytes += part.len() as u64;
        if bytes > bytes_max {
            drain(body).await;
            return Err(too_large(bytes_max));
        }
        hasher.update(&part);
        file.write_all(&part).await.map_err(|e| unwritable(&e))?;
    }
    file.flush().await.map_err(|e| unwritable(&e))?;
    Ok(Stored { bytes, sha256: Digest(hasher.finalize().into()) })
}

/// The refusal of a body that is too large.
pub(super) fn too_large(bytes_max: u64) -> ApiError {
    ApiError::new(ErrorCode::TooLarge, format!("at most {bytes_max} bytes are taken here"))
}

/// The refusal of a body that ended early.
pub(super) fn broken_off(error: &axum::Error) -> ApiError {
    ApiError::new(ErrorCode::Malformed, format!("the body broke off: {error}"))
}

fn unwritable(error: &io::Error) -> ApiError {
    ApiError::new(ErrorCode::Unavailable, format!("the content can't be stored: {error}"))
}

fn unreadable(error: &io::Error) -> ApiError {
    ApiError::new(ErrorCode::Internal, format!("the content can't be read: {error}"))
}
