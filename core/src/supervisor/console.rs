//! The console on its way to the server: lengths only, one append in flight, always from where the server is.
//!
//! What the server says it has is the truth: more than was thought (an answer was lost) or less (it lost
//! bytes), the next append begins there. Never a gap, never two appends at once.

use crate::{
    clock::Millis,
    controller::effect::NoteLevel,
    mutant::{Mutant, planted},
    task_api::TaskError,
};

use super::{
    Phase, Supervisor,
    effect::{TaskCall, TaskEffect},
    options::{LOG_CHUNK_BYTES_MIN, LOG_PATIENCE_MS, PRINT_WAIT_MS},
    slot::{self, Slot, SlotKind},
    timers::Nearest,
};

/// Lines of ours, and how many of them have been seen in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Printed {
    lines: u32,
    seen: u32,
    /// When the last one is no longer waited for.
    until: Millis,
}

/// How far the console has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Console {
    pub(super) slot: Slot,
    /// Bytes in the spool, masked.
    spooled: u64,
    /// Bytes that the server has, as it last said.
    acked: u64,
    /// What the outcome says is the console's length; what comes later is not part of it.
    whole: Option<u64>,
    chunk_bytes_max: u64,
    /// The server takes no more bytes, for good.
    is_closed: bool,
    /// The server's last answer refused the bytes.
    pub(super) is_refused: bool,
    /// Since when no append has brought the server on.
    stuck_since: Option<Millis>,
    printed: Printed,
}

impl Console {
    pub(super) fn new(chunk_bytes_max: u64) -> Self {
        Self {
            slot: Slot::new(SlotKind::Append),
            spooled: 0,
            acked: 0,
            whole: None,
            chunk_bytes_max: chunk_bytes_max.max(1),
            is_closed: false,
            is_refused: false,
            stuck_since: None,
            printed: Printed { lines: 0, seen: 0, until: Millis(0) },
        }
    }

    pub(super) fn grew(&mut self, bytes: u64, lines: u32) {
        self.spooled = self.spooled.max(bytes);
        let is_taken_for_ours = planted(Mutant::OldOutputTakenForOwnLine);
        self.printed.seen = if is_taken_for_ours { self.printed.lines } else { self.printed.seen.max(lines) };
    }

    /// How many bytes the server shall have.
    pub(super) fn end(&self) -> u64 {
        self.whole.unwrap_or(self.spooled)
    }

    /// How many bytes it still lacks.
    pub(super) fn behind(&self) -> u64 {
        self.end().saturating_sub(self.acked)
    }

    /// From here on the console does not grow: its length is part of the outcome.
    pub(super) fn close_at_its_end(&mut self) -> u64 {
        let end = if planted(Mutant::LogCutAtFinish) { self.acked } else { self.spooled };
        *self.whole.get_or_insert(end)
    }

    /// Whether nothing is left to append, or nothing more can be.
    pub(super) fn is_settled(&self) -> bool {
        self.is_closed || self.behind() == 0
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Until when our own last line is waited for.
    pub(super) fn printed_until(&self) -> Millis {
        if self.printed.seen < self.printed.lines { self.printed.until } else { Millis(0) }
    }

    /// When appends have failed for so long that the outcome is sent ahead of the log.
    pub(super) fn patience_ends(&self) -> Millis {
        self.stuck_since.map_or(Millis::NEVER, |since| since + LOG_PATIENCE_MS)
    }

    /// The server has recorded the outcome, and says how much of the log it has.
    pub(super) fn resync(&mut self, now: Millis, bytes: u64) {
        self.acked = self.believed(bytes);
        self.is_refused = false;
        self.stuck_since = None;
        self.slot.succeeded(now);
    }

    /// How much of the log the server has, if this is what it says.
    fn believed(&self, bytes: u64) -> u64 {
        if planted(Mutant::LogOffsetNotResynced) { bytes.max(self.acked) } else { bytes }
    }

    /// The number of the byte after the last of the next append.
    fn append_end(&self) -> u64 {
        self.end().min(self.acked.saturating_add(self.chunk_bytes_max))
    }
}

impl Supervisor {
    pub(super) fn print(&mut self, now: Millis, line: String, out: &mut Vec<TaskEffect>) {
        let printed = &mut self.console.printed;
        printed.lines = printed.lines.saturating_add(1);
        printed.until = now + PRINT_WAIT_MS;
        out.push(TaskEffect::Print(line));
    }

    pub(super) fn advance_console(&mut self, now: Millis, out: &mut Vec<TaskEffect>) {
        let is_patient = !planted(Mutant::TwoAppendsInFlight)
            || now < self.console.slot.sent + self.options.log_interval_ms;
        if now < self.append_at() || (!self.console.slot.is_idle() && is_patient) {
            return;
        }
        let (from, to) = (self.console.acked, self.console.append_end());
        let op = self.console.slot.send(&mut self.ops, now);
        out.push(TaskEffect::Call { op, call: TaskCall::Append { from, to } });
    }

    /// When the next append may go, if none is in flight.
    fn append_at(&self) -> Millis {
        let console = &self.console;
        let is_open = matches!(self.phase, Phase::Working | Phase::Delivering) && !console.is_settled();
        let trickles = self.phase == Phase::Working && console.behind() < console.chunk_bytes_max;
        if !is_open {
            Millis::NEVER
        } else if console.slot.failed > 0 || trickles {
            console.slot.due
        } else {
            console.slot.asked_until
        }
    }

    pub(super) fn offer_console(&self, nearest: &mut Nearest) {
        nearest.offer(if self.console.slot.is_idle() { self.append_at() } else { self.console.slot.wake() });
    }

    pub(super) fn appended(
        &mut self,
        now: Millis,
        answer: Result<u64, TaskError>,
        out: &mut Vec<TaskEffect>,
    ) {
        let error = match answer {
            Ok(bytes) if bytes > self.console.spooled => {
                let text = format!("the server has {bytes} bytes of a console of {}", self.console.spooled);
                self.close_console(&text, out);
                return;
            }
            Ok(bytes) => {
                self.console.is_refused = false;
                let has_come_on = bytes > self.console.acked;
                self.console.acked = self.console.believed(bytes);
                if has_come_on {
                    self.console.stuck_since = None;
                    let due = self.console.slot.sent + self.options.log_interval_ms;
                    self.console.slot.succeeded(due);
                } else {
                    self.append_failed(now, 0);
                }
                return;
            }
            Err(error) => error,
        };
        match error {
            TaskError::Closed
            | TaskError::Canceled
            | TaskError::Finished
            | TaskError::AlreadyStarted
            | TaskError::FenceStale
            | TaskError::ClaimExpired => {
                self.close_console(&format!("the server takes no more of the console: {error}"), out);
                self.renewal.slot.soon(now);
            }
            TaskError::RateLimited { .. } | TaskError::Unreachable { .. } => {
                if planted(Mutant::LogOffsetNotResynced) {
                    self.console.acked = self.console.append_end();
                }
                self.append_failed(now, slot::retry_after_ms(&error).unwrap_or(0));
            }
            TaskError::TooLarge { .. } if self.console.chunk_bytes_max > LOG_CHUNK_BYTES_MIN => {
                self.console.chunk_bytes_max = (self.console.chunk_bytes_max / 2).max(LOG_CHUNK_BYTES_MIN);
                self.append_failed(now, 0);
            }
            TaskError::Lost => {
                self.console.is_refused = true;
                self.append_failed(now, 0);
                self.renewal.slot.soon(now);
            }
            TaskError::TooLarge { .. }
            | TaskError::Differs { .. }
            | TaskError::Unauthorized { .. }
            | TaskError::SessionExpired
            | TaskError::NotFound
            | TaskError::DigestMismatch
            | TaskError::Refused { .. } => {
                if !self.console.is_refused {
                    self.log(NoteLevel::Warning, &format!("console bytes were refused: {error}"), out);
                }
                self.console.is_refused = true;
                self.append_failed(now, 0);
            }
        }
    }

    fn append_failed(&mut self, now: Millis, at_least_ms: u64) {
        self.console.stuck_since.get_or_insert(now);
        let ms_max = self.delivery_backoff_ms_max();
        self.console.slot.failed_within(now, self.options.seed, at_least_ms, ms_max);
    }

    fn close_console(&mut self, why: &str, out: &mut Vec<TaskEffect>) {
        self.console.is_closed = true;
        self.log(NoteLevel::Warning, why, out);
    }
}
