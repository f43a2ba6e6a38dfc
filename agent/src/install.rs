//! Copies this program into a folder that another container runs it from: the first thing in a task's pod, so
//! that the runner needs nothing of ours in its image.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::Context;

/// What it is called there.
const NAME: &str = "scalr-agent";

/// Copies, whole or not at all, for everybody to run.
pub fn run(program: &Path, folder: &Path) -> anyhow::Result<()> {
    let coming = folder.join(format!(".{NAME}.new"));
    fs::create_dir_all(folder)
        .and_then(|()| fs::copy(program, &coming))
        .and_then(|_| fs::set_permissions(&coming, Permissions::from_mode(0o755)))
        .and_then(|()| fs::rename(&coming, folder.join(NAME)))
        .with_context(|| format!("`{}` can't be copied into `{}`", program.display(), folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_there_for_everybody_to_run() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, "binary").unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o500)).unwrap();
        let bin = folder.path().join("a/bin");
        // An init container may be run twice.
        run(&program, &bin).unwrap();
        run(&program, &bin).unwrap();
        let installed = bin.join("scalr-agent");
        assert_eq!(fs::read_to_string(&installed).unwrap(), "binary");
        assert_eq!(fs::metadata(&installed).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(&bin).unwrap().count(), 1);
        let error = run(&folder.path().join("missing"), &bin).unwrap_err();
        assert!(format!("{error:#}").contains("can't be copied"), "{error:#}");
    }
}
