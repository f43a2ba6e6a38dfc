//! Output that is for a program and not for the console: the plan as JSON, in a file of the worker's own.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use scalr_protocol::blob::BlobKind;

use crate::worker::uploads::bytes_max;

/// A file that takes a command's output, up to what may be uploaded of it.
pub(super) struct Capture {
    file: File,
    bytes_left: u64,
}

impl Capture {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(path)?, bytes_left: bytes_max(BlobKind::PlanJson) })
    }

    /// Takes what fits. After an error it takes nothing more, so that the file ends where it broke.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = bytes.len().min(usize::try_from(self.bytes_left).unwrap_or(usize::MAX));
        self.bytes_left -= taken as u64;
        let (now, _over) = bytes.split_at(taken);
        self.file.write_all(now).inspect_err(|_| self.bytes_left = 0)
    }
}
