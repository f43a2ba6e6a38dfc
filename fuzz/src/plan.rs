//! The JSON of a plan as `show -json` prints it, counted as it streams by.
//!
//! The judge counts the same document whole, as a tree.

use std::{fmt, io::Read};

use scalr_agent::worker::plan_json::summarize;
use scalr_protocol::task::{RunMode, Summary};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use crate::{Met, Target, mutate::Shape};

pub(crate) const TARGET: Target = Target {
    name: "plan",
    about: "a plan is counted as its tree says, whatever pieces it comes in",
    shape: Shape::Json,
    words: &[
        "\"format_version\":\"1.2\"",
        "\"resource_changes\":",
        "\"resource_drift\":",
        "\"output_changes\":",
        "\"applyable\":",
        "\"change\":",
        "\"actions\":",
        "\"create\"",
        "\"delete\"",
        "\"update\"",
        "\"forget\"",
        "\"no-op\"",
        "\"read\"",
        "\"importing\":",
        "\"previous_address\":",
    ],
    classes: &[
        "additions",
        "changes",
        "destructions",
        "imports",
        "forgets",
        "nothing to do",
        "something to do",
        "only drift",
        "the tool says that there is nothing",
        "a plan of another shape",
        "no JSON",
        "no plan",
        "too deep",
        "too odd for the judge",
        "names twice",
    ],
    inputs: 20_000,
    run,
};

const MODES: [RunMode; 4] = [RunMode::Apply, RunMode::Dry, RunMode::Refresh, RunMode::SkipRefresh];

fn run(input: &[u8], met: &mut Met) {
    let [apply, dry, refresh, skip] = MODES.map(|mode| summarize(input, mode).map_err(|e| e.to_string()));
    // Which of two mistakes is told may differ: what reads ahead meets the second first.
    let in_bytes = summarize(Singly(input), RunMode::Apply);
    assert_eq!(in_bytes.ok(), apply.clone().ok(), "a byte at a time");
    assert_eq!((&dry, &skip), (&apply, &apply), "the mode matters for a refresh only");
    let tree = serde_json::from_slice::<Tree>(input);
    let (Ok(summary), Ok(refreshed)) = (&apply, &refresh) else {
        let said = apply.err().or(refresh.err()).unwrap_or_default();
        assert!(!said.contains('\n'), "{said:?}");
        met.see(match tree {
            _ if said.contains("levels") => "too deep",
            Ok(tree) if tree.get("format_version").is_none() => "no plan",
            Ok(_) => "a plan of another shape",
            Err(_) => "no JSON",
        });
        return;
    };
    see(summary, refreshed, met);
    // What is skipped may lie deeper than what is built, and its texts may be none.
    let Ok(tree) = tree else {
        met.see("too odd for the judge");
        return;
    };
    if tree.has_names_twice() {
        met.see("names twice");
        return;
    }
    assert_eq!(summary, &counted(&tree, false));
    assert_eq!(refreshed, &counted(&tree, true));
    if tree.get("applyable").is_some_and(|said| matches!(said, Tree::Bool(false))) {
        met.see("the tool says that there is nothing");
    }
}

fn see(summary: &Summary, refreshed: &Summary, met: &mut Met) {
    let counts = [
        (summary.resource_additions, "additions"),
        (summary.resource_changes, "changes"),
        (summary.resource_destructions, "destructions"),
        (summary.resource_imports, "imports"),
        (summary.resource_forgets, "forgets"),
    ];
    for (count, class) in counts {
        if count > 0 {
            met.see(class);
        }
    }
    met.see(if summary.has_changes { "something to do" } else { "nothing to do" });
    if refreshed.has_changes && !summary.has_changes {
        met.see("only drift");
    }
}

/// Gives one byte at a time.
struct Singly<'a>(&'a [u8]);

impl Read for Singly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let end = buffer.len().min(1);
        self.0.read(&mut buffer[..end])
    }
}

/// Counts by the words of Terraform's own description of the format.
fn counted(plan: &Tree, is_refresh: bool) -> Summary {
    let mut summary = Summary {
        has_changes: false,
        resource_additions: 0,
        resource_changes: 0,
        resource_destructions: 0,
        resource_imports: 0,
        resource_forgets: 0,
    };
    let mut any = false;
    for resource in plan.elements("resource_changes") {
        let change = resource.get("change");
        // A list of more than four is no list of Terraform's: the rest is passed over.
        for action in change.map(|change| change.elements("actions")).unwrap_or_default().into_iter().take(4)
        {
            let Some(action) = action.word() else { continue };
            let counter = match action {
                "create" => Some(&mut summary.resource_additions),
                "update" => Some(&mut summary.resource_changes),
                "delete" => Some(&mut summary.resource_destructions),
                "forget" => Some(&mut summary.resource_forgets),
                "no-op" => continue,
                _ => None,
            };
            any = true;
            if let Some(counter) = counter {
                *counter += 1;
            }
        }
        if change.is_some_and(|change| change.has("importing")) {
            summary.resource_imports += 1;
            any = true;
        }
        any |= resource.has("previous_address");
    }
    for output in plan.elements("output_changes") {
        any |= output.elements("actions").into_iter().take(4).any(|action| action.word() != Some("no-op"));
    }
    any |= is_refresh && !plan.elements("resource_drift").is_empty();
    summary.has_changes = match plan.get("applyable") {
        Some(Tree::Bool(said)) => *said,
        Some(Tree::Null | Tree::Number | Tree::Text(_) | Tree::List(_) | Tree::Members(_)) | None => any,
    };
    summary
}

/// A JSON document with all that its names hold, also those that stand twice.
#[derive(Debug)]
enum Tree {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Tree>),
    Members(Vec<(String, Tree)>),
}

impl Tree {
    fn get(&self, name: &str) -> Option<&Tree> {
        let Self::Members(members) = self else { return None };
        members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, Self::Null))
    }

    /// A text, or the one name of an object that holds nothing: to a parser of words they are the same.
    fn word(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Members(members) => match members.as_slice() {
                [(name, Self::Null)] => Some(name),
                _ => None,
            },
            Self::Null | Self::Bool(_) | Self::Number | Self::List(_) => None,
        }
    }

    /// What a member's list or object holds.
    fn elements(&self, name: &str) -> Vec<&Tree> {
        match self.get(name) {
            Some(Self::List(elements)) => elements.iter().collect(),
            Some(Self::Members(members)) => members.iter().map(|(_, value)| value).collect(),
            Some(Self::Null | Self::Bool(_) | Self::Number | Self::Text(_)) | None => Vec::new(),
        }
    }

    fn has_names_twice(&self) -> bool {
        match self {
            Self::Null | Self::Bool(_) | Self::Number | Self::Text(_) => false,
            Self::List(elements) => elements.iter().any(Self::has_names_twice),
            Self::Members(members) => {
                let mut names: Vec<_> = members.iter().map(|(name, _)| name).collect();
                names.sort();
                names.windows(2).any(|two| two[0] == two[1])
                    || members.iter().any(|(_, value)| value.has_names_twice())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Grow)
    }
}

struct Grow;

impl<'de> Visitor<'de> for Grow {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Number)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Number)
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(Tree::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Members(members))
    }
}
