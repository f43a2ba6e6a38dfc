//! Who a controller is, for the server: one that was killed and comes back in the same folder is the same,
//! and takes over at once; a second one beside it is somebody else.
//!
//! Keeps an id and nothing else, and lets nobody have the id of one that lives.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Write},
    path::Path,
    time::Duration,
};

use anyhow::Context;
use scalr_protocol::id::InstanceId;
use tokio::time::sleep;

use crate::process;

/// How long the folder is waited for: the kernel closes the files of a process that was killed a little
/// later, on a busy machine some hundred milliseconds.
const LET_GO_MS_MAX: u64 = 2_000;
/// How often it is looked at meanwhile.
const LOOK_MS: u64 = 50;

/// The id that is kept in the folder, made if it is missing, and the lock that holds it as long as this
/// process lives; where another process lives there, an id of its own and no lock.
pub(crate) async fn take(data: &Path) -> anyhow::Result<(InstanceId, Option<File>)> {
    let no_folder = || format!("`{}` can't be used (SCALR_AGENT_DATA_DIR)", data.display());
    let mut file = open(data).with_context(no_folder)?;
    if !lock(&file).await {
        return Ok((InstanceId::new(&process::random_id())?, None));
    }
    let mut kept = String::new();
    file.read_to_string(&mut kept).context("the instance id can't be read")?;
    if let Ok(id) = InstanceId::new(kept.trim()) {
        return Ok((id, Some(file)));
    }
    let id = InstanceId::new(&process::random_id())?;
    file.set_len(0)
        .and_then(|()| file.write_all(id.as_str().as_bytes()))
        .context("the instance id can't be kept")?;
    Ok((id, Some(file)))
}

fn open(data: &Path) -> io::Result<File> {
    fs::create_dir_all(data)?;
    File::options().read(true).write(true).create(true).truncate(false).open(data.join("instance"))
}

/// Whether nobody else holds it, after a while.
async fn lock(file: &File) -> bool {
    for _ in 0..LET_GO_MS_MAX / LOOK_MS {
        match file.try_lock() {
            Ok(()) => return true,
            Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(LOOK_MS)).await,
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, "the data folder knows no locks: a restarted controller is a new one");
                return false;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_back_is_the_same_and_who_comes_beside_is_somebody_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, held) = take(folder.path()).await.expect("an id");
        let (beside, lock) = take(folder.path()).await.expect("an id");
        assert!(lock.is_none());
        assert_ne!(beside, first);
        drop(held);
        assert_eq!(take(folder.path()).await.expect("an id").0, first);
    }

    /// The kernel lets go of a killed process's files a little after its end.
    #[tokio::test]
    async fn who_comes_back_before_the_kernel_has_let_go_waits_for_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, held) = take(folder.path()).await.expect("an id");
        let (back, ()) = tokio::join!(take(folder.path()), async {
            tokio::task::yield_now().await;
            drop(held);
        });
        let (id, lock) = back.expect("an id");
        assert_eq!(id, first);
        assert!(lock.is_some());
    }
}
