//! Bodies on disk: a state has a hundred megabytes and more, and a runner is to stay small.
//!
//! A file here never has a name, so none is left behind and none can be put in its place.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::stream::{self, Stream};

/// The largest body, either way: as large as the state that a server takes.
pub(super) const BODY_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// What is kept in memory: locks, refusals, small states.
const MEMORY_BYTES_MAX: usize = 64 * 1024;
/// How much is read back at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Why a body was not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    /// More than [`BODY_BYTES_MAX`].
    #[error("it has more than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    /// The disk is full, or the folder is gone.
    #[error("it can't be kept: {0}")]
    Disk(io::Error),
}

/// A body that is being taken.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    memory: Vec<u8>,
    file: Option<Arc<File>>,
    bytes: u64,
}

/// A body that was taken, to be read as often as it takes.
#[derive(Clone, Debug)]
pub(super) struct Body {
    kept: Kept,
    pub(super) bytes: u64,
}

#[derive(Clone, Debug)]
enum Kept {
    Memory(Bytes),
    File(Arc<File>),
}

impl Spool {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), memory: Vec::new(), file: None, bytes: 0 }
    }

    pub(super) async fn push(&mut self, piece: Bytes) -> Result<(), SpoolError> {
        let bytes = self.bytes + piece.len() as u64;
        if bytes > BODY_BYTES_MAX {
            return Err(SpoolError::TooLarge);
        }
        if self.file.is_none() && self.memory.len() + piece.len() <= MEMORY_BYTES_MAX {
            self.memory.extend_from_slice(&piece);
        } else {
            let (file, memory) = (self.file.take(), std::mem::take(&mut self.memory));
            let (folder, at) = (self.folder.clone(), self.bytes);
            let write = move || {
                let file = match file {
                    Some(file) => file,
                    None => Arc::new(tempfile::tempfile_in(folder)?),
                };
                file.write_all_at(&memory, 0)?;
                file.write_all_at(&piece, at)?;
                Ok(file)
            };
            self.file = Some(blocking(write).await.map_err(SpoolError::Disk)?);
        }
        self.bytes = bytes;
        Ok(())
    }

    pub(super) fn finish(self) -> Body {
        let kept = match self.file {
            Some(file) => Kept::File(file),
            None => Kept::Memory(self.memory.into()),
        };
        Body { kept, bytes: self.bytes }
    }
}

impl Body {
    pub(super) fn of(text: &'static str) -> Self {
        Self { kept: Kept::Memory(Bytes::from_static(text.as_bytes())), bytes: text.len() as u64 }
    }

    /// All of it, in pieces, from the begin.
    pub(super) fn pieces(&self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let (kept, end) = (self.kept.clone(), self.bytes);
        stream::try_unfold(0, move |at| {
            let kept = kept.clone();
            async move {
                if at >= end {
                    return Ok(None);
                }
                let piece = match kept {
                    Kept::Memory(bytes) => bytes,
                    Kept::File(file) => {
                        let bytes = usize::try_from(end - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
                        let read = move || {
                            let mut piece = vec![0; bytes];
                            file.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
                        };
                        blocking(read).await?
                    }
                };
                let next = at + piece.len() as u64;
                Ok(Some((piece, next)))
            }
        })
    }
}

async fn blocking<A: Send + 'static>(work: impl FnOnce() -> io::Result<A> + Send + 'static) -> io::Result<A> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;

    async fn read(body: &Body) -> Vec<u8> {
        body.pieces().try_collect::<Vec<Bytes>>().await.expect("its pieces").concat()
    }

    #[tokio::test]
    async fn what_was_taken_is_given_again_and_again() {
        let folder = tempfile::tempdir().expect("a folder");
        for pieces in [vec![], vec![3], vec![1, 65_535], vec![65_536, 1], vec![10, 200_000, 7, 64 * 1024]] {
            let mut spool = Spool::new(folder.path());
            let mut all = Vec::new();
            for (number, bytes) in pieces.into_iter().enumerate() {
                let piece = vec![u8::try_from(number).expect("few") + b'a'; bytes];
                all.extend_from_slice(&piece);
                spool.push(piece.into()).await.expect("room");
            }
            let body = spool.finish();
            assert_eq!(body.bytes, all.len() as u64);
            assert_eq!(matches!(body.kept, Kept::File(_)), all.len() > MEMORY_BYTES_MAX);
            assert_eq!(read(&body).await, all);
            assert_eq!(read(&body).await, all);
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("a list").count(), 0, "no file has a name");
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_and_a_body_without_end_are_said() {
        let mut spool = Spool::new(Path::new("/nowhere/at/all"));
        spool.push(vec![0; 10].into()).await.expect("in memory");
        let error = spool.push(vec![0; MEMORY_BYTES_MAX].into()).await.expect_err("no folder").to_string();
        assert!(error.starts_with("it can't be kept: No such file or directory"), "{error}");
        let mut spool = Spool::new(Path::new("/nowhere/at/all"));
        spool.bytes = BODY_BYTES_MAX - 1;
        let error = spool.push(vec![0; 2].into()).await.expect_err("too large").to_string();
        assert_eq!(error, "it has more than 536870912 bytes");
    }
}
