//! A folder as a tar.gz, as `submit` uploads it.
//!
//! `.git` and `.terraform` stay behind, links are kept while they stay inside the folder, and the same folder
//! always gives the same bytes. It must never follow a link, and never pack what is outside.

use std::{
    fs,
    fs::File,
    io::{self, BufWriter, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};

#[cfg(test)]
mod tests;

/// What a configuration does not need: its history, and what `init` makes anew.
const LEFT_BEHIND: [&str; 2] = [".git", ".terraform"];
const SUFFIXES: [&str; 4] = [".tf", ".tf.json", ".tofu", ".tofu.json"];

/// Why a folder can't be packed; one line each, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// There is no such folder.
    #[error("`{}` is no folder: {why}; name the folder that holds the configuration", path.display())]
    NoFolder {
        /// What was named.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// There is nothing to run.
    #[error(
        "`{}` holds no *.tf or *.tf.json file; name the folder that holds the configuration, or its \
         --working-directory",
        path.display()
    )]
    NoConfiguration {
        /// The folder, with the working directory.
        path: PathBuf,
    },
    /// A link would lead outside.
    #[error(
        "`{}` links to `{}`, outside of the folder; copy what it names, or remove it",
        path.display(),
        target.display()
    )]
    LinkOutside {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A socket, a pipe, a device.
    #[error("`{}` is neither file nor folder nor link; remove it", path.display())]
    Special {
        /// What is there.
        path: PathBuf,
    },
    /// A file can't be read.
    #[error("`{}` can't be packed: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Packs a folder whose configuration is in `working_directory`; the file is temporary and at its start.
pub fn pack(dir: &Path, working_directory: &str) -> Result<File, PackError> {
    let no_folder = |why: String| PackError::NoFolder { path: dir.to_owned(), why };
    match fs::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(no_folder("it is a file".to_owned())),
        Err(e) => return Err(no_folder(e.to_string())),
    }
    configuration(&if working_directory.is_empty() { dir.to_owned() } else { dir.join(working_directory) })?;
    let at = |source| PackError::Io { path: dir.to_owned(), source };
    let file = BufWriter::new(tempfile::tempfile().map_err(at)?);
    // The fastest level: most folders are small, and the upload is local.
    let mut archive = Builder::new(GzEncoder::new(file, Compression::fast()));
    folder(&mut archive, dir, Path::new(""))?;
    let mut file = archive
        .into_inner()
        .and_then(GzEncoder::finish)
        .and_then(|buffer| buffer.into_inner().map_err(io::IntoInnerError::into_error))
        .map_err(at)?;
    file.rewind().map_err(at)?;
    Ok(file)
}

fn configuration(dir: &Path) -> Result<(), PackError> {
    let found = fs::read_dir(dir).is_ok_and(|entries| {
        entries.flatten().any(|e| SUFFIXES.iter().any(|s| e.file_name().to_string_lossy().ends_with(s)))
    });
    if found { Ok(()) } else { Err(PackError::NoConfiguration { path: dir.to_owned() }) }
}

fn folder(archive: &mut Builder<impl Write>, root: &Path, inner: &Path) -> Result<(), PackError> {
    let dir = root.join(inner);
    let at = |source| PackError::Io { path: dir.clone(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).map_err(at)? {
        names.push(entry.map_err(at)?.file_name());
    }
    names.sort();
    for name in names {
        if !LEFT_BEHIND.iter().any(|left| name == *left) {
            entry(archive, root, &inner.join(name))?;
        }
    }
    Ok(())
}

fn entry(archive: &mut Builder<impl Write>, root: &Path, inner: &Path) -> Result<(), PackError> {
    let path = root.join(inner);
    let at = |source| PackError::Io { path: path.clone(), source };
    let metadata = fs::symlink_metadata(&path).map_err(at)?;
    let mut header = Header::new_gnu();
    header.set_mode(if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 });
    header.set_mtime(0);
    header.set_size(0);
    if metadata.is_symlink() {
        let target = fs::read_link(&path).map_err(at)?;
        if !stays_inside(inner, &target) {
            return Err(PackError::LinkOutside { path, target });
        }
        header.set_entry_type(EntryType::Symlink);
        archive.append_link(&mut header, inner, &target).map_err(at)
    } else if metadata.is_dir() {
        header.set_entry_type(EntryType::Directory);
        archive.append_data(&mut header, inner, io::empty()).map_err(at)?;
        folder(archive, root, inner)
    } else if metadata.is_file() {
        header.set_entry_type(EntryType::Regular);
        header.set_size(metadata.len());
        // A file that grows meanwhile must not break the archive.
        let content = io::Read::take(File::open(&path).map_err(at)?, metadata.len());
        archive.append_data(&mut header, inner, content).map_err(at)
    } else {
        Err(PackError::Special { path })
    }
}

/// Whether a link's target, read from where the link is, stays in the folder at every step.
fn stays_inside(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count().saturating_sub(1);
    for component in target.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}
