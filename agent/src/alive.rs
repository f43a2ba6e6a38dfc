//! Whether a process in a pod is alive: it writes the moment into a file again and again, and a probe reads
//! it. The clock is the machine's since its boot, which all containers of a pod share.
//!
//! It says that the process can do work, and nothing of how the work goes: a tool that is quiet for an hour
//! is nobody's reason to kill its pod.

use std::{io, path::Path, path::PathBuf};

use scalr_core::clock::{Clock as _, Millis};

use crate::clock::BootClock;

/// How often a process shows that it is alive: several times within the shortest period of a probe, 1 s,
/// would cost more than it tells.
const BEAT_MS: u64 = 1_000;

/// Begins to write the file, for as long as the process lives. Wants a tokio runtime.
pub fn begin(path: PathBuf) {
    tokio::spawn(async move {
        let mut is_told = false;
        loop {
            let now = BootClock.now();
            let written = {
                let path = path.clone();
                tokio::task::spawn_blocking(move || write(&path, now)).await
            };
            if let Ok(Err(error)) = written
                && !is_told
            {
                tracing::warn!(%error, path = %path.display(), "the probe's file can't be written (SCALR_AGENT_ALIVE_FILE)");
                is_told = true;
            }
            BootClock.wake_at(now + BEAT_MS).await;
        }
    });
}

/// Whole or not at all: a probe may look at any moment.
fn write(path: &Path, now: Millis) -> io::Result<()> {
    let coming = path.with_extension("new");
    std::fs::write(&coming, now.0.to_string())?;
    std::fs::rename(coming, path)
}

/// Whether the process that writes the file was alive within so long. Otherwise why it is not.
pub fn look(path: &Path, now: Millis, within_ms: u64) -> Result<(), String> {
    let place = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("`{place}` can't be read: {error}"))?;
    let Ok(at) = text.trim().parse().map(Millis) else { return Err(format!("`{place}` holds no moment")) };
    let ago_ms = now.since(at);
    if ago_ms > within_ms {
        Err(format!("nothing was heard for {ago_ms} ms, not within {within_ms}"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_written_for_long_is_not_alive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runner.alive");
        assert!(look(&path, Millis(1_000), 10_000).unwrap_err().contains("can't be read"));
        write(&path, Millis(5_000)).unwrap();
        assert_eq!(look(&path, Millis(5_000), 10_000), Ok(()));
        assert_eq!(look(&path, Millis(15_000), 10_000), Ok(()));
        assert_eq!(
            look(&path, Millis(15_001), 10_000),
            Err("nothing was heard for 10001 ms, not within 10000".to_owned())
        );
        // Another machine's clock, or nonsense.
        std::fs::write(&path, "soon").unwrap();
        assert!(look(&path, Millis(0), 10_000).unwrap_err().contains("holds no moment"));
    }
}
