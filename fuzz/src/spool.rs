//! The worker's console on disk: appended, acknowledged in any order, read in any range, slowed and
//! dropped.
//!
//! A line each: `append BYTES`, `acknowledge BYTES`, `read FROM BYTES`, `stop`, `skip BYTES`, `close`. The
//! judge holds everything in memory.

use std::path::Path;

use scalr_agent::worker::spool::{Bounds, ReadError, Spool};
use scalr_protocol::blob::Digest;
use sha2::{Digest as _, Sha256};

use crate::{Met, Target, mutate::Shape, script, sure};

pub(crate) const TARGET: Target = Target {
    name: "spool",
    about: "what was appended is read, byte for byte, or said to be dropped or released",
    shape: Shape::Lines,
    words: &[
        "append",
        "acknowledge",
        "read",
        "stop",
        "skip",
        "close",
        "64",
        "100",
        "300",
        "399",
        "400",
        "1000",
    ],
    classes: &[
        "taken whole",
        "taken in part",
        "full",
        "dropped",
        "a gap is closed",
        "a gap stays open",
        "acknowledged",
        "acknowledged backwards",
        "acknowledged beyond",
        "read",
        "read at the end",
        "read beyond",
        "released",
        "released to the reader",
    ],
    inputs: 8_000,
    run,
};

/// So small that each is met, and such that steps and bounds don't fall together.
const BOUNDS: Bounds = Bounds { bytes_max: 1_000, kept_bytes: 300, punch_bytes: 64 };
const STEPS_MAX: usize = 200;

/// A spool, and what should be in it.
struct Judged {
    spool: Spool,
    all: Vec<u8>,
    acknowledged: usize,
    is_stopping: bool,
    gap: usize,
    dropped: usize,
    given: usize,
    /// Bytes of lines that stand for gaps.
    marks: usize,
}

fn run(input: &[u8], met: &mut Met) {
    let folder = sure(crate::place(), "a folder");
    let mut judged = Judged::new(&folder.path().join("console"));
    for words in script::lines(input).take(STEPS_MAX) {
        let number = |place: usize, end| script::small(words.get(place), end);
        match words[0] {
            b"append" => judged.append(number(1, 3_000), met),
            b"acknowledge" => judged.acknowledge(number(1, 20_000), met),
            b"read" => judged.read(number(1, 20_000), number(2, 5_000), met),
            b"stop" => {
                judged.spool.drop_from_now();
                judged.is_stopping = true;
            }
            b"skip" => {
                judged.spool.skip(number(1, 100));
                judged.gap += number(1, 100);
                judged.dropped += number(1, 100);
            }
            b"close" => judged.close(met),
            _ => continue,
        }
        judged.agree();
    }
}

impl Judged {
    fn new(path: &Path) -> Self {
        let spool = sure(Spool::with_bounds(path, BOUNDS), "a file");
        Self {
            spool,
            all: Vec::new(),
            acknowledged: 0,
            is_stopping: false,
            gap: 0,
            dropped: 0,
            given: 0,
            marks: 0,
        }
    }

    /// Other bytes each time, so that a range that slipped is seen.
    fn more(&mut self, count: usize) -> Vec<u8> {
        let from = self.given;
        self.given += count;
        (from..from + count).map(|at| (at % 251).to_le_bytes()[0]).collect()
    }

    fn append(&mut self, count: usize, met: &mut Met) {
        let bytes = self.more(count);
        let (before, dropped) = (self.all.len(), self.spool.dropped_bytes());
        let room = sure(usize::try_from(self.spool.room()), "a small spool");
        let taken = sure(self.spool.append(&bytes), "a disk with room");
        let now_dropped = sure(usize::try_from(self.spool.dropped_bytes() - dropped), "few");
        let tail = sure(self.spool.read(before as u64, usize::MAX), "what was just written");
        let rest = tail.strip_prefix(mark(self.gap).as_bytes()).filter(|_| self.gap > 0);
        if rest.is_some() {
            met.see("a gap is closed");
            self.marks += mark(self.gap).len();
            self.gap = 0;
        } else if self.gap > 0 {
            met.see("a gap stays open");
            assert!(self.is_stopping, "only who may drop lets a gap stay open");
            assert_eq!(tail, b"", "nothing comes while a gap is open");
        }
        let kept = rest.unwrap_or(&tail);
        assert_eq!(kept, &bytes[..kept.len()]);
        if self.is_stopping {
            assert_eq!((taken, kept.len() + now_dropped), (count, count), "all is taken, kept or dropped");
            self.gap += now_dropped;
            self.dropped += now_dropped;
        } else {
            assert_eq!((taken, now_dropped), (kept.len(), 0), "what is not taken is the caller's");
            let marked = tail.len() - kept.len();
            assert_eq!(taken, count.min(room.saturating_sub(marked)), "as much as there is room for");
        }
        met.see(match (now_dropped, kept.len()) {
            (0, kept) if kept == count => "taken whole",
            (0, 0) => "full",
            (0, _) => "taken in part",
            (_, _) => "dropped",
        });
        self.all.extend_from_slice(&tail);
    }

    fn acknowledge(&mut self, count: usize, met: &mut Met) {
        self.spool.acknowledge(count as u64);
        met.see(match count {
            beyond if beyond > self.all.len() => "acknowledged beyond",
            before if before < self.acknowledged => "acknowledged backwards",
            _ => "acknowledged",
        });
        self.acknowledged = self.acknowledged.max(count.min(self.all.len()));
    }

    fn read(&mut self, from: usize, count: usize, met: &mut Met) {
        let first_kept = sure(usize::try_from(self.spool.first_kept()), "a small spool");
        let there = self.all.get(from..).unwrap_or_default();
        let there = &there[..count.min(there.len())];
        match self.spool.read(from as u64, count) {
            Ok(read) => {
                assert!(from >= first_kept);
                assert_eq!(read, there, "from {from}");
                met.see(match (there.len(), from > self.all.len()) {
                    (0, true) => "read beyond",
                    (0, false) => "read at the end",
                    (_, _) => "read",
                });
            }
            Err(ReadError::Released { first_kept: said }) => {
                assert!(from < first_kept && said == first_kept as u64);
                met.see("released");
            }
            Err(ReadError::Io(error)) => panic!("{error}"),
        }
        match self.spool.reader().read(from as u64, count) {
            Ok(read) => {
                assert_eq!((read.as_slice(), read.len()), (there, count), "exactly so many, from {from}");
                assert!(from >= first_kept || count == 0, "what was released is not read as zeros");
            }
            Err(_) if from < first_kept => met.see("released to the reader"),
            Err(_) => assert!(there.len() < count, "it is all there"),
        }
    }

    fn close(&mut self, met: &mut Met) {
        sure(self.spool.close(), "a disk with room");
        if self.gap > 0 {
            met.see("a gap is closed");
            self.all.extend_from_slice(mark(self.gap).as_bytes());
            self.marks += mark(self.gap).len();
            self.gap = 0;
        }
    }

    fn agree(&self) {
        let Self { spool, all, .. } = self;
        assert_eq!((spool.bytes(), spool.acknowledged()), (all.len() as u64, self.acknowledged as u64));
        assert_eq!(spool.dropped_bytes(), self.dropped as u64);
        let waiting = (all.len() - self.acknowledged) as u64;
        assert_eq!(spool.room(), BOUNDS.bytes_max.saturating_sub(waiting));
        // Only the lines of gaps may go over the bound.
        assert!(waiting <= BOUNDS.bytes_max + self.marks as u64);
        assert!(spool.first_kept() <= spool.acknowledged().saturating_sub(BOUNDS.kept_bytes));
        let digest = Digest(Sha256::digest(all).into()).to_string();
        assert_eq!(spool.sha256(), digest);
        let first_kept = sure(usize::try_from(spool.first_kept()), "a small spool");
        assert_eq!(sure(spool.read(spool.first_kept(), usize::MAX), "kept"), &all[first_kept..]);
    }
}

fn mark(bytes: usize) -> String {
    format!("\n[{bytes} bytes of output were dropped here]\n")
}
