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
    /// How often on end the disk would not take them.
    n_failed: u32,
}

/// How often a write that failed is repeated before its bytes are left out, once a [`RETRY_MS`] each: a disk
/// that somebody is making room on gets half a minute, and no tool is held up for longer.
const RETRIES_MAX: u32 = 30;
/// How long to wait before a console that [`is_full`](Console::is_full) is tried again.
pub const RETRY_MS: u64 = 1_000;

impl Console {
    /// Starts an empty console whose spool is at `path`.
    pub fn create(path: &Path, masker: Masker) -> io::Result<Self> {
        Ok(Self { masker, spool: Spool::create(path)?, waiting: Vec::new(), n_failed: 0 })
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

    /// A command has ended: what was held back in case it became a secret can't become one any more. The line
    /// ends there, so that what comes next does not complete it.
    pub fn end_of_output(&mut self) -> io::Result<()> {
        if self.masker.holds_back() {
            self.masker.flush(&mut self.waiting);
            self.waiting.push(b'\n');
        }
        self.settle()?;
        // What comes next is not part of what was dropped.
        if self.is_full() { Ok(()) } else { self.spool.close() }
    }

    /// Tries again what found no room.
    pub fn retry(&mut self) -> io::Result<()> {
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
        if self.waiting.is_empty() {
            return Ok(());
        }
        match self.spool.append(&self.waiting) {
            Ok(taken) => {
                self.n_failed = 0;
                self.waiting.drain(..taken);
                Ok(())
            }
            Err(error) => {
                self.n_failed += 1;
                if self.n_failed > RETRIES_MAX {
                    self.spool.skip(self.waiting.len());
                    self.waiting.clear();
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(path: &Path) -> Console {
        let nothing: [&str; 0] = [];
        Console::create(path, Masker::new(nothing).unwrap()).unwrap()
    }

    #[test]
    fn a_disk_that_takes_nothing_holds_a_tool_up_only_for_so_long() {
        // Linux's own disk that is always full.
        let mut console = console_on_full_disk();
        assert!(console.write(b"lost").is_err());
        assert!(console.is_full());
        for _ in 0..RETRIES_MAX {
            assert!(console.retry().is_err());
        }
        assert!(!console.is_full(), "the bytes are given up");
        assert_eq!(console.bytes(), 0);
    }

    #[test]
    fn once_a_stop_has_begun_a_full_disk_holds_nobody_up() {
        let mut console = console_on_full_disk();
        assert!(console.write(b"lost").is_err());
        console.drop_from_now().unwrap();
        assert!(!console.is_full());
        console.write(b"and this").unwrap();
        assert!(!console.is_full());
    }

    fn console_on_full_disk() -> Console {
        let nothing: [&str; 0] = [];
        let file = std::fs::File::options().read(true).write(true).open("/dev/full").unwrap();
        let masker = Masker::new(nothing).unwrap();
        Console { masker, spool: Spool::over(file), waiting: Vec::new(), n_failed: 0 }
    }

    #[test]
    fn no_secret_is_completed_by_the_next_command() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console");
        let mut console = Console::create(&path, Masker::new(["open sesame"]).unwrap()).unwrap();
        console.write(b"it is open se").unwrap();
        console.end_of_output().unwrap();
        console.write(b"same\nand whole: open sesame\n").unwrap();
        console.print("done").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "it is open se\nsame\nand whole: ***************\ndone\n");
    }

    #[test]
    fn what_was_dropped_has_a_line_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console");
        let mut console = console(&path);
        console.write(b"before\n").unwrap();
        console.spool.skip(5);
        console.print("after").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "before\n\n[5 bytes of output were dropped here]\nafter\n");
    }
}
