//! Which variables a configuration declares, by a light look at its root module.
//!
//! It parses no HCL: a declaration inside a comment or a heredoc counts too, and a missed one costs nothing
//! but precedence (see [`super::variables`]). It runs nothing and evaluates nothing.

use std::{collections::BTreeSet, ffi::OsStr, fmt, path::Path};

use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::beneath::{BeneathError, Folder, Kind};

/// The largest file that is looked at. Configurations are written by hand or by generators of a few hundred
/// kilobytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// How many entries a root module may have.
pub const MODULE_ENTRIES_MAX: usize = 10_000;

/// How many names are kept, of how many bytes: more than anybody declares, and little memory. Scalr's
/// variables have no longer names.
const NAMES_MAX: usize = 20_000;
const NAME_BYTES_MAX: usize = 256;

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
            in_json(&content, &mut declared);
        } else {
            in_native(&String::from_utf8_lossy(&content)).for_each(|name| keep(name, &mut declared));
        }
    }
    Ok(declared)
}

/// Keeps a name, if it can be one and there is room.
fn keep(name: &str, declared: &mut BTreeSet<String>) {
    if declared.len() < NAMES_MAX && name.len() <= NAME_BYTES_MAX && is_identifier(name) {
        declared.insert(name.to_owned());
    }
}

fn ends_with(name: &OsStr, ends: &[&str]) -> bool {
    ends.iter().any(|end| name.as_encoded_bytes().ends_with(end.as_bytes()))
}

fn in_native(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix("variable")?;
        let label = rest.trim_start();
        match label.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            // `variable name {` is as good, but `variable_name` is another word.
            None if label.len() < rest.len() => label.split([' ', '\t', '{']).next(),
            None => None,
        }
    })
}

/// Takes the names of `{"variable": {NAME: …}}`, also in lists of such blocks, and builds nothing else of it.
/// What is no JSON has those before the place where it ends to be.
fn in_json(content: &[u8], declared: &mut BTreeSet<String>) {
    let mut root = serde_json::Deserializer::from_slice(content);
    let _no_json = root.deserialize_any(Blocks { declared, of: Of::Root });
}

/// Where in a file a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The file's one object.
    Root,
    /// What `variable` is: an object of names, or a list of such.
    Variables,
    /// One of that list.
    Block,
}

/// Takes the names out of a value, as it streams by.
struct Blocks<'a> {
    declared: &'a mut BTreeSet<String>,
    of: Of,
}

impl<'de> Visitor<'de> for Blocks<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("blocks")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if self.of == Of::Root && name == "variable" {
                map.next_value_seed(Blocks { declared: self.declared, of: Of::Variables })?;
                continue;
            }
            if self.of != Of::Root {
                keep(&name, self.declared);
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        match self.of {
            Of::Variables => {
                while list.next_element_seed(Blocks { declared: self.declared, of: Of::Block })?.is_some() {}
            }
            Of::Root | Of::Block => while list.next_element::<IgnoredAny>()?.is_some() {},
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Blocks<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
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
        write("odd.tf.json", r#"["variable", {"variable": {"no": 1}}]"#);
        write("odder.tf.json", r#"{"variable": "no", "locals": {"variable": {"no": 1}}}"#);
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link.tf")).unwrap();
        let found = variables(&Folder::open(folder.path()).unwrap(), Path::new("")).unwrap();
        expect![[r#"{"five", "four", "one", "seven", "six", "three", "two"}"#]]
            .assert_eq(&format!("{found:?}"));
    }

    #[test]
    fn no_more_names_are_kept_than_anybody_declares() {
        let folder = tempfile::tempdir().unwrap();
        let many = |form: fn(usize) -> String| (0..NAMES_MAX).map(form).collect::<String>();
        let native = many(|n| format!("variable n{n} {{}}\n"));
        let json = many(|n| format!("\"j{n}\":1,"));
        std::fs::write(folder.path().join("a.tf"), native).unwrap();
        std::fs::write(folder.path().join("b.tf.json"), format!("{{\"variable\":{{{json}\"x\":1}}}}"))
            .unwrap();
        std::fs::write(folder.path().join("0.tf"), format!("variable {} {{}}", "x".repeat(257))).unwrap();
        let found = variables(&Folder::open(folder.path()).unwrap(), Path::new("")).unwrap();
        assert_eq!(found.len(), NAMES_MAX);
        assert!(found.iter().all(|name| name.starts_with('n')));
    }
}
