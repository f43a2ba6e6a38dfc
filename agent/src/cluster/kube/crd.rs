//! The custom resources of the task template, told to the API server: generated from the types below, so that
//! what is written and what is promised are one thing.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    TemplateKind,
    wire::{Resource, Wire},
    yaml,
};

/// Of which group the resources are.
const GROUP: &str = "scalr.io";

/// A template of task Jobs. The agent makes a Job of it for each task and adds its name, labels,
/// annotations and presets.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "it is read for its schema only")]
struct AgentTask {
    /// What is wanted.
    spec: Spec,
    /// What the agent sees of it.
    status: Option<Status>,
}

/// What is wanted.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "it is read for its schema only")]
struct Spec {
    /// Metadata and specification of a Job of batch/v1. Its pod needs the containers `worker` and `runner`,
    /// restartPolicy Never and a downward API volume with the pod's annotations, mounted by the worker.
    #[schemars(schema_with = "any_object")]
    job_template: Value,
    /// What the names of Jobs begin with; read when the agent starts.
    basename: Option<String>,
}

/// What the agent sees of a template, and what it made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    /// The generation that the conditions are about.
    pub(super) observed_generation: Option<i64>,
    /// `TemplateValid`: the template has all that a task needs. `Ready`: tasks are launched with it.
    /// `Stalled`: the cluster refuses the Jobs that are made of it.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub(super) conditions: Vec<Condition>,
    /// How many Jobs of it have not ended.
    pub(super) in_flight: Option<u32>,
    /// How many Jobs were made of it.
    pub(super) launched: Option<u64>,
    /// How many of them have failed.
    pub(super) failed: Option<u64>,
    /// When the last one was made.
    #[schemars(extend("format" = "date-time"))]
    pub(super) last_launch: Option<String>,
}

/// One thing that holds or does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    /// Its name.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// `True`, `False` or `Unknown`.
    #[schemars(extend("enum" = ["True", "False", "Unknown"]))]
    pub(super) status: String,
    /// The generation that it is about.
    pub(super) observed_generation: Option<i64>,
    /// Since when it is so.
    #[schemars(extend("format" = "date-time"))]
    pub(super) last_transition_time: String,
    /// Why, in one word.
    pub(super) reason: String,
    /// Why, for people.
    pub(super) message: String,
}

fn any_object(_: &mut SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// The definition of one kind, as YAML.
pub fn text(kind: TemplateKind) -> String {
    yaml::document(&definition(kind))
}

/// The definition of one kind.
fn definition(kind: TemplateKind) -> Value {
    let (plural, singular, short) = match kind {
        TemplateKind::AgentTask => (kind.plural(), "atask", "at"),
        TemplateKind::AgentTaskTemplate => (kind.plural(), "agenttasktemplate", "att"),
    };
    let settings = SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<AgentTask>().to_value();
    make_structural(&mut schema);
    let condition = |name: &str| format!(".status.conditions[?(@.type==\"{name}\")].status");
    let column = |name: &str, of: &str, path: String| json!({"name": name, "type": of, "jsonPath": path});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": kind.as_str(), "plural": plural, "singular": singular, "shortNames": [short]},
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    column("Valid", "string", condition("TemplateValid")),
                    column("Ready", "string", condition("Ready")),
                    column("In-Flight", "integer", ".status.inFlight".to_owned()),
                    column("Launched", "integer", ".status.launched".to_owned()),
                    column("Failed", "integer", ".status.failed".to_owned()),
                    column("Last-Launch", "date", ".status.lastLaunch".to_owned()),
                    column("Age", "date", ".metadata.creationTimestamp".to_owned()),
                ],
            }],
        },
    })
}

/// Takes out of a schema what Kubernetes' structural ones don't have: references, alternatives, several types
/// (`docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions` of kubernetes.io).
fn make_structural(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("$schema");
            fields.remove("title");
            fields.remove("default");
            // What may be missing is not required; it is never null.
            if let Some(Value::Array(types)) = fields.get("type") {
                let only = types.iter().find(|name| *name != "null").cloned();
                fields.insert("type".to_owned(), only.unwrap_or_default());
            }
            if fields.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
                fields.insert("format".to_owned(), "int64".into());
            }
            // A description is one line of a source's comment.
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            fields.values_mut().for_each(make_structural);
        }
        Value::Array(items) => items.iter_mut().for_each(make_structural),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Applies the definition of one kind, as ours. Rights over the whole cluster are needed for that.
///
/// # Errors
/// What the API server said, in one line.
pub async fn apply(client: ::kube::Client, kind: TemplateKind) -> Result<(), String> {
    let resource = Resource::at("/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned());
    let name = format!("{}.{GROUP}", kind.plural());
    let applied = Wire::new(client).apply(&resource, &name, &definition(kind)).await;
    applied.map_err(|error| error.detail())
}

#[cfg(test)]
mod tests;
