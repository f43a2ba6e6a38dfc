//! Which tool a run names: `NAME VERSION` a line. Both become parts of paths.

use std::{collections::BTreeMap, path::Path, sync::OnceLock};

use scalr_agent::worker::{
    paths::RunPaths,
    tools::{ToolError, Tools},
};
use scalr_protocol::task::Tool;

use crate::{Met, Target, mutate::Shape, script, sure};

pub(crate) const TARGET: Target = Target {
    name: "tools",
    about: "a tool's name and version never lead out of the cache",
    shape: Shape::Lines,
    words: &["terraform", "tofu", "1.15.5", "..", "/", "1.15.5-rc1+x", "../..", "1.", ".1", "~"],
    classes: &["not known", "nowhere", "at the configured place"],
    inputs: 10_000,
    run,
};

/// It takes long to make, and is never used: no URL is given.
static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();

fn run(input: &[u8], met: &mut Met) {
    let paths = RunPaths::local(Path::new("/nowhere/data"), Path::new("/nowhere/cache"));
    let configured = BTreeMap::from([("tofu".to_owned(), "/bin/sh".into())]);
    let client = CLIENT.get_or_init(reqwest::Client::new);
    let tools = Tools { paths: &paths, configured: &configured, client };
    let runtime = sure(tokio::runtime::Builder::new_current_thread().enable_all().build(), "a runtime");
    for words in script::lines(input) {
        let word = |place: usize| words.get(place).map(|word| script::text(word)).unwrap_or_default();
        let tool = Tool { name: word(0), version: word(1), url: None, sha256: None };
        met.see(match runtime.block_on(tools.find(&tool)) {
            Ok(found) => {
                assert_eq!(found.binary, Path::new("/bin/sh"));
                assert!(!found.line(&tool).trim_end().contains('\n'));
                "at the configured place"
            }
            Err(error) => class_of(&error),
        });
    }
}

fn class_of(error: &ToolError) -> &'static str {
    let said = error.to_string();
    assert!(!said.contains('\n'), "{said:?}");
    match error {
        ToolError::Unknown { .. } => "not known",
        ToolError::Nowhere { cache, .. } => {
            assert!(cache.starts_with("/nowhere/cache/") && !cache.contains("/.."), "{cache}");
            "nowhere"
        }
        ToolError::Unreachable { .. } => unreachable!("no URL was given"),
    }
}
