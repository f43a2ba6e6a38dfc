//! Statuses of runs and of their stages, in Scalr's own words.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Its word, as the API writes it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// How far a run has come. Of Scalr's 28 words these are the ones that happen here.
    RunStatus {
        /// It waits for its turn.
        Pending = "pending",
        /// Its plan waits for an agent.
        PlanQueued = "plan_queued",
        /// Its plan has started.
        Planning = "planning",
        /// Its plan waits for approval.
        Planned = "planned",
        /// Its plan was approved.
        Confirmed = "confirmed",
        /// Its plan was given up.
        Discarded = "discarded",
        /// Its plan was all there was to do.
        PlannedAndFinished = "planned_and_finished",
        /// Its apply waits for an agent.
        ApplyQueued = "apply_queued",
        /// Its apply has started.
        Applying = "applying",
        /// It was applied.
        Applied = "applied",
        /// It went wrong; the error message says how.
        Errored = "errored",
        /// It was canceled.
        Canceled = "canceled",
    }
}

impl RunStatus {
    /// Whether nothing more will happen.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending
            | Self::PlanQueued
            | Self::Planning
            | Self::Planned
            | Self::Confirmed
            | Self::ApplyQueued
            | Self::Applying => false,
            Self::Discarded | Self::PlannedAndFinished | Self::Applied | Self::Errored | Self::Canceled => {
                true
            }
        }
    }
}

words! {
    /// How far a plan or an apply has come.
    StageStatus {
        /// Its turn has not come.
        Pending = "pending",
        /// It waits for an agent, or for its worker.
        Queued = "queued",
        /// It has started.
        Running = "running",
        /// It did what it should.
        Finished = "finished",
        /// It was canceled.
        Canceled = "canceled",
        /// It went wrong.
        Errored = "errored",
        /// It has started, and nothing was heard of it for a while.
        Unreachable = "unreachable",
    }
}

words! {
    /// How far a task has come.
    TaskStatus {
        /// It waits for an agent.
        Queued = "queued",
        /// An agent holds it, to launch it.
        Leased = "leased",
        /// A worker has claimed it and not confirmed yet.
        Claimed = "claimed",
        /// Its worker runs.
        Started = "started",
        /// Nothing was heard of its worker for a while.
        Unreachable = "unreachable",
        /// It has one outcome.
        Finished = "finished",
        /// Nothing was heard of its worker for so long that nothing is expected any more.
        Lost = "lost",
    }
}
