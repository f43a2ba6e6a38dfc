//! The ids that only the public side has, and how ids are made: a counter, so that no two are equal and
//! their order is that of creation, then some entropy, so that they can't be guessed along.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Now, State};

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

/// Unwraps an id that is made here, of characters that every id may have.
pub(super) fn fixed<T>(id: Result<T, scalr_protocol::id::InvalidId>) -> T {
    match id {
        Ok(id) => id,
        Err(invalid) => unreachable!("an id that is made here fits: {invalid}"),
    }
}

impl State {
    /// The text of a new id.
    pub(super) fn new_id(&mut self, now: Now, prefix: &str) -> String {
        let drawn = self.draw(now, "id");
        format!("{prefix}-{:06x}{:02x}{:02x}{:02x}{:02x}", self.made, drawn[0], drawn[1], drawn[2], drawn[3])
    }

    /// A number that no other is derived from. One-way, since ids and the run token are seen by people who
    /// must not learn the task token that was made of the same entropy.
    pub(super) fn draw(&mut self, now: Now, purpose: &str) -> [u8; 32] {
        self.made += 1;
        let mut hash = Sha256::new();
        hash.update(now.entropy);
        hash.update(self.made.to_be_bytes());
        hash.update(purpose.as_bytes());
        hash.finalize().into()
    }
}
