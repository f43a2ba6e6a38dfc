//! What becomes of a run's variables: two files that the tool loads by itself, and environment variables.
//!
//! A plain value arrives as exactly its text, whatever looks like a template in it: it goes through JSON,
//! where the tool evaluates nothing. An HCL value goes through a file of its own as an expression in
//! brackets, which it can't reach out of. Precedence is Scalr's: these values beat `terraform.tfvars`, and
//! the configuration's own `*.auto.tfvars` and the workspace's variable files beat these (source:
//! docs.scalr.io, "Variables"), so the files' names sort first. A variable that the configuration does not
//! declare goes through `TF_VAR_`, the one way that warns of nothing. No value ever stands in an argument
//! or a message.

mod expression;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use scalr_protocol::{
    secret::Secret,
    task::{Variable, VariableCategory},
};

use super::{
    beneath::{BeneathError, Folder},
    declared::is_identifier,
};

/// The file of plain values.
pub const PLAIN_FILE: &str = "00-scalr.auto.tfvars.json";
/// The file of HCL values.
pub const HCL_FILE: &str = "00-scalr.auto.tfvars";

/// The longest name of a variable; no real one comes near.
const KEY_BYTES_MAX: usize = 256;
/// The largest value in a file: far above real ones, far below the worker's memory.
const VALUE_BYTES_MAX: usize = 1 << 20;
/// The largest value in the environment. Linux takes 128 KiB for one `NAME=value` with its NUL.
pub(super) const ENVIRONMENT_VALUE_BYTES_MAX: usize = 128 * 1024 - KEY_BYTES_MAX - 2;

/// Why a variable can't be used. Its value is never shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// A terraform variable whose name is no identifier.
    #[error(
        "terraform variable {key:?}: a name has a letter or '_' first, then letters, digits, '_' and '-', \
         at most {KEY_BYTES_MAX} bytes; rename it"
    )]
    Name {
        /// Its name, cut to 64 characters.
        key: String,
    },
    /// A shell variable whose name is none.
    #[error(
        "shell variable {key:?}: a name has a letter or '_' first, then letters, digits and '_', at most \
         {KEY_BYTES_MAX} bytes; rename it"
    )]
    ShellName {
        /// Its name, cut to 64 characters.
        key: String,
    },
    /// A shell variable that would take the state away from the run.
    #[error("shell variable {key:?} is set by the agent, {why}; remove it")]
    Reserved {
        /// Its name.
        key: String,
        /// What for.
        why: &'static str,
    },
    /// Too long a value.
    #[error("variable {key:?} has a value of {bytes} bytes, the limit is {bytes_max}; put it in a file")]
    TooLong {
        /// Its name.
        key: String,
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A value with a NUL.
    #[error("variable {key:?} has a NUL byte in its value; remove it")]
    Nul {
        /// Its name.
        key: String,
    },
    /// An HCL value without an expression.
    #[error("terraform variable {key:?} is marked as HCL and is empty; give it a value, such as null or []")]
    EmptyHcl {
        /// Its name.
        key: String,
    },
    /// An HCL value that is more or less than an expression, so that it would reach other variables.
    #[error("terraform variable {key:?} is marked as HCL and {why}; give it one whole expression")]
    NoExpression {
        /// Its name.
        key: String,
        /// What it does.
        why: &'static str,
    },
}

/// The variables of a run, sorted into where they go. A later one replaces an earlier one of its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    plain: BTreeMap<String, Secret>,
    hcl: BTreeMap<String, Secret>,
    /// Shell variables, and `TF_VAR_…` for what is not declared.
    pub environment: BTreeMap<String, Secret>,
}

/// Checks the variables and sorts them. `declared` is what the configuration declares.
pub fn sort(variables: &[Variable], declared: &BTreeSet<String>) -> Result<Variables, VariableError> {
    let mut sorted = Variables::default();
    let mut last = BTreeMap::new();
    for variable in variables {
        last.insert((variable.category, variable.key.as_str()), variable);
    }
    for ((category, key), variable) in last {
        match category {
            VariableCategory::Shell => {
                check_shell(key, variable.value.expose())?;
                // What a person wrote as `TF_VAR_x` wins over what is derived below.
                sorted.environment.insert(key.to_owned(), variable.value.clone());
            }
            VariableCategory::Terraform => sorted.take(key, variable, declared.contains(key))?,
        }
    }
    Ok(sorted)
}

impl Variables {
    fn take(&mut self, key: &str, variable: &Variable, declared: bool) -> Result<(), VariableError> {
        if key.len() > KEY_BYTES_MAX || !is_identifier(key) {
            return Err(VariableError::Name { key: cut(key) });
        }
        let value = variable.value.expose();
        let bytes_max = if declared { VALUE_BYTES_MAX } else { ENVIRONMENT_VALUE_BYTES_MAX };
        check_value(key, value, bytes_max)?;
        if variable.hcl && value.trim().is_empty() {
            return Err(VariableError::EmptyHcl { key: cut(key) });
        }
        if variable.hcl && declared {
            expression::check(value).map_err(|why| VariableError::NoExpression { key: cut(key), why })?;
        }
        let (key, value) = (key.to_owned(), variable.value.clone());
        match (declared, variable.hcl) {
            (true, false) => self.plain.insert(key, value),
            (true, true) => self.hcl.insert(key, value),
            (false, _) => Some(self.environment.entry(format!("TF_VAR_{key}")).or_insert(value).clone()),
        };
        Ok(())
    }

    /// Writes the files that are needed into the root module, readable by their owner only.
    pub fn write(&self, folder: &Folder, module: &Path) -> Result<(), BeneathError> {
        let files = [(PLAIN_FILE, &self.plain, self.plain_text()), (HCL_FILE, &self.hcl, self.hcl_text())];
        for (name, values, text) in files {
            if !values.is_empty() {
                folder.write(&module.join(name), text.expose().as_bytes(), 0o600)?;
            }
        }
        Ok(())
    }

    fn plain_text(&self) -> Secret {
        let values = self.plain.iter().map(|(key, value)| (key.clone(), value.expose().into()));
        Secret::new(serde_json::Value::Object(values.collect()).to_string())
    }

    fn hcl_text(&self) -> Secret {
        // In brackets an expression may have line ends, and a comment at its end ends with the line.
        let values = self.hcl.iter().map(|(key, value)| format!("{key} = (\n{}\n)\n", value.expose()));
        Secret::new(values.collect::<String>())
    }
}

/// Names that a shell variable may not have, and why. What only concerns the user's own code is his.
const RESERVED: [(&str, &str); 2] = [
    ("TF_HTTP_", "which keeps the state in the workspace"),
    ("SCALR_AGENT_", "which configures itself with it"),
];

fn check_shell(key: &str, value: &str) -> Result<(), VariableError> {
    if !is_shell_name(key) {
        return Err(VariableError::ShellName { key: cut(key) });
    }
    if let Some((_, why)) = RESERVED.iter().find(|(prefix, _)| key.starts_with(prefix)) {
        return Err(VariableError::Reserved { key: cut(key), why });
    }
    // The `http` backend knows the one workspace `default`; any other makes every command fail.
    if key == "TF_WORKSPACE" && value != "default" {
        let why = "which keeps one state a workspace of Scalr";
        return Err(VariableError::Reserved { key: cut(key), why });
    }
    check_value(key, value, ENVIRONMENT_VALUE_BYTES_MAX)
}

/// Whether this can be the name of an environment variable.
pub(super) fn is_shell_name(key: &str) -> bool {
    let first = key.bytes().next();
    key.len() <= KEY_BYTES_MAX
        && first.is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && key.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
}

fn check_value(key: &str, value: &str, bytes_max: usize) -> Result<(), VariableError> {
    let bytes = value.len();
    if bytes > bytes_max {
        return Err(VariableError::TooLong { key: cut(key), bytes, bytes_max });
    }
    if value.contains('\0') {
        return Err(VariableError::Nul { key: cut(key) });
    }
    Ok(())
}

fn cut(key: &str) -> String {
    key.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn variable(category: VariableCategory, key: &str, value: &str, hcl: bool) -> Variable {
        Variable { key: key.to_owned(), value: Secret::new(value), category, hcl, sensitive: false }
    }

    fn terraform(key: &str, value: &str) -> Variable {
        variable(VariableCategory::Terraform, key, value, false)
    }

    fn shell(key: &str, value: &str) -> Variable {
        variable(VariableCategory::Shell, key, value, false)
    }

    fn declared(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[track_caller]
    fn check(variables: &[Variable], expected: &Expect) {
        let text = match sort(variables, &declared(&["a", "b", "list"])) {
            Ok(sorted) => {
                let environment: Vec<String> = (sorted.environment.iter())
                    .map(|(key, value)| format!("{key}={}\n", value.expose()))
                    .collect();
                let environment = environment.concat();
                format!("{}\n{}{environment}", sorted.plain_text().expose(), sorted.hcl_text().expose())
            }
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn each_goes_where_it_belongs() {
        let list = variable(VariableCategory::Terraform, "list", "[1, 2] # two", true);
        check(
            &[terraform("a", "${b} \"q\"\n"), list, terraform("unknown", "u"), shell("AWS_REGION", "eu")],
            &expect![[r#"
                {"a":"${b} \"q\"\n"}
                list = (
                [1, 2] # two
                )
                AWS_REGION=eu
                TF_VAR_unknown=u
            "#]],
        );
    }

    #[test]
    fn a_later_one_replaces_an_earlier_one() {
        let hcl = variable(VariableCategory::Terraform, "a", "1", true);
        check(
            &[terraform("a", "first"), hcl, terraform("a", "last"), shell("a", "shell")],
            &expect![[r#"
            {"a":"last"}
            a=shell
        "#]],
        );
    }

    #[test]
    fn what_can_not_work_is_said_in_one_line() {
        check(
            &[terraform("1st", "x")],
            &expect![[
                r#"terraform variable "1st": a name has a letter or '_' first, then letters, digits, '_' and '-', at most 256 bytes; rename it"#
            ]],
        );
        check(
            &[terraform("a = 1\nb", "x")],
            &expect![[
                r#"terraform variable "a = 1\nb": a name has a letter or '_' first, then letters, digits, '_' and '-', at most 256 bytes; rename it"#
            ]],
        );
        check(
            &[shell("A-B", "x")],
            &expect![[
                r#"shell variable "A-B": a name has a letter or '_' first, then letters, digits and '_', at most 256 bytes; rename it"#
            ]],
        );
        check(
            &[shell("TF_HTTP_ADDRESS", "x")],
            &expect![[
                r#"shell variable "TF_HTTP_ADDRESS" is set by the agent, which keeps the state in the workspace; remove it"#
            ]],
        );
        check(
            &[shell("TF_WORKSPACE", "prod")],
            &expect![[
                r#"shell variable "TF_WORKSPACE" is set by the agent, which keeps one state a workspace of Scalr; remove it"#
            ]],
        );
        check(
            &[shell("BIG", &"x".repeat(131_072))],
            &expect![[
                r#"variable "BIG" has a value of 131072 bytes, the limit is 130814; put it in a file"#
            ]],
        );
        check(
            &[shell("NUL", "a\0b")],
            &expect![[r#"variable "NUL" has a NUL byte in its value; remove it"#]],
        );
        check(
            &[variable(VariableCategory::Terraform, "list", " \n", true)],
            &expect![[
                r#"terraform variable "list" is marked as HCL and is empty; give it a value, such as null or []"#
            ]],
        );
        check(
            &[variable(VariableCategory::Terraform, "list", "1)\nb = (2", true)],
            &expect![[
                r#"terraform variable "list" is marked as HCL and closes a bracket that it has not opened; give it one whole expression"#
            ]],
        );
    }

    #[test]
    fn the_files_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let sorted = sort(&[terraform("a", "x")], &declared(&["a"])).unwrap();
        std::os::unix::fs::symlink("/nonexistent", folder.path().join(PLAIN_FILE)).unwrap();
        sorted.write(&Folder::open(folder.path()).unwrap(), Path::new("")).unwrap();
        let metadata = std::fs::symlink_metadata(folder.path().join(PLAIN_FILE)).unwrap();
        assert_eq!((metadata.is_file(), metadata.permissions().mode() & 0o7777), (true, 0o600));
        assert!(!folder.path().join(HCL_FILE).exists());
    }

    proptest! {
        #[test]
        fn a_plain_value_is_exactly_its_text(value in "\\PC*|[\"\\\\$%{}\n\r\t]*") {
            let sorted = sort(&[terraform("a", &value)], &declared(&["a"])).unwrap();
            let read: BTreeMap<String, String> = serde_json::from_str(sorted.plain_text().expose()).unwrap();
            prop_assert_eq!(&read["a"], &value);
        }
    }
}
