//! Where a secret must not be: anything that the server or the agent has written.

use std::{
    fs::{self, File},
    io::{BufReader, Read as _},
    path::Path,
};

use super::Rig;

/// How much of a file is looked at at once.
const PIECE_BYTES: usize = 1 << 20;
/// What the story itself has written, what the rig was told, and what user code has in its own folder.
const OWN: [&str; 4] = ["marks", "configurations", "credentials", "runs"];

impl Rig {
    /// The token of the agent pool.
    pub(crate) fn pool_token(&self) -> String {
        self.web.borrow().as_ref().expect("a server").agent_token.clone()
    }

    /// The files, below the rig's folder, in which this text stands: all that server, controllers and Jobs
    /// have written, but what a person or the story has.
    pub(crate) fn found_in(&self, text: &str) -> Vec<String> {
        assert!(!text.is_empty());
        let mut found = Vec::new();
        search(self.path(), text.as_bytes(), &mut found);
        found
    }
}

fn search(path: &Path, text: &[u8], found: &mut Vec<String>) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    if metadata.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            if !OWN.iter().any(|own| entry.file_name() == *own) {
                search(&entry.path(), text, found);
            }
        }
    } else if metadata.is_file() && has(path, text) {
        found.push(path.display().to_string());
    }
}

fn has(path: &Path, text: &[u8]) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let (mut file, mut window) = (BufReader::new(file), Vec::new());
    loop {
        let read = file.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut window).unwrap_or_default();
        if window.windows(text.len()).any(|piece| piece == text) {
            return true;
        }
        if read == 0 {
            return false;
        }
        // It may lie over the edge of two pieces.
        window.drain(..window.len().saturating_sub(text.len()));
    }
}
