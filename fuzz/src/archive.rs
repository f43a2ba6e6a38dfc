//! Configuration archives: a little text that is made into a tar.gz, with all that tar has and should not
//! have.
//!
//! An entry a line: `KIND MODE PATH [TARGET [CONTENT]]`, the kind by name or as a letter of tar's. For
//! `pax` and `global`, `TARGET` is the name of an attribute and `CONTENT` its value. A line that begins
//! with `!` changes what was made: `! poke OFFSET XX`, `! cut BYTES`, `! zip-poke OFFSET XX`, `! zip-cut
//! BYTES`, `! zeros BYTES`, `! size BYTES` (of the next entry, as its header says it), `! raw`, `! twice`,
//! `! taken`, `! wide`, `! tangle N`.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use scalr_agent::worker::{
    beneath::Folder,
    configuration::{ConfigurationError, Limits, Problem, Unpacked, unpack},
};

use crate::{Met, Target, mutate::Shape, script, sure};

pub(crate) const TARGET: Target = Target {
    name: "archive",
    about: "whatever is in an archive: nothing outside its folder changes, no link leads out, limits hold",
    shape: Shape::Lines,
    words: &[
        "file",
        "folder",
        "link",
        "hard",
        "long-name",
        "long-link",
        "pax",
        "global",
        "fifo",
        "device",
        "sparse",
        "old",
        "644",
        "755",
        "6777",
        "a",
        "a/b",
        "a/b/c",
        "..",
        "../outside/file",
        "/etc",
        "./a",
        "a/../b",
        "path",
        "linkpath",
        "size",
        "GNU.sparse.major",
        "x*100",
        "x*70000",
        "!",
        "poke",
        "cut",
        "zip-poke",
        "zip-cut",
        "zeros",
        "size",
        "raw",
        "twice",
        "taken",
        "wide",
        "tangle",
        "\\0",
        "-",
    ],
    classes: &[
        "nothing",
        "a file",
        "a folder",
        "a link",
        "a hard link",
        "a long name",
        "unreadable",
        "leads out",
        "no name",
        "too long a path",
        "too deep",
        "too large",
        "a forbidden kind",
        "through a link",
        "a name that is taken",
        "a link that leads out",
        "a loop of links",
        "links too tangled",
        "a hard link to nothing",
        "an unusable header",
        "too much",
        "a folder that is not empty",
    ],
    inputs: 1_500,
    run,
};

/// So small that each of them is met.
const SMALL: Limits = Limits {
    total_bytes_max: 64 * 1024,
    file_bytes_max: 10_000,
    entries_max: 20,
    links_max: 10,
    path_bytes_max: 60,
    depth_max: 4,
};

/// Most bytes that one word is made into.
const CONTENT_BYTES_MAX: usize = 80_000;
const BLOCK_BYTES: usize = 512;

/// An archive in the making.
#[derive(Default)]
struct Making {
    tar: Vec<u8>,
    /// What the next header says of its length, if not the truth.
    size: Option<u64>,
    pokes: Vec<(usize, u8)>,
    cut: usize,
    zip_pokes: Vec<(usize, u8)>,
    zip_cut: usize,
    zeros: usize,
    /// `raw`, `twice`, `taken`, `wide`.
    flags: BTreeSet<Vec<u8>>,
}

impl Making {
    fn of(input: &[u8]) -> Self {
        let mut making = Self::default();
        for words in script::lines(input) {
            if words[0] == b"!" { making.change(&words[1..]) } else { making.entry(&words) }
        }
        making
    }

    fn change(&mut self, words: &[&[u8]]) {
        let number = script::small(words.get(1), 300_000);
        let byte = words.get(2).and_then(|word| script::hex(word)).unwrap_or_default();
        match words.first().copied().unwrap_or_default() {
            b"poke" => self.pokes.push((number, byte)),
            b"cut" => self.cut = number,
            b"zip-poke" => self.zip_pokes.push((number, byte)),
            b"zip-cut" => self.zip_cut = number,
            b"zeros" => self.zeros = number,
            b"size" => self.size = words.get(1).and_then(|word| script::number(word)),
            b"tangle" => self.tangle(number % 1_000),
            flag => drop(self.flags.insert(flag.to_owned())),
        }
    }

    fn is(&self, flag: &str) -> bool {
        self.flags.contains(flag.as_bytes())
    }

    /// Links that lead through each other, with a long way between any two.
    fn tangle(&mut self, links: usize) {
        let detour = "x/../".repeat(150);
        for number in 0..links {
            let target = if number % 30 == 0 { "end".to_owned() } else { format!("{detour}l{}", number - 1) };
            self.push(b'K', 0, b"long", b"", target.as_bytes());
            self.push(b'2', 0o644, format!("l{number}").as_bytes(), b"replaced", b"");
        }
    }

    fn entry(&mut self, words: &[&[u8]]) {
        let word = |place: usize| words.get(place).map(|word| script::unescaped(word)).unwrap_or_default();
        let mode = words.get(1).and_then(|word| std::str::from_utf8(word).ok());
        let mode = mode.and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(0o644);
        let (path, target) = (word(2), word(3));
        let content = words.get(4).map(|word| script::repeated(word, CONTENT_BYTES_MAX)).unwrap_or_default();
        match words[0] {
            b"file" => self.push(b'0', mode, &path, &target, &content),
            b"old" => self.push(0, mode, &path, &target, &content),
            b"folder" => self.push(b'5', mode, &path, &target, &content),
            b"link" => self.push(b'2', mode, &path, &target, &content),
            b"hard" => self.push(b'1', mode, &path, &target, &content),
            b"fifo" => self.push(b'6', mode, &path, &target, &content),
            b"device" => self.push(b'3', mode, &path, &target, &content),
            b"sparse" => self.push(b'S', mode, &path, &target, &content),
            b"long-name" => self.push(b'L', mode, b"long", b"", &script::repeated(&path, CONTENT_BYTES_MAX)),
            b"long-link" => self.push(b'K', mode, b"long", b"", &script::repeated(&path, CONTENT_BYTES_MAX)),
            b"pax" => self.push(b'x', mode, &path, b"", &pax(&target, &content)),
            b"global" => self.push(b'g', mode, &path, b"", &pax(&target, &content)),
            [letter] => self.push(*letter, mode, &path, &target, &content),
            _ => {}
        }
    }

    fn push(&mut self, kind: u8, mode: u32, path: &[u8], target: &[u8], content: &[u8]) {
        // No input makes more than a machine has.
        if self.tar.len() > 4 << 20 {
            return;
        }
        let mut header = tar::Header::new_gnu();
        let fill = |field: &mut [u8], bytes: &[u8]| {
            let length = bytes.len().min(field.len());
            field[..length].copy_from_slice(&bytes[..length]);
        };
        fill(&mut header.as_old_mut().name, path);
        fill(&mut header.as_old_mut().linkname, target);
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(mode);
        header.set_size(self.size.take().unwrap_or(content.len() as u64));
        header.set_cksum();
        self.tar.extend_from_slice(header.as_bytes());
        self.tar.extend_from_slice(content);
        self.tar.resize(self.tar.len().next_multiple_of(BLOCK_BYTES), 0);
    }

    fn bytes(&self) -> Vec<u8> {
        let mut tar = self.tar.clone();
        tar.resize(tar.len() + 2 * BLOCK_BYTES + self.zeros, 0);
        poke(&mut tar, &self.pokes);
        tar.truncate(tar.len().saturating_sub(self.cut));
        let mut bytes = if self.is("raw") { tar } else { zipped(&tar) };
        poke(&mut bytes, &self.zip_pokes);
        bytes.truncate(bytes.len().saturating_sub(self.zip_cut));
        if self.is("twice") { bytes.repeat(2) } else { bytes }
    }
}

fn poke(bytes: &mut [u8], pokes: &[(usize, u8)]) {
    for (at, new) in pokes {
        if let Some(byte) = bytes.get_mut(*at) {
            *byte = *new;
        }
    }
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    sure(encoder.write_all(bytes), "memory");
    sure(encoder.finish(), "memory")
}

/// A record with its own length before it; `raw` is the value alone.
fn pax(name: &[u8], value: &[u8]) -> Vec<u8> {
    if name == b"raw" {
        return value.to_vec();
    }
    let rest = [b" ", name, b"=", value, b"\n"].concat();
    let digits = |length: usize| length.to_string().len();
    let mut length = rest.len() + 1;
    while rest.len() + digits(length) != length {
        length = rest.len() + digits(length);
    }
    [length.to_string().as_bytes(), &rest].concat()
}

fn run(input: &[u8], met: &mut Met) {
    let making = Making::of(input);
    let root = sure(crate::place(), "a folder");
    let [config, outside] = ["config", "outside"].map(|name| root.path().join(name));
    sure(fs::create_dir(&config).and(fs::create_dir(&outside)), "two folders");
    let file = outside.join("file");
    sure(fs::write(&file, "untouched"), "a file");
    if making.is("taken") {
        sure(fs::write(config.join("old"), ""), "a file");
    }
    let looked = || {
        let metadata = sure(fs::metadata(&file), "it is there");
        (metadata.ino(), metadata.mtime_nsec(), metadata.mode(), metadata.nlink(), fs::read(&file).ok())
    };
    let before = looked();
    let limits = if making.is("wide") { Limits::default() } else { SMALL };
    let folder = sure(Folder::open(&config), "the folder");
    let result = unpack(&making.bytes()[..], &folder, &limits);
    assert_eq!(looked(), before, "nothing outside changes");
    for (place, names) in [(root.path(), 2), (outside.as_path(), 1)] {
        assert_eq!(
            sure(fs::read_dir(place), "it is there").count(),
            names,
            "nothing comes to {}",
            place.display()
        );
    }
    match result {
        Ok(unpacked) => met_when_unpacked(&config, &unpacked, &limits, met),
        Err(error) => met.see(class_of(&error)),
    }
    let is_long = |words: &Vec<&[u8]>| words[0] == b"long-name";
    if met.0.contains("a file") && script::lines(input).any(|words| is_long(&words)) {
        met.see("a long name");
    }
}

/// What is there must be within the folder, of sane modes, and no more than was counted.
fn met_when_unpacked(config: &Path, unpacked: &Unpacked, limits: &Limits, met: &mut Met) {
    let real = sure(fs::canonicalize(config), "it is there");
    assert!(unpacked.entries <= limits.entries_max && unpacked.bytes <= limits.total_bytes_max);
    let (mut bytes, mut left, mut names) = (0, vec![config.to_owned()], 0);
    while let Some(next) = left.pop() {
        for entry in sure(fs::read_dir(&next), "a folder that was made") {
            let path = sure(entry, "an entry").path();
            let metadata = sure(fs::symlink_metadata(&path), "it is there");
            names += 1;
            if metadata.is_symlink() {
                met.see("a link");
                if let Ok(reached) = fs::canonicalize(&path) {
                    assert!(reached.starts_with(&real), "{} leads to {}", path.display(), reached.display());
                }
                continue;
            }
            assert_eq!(metadata.permissions().mode() & 0o7022, 0, "the mode of {}", path.display());
            if metadata.is_dir() {
                met.see("a folder");
                left.push(path);
            } else {
                assert!(metadata.is_file(), "{} is none of the three kinds", path.display());
                met.see(if metadata.nlink() > 1 { "a hard link" } else { "a file" });
                assert!(metadata.len() <= limits.file_bytes_max);
                bytes += metadata.len() / metadata.nlink();
            }
        }
    }
    assert!(bytes <= unpacked.bytes, "{bytes} of {unpacked:?}");
    if names == 0 {
        met.see("nothing");
    }
}

fn class_of(error: &ConfigurationError) -> &'static str {
    let said = error.to_string();
    assert!(!said.contains('\n') && said.len() < 4_000, "{said:?}");
    match error {
        ConfigurationError::Unreadable { .. } => "unreadable",
        ConfigurationError::TooMuch { .. } => "too much",
        ConfigurationError::Write { .. } => {
            assert!(said.contains("not empty"), "no archive can make a disk fail: {said}");
            "a folder that is not empty"
        }
        ConfigurationError::Entry { problem, .. } => match problem {
            Problem::PathOutside => "leads out",
            Problem::Nameless => "no name",
            Problem::PathTooLong { .. } => "too long a path",
            Problem::TooDeep { .. } => "too deep",
            Problem::TooLarge { .. } => "too large",
            Problem::Forbidden { .. } => "a forbidden kind",
            Problem::ThroughLink { .. } => "through a link",
            Problem::NameTaken => "a name that is taken",
            Problem::LinkOutside { .. } => "a link that leads out",
            Problem::LinkLoop { .. } => "a loop of links",
            Problem::LinksTooTangled { .. } => "links too tangled",
            Problem::HardLink { .. } => "a hard link to nothing",
            Problem::Header { .. } => "an unusable header",
        },
    }
}
