//! Inputs and effects as short lines, so that a story reads like a score.

use scalr_protocol::task::{Finished, LeaseAnswer};

use crate::{
    clock::Millis,
    supervisor::{
        effect::{FinishOutline, TaskCall, TaskEffect},
        input::{StageEnd, TaskAnswer, TaskInput},
    },
};

/// What happened so far, printed when the test fails.
#[derive(Default)]
pub(super) struct Transcript(Vec<String>);

impl Transcript {
    pub(super) fn note(&mut self, now: Millis, input: &TaskInput, out: &[TaskEffect]) {
        self.0.push(format!("{now} {}", self::input(input)));
        self.0.extend(out.iter().map(|effect| format!("    {}", self::effect(effect))));
    }
}

impl Drop for Transcript {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- what happened\n{}\n---", self.0.join("\n"));
        }
    }
}

pub(super) fn input(input: &TaskInput) -> String {
    match input {
        TaskInput::Began => "began".to_owned(),
        TaskInput::Wake => "wake".to_owned(),
        TaskInput::RunnerReady => "runner ready".to_owned(),
        TaskInput::RunnerGone { detail } => format!("runner gone: {detail}"),
        TaskInput::Answer { op, answer } => format!("{op} {}", self::answer(answer)),
        TaskInput::StageEnded { op, end } => format!("{op} {}", self::end(end)),
        TaskInput::Spooled { bytes, .. } => format!("spooled {bytes}"),
        TaskInput::Stop { grace_ms } => format!("stop within {}", millis(*grace_ms)),
    }
}

fn answer(answer: &TaskAnswer) -> String {
    match answer {
        TaskAnswer::Registered(result) => format!("registered: {}", said(result, |_| "yes".to_owned())),
        TaskAnswer::Start(result) => {
            format!("started: {}", said(result, |claim| claim.action.as_str().to_owned()))
        }
        TaskAnswer::Lease(result) => format!("leased: {}", said(result, lease)),
        TaskAnswer::Signals(result) => format!("signals: {}", said(result, |s| format!("{:?}", s.signals))),
        TaskAnswer::Appended(result) => format!("appended: {}", said(result, |n| format!("has {n}"))),
        TaskAnswer::Finish(result) => format!("finished: {}", said(result, finished)),
    }
}

fn said<T, E: std::fmt::Display>(result: &Result<T, E>, yes: impl Fn(&T) -> String) -> String {
    match result {
        Ok(value) => yes(value),
        Err(error) => error.to_string(),
    }
}

fn lease(answer: &LeaseAnswer) -> String {
    answer.signal.map_or_else(|| "yes".to_owned(), |signal| format!("yes, and {signal:?}"))
}

fn finished(finished: &Finished) -> String {
    match finished {
        Finished::Whole => "whole".to_owned(),
        Finished::LogIncomplete { log_bytes } => format!("recorded, has {log_bytes}"),
        Finished::Late { log_bytes } => format!("late, has {log_bytes}"),
    }
}

fn end(end: &StageEnd) -> String {
    match end {
        StageEnd::Done(facts) => {
            format!("done{}", if facts.has_errored_state { " with errored state" } else { "" })
        }
        StageEnd::Failed { code, message, exit_code, facts } => {
            let state = if facts.has_errored_state { " with errored state" } else { "" };
            format!("failed{state}: {code:?} {message:?} exit {exit_code:?}")
        }
        StageEnd::Unreachable { detail, .. } => format!("unreachable: {detail}"),
    }
}

pub(super) fn effect(effect: &TaskEffect) -> String {
    match effect {
        TaskEffect::Call { op, call } => format!("{op} {}", self::call(call)),
        TaskEffect::Abandon { op } => format!("abandon {op}"),
        TaskEffect::Begin { op, stage, exit_code: None } => format!("{op} begin {}", stage.name()),
        TaskEffect::Begin { op, stage, exit_code: Some(code) } => {
            format!("{op} begin {} after exit {code}", stage.name())
        }
        TaskEffect::Signal { op, signal } => format!("{op} {signal:?}").to_lowercase(),
        TaskEffect::Drain => "drain".to_owned(),
        TaskEffect::Print(line) => format!("print {line:?}"),
        TaskEffect::WakeAt(at) => format!("wake at {at}"),
        TaskEffect::Log(note) => format!("log {:?}: {}", note.level, note.message),
        TaskEffect::DismissRunner => "dismiss runner".to_owned(),
        TaskEffect::Exit { code } => format!("exit {code}"),
    }
}

pub(super) fn call(call: &TaskCall) -> String {
    match call {
        TaskCall::Register => "register".to_owned(),
        TaskCall::Start => "start".to_owned(),
        TaskCall::Lease { phase } => format!("lease {phase}"),
        TaskCall::Signals { after, wait_ms } => format!("signals after {after} for {}", millis(*wait_ms)),
        TaskCall::Append { from, to } => format!("append {from}..{to}"),
        TaskCall::Finish(outline) => format!("finish {}", self::outline(outline)),
    }
}

fn outline(outline: &FinishOutline) -> String {
    let mut words = vec![format!("{:?}", outline.outcome).to_lowercase()];
    words.extend(outline.exit_code.map(|code| format!("exit {code}")));
    words.push(format!("log {}", outline.log_bytes));
    words.extend(outline.error.as_ref().map(|error| format!("{:?}: {}", error.code, error.message)));
    words.extend(outline.summary.map(|_| "with summary".to_owned()));
    words.join(" ")
}

fn millis(ms: u64) -> String {
    format!("{}s", ms / 1000)
}
