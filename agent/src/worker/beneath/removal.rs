//! Emptying a folder, however deep, wide or locked what is in it may be.

use std::{
    ffi::{OsStr, OsString},
    os::fd::AsRawFd,
    path::Path,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

use super::{BeneathError, Folder, error::refused};

/// How many names of one folder are held in memory at a time while a tree is removed.
const ENTRIES_AT_ONCE: usize = 1024;

impl Folder {
    /// Removes everything in the folder, at most `entries_max` entries; the folder itself stays. However
    /// deep the tree is, two folders are open at a time: sub-folders are moved up, then emptied in turn. What
    /// somebody else removes at the same time is as good.
    pub fn remove_all(&self, entries_max: usize) -> Result<(), BeneathError> {
        let mut left = entries_max;
        let mut spent = |path: &OsStr| {
            left = left.checked_sub(1).ok_or(BeneathError::TooMany { path: path.into(), entries_max })?;
            Ok(())
        };
        let mut moved = 0_usize;
        loop {
            let top: Vec<OsString> = self
                .names()
                .and_then(|names| names.take(ENTRIES_AT_ONCE).collect())
                .map_err(|errno| refused(Path::new("."), errno))?;
            if top.is_empty() {
                return Ok(());
            }
            for name in top {
                spent(&name)?;
                match self.remove_one(&name, &mut moved, &mut spent) {
                    Ok(()) | Err(BeneathError::Missing { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    fn remove_one(
        &self,
        name: &OsStr,
        moved: &mut usize,
        spent: &mut impl FnMut(&OsStr) -> Result<(), BeneathError>,
    ) -> Result<(), BeneathError> {
        let at = |errno| refused(Path::new(name), errno);
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Linux says the first of a folder, POSIX the second.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(at(errno)),
        }
        self.make_writable(name)?;
        let folder = self.folder(Path::new(name))?;
        for entry in folder.names().map_err(at)? {
            let entry = entry.map_err(at)?;
            spent(&entry)?;
            match rustix::fs::unlinkat(&folder.fd, &entry, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => {
                    folder.make_writable(&entry)?;
                    folder.move_up(&entry, self, moved)?;
                }
                Err(errno) => return Err(at(errno)),
            }
        }
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            // Not empty: somebody is still writing there, or names were skipped while it changed. The next
            // round comes back to it, as long as the bound allows.
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => Ok(()),
            Err(errno) => Err(at(errno)),
        }
    }

    fn move_up(&self, name: &OsStr, top: &Self, moved: &mut usize) -> Result<(), BeneathError> {
        loop {
            *moved += 1;
            let new = format!(".removed-{moved}");
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(&self.fd, name, &top.fd, new, flags) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(refused(Path::new(name), errno)),
            }
        }
    }

    /// A folder whose owner took his own rights away can't be emptied; give them back.
    fn make_writable(&self, name: &OsStr) -> Result<(), BeneathError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let at = |errno| refused(Path::new(name), errno);
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(at)?;
        let mode = rustix::fs::fstat(&fd).map_err(at)?.st_mode;
        if Mode::from_raw_mode(mode).contains(Mode::RWXU) {
            return Ok(());
        }
        // The way to change the mode of exactly what was opened, without following anything.
        rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), Mode::RWXU).map_err(at)
    }
}
