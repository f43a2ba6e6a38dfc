//! A run's variables: `plain`, `hcl` or `shell`, a name, a value, and `!` where the configuration does not
//! declare it, a line each.
//!
//! The files that are written are read back by a JSON parser and by a real HCL parser.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use hcl::Body;
use scalr_agent::worker::{
    beneath::Folder,
    variables::{HCL_FILE, PLAIN_FILE, VariableError, Variables, sort},
};
use scalr_protocol::{
    secret::Secret,
    task::{Variable, VariableCategory},
};

use crate::{Met, Target, mutate::Shape, script, sure};

pub(crate) const TARGET: Target = Target {
    name: "variables",
    about: "each value arrives as its own variable's and as no other's, and none is shown in an error",
    shape: Shape::Lines,
    words: &[
        "plain",
        "hcl",
        "shell",
        "a",
        "b",
        "list",
        "TF_HTTP_ADDRESS",
        "TF_WORKSPACE",
        "TF_VAR_a",
        "default",
        "!",
        "1",
        "[1,2]",
        "{a=1}",
        "\"x\"",
        "${b}",
        "%{if\\strue}",
        "<<EOT\\nx\\nEOT",
        "<<-EOT",
        "\\nEOT\\n",
        "#",
        "//",
        "/*",
        "*/",
        ")",
        "(",
        "]",
        "[",
        "}",
        "{",
        "\"",
        "\\n",
        "1)\\nb\\s=\\s(2",
        "x*200000",
        "x*1100000",
        "\\0",
        "null",
        "a.b",
        "upper(\"x\")",
        "\\\\\"",
        "$${",
        "é",
    ],
    classes: &[
        "plain values",
        "HCL values",
        "a file that no parser reads",
        "more than the judge reads",
        "environment variables",
        "undeclared",
        "replaced by a later one",
        "a bad name",
        "a bad name of a shell's",
        "a reserved name",
        "too long",
        "a NUL",
        "empty HCL",
        "more or less than an expression",
    ],
    inputs: 10_000,
    run,
};

fn run(input: &[u8], met: &mut Met) {
    let (variables, declared) = read(input);
    let sorted = match sort(&variables, &declared) {
        Ok(sorted) => sorted,
        Err(error) => {
            refused(&error, &variables, met);
            return;
        }
    };
    let mut last: BTreeMap<(VariableCategory, &str), &Variable> = BTreeMap::new();
    for variable in &variables {
        if last.insert((variable.category, &variable.key), variable).is_some() {
            met.see("replaced by a later one");
        }
    }
    let of_files = |is_hcl: bool| -> BTreeMap<&str, &str> {
        let in_files = last.values().filter(|variable| {
            variable.category == VariableCategory::Terraform && declared.contains(&variable.key)
        });
        in_files.filter(|one| one.hcl == is_hcl).map(|one| (one.key.as_str(), one.value.expose())).collect()
    };
    in_environment(&sorted, last.values().copied(), &declared, met);
    let folder = sure(crate::place(), "a folder");
    sure(sorted.write(&sure(Folder::open(folder.path()), "the folder"), Path::new("")), "two files");
    in_plain_file(&folder.path().join(PLAIN_FILE), &of_files(false), met);
    in_hcl_file(&folder.path().join(HCL_FILE), &of_files(true), met);
}

fn read(input: &[u8]) -> (Vec<Variable>, BTreeSet<String>) {
    let (mut variables, mut declared) = (Vec::new(), BTreeSet::new());
    for words in script::lines(input).take(20) {
        let key = words.get(1).map(|word| script::text(&script::repeated(word, 400))).unwrap_or_default();
        let value = words.get(2).map(|word| script::repeated(word, 1_200_000)).unwrap_or_default();
        let (category, hcl) = match words[0] {
            b"plain" => (VariableCategory::Terraform, false),
            b"hcl" => (VariableCategory::Terraform, true),
            b"shell" => (VariableCategory::Shell, false),
            _ => continue,
        };
        if words.get(3).is_none() {
            declared.insert(key.clone());
        }
        let value = Secret::new(String::from_utf8_lossy(&value));
        variables.push(Variable { key, value, category, hcl, sensitive: false });
    }
    (variables, declared)
}

fn refused(error: &VariableError, variables: &[Variable], met: &mut Met) {
    let said = error.to_string();
    assert!(!said.contains('\n') && said.len() < 1_000, "{said:?}");
    let (key, class) = match error {
        VariableError::Name { key } => (key, "a bad name"),
        VariableError::ShellName { key } => (key, "a bad name of a shell's"),
        VariableError::Reserved { key, .. } => (key, "a reserved name"),
        VariableError::TooLong { key, .. } => (key, "too long"),
        VariableError::Nul { key } => (key, "a NUL"),
        VariableError::EmptyHcl { key } => (key, "empty HCL"),
        VariableError::NoExpression { key, .. } => (key, "more or less than an expression"),
    };
    met.see(class);
    // The words of the message itself are no secret.
    let without = said.replace(&format!("{key:?}"), "");
    let shown = variables
        .iter()
        .map(|variable| variable.value.expose())
        .find(|value| value.len() >= 12 && without.contains(*value));
    assert_eq!(shown, None, "{said}");
    if class == "more or less than an expression" {
        let value = variables
            .iter()
            .rev()
            .find(|one| one.hcl && *key == one.key.chars().take(64).collect::<String>());
        let value = value.map(|one| one.value.expose().to_owned()).unwrap_or_default();
        // The judge ends a heredoc at a line that only begins with its word; the tool does not.
        let is_judged = !value.contains("<<");
        assert!(!is_judged || alone(&value).is_none(), "a parser takes {value:?} for an expression: {said}");
    }
}

fn in_environment<'a>(
    sorted: &Variables,
    variables: impl Iterator<Item = &'a Variable> + Clone,
    declared: &BTreeSet<String>,
    met: &mut Met,
) {
    let mut expected: BTreeMap<String, &str> = BTreeMap::new();
    let undeclared = variables
        .clone()
        .filter(|one| one.category == VariableCategory::Terraform && !declared.contains(&one.key));
    for variable in undeclared {
        met.see("undeclared");
        expected.insert(format!("TF_VAR_{}", variable.key), variable.value.expose());
    }
    for variable in variables.filter(|variable| variable.category == VariableCategory::Shell) {
        met.see("environment variables");
        expected.insert(variable.key.clone(), variable.value.expose());
    }
    let found = sorted.environment.iter().map(|(key, value)| (key.clone(), value.expose()));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
}

fn in_plain_file(path: &Path, expected: &BTreeMap<&str, &str>, met: &mut Met) {
    assert_eq!(path.exists(), !expected.is_empty());
    if expected.is_empty() {
        return;
    }
    let text = sure(fs::read_to_string(path), "it was written");
    let found: BTreeMap<String, String> = sure(serde_json::from_str(&text), "JSON");
    assert_eq!(
        found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<BTreeMap<_, _>>(),
        *expected
    );
    met.see("plain values");
}

/// Each value that is an expression by itself is that in the file; none adds a variable or takes one away.
fn in_hcl_file(path: &Path, expected: &BTreeMap<&str, &str>, met: &mut Met) {
    assert_eq!(path.exists(), !expected.is_empty());
    if expected.is_empty() {
        return;
    }
    let text = sure(fs::read_to_string(path), "it was written");
    let alone: BTreeMap<&str, Option<hcl::Expression>> =
        expected.iter().map(|(key, value)| (*key, alone(value))).collect();
    let Some(parsed) = crate::hcl(&text) else {
        met.see("more than the judge reads");
        return;
    };
    let Ok(body) = parsed else {
        assert!(alone.values().any(Option::is_none), "no parser reads {text:?}");
        met.see("a file that no parser reads");
        return;
    };
    let names: Vec<&str> = body.attributes().map(hcl::Attribute::key).collect();
    assert_eq!(names, expected.keys().copied().collect::<Vec<_>>(), "in {text:?}");
    assert_eq!(body.blocks().count(), 0);
    for attribute in body.attributes() {
        match &alone[attribute.key()] {
            Some(expression) => {
                assert_eq!(attribute.expr(), expression, "{} in {text:?}", attribute.key());
                met.see("HCL values");
            }
            None => panic!("{} is an expression in {text:?} and not by itself", attribute.key()),
        }
    }
}

/// A value as an expression, if it is one.
fn alone(value: &str) -> Option<hcl::Expression> {
    let body: Body = crate::hcl(&format!("alone = (\n{value}\n)\n"))?.ok()?;
    let mut attributes = body.attributes();
    let first = attributes.next()?;
    let is_all = attributes.next().is_none() && body.blocks().count() == 0;
    is_all.then(|| first.expr().clone())
}
