//! The `OpenAPI` document, made from the table of routes.
//!
//! It says what can be called, by whom, with what and with which answers. The shapes of the messages are in
//! the `protocol` package and its fixtures; they are not told twice.

use std::collections::BTreeMap;

use axum::{Json, response::IntoResponse};
use scalr_protocol::{BASE_PATH, MEDIA_TYPE, VERSION};
use serde_json::{Map, Value, json};

use super::routes::{ROUTES, Route, Takes, Who};

/// Methods that a path item has a field for; others stand in `additionalOperations` (`OpenAPI` 3.2).
const KNOWN: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

pub(super) async fn show() -> impl IntoResponse {
    Json(document())
}

/// The whole document.
pub(super) fn document() -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in ROUTES {
        let item = paths.entry(route.path).or_default();
        if KNOWN.contains(&route.method) {
            item.insert(route.method.to_lowercase(), operation(route));
        } else if let Some(others) =
            item.entry("additionalOperations").or_insert_with(|| json!({})).as_object_mut()
        {
            others.insert(route.method.to_owned(), operation(route));
        }
    }
    json!({
        "openapi": "3.2.0",
        "info": {
            "title": "fake-scalr",
            "version": VERSION,
            "description": format!(
                "An open stand-in for Scalr. What is below {BASE_PATH} is the agent protocol of this project, \
                 version {VERSION}; it is not Scalr's. What is below {} is a subset of Scalr's public API.",
                crate::PUBLIC_BASE_PATH
            ),
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "pool": bearer("A pool token: registers agents."),
                "session": bearer("A session token: one life of an agent."),
                "task": bearer("A task token: one started task."),
                "run": bearer("A run token, also as the password of Basic: its workspace's state."),
                "user": bearer("A user token: people and their tools."),
            },
            "schemas": { "Errors": errors() },
        },
    })
}

fn bearer(description: &str) -> Value {
    json!({"type": "http", "scheme": "bearer", "description": description})
}

fn errors() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["errors"],
        "properties": {"errors": {"type": "array", "minItems": 1, "items": {
            "type": "object",
            "required": ["status", "code", "title"],
            "properties": {
                "status": text,
                "code": {"enum": scalr_protocol::error::ErrorCode::ALL},
                "title": text,
                "detail": text,
                "source": {"type": "object", "properties": {"pointer": text, "parameter": text}},
            },
        }}},
    })
}

fn operation(route: &Route) -> Value {
    let refusal = json!({
        "description": "Refused.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Errors"}}},
    });
    let mut responses: Map<String, Value> = route
        .answers
        .iter()
        .map(|&status| {
            let description = if status < 300 { "Done." } else { "Refused, as the reference says." };
            (status.to_string(), json!({"description": description}))
        })
        .collect();
    responses.insert("default".to_owned(), refusal);
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "parameters": parameters(route.path),
        "responses": responses,
        "security": security(route.token),
    });
    if let Some(body) = body(route.body) {
        operation["requestBody"] = body;
    }
    operation
}

fn parameters(path: &str) -> Vec<Value> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect()
}

fn security(token: Who) -> Value {
    let name = match token {
        Who::Nobody => return json!([]),
        Who::Pool => "pool",
        Who::Session => "session",
        Who::Task => "task",
        Who::Run => "run",
        Who::User => "user",
    };
    json!([{name: []}])
}

fn body(takes: Takes) -> Option<Value> {
    match takes {
        Takes::Nothing => None,
        Takes::Document(kind) => Some(json!({"required": true, "content": {MEDIA_TYPE: {"schema": {
            "type": "object",
            "required": ["data"],
            "properties": {"data": {
                "type": "object",
                "required": ["type"],
                "properties": {"type": {"const": kind}, "attributes": {"type": "object"}},
            }},
        }}}})),
        Takes::Json => Some(json!({"content": {"application/json": {}}})),
        Takes::Octets => Some(json!({"required": true, "content": {"application/octet-stream": {}}})),
    }
}
