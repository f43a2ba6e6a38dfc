use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use expect_test::{Expect, expect};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// `inside` is the folder, with a file outside of it that nothing may touch.
fn hostile() -> (TempDir, Folder) {
    let root = tempfile::tempdir().unwrap();
    let inside = root.path().join("inside");
    fs::create_dir_all(inside.join("sub")).unwrap();
    fs::create_dir(root.path().join("outside")).unwrap();
    fs::write(root.path().join("outside/secret"), "secret").unwrap();
    fs::write(inside.join("file"), "content").unwrap();
    symlink("../outside/secret", inside.join("link-out")).unwrap();
    symlink("../outside", inside.join("folder-out")).unwrap();
    symlink("/etc/passwd", inside.join("absolute")).unwrap();
    symlink("sub", inside.join("folder-in")).unwrap();
    symlink("file", inside.join("link-in")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, inside.join("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
    File::create(inside.join("sparse")).unwrap().set_len(100 << 30).unwrap();
    let folder = Folder::open(&inside).unwrap();
    (root, folder)
}

#[track_caller]
fn check(path: &str, expected: &Expect) {
    let (_root, folder) = hostile();
    let text = match folder.read(Path::new(path), 1 << 20) {
        Ok(content) => String::from_utf8(content).unwrap(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&text);
}

#[test]
fn reads_a_file_and_nothing_else() {
    check("file", &expect!["content"]);
    check("./sub/.././file", &expect![[r#""./sub/.././file" leads out of its folder"#]]);
    check("missing", &expect![[r#""missing" is missing"#]]);
    check("sub", &expect![[r#""sub" is a folder, not a regular file"#]]);
    check("file/below", &expect![[r#""file/below" goes through a link or a file"#]]);
    check("", &expect![[r#""" is a folder, not a regular file"#]]);
}

#[test]
fn follows_no_link_wherever_it_leads() {
    check("link-out", &expect![[r#""link-out" is a link, not a regular file"#]]);
    check("link-in", &expect![[r#""link-in" is a link, not a regular file"#]]);
    check("absolute", &expect![[r#""absolute" is a link, not a regular file"#]]);
    check("folder-out/secret", &expect![[r#""folder-out/secret" goes through a link or a file"#]]);
    check("folder-in/x", &expect![[r#""folder-in/x" goes through a link or a file"#]]);
    check("../outside/secret", &expect![[r#""../outside/secret" leads out of its folder"#]]);
    check("/etc/passwd", &expect![[r#""/etc/passwd" leads out of its folder"#]]);
}

#[test]
fn opens_no_fifo_and_no_file_that_only_looks_small() {
    check("fifo", &expect![[r#""fifo" is a device, FIFO or socket, not a regular file"#]]);
    check("sparse", &expect![[r#""sparse" has 107374182400 bytes, the limit is 1048576"#]]);
}

#[test]
fn a_file_is_replaced_where_a_link_stood() {
    let (root, folder) = hostile();
    folder.write(Path::new("link-out"), b"ours", 0o600).unwrap();
    let path = root.path().join("inside/link-out");
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert_eq!((metadata.is_file(), metadata.permissions().mode() & 0o7777), (true, 0o600));
    assert_eq!(fs::read_to_string(path).unwrap(), "ours");
    assert_eq!(fs::read_to_string(root.path().join("outside/secret")).unwrap(), "secret");
    let error = folder.write(Path::new("folder-out/new"), b"x", 0o600).unwrap_err().to_string();
    expect![[r#""folder-out" goes through a link or a file"#]].assert_eq(&error);
    assert!(!root.path().join("outside/new").exists());
}

#[test]
fn folders_are_made_without_following() {
    let (root, folder) = hostile();
    folder.create_folders(Path::new("a/b/c"), 0o750).unwrap();
    assert!(root.path().join("inside/a/b/c").is_dir());
    assert!(folder.create_folders(Path::new("folder-out/new"), 0o750).is_err());
    assert!(!root.path().join("outside/new").exists());
}

#[test]
fn a_folder_that_was_swapped_for_a_link_is_still_the_same_folder() {
    let (root, folder) = hostile();
    let inside = root.path().join("inside");
    fs::rename(&inside, root.path().join("moved")).unwrap();
    symlink("outside", &inside).unwrap();
    assert_eq!(folder.read(Path::new("file"), 100).unwrap(), b"content");
    assert!(matches!(Folder::open(&inside), Err(BeneathError::Link { .. })));
}

#[test]
fn lists_kinds_sorted_and_within_a_bound() {
    let (_root, folder) = hostile();
    let entries = folder.entries(Path::new(""), 100).unwrap();
    let lines: Vec<String> =
        entries.iter().map(|(name, kind)| format!("{} {kind}\n", name.display())).collect();
    expect![[r"
        absolute a link
        fifo a device, FIFO or socket
        file a regular file
        folder-in a link
        folder-out a link
        link-in a link
        link-out a link
        sparse a regular file
        sub a folder
    "]]
    .assert_eq(&lines.concat());
    let error = folder.entries(Path::new(""), 3).unwrap_err().to_string();
    expect![[r#""" has more than 3 entries"#]].assert_eq(&error);
}

#[test]
fn empties_a_tree_that_is_deep_and_locked_and_leaves_what_links_point_at() {
    let (root, folder) = hostile();
    let mut deep = folder.folder(Path::new("sub")).unwrap();
    // Far deeper than a path may be long.
    for _ in 0..3000 {
        rustix::fs::mkdirat(&deep.fd, "deeper", Mode::RWXU).unwrap();
        symlink_in(&deep, "../../../outside", "out");
        deep = deep.folder(Path::new("deeper")).unwrap();
    }
    let locked = root.path().join("inside/locked");
    fs::create_dir_all(locked.join("in")).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o0)).unwrap();
    folder.remove_all(100_000).unwrap();
    assert_eq!(fs::read_dir(root.path().join("inside")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(root.path().join("outside/secret")).unwrap(), "secret");
}

#[test]
fn emptying_ends_at_its_bound() {
    let (_root, folder) = hostile();
    assert!(matches!(folder.remove_all(3), Err(BeneathError::TooMany { entries_max: 3, .. })));
}

fn symlink_in(folder: &Folder, target: &str, name: &str) {
    rustix::fs::symlinkat(target, &folder.fd, name).unwrap();
}

proptest! {
    /// Kernels without `openat2` get the same answers.
    #[test]
    fn the_walk_answers_as_openat2_does(
        path in prop::collection::vec(
            prop::sample::select(vec![
                "file", "sub", "link-out", "folder-out", "folder-in", "secret", "fifo", "missing", "absolute", ".",
            ]),
            0..4,
        ),
        folder_wanted: bool,
    ) {
        let (_root, folder) = hostile();
        let path: PathBuf = path.iter().collect();
        let names = names(&path).unwrap();
        let kind = if folder_wanted { OFlags::DIRECTORY | OFlags::NONBLOCK } else { OFlags::PATH };
        let flags = OFlags::RDONLY | kind | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let walked = folder.walk(&names, flags, Mode::empty()).map_err(|errno| refused(&path, errno));
        let opened = folder.open_as(&path, flags, Mode::empty());
        let said = |answer: Result<OwnedFd, BeneathError>| match answer {
            Ok(fd) => {
                let stat = rustix::fs::fstat(fd).unwrap();
                format!("{} {}", stat.st_dev, stat.st_ino)
            }
            Err(error) => error.to_string(),
        };
        prop_assert_eq!(said(walked), said(opened));
    }
}
