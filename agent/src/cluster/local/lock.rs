//! Locks on files (`flock`), which the kernel lets go of when the last process that holds them is gone,
//! however it ended: on one machine a free lock is proof of death.
//!
//! Those who only ask take a shared lock for a moment, so they never get in each other's way.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// Makes the file if need be and takes its lock, without waiting; `WouldBlock` when another has it. The lock
/// lasts until the file, and what was inherited of it, is closed everywhere.
pub(super) fn hold(path: &Path) -> io::Result<File> {
    // Open for writing: closing it is then seen by inotify, and with it the death of its holder.
    let file =
        OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
    hold_open(&file)?;
    Ok(file)
}

/// Takes the lock of an open file, without waiting. Success when this very open file has it already.
pub(super) fn hold_open(file: impl AsFd) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

/// Whether somebody holds the lock; none when there is no such file, so that nobody ever held it.
pub(super) fn is_held(path: &Path) -> io::Result<Option<bool>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Some(false)),
        Err(Errno::WOULDBLOCK) => Ok(Some(true)),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_until_its_file_is_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        assert_eq!(is_held(&path).expect("asked"), None);
        let held = hold(&path).expect("taken");
        assert_eq!(is_held(&path).expect("asked"), Some(true));
        assert_eq!(hold(&path).expect_err("taken").kind(), io::ErrorKind::WouldBlock);
        hold_open(&held).expect("the holder may take it again");
        drop(held);
        assert_eq!(is_held(&path).expect("asked"), Some(false));
    }
}
