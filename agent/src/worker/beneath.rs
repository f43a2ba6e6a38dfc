//! Files below a folder in which user code has run, and where nothing is as it seems.
//!
//! It never follows a link, never leaves the folder, never opens anything but a regular file, and never
//! reads more than it was told: a name there may be a link to the worker's token, a FIFO that blocks for
//! ever, or a sparse file of 100 GB. All calls block; none waits for another process.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

pub use error::BeneathError;
use error::{failed, refused};

mod error;
mod removal;
#[cfg(test)]
mod tests;

/// What stands behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A FIFO, a socket, a device.
    Special,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File => "a regular file",
            Self::Folder => "a folder",
            Self::Link => "a link",
            Self::Special => "a device, FIFO or socket",
        })
    }
}

impl From<FileType> for Kind {
    fn from(value: FileType) -> Self {
        match value {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Link,
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Self::Special,
        }
    }
}

/// An open folder. It stays the same folder whatever happens to its name.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
}

impl Folder {
    /// Opens a folder by a path that is trusted but for its last part, which must be no link.
    pub fn open(path: &Path) -> Result<Self, BeneathError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| refused(path, errno))?;
        Ok(Self { fd })
    }

    /// Opens a folder below.
    pub fn folder(&self, path: &Path) -> Result<Self, BeneathError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        Ok(Self { fd: self.open_as(path, flags, Mode::empty())? })
    }

    /// What stands behind a name; none where there is nothing.
    pub fn kind(&self, path: &Path) -> Result<Option<Kind>, BeneathError> {
        match self.open_as(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => {
                let stat = rustix::fs::fstat(&fd).map_err(|errno| refused(path, errno))?;
                Ok(Some(FileType::from_raw_mode(stat.st_mode).into()))
            }
            Err(BeneathError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a regular file of at most `bytes_max` bytes for reading, and says how long it is now. Read no
    /// more than that: its owner may be appending.
    pub fn open_file(&self, path: &Path, bytes_max: u64) -> Result<(File, u64), BeneathError> {
        // Looked at before it is opened: opening a device may already do something.
        self.expect(path, Kind::File)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self.open_as(path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| refused(path, errno))?;
        let found = FileType::from_raw_mode(stat.st_mode).into();
        if found != Kind::File {
            return Err(BeneathError::Kind { path: path.to_owned(), found, expected: Kind::File });
        }
        let bytes = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if bytes > bytes_max {
            return Err(BeneathError::TooLarge { path: path.to_owned(), bytes, bytes_max });
        }
        Ok((File::from(fd), bytes))
    }

    /// The whole of a regular file of at most `bytes_max` bytes.
    pub fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, BeneathError> {
        let (file, bytes) = self.open_file(path, bytes_max)?;
        let mut content = Vec::new();
        file.take(bytes).read_to_end(&mut content).map_err(|cause| failed(path, cause))?;
        Ok(content)
    }

    /// The names in a folder and what they are, sorted. At most `entries_max`.
    pub fn entries(&self, path: &Path, entries_max: usize) -> Result<Vec<(OsString, Kind)>, BeneathError> {
        let folder = self.folder(path)?;
        let mut entries = Vec::new();
        for entry in folder.names().map_err(|errno| refused(path, errno))? {
            let name = entry.map_err(|errno| refused(path, errno))?;
            if entries.len() == entries_max {
                return Err(BeneathError::TooMany { path: path.to_owned(), entries_max });
            }
            // One that has gone since is no entry.
            if let Some(kind) = folder.kind(Path::new(&name))? {
                entries.push((name, kind));
            }
        }
        entries.sort();
        Ok(entries)
    }

    /// Makes an empty file with exactly this mode, and opens it for writing. What stood there is removed
    /// first, a link instead of what it points at; a folder is an error.
    pub fn create(&self, path: &Path, mode: u32) -> Result<File, BeneathError> {
        let (parent, name) = self.parent(path)?;
        match rustix::fs::unlinkat(&parent.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(refused(path, errno)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&parent.fd, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| refused(path, errno))?;
        // Set on the open file, so that no umask takes from it.
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)).map_err(|errno| refused(path, errno))?;
        Ok(File::from(fd))
    }

    /// Replaces or makes a file with this content and mode.
    pub fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), BeneathError> {
        self.create(path, mode)?.write_all(content).map_err(|cause| failed(path, cause))
    }

    /// Makes a folder and those above it, where they are missing. The last one, and all that are new, get
    /// this mode.
    pub fn create_folders(&self, path: &Path, mode: u32) -> Result<(), BeneathError> {
        let mut reached = PathBuf::new();
        for name in names(path)? {
            let parent = self.folder(&reached)?;
            match rustix::fs::mkdirat(&parent.fd, name, Mode::RWXU) {
                Ok(()) => {
                    let new = parent.folder(Path::new(name))?;
                    new.set_mode(path, mode)?;
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(refused(path, errno)),
            }
            reached.push(name);
        }
        self.folder(&reached)?.set_mode(path, mode)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<(), BeneathError> {
        rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode)).map_err(|errno| refused(path, errno))
    }

    /// Makes a symbolic link. Where it points is the caller's to judge.
    pub fn create_link(&self, path: &Path, target: &Path) -> Result<(), BeneathError> {
        let (parent, name) = self.parent(path)?;
        rustix::fs::symlinkat(target, &parent.fd, name).map_err(|errno| refused(path, errno))
    }

    /// Gives a regular file a second name. What stood there is replaced.
    pub fn create_hard_link(&self, path: &Path, existing: &Path) -> Result<(), BeneathError> {
        self.expect(existing, Kind::File)?;
        let (from, from_name) = self.parent(existing)?;
        let (to, to_name) = self.parent(path)?;
        if names(existing)? == names(path)? {
            return Ok(());
        }
        self.remove_file(path)?;
        rustix::fs::linkat(&from.fd, from_name, &to.fd, to_name, AtFlags::empty())
            .map_err(|errno| refused(path, errno))
    }

    /// Removes a file or a link, and says whether there was one. A folder is an error.
    pub fn remove_file(&self, path: &Path) -> Result<bool, BeneathError> {
        let (parent, name) = match self.parent(path) {
            Ok(found) => found,
            Err(BeneathError::Missing { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        match rustix::fs::unlinkat(&parent.fd, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(refused(path, errno)),
        }
    }

    fn expect(&self, path: &Path, expected: Kind) -> Result<(), BeneathError> {
        match self.kind(path)? {
            Some(found) if found == expected => Ok(()),
            Some(found) => Err(BeneathError::Kind { path: path.to_owned(), found, expected }),
            None => Err(BeneathError::Missing { path: path.to_owned() }),
        }
    }

    fn parent<'a>(&self, path: &'a Path) -> Result<(Self, &'a OsStr), BeneathError> {
        let mut names = names(path)?;
        let name = names.pop().ok_or_else(|| BeneathError::Outside { path: path.to_owned() })?;
        Ok((self.folder(&names.iter().collect::<PathBuf>())?, name))
    }

    fn names(&self) -> Result<impl Iterator<Item = Result<OsString, Errno>> + use<>, Errno> {
        // A fresh description, so that its position is its own.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, ".", flags, Mode::empty())?;
        Ok(Dir::new(fd)?.filter_map(|entry| match entry {
            Ok(entry) => {
                let name = entry.file_name().to_bytes();
                (name != b"." && name != b"..").then(|| Ok(OsStr::from_bytes(name).to_owned()))
            }
            Err(errno) => Some(Err(errno)),
        }))
    }

    fn open_as(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, BeneathError> {
        let names = names(path)?;
        let plain: PathBuf = if names.is_empty() { ".".into() } else { names.iter().collect() };
        let flags = flags | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = match rustix::fs::openat2(&self.fd, &plain, flags, mode, resolve) {
            // Sandboxed kernels and old seccomp profiles do not know the call.
            Err(Errno::NOSYS | Errno::PERM) => self.walk(&names, flags, mode),
            answer => answer,
        };
        opened.map_err(|errno| refused(path, errno))
    }

    /// What `openat2` does, one name at a time: no name is `..`, and none is followed if it is a link.
    fn walk(&self, names: &[&OsStr], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let Some((last, above)) = names.split_last() else {
            return rustix::fs::openat(&self.fd, ".", flags, mode);
        };
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut reached: Option<OwnedFd> = None;
        for name in above {
            let from = reached.as_ref().unwrap_or(&self.fd);
            reached = Some(rustix::fs::openat(from.as_fd(), *name, step, Mode::empty())?);
        }
        let from = reached.as_ref().unwrap_or(&self.fd);
        rustix::fs::openat(from.as_fd(), *last, flags | OFlags::NOFOLLOW, mode)
    }
}

/// The names of which a relative path consists. `..` and a leading `/` are refused, `.` is nothing.
pub fn names(path: &Path) -> Result<Vec<&OsStr>, BeneathError> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(Ok(name)),
            Component::CurDir => None,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                Some(Err(BeneathError::Outside { path: path.to_owned() }))
            }
        })
        .collect()
}
