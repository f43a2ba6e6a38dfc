//! The definitions, as they are printed.

use expect_test::{expect, expect_file};

use super::*;
use crate::cluster::kube::yaml;

#[test]
fn the_definition_of_a_task_template_is_what_kubernetes_takes() {
    expect_file!["agent-task.yaml"].assert_eq(&text(TemplateKind::AgentTask));
}

#[test]
fn both_kinds_differ_by_their_names_only() {
    let (one, other) = (definition(TemplateKind::AgentTask), definition(TemplateKind::AgentTaskTemplate));
    assert_eq!(one["spec"]["versions"], other["spec"]["versions"]);
    expect![[r"
        kind: AgentTaskTemplate
        plural: agenttasktemplates
        shortNames:
          - att
        singular: agenttasktemplate
    "]]
    .assert_eq(&yaml::document(&other["spec"]["names"]));
}

#[test]
fn every_node_of_the_schema_has_one_type() {
    fn look(schema: &Value, place: &str) {
        assert!(schema["type"].is_string(), "{place} has no type: {schema}");
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            look(property, &format!("{place}.{name}"));
        }
        if schema["type"] == "array" {
            look(&schema["items"], &format!("{place}[]"));
        }
    }
    let definition = definition(TemplateKind::AgentTask);
    look(&definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "");
    let text = definition.to_string();
    for keyword in ["$ref", "$schema", "anyOf", "\"null\"", "\"title\""] {
        assert!(!text.contains(keyword), "{keyword}");
    }
}
