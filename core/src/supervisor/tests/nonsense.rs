//! Anything at any time, in any order: nothing panics, and what must hold holds.

use proptest::{collection::vec, prelude::*, sample::select};
use scalr_protocol::{
    agent::Action,
    task::{Finished, HookPhase, LeaseAnswer, Signal, Signals, TaskErrorCode},
};

use crate::{
    clock::Millis,
    op::Op,
    scalr::ScalrError,
    supervisor::{
        Supervisor,
        effect::{TaskCall, TaskEffect},
        input::{Claim, StageEnd, StageFacts, TaskAnswer, TaskInput},
        options::TaskOptions,
    },
    task_api::TaskError,
};

use super::{
    monitor::Monitor,
    story::{claim, registration},
    text::Transcript,
};

fn task_error() -> impl Strategy<Value = TaskError> {
    let detail = "…".to_owned();
    prop_oneof![
        4 => Just(TaskError::Unreachable { detail: detail.clone() }),
        2 => any::<u64>().prop_map(|retry_after_ms| TaskError::RateLimited { retry_after_ms }),
        4 => select(vec![
            TaskError::AlreadyStarted,
            TaskError::FenceStale,
            TaskError::Canceled,
            TaskError::Finished,
            TaskError::ClaimExpired,
            TaskError::Lost,
            TaskError::Closed,
            TaskError::Differs { detail: detail.clone() },
            TaskError::Unauthorized { detail: detail.clone() },
            TaskError::SessionExpired,
            TaskError::NotFound,
            TaskError::TooLarge { detail: detail.clone() },
            TaskError::DigestMismatch,
            TaskError::Refused { status: 418, detail: detail.clone() },
        ]),
    ]
}

fn scalr_error() -> impl Strategy<Value = ScalrError> {
    let detail = "…".to_owned();
    prop_oneof![
        6 => Just(ScalrError::Unreachable { detail: detail.clone() }),
        1 => any::<u64>().prop_map(|retry_after_ms| ScalrError::RateLimited { retry_after_ms }),
        1 => select(vec![
            ScalrError::SessionExpired,
            ScalrError::QuotaExceeded { detail: detail.clone() },
            ScalrError::Draining,
            ScalrError::Unauthorized { detail: detail.clone() },
        ]),
    ]
}

/// Mostly yes.
fn mostly<T: Clone + std::fmt::Debug + 'static, E: std::fmt::Debug + 'static>(
    yes: impl Strategy<Value = T> + 'static,
    no: impl Strategy<Value = E> + 'static,
) -> impl Strategy<Value = Result<T, E>> {
    prop_oneof![5 => yes.prop_map(Ok), 1 => no.prop_map(Err)]
}

fn some_claim() -> impl Strategy<Value = Claim> {
    let phases = vec![
        HookPhase::PreInit,
        HookPhase::PrePlan,
        HookPhase::PostPlan,
        HookPhase::PreApply,
        HookPhase::PostApply,
    ];
    let known = select(vec![Action::Plan, Action::Apply]);
    let action = prop_oneof![8 => known, 1 => select(vec![Action::Unknown, Action::Checkov])];
    let strange = || prop_oneof![Just(0), any::<u64>(), 0..100_000_u64];
    let time = || prop_oneof![6 => Just(None), 1 => strange().prop_map(Some)];
    (action, proptest::sample::subsequence(phases, 0..=5), time(), time(), time(), time()).prop_map(
        |(action, hooks, operation, ttl, renew, lost)| {
            let usual = claim(action, &hooks);
            Claim {
                operation_timeout_ms: operation.unwrap_or(usual.operation_timeout_ms),
                lease_ttl_ms: ttl.unwrap_or(usual.lease_ttl_ms),
                renew_ms: renew.unwrap_or(usual.renew_ms),
                lost_after_ms: lost.unwrap_or(usual.lost_after_ms),
                ..usual
            }
        },
    )
}

fn signal() -> impl Strategy<Value = Signal> {
    select(vec![Signal::Cancel, Signal::ForceCancel, Signal::Unknown])
}

fn length() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..5_000_000_u64, 1 => any::<u64>()]
}

fn finished() -> impl Strategy<Value = Finished> {
    prop_oneof![
        Just(Finished::Whole),
        length().prop_map(|log_bytes| Finished::LogIncomplete { log_bytes }),
        length().prop_map(|log_bytes| Finished::Late { log_bytes }),
    ]
}

fn stage_end() -> impl Strategy<Value = StageEnd> {
    let facts = (any::<bool>(), any::<bool>()).prop_map(|(has_errored_state, is_oom)| StageFacts {
        summary: None,
        has_errored_state,
        is_oom,
    });
    let code = select(vec![TaskErrorCode::PlanFailed, TaskErrorCode::ApplyFailed, TaskErrorCode::Internal]);
    let message = prop_oneof![Just("no".to_owned()), Just("é".repeat(2000))];
    prop_oneof![
        8 => facts.clone().prop_map(StageEnd::Done),
        2 => (code, message, any::<Option<i32>>(), facts).prop_map(|(code, message, exit_code, facts)| {
            StageEnd::Failed { code, message, exit_code, facts }
        }),
        1 => any::<u64>().prop_map(|retry_after_ms| {
            StageEnd::Unreachable { detail: String::new(), retry_after_ms }
        }),
    ]
}

const END_OF_TIME: u64 = u64::MAX - 10;

/// What to do next to the Supervisor.
#[derive(Clone, Debug)]
enum Move {
    Input(TaskInput),
    /// Answer the n-th call that was ever made, be it in flight or not, as its kind of call is answered.
    Answer(usize, Answers),
    /// End the n-th stage that ever began.
    End(usize, StageEnd),
    Pass(u64),
    /// Jump to the moment that was asked for.
    Wake,
}

/// One answer of each kind; the call decides which.
#[derive(Clone, Debug)]
struct Answers {
    is_registered: Option<ScalrError>,
    start: Result<Claim, TaskError>,
    lease: Result<LeaseAnswer, TaskError>,
    signals: Result<Signals, TaskError>,
    appended: Result<u64, TaskError>,
    finish: Result<Finished, TaskError>,
}

fn answers() -> impl Strategy<Value = Answers> {
    let lease =
        proptest::option::weighted(0.1, signal()).prop_map(|signal| LeaseAnswer { ttl_ms: 60_000, signal });
    let signals = (any::<u64>(), vec(signal(), 0..3)).prop_map(|(last, signals)| Signals { last, signals });
    (
        proptest::option::weighted(0.2, scalr_error()),
        mostly(some_claim(), task_error()),
        mostly(lease, task_error()),
        mostly(signals, task_error()),
        mostly(length(), task_error()),
        mostly(finished(), task_error()),
    )
        .prop_map(|(is_registered, start, lease, signals, appended, finish)| Answers {
            is_registered,
            start,
            lease,
            signals,
            appended,
            finish,
        })
}

impl Answers {
    fn to(self, call: &TaskCall) -> TaskAnswer {
        match call {
            TaskCall::Register => {
                TaskAnswer::Registered(self.is_registered.map_or_else(|| Ok(registration()), Err))
            }
            TaskCall::Start => TaskAnswer::Start(self.start),
            TaskCall::Lease { .. } => TaskAnswer::Lease(self.lease),
            TaskCall::Signals { .. } => TaskAnswer::Signals(self.signals),
            TaskCall::Append { .. } => TaskAnswer::Appended(self.appended),
            TaskCall::Finish(_) => TaskAnswer::Finish(self.finish),
        }
    }
}

fn moves() -> impl Strategy<Value = Move> {
    let back = || prop_oneof![8 => Just(0_usize), 1 => 0_usize..5];
    prop_oneof![
        10 => (0_usize..4, answers()).prop_map(|(back, answers)| Move::Answer(back, answers)),
        6 => (back(), stage_end()).prop_map(|(back, end)| Move::End(back, end)),
        3 => Just(Move::Wake),
        2 => prop_oneof![0..2_000_u64, 0..4_000_000_u64].prop_map(Move::Pass),
        2 => (length(), 0..4_u32).prop_map(|(bytes, lines)| Move::Input(TaskInput::Spooled { bytes, lines })),
        2 => Just(Move::Input(TaskInput::RunnerReady)),
        1 => Just(Move::Input(TaskInput::Wake)),
        1 => Just(Move::Input(TaskInput::RunnerGone { detail: "…".to_owned() })),
        1 => prop_oneof![Just(0), 0..600_000_u64, any::<u64>()]
            .prop_map(|grace_ms| Move::Input(TaskInput::Stop { grace_ms })),
        1 => (any::<u64>(), answers()).prop_map(|(op, answers)| {
            Move::Input(TaskInput::Answer { op: Op(op % 30), answer: TaskAnswer::Lease(answers.lease) })
        }),
        1 => (any::<u64>(), stage_end()).prop_map(|(op, end)| {
            Move::Input(TaskInput::StageEnded { op: Op(op % 30), end })
        }),
    ]
}

fn some_options() -> impl Strategy<Value = TaskOptions> {
    let strange =
        (any::<u64>(), 0..100_000_u64, 0..100_000_u64, 0..3_u64).prop_map(|(seed, stop, wait, chunk)| {
            TaskOptions {
                seed,
                stop_timeout_ms: stop,
                upload_reserve_ms: wait,
                runner_wait_ms: wait,
                log_chunk_bytes_max: chunk,
                log_interval_ms: stop % 3,
                delivery_max_ms: wait,
                ..TaskOptions::default()
            }
        });
    let usual = any::<u64>().prop_map(|seed| TaskOptions { seed, ..TaskOptions::default() });
    prop_oneof![4 => usual, 1 => strange]
}

/// Near the end of all time nothing lies ahead to wait for; elsewhere everything is watched.
fn play(options: TaskOptions, begin: u64, moves: Vec<Move>) {
    let is_watched = begin < END_OF_TIME;
    let mut monitor = Monitor::new(options.log_chunk_bytes_max.max(1));
    let mut supervisor = Supervisor::new(options);
    let mut transcript = Transcript::default();
    let (mut calls, mut stages) = (Vec::new(), Vec::new());
    let mut now = Millis(begin);
    let mut wake = Millis::NEVER;
    let first = [TaskInput::Began, TaskInput::RunnerReady].map(Move::Input);
    for step in first.into_iter().chain(moves) {
        let input = match step {
            Move::Input(input) => input,
            Move::Answer(back, answers) => {
                let Some((op, call)) = calls.iter().rev().nth(back) else { continue };
                TaskInput::Answer { op: *op, answer: answers.to(call) }
            }
            Move::End(back, end) => {
                let Some(op) = stages.iter().rev().nth(back) else { continue };
                TaskInput::StageEnded { op: *op, end }
            }
            Move::Pass(ms) => {
                now = now + ms;
                TaskInput::Wake
            }
            Move::Wake => {
                if wake != Millis::NEVER {
                    now = now.max(wake);
                }
                TaskInput::Wake
            }
        };
        let mut out = Vec::new();
        let before = supervisor.clone();
        supervisor.step(now, input.clone(), &mut out);
        transcript.note(now, &input, &out);
        if is_watched {
            monitor.watch(now, &before, &supervisor, &input, &out);
        }
        for effect in out {
            match effect {
                TaskEffect::Call { op, call } => calls.push((op, call)),
                TaskEffect::Begin { op, .. } => stages.push(op),
                TaskEffect::WakeAt(at) => wake = at,
                TaskEffect::Abandon { .. }
                | TaskEffect::Signal { .. }
                | TaskEffect::Drain
                | TaskEffect::Print(_)
                | TaskEffect::Log(_)
                | TaskEffect::DismissRunner
                | TaskEffect::Exit { .. } => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn nonsense_never_breaks_a_rule(
        options in some_options(),
        begin in prop_oneof![4 => 0..1_000_000_u64, 1 => Just(END_OF_TIME)],
        moves in vec(moves(), 0..80),
    ) {
        play(options, begin, moves);
    }
}
