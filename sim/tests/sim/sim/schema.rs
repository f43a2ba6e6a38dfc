//! As much of JSON Schema as the schema of scenario files uses, to check that files are as it says.
//!
//! It must never skip a keyword that it does not know.

use serde_json::Value;

/// The first place at which a value is not as the schema says.
pub(super) fn first_mismatch(schema: &Value, value: &Value) -> Option<String> {
    check(schema, schema, value, "$").err()
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Value::Object(keywords) = schema else {
        return if schema == &Value::Bool(true) { Ok(()) } else { Err(format!("{at}: nothing may be here")) };
    };
    for (keyword, says) in keywords {
        let holds = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "format" => true,
            "$ref" => {
                let pointer = says.as_str().unwrap().strip_prefix('#').unwrap();
                check(root, root.pointer(pointer).expect("the schema names what it has"), value, at)?;
                true
            }
            "type" => {
                let types = says.as_array().cloned().unwrap_or_else(|| vec![says.clone()]);
                types.iter().any(|name| is_a(name.as_str().unwrap(), value))
            }
            "const" => says == value,
            "enum" => says.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|value| value >= says.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|value| value <= says.as_f64().unwrap()),
            "minProperties" | "maxProperties" => unreachable!("{keyword} is not used"),
            "oneOf" | "anyOf" => {
                let fits = |schema: &&Value| check(root, schema, value, at).is_ok();
                let count = says.as_array().unwrap().iter().filter(fits).count();
                if keyword == "oneOf" { count == 1 } else { count > 0 }
            }
            "items" => {
                for (place, element) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, says, element, &format!("{at}[{place}]"))?;
                }
                true
            }
            "required" => {
                let names = says.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                value.as_object().is_none_or(|members| names.clone().all(|name| members.contains_key(name)))
            }
            "properties" => {
                for (name, schema) in says.as_object().unwrap() {
                    if let Some(member) = value.get(name) {
                        check(root, schema, member, &format!("{at}.{name}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = keywords.get("properties").and_then(Value::as_object);
                for (name, member) in value.as_object().into_iter().flatten() {
                    if !known.is_some_and(|known| known.contains_key(name)) {
                        check(root, says, member, &format!("{at}.{name}"))?;
                    }
                }
                true
            }
            other => panic!("{at}: the schema says {other}, which nobody here understands"),
        };
        if !holds {
            return Err(format!("{at}: {keyword} {says} does not fit {value}"));
        }
    }
    Ok(())
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type is called {other}"),
    }
}
