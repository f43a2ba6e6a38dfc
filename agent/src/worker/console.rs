//! The console of one task on its way out: masked, then spooled.
//!
//! No byte reaches the spool unmasked. Before the secrets are known nothing of the user's can have been
//! written, since nothing of the user's has run.

use std::{io, path::Path};

use scalr_protocol::blob::Digest;

use super::{
    masking::Masker,
    spool::{Spool, SpoolReader},
};

/// A console that is being written.
#[derive(Debug)]
pub struct Console {
    masker: Masker,
    spool: Spool,
    /// Masked bytes that found no room yet: at most one frame's.
    waiting: Vec<u8>,
}

impl Console {
    /// Starts an empty console whose spool is at `path`.
    pub fn create(path: &Path, masker: Masker) -> io::Result<Self> {
        Ok(Self { masker, spool: Spool::create(path)?, waiting: Vec::new() })
    }

    /// Masks other secrets from here on.
    pub fn mask(&mut self, masker: Masker) -> io::Result<()> {
        self.masker.flush(&mut self.waiting);
        self.masker = masker;
        self.settle()
    }

    /// Writes output of a command. While [`is_full`](Self::is_full) says so, no more should come.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.masker.push(bytes, &mut self.waiting);
        self.settle()
    }

    /// Writes a line of the agent's own, on a line of its own.
    pub fn print(&mut self, line: &str) -> io::Result<()> {
        self.end_of_output()?;
        self.write(format!("{line}\n").as_bytes())?;
        self.end_of_output()
    }

    /// A command has ended: what was held back in case it became a secret can't become one any more.
    pub fn end_of_output(&mut self) -> io::Result<()> {
        self.masker.flush(&mut self.waiting);
        self.settle()
    }

    /// The server has this much.
    pub fn acknowledge(&mut self, bytes: u64) -> io::Result<()> {
        self.spool.acknowledge(bytes);
        self.settle()
    }

    /// A stop has begun: nothing may slow the tool any more, what finds no room is dropped.
    pub fn drop_from_now(&mut self) -> io::Result<()> {
        self.spool.drop_from_now();
        self.settle()
    }

    /// Whether bytes wait for room.
    pub fn is_full(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Marks what was dropped, if anything was.
    pub fn close_gap(&mut self) -> io::Result<()> {
        self.spool.close()
    }

    /// Its length, as spooled.
    pub fn bytes(&self) -> u64 {
        self.spool.bytes()
    }

    /// The digest of what is spooled.
    pub fn sha256(&self) -> Digest {
        match self.spool.sha256().parse() {
            Ok(digest) => digest,
            Err(_) => unreachable!("a spool's digest is 64 hexadecimal digits"),
        }
    }

    /// A reader of the spool.
    pub fn reader(&self) -> SpoolReader {
        self.spool.reader()
    }

    fn settle(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            let taken = self.spool.append(&self.waiting)?;
            self.waiting.drain(..taken);
        }
        Ok(())
    }
}
