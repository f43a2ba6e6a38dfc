//! Makes tests of the scenarios that are kept: whatever lies in `tests/regressions` as `NAME.rs`, beside its
//! `NAME.json`, is one. So a scenario is kept by moving two files.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script by its environment")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("tests/regressions");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut kept = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            kept.push(path);
        }
    }
    kept.sort();
    let mut text = String::new();
    for path in kept {
        writeln!(text, "include!({:?});", path.display().to_string())?;
    }
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("regressions.rs"), text)?;
    Ok(())
}
