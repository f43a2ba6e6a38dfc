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
use error::shown;
pub use error::{ConfigurationError, Problem};

mod entry;
mod error;
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
    /// Files, folders and links; folders too that are only named as parts of a path.
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

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files, folders and links, and folders that are only named as parts of a path.
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
    io::copy(reader, &mut io::sink()).map_err(|cause| ConfigurationError::unreadable(&cause))?;
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
        self.count_entry()?;
        let path = &entry.path;
        if path.as_os_str().is_empty() {
            // `./`, the root itself: its mode is ours.
            return match entry.what {
                What::Folder => Ok(()),
                What::File { .. } | What::Link { .. } | What::HardLink { .. } => {
                    Err(ConfigurationError::entry(path, Problem::Nameless))
                }
            };
        }
        if let Some(link) = path.ancestors().skip(1).find(|above| self.links.contains_key(*above)) {
            return Err(ConfigurationError::entry(path, Problem::ThroughLink { link: shown(link) }));
        }
        match &entry.what {
            What::Folder => self.make_folder(path, entry.mode),
            What::File { bytes } => self.make_file(path, entry.mode, *bytes, content),
            What::Link { target } => self.plan_link(path, target),
            What::HardLink { target } => self.make_hard_link(path, target),
        }
    }

    /// One more entry, of the archive or only named by one.
    fn count_entry(&mut self) -> Result<(), ConfigurationError> {
        if self.done.entries == self.limits.entries_max {
            let max = self.limits.entries_max as u64;
            return Err(ConfigurationError::TooMuch { max, what: "entries" });
        }
        self.done.entries += 1;
        Ok(())
    }

    fn make_folder(&mut self, path: &Path, mode: u32) -> Result<(), ConfigurationError> {
        if self.links.contains_key(path) {
            return Err(ConfigurationError::entry(path, Problem::NameTaken));
        }
        self.make_folders(path, path.parent().unwrap_or(path))?;
        self.folder
            .create_folders(path, folder_mode(mode))
            .map_err(|cause| ConfigurationError::written(path, cause))
    }

    fn make_file(
        &mut self,
        path: &Path,
        mode: u32,
        bytes: u64,
        content: impl Read,
    ) -> Result<(), ConfigurationError> {
        if bytes > self.limits.file_bytes_max {
            return Err(ConfigurationError::entry(
                path,
                Problem::TooLarge { bytes, max: self.limits.file_bytes_max },
            ));
        }
        self.make_room(path)?;
        let mut file = self
            .folder
            .create(path, file_mode(mode))
            .map_err(|cause| ConfigurationError::written(path, cause))?;
        let copied = io::copy(&mut content.take(bytes), &mut file)
            .map_err(|cause| ConfigurationError::unreadable(&cause))?;
        if copied < bytes {
            let cause =
                io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ends within {}", shown(path)));
            return Err(ConfigurationError::unreadable(&cause));
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
        self.folder.remove_file(path).map_err(|cause| ConfigurationError::written(path, cause))?;
        self.links.insert(path.to_owned(), target.to_owned());
        Ok(())
    }

    fn make_hard_link(&mut self, path: &Path, target: &Path) -> Result<(), ConfigurationError> {
        let refused = || ConfigurationError::entry(path, Problem::HardLink { target: shown(target) });
        match self.folder.kind(target) {
            Ok(Some(Kind::File)) => {}
            Ok(Some(Kind::Folder | Kind::Link | Kind::Special) | None) | Err(_) => return Err(refused()),
        }
        self.make_room(path)?;
        self.folder.create_hard_link(path, target).map_err(|cause| ConfigurationError::written(path, cause))
    }

    /// Makes the folders above a path, and sees that no folder has its name. A later entry replaces an
    /// earlier file or link, as every tar does.
    fn make_room(&mut self, path: &Path) -> Result<(), ConfigurationError> {
        self.links.remove(path);
        if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
            match self.folder.kind(above) {
                Ok(Some(Kind::Folder)) => {}
                Ok(Some(Kind::File | Kind::Link | Kind::Special)) => {
                    return Err(ConfigurationError::entry(path, Problem::NameTaken));
                }
                Ok(None) => self.make_folders(path, above)?,
                Err(cause) => return Err(ConfigurationError::written(path, cause)),
            }
        }
        match self.folder.kind(path) {
            Ok(Some(Kind::Folder)) => Err(ConfigurationError::entry(path, Problem::NameTaken)),
            Ok(Some(Kind::File | Kind::Link | Kind::Special) | None) => Ok(()),
            Err(cause) => Err(ConfigurationError::written(path, cause)),
        }
    }

    /// Makes folders that the archive names only as parts of a path. They count too: a path may name dozens.
    fn make_folders(&mut self, path: &Path, above: &Path) -> Result<(), ConfigurationError> {
        let named = above.ancestors().take_while(|folder| !folder.as_os_str().is_empty());
        let missing = named.take_while(|folder| matches!(self.folder.kind(folder), Ok(None))).count();
        if missing == 0 {
            return Ok(());
        }
        (0..missing).try_for_each(|_| self.count_entry())?;
        self.folder
            .create_folders(above, folder_mode(0o755))
            .map_err(|cause| ConfigurationError::written(path, cause))
    }

    fn make_links(self) -> Result<Unpacked, ConfigurationError> {
        let mut steps = links::STEPS_MAX;
        for (path, target) in &self.links {
            links::check(path, target, &self.links, &mut steps)
                .map_err(|problem| ConfigurationError::entry(path, problem))?;
        }
        for (path, target) in &self.links {
            self.folder
                .create_link(path, target)
                .map_err(|cause| ConfigurationError::written(path, cause))?;
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
