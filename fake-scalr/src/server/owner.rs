//! The one owner of the state: what it applies, it journals before anybody hears of it.
//!
//! It must never answer for what is not on disk: when the journal fails, nothing more is acknowledged.

use std::path::Path;

use scalr_protocol::{error::ApiError, id::TaskId};
use serde::{Deserialize, Serialize};

use super::ServerError;
use crate::{
    journal::{Journal, JournalError},
    state::{Command, Reply, Settings, Stamp, State, views::RunView},
};

/// The state and its journal, if it has one.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) state: State,
    journal: Option<Journal>,
}

#[derive(Serialize)]
struct RecordRef<'a> {
    stamp: &'a Stamp,
    command: &'a Command,
}

#[derive(Deserialize)]
struct Record {
    stamp: Stamp,
    command: Command,
}

/// What a kept state is wrapped in: the clock goes on from here.
#[derive(Serialize, Deserialize)]
struct Kept<S> {
    now_ms: u64,
    state: S,
}

impl Owner {
    /// An owner of what a folder holds, or of a new state, and when its clock stood still.
    pub(super) fn recovered(settings: Settings, data_dir: Option<&Path>) -> Result<(Self, u64), ServerError> {
        let (mut state, mut now_ms) = (State::new(settings), 0);
        let Some(dir) = data_dir else { return Ok((Self { state, journal: None }, now_ms)) };
        let (journal, recovered) = Journal::open(dir)?;
        if let Some(kept) = recovered.snapshot {
            let kept: Kept<State> = serde_json::from_value(kept).map_err(ServerError::Unreadable)?;
            (now_ms, state) = (kept.now_ms, kept.state);
        }
        for text in recovered.records {
            let record: Record = serde_json::from_str(&text).map_err(ServerError::Unreadable)?;
            now_ms = record.stamp.now_ms;
            // What was refused then is refused now; it was told then.
            drop(state.apply(&record.stamp, record.command));
        }
        Ok((Self { state, journal: Some(journal) }, now_ms))
    }

    /// The first thing in a server's life: new settings hold, and everybody gets his full time again.
    pub(super) fn begin(&mut self, settings: Settings, stamp: &Stamp) -> Result<(), JournalError> {
        let is_new = self.state.version() == 0;
        self.state.configure(settings);
        if !is_new {
            // It refuses nothing.
            drop(self.state.apply(stamp, Command::Restart));
        }
        self.snapshot(stamp.now_ms)
    }

    /// The inner result is the state's; the outer one fails when nothing more may be acknowledged.
    pub(super) fn apply(
        &mut self,
        stamp: &Stamp,
        command: Command,
    ) -> Result<Result<Reply, ApiError>, JournalError> {
        let Some(journal) = &mut self.journal else { return Ok(self.state.apply(stamp, command)) };
        let line = journal.encode(&RecordRef { stamp, command: &command })?;
        let before = self.state.version();
        let reply = self.state.apply(stamp, command);
        if self.state.version() != before {
            journal.append(&line)?;
            if journal.is_long() {
                self.snapshot(stamp.now_ms)?;
            }
        }
        Ok(reply)
    }

    /// Every task with a console, and how much of it was acknowledged.
    pub(super) fn logs(&self) -> Vec<(TaskId, u64)> {
        let of_run = |run: RunView| {
            let apply = run.apply.and_then(|apply| self.state.apply_stage(&apply));
            let stages = [self.state.plan(&run.plan), apply];
            stages.into_iter().flatten().filter_map(|stage| Some((stage.task?, stage.log_bytes)))
        };
        self.state.runs(None).into_iter().flat_map(of_run).collect()
    }

    fn snapshot(&mut self, now_ms: u64) -> Result<(), JournalError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.replace(&Kept { now_ms, state: &self.state })
    }
}
