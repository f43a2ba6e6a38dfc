//! What a plan would do, counted from its JSON as it streams by.
//!
//! It keeps counters, never the plan: a plan's JSON holds the whole state and may be far larger than the
//! worker's memory. What it does not count it skips without building it.

use std::{
    fmt,
    io::{self, BufReader, Read},
    marker::PhantomData,
};

use scalr_protocol::task::{RunMode, Summary};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// The longest text that is taken: a value of a resource may be a large file, a name never is. What is
/// skipped is skipped without memory, but only the parser knows which it is.
const TEXT_BYTES_MAX: u64 = 16 << 20;

/// Why a plan can't be counted.
#[derive(Debug, thiserror::Error)]
#[error("the plan's JSON can't be read: {cause}")]
pub struct PlanJsonError {
    /// What the parser said.
    cause: serde_json::Error,
}

/// Counts a plan. `mode` matters where the tool does not say itself whether there is something to apply: only
/// for a refresh is drift a change.
pub fn summarize(json: impl Read, mode: RunMode) -> Result<Summary, PlanJsonError> {
    let bounded = ShortTexts { inner: json, state: Text::Outside, bytes: 0 };
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::new(bounded));
    let plan = Plan::deserialize(&mut deserializer).map_err(|cause| PlanJsonError { cause })?;
    deserializer.end().map_err(|cause| PlanJsonError { cause })?;
    let Counts { additions, changes, destructions, imports, forgets, any } = plan.resources;
    let drifted = match mode {
        RunMode::Refresh => plan.drift,
        RunMode::Apply | RunMode::Dry | RunMode::SkipRefresh => false,
    };
    Ok(Summary {
        // Terraform 1.8 and later say it themselves; `OpenTofu` and older ones do not.
        has_changes: plan.applyable.unwrap_or(any || plan.outputs || drifted),
        resource_additions: additions,
        resource_changes: changes,
        resource_destructions: destructions,
        resource_imports: imports,
        resource_forgets: forgets,
    })
}

/// What is kept of a plan.
#[derive(Default)]
struct Plan {
    resources: Counts,
    outputs: bool,
    drift: bool,
    applyable: Option<bool>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    additions: u32,
    changes: u32,
    destructions: u32,
    imports: u32,
    forgets: u32,
    any: bool,
}

impl Counts {
    fn add(&mut self, resource: &ResourceChange) {
        let Change { actions, importing } = &resource.change;
        for action in &actions.0 {
            let counter = match action {
                Action::Create => &mut self.additions,
                Action::Update => &mut self.changes,
                Action::Delete => &mut self.destructions,
                Action::Forget => &mut self.forgets,
                Action::NoOp => continue,
                Action::Other => {
                    self.any = true;
                    continue;
                }
            };
            self.any = true;
            *counter = counter.saturating_add(1);
        }
        if importing.is_some() {
            self.any = true;
            self.imports = self.imports.saturating_add(1);
        }
        // A move is recorded by an apply, though it changes no resource.
        self.any |= resource.previous_address.is_some();
    }
}

impl<'de> Deserialize<'de> for Plan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Plan;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a plan")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plan, A::Error> {
                let mut plan = Plan::default();
                let mut is_plan = false;
                while let Some(field) = map.next_key::<Field>()? {
                    match field {
                        Field::FormatVersion => {
                            is_plan = true;
                            map.next_value::<IgnoredAny>()?;
                        }
                        Field::ResourceChanges => map.next_value_seed(each(|resource: ResourceChange| {
                            plan.resources.add(&resource);
                        }))?,
                        Field::ResourceDrift => {
                            map.next_value_seed(each(|_: IgnoredAny| plan.drift = true))?;
                        }
                        Field::OutputChanges => {
                            map.next_value_seed(each(|change: Change| {
                                plan.outputs |= change.actions.0.iter().any(|action| *action != Action::NoOp);
                            }))?;
                        }
                        Field::Applyable => plan.applyable = map.next_value()?,
                        Field::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                if is_plan { Ok(plan) } else { Err(serde::de::Error::missing_field("format_version")) }
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    FormatVersion,
    ResourceChanges,
    ResourceDrift,
    OutputChanges,
    Applyable,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct ResourceChange {
    #[serde(default)]
    previous_address: Option<IgnoredAny>,
    #[serde(default)]
    change: Change,
}

#[derive(Default, Deserialize)]
struct Change {
    #[serde(default)]
    actions: Actions,
    #[serde(default)]
    importing: Option<IgnoredAny>,
}

/// The actions of one change. There are two at most; more are dropped, so that a list is no way to fill the
/// memory.
#[derive(Default)]
struct Actions(Vec<Action>);

const ACTIONS_MAX: usize = 4;

impl<'de> Deserialize<'de> for Actions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut actions = Vec::new();
        each(|action: Action| {
            if actions.len() < ACTIONS_MAX {
                actions.push(action);
            }
        })
        .deserialize(deserializer)?;
        Ok(Self(actions))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    NoOp,
    Create,
    Update,
    Delete,
    Forget,
    /// `read`, and whatever later versions have: something happens, but it is not counted.
    #[serde(other)]
    Other,
}

/// Hands over the elements of an array, or the values of an object, one at a time; `null` has none.
struct Each<T, F>(F, PhantomData<fn(T)>);

fn each<T, F: FnMut(T)>(take: F) -> Each<T, F> {
    Each(take, PhantomData)
}

impl<'de, T: Deserialize<'de>, F: FnMut(T)> DeserializeSeed<'de> for Each<T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T)> Visitor<'de> for Each<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(element) = list.next_element()? {
            (self.0)(element);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((_, value)) = map.next_entry::<IgnoredAny, T>()? {
            (self.0)(value);
        }
        Ok(())
    }
}

/// Refuses a JSON text of more than [`TEXT_BYTES_MAX`] before the parser has it in memory.
struct ShortTexts<R> {
    inner: R,
    state: Text,
    bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    Outside,
    Inside,
    Escaped,
}

impl<R: Read> Read for ShortTexts<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        for byte in buffer.iter().take(read) {
            (self.state, self.bytes) = match (self.state, byte) {
                (Text::Outside, b'"') => (Text::Inside, 0),
                // Numbers too: the parser keeps their digits until it has seen the last.
                (Text::Outside, b'0'..=b'9') => (Text::Outside, self.bytes + 1),
                (Text::Outside, _) | (Text::Inside, b'"') => (Text::Outside, 0),
                (Text::Inside, b'\\') => (Text::Escaped, self.bytes + 1),
                (Text::Inside | Text::Escaped, _) => (Text::Inside, self.bytes + 1),
            };
            if self.bytes > TEXT_BYTES_MAX {
                return Err(io::Error::other(format!("a text of more than {TEXT_BYTES_MAX} bytes")));
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(mode: RunMode, json: &str, expected: &Expect) {
        let text = match summarize(json.as_bytes(), mode) {
            Ok(Summary {
                has_changes,
                resource_additions,
                resource_changes,
                resource_destructions,
                resource_imports,
                resource_forgets,
            }) => format!(
                "{has_changes}: +{resource_additions} ~{resource_changes} -{resource_destructions} \
                 import {resource_imports} forget {resource_forgets}"
            ),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    fn with(changes: &str) -> String {
        format!(r#"{{"format_version":"1.2","prior_state":{{"values":[1]}},"resource_changes":[{changes}]}}"#)
    }

    fn change(actions: &str) -> String {
        format!(r#"{{"address":"a.b","change":{{"before":null,"actions":{actions},"after":{{"x":[1]}}}}}}"#)
    }

    #[test]
    fn counts_as_the_tool_does() {
        let all =
            [r#"["create"]"#, r#"["update"]"#, r#"["delete","create"]"#, r#"["no-op"]"#, r#"["forget"]"#];
        let all = all.map(change).join(",");
        check(RunMode::Apply, &with(&all), &expect!["true: +2 ~1 -1 import 0 forget 1"]);
        check(RunMode::Apply, &with(&change(r#"["no-op"]"#)), &expect!["false: +0 ~0 -0 import 0 forget 0"]);
        check(RunMode::Apply, &with(&change(r#"["read"]"#)), &expect!["true: +0 ~0 -0 import 0 forget 0"]);
    }

    #[test]
    fn imports_and_moves_are_changes() {
        let import = r#"{"change":{"actions":["no-op"],"importing":{"id":"i-1"}}}"#;
        check(RunMode::Apply, &with(import), &expect!["true: +0 ~0 -0 import 1 forget 0"]);
        let moved = r#"{"previous_address":"a.c","change":{"actions":["no-op"]}}"#;
        check(RunMode::Apply, &with(moved), &expect!["true: +0 ~0 -0 import 0 forget 0"]);
    }

    #[test]
    fn a_changed_output_is_a_change() {
        let outputs = |action: &str| {
            format!(r#"{{"format_version":"1.2","output_changes":{{"o":{{"actions":["{action}"]}}}}}}"#)
        };
        check(RunMode::Apply, &outputs("create"), &expect!["true: +0 ~0 -0 import 0 forget 0"]);
        check(RunMode::Apply, &outputs("no-op"), &expect!["false: +0 ~0 -0 import 0 forget 0"]);
    }

    #[test]
    fn drift_is_a_change_for_a_refresh_only() {
        let drift = r#"{"format_version":"1.2","resource_drift":[{"address":"a.b"}]}"#;
        check(RunMode::Refresh, drift, &expect!["true: +0 ~0 -0 import 0 forget 0"]);
        check(RunMode::Apply, drift, &expect!["false: +0 ~0 -0 import 0 forget 0"]);
    }

    #[test]
    fn the_tool_knows_best_whether_there_is_something_to_apply() {
        let plan = r#"{"format_version":"1.2","resource_changes":null,"applyable":true}"#;
        check(RunMode::Apply, plan, &expect!["true: +0 ~0 -0 import 0 forget 0"]);
    }

    #[test]
    fn what_is_no_plan_is_said() {
        check(
            RunMode::Apply,
            "",
            &expect!["the plan's JSON can't be read: EOF while parsing a value at line 1 column 0"],
        );
        check(
            RunMode::Apply,
            "{}",
            &expect!["the plan's JSON can't be read: missing field `format_version` at line 1 column 2"],
        );
        check(
            RunMode::Apply,
            r#"{"format_version":"1"} x"#,
            &expect!["the plan's JSON can't be read: trailing characters at line 1 column 24"],
        );
    }

    #[test]
    fn a_text_without_end_is_refused() {
        let endless = Read::chain(&b"{\"format_version\":\"1\",\""[..], io::repeat(b'a'));
        let error = summarize(endless, RunMode::Apply).unwrap_err().to_string();
        assert!(error.contains("a text of more than 16777216 bytes"), "{error}");
        let number = Read::chain(&b"{\"format_version\":1"[..], io::repeat(b'1'));
        assert!(summarize(number, RunMode::Apply).is_err());
    }
}
