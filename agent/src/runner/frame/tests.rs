use proptest::prelude::*;

use super::*;

fn to_runner() -> impl Strategy<Value = ToRunner> {
    let kind = prop_oneof![Just(CommandKind::Tool), Just(CommandKind::Hook), Just(CommandKind::Shell)];
    let signal = prop_oneof![Just(Signal::Interrupt), Just(Signal::Terminate), Just(Signal::Kill)];
    let env = proptest::collection::btree_map(".{0,8}", ".{0,8}", 0..4);
    let state = (".{0,8}", ".{0,8}", ".{0,8}", proptest::option::of(".{0,8}"))
        .prop_map(|(run, upstream, spool, authorities)| StateOrder { run, upstream, spool, authorities });
    let state = proptest::option::of(state);
    let exec = (any::<u64>(), proptest::collection::vec(".{0,20}", 0..4), env, ".{0,20}", kind, state)
        .prop_map(|(id, argv, env, cwd, kind, state)| {
            ToRunner::Exec(Exec { id, argv, env, cwd, kind, state })
        });
    prop_oneof![
        exec,
        (any::<u64>(), signal).prop_map(|(id, signal)| ToRunner::Signal { id, signal }),
        any::<u64>().prop_map(|id| ToRunner::Drain { id }),
        Just(ToRunner::Bye),
    ]
}

fn to_worker() -> impl Strategy<Value = ToWorker> {
    let hello = (any::<u32>(), any::<u32>(), any::<u32>(), ".{0,20}", ".{0,20}")
        .prop_map(|(version, uid, gid, path, home)| ToWorker::Hello(Hello { version, uid, gid, path, home }));
    let ended = prop_oneof![any::<i32>().prop_map(Ended::Code), any::<i32>().prop_map(Ended::Signal)];
    let exited = (any::<u64>(), ended, any::<Option<u64>>(), any::<u64>(), any::<bool>());
    let exited = exited.prop_map(|(id, ended, oom_kills, dropped_bytes, survivors)| {
        ToWorker::Exited(Exited { id, ended, oom_kills, dropped_bytes, survivors })
    });
    let output = (any::<u64>(), proptest::collection::vec(any::<u8>(), 1..300));
    prop_oneof![
        hello,
        output.prop_map(|(id, bytes)| ToWorker::Output { id, bytes }),
        exited,
        any::<Option<u64>>().prop_map(|grace_ms| ToWorker::Stopping { grace_ms }),
        (any::<u64>(), any::<i32>(), ".{0,20}").prop_map(|(id, code, message)| ToWorker::Error(Failed {
            id,
            code,
            message
        })),
    ]
}

/// All frames of the bytes, read in pieces of these lengths over and over.
fn decode<M: Message>(bytes: &[u8], pieces: &[usize]) -> Result<Vec<M>, FrameError> {
    let (mut decoder, mut messages, mut rest) = (Decoder::default(), Vec::new(), bytes);
    for piece in pieces.iter().cycle() {
        let (now, later) = rest.split_at((*piece).min(rest.len()));
        decoder.room().extend_from_slice(now);
        while let Some(message) = decoder.take()? {
            messages.push(message);
        }
        if later.is_empty() {
            break;
        }
        rest = later;
    }
    Ok(messages)
}

fn frames<M: Message>(messages: &[M]) -> Vec<u8> {
    messages.iter().flat_map(|message| message.frame().expect("within bounds")).collect()
}

proptest! {
    #[test]
    fn what_is_told_is_heard_over_any_split(
        told in proptest::collection::vec(to_runner(), 0..6),
        pieces in proptest::collection::vec(1..40_usize, 1..5),
    ) {
        prop_assert_eq!(decode(&frames(&told), &pieces), Ok(told));
    }

    #[test]
    fn what_is_answered_is_heard_over_any_split(
        told in proptest::collection::vec(to_worker(), 0..6),
        pieces in proptest::collection::vec(1..40_usize, 1..5),
    ) {
        prop_assert_eq!(decode(&frames(&told), &pieces), Ok(told));
    }

    #[test]
    fn nonsense_is_an_error_or_waits_for_more_and_is_never_kept_beyond_a_frame(
        bytes in proptest::collection::vec(
            prop_oneof![Just(OUTPUT), Just(EXITED), Just(0), any::<u8>()],
            0..2000,
        ),
    ) {
        let mut decoder = Decoder::default();
        for piece in bytes.chunks(100) {
            decoder.room().extend_from_slice(piece);
            loop {
                match decoder.take::<ToWorker>() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return Ok(()),
                }
            }
            prop_assert!(decoder.buffer.len() <= HEADER_BYTES + OUTPUT_ID_BYTES + OUTPUT_BYTES_MAX);
        }
    }
}

#[test]
fn a_length_over_the_bound_is_refused_before_it_is_waited_for() {
    let frame = |kind, bytes: u32| [[kind].as_slice(), &bytes.to_be_bytes()].concat();
    let too_long = |kind, bytes, bytes_max| Err(FrameError::TooLong { kind, bytes, bytes_max });
    let output_max = OUTPUT_ID_BYTES + OUTPUT_BYTES_MAX;
    assert_eq!(decode::<ToWorker>(&frame(OUTPUT, 65_545), &[5]), too_long(OUTPUT, 65_545, output_max));
    assert_eq!(
        decode::<ToWorker>(&frame(HELLO, u32::MAX), &[5]),
        too_long(HELLO, usize::try_from(u32::MAX).expect("64 bit"), TO_WORKER_BYTES_MAX)
    );
    assert_eq!(decode::<ToWorker>(&frame(OUTPUT, 65_544), &[5]), Ok(vec![]));
}

#[test]
fn each_direction_knows_its_own_kinds_only() {
    let bye = ToRunner::Bye.frame().expect("bounded");
    assert_eq!(decode::<ToWorker>(&bye, &[9]), Err(FrameError::Kind(BYE)));
    let stopping = ToWorker::Stopping { grace_ms: None }.frame().expect("bounded");
    assert_eq!(decode::<ToRunner>(&stopping, &[9]), Err(FrameError::Kind(STOPPING)));
    assert_eq!(decode::<ToRunner>(&[0x7f, 0, 0, 0, 0], &[9]), Err(FrameError::Kind(0x7f)));
}

#[test]
fn a_payload_of_another_kind_is_refused() {
    let frame = |kind, payload: &[u8]| {
        let bytes = u32::try_from(payload.len()).expect("short");
        [[kind].as_slice(), &bytes.to_be_bytes(), payload].concat()
    };
    assert_eq!(decode::<ToWorker>(&frame(EXITED, b"{}"), &[99]), Err(FrameError::Payload(EXITED)));
    assert_eq!(decode::<ToWorker>(&frame(OUTPUT, b"1234567"), &[99]), Err(FrameError::Payload(OUTPUT)));
    assert_eq!(decode::<ToWorker>(&frame(OUTPUT, b"12345678"), &[99]), Err(FrameError::Payload(OUTPUT)));
    assert_eq!(decode::<ToRunner>(&frame(BYE, b"bye"), &[99]), Err(FrameError::Payload(BYE)));
    let deep = "[".repeat(30_000);
    assert_eq!(decode::<ToWorker>(&frame(HELLO, deep.as_bytes()), &[99]), Err(FrameError::Payload(HELLO)));
}

#[test]
fn a_message_over_its_bound_is_not_sent() {
    let failed = Failed { id: 1, code: 1, message: "x".repeat(TO_WORKER_BYTES_MAX) };
    assert!(matches!(ToWorker::Error(failed).frame(), Err(FrameError::TooLong { .. })));
    let output = ToWorker::Output { id: 1, bytes: vec![0; OUTPUT_BYTES_MAX + 1] };
    assert!(matches!(output.frame(), Err(FrameError::TooLong { .. })));
}

#[test]
fn a_command_without_a_state_is_a_command() {
    let payload = br#"{"id":1,"argv":["a"],"env":{},"cwd":"/","kind":"tool","later":true}"#;
    let Ok(ToRunner::Exec(exec)) = ToRunner::read(EXEC, payload) else { panic!("a command") };
    assert_eq!(exec.state, None);
}
