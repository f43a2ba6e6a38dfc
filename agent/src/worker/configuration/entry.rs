//! Entries of a tar with their long names put together, and checked before anything is done with them.
//!
//! The tar reader would take long names into memory whatever their length; so it hands out raw headers,
//! and names are read here, within a bound. Kinds of entries are the bytes of POSIX ustar, and of GNU tar.

use std::{
    ffi::OsString,
    io::Read,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use super::{ConfigurationError, Limits, Problem, error::shown};
use crate::worker::beneath;

/// Headers with long names and attributes hold some paths and times; a bound for the rest.
const EXTENSION_BYTES_MAX: u64 = 64 * 1024;

/// An entry whose path is relative and within the limits; empty for the root.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    File { bytes: u64 },
    Folder,
    Link { target: PathBuf },
    HardLink { target: PathBuf },
}

/// What extension headers said about the entry that follows.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

pub(super) struct Entries<'a, R: 'a + Read> {
    raw: tar::Entries<'a, R>,
    limits: &'a Limits,
    headers: usize,
}

impl<'a, R: Read> Entries<'a, R> {
    pub(super) fn new(
        archive: &'a mut tar::Archive<R>,
        limits: &'a Limits,
    ) -> Result<Self, ConfigurationError> {
        let raw = archive.entries().map_err(|cause| ConfigurationError::unreadable(&cause))?.raw(true);
        Ok(Self { raw, limits, headers: 0 })
    }

    /// The next entry and its content; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<(Entry, tar::Entry<'a, R>)>, ConfigurationError> {
        let mut extensions = Extensions::default();
        for raw in self.raw.by_ref() {
            let mut raw = raw.map_err(|cause| ConfigurationError::unreadable(&cause))?;
            // At most one header for the path and one for the link before each entry; more are a bomb.
            self.headers += 1;
            let headers_max = self.limits.entries_max.saturating_mul(3);
            if self.headers > headers_max {
                return Err(ConfigurationError::TooMuch { max: headers_max as u64, what: "headers" });
            }
            match raw.header().entry_type().as_byte() {
                b'L' => extensions.path = Some(until_nul(extension(&mut raw)?)),
                b'K' => extensions.link = Some(until_nul(extension(&mut raw)?)),
                b'x' => read_pax(&extension(&mut raw)?, &mut extensions, &raw)?,
                b'g' => {
                    let mut global = Extensions::default();
                    read_pax(&extension(&mut raw)?, &mut global, &raw)?;
                    if global.path.is_some() || global.link.is_some() {
                        return Err(header(&raw, "a path for all entries"));
                    }
                }
                kind => return Ok(Some((read(&raw, kind, extensions, self.limits)?, raw))),
            }
        }
        Ok(None)
    }
}

fn read<R: Read>(
    raw: &tar::Entry<'_, R>,
    kind: u8,
    extensions: Extensions,
    limits: &Limits,
) -> Result<Entry, ConfigurationError> {
    let name = extensions.path.unwrap_or_else(|| raw.header().path_bytes().into_owned());
    let ends_like_a_folder = name.ends_with(b"/");
    let path = checked(name, limits)?;
    let target = || {
        let own = || raw.header().link_name_bytes().map(std::borrow::Cow::into_owned);
        let target = extensions.link.clone().or_else(own).unwrap_or_default();
        if target.is_empty() || target.contains(&0) {
            return Err(ConfigurationError::entry(&path, Problem::Nameless));
        }
        within(target.len(), &path, limits)?;
        Ok(PathBuf::from(OsString::from_vec(target)))
    };
    let what = match kind {
        b'5' => What::Folder,
        // Old tars mark a folder by the slash alone.
        b'0' | 0 | b'7' if ends_like_a_folder => What::Folder,
        b'0' | 0 | b'7' => What::File {
            bytes: raw.header().entry_size().map_err(|cause| ConfigurationError::unreadable(&cause))?,
        },
        b'2' => What::Link { target: target()? },
        b'1' => What::HardLink { target: checked_target(&path, &target()?)? },
        other => return Err(ConfigurationError::entry(&path, Problem::Forbidden { what: forbidden(other) })),
    };
    let mode = raw.header().mode().map_err(|_| header(raw, "its mode is no number"))?;
    Ok(Entry { path, mode, what })
}

fn forbidden(kind: u8) -> &'static str {
    match kind {
        b'6' => "a FIFO",
        b'3' | b'4' => "a device",
        b'S' => "a sparse file",
        _ => "of a kind that is not known",
    }
}

/// A name as a relative path without `.`; anything else is refused.
fn checked(name: Vec<u8>, limits: &Limits) -> Result<PathBuf, ConfigurationError> {
    let path = PathBuf::from(OsString::from_vec(name));
    let bytes = path.as_os_str().len();
    if bytes == 0 || path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(ConfigurationError::entry(&path, Problem::Nameless));
    }
    within(bytes, &path, limits)?;
    let names = beneath::names(&path).map_err(|_| ConfigurationError::entry(&path, Problem::PathOutside))?;
    let (depth, max) = (names.len(), limits.depth_max);
    if depth > max {
        return Err(ConfigurationError::entry(&path, Problem::TooDeep { depth, max }));
    }
    // Linux's own limit, said in our words.
    if let Some(name) = names.iter().find(|name| name.len() > NAME_BYTES_MAX) {
        return Err(ConfigurationError::entry(
            &path,
            Problem::PathTooLong { bytes: name.len(), max: NAME_BYTES_MAX },
        ));
    }
    Ok(names.iter().collect())
}

/// The longest name that Linux's file systems take.
const NAME_BYTES_MAX: usize = 255;

fn checked_target(path: &Path, target: &Path) -> Result<PathBuf, ConfigurationError> {
    let names = beneath::names(target)
        .map_err(|_| ConfigurationError::entry(path, Problem::HardLink { target: shown(target) }))?;
    Ok(names.iter().collect())
}

fn within(bytes: usize, path: &Path, limits: &Limits) -> Result<(), ConfigurationError> {
    let max = limits.path_bytes_max;
    if bytes > max {
        Err(ConfigurationError::entry(path, Problem::PathTooLong { bytes, max }))
    } else {
        Ok(())
    }
}

fn extension<R: Read>(raw: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, ConfigurationError> {
    let bytes = raw.header().entry_size().map_err(|cause| ConfigurationError::unreadable(&cause))?;
    if bytes > EXTENSION_BYTES_MAX {
        let path = PathBuf::from(OsString::from_vec(raw.header().path_bytes().into_owned()));
        return Err(ConfigurationError::entry(&path, Problem::TooLarge { bytes, max: EXTENSION_BYTES_MAX }));
    }
    let mut content = Vec::new();
    raw.take(bytes).read_to_end(&mut content).map_err(|cause| ConfigurationError::unreadable(&cause))?;
    Ok(content)
}

fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
    name
}

/// Reads `<length> <key>=<value>\n` records. The value may hold any byte, so the length is what counts.
fn read_pax<R: Read>(
    mut records: &[u8],
    into: &mut Extensions,
    raw: &tar::Entry<'_, R>,
) -> Result<(), ConfigurationError> {
    const BROKEN: &str = "extended attributes that can't be read";
    while !records.is_empty() {
        let (key, value, rest) = pax_record(records).ok_or_else(|| header(raw, BROKEN))?;
        records = rest;
        match key {
            b"path" => into.path = Some(value.to_owned()),
            b"linkpath" => into.link = Some(value.to_owned()),
            // A second opinion on the length is how two readers see two archives.
            b"size" => return Err(header(raw, "a length in extended attributes")),
            key if key.starts_with(b"GNU.sparse.") => {
                return Err(header(raw, "a sparse file in extended attributes"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn pax_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(records.get(..space)?).ok()?.parse().ok()?;
    let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((record.get(..equals)?, record.get(equals + 1..)?, records.get(length..)?))
}

fn header<R: Read>(raw: &tar::Entry<'_, R>, what: &'static str) -> ConfigurationError {
    let path = PathBuf::from(OsString::from_vec(raw.header().path_bytes().into_owned()));
    ConfigurationError::entry(&path, Problem::Header { what })
}
