//! Unpacks a configuration version, a tar.gz that somebody else made, into the empty config folder.
//!
//! It never writes outside that folder, never through a link, never a device, and never more than its
//! limits. Symbolic links are made last, when it is known where each of them leads; so nothing in the
//! archive can be written through one.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;

use super::beneath::{BeneathError, Folder, Kind};
use entry::{Entries, Entry, What};

mod entry;
mod links;
#[cfg(test)]
mod tests;

/// What an archive may hold. Each limit is there against one kind of bomb, far above what people commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All bytes after decompression, headers and padding included.
    pub total_bytes_max: u64,
    /// One file.
    pub file_bytes_max: u64,
    /// Files, folders and links.
    pub entries_max: usize,
    /// Links: they are held in memory until the end.
    pub links_max: usize,
    /// A path, and the target of a link. Linux takes 4096 with the folder before it.
    pub path_bytes_max: usize,
    /// Folders in folders.
    pub depth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            total_bytes_max: 1024 * MIB,
            file_bytes_max: 512 * MIB,
            entries_max: 100_000,
            links_max: 10_000,
            path_bytes_max: 1024,
            depth_max: 64,
        }
    }
}

/// Why a configuration can't be unpacked; one line each, with the entry, what is wrong, and the limit.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// It is no tar.gz, or it ends in the middle.
    #[error("the configuration is no readable tar.gz: {cause}")]
    Unreadable {
        /// What the reader said.
        cause: io::Error,
    },
    /// An entry is not allowed.
    #[error("entry {entry:?} of the configuration {problem}")]
    Entry {
        /// Its path, cut to 256 characters.
        entry: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// All entries together are too much.
    #[error("the configuration has more than {max} {what}")]
    TooMuch {
        /// The limit.
        max: u64,
        /// Of what.
        what: &'static str,
    },
    /// The folder is not empty, or can't be written.
    #[error("failed to write the configuration: {cause}")]
    Write {
        /// What the system said.
        cause: BeneathError,
    },
}

/// What is wrong with one entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// `..` or an absolute path.
    #[error("leads out of the folder")]
    PathOutside,
    /// No name at all, or one with a NUL.
    #[error("has no usable name")]
    Nameless,
    /// Too long a path or link target.
    #[error("has a path of {bytes} bytes, the limit is {max}")]
    PathTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Too deep.
    #[error("is {depth} folders deep, the limit is {max}")]
    TooDeep {
        /// Its depth.
        depth: usize,
        /// The limit.
        max: usize,
    },
    /// Too large a file.
    #[error("has {bytes} bytes, the limit is {max}")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A device, a FIFO, a sparse file.
    #[error("is {what}; only files, folders and links are allowed")]
    Forbidden {
        /// What it is.
        what: &'static str,
    },
    /// It would be written through a link of the archive.
    #[error("goes through the link {link:?}")]
    ThroughLink {
        /// The link's path.
        link: String,
    },
    /// A file where a folder is, or the other way round.
    #[error("has the name of another entry of another kind")]
    NameTaken,
    /// A symbolic link that leads out.
    #[error("is a link to {target:?}, which leads out of the folder")]
    LinkOutside {
        /// Where it points.
        target: String,
    },
    /// Links that lead to each other.
    #[error("is a link to {target:?}, which leads through more than {max} links")]
    LinkLoop {
        /// Where it points.
        target: String,
        /// The limit.
        max: usize,
    },
    /// A hard link to what is no earlier file.
    #[error("is a hard link to {target:?}, which is no earlier file of the archive")]
    HardLink {
        /// Where it points.
        target: String,
    },
    /// A header that says two things, or nothing that can be understood.
    #[error("has an unusable header: {what}")]
    Header {
        /// What is wrong.
        what: &'static str,
    },
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files, folders and links.
    pub entries: usize,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Unpacks the tar.gz into the folder, which must be empty. Blocks; the digest of the archive is the
/// caller's to check, before. After an error the folder holds a part of it: remove it.
pub fn unpack(
    archive: impl io::BufRead,
    folder: &Folder,
    limits: &Limits,
) -> Result<Unpacked, ConfigurationError> {
    if !folder.entries(Path::new("."), 1).is_ok_and(|entries| entries.is_empty()) {
        let cause = io::Error::new(io::ErrorKind::DirectoryNotEmpty, "the folder is not empty");
        return Err(ConfigurationError::Write { cause: BeneathError::Io { path: ".".into(), cause } });
    }
    let mut bounded =
        Bounded { inner: MultiGzDecoder::new(archive), left: limits.total_bytes_max, over: false };
    let result = unpack_tar(&mut bounded, folder, limits);
    match result {
        // Whatever the tar reader made of it, this is what happened.
        Err(_) if bounded.over => {
            Err(ConfigurationError::TooMuch { max: limits.total_bytes_max, what: "bytes when unpacked" })
        }
        result => result,
    }
}

fn unpack_tar(
    reader: &mut impl Read,
    folder: &Folder,
    limits: &Limits,
) -> Result<Unpacked, ConfigurationError> {
    let mut unpacking = Unpacking { folder, limits, links: BTreeMap::new(), done: Unpacked::default() };
    {
        let mut archive = tar::Archive::new(&mut *reader);
        let mut entries = Entries::new(&mut archive, limits)?;
        while let Some((entry, content)) = entries.next()? {
            unpacking.take(&entry, content)?;
        }
    }
    // To the end of the stream, so that its checksum is checked.
    io::copy(reader, &mut io::sink()).map_err(|cause| ConfigurationError::Unreadable { cause })?;
    unpacking.make_links()
}

struct Unpacking<'a> {
    folder: &'a Folder,
    limits: &'a Limits,
    /// Path → target, made at the end.
    links: BTreeMap<PathBuf, PathBuf>,
    done: Unpacked,
}

impl Unpacking<'_> {
    fn take(&mut self, entry: &Entry, content: impl Read) -> Result<(), ConfigurationError> {
        if self.done.entries == self.limits.entries_max {
            let max = self.limits.entries_max as u64;
            return Err(ConfigurationError::TooMuch { max, what: "entries" });
        }
        self.done.entries += 1;
        let path = &entry.path;
        if path.as_os_str().is_empty() {
            // `./`, the root itself: its mode is ours.
            return match entry.what {
                What::Folder => Ok(()),
                What::File { .. } | What::Link { .. } | What::HardLink { .. } => {
                    Err(refuse(path, Problem::Nameless))
                }
            };
        }
        if let Some(link) = path.ancestors().skip(1).find(|above| self.links.contains_key(*above)) {
            return Err(refuse(path, Problem::ThroughLink { link: shown(link) }));
        }
        match &entry.what {
            What::Folder => self.make_folder(path, entry.mode),
            What::File { bytes } => self.make_file(path, entry.mode, *bytes, content),
            What::Link { target } => self.plan_link(path, target),
            What::HardLink { target } => self.make_hard_link(path, target),
        }
    }

    fn make_folder(&mut self, path: &Path, mode: u32) -> Result<(), ConfigurationError> {
        if self.links.contains_key(path) {
            return Err(refuse(path, Problem::NameTaken));
        }
        self.folder.create_folders(path, folder_mode(mode)).map_err(|cause| written(path, cause))
    }

    fn make_file(
        &mut self,
        path: &Path,
        mode: u32,
        bytes: u64,
        content: impl Read,
    ) -> Result<(), ConfigurationError> {
        if bytes > self.limits.file_bytes_max {
            return Err(refuse(path, Problem::TooLarge { bytes, max: self.limits.file_bytes_max }));
        }
        self.make_room(path)?;
        let mut file = self.folder.create(path, file_mode(mode)).map_err(|cause| written(path, cause))?;
        let copied = io::copy(&mut content.take(bytes), &mut file)
            .map_err(|cause| ConfigurationError::Unreadable { cause })?;
        if copied < bytes {
            let cause =
                io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ends within {}", shown(path)));
            return Err(ConfigurationError::Unreadable { cause });
        }
        self.done.bytes += bytes;
        Ok(())
    }

    fn plan_link(&mut self, path: &Path, target: &Path) -> Result<(), ConfigurationError> {
        if self.links.len() == self.limits.links_max {
            let max = self.limits.links_max as u64;
            return Err(ConfigurationError::TooMuch { max, what: "links" });
        }
        self.make_room(path)?;
        self.folder.remove_file(path).map_err(|cause| written(path, cause))?;
        self.links.insert(path.to_owned(), target.to_owned());
        Ok(())
    }

    fn make_hard_link(&mut self, path: &Path, target: &Path) -> Result<(), ConfigurationError> {
        let refused = || refuse(path, Problem::HardLink { target: shown(target) });
        match self.folder.kind(target) {
            Ok(Some(Kind::File)) => {}
            Ok(Some(Kind::Folder | Kind::Link | Kind::Special) | None) | Err(_) => return Err(refused()),
        }
        self.make_room(path)?;
        self.folder.create_hard_link(path, target).map_err(|cause| written(path, cause))
    }

    /// Makes the folders above a path, and sees that no folder has its name. A later entry replaces an
    /// earlier file or link, as every tar does.
    fn make_room(&mut self, path: &Path) -> Result<(), ConfigurationError> {
        self.links.remove(path);
        if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
            match self.folder.kind(above) {
                Ok(Some(Kind::Folder)) => {}
                Ok(Some(Kind::File | Kind::Link | Kind::Special)) => {
                    return Err(refuse(path, Problem::NameTaken));
                }
                Ok(None) => self
                    .folder
                    .create_folders(above, folder_mode(0o755))
                    .map_err(|cause| written(path, cause))?,
                Err(cause) => return Err(written(path, cause)),
            }
        }
        match self.folder.kind(path) {
            Ok(Some(Kind::Folder)) => Err(refuse(path, Problem::NameTaken)),
            Ok(Some(Kind::File | Kind::Link | Kind::Special) | None) => Ok(()),
            Err(cause) => Err(written(path, cause)),
        }
    }

    fn make_links(self) -> Result<Unpacked, ConfigurationError> {
        for (path, target) in &self.links {
            links::check(path, target, &self.links).map_err(|problem| refuse(path, problem))?;
        }
        for (path, target) in &self.links {
            self.folder.create_link(path, target).map_err(|cause| written(path, cause))?;
        }
        Ok(self.done)
    }
}

/// The owner may always write, nobody else ever; setuid and the like are dropped.
fn folder_mode(mode: u32) -> u32 {
    (mode & 0o755) | 0o700
}

fn file_mode(mode: u32) -> u32 {
    (mode & 0o755) | 0o600
}

fn refuse(path: &Path, problem: Problem) -> ConfigurationError {
    ConfigurationError::Entry { entry: shown(path), problem }
}

/// An error of the folder that an archive can provoke is a matter of the entry, the rest is the disk's.
fn written(path: &Path, cause: BeneathError) -> ConfigurationError {
    match cause {
        BeneathError::Link { .. } | BeneathError::Kind { .. } => refuse(path, Problem::NameTaken),
        BeneathError::Outside { .. } => refuse(path, Problem::PathOutside),
        BeneathError::Missing { .. }
        | BeneathError::TooLarge { .. }
        | BeneathError::TooMany { .. }
        | BeneathError::Io { .. } => ConfigurationError::Write { cause },
    }
}

/// A path for people: cut, so that a message stays one line.
fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().take(256).collect()
}

/// Ends with an error, not with an end of file, when the bound is passed.
struct Bounded<R> {
    inner: R,
    left: u64,
    over: bool,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let Some(left) = self.left.checked_sub(read as u64) else {
            self.over = true;
            return Err(io::Error::other("over the limit"));
        };
        self.left = left;
        Ok(read)
    }
}
