//! Configurations whose archive is a trick: each goes through server, controller, worker and tool.
//!
//! What the reader makes of each header is held beside the code; here is seen that it ends the run with a
//! reason, or does no harm, and that nothing outside the run's folder has changed.

use std::{fs, io::Write as _, os::unix::fs::MetadataExt as _};

use expect_test::expect;
use flate2::{Compression, write::GzEncoder};

use super::{ended, next_run_is_fine, no_token_is_anywhere, obedient};
use crate::rig::{Rig, is_soak};

/// One entry, with all that its header says.
struct Entry {
    kind: u8,
    path: Vec<u8>,
    target: String,
    mode: u32,
    content: Vec<u8>,
}

fn entry(kind: u8, path: impl AsRef<[u8]>, target: &str, content: impl AsRef<[u8]>) -> Entry {
    let (path, content) = (path.as_ref().to_vec(), content.as_ref().to_vec());
    Entry { kind, path, target: target.to_owned(), mode: 0o644, content }
}

fn file(path: impl AsRef<[u8]>, content: &str) -> Entry {
    entry(b'0', path, "", content)
}

/// A record of extended attributes for the entry that follows.
fn pax(key: &str, value: &str) -> Entry {
    let rest = format!(" {key}={value}\n");
    let mut bytes = rest.len() + 1;
    while bytes.to_string().len() + rest.len() != bytes {
        bytes = bytes.to_string().len() + rest.len();
    }
    entry(b'x', "pax", "", format!("{bytes}{rest}"))
}

fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut tar = Vec::new();
    for Entry { kind, path, target, mode, content } in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        let gnu = header.as_gnu_mut().expect("it is one");
        gnu.typeflag = [*kind];
        gnu.name[..path.len()].copy_from_slice(path);
        gnu.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// Submits each archive to a workspace of its own, all at once, and tells how each run ended, a line each.
fn told(rig: &Rig, cases: Vec<(&str, Vec<u8>)>) -> String {
    let submitted = cases.into_iter().map(|(name, archive)| (name, rig.submit_archive(name, &archive)));
    let submitted: Vec<(&str, String)> = submitted.collect();
    let lines: Vec<String> =
        submitted.iter().map(|(name, run)| format!("{name}: {}", ended(rig, run))).collect();
    lines.join("\n") + "\n"
}

/// Files that no archive may touch, as they are now: inode, links, time, content.
fn outside(rig: &Rig) -> String {
    let paths = [rig.path().join("credentials"), rig.mark_path("precious")];
    let look = |path: &std::path::PathBuf| {
        let found = fs::symlink_metadata(path).expect("it stays");
        (found.ino(), found.nlink(), found.mtime_nsec(), found.mode(), fs::read(path).expect("it stays"))
    };
    format!("{:?}", paths.iter().map(look).collect::<Vec<_>>())
}

#[test]
fn whatever_an_archive_tries_it_ends_with_a_reason_and_nothing_outside_has_changed() {
    let rig = obedient(&["--concurrency", "3"]);
    rig.mark("precious");
    let before = outside(&rig);
    let memory = rig.watch_memory();
    let precious = rig.mark_path("precious").display().to_string();
    let with = |entries: Vec<Entry>| gzip(&tar(&entries));
    let deep = "d/".repeat(1_000);
    let cases = vec![
        ("absolute", with(vec![file(&precious, "overwritten")])),
        ("above", with(vec![file("a/../../../../marks/precious", "overwritten")])),
        ("link-out", with(vec![entry(b'2', "out", "../../../..", ""), file("main.tf", "")])),
        ("link-absolute", with(vec![entry(b'2', "main.tf", &precious, "")])),
        (
            "link-then-file",
            with(vec![entry(b'2', "l", "../../../marks", ""), file("l/precious", "overwritten")]),
        ),
        (
            "link-replaced",
            with(vec![entry(b'2', "l", "/etc", ""), entry(b'5', "l", "", ""), file("l/f", "")]),
        ),
        ("hard-link-out", with(vec![entry(b'1', "kept.tf", &precious, "")])),
        ("hard-link-above", with(vec![entry(b'1', "kept.tf", "../../../marks/precious", "")])),
        ("device", with(vec![entry(b'3', "zero", "", "")])),
        ("fifo", with(vec![entry(b'6', "main.tf", "", "")])),
        ("sparse", with(vec![entry(b'S', "main.tf", "", "")])),
        ("sparse-pax", with(vec![pax("GNU.sparse.realsize", "107374182400"), file("main.tf", "")])),
        ("two-lengths", with(vec![pax("size", "1024"), file("main.tf", "")])),
        ("long-name-out", with(vec![pax("path", "../../../../marks/precious"), file("main.tf", "x")])),
        ("deep", with(vec![pax("path", &deep), entry(b'5', "d", "", "")])),
        (
            "no-length",
            gzip(&{
                let mut archive = tar(&[file("main.tf", "x")]);
                archive[124..136].copy_from_slice(b"77777777777\0");
                archive
            }),
        ),
    ];
    let n = cases.len();
    expect![[r#"
        absolute: errored: entry "DIR/marks/precious" of the configuration leads out of the folder
        above: errored: entry "a/../../../../marks/precious" of the configuration leads out of the folder
        link-out: errored: entry "out" of the configuration is a link to "../../../..", which leads out of the folder
        link-absolute: errored: entry "main.tf" of the configuration is a link to "DIR/marks/precious", which leads out of the folder
        link-then-file: errored: entry "l/precious" of the configuration goes through the link "l"
        link-replaced: errored: entry "l" of the configuration has the name of another entry of another kind
        hard-link-out: errored: entry "kept.tf" of the configuration is a hard link to "DIR/marks/precious", which is no earlier file of the archive
        hard-link-above: errored: entry "kept.tf" of the configuration is a hard link to "../../../marks/precious", which is no earlier file of the archive
        device: errored: entry "zero" of the configuration is a device; only files, folders and links are allowed
        fifo: errored: entry "main.tf" of the configuration is a FIFO; only files, folders and links are allowed
        sparse: errored: entry "main.tf" of the configuration is a sparse file; only files, folders and links are allowed
        sparse-pax: errored: entry "pax" of the configuration has an unusable header: a sparse file in extended attributes
        two-lengths: errored: entry "pax" of the configuration has an unusable header: a length in extended attributes
        long-name-out: errored: entry "../../../../marks/precious" of the configuration leads out of the folder
        deep: errored: entry "d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/" of the configuration has a path of 2000 bytes, the limit is 1024
        no-length: errored: the configuration is no readable tar.gz: archive header checksum mismatch
    "#]]
    .assert_eq(&told(&rig, cases).replace(rig.path().to_str().unwrap(), "DIR"));
    memory.stayed_within_bounds(n);
    assert_eq!(outside(&rig), before);
    no_token_is_anywhere(&rig);
    next_run_is_fine(&rig);
}

#[test]
fn archives_that_are_endless_in_any_way_end_at_their_bound_in_little_memory() {
    let rig = obedient(&["--concurrency", "2"]);
    let memory = rig.watch_memory();
    // Parts of a gzip may follow each other: what is read is many times what is sent.
    let repeated = |part: Vec<u8>, times: usize| gzip(&part).repeat(times);
    let headers = |n: usize, kind: u8| {
        let mut part = tar(&(0..n).map(|n| entry(kind, format!("{n:x}"), "a/b", "")).collect::<Vec<_>>());
        part.truncate(n * 512);
        part
    };
    let name = entry(b'L', "name", "", vec![b'n'; 1 << 20]);
    let links = |n: usize| {
        let target = "l/".repeat(500);
        let one = |n| [entry(b'K', "k", "", &target), entry(b'2', format!("{n:x}"), "", "")];
        tar(&(0..n).flat_map(one).collect::<Vec<_>>())
    };
    // As large as a file of a module may be, and all of it values.
    let values = format!("{{\"variable\":[{}1]}}", "1,".repeat(2_000_000));
    let names: Vec<String> = (0..400_000).map(|n| format!("variable x{n:x}")).collect();
    let names = names.join("\n");
    let mut cases = vec![
        ("entries", repeated(headers(1_000, b'5'), 101)),
        ("links", gzip(&links(10_001))),
        ("values", gzip(&tar(&[file("main.tf.json", &values)]))),
        ("names", gzip(&tar(&[file("main.tf", &names), file("more.tf", &names.replace('x', "y"))]))),
        ("attributes", repeated(headers(1_000, b'x'), 301)),
        ("name", gzip(&tar(&[name, file("x", "")]))),
        ("cut", {
            let mut whole = gzip(&tar(&[file("main.tf", "# cut")]));
            whole.truncate(30);
            whole
        }),
        ("garbage", b"\x1f\x8bthis is no archive".to_vec()),
    ];
    if is_soak() {
        // A gigabyte of nothing.
        cases.push(("zeros", repeated(vec![0; 32 << 20], 40)));
    }
    // Two go on to an apply of their own.
    let n = cases.len() + 2;
    expect![[r#"
        entries: errored: the configuration has more than 100000 entries
        links: errored: the configuration has more than 10000 links
        values: applied: 
        names: applied: 
        attributes: errored: the configuration has more than 300000 headers
        name: errored: entry "name" of the configuration has 1048576 bytes, the limit is 65536
        cut: errored: the configuration is no readable tar.gz: incomplete deflate stream
        garbage: errored: the configuration is no readable tar.gz: invalid gzip header
    "#]]
    .assert_eq(told(&rig, cases).split("zeros").next().expect("the others"));
    memory.stayed_within_bounds(n);
    next_run_is_fine(&rig);
}

#[test]
fn what_is_only_odd_is_unpacked_without_what_it_may_not_have() {
    let rig = obedient(&[]);
    let looks = "stat -c '%a %F' setuid folder > $marks/looks
        ls -b >> $marks/names; cat link > $marks/link; cat twice > $marks/twice";
    let set = |mode, entry: Entry| Entry { mode, ..entry };
    let entries = [
        file("main.tf", ""),
        file("plan.sh", looks),
        set(0o7777, file("setuid", "")),
        set(0o7777, entry(b'5', "folder", "", "")),
        file(b"not-utf-8-\xff\xfe\x80", ""),
        file("new\nline \x1b[31m", ""),
        entry(b'2', "link", "plan.sh", ""),
        entry(b'2', "dangling", "folder/nothing", ""),
        entry(b'2', "twice", "/etc/passwd", ""),
        file("twice", "the last one counts\n"),
        entry(b'2', ".terraform", "folder", ""),
    ];
    let run = rig.submit_archive("odd", &gzip(&tar(&entries)));
    rig.await_status(&run, "applied");
    expect![[r"
        755 regular empty file
        755 directory
        dangling
        folder
        link
        main.tf
        new\nline\ \033[31m
        not-utf-8-\377\376\200
        plan.sh
        setuid
        twice
        zz_backend_override.tf.json"]]
    .assert_eq(&[rig.marks("looks"), rig.marks("names")].concat().join("\n"));
    assert_eq!(rig.marks("link").join("\n"), looks);
    assert_eq!(rig.marks("twice"), ["the last one counts"]);
    next_run_is_fine(&rig);
}
