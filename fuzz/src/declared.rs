//! Which variables a configuration declares: a line `tf` or `json`, then the file.
//!
//! A real HCL parser is the judge: what it takes for a declaration is found. (The light look may find more.)

use std::{collections::BTreeSet, fs, path::Path};

use scalr_agent::worker::{
    beneath::Folder,
    declared::{is_identifier, variables},
};
use serde_json::Value;

use crate::{Met, Target, mutate::Shape, script, sure};

pub(crate) const TARGET: Target = Target {
    name: "declared",
    about: "every variable that a parser finds declared is found",
    shape: Shape::Lines,
    words: &[
        "tf",
        "json",
        "variable",
        "\"x\"",
        "{}",
        "{",
        "}",
        "\"variable\":",
        "output",
        "type",
        "=",
        "string",
        "#",
        "/*",
        "*/",
        "<<EOT",
        "EOT",
        "[",
        "]",
        ",",
    ],
    classes: &[
        "HCL that a parser reads",
        "HCL that no parser reads",
        "JSON with variables",
        "JSON without",
        "no JSON",
        "none declared",
        "some declared",
        "more than a parser finds",
    ],
    inputs: 15_000,
    run,
};

fn run(input: &[u8], met: &mut Met) {
    let (kind, content) = script::first_line(input);
    let is_json = kind == b"json";
    let folder = sure(crate::place(), "a folder");
    let name = if is_json { "main.tf.json" } else { "main.tf" };
    sure(fs::write(folder.path().join(name), content), "a file");
    let module = sure(Folder::open(folder.path()), "the folder");
    let found = sure(variables(&module, Path::new("")), "a file of a few bytes can be looked at");
    assert!(found.iter().all(|name| is_identifier(name)), "{found:?}");
    met.see(if found.is_empty() { "none declared" } else { "some declared" });
    let parsed = if is_json { in_json(content, met) } else { in_hcl(content, met) };
    let Some(parsed) = parsed else { return };
    let missed: Vec<_> = parsed.difference(&found).collect();
    assert!(missed.is_empty(), "{missed:?} of {parsed:?}");
    if found != parsed {
        met.see("more than a parser finds");
    }
}

/// Whether a name is one that is kept: longer ones are no variables of anybody's.
fn can_be_kept(name: &str) -> bool {
    name.len() <= 256 && is_identifier(name)
}

/// What a parser finds; none where it reads nothing, or where a declaration may be written in a way that a
/// light look is known to miss: a comment or a line end between `variable` and its name, an escape in it.
fn in_hcl(content: &[u8], met: &mut Met) -> Option<BTreeSet<String>> {
    let body = std::str::from_utf8(content).ok().and_then(|text| crate::hcl(text)?.ok());
    let Some(body) = body else {
        met.see("HCL that no parser reads");
        return None;
    };
    met.see("HCL that a parser reads");
    if content.windows(2).any(|two| two == b"/*") || content.contains(&b'\\') {
        return None;
    }
    let names = body.blocks().filter(|block| block.identifier() == "variable");
    // With another label after its name it is none.
    let names = names.filter(|block| block.labels().len() == 1);
    let names = names.filter_map(|block| Some(block.labels().first()?.as_str().to_owned()));
    Some(names.filter(|name| can_be_kept(name)).collect())
}

fn in_json(content: &[u8], met: &mut Met) -> Option<BTreeSet<String>> {
    let Ok(root) = serde_json::from_slice::<Value>(content) else {
        met.see("no JSON");
        return None;
    };
    let blocks = match root.get("variable") {
        Some(Value::Array(blocks)) => blocks.clone(),
        Some(other) => vec![other.clone()],
        None => Vec::new(),
    };
    let names = blocks.iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys);
    let names: BTreeSet<String> = names.filter(|name| can_be_kept(name)).cloned().collect();
    met.see(if names.is_empty() { "JSON without" } else { "JSON with variables" });
    Some(names)
}
