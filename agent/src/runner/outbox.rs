//! What is to be sent to the worker and was not yet: bounded, since its fullness is what slows a tool.
//!
//! Once a stop has begun it is never the reason that output is not read: then what finds no room is counted
//! and thrown away. Messages always find room; there are few, and a command's end comes after its output.

use std::collections::VecDeque;

/// Before a stop: two reads. More would only hide how slow the worker is from the tool.
const OUTPUT_BYTES_MAX: usize = 128 * 1024;
/// After a stop began: what a tool says while it stops well, with room.
const STOPPING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Frames on their way out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Vec<u8>>,
    /// Of all frames, what was sent of the first included.
    bytes: usize,
    /// What was sent of the first.
    sent: usize,
    /// A stop began.
    stopping: bool,
    /// Nobody will take anything any more.
    closed: bool,
    /// The worker took nothing for too long while a stop waited for it.
    lossy: bool,
    dropped_bytes: u64,
}

impl Outbox {
    /// A command starts: nothing is stopping, nothing was dropped.
    pub(super) fn begin(&mut self) {
        (self.stopping, self.lossy, self.dropped_bytes) = (false, false, 0);
    }

    /// A stop begins: from now on output is read whatever happens.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    /// The worker is gone: nothing is kept any more.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.frames.clear();
        (self.bytes, self.sent) = (0, 0);
    }

    /// Whether more output may be read from the command.
    pub(super) fn wants_output(&self) -> bool {
        self.closed || !self.is_full() || (self.stopping && self.lossy)
    }

    /// Whether a stop waits for a worker that takes nothing: time to lose patience with it.
    pub(super) fn is_holding_up_a_stop(&self) -> bool {
        self.stopping && !self.wants_output()
    }

    /// Patience is over: what finds no room is thrown away.
    pub(super) fn lose_patience(&mut self) {
        self.lossy = true;
    }

    fn is_full(&self) -> bool {
        self.bytes >= if self.stopping { STOPPING_BYTES_MAX } else { OUTPUT_BYTES_MAX }
    }

    /// Takes a frame with output of `output_bytes`, or counts it as dropped.
    pub(super) fn push_output(&mut self, frame: Vec<u8>, output_bytes: usize) {
        if self.closed || self.is_full() {
            self.dropped_bytes += u64::try_from(output_bytes).unwrap_or(u64::MAX);
        } else {
            self.push(frame);
        }
    }

    /// Takes a frame with a message.
    pub(super) fn push(&mut self, frame: Vec<u8>) {
        if !self.closed {
            self.bytes += frame.len();
            self.frames.push_back(frame);
        }
    }

    /// Output of the command that was thrown away, in bytes.
    pub(super) fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    /// The bytes to send next; none when all was sent.
    pub(super) fn next(&self) -> Option<&[u8]> {
        self.frames.front().map(|frame| &frame[self.sent..])
    }

    /// That many of [`Outbox::next`] were sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.frames.front().is_some_and(|first| self.sent >= first.len()) {
            self.bytes -= self.sent;
            self.sent = 0;
            self.frames.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: usize = 64 * 1024;

    fn fill(outbox: &mut Outbox, bytes: usize) -> usize {
        let mut reads = 0;
        while reads * READ < bytes && outbox.wants_output() {
            outbox.push_output(vec![b'x'; READ], READ);
            reads += 1;
        }
        reads * READ
    }

    #[test]
    fn before_a_stop_it_fills_and_asks_for_no_more() {
        let mut outbox = Outbox::default();
        assert_eq!(fill(&mut outbox, usize::MAX), OUTPUT_BYTES_MAX);
        assert!(!outbox.is_holding_up_a_stop());
        outbox.sent(READ);
        assert!(outbox.wants_output());
        assert_eq!(outbox.dropped_bytes(), 0);
    }

    #[test]
    fn after_a_stop_it_holds_more_and_then_drops_what_a_stuck_worker_does_not_take() {
        let mut outbox = Outbox::default();
        fill(&mut outbox, usize::MAX);
        outbox.stop();
        assert_eq!(fill(&mut outbox, usize::MAX), STOPPING_BYTES_MAX - OUTPUT_BYTES_MAX);
        assert!(outbox.is_holding_up_a_stop());
        outbox.lose_patience();
        assert_eq!(fill(&mut outbox, 10 * READ), 10 * READ);
        assert_eq!(outbox.dropped_bytes(), 10 * READ as u64);
        outbox.sent(READ);
        assert_eq!(fill(&mut outbox, READ), READ);
        assert_eq!(outbox.dropped_bytes(), 10 * READ as u64, "there was room for the last");
    }

    #[test]
    fn closed_it_takes_everything_and_keeps_nothing() {
        let mut outbox = Outbox::default();
        fill(&mut outbox, usize::MAX);
        outbox.close();
        assert_eq!(fill(&mut outbox, 100 * READ), 100 * READ);
        outbox.push(vec![1]);
        assert_eq!(outbox.next(), None);
    }

    #[test]
    fn gives_what_was_taken_in_order_over_any_split() {
        let mut outbox = Outbox::default();
        outbox.push(vec![1, 2, 3]);
        outbox.push(vec![4, 5]);
        let mut sent = Vec::new();
        while let Some(next) = outbox.next() {
            let now = next[..next.len().min(2)].to_vec();
            outbox.sent(now.len());
            sent.extend(now);
        }
        assert_eq!((sent, outbox.bytes), (vec![1, 2, 3, 4, 5], 0));
    }
}
