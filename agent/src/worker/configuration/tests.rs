use std::{fs, os::unix::fs::PermissionsExt};

use expect_test::{Expect, expect};
use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

use super::*;

mod hostile;

/// One entry as it is, without the checks of a builder.
#[derive(Clone, Debug)]
struct Raw {
    kind: u8,
    path: String,
    target: String,
    mode: u32,
    content: Vec<u8>,
}

fn raw(kind: u8, path: &str, target: &str, content: &[u8]) -> Raw {
    Raw { kind, path: path.to_owned(), target: target.to_owned(), mode: 0o644, content: content.to_owned() }
}

fn file(path: &str, content: &str) -> Raw {
    raw(b'0', path, "", content.as_bytes())
}

fn link(path: &str, target: &str) -> Raw {
    raw(b'2', path, target, b"")
}

fn tar(entries: &[Raw]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        let fill = |field: &mut [u8], text: &str| {
            let length = text.len().min(field.len());
            field[..length].copy_from_slice(&text.as_bytes()[..length]);
        };
        fill(&mut header.as_old_mut().name, &entry.path);
        fill(&mut header.as_old_mut().linkname, &entry.target);
        header.set_entry_type(tar::EntryType::new(entry.kind));
        header.set_mode(entry.mode);
        header.set_size(entry.content.len() as u64);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&entry.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

const SMALL: Limits = Limits {
    total_bytes_max: 64 * 1024,
    file_bytes_max: 10_000,
    entries_max: 20,
    links_max: 10,
    path_bytes_max: 60,
    depth_max: 4,
};

/// A sentinel outside, and the folder to unpack into.
fn place() -> (TempDir, Folder) {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("config")).unwrap();
    fs::create_dir(root.path().join("outside")).unwrap();
    fs::write(root.path().join("outside/file"), "untouched").unwrap();
    let folder = Folder::open(&root.path().join("config")).unwrap();
    (root, folder)
}

/// Every path below with its kind, mode and content or target.
fn tree(path: &Path) -> String {
    let mut lines = Vec::new();
    let mut left = vec![path.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let entry = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&entry).unwrap();
            let name = entry.strip_prefix(path).unwrap().display().to_string();
            let mode = metadata.permissions().mode() & 0o7777;
            if metadata.is_dir() {
                lines.push(format!("{name}/ {mode:o}\n"));
                left.push(entry);
            } else if metadata.is_symlink() {
                lines.push(format!("{name} -> {}\n", fs::read_link(&entry).unwrap().display()));
            } else {
                lines.push(format!("{name} {mode:o} {:?}\n", fs::read_to_string(&entry).unwrap()));
            }
        }
    }
    lines.sort();
    lines.concat()
}

#[track_caller]
fn check_bytes(archive: &[u8], expected: &Expect) {
    let (root, folder) = place();
    let text = match unpack(archive, &folder, &SMALL) {
        Ok(Unpacked { entries, bytes }) => {
            format!("{entries} entries, {bytes} bytes\n{}", tree(&root.path().join("config")))
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    assert_eq!(tree(&root.path().join("outside")), "file 644 \"untouched\"\n");
    expected.assert_eq(&text);
}

#[track_caller]
fn check(entries: &[Raw], expected: &Expect) {
    check_bytes(&gz(&tar(entries)), expected);
}

#[test]
fn unpacks_files_folders_and_links_with_sane_modes() {
    let script = Raw { mode: 0o6777, ..file("./sub/run.sh", ": script x") };
    let closed = Raw { mode: 0, ..raw(b'5', "closed/", "", b"") };
    let read_only = Raw { mode: 0o444, ..file("closed/a.tf", "") };
    check(
        &[
            raw(b'5', "./", "", b""),
            script,
            closed,
            read_only,
            link("sub/a", "../closed/a.tf"),
            link("l", "sub/a"),
        ],
        &expect![[r#"
            7 entries, 10 bytes
            closed/ 700
            closed/a.tf 644 ""
            l -> sub/a
            sub/ 755
            sub/a -> ../closed/a.tf
            sub/run.sh 755 ": script x"
        "#]],
    );
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    check(
        &[file("a", "1"), file("a", "2"), link("b", "a"), file("b", "3"), file("c", "4"), link("c", "a")],
        &expect![[r#"
            6 entries, 4 bytes
            a 644 "2"
            b 644 "3"
            c -> a
        "#]],
    );
}

#[test]
fn a_hard_link_is_to_an_earlier_file() {
    check(
        &[file("a", "1"), raw(b'1', "b", "./a", b"")],
        &expect![[r#"
            2 entries, 1 bytes
            a 644 "1"
            b 644 "1"
        "#]],
    );
    check(
        &[raw(b'1', "b", "a", b"")],
        &expect![[
            r#"entry "b" of the configuration is a hard link to "a", which is no earlier file of the archive"#
        ]],
    );
    check(
        &[raw(b'1', "b", "../outside/file", b"")],
        &expect![[
            r#"entry "b" of the configuration is a hard link to "../outside/file", which is no earlier file of the archive"#
        ]],
    );
    check(
        &[link("l", "x"), raw(b'1', "b", "l", b"")],
        &expect![[
            r#"entry "b" of the configuration is a hard link to "l", which is no earlier file of the archive"#
        ]],
    );
}

#[test]
fn nothing_leads_out() {
    check(&[file("../x", "")], &expect![[r#"entry "../x" of the configuration leads out of the folder"#]]);
    check(
        &[file("/etc/x", "")],
        &expect![[r#"entry "/etc/x" of the configuration leads out of the folder"#]],
    );
    check(
        &[file("a/../../x", "")],
        &expect![[r#"entry "a/../../x" of the configuration leads out of the folder"#]],
    );
    check(
        &[link("l", "/etc")],
        &expect![[r#"entry "l" of the configuration is a link to "/etc", which leads out of the folder"#]],
    );
    check(
        &[link("l", "../outside")],
        &expect![[
            r#"entry "l" of the configuration is a link to "../outside", which leads out of the folder"#
        ]],
    );
    check(
        &[link("sub/l", "..")],
        &expect![[r"
            2 entries, 0 bytes
            sub/ 755
            sub/l -> ..
        "]],
    );
}

#[test]
fn links_through_links_lead_nowhere_else() {
    // `a/b/up` is `a`; through it, `..` is the root, and one more is out.
    let up = link("a/b/up", "..");
    check(
        &[up.clone(), link("x", "a/b/up/../../outside")],
        &expect![[
            r#"entry "x" of the configuration is a link to "a/b/up/../../outside", which leads out of the folder"#
        ]],
    );
    check(
        &[up, link("x", "a/b/up/..")],
        &expect![[r"
            4 entries, 0 bytes
            a/ 755
            a/b/ 755
            a/b/up -> ..
            x -> a/b/up/..
        "]],
    );
    check(
        &[link("a", "b"), link("b", "a")],
        &expect![[
            r#"entry "a" of the configuration is a link to "b", which leads through more than 40 links"#
        ]],
    );
    check(
        &[link("a", "a/x")],
        &expect![[
            r#"entry "a" of the configuration is a link to "a/x", which leads through more than 40 links"#
        ]],
    );
}

#[test]
fn links_that_take_for_ever_to_follow_are_not_followed() {
    let detour = "x/../".repeat(150);
    let target =
        |n: usize| if n.is_multiple_of(30) { "end".to_owned() } else { format!("{detour}l{}", n - 1) };
    let entries: Vec<Raw> = (0..600)
        .flat_map(|n| [raw(b'K', "long", "", target(n).as_bytes()), link(&format!("l{n}"), "replaced")])
        .collect();
    let (_root, folder) = place();
    let error = unpack(&gz(&tar(&entries))[..], &folder, &Limits::default()).unwrap_err().to_string();
    assert!(error.ends_with("all links together take more than 1000000 steps to follow"), "{error}");
}

#[test]
fn nothing_is_written_through_a_link() {
    check(
        &[link("l", "sub"), file("l/x", "")],
        &expect![[r#"entry "l/x" of the configuration goes through the link "l""#]],
    );
    check(
        &[link("l", "../outside"), file("l/file", "!")],
        &expect![[r#"entry "l/file" of the configuration goes through the link "l""#]],
    );
    check(
        &[file("d/x", ""), link("d", "e")],
        &expect![[r#"entry "d" of the configuration has the name of another entry of another kind"#]],
    );
    check(
        &[file("f", ""), file("f/x", "")],
        &expect![[r#"entry "f/x" of the configuration has the name of another entry of another kind"#]],
    );
    check(
        &[link("l", "d"), raw(b'5', "l", "", b"")],
        &expect![[r#"entry "l" of the configuration has the name of another entry of another kind"#]],
    );
}

#[test]
fn no_devices_fifos_and_sparse_files() {
    check(
        &[raw(b'6', "f", "", b"")],
        &expect![[r#"entry "f" of the configuration is a FIFO; only files, folders and links are allowed"#]],
    );
    check(
        &[raw(b'3', "d", "", b"")],
        &expect![[
            r#"entry "d" of the configuration is a device; only files, folders and links are allowed"#
        ]],
    );
    check(
        &[raw(b'S', "s", "", b"")],
        &expect![[
            r#"entry "s" of the configuration is a sparse file; only files, folders and links are allowed"#
        ]],
    );
    check(
        &[raw(b'V', "v", "", b"")],
        &expect![[
            r#"entry "v" of the configuration is of a kind that is not known; only files, folders and links are allowed"#
        ]],
    );
}

#[test]
fn bombs_end_at_their_limit() {
    let large = "x".repeat(10_001);
    check(
        &[file("big", &large)],
        &expect![[r#"entry "big" of the configuration has 10001 bytes, the limit is 10000"#]],
    );
    let many: Vec<Raw> = (0..7).map(|n| file(&format!("f{n}"), &large[1..])).collect();
    check(&many, &expect!["the configuration has more than 65536 bytes when unpacked"]);
    let names: Vec<Raw> = (0..21).map(|n| file(&format!("f{n}"), "")).collect();
    check(&names, &expect!["the configuration has more than 20 entries"]);
    // Folders that are only named as parts of a path count too, each once.
    let deep = |n: usize| format!("{n}/a/b/f");
    let in_paths: Vec<Raw> = (0..6).map(|n| file(&deep(n), "")).collect();
    check(&in_paths, &expect!["the configuration has more than 20 entries"]);
    let folders: Vec<Raw> = (0..6).map(|n| raw(b'5', &deep(n), "", b"")).collect();
    check(&folders, &expect!["the configuration has more than 20 entries"]);
    let one: Vec<Raw> = (0..21).map(|_| file(&deep(0), "")).collect();
    check(
        &one[..17],
        &expect![[r#"
            20 entries, 0 bytes
            0/ 755
            0/a/ 755
            0/a/b/ 755
            0/a/b/f 644 ""
        "#]],
    );
    let links: Vec<Raw> = (0..11).map(|n| link(&format!("l{n}"), "x")).collect();
    check(&links, &expect!["the configuration has more than 10 links"]);
    check(
        &[file("a/b/c/d/e", "")],
        &expect![[r#"entry "a/b/c/d/e" of the configuration is 5 folders deep, the limit is 4"#]],
    );
    check(
        &[file(&"n".repeat(61), "")],
        &expect![[
            r#"entry "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn" of the configuration has a path of 61 bytes, the limit is 60"#
        ]],
    );
    // Zeros after the end of the archive are read for the checksum, and no further than the limit.
    let mut zeros = tar(&[]);
    zeros.resize(1 << 20, 0);
    check_bytes(&gz(&zeros), &expect!["the configuration has more than 65536 bytes when unpacked"]);
}

#[test]
fn a_name_without_end_is_not_read() {
    let name = vec![b'n'; 65 * 1024];
    let limits = Limits { total_bytes_max: 1 << 20, ..SMALL };
    let (_root, folder) = place();
    for kind in [b'L', b'K', b'x', b'g'] {
        let archive = gz(&tar(&[raw(kind, "long", "", &name), file("f", "")]));
        let error = unpack(&archive[..], &folder, &limits).unwrap_err().to_string();
        assert_eq!(error, "entry \"long\" of the configuration has 66560 bytes, the limit is 65536");
    }
}

#[test]
fn long_names_are_put_together_and_checked() {
    check(
        &[raw(b'L', "", "", b"sub/long\0"), file("short", "1")],
        &expect![[r#"
            2 entries, 1 bytes
            sub/ 755
            sub/long 644 "1"
        "#]],
    );
    check(
        &[raw(b'L', "", "", b"../out\0"), file("short", "1")],
        &expect![[r#"entry "../out" of the configuration leads out of the folder"#]],
    );
    check(
        &[raw(b'x', "", "", b"15 path=../out\n"), file("short", "1")],
        &expect![[r#"entry "../out" of the configuration leads out of the folder"#]],
    );
    check(
        &[raw(b'K', "", "", b"/etc\0"), link("l", "fine")],
        &expect![[r#"entry "l" of the configuration is a link to "/etc", which leads out of the folder"#]],
    );
    check(
        &[raw(b'x', "pax", "", b"10 size=1\n"), file("f", "1")],
        &expect![[
            r#"entry "pax" of the configuration has an unusable header: a length in extended attributes"#
        ]],
    );
    check(
        &[raw(b'g', "pax", "", b"10 path=x\n"), file("f", "1")],
        &expect![[r#"entry "pax" of the configuration has an unusable header: a path for all entries"#]],
    );
    check(
        &[raw(b'x', "pax", "", b"99 path=x\n"), file("f", "1")],
        &expect![[
            r#"entry "pax" of the configuration has an unusable header: extended attributes that can't be read"#
        ]],
    );
    // What `git archive` begins with.
    check(
        &[raw(b'g', "pax_global_header", "", b"13 comment=x\n"), file("f", "1")],
        &expect![[r#"
        1 entries, 1 bytes
        f 644 "1"
    "#]],
    );
}

#[test]
fn what_is_no_archive_is_said() {
    check_bytes(
        b"PK\x03\x04 a zip",
        &expect!["the configuration is no readable tar.gz: invalid gzip header"],
    );
    check_bytes(b"", &expect!["the configuration is no readable tar.gz: unexpected end of file"]);
    let whole = gz(&tar(&[file("f", &"x".repeat(5000))]));
    check_bytes(
        &whole[..whole.len() - 9],
        &expect!["the configuration is no readable tar.gz: incomplete deflate stream"],
    );
    let text = gz(&[b'a'; 2000]);
    check_bytes(
        &text,
        &expect![
            "the configuration is no readable tar.gz: numeric field was not a number: aaaaaaaa when getting cksum for aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        ],
    );
    let mut cut = tar(&[file("f", &"x".repeat(5000))]);
    cut.truncate(2000);
    check_bytes(&gz(&cut), &expect!["the configuration is no readable tar.gz: it ends within f"]);
}

#[test]
fn the_folder_must_be_empty() {
    let (root, folder) = place();
    fs::write(root.path().join("config/old"), "").unwrap();
    let error = unpack(&gz(&tar(&[]))[..], &folder, &SMALL).unwrap_err().to_string();
    expect![[r#"failed to write the configuration: ".": the folder is not empty"#]].assert_eq(&error);
}
