//! What the schema says of types that other crates own: names from their lists, shapes from their defaults.
//!
//! It must never name a member by itself: whatever those crates change, the schema changes too.

use fake_scalr::state::Settings;
use scalr_core::{cluster::Kind, scheduler, supervisor::options::TaskOptions};
use scalr_protocol::{agent::Action, error::ErrorCode, task::HookPhase};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};

fn one_of<T: Serialize>(names: &[T]) -> Schema {
    let names: Vec<Value> = names.iter().map(|name| json!(name)).collect();
    json_schema!({ "type": "string", "enum": names })
}

pub(crate) fn version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "const": super::VERSION })
}

/// A default of many members stands at each of these members already.
pub(super) fn forget_large_defaults(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.retain(|name, member| {
                let is_large = match member {
                    Value::Object(members) => !members.is_empty(),
                    Value::Array(elements) => elements.iter().any(Value::is_object),
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
                };
                name != "default" || !is_large
            });
            members.values_mut().for_each(forget_large_defaults);
        }
        Value::Array(elements) => elements.iter_mut().for_each(forget_large_defaults),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

pub(crate) fn action(_: &mut SchemaGenerator) -> Schema {
    one_of(&[Action::Plan, Action::Apply])
}

pub(crate) fn hooks(_: &mut SchemaGenerator) -> Schema {
    let phases = [
        HookPhase::PreInit,
        HookPhase::PrePlan,
        HookPhase::PostPlan,
        HookPhase::PreApply,
        HookPhase::PostApply,
    ];
    json_schema!({ "type": "array", "items": one_of(&phases) })
}

pub(crate) fn code(_: &mut SchemaGenerator) -> Schema {
    one_of(&ErrorCode::ALL)
}

pub(crate) fn kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": [Kind::Jobs, Kind::Pods, null] })
}

pub(crate) fn policy(_: &mut SchemaGenerator) -> Schema {
    one_of(&scheduler::names().collect::<Vec<_>>())
}

pub(crate) fn policy_options(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": { "type": "string" } })
}

pub(crate) fn settings(_: &mut SchemaGenerator) -> Schema {
    let default = serde_json::to_value(Settings::default()).unwrap_or_default();
    like(&default).try_into().unwrap_or_default()
}

pub(crate) fn options(_: &mut SchemaGenerator) -> Schema {
    let default = serde_json::to_value(TaskOptions::default()).unwrap_or_default();
    let mut schema = like(&default);
    schema["properties"]["actions"] =
        json!({ "type": "array", "items": one_of(&Action::ALL), "default": default["actions"] });
    schema.try_into().unwrap_or_default()
}

/// The schema of what looks like this: every member may be left out, and no other may be there.
fn like(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: Map<String, Value> =
                members.iter().map(|(name, member)| (name.clone(), like(member))).collect();
            json!({ "type": "object", "properties": members, "additionalProperties": false })
        }
        Value::Array(elements) => {
            let items = elements.first().map_or(json!(true), like);
            json!({ "type": "array", "items": items, "default": value })
        }
        Value::Number(_) => json!({ "type": "integer", "minimum": 0, "default": value }),
        Value::String(_) => json!({ "type": "string", "default": value }),
        Value::Bool(_) => json!({ "type": "boolean", "default": value }),
        Value::Null => json!(true),
    }
}
