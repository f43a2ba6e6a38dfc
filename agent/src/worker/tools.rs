//! The tool of a run: from the binary cache, else by download, else from a configured path.
//!
//! A binary enters the cache only with the digest that Scalr gave, whole, and in one step: no worker ever
//! sees half of one, and nothing that a runner wrote gets there.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use scalr_protocol::{blob::Digest, task::Tool};
use sha2::{Digest as _, Sha256};

use super::paths::RunPaths;

#[cfg(test)]
mod tests;

/// The tools that there are.
const NAMES: [&str; 2] = ["terraform", "tofu"];
/// The largest zip: Terraform's and `OpenTofu`'s have about 30 MB.
const ZIP_BYTES_MAX: u64 = 512 << 20;
/// The largest binary: theirs have about 100 MB.
const BINARY_BYTES_MAX: u64 = 1 << 30;

/// How long a download may take: 30 MB at 50 kB/s. The run's own time-out is longer.
const DOWNLOAD_MS_MAX: u64 = 10 * 60 * 1000;

/// A tool that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTool {
    /// The binary, as the runner sees it.
    pub binary: PathBuf,
    /// Where it came from.
    pub source: ToolSource,
}

/// Where a tool came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolSource {
    /// The binary cache.
    Cache,
    /// A download of this many bytes; now it is in the cache.
    Download {
        /// The zip's length.
        bytes: u64,
    },
    /// The options name a path.
    Configured,
}

impl FoundTool {
    /// The console's line about it.
    pub fn line(&self, tool: &Tool) -> String {
        let name = title(&tool.name);
        match self.source {
            ToolSource::Cache => format!("Using {name} {} (from cache)\n", tool.version),
            ToolSource::Download { bytes } => {
                format!("Using {name} {} (downloaded, {} MB)\n", tool.version, bytes.div_ceil(1_000_000))
            }
            ToolSource::Configured => {
                format!("Using {name} installed at {}\n", self.binary.display())
            }
        }
    }
}

fn title(name: &str) -> &str {
    match name {
        "terraform" => "Terraform",
        "tofu" => "OpenTofu",
        other => other,
    }
}

/// Why there is no tool.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// Scalr names one that is not known.
    #[error(
        "tool {name:?} {version:?}: the name must be terraform or tofu, the version letters, digits, '.', '-', '+'"
    )]
    Unknown {
        /// As named, cut to 64 characters.
        name: String,
        /// As named, cut to 64 characters.
        version: String,
    },
    /// It could be downloaded, but not now; nothing else led to one. Another try may do better.
    #[error("{name} {version} can't be downloaded now: {problem}")]
    Unreachable {
        /// The tool.
        name: String,
        /// Its version.
        version: String,
        /// What happened.
        problem: String,
    },
    /// None of the three ways led to one.
    #[error("{name} {version} is not to be had: not in {cache}, {download}, {configured}")]
    Nowhere {
        /// The tool.
        name: String,
        /// Its version.
        version: String,
        /// Where it would be in the cache.
        cache: String,
        /// What came of the download.
        download: String,
        /// What came of the configured path.
        configured: String,
    },
}

/// Where tools may come from.
#[derive(Clone, Debug)]
pub struct Tools<'a> {
    /// The run's folder; `worker.binaries` is the cache.
    pub paths: &'a RunPaths,
    /// Paths by tool, from the options; as the runner sees them.
    pub configured: &'a BTreeMap<String, PathBuf>,
    /// What downloads.
    pub client: &'a reqwest::Client,
}

impl Tools<'_> {
    /// Finds the tool, or fetches it.
    pub async fn find(&self, tool: &Tool) -> Result<FoundTool, ToolError> {
        check(tool)?;
        let below = Path::new(&tool.name).join(&tool.version).join(&tool.name);
        let (cached, binary) =
            (self.paths.worker.binaries.join(&below), self.paths.runner.binaries.join(&below));
        if is_executable(&cached) {
            return Ok(FoundTool { binary, source: ToolSource::Cache });
        }
        let mut is_away = false;
        let download = match (&tool.url, tool.sha256) {
            (Some(url), Some(sha256)) => {
                match self.download_in_time(url, sha256, &tool.name, &cached).await {
                    Ok(bytes) => return Ok(FoundTool { binary, source: ToolSource::Download { bytes } }),
                    Err(problem) => {
                        is_away = matches!(problem, Problem::Away(_));
                        format!("the download from {} failed: {problem}", shown(url))
                    }
                }
            }
            (Some(_), None) => "Scalr names a URL without a digest".to_owned(),
            (None, _) => "Scalr names no URL for it".to_owned(),
        };
        let configured = match self.configured.get(&tool.name) {
            None => format!("and no path is configured for {}", tool.name),
            // What only the runner sees can't be looked at from here.
            Some(path) if !self.paths.same_view() || is_executable(path) => {
                return Ok(FoundTool { binary: path.clone(), source: ToolSource::Configured });
            }
            Some(path) => format!("and the configured {} is no executable file", path.display()),
        };
        let (name, version) = (tool.name.clone(), tool.version.clone());
        if is_away {
            return Err(ToolError::Unreachable { name, version, problem: download });
        }
        Err(ToolError::Nowhere { name, version, cache: cached.display().to_string(), download, configured })
    }

    async fn download_in_time(
        &self,
        url: &str,
        sha256: Digest,
        name: &str,
        into: &Path,
    ) -> Result<u64, Problem> {
        let limit = std::time::Duration::from_millis(DOWNLOAD_MS_MAX);
        match tokio::time::timeout(limit, self.download(url, sha256, name, into)).await {
            Ok(result) => result,
            Err(_) => Err(Problem::Away(format!("not done in {} s", DOWNLOAD_MS_MAX / 1000))),
        }
    }

    /// Fetches the zip, checks it, and puts the one binary in it into the cache. Answers the zip's length.
    async fn download(&self, url: &str, sha256: Digest, name: &str, into: &Path) -> Result<u64, Problem> {
        let folder = into.parent().unwrap_or(into).to_owned();
        let zip = blocking(move || {
            std::fs::create_dir_all(&folder)?;
            // Without a name: it is gone with the process, however that ends.
            tempfile::tempfile_in(folder)
        })
        .await?;
        let (zip, bytes, found) = self.fetch(url, zip).await?;
        if found != sha256 {
            return Err(Problem::Wrong(format!("its digest is {found}, Scalr says {sha256}")));
        }
        let (name, into) = (name.to_owned(), into.to_owned());
        blocking(move || install(zip, &name, &into)).await?;
        Ok(bytes)
    }

    async fn fetch(&self, url: &str, mut zip: File) -> Result<(File, u64, Digest), Problem> {
        let mut response = match self.client.get(url).send().await {
            Ok(response) => response,
            // Another try is sent the same way round.
            Err(error) if error.is_redirect() => {
                return Err(Problem::Wrong("it is redirected again and again".to_owned()));
            }
            Err(error) => return Err(Problem::Away(plain(&error))),
        };
        let status = response.status();
        if status.is_server_error() || status.as_u16() == 429 || status.as_u16() == 408 {
            return Err(Problem::Away(format!("status {status}")));
        }
        if !status.is_success() {
            return Err(Problem::Wrong(format!("status {status}")));
        }
        let (mut bytes, mut hash) = (0, Sha256::new());
        while let Some(piece) = response.chunk().await.map_err(|error| Problem::Away(plain(&error)))? {
            bytes += piece.len() as u64;
            if bytes > ZIP_BYTES_MAX {
                return Err(Problem::Wrong(format!("more than {ZIP_BYTES_MAX} bytes")));
            }
            hash.update(&piece);
            zip = blocking(move || zip.write_all(&piece).map(|()| zip)).await?;
        }
        Ok((zip, bytes, Digest(hash.finalize().into())))
    }
}

/// Why a download brought nothing.
#[derive(Debug)]
enum Problem {
    /// Nobody answered, or not to the end: another try may do better.
    Away(String),
    /// What came is not what was promised, or can't be kept.
    Wrong(String),
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Away(problem) | Self::Wrong(problem)) = self;
        f.write_str(problem)
    }
}

/// Takes the one binary out of the zip and gives it its name when it is whole. Several workers may do this at
/// the same time: each writes a file of its own, and the last name wins, over an equal file.
fn install(zip: File, name: &str, into: &Path) -> io::Result<()> {
    let folder = into.parent().unwrap_or(into);
    let mut zip = zip;
    zip.rewind()?;
    let mut archive = zip::ZipArchive::new(io::BufReader::new(zip)).map_err(io::Error::other)?;
    let entry =
        archive.by_name(name).map_err(|error| io::Error::other(format!("no {name} in the zip: {error}")))?;
    if !entry.is_file() {
        return Err(io::Error::other(format!("{name} in the zip is no file")));
    }
    let mut binary = tempfile::Builder::new().prefix(".partial-").tempfile_in(folder)?;
    let written = io::copy(&mut entry.take(BINARY_BYTES_MAX + 1), binary.as_file_mut())?;
    if written > BINARY_BYTES_MAX {
        return Err(io::Error::other(format!("{name} in the zip has more than {BINARY_BYTES_MAX} bytes")));
    }
    // Everyone may run it, also a runner of another user; nobody may write it.
    binary.as_file().set_permissions(std::fs::Permissions::from_mode(0o555))?;
    binary.as_file().sync_all()?;
    binary.persist(into).map_err(|error| error.error)?;
    Ok(())
}

fn check(tool: &Tool) -> Result<(), ToolError> {
    let version = &tool.version;
    let letters = version.bytes().all(|letter| letter.is_ascii_alphanumeric() || b".-+".contains(&letter));
    let usable = (1..=64).contains(&version.len()) && letters && !version.starts_with('.');
    if usable && NAMES.contains(&tool.name.as_str()) {
        return Ok(());
    }
    let cut = |text: &str| text.chars().take(64).collect();
    Err(ToolError::Unknown { name: cut(&tool.name), version: cut(version) })
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| Problem::Wrong(error.to_string())),
        Err(error) => Err(Problem::Wrong(error.to_string())),
    }
}

/// The error with its causes, and without the URL, which may carry a signature.
fn plain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "timed out" } else { "no answer" }.to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A URL without user, query and fragment, which may carry a secret.
fn shown(url: &str) -> String {
    url::Url::parse(url).map_or_else(
        |error| format!("{:?} ({error})", url.chars().take(16).collect::<String>()),
        |url| format!("{}{}", url.origin().ascii_serialization(), url.path()),
    )
}
