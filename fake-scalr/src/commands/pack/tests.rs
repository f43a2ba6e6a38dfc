#![expect(clippy::needless_raw_string_hashes, reason = "as expect-test writes them")]

use std::{fmt::Write as _, os::unix::fs::symlink};

use expect_test::{Expect, expect};
use flate2::read::GzDecoder;
use tempfile::TempDir;

use super::*;

fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

fn listed(file: File) -> String {
    let mut report = String::new();
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        write!(report, "{:o} {}", header.mode().unwrap(), entry.path().unwrap().display()).unwrap();
        match entry.link_name().unwrap() {
            Some(target) => writeln!(report, " -> {}", target.display()).unwrap(),
            None => writeln!(report, " ({})", header.size().unwrap()).unwrap(),
        }
    }
    report
}

#[track_caller]
fn refused(dir: &TempDir, working_directory: &str, expected: &Expect) {
    let error = pack(dir.path(), working_directory).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    expected.assert_eq(&error.replace(&dir.path().display().to_string(), "DIR"));
}

#[test]
fn packs_everything_but_history_and_what_init_makes() {
    let dir = folder_with(&[
        ("main.tf", "x"),
        ("modules/a/a.tf", "yy"),
        ("script.sh", "#!/bin/sh"),
        (".git/config", ""),
        (".terraform/big", ""),
        ("modules/a/.terraform/big", ""),
        (".terraform.lock.hcl", "lock"),
    ]);
    fs::set_permissions(dir.path().join("script.sh"), PermissionsExt::from_mode(0o700)).unwrap();
    symlink("../modules/a/a.tf", dir.path().join("modules/link.tf")).unwrap();
    expect![[r#"
        644 .terraform.lock.hcl (4)
        644 main.tf (1)
        755 modules (0)
        755 modules/a (0)
        644 modules/a/a.tf (2)
        755 modules/link.tf -> ../modules/a/a.tf
        755 script.sh (9)
    "#]]
    .assert_eq(&listed(pack(dir.path(), "").unwrap()));
}

#[test]
fn the_same_folder_gives_the_same_bytes() {
    let files = [("main.tf", "x"), ("b/b.tf", "y"), ("a", "z")];
    let bytes = |dir: &TempDir| io::read_to_string(GzDecoder::new(pack(dir.path(), "").unwrap())).unwrap();
    assert_eq!(bytes(&folder_with(&files)), bytes(&folder_with(&files)));
}

#[test]
fn a_folder_without_a_configuration_is_refused() {
    let dir = folder_with(&[("README.md", ""), ("live/main.tf.json", "{}")]);
    refused(
        &dir,
        "",
        &expect![
            "`DIR` holds no *.tf or *.tf.json file; name the folder that holds the configuration, or its --working-directory"
        ],
    );
    refused(
        &dir,
        "dead",
        &expect![
            "`DIR/dead` holds no *.tf or *.tf.json file; name the folder that holds the configuration, or its --working-directory"
        ],
    );
    assert!(pack(dir.path(), "live").is_ok());
}

#[test]
fn a_missing_folder_and_a_file_are_refused() {
    let dir = folder_with(&[("main.tf", "")]);
    let refusal = |path: &str| {
        let error = pack(&dir.path().join(path), "").unwrap_err().to_string();
        error.replace(&dir.path().display().to_string(), "DIR")
    };
    expect!["`DIR/no` is no folder: No such file or directory (os error 2); name the folder that holds the configuration"].assert_eq(&refusal("no"));
    expect!["`DIR/main.tf` is no folder: it is a file; name the folder that holds the configuration"]
        .assert_eq(&refusal("main.tf"));
}

#[test]
fn a_link_that_leads_outside_is_refused() {
    for target in ["/etc/passwd", "../x", "a/../../x"] {
        let dir = folder_with(&[("main.tf", "")]);
        symlink(target, dir.path().join("link")).unwrap();
        let error = pack(dir.path(), "").unwrap_err();
        assert!(matches!(error, PackError::LinkOutside { .. }), "{error}");
    }
}

#[test]
fn a_socket_is_refused() {
    let dir = folder_with(&[("main.tf", "")]);
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    refused(&dir, "", &expect!["`DIR/socket` is neither file nor folder nor link; remove it"]);
}
