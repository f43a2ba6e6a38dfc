//! What a plan would do, counted from its JSON as it streams by.
//!
//! It keeps counters, never the plan: a plan's JSON holds the whole state and may be far larger than the
//! worker's memory. What it does not count it skips without building it. No value of it is ever part of an
//! error: the plan knows all secrets of the run.

use std::{
    fmt,
    io::{self, BufReader, Read},
    marker::PhantomData,
};

use scalr_protocol::task::{RunMode, Summary};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::error::Category;

/// The longest text that is taken: a value of a resource may be a large file, a name never is. What is
/// skipped is skipped without memory, but only the parser knows which it is.
const TEXT_BYTES_MAX: u64 = 16 << 20;
/// How deep lists and objects may lie in each other. The parser remembers each level also of what it skips.
/// The tools' own values are a few dozen levels deep, modules in modules included.
const DEPTH_MAX: u32 = 1_000;

/// Why a plan can't be counted.
#[derive(Debug, thiserror::Error)]
#[error("the plan's JSON can't be read: {problem}")]
pub struct PlanJsonError {
    problem: String,
}

impl PlanJsonError {
    fn of(cause: &serde_json::Error) -> Self {
        let what = match cause.classify() {
            // What the parser says then may be a value of the plan.
            Category::Data => "it is not what a plan holds",
            Category::Eof => "it ends too soon",
            Category::Syntax => "it is no JSON",
            Category::Io => return Self { problem: cause.to_string() },
        };
        Self { problem: format!("{what} (line {}, column {})", cause.line(), cause.column()) }
    }
}

/// Counts a plan. `mode` matters where the tool does not say itself whether there is something to apply: only
/// for a refresh is drift a change.
pub fn summarize(json: impl Read, mode: RunMode) -> Result<Summary, PlanJsonError> {
    let bounded = Bounded { inner: json, state: Text::Outside, bytes: 0, depth: 0 };
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::new(bounded));
    let plan = Plan::deserialize(&mut deserializer).map_err(|cause| PlanJsonError::of(&cause))?;
    deserializer.end().map_err(|cause| PlanJsonError::of(&cause))?;
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
        let Change { actions, importing } = &resource.change.0;
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

            fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Plan, E> {
                Err(E::custom("a text"))
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
                        Field::ResourceChanges => {
                            map.next_value_seed(each(|Object(resource): Object<ResourceChange>| {
                                plan.resources.add(&resource);
                            }))?;
                        }
                        Field::ResourceDrift => {
                            map.next_value_seed(each(|_: IgnoredAny| plan.drift = true))?;
                        }
                        Field::OutputChanges => {
                            map.next_value_seed(each(|Object(change): Object<Change>| {
                                plan.outputs |= change.actions.0.iter().any(|action| *action != Action::NoOp);
                            }))?;
                        }
                        Field::Applyable => plan.applyable = map.next_value::<Truth>()?.0,
                        Field::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                if is_plan { Ok(plan) } else { Err(serde::de::Error::missing_field("format_version")) }
            }
        }
        deserializer.deserialize_any(Fields)
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
    change: Object<Change>,
}

#[derive(Default, Deserialize)]
struct Change {
    #[serde(default)]
    actions: Actions,
    #[serde(default)]
    importing: Option<IgnoredAny>,
}

/// An object. Of a text in its place the parser would make an error that holds all of it, many times as long.
#[derive(Default)]
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<T>(PhantomData<fn() -> T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Any<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }

            fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<T, E> {
                Err(E::custom("a text"))
            }
        }
        deserializer.deserialize_any(Any(PhantomData)).map(Self)
    }
}

/// A truth value, or none.
struct Truth(Option<bool>);

impl<'de> Deserialize<'de> for Truth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Said;
        impl Visitor<'_> for Said {
            type Value = Truth;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Truth, E> {
                Ok(Truth(Some(value)))
            }

            fn visit_unit<E>(self) -> Result<Truth, E> {
                Ok(Truth(None))
            }

            fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Truth, E> {
                Err(E::custom("a text"))
            }
        }
        deserializer.deserialize_any(Said)
    }
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

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Err(E::custom("a text"))
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

/// Refuses a JSON text of more than [`TEXT_BYTES_MAX`], and more than [`DEPTH_MAX`] levels, before the parser
/// has them in memory.
struct Bounded<R> {
    inner: R,
    state: Text,
    bytes: u64,
    depth: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    Outside,
    Inside,
    Escaped,
}

impl<R: Read> Read for Bounded<R> {
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
            self.depth = match (self.state, byte) {
                (Text::Outside, b'[' | b'{') => self.depth + 1,
                (Text::Outside, b']' | b'}') => self.depth.saturating_sub(1),
                (Text::Outside | Text::Inside | Text::Escaped, _) => self.depth,
            };
            if self.depth > DEPTH_MAX {
                return Err(io::Error::other(format!("more than {DEPTH_MAX} levels")));
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
