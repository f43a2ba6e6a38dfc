use std::fs;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn filled(records: &[&str]) -> TempDir {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = Journal::open(dir.path()).unwrap();
    for record in records {
        append(&mut journal, record);
    }
    dir
}

fn append(journal: &mut Journal, record: &str) {
    let line = journal.encode(&record).unwrap();
    journal.append(&line).unwrap();
}

fn journal_file(dir: &TempDir) -> PathBuf {
    journal_path(dir.path(), 0)
}

#[track_caller]
fn refused(dir: &TempDir, expected: &Expect) {
    let error = Journal::open(dir.path()).map(|_| ()).unwrap_err().to_string();
    expected.assert_eq(&error.replace(&dir.path().display().to_string(), "DIR"));
}

#[test]
fn gives_back_what_was_appended() {
    let dir = filled(&["one", "two", "drei äöü \n vier"]);
    let (_, recovered) = Journal::open(dir.path()).unwrap();
    expect![[r#"
        [
            "\"one\"",
            "\"two\"",
            "\"drei äöü \\n vier\"",
        ]
    "#]]
    .assert_debug_eq(&recovered.records);
}

#[test]
fn goes_on_after_a_snapshot_and_forgets_what_was_before() {
    let dir = filled(&["before"]);
    {
        let (mut journal, _) = Journal::open(dir.path()).unwrap();
        journal.replace(&"all").unwrap();
        append(&mut journal, "after");
    }
    let (_, recovered) = Journal::open(dir.path()).unwrap();
    assert_eq!(recovered.snapshot, Some("all".into()));
    assert_eq!(recovered.records, [r#""after""#]);
    assert!(!journal_file(&dir).exists());
}

#[test]
fn a_torn_last_record_is_cut_at_every_byte() {
    let whole = fs::read(journal_file(&filled(&["one", "two"]))).unwrap();
    let first = whole.iter().position(|&b| b == b'\n').unwrap() + 1;
    for length in first..whole.len() {
        let dir = filled(&[]);
        fs::write(journal_file(&dir), &whole[..length]).unwrap();
        let (mut journal, recovered) = Journal::open(dir.path()).unwrap();
        assert_eq!((recovered.records.len(), recovered.torn_bytes), (1, length - first));
        append(&mut journal, "three");
        drop(journal);
        let (_, again) = Journal::open(dir.path()).unwrap();
        assert_eq!(again.records, [r#""one""#, r#""three""#]);
    }
}

#[test]
fn a_corrupt_middle_stops_with_the_place_and_the_remedy() {
    let dir = filled(&["one", "two", "three"]);
    let text = fs::read_to_string(journal_file(&dir)).unwrap();
    fs::write(journal_file(&dir), text.replace("two", "twi")).unwrap();
    refused(
        &dir,
        &expect![
            "`DIR/journal-00000000.log` is corrupt at line 2 (byte 24): the checksum is not that of the record; bring it back from a copy, or drop that line and all after it with `truncate -s 24`"
        ],
    );
    fs::write(journal_file(&dir), text.replace("\"two\"", "\"to\"")).unwrap();
    refused(
        &dir,
        &expect![
            "`DIR/journal-00000000.log` is corrupt at line 2 (byte 24): 4 bytes where 5 were written; bring it back from a copy, or drop that line and all after it with `truncate -s 24`"
        ],
    );
    fs::write(journal_file(&dir), format!("hello\n{text}")).unwrap();
    refused(
        &dir,
        &expect![
            "`DIR/journal-00000000.log` is corrupt at line 1 (byte 0): too short for a record; bring it back from a copy, or drop that line and all after it with `truncate -s 0`"
        ],
    );
}

#[test]
fn a_corrupt_snapshot_stops() {
    let dir = filled(&[]);
    fs::write(dir.path().join(SNAPSHOT), "{").unwrap();
    refused(
        &dir,
        &expect![
            "`DIR/snapshot.json` is corrupt: EOF while parsing an object at line 1 column 1; bring it back from a copy"
        ],
    );
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let dir = TempDir::new().unwrap();
    let _first = Journal::open(dir.path()).unwrap();
    let error = Journal::open(dir.path()).map(|_| ()).unwrap_err().to_string();
    expect!["`DIR` is in use by another fake-scalr (process PID); stop it or choose another --data-dir"]
        .assert_eq(
            &error
                .replace(&dir.path().display().to_string(), "DIR")
                .replace(&std::process::id().to_string(), "PID"),
        );
}

proptest! {
    #[test]
    fn every_record_comes_back_and_every_prefix_is_a_prefix(
        texts in proptest::collection::vec(".*", 0..8),
        cut in 0.0..1.0_f64,
    ) {
        let lines: Vec<Vec<u8>> = texts.iter().map(|t| line(t).unwrap()).collect();
        let whole = lines.concat();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
            reason = "a place inside a short text")]
        let length = (whole.len() as f64 * cut) as usize;
        let (found, bytes) = records(Path::new("j"), &whole[..length]).unwrap();
        let expected: Vec<String> =
            texts.iter().take(found.len()).map(|t| serde_json::to_string(t).unwrap()).collect();
        prop_assert_eq!(&found, &expected);
        prop_assert!(length - bytes < lines.get(found.len()).map_or(1, Vec::len));
    }
}
