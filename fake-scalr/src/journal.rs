//! What survives a kill: an append-only file of what happened, after a snapshot of what was.
//!
//! One record a line: length and CRC-32 of its JSON, both as eight hexadecimal digits, then the JSON. A
//! record is written with one `write(2)` before its answer leaves, so a killed process loses nothing that it
//! acknowledged. (A machine that loses power may: nothing is synced but snapshots.)
//!
//! It must never guess: a last line that was torn is cut, since nobody was answered for it; a bad line
//! anywhere else stops the start with the place and the remedy. And it must never share its folder: a lock
//! file refuses a second server.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use flate2::Crc;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// A journal longer than this is replaced by a snapshot: about a second of replay.
pub const JOURNAL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Two numbers of eight digits and two blanks.
const PREFIX_BYTES: usize = 18;
const SNAPSHOT: &str = "snapshot.json";

/// Why a journal can't be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file can't be read or written.
    #[error("{what} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process has the folder.
    #[error("`{}` is in use by another fake-scalr{}; stop it or choose another --data-dir", path.display(), holder(*pid))]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The other process, if it said so.
        pid: Option<u32>,
    },
    /// A record that is not the last is unreadable.
    #[error(
        "`{}` is corrupt at line {line} (byte {offset}): {why}; bring it back from a copy, or drop that line and \
         all after it with `truncate -s {offset}`",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// Where the line begins.
        offset: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The snapshot is unreadable.
    #[error("`{}` is corrupt: {why}; bring it back from a copy", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { what, path, source }
}

/// What an earlier process left.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The state as it was when the journal began, if there was one.
    pub snapshot: Option<serde_json::Value>,
    /// What happened since, one JSON text each.
    pub records: Vec<String>,
    /// How many bytes of a torn last record were cut.
    pub torn_bytes: usize,
}

/// The open journal of one folder.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    file: File,
    generation: u64,
    bytes: u64,
    /// Held until the process ends, however it ends.
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct Snapshot<S> {
    generation: u64,
    state: S,
}

impl Journal {
    /// Opens the journal of a folder, which is made if it is missing, and reads what it holds.
    pub fn open(dir: &Path) -> Result<(Self, Recovered), JournalError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(io_error("make the folder", dir))?;
        let lock = lock(dir)?;
        let (generation, snapshot) = read_snapshot(&dir.join(SNAPSHOT))?;
        let path = journal_path(dir, generation);
        let mut file = private()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(io_error("open the journal", &path))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(io_error("read the journal", &path))?;
        let (records, good_bytes) = records(&path, &text)?;
        let torn_bytes = text.len() - good_bytes;
        if torn_bytes > 0 {
            file.set_len(good_bytes as u64).map_err(io_error("cut the journal", &path))?;
            tracing::warn!(path = %path.display(), torn_bytes, "the last record was torn by a crash and is cut");
        }
        remove_other_generations(dir, generation)?;
        let journal = Self { dir: dir.to_owned(), file, generation, bytes: good_bytes as u64, _lock: lock };
        Ok((journal, Recovered { snapshot, records, torn_bytes }))
    }

    /// A record as it will stand in the file.
    pub fn encode(&self, record: &impl Serialize) -> Result<Vec<u8>, JournalError> {
        let path = journal_path(&self.dir, self.generation);
        line(record).map_err(|e| io_error("encode a record of", &path)(e.into()))
    }

    /// Appends an encoded record. When this fails nothing more may be acknowledged: what is on disk no longer
    /// follows what is in memory.
    pub fn append(&mut self, line: &[u8]) -> Result<(), JournalError> {
        let path = journal_path(&self.dir, self.generation);
        self.file.write_all(line).map_err(io_error("write to the journal", &path))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Whether it is time for a snapshot.
    pub fn is_long(&self) -> bool {
        self.bytes > JOURNAL_BYTES_MAX
    }

    /// Replaces snapshot and journal by a new snapshot and an empty journal.
    pub fn replace(&mut self, state: &impl Serialize) -> Result<(), JournalError> {
        let generation = self.generation + 1;
        let path = journal_path(&self.dir, generation);
        // The new journal comes first: a snapshot whose journal is missing would lose its first records.
        let file =
            private().append(true).create(true).open(&path).map_err(io_error("open the journal", &path))?;
        file.set_len(0).map_err(io_error("cut the journal", &path))?;
        write_snapshot(&self.dir, &Snapshot { generation, state })?;
        (self.file, self.generation, self.bytes) = (file, generation, 0);
        remove_other_generations(&self.dir, generation)
    }
}

/// Files here hold tokens and sensitive values.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn journal_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("journal-{generation:08}.log"))
}

fn lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join("lock");
    let mut file = private()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io_error("open the lock", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Who holds it is a courtesy; that it is held is what matters.
            let pid = file.read_to_string(&mut pid).ok().and_then(|_| pid.trim().parse().ok());
            return Err(JournalError::InUse { path: dir.to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(io_error("lock", &path)(source)),
    }
    file.set_len(0).map_err(io_error("write the lock", &path))?;
    writeln!(file, "{}", std::process::id()).map_err(io_error("write the lock", &path))?;
    Ok(file)
}

fn read_snapshot(path: &Path) -> Result<(u64, Option<serde_json::Value>), JournalError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((0, None)),
        Err(e) => return Err(io_error("read the snapshot", path)(e)),
    };
    let snapshot: Snapshot<serde_json::Value> = serde_json::from_slice(&text)
        .map_err(|e| JournalError::Snapshot { path: path.to_owned(), why: e.to_string() })?;
    Ok((snapshot.generation, Some(snapshot.state)))
}

fn write_snapshot(dir: &Path, snapshot: &Snapshot<impl Serialize>) -> Result<(), JournalError> {
    let (path, temporary) = (dir.join(SNAPSHOT), dir.join("snapshot.json.tmp"));
    let write = || {
        let mut file = private().write(true).create(true).truncate(true).open(&temporary)?;
        let text = serde_json::to_vec(snapshot)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().map_err(io_error("write the snapshot", &path))
}

fn remove_other_generations(dir: &Path, generation: u64) -> Result<(), JournalError> {
    let keep = journal_path(dir, generation);
    for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
        let path = entry.map_err(io_error("list", dir))?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("journal-") && path.extension().is_some_and(|e| e == "log") && path != keep {
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
    }
    Ok(())
}

fn line(record: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = vec![b' '; PREFIX_BYTES];
    serde_json::to_writer(&mut line, record)?;
    let (bytes, crc) = (line.len() - PREFIX_BYTES, checksum(&line[PREFIX_BYTES..]));
    line[..PREFIX_BYTES].copy_from_slice(format!("{bytes:08x} {crc:08x} ").as_bytes());
    line.push(b'\n');
    Ok(line)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// All whole records, and how many bytes they take. A last line without its end was torn.
fn records(path: &Path, text: &[u8]) -> Result<(Vec<String>, usize), JournalError> {
    let mut records = Vec::new();
    let mut offset = 0;
    while let Some(length) = text[offset..].iter().position(|&byte| byte == b'\n') {
        let record = record(&text[offset..offset + length]).map_err(|why| JournalError::Corrupt {
            path: path.to_owned(),
            line: records.len() + 1,
            offset,
            why,
        })?;
        records.push(record);
        offset += length + 1;
    }
    Ok((records, offset))
}

fn record(line: &[u8]) -> Result<String, String> {
    let line = std::str::from_utf8(line).map_err(|e| format!("not UTF-8: {e}"))?;
    let (prefix, json) = line.split_at_checked(PREFIX_BYTES).ok_or("too short for a record")?;
    let number = |text: &str| u32::from_str_radix(text, 16).ok();
    let (bytes, crc) = prefix
        .trim_end()
        .split_once(' ')
        .and_then(|(bytes, crc)| Some((number(bytes)?, number(crc)?)))
        .ok_or("it does not begin with a length and a checksum")?;
    if bytes as usize != json.len() {
        return Err(format!("{} bytes where {bytes} were written", json.len()));
    }
    if crc != checksum(json.as_bytes()) {
        return Err("the checksum is not that of the record".to_owned());
    }
    Ok(json.to_owned())
}
