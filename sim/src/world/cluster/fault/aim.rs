//! At what a fault of the cluster aims.
//!
//! It must never name an object by a number in the cluster's whole history: a smaller scenario would mean
//! another.

use scalr_core::cluster::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::super::setup::TaskNumber;

/// Which pods are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PodAim {
    /// Those of this task.
    Of(TaskNumber),
    /// Of those that are there, one by its place in order of age, modulo how many there are.
    Nth(u32),
    /// All.
    All,
}

/// Which nodes are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeAim {
    /// The one where the newest pod of this task is.
    Of(TaskNumber),
    /// Of those that are there, one by its place in order of age, modulo how many there are.
    Nth(u32),
    /// All.
    All,
}

/// Which watches are meant.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WatchAim {
    /// Of one kind only.
    #[schemars(schema_with = "crate::scenario::foreign::kind")]
    pub kind: Option<Kind>,
    /// Of those, one by its place in order of age, modulo how many there are; all where nothing is said.
    pub nth: Option<u32>,
}
