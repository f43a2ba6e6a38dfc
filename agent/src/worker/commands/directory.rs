//! The working directory of a run: that there is one, and that it is fit for the tool.
//!
//! The configuration is what the user sent, before any code of it ran; even so nothing is followed.

use std::path::{Path, PathBuf};

use scalr_protocol::task::Workspace;

use super::{
    ERRORED_STATE, SettingError,
    error::{ARGUMENT_BYTES_MAX, LIST_MAX, cut},
};
use crate::worker::{
    beneath::{self, BeneathError, Folder, Kind},
    declared::{self, MODULE_ENTRIES_MAX},
};

/// What replaces the backend, or the `cloud` block, that the configuration names. Override files are merged
/// last, in the order of their names.
pub const OVERRIDE_FILE: &str = "zz_backend_override.tf.json";
/// An `http` backend whose every setting comes from the environment.
pub(super) const OVERRIDE: &str = r#"{"terraform":{"backend":{"http":{}}}}"#;

/// What a tool leaves behind, and people commit by mistake: a recorded backend or a local state makes `init`
/// ask about a migration, a selected workspace makes every command fail, and an old errored state would be
/// taken for this run's.
pub(super) const LEFTOVERS: [&str; 5] = [
    ".terraform/terraform.tfstate",
    ".terraform/environment",
    "terraform.tfstate",
    "terraform.tfstate.backup",
    ERRORED_STATE,
];

/// The working directory: within the configuration, a folder, with a module in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkingDirectory {
    /// Relative to the configuration, without `.`; empty for its root.
    pub(super) path: PathBuf,
}

impl WorkingDirectory {
    /// Finds it in the unpacked configuration.
    pub fn find(config: &Folder, workspace: &Workspace) -> Result<Self, SettingError> {
        let set = &workspace.working_directory;
        let wrong = |problem: String| SettingError::WorkingDirectory { path: cut(set), problem };
        if set.len() > ARGUMENT_BYTES_MAX || set.contains('\0') {
            return Err(wrong("is too long, or has a NUL".to_owned()));
        }
        let path: PathBuf = beneath::names(Path::new(set))
            .map_err(|_| wrong("leads out of the configuration".to_owned()))?
            .iter()
            .collect();
        let entries = config.entries(&path, MODULE_ENTRIES_MAX).map_err(|error| match error {
            BeneathError::Missing { .. } => wrong("is not in the configuration".to_owned()),
            BeneathError::Link { .. } => wrong("is a file, or goes through a link".to_owned()),
            other @ (BeneathError::Outside { .. }
            | BeneathError::Kind { .. }
            | BeneathError::TooLarge { .. }
            | BeneathError::TooMany { .. }
            | BeneathError::Io { .. }) => wrong(other.to_string()),
        })?;
        let is_module = |(name, kind): &(std::ffi::OsString, Kind)| {
            matches!(kind, Kind::File | Kind::Link) && declared::is_module_file(name)
        };
        if entries.iter().any(is_module) {
            Ok(Self { path })
        } else {
            Err(SettingError::NoModule { path: cut(set) })
        }
    }

    /// Relative to the configuration; empty for its root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes away what would confuse the tool, and writes the backend override. Says what it took away.
    pub fn prepare(&self, config: &Folder) -> Result<Vec<&'static str>, SettingError> {
        let failed = |cause| SettingError::Folder { cause };
        let mut removed = Vec::new();
        for leftover in LEFTOVERS {
            match config.remove_file(&self.path.join(leftover)) {
                Ok(true) => removed.push(leftover),
                // Where `.terraform` is a link, there is nothing of that name for the tool to trip over that
                // `init -reconfigure` does not settle.
                Ok(false) | Err(BeneathError::Link { .. }) => {}
                Err(cause) => return Err(failed(cause)),
            }
        }
        config.write(&self.path.join(OVERRIDE_FILE), OVERRIDE.as_bytes(), 0o644).map_err(failed)?;
        Ok(removed)
    }

    /// Checks the workspace's variable files: each must be a file of the configuration.
    pub fn check_var_files(&self, config: &Folder, workspace: &Workspace) -> Result<(), SettingError> {
        let files = &workspace.var_files;
        if files.len() > LIST_MAX {
            return Err(SettingError::TooMany { count: files.len(), what: "variable files" });
        }
        for file in files {
            let wrong = |problem| SettingError::VarFile { path: cut(file), problem };
            if file.is_empty() || file.len() > ARGUMENT_BYTES_MAX || file.contains('\0') {
                return Err(wrong("is empty, too long, or has a NUL"));
            }
            let path =
                join(&self.path, Path::new(file)).ok_or_else(|| wrong("leads out of the configuration"))?;
            match config.kind(&path) {
                // A link of the configuration leads to somewhere inside: that was checked when it was
                // unpacked.
                Ok(Some(Kind::File | Kind::Link)) | Err(BeneathError::Link { .. }) => {}
                Ok(Some(Kind::Folder | Kind::Special)) => return Err(wrong("is no file")),
                Ok(None) => return Err(wrong("is not in the configuration")),
                Err(cause) => return Err(SettingError::Folder { cause }),
            }
        }
        Ok(())
    }
}

/// Goes on from a relative path by names, `.` and `..`; none where that leads out.
fn join(from: &Path, path: &Path) -> Option<PathBuf> {
    use std::path::Component;
    let mut reached = from.to_owned();
    for component in path.components() {
        match component {
            Component::Normal(name) => reached.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !reached.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(reached)
}
