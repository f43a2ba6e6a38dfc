//! The identities of things, one type each, so that a run can't be taken for a task.
//!
//! Ids are cheap to clone (shared text) and are validated where they enter: 1 to 128 characters of
//! letters, digits, `-`, `_` and `.`, so that an id can stand in a path, a label and a file name.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is no {what}: an id has 1 to 128 letters, digits, '-', '_' or '.'")]
pub struct InvalidId {
    /// What was expected, such as `run id`.
    pub what: &'static str,
    /// What was given, cut to 64 characters.
    pub value: String,
}

fn checked(what: &'static str, value: &str) -> Result<Arc<str>, InvalidId> {
    let fits = (1..=128).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !value.starts_with('.');
    if fits { Ok(value.into()) } else { Err(InvalidId { what, value: value.chars().take(64).collect() }) }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $what:literal;)+) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a text as this kind of id.
            pub fn new(value: &str) -> Result<Self, InvalidId> {
                checked($what, value).map(Self)
            }

            /// The id as Scalr writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(value: String) -> Result<Self, InvalidId> {
                Self::new(&value)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(value: &str) -> Result<Self, InvalidId> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+ };
}

ids! {
    /// An account, `acc-…`.
    AccountId = "account id";
    /// An environment, `env-…`.
    EnvironmentId = "environment id";
    /// A workspace, `ws-…`.
    WorkspaceId = "workspace id";
    /// An agent pool, `apool-…`.
    AgentPoolId = "agent pool id";
    /// One life of an agent, `agent-…`.
    AgentId = "agent id";
    /// A run, `run-…`.
    RunId = "run id";
    /// One stage of a run as work for an agent, `atask-…`.
    TaskId = "task id";
    /// What tells two processes of the same name apart: the pod's UID.
    InstanceId = "instance id";
}

/// Which grant of a task is meant. It only ever grows; whoever holds an older one holds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

impl Fence {
    /// The fence of a first grant.
    pub const FIRST: Self = Self(1);

    /// The fence of the next grant.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
