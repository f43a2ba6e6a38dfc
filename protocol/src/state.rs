//! The state of a workspace, as Terraform's and `OpenTofu`'s `http` backend speaks of it.

use serde::{Deserialize, Serialize};

/// Who holds the lock of a state, in the tool's own JSON.
///
/// Source: the `http` backend of Terraform 1.15 sends this body with LOCK and UNLOCK, and shows the answer
/// to a conflict when it is JSON with an `ID`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LockInfo {
    /// The lock's identity, drawn by the tool.
    #[serde(rename = "ID")]
    pub id: String,
    /// Such as `OperationTypeApply`.
    pub operation: String,
    /// Free text.
    pub info: String,
    /// Such as `user@host`.
    pub who: String,
    /// The tool's version.
    pub version: String,
    /// When it was taken, RFC 3339.
    pub created: String,
    /// Empty for the `http` backend.
    pub path: String,
}
