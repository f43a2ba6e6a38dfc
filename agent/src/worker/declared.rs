//! Which variables a configuration declares, by a light look at its root module.
//!
//! It parses no HCL: a declaration inside a comment or a heredoc counts too, and a missed one costs nothing
//! but precedence (see [`super::variables`]). It runs nothing and evaluates nothing.

use std::{collections::BTreeSet, ffi::OsStr, path::Path};

use super::beneath::{BeneathError, Folder, Kind};

/// The largest file that is looked at. Configurations are written by hand or by generators of a few hundred
/// kilobytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// How many entries a root module may have.
pub const MODULE_ENTRIES_MAX: usize = 10_000;

/// How the files of a module end. Source: the tools' documentation; `.tofu` is `OpenTofu`'s alone.
const NATIVE: [&str; 2] = [".tf", ".tofu"];
const JSON: [&str; 2] = [".tf.json", ".tofu.json"];

/// Whether a file of this name is part of a module.
pub(super) fn is_module_file(name: &OsStr) -> bool {
    ends_with(name, &NATIVE) || ends_with(name, &JSON)
}

/// The names of the variables that the module in `folder` declares. Links and files that are too large are
/// passed over.
pub fn variables(folder: &Folder, module: &Path) -> Result<BTreeSet<String>, BeneathError> {
    let mut declared = BTreeSet::new();
    for (name, kind) in folder.entries(module, MODULE_ENTRIES_MAX)? {
        if kind != Kind::File || !is_module_file(&name) {
            continue;
        }
        let content = match folder.read(&module.join(&name), FILE_BYTES_MAX) {
            Ok(content) => content,
            Err(BeneathError::TooLarge { .. } | BeneathError::Missing { .. }) => continue,
            Err(error) => return Err(error),
        };
        if ends_with(&name, &JSON) {
            declared.extend(in_json(&content));
        } else {
            declared.extend(in_native(&String::from_utf8_lossy(&content)));
        }
    }
    Ok(declared)
}

fn ends_with(name: &OsStr, ends: &[&str]) -> bool {
    ends.iter().any(|end| name.as_encoded_bytes().ends_with(end.as_bytes()))
}

fn in_native(text: &str) -> impl Iterator<Item = String> + '_ {
    text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix("variable")?;
        let label = rest.trim_start();
        let name = match label.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next()?,
            // `variable name {` is as good, but `variable_name` is another word.
            None if label.len() < rest.len() => label.split([' ', '\t', '{']).next()?,
            None => return None,
        };
        is_identifier(name).then(|| name.to_owned())
    })
}

fn in_json(content: &[u8]) -> BTreeSet<String> {
    use serde_json::Value;
    let Ok(Value::Object(mut root)) = serde_json::from_slice(content) else { return BTreeSet::new() };
    let blocks = match root.remove("variable") {
        Some(Value::Array(blocks)) => blocks,
        Some(block) => vec![block],
        None => Vec::new(),
    };
    let names = blocks.into_iter().filter_map(|block| match block {
        Value::Object(block) => Some(block.into_iter().map(|(name, _)| name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    });
    names.flatten().filter(|name| is_identifier(name)).collect()
}

/// Whether this can be the name of a variable: a letter or `_`, then letters, digits, `_` and `-`.
pub fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-'))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn finds_declarations_in_every_form() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
        write("a.tf", "variable \"one\" {}\n  variable  two {\n}\nvariable\t\"three\"{ type = string }\n");
        write("b.tf.json", r#"{"variable": {"four": {"default": 1}, "five": {}}}"#);
        write("c.tf.json", r#"{"variable": [{"six": {}}, 7], "output": {"no": {}}}"#);
        write("d.tofu", "variable \"seven\" {}");
        write("e.tf", "# variable \"no\" {}\nvariable_no \"no\" {}\noutput \"no\" {}\nvariables = 1");
        write("f.txt", "variable \"no\" {}");
        write("broken.tf.json", "{");
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link.tf")).unwrap();
        let found = variables(&Folder::open(folder.path()).unwrap(), Path::new("")).unwrap();
        expect![[r#"{"five", "four", "one", "seven", "six", "three", "two"}"#]]
            .assert_eq(&format!("{found:?}"));
    }
}
