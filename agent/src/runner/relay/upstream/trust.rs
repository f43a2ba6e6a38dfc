//! The certificate authorities that a tool with this environment would trust.
//!
//! Only regular files are read, each within its bound: the folder may be anybody's.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use reqwest::Certificate;

/// Where bundles are. Source: Go, `crypto/x509`, for Linux.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Where single ones are. The same source.
const FOLDERS: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];
/// The largest file: the bundles of distributions have 300 KB.
const BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How many files of a folder are read: distributions have some hundred, each under two names.
const FILES_MAX: usize = 2_000;

/// Those that somebody names.
pub(super) fn given(pem: &str) -> Result<Vec<Certificate>, String> {
    let found = Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default();
    if found.is_empty() { Err("the worker's CA certificates are none".to_owned()) } else { Ok(found) }
}

/// All of them; or a line that says that there are none.
pub(super) fn roots(env: &BTreeMap<String, String>) -> Result<Vec<Certificate>, String> {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let bundles: Vec<PathBuf> = match set("SSL_CERT_FILE") {
        Some(file) => vec![file.into()],
        None => BUNDLES.map(PathBuf::from).into(),
    };
    let mut roots = bundles.iter().find_map(|path| certificates(path)).unwrap_or_default();
    let folders: Vec<PathBuf> = match set("SSL_CERT_DIR") {
        Some(list) => list.split(':').map(PathBuf::from).collect(),
        // The system's own bundle is made of what is there.
        None if set("SSL_CERT_FILE").is_none() && !roots.is_empty() => Vec::new(),
        None => FOLDERS.map(PathBuf::from).into(),
    };
    for folder in folders {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(FILES_MAX);
        roots.extend(entries.filter_map(|entry| certificates(&entry.path())).flatten());
    }
    if roots.is_empty() { Err("there are no CA certificates (SSL_CERT_FILE)".to_owned()) } else { Ok(roots) }
}

/// The certificates in a file; none where it can't be read or holds none.
fn certificates(path: &Path) -> Option<Vec<Certificate>> {
    // Looked at first: a pipe would be waited for.
    std::fs::metadata(path).ok().filter(|found| found.is_file() && found.len() <= BYTES_MAX)?;
    let mut pem = Vec::new();
    File::open(path).ok()?.take(BYTES_MAX).read_to_end(&mut pem).ok()?;
    Certificate::from_pem_bundle(&pem).ok().filter(|found| !found.is_empty())
}
