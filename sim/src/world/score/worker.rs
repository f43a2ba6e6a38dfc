//! What a Supervisor is told and what it wants, in words.

use scalr_core::{
    supervisor::{
        effect::{StopSignal, TaskCall, TaskEffect},
        input::{StageEnd, TaskAnswer, TaskInput},
    },
    task_api::TaskError,
};
use scalr_protocol::task::Finished;

use super::{listed, word};

pub(super) fn input(input: &TaskInput) -> String {
    match input {
        TaskInput::Began => "begins".to_owned(),
        TaskInput::Wake => "wakes".to_owned(),
        TaskInput::RunnerReady => "its runner is ready".to_owned(),
        TaskInput::RunnerGone { detail } => format!("its runner is gone: {detail}"),
        TaskInput::Answer { answer, .. } => self::answer(answer),
        TaskInput::StageEnded { end, .. } => stage_end(end),
        TaskInput::Spooled { bytes, .. } => format!("{bytes} bytes of console so far"),
        TaskInput::Stop { grace_ms } => format!("is told to stop within {} s", grace_ms / 1_000),
    }
}

fn or_error<T>(call: &str, answer: &Result<T, TaskError>, said: impl FnOnce(&T) -> String) -> String {
    match answer {
        Ok(answer) => said(answer),
        Err(error) => format!("{call} failed: {error}"),
    }
}

fn answer(answer: &TaskAnswer) -> String {
    match answer {
        TaskAnswer::Registered(Ok(_)) => "is registered".to_owned(),
        TaskAnswer::Registered(Err(error)) => format!("register failed: {error}"),
        TaskAnswer::Start(answer) => {
            or_error("start", answer, |claim| format!("has claimed its {}", claim.action.as_str()))
        }
        TaskAnswer::Lease(answer) => or_error("confirm or renewal", answer, |lease| match lease.signal {
            None => "lease goes on".to_owned(),
            Some(signal) => format!("lease goes on, with a signal: {}", word(&signal)),
        }),
        TaskAnswer::Signals(answer) => or_error("signals", answer, |signals| {
            format!("is signalled: {}", listed(signals.signals.iter().map(word)))
        }),
        TaskAnswer::Appended(answer) => {
            or_error("append", answer, |bytes| format!("{bytes} bytes of log are stored"))
        }
        TaskAnswer::Finish(answer) => or_error("finish", answer, |finished| match finished {
            Finished::Whole => "its outcome is recorded".to_owned(),
            Finished::LogIncomplete { log_bytes } => {
                format!("its outcome is recorded, of the log only {log_bytes} bytes")
            }
            Finished::Late { log_bytes } => format!("its outcome came late, with {log_bytes} bytes of log"),
        }),
    }
}

fn stage_end(end: &StageEnd) -> String {
    match end {
        StageEnd::Done(_) => "the stage is done".to_owned(),
        StageEnd::Failed { code, message, exit_code, .. } => {
            let exit = exit_code.map(|code| format!(" with {code}")).unwrap_or_default();
            format!("the stage failed{exit}: {} ({message})", word(code))
        }
        StageEnd::Unreachable { detail, .. } => format!("the stage could not reach Scalr: {detail}"),
    }
}

/// Nothing of what says nothing: when it will wake.
pub(super) fn effect(effect: &TaskEffect) -> Option<String> {
    Some(match effect {
        TaskEffect::Call { call, .. } => match call {
            TaskCall::Register => "register".to_owned(),
            TaskCall::Start => "claim".to_owned(),
            TaskCall::Lease { phase } => format!("confirm or renew ({phase})"),
            TaskCall::Signals { .. } => "wait for signals".to_owned(),
            TaskCall::Append { from, to } => format!("append bytes {from} to {to}"),
            TaskCall::Finish(finish) => {
                format!("finish: {}, {} bytes of log", word(&finish.outcome), finish.log_bytes)
            }
        },
        TaskEffect::Abandon { .. } => "hang up".to_owned(),
        TaskEffect::Begin { stage, .. } => format!("begin {}", stage.name()),
        TaskEffect::Signal { signal, .. } => match signal {
            StopSignal::Interrupt => "interrupt the tool".to_owned(),
            StopSignal::Terminate => "terminate the hook".to_owned(),
            StopSignal::Kill => "kill the tool".to_owned(),
        },
        TaskEffect::Drain => "drain the console".to_owned(),
        TaskEffect::Print(line) => format!("print \"{}\"", line.trim_end()),
        TaskEffect::WakeAt(_) => return None,
        TaskEffect::Log(note) => format!("say \"{}\"", note.message),
        TaskEffect::DismissRunner => "dismiss the runner".to_owned(),
        TaskEffect::Exit { code } => format!("end with {code}"),
    })
}
