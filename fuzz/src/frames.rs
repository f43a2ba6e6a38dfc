//! Frames between worker and runner, as they come from a socket: in pieces.
//!
//! A line `to-runner` or `to-worker` with the lengths of the pieces, then a frame a line: its kind as two
//! hexadecimal digits, perhaps `/` and another length than it has, and its payload. `raw` is bytes as they
//! are.

use std::fmt::Debug;

use scalr_agent::runner::frame::{
    Decoder, Ended, FrameError, HEADER_BYTES, Message, Signal, ToRunner, ToWorker,
};

use crate::{Met, Target, mutate::Shape, script, sure};

pub(crate) const TARGET: Target = Target {
    name: "frames",
    about: "frames are the same over any split, are written as they were read, and nothing is kept beyond one",
    shape: Shape::Lines,
    words: &[
        "to-runner",
        "to-worker",
        "raw",
        "01",
        "02",
        "03",
        "04",
        "81",
        "82",
        "83",
        "84",
        "85",
        "/",
        "{}",
    ],
    classes: &[
        "exec",
        "signal",
        "drain",
        "bye",
        "hello",
        "output",
        "exited with a code",
        "exited by a signal",
        "stopping",
        "error",
        "interrupt",
        "terminate",
        "kill",
        "an unknown kind",
        "too long",
        "a payload of another kind",
        "waits for more",
        "nothing waits",
    ],
    inputs: 20_000,
    run,
};

fn run(input: &[u8], met: &mut Met) {
    let (first, rest) = script::first_line(input);
    let words = script::words(first);
    let pieces: Vec<usize> = words.iter().skip(1).map(|word| 1 + script::small(Some(word), 500)).collect();
    let stream: Vec<u8> = script::lines(rest).flat_map(|words| frame(&words)).collect();
    match words.first() {
        Some(&b"to-runner") => check(&stream, &pieces, met, to_runner),
        Some(_) | None => check(&stream, &pieces, met, to_worker),
    }
}

fn frame(words: &[&[u8]]) -> Vec<u8> {
    let (kind, payload) = words.split_first().map_or((&b""[..], &[][..]), |(first, rest)| (*first, rest));
    let payload = script::repeated(&payload.join(&b' '), 100_000);
    if kind == b"raw" {
        return payload;
    }
    let (kind, length) = match kind.iter().position(|byte| *byte == b'/') {
        Some(at) => (&kind[..at], script::number(&kind[at + 1..])),
        None => (kind, None),
    };
    let length = length.unwrap_or(payload.len() as u64).to_be_bytes();
    [&[script::hex(kind).unwrap_or_default()], &length[4..], &payload].concat()
}

/// All messages, what ended them, and whether bytes are left.
type Decoded<M> = (Vec<M>, Option<FrameError>, bool);

fn decoded<M: Message>(stream: &[u8], pieces: &[usize]) -> Decoded<M> {
    let frame_bytes_max = HEADER_BYTES + (0..=u8::MAX).filter_map(M::bytes_max).max().unwrap_or_default();
    let (mut decoder, mut messages, mut rest) = (Decoder::default(), Vec::new(), stream);
    for piece in pieces.iter().cycle() {
        let (now, later) = rest.split_at((*piece).min(rest.len()));
        decoder.room().extend_from_slice(now);
        loop {
            match decoder.take() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error), false),
            }
        }
        assert!(decoder.room().len() < frame_bytes_max, "more is kept than one frame");
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    (messages, None, !decoder.room().is_empty())
}

fn check<M: Message + PartialEq + Debug>(
    stream: &[u8],
    pieces: &[usize],
    met: &mut Met,
    class: fn(&M, &mut Met),
) {
    let whole: Decoded<M> = decoded(stream, &[stream.len()]);
    if !pieces.is_empty() {
        assert_eq!(decoded::<M>(stream, pieces), whole, "in pieces of {pieces:?}");
    }
    let (messages, error, is_waiting) = whole;
    for message in &messages {
        class(message, met);
        let frame = sure(message.frame(), "what was read can be written");
        let (again, error, _) = decoded::<M>(&frame, &[frame.len()]);
        assert_eq!((again.as_slice(), error), (std::slice::from_ref(message), None));
    }
    met.see(match error {
        Some(FrameError::Kind(_)) => "an unknown kind",
        Some(FrameError::TooLong { .. }) => "too long",
        Some(FrameError::Payload(_)) => "a payload of another kind",
        None if is_waiting => "waits for more",
        None => "nothing waits",
    });
}

fn to_runner(message: &ToRunner, met: &mut Met) {
    let class = match message {
        ToRunner::Exec(_) => "exec",
        ToRunner::Signal { signal, .. } => {
            met.see("signal");
            match signal {
                Signal::Interrupt => "interrupt",
                Signal::Terminate => "terminate",
                Signal::Kill => "kill",
            }
        }
        ToRunner::Drain { .. } => "drain",
        ToRunner::Bye => "bye",
    };
    met.see(class);
}

fn to_worker(message: &ToWorker, met: &mut Met) {
    met.see(match message {
        ToWorker::Hello(_) => "hello",
        ToWorker::Output { bytes, .. } => {
            assert!(!bytes.is_empty(), "output is never empty");
            "output"
        }
        ToWorker::Exited(exited) => match exited.ended {
            Ended::Code(_) => "exited with a code",
            Ended::Signal(_) => "exited by a signal",
        },
        ToWorker::Stopping { .. } => "stopping",
        ToWorker::Error(_) => "error",
    });
}
