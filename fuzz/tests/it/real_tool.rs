//! The last judge of variables is the tool itself: what is written, a real Terraform reads back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use scalr_agent::worker::{beneath::Folder, variables::sort};
use scalr_protocol::{
    secret::Secret,
    task::{Variable, VariableCategory},
};
use serde_json::{Value, json};

#[expect(clippy::disallowed_methods, reason = "tests have no options to read their surroundings for them")]
fn terraform() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/terraform");
    let named = std::env::var_os("TERRAFORM").map(PathBuf::from);
    let found = named.into_iter().chain([installed]).find(|path| path.is_file());
    found.expect("no terraform: name one in TERRAFORM, or let `./dev test` install it in .tools/bin")
}

/// Texts that would be something else if anything evaluated them.
const TEXTS: &[&str] = &[
    "",
    " ",
    "plain",
    "\"quoted\"",
    "back\\slash \\n",
    "${path.module}",
    "$${path.module}",
    "%{ if true }x%{ endif }",
    "line\nline\r\nline\ttab",
    "<<EOT\nx\nEOT\n",
    "# comment",
    "/* comment */",
    "[1, 2]",
    "{\"a\": 1}",
    "null",
    "true",
    "1e3",
    "<&>\u{2028}\u{2029}",
    "é ü 漢 \u{1f511}",
    "\u{1}\u{8}\u{c}\u{1f}\u{7f}\u{85}",
    ")\nb = (2",
];

/// Expressions, and what they are.
fn expressions() -> Vec<(&'static str, Value)> {
    vec![
        ("[1, 2] # two", json!([1, 2])),
        ("{ a = \"}\", b = [\")\"] } // )", json!({"a": "}", "b": [")"]})),
        ("\"a \\\" ) $${x} %%{y}\"", json!("a \" ) ${x} %{y}")),
        ("<<EOT\n ) \" /* $${x}\nEOT", json!(" ) \" /* ${x}\n")),
        ("<<-EOT\n    x\n      y\n    EOT", json!("x\n  y\n")),
        ("[<<A\n(\nA\n, 1]", json!(["(\n", 1])),
        ("/* ) */ 1", json!(1)),
        ("1 < 2 ? \"yes\" : \"no\"", json!("yes")),
        ("null", Value::Null),
    ]
}

fn variable(key: String, value: &str, hcl: bool) -> Variable {
    let value = Secret::new(value);
    Variable { key, value, category: VariableCategory::Terraform, hcl, sensitive: false }
}

#[test]
fn what_is_written_is_what_a_real_terraform_reads() {
    let folder = tempfile::tempdir().unwrap();
    let texts = TEXTS.iter().enumerate();
    let mut variables: Vec<Variable> =
        texts.map(|(number, text)| variable(format!("text_{number}"), text, false)).collect();
    let mut expected: BTreeMap<String, Value> =
        variables.iter().map(|one| (one.key.clone(), json!(one.value.expose()))).collect();
    for (number, (text, value)) in expressions().into_iter().enumerate() {
        let key = format!("expression_{number}");
        variables.push(variable(key.clone(), text, true));
        expected.insert(key, value);
    }
    let mut module = String::new();
    for one in &variables {
        let _ = writeln!(module, "variable \"{0}\" {{}}\noutput \"{0}\" {{\n  value = var.{0}\n}}", one.key);
    }
    fs::write(folder.path().join("main.tf"), module).unwrap();
    let declared: BTreeSet<String> = variables.iter().map(|one| one.key.clone()).collect();
    let sorted = sort(&variables, &declared).unwrap();
    sorted.write(&Folder::open(folder.path()).unwrap(), Path::new("")).unwrap();
    run(folder.path(), &["init", "-input=false"]);
    run(folder.path(), &["apply", "-input=false", "-auto-approve"]);
    let printed: Value = serde_json::from_str(&run(folder.path(), &["output", "-json"])).unwrap();
    // An output that is null is none.
    let found = expected.keys().map(|key| (key.clone(), printed[key]["value"].clone()));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(terraform());
    let output = command.current_dir(folder).args(arguments).env("TF_IN_AUTOMATION", "1").output().unwrap();
    let [said, complained] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "terraform {arguments:?}: {said}{complained}");
    said
}
