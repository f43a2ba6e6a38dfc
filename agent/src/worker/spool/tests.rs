use std::os::unix::fs::MetadataExt;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn spool(bytes_max: u64) -> (TempDir, Spool) {
    let folder = TempDir::new().expect("a folder");
    let bounds = Bounds { bytes_max, ..Bounds::default() };
    let spool = Spool::with_bounds(&folder.path().join("console"), bounds).expect("a spool");
    (folder, spool)
}

fn text(spool: &Spool) -> String {
    String::from_utf8(spool.read(0, usize::MAX).expect("readable")).expect("text")
}

#[test]
fn what_is_appended_can_be_read_in_ranges() {
    let (_folder, mut spool) = spool(100);
    assert_eq!(spool.append(b"hello ").expect("append"), 6);
    assert_eq!(spool.append(b"world").expect("append"), 5);
    assert_eq!(spool.bytes(), 11);
    assert_eq!(spool.read(6, 3).expect("read"), b"wor");
    assert_eq!(spool.read(6, 300).expect("read"), b"world");
    assert_eq!(spool.read(11, 3).expect("read"), b"");
    assert_eq!(spool.read(12, 3).expect("read"), b"");
    assert_eq!(spool.reader().read(4, 3).expect("read"), b"o w");
    assert!(spool.reader().read(9, 3).is_err());
}

#[test]
fn its_digest_is_that_of_all_bytes() {
    let (_folder, mut spool) = spool(100);
    // The two examples of FIPS 180: the empty text and `abc`.
    assert_eq!(spool.sha256(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    spool.append(b"a").expect("append");
    spool.append(b"bc").expect("append");
    assert_eq!(spool.sha256(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn a_full_spool_takes_what_fits_and_more_once_it_was_acknowledged() {
    let (_folder, mut spool) = spool(10);
    assert_eq!(spool.append(b"0123456").expect("append"), 7);
    assert_eq!(spool.append(b"789abc").expect("append"), 3);
    assert_eq!(spool.append(b"abc").expect("append"), 0);
    spool.acknowledge(2);
    assert_eq!(spool.append(b"abc").expect("append"), 2);
    // An answer that comes late takes nothing back, one about bytes that are not there gives nothing.
    spool.acknowledge(1);
    spool.acknowledge(1000);
    assert_eq!((spool.acknowledged(), spool.room()), (12, 10));
    assert_eq!(text(&spool), "0123456789ab");
}

#[test]
fn once_a_stop_began_a_full_spool_drops_and_says_how_much() {
    let (_folder, mut spool) = spool(10);
    spool.append(b"0123456").expect("append");
    spool.drop_from_now();
    assert_eq!(spool.append(b"789abc").expect("append"), 6);
    assert_eq!(spool.append(b"def").expect("append"), 3);
    assert_eq!((spool.bytes(), spool.dropped_bytes()), (10, 6));
    spool.close().expect("close");
    spool.close().expect("close again");
    assert_eq!(text(&spool), "0123456789\n[6 bytes of output were dropped here]\n");
    assert_eq!(spool.room(), 0);
}

#[test]
fn a_gap_closes_where_there_is_room_again() {
    let (_folder, mut spool) = spool(100);
    spool.drop_from_now();
    spool.append(&[b'x'; 103]).expect("append");
    spool.acknowledge(30);
    spool.append(b"too little room\n").expect("append");
    spool.acknowledge(100);
    spool.append(b"the end\n").expect("append");
    spool.close().expect("close");
    let expected = format!("{}\n[19 bytes of output were dropped here]\nthe end\n", "x".repeat(100));
    assert_eq!(text(&spool), expected);
}

#[test]
fn gives_the_disk_of_what_was_acknowledged_long_ago_back() {
    let (folder, mut spool) = spool(SPOOL_BYTES_MAX);
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..120 {
        spool.append(&piece).expect("append");
    }
    let blocks = || std::fs::metadata(folder.path().join("console")).expect("stat").blocks() * 512;
    let before = blocks();
    spool.acknowledge(KEPT_BYTES + PUNCH_BYTES + 5);
    assert_eq!(spool.first_kept(), PUNCH_BYTES);
    assert!(blocks() < before, "{} bytes of disk before, {} after", before, blocks());
    assert!(matches!(spool.read(0, 5), Err(ReadError::Released { first_kept: PUNCH_BYTES })));
    // A server that goes back so far gets nothing, rather than zeros for what was there.
    let refused = spool.reader().read(PUNCH_BYTES - 1, 5).expect_err("it is gone");
    assert_eq!(refused.to_string(), "bytes before 16777216 are no longer kept");
    assert_eq!(spool.reader().read(PUNCH_BYTES, 5).expect("kept"), b"xxxxx");
    assert_eq!(spool.read(PUNCH_BYTES, 5).expect("read"), b"xxxxx");
    assert_eq!(spool.bytes(), 120 * 1024 * 1024);
}

#[test]
fn is_for_its_owner_and_never_takes_another_over() {
    let (folder, _spool) = spool(10);
    let path = folder.path().join("console");
    assert_eq!(std::fs::metadata(&path).expect("stat").mode() & 0o777, 0o600);
    assert_eq!(Spool::create(&path).expect_err("taken").kind(), io::ErrorKind::AlreadyExists);
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Acknowledge(u64),
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..40_usize).prop_map(Step::Append),
        3 => (0..200_u64).prop_map(Step::Acknowledge),
        1 => Just(Step::Stop),
    ]
}

proptest! {
    #[test]
    fn every_byte_is_taken_refused_or_counted_as_dropped(steps in proptest::collection::vec(step(), 0..60)) {
        let (_folder, mut spool) = spool(50);
        let (mut given, mut taken, mut stopped) = (0_u64, 0_u64, false);
        for step in steps {
            match step {
                Step::Append(bytes) => {
                    let now = spool.append(&vec![b'x'; bytes]).expect("append");
                    prop_assert!(now == bytes || !stopped);
                    given += now as u64;
                    prop_assert!(stopped || spool.bytes() - spool.acknowledged() <= 50);
                }
                Step::Acknowledge(bytes) => spool.acknowledge(bytes),
                Step::Stop => {
                    stopped = true;
                    spool.drop_from_now();
                }
            }
        }
        spool.close().expect("close");
        let console = text(&spool);
        taken += console.matches('x').count() as u64;
        let marked: u64 = console.lines()
            .filter_map(|line| line.strip_prefix('[')?.strip_suffix(" bytes of output were dropped here]"))
            .map(|count| count.parse::<u64>().expect("a number"))
            .sum();
        prop_assert_eq!(taken + marked, given);
        prop_assert_eq!(marked, spool.dropped_bytes());
        prop_assert_eq!(console.len() as u64, spool.bytes());
    }
}
