//! The Unix socket by its path, however deep the folder lies.
//!
//! The address of a Unix socket holds 107 bytes of path. Longer ones are reached through a descriptor of the
//! folder, `/proc/self/fd/N/NAME`: the folder of the running process is never changed.

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, getppid};
use tokio::net::{UnixListener, UnixStream};

use super::descendants;

/// The longest path used as it is; some systems have eight bytes less than Linux.
const PATH_BYTES_MAX: usize = 100;
/// For owner and group: the worker may come as another user of the same group.
const SOCKET_MODE: u32 = 0o660;

/// A path that fits into an address, and what keeps it valid.
struct Address {
    path: PathBuf,
    _folder: Option<OwnedFd>,
}

fn address(path: &Path) -> io::Result<Address> {
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return Ok(Address { path: path.into(), _folder: None });
    }
    let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "a path without a file name");
    let (folder, name) = path.parent().zip(path.file_name()).ok_or_else(no_name)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, folder, flags, Mode::empty())?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok(Address { path: short, _folder: Some(folder) })
}

/// Listens, for owner and group. Whatever is there already is an error: each runner has a path of its own.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    let address = address(path)?;
    let listener = UnixListener::bind(&address.path)?;
    // Afterwards, since the umask belongs to the whole process. Until then a worker of another user is
    // refused, and tries again.
    std::fs::set_permissions(&address.path, Permissions::from_mode(SOCKET_MODE))?;
    Ok(listener)
}

/// Whether this may be our worker. With the local driver it is our parent's child as we are, or our parent;
/// user code of whatever run is below a runner. In a pod it has no number that we could see, and nobody else
/// can reach the socket.
pub(super) fn may_be_worker(stream: &UnixStream) -> bool {
    let Some(parent) = getppid().map(Pid::as_raw_pid) else { return true };
    match stream.peer_cred().map(|peer| peer.pid()) {
        Ok(Some(peer)) if peer > 0 => peer == parent || descendants::parent(peer) == Some(parent),
        Ok(_) | Err(_) => true,
    }
}

/// Connects to the one who listens there.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(&address(path)?.path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deep(folder: &Path) -> PathBuf {
        let deep = folder.join("a-folder-name-of-some-length/".repeat(8));
        std::fs::create_dir_all(&deep).expect("mkdir");
        deep.join("runner.sock")
    }

    #[tokio::test]
    async fn a_deep_path_is_reached_for_owner_and_group() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = deep(folder.path());
        assert!(path.as_os_str().len() > 200);
        let listener = listen(&path).expect("listen");
        let mode = std::fs::metadata(&path).expect("stat").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        connect(&path).await.expect("connect");
        listener.accept().await.expect("accept");
    }

    #[tokio::test]
    async fn a_file_in_its_place_is_left_alone() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("runner.sock");
        std::fs::write(&path, "mine").expect("write");
        assert_eq!(listen(&path).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read(&path).expect("read"), b"mine");
    }
}
