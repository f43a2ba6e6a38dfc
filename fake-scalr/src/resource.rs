//! Resources of the public API, as both ends write them: JSON:API with relationships and pages.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource<A = Value> {
    /// What it is, such as `runs`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id; absent in what a client creates.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Everything about it.
    #[serde(default = "A::default", bound(deserialize = "A: Deserialize<'de> + Default"))]
    pub attributes: A,
    /// What it belongs to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub relationships: BTreeMap<String, Relationship>,
}

/// A link to another thing, or to none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relationship {
    /// The other thing.
    pub data: Option<Identifier>,
}

/// Another thing by its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identifier {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id.
    pub id: String,
}

/// One thing as a whole body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct One<A = Value> {
    /// The thing.
    #[serde(bound(deserialize = "A: Deserialize<'de> + Default"))]
    pub data: Resource<A>,
}

/// A page of things as a whole body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Many<A = Value> {
    /// The things.
    #[serde(bound(deserialize = "A: Deserialize<'de> + Default"))]
    pub data: Vec<Resource<A>>,
    /// Which page.
    pub meta: Meta,
}

/// What a list says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Which page.
    pub pagination: Pagination,
}

/// A page among pages, in Scalr's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pagination {
    /// This page, from 1.
    pub current_page: usize,
    /// How many things a page has.
    pub page_size: usize,
    /// The page before.
    pub prev_page: Option<usize>,
    /// The page after.
    pub next_page: Option<usize>,
    /// How many pages there are.
    pub total_pages: usize,
    /// How many things there are.
    pub total_count: usize,
}

impl<A> Resource<A> {
    /// A thing without links.
    pub fn new(kind: &str, id: &(impl ToString + ?Sized), attributes: A) -> Self {
        Self { kind: kind.to_owned(), id: id.to_string(), attributes, relationships: BTreeMap::new() }
    }

    /// The same with a link, which may lead nowhere.
    #[must_use]
    pub fn with(mut self, name: &str, kind: &str, id: Option<&(impl ToString + ?Sized)>) -> Self {
        let data = id.map(|id| Identifier { kind: kind.to_owned(), id: id.to_string() });
        self.relationships.insert(name.to_owned(), Relationship { data });
        self
    }

    /// Where a link leads.
    pub fn related(&self, name: &str) -> Option<&str> {
        self.relationships.get(name)?.data.as_ref().map(|data| data.id.as_str())
    }
}

impl<A> One<A> {
    /// What a client sends to create something.
    pub fn new(kind: &str, attributes: A) -> Self {
        Self { data: Resource::new(kind, "", attributes) }
    }

    /// The same with a link.
    #[must_use]
    pub fn of(mut self, name: &str, kind: &str, id: &str) -> Self {
        self.data = self.data.with(name, kind, Some(id));
        self
    }
}
