//! The ids that only the public side has, and how ids are made: a counter, so that no two are equal and
//! their order is that of creation, then some entropy, so that they can't be guessed along.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes any text; one that names nothing is answered with 404.
            pub fn new(value: &str) -> Self {
                Self(value.into())
            }

            /// The id as Scalr writes it.
            pub fn as_str(&self) -> &str {
                &self.0
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
    /// A plan, `plan-…`; what follows is as in its run's id.
    PlanId;
    /// An apply, `apply-…`; what follows is as in its run's id.
    ApplyId;
    /// A configuration version, `cv-…`.
    ConfigurationVersionId;
    /// A variable, `var-…`.
    VariableId;
    /// A version of a state, `sv-…`.
    StateVersionId;
    /// A pool token, `at-…`: the name by which it is revoked, never the token.
    PoolTokenId;
}
