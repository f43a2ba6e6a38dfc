//! A worker's console: what is in its spool, and whether there is room for more.
//!
//! As the real one does it: a spool holds so many bytes beyond what the server has; when it is full the tool
//! hangs on its pipe, until there is room or a stop begins. From then on what finds no room is dropped. It
//! must never know what a byte says.

use scalr_core::supervisor::input::{TaskAnswer, TaskInput};

use super::{super::World, ProcessId};

impl World {
    /// A line of the brain's own.
    pub(super) fn print(&mut self, id: ProcessId, bytes: u64) {
        if let Some(shell) = self.processes.get_mut(&id).and_then(|process| process.worker_mut()) {
            shell.lines += 1;
        }
        self.spool(id, bytes, 1);
    }

    /// The console grows, and the brain hears of it.
    pub(in super::super) fn spool(&mut self, id: ProcessId, bytes: u64, after_ms: u64) {
        let Some(shell) = self.processes.get_mut(&id).and_then(|process| process.worker_mut()) else {
            return;
        };
        shell.spooled += bytes;
        let (number, bytes, lines) = (shell.number, shell.spooled, shell.lines);
        self.truth.spooled(number, id, bytes);
        self.tell(id, TaskInput::Spooled { bytes, lines }, after_ms);
    }

    /// As much output of a command as finds room.
    pub(in super::super) fn spool_output(&mut self, id: ProcessId, bytes: u64, after_ms: u64) {
        let bytes_max = self.setup.workers.spool_bytes_max;
        let shell = self.processes.get(&id).and_then(|process| process.worker());
        let waiting = shell.map_or(0, |shell| shell.spooled.saturating_sub(shell.acked));
        self.spool(id, bytes.min(bytes_max.saturating_sub(waiting)), after_ms);
    }

    /// Whether output of this length makes its tool hang on its pipe.
    pub(in super::super) fn hangs(&self, id: ProcessId, bytes: u64) -> bool {
        let bytes_max = self.setup.workers.spool_bytes_max;
        let shell = self.processes.get(&id).and_then(|process| process.worker());
        // What is longer than the whole spool goes through it piece by piece.
        shell
            .filter(|shell| !shell.is_drained && bytes > 0)
            .is_some_and(|shell| shell.spooled.saturating_sub(shell.acked) + bytes.min(bytes_max) > bytes_max)
    }

    /// From now on nothing slows the tool.
    pub(super) fn drain_console(&mut self, id: ProcessId) {
        if let Some(shell) = self.processes.get_mut(&id).and_then(|process| process.worker_mut()) {
            shell.is_drained = true;
        }
    }

    /// The server has said how much of the console it has.
    pub(super) fn console_acked(&mut self, id: ProcessId, answer: &TaskAnswer) {
        if let TaskAnswer::Appended(Ok(bytes)) = answer
            && let Some(shell) = self.processes.get_mut(&id).and_then(|process| process.worker_mut())
        {
            shell.acked = *bytes;
        }
    }
}
