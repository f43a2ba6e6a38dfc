//! The name of one call in flight, by which a late, lost or doubled answer finds its way.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One call of one process. Numbers are given in order and never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Op(pub u64);

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op{}", self.0)
    }
}

/// Gives out [`Op`]s.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ops {
    last: u64,
}

impl Ops {
    /// The next one.
    pub fn draw(&mut self) -> Op {
        self.last += 1;
        Op(self.last)
    }

    /// The last one that was given out; 0 before the first. A call with a larger number was sent later.
    pub fn last(&self) -> Op {
        Op(self.last)
    }
}
