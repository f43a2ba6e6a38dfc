//! The console on disk, masked, from its first byte to its last, until Scalr has it.
//!
//! Never holds more than its bound beyond what was acknowledged: it takes no more then, and the worker slows
//! the tool by not reading. Only once a stop has begun, when nothing may slow the tool, bytes are dropped,
//! and a line in their place says how many.
//!
//! Its calls are plain blocking ones: a write of at most one frame goes to the page cache in microseconds,
//! less than handing it to another thread costs. It is a buffer, not a record: nothing is synced, since a
//! worker that dies takes its console's end with it by design.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rustix::fs::FallocateFlags;
use sha2::{Digest, Sha256};

/// Most bytes beyond what was acknowledged: a quarter of an hour of a very chatty tool, and within the
/// ephemeral storage of a small node.
pub const SPOOL_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Acknowledged bytes that stay readable, for a server that comes back with less than it had.
const KEPT_BYTES: u64 = 64 * 1024 * 1024;
/// Disk is given back in steps of this, since each is a system call.
const PUNCH_BYTES: u64 = 16 * 1024 * 1024;
/// A gap closes once this much room is there (or half of a smaller spool): without it a full spool would
/// alternate lines and marks.
const RESUME_BYTES: u64 = 1024 * 1024;

/// How much a spool holds, and for how long. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most bytes beyond what was acknowledged.
    pub bytes_max: u64,
    /// Acknowledged bytes that stay readable.
    pub kept_bytes: u64,
    /// The step in which disk is given back, not 0.
    pub punch_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes_max: SPOOL_BYTES_MAX, kept_bytes: KEPT_BYTES, punch_bytes: PUNCH_BYTES }
    }
}

/// What a range could not be read for.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It was acknowledged long ago and is no longer on disk.
    #[error("bytes before {first_kept} are no longer kept")]
    Released {
        /// The first byte that is.
        first_kept: u64,
    },
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The console of one task.
#[derive(Debug)]
pub struct Spool {
    reader: SpoolReader,
    bytes: u64,
    acknowledged: u64,
    bounds: Bounds,
    sha256: Sha256,
    dropping: bool,
    gap: u64,
    dropped_bytes: u64,
}

/// Reads a spool; cheap to clone, for uploads in tasks of their own.
#[derive(Clone, Debug)]
pub struct SpoolReader {
    file: Arc<File>,
    /// What lies before it is no longer on disk, and would be read as zeros.
    first_kept: Arc<AtomicU64>,
}

impl Spool {
    /// Starts an empty one at `path`, readable by its owner only. What is there already is an error.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::with_bounds(path, Bounds::default())
    }

    /// Starts one with other bounds.
    pub fn with_bounds(path: &Path, bounds: Bounds) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { bounds, ..Self::over(file) })
    }

    /// Starts one in an empty file.
    pub(super) fn over(file: File) -> Self {
        Self {
            reader: SpoolReader { file: Arc::new(file), first_kept: Arc::default() },
            bytes: 0,
            acknowledged: 0,
            bounds: Bounds::default(),
            sha256: Sha256::new(),
            dropping: false,
            gap: 0,
            dropped_bytes: 0,
        }
    }

    /// Appends what there is room for and says how many bytes that was: fewer than given means full. The
    /// caller keeps the rest and reads no more until [`Spool::acknowledge`] has made room. After
    /// [`Spool::drop_from_now`] it always takes all.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.dropping {
            if self.gap > 0 {
                self.close_gap()?;
            }
            let fitting = usize::try_from(self.room()).unwrap_or(usize::MAX).min(bytes.len());
            self.write(&bytes[..fitting])?;
            return Ok(fitting);
        }
        // A disk that takes nothing is no reason to stop a tool that has to end: what it says is dropped too.
        let is_open = self.gap > 0
            && (self.room() < RESUME_BYTES.min(self.bounds.bytes_max / 2) || self.close_gap().is_err());
        let room = if is_open { 0 } else { usize::try_from(self.room()).unwrap_or(usize::MAX) };
        let fitting = room.min(bytes.len());
        let written = if self.write(&bytes[..fitting]).is_ok() { fitting } else { 0 };
        self.skip(bytes.len() - written);
        Ok(bytes.len())
    }

    /// Leaves out so many bytes, for which a line will stand.
    pub fn skip(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.gap += bytes;
        self.dropped_bytes += bytes;
    }

    /// A stop has begun: what finds no room is dropped from now on.
    pub fn drop_from_now(&mut self) {
        self.dropping = true;
    }

    /// Closes an open gap with its line. To be called when all was appended; the line is over the bound then,
    /// by its own length.
    pub fn close(&mut self) -> io::Result<()> {
        if self.gap > 0 { self.close_gap() } else { Ok(()) }
    }

    fn close_gap(&mut self) -> io::Result<()> {
        let mark = format!("\n[{} bytes of output were dropped here]\n", self.gap);
        self.write(mark.as_bytes())?;
        self.gap = 0;
        Ok(())
    }

    /// Scalr has the first `bytes` bytes. Less than before is taken back only as far as bytes are kept, which
    /// is what [`SpoolReader::read`] will say.
    pub fn acknowledge(&mut self, bytes: u64) {
        let from = self.first_kept();
        self.acknowledged = self.acknowledged.max(bytes.min(self.bytes));
        let to = self.first_kept();
        if to > from {
            self.reader.first_kept.store(to, Ordering::SeqCst);
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // A filesystem that can't do it keeps its bytes: more disk, nothing lost.
            if let Err(error) = rustix::fs::fallocate(&*self.reader.file, flags, from, to - from) {
                tracing::debug!(%error, "failed to give disk of the spool back");
            }
        }
    }

    /// Bytes appended so far, marks included: the length of the console.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that Scalr has.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The first byte that can still be read.
    pub fn first_kept(&self) -> u64 {
        let Bounds { kept_bytes, punch_bytes, .. } = self.bounds;
        self.acknowledged.saturating_sub(kept_bytes) / punch_bytes * punch_bytes
    }

    /// Bytes there is room for. A line that closed a gap may have gone over the bound.
    pub fn room(&self) -> u64 {
        self.bounds.bytes_max.saturating_sub(self.bytes - self.acknowledged)
    }

    /// Bytes dropped so far.
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    /// The digest of all bytes appended so far, in lower-case hex.
    pub fn sha256(&self) -> String {
        use std::fmt::Write;
        self.sha256.clone().finalize().iter().fold(String::new(), |mut hex, byte| {
            let _infallible = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// Reads up to `bytes_max` bytes from `from` on; fewer only at the end.
    pub fn read(&self, from: u64, bytes_max: usize) -> Result<Vec<u8>, ReadError> {
        if from < self.first_kept() {
            return Err(ReadError::Released { first_kept: self.first_kept() });
        }
        let left = usize::try_from(self.bytes.saturating_sub(from)).unwrap_or(usize::MAX);
        Ok(self.reader.read(from, left.min(bytes_max))?)
    }

    /// A reader for another task.
    pub fn reader(&self) -> SpoolReader {
        self.reader.clone()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // At our own offset: a failed write leaves a console that ends where it ended.
        self.reader.file.write_all_at(bytes, self.bytes)?;
        self.sha256.update(bytes);
        self.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

impl SpoolReader {
    /// Reads exactly `bytes` bytes from `from` on; an error where so many were not appended, or where some
    /// are no longer kept.
    pub fn read(&self, from: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut read = vec![0; bytes];
        self.file.read_exact_at(&mut read, from)?;
        // Looked at afterwards, since it may have been released meanwhile.
        let first_kept = self.first_kept.load(Ordering::SeqCst);
        if from < first_kept {
            return Err(io::Error::other(ReadError::Released { first_kept }));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
