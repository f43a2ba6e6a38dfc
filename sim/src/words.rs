//! Words for what stories and broken promises are told with: what a person would say, where a type has only
//! the name of a variant.
//!
//! It must never say more than it is given.

use scalr_core::{
    controller::{Remembered, Status},
    supervisor::effect::StopSignal,
};
use scalr_protocol::{agent::ReleaseReason, task::Outcome};

use crate::world::{
    Happening,
    cluster::Role,
    snag::CallKind,
    truth::{CreateAnswer, Milestone},
};

/// `1st`, `2nd`, `3rd`, `11th`.
pub(crate) fn ordinal(number: u64) -> String {
    let ending = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        (_, _) => "th",
    };
    format!("{number}{ending}")
}

/// `1 Job`, `2 Jobs`.
pub(crate) fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// How a task ended, as behind "it has".
pub(crate) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Errored => "errored",
        Outcome::Canceled => "canceled",
    }
}

/// Why a task is given back.
pub(crate) fn given_back(reason: ReleaseReason) -> &'static str {
    match reason {
        ReleaseReason::Drain => "because it stops",
        ReleaseReason::Rebalance => "for balance",
    }
}

/// A signal by its name.
pub(crate) fn signal(signal: StopSignal) -> &'static str {
    match signal {
        StopSignal::Interrupt => "SIGINT",
        StopSignal::Terminate => "SIGTERM",
        StopSignal::Kill => "SIGKILL",
    }
}

/// A container of a pod.
pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Worker => "worker",
        Role::Runner => "runner",
    }
}

/// What a controller hears of a Job that it has asked for.
pub(crate) fn created(answer: CreateAnswer) -> String {
    match answer {
        CreateAnswer::Made => "it is there".to_owned(),
        CreateAnswer::Over => "it was there, and is over".to_owned(),
        CreateAnswer::Unheard => "nothing that says whether it is there".to_owned(),
        CreateAnswer::Later { retry_after_ms } => format!("to come back in {retry_after_ms} ms"),
        CreateAnswer::NoRoom => "there is no room for it".to_owned(),
        CreateAnswer::Refused => "it is refused for good".to_owned(),
    }
}

/// What a call does, as behind "calls to".
pub(crate) fn call(kind: CallKind) -> &'static str {
    match kind {
        CallKind::Register => "register",
        CallKind::Heartbeat => "send a heartbeat",
        CallKind::Deregister => "say goodbye",
        CallKind::Acquire => "ask for tasks",
        CallKind::Release => "give it back",
        CallKind::LaunchEvents => "tell how launches go",
        CallKind::LaunchFailed => "say that it could not be launched",
        CallKind::WorkerLost => "say that its worker is lost",
        CallKind::Messages => "look for messages",
        CallKind::Start => "claim it",
        CallKind::Confirm => "confirm it",
        CallKind::Renew => "renew its lease",
        CallKind::Signals => "look for signals",
        CallKind::Append => "append to its log",
        CallKind::BlobGet => "fetch a file",
        CallKind::BlobPut => "store a file",
        CallKind::Finish => "say how it ended",
        CallKind::List => "list",
        CallKind::Watch => "begin a watch",
        CallKind::WatchEvent => "hear of a change",
        CallKind::CreateJob => "make its Job",
        CallKind::DeleteJob => "delete its Job",
    }
}

/// How far a task has come, as behind "the last of it was that".
pub(crate) fn milestone(milestone: Milestone) -> &'static str {
    match milestone {
        Milestone::Queued => "it was queued",
        Milestone::Granted => "it was granted",
        Milestone::JobAsked => "its Job was asked for",
        Milestone::WorkerBegan => "a worker began",
        Milestone::Claimed => "it was claimed",
        Milestone::Confirmed => "it was confirmed",
        Milestone::CodeBegan => "code of its user's began",
        Milestone::InitBegan => "init began",
        Milestone::PlanBegan => "plan began",
        Milestone::ApplyBegan => "apply began",
        Milestone::MainEnded => "its command ended",
        Milestone::FinishSent => "its worker said how it ended",
        Milestone::Ended => "it was over",
        Milestone::DeleteAsked => "the deletion of its Job was asked for",
        Milestone::WorkerEnded => "its worker ended",
    }
}

/// How things stand with a controller, by its own account.
pub(crate) fn status(status: &Status) -> String {
    let Status { held, live, creating, window, free, is_ready, is_draining } = *status;
    let held = count(held as u64, "task");
    let live = count(live as u64, "Job");
    let ready = if is_ready { "" } else { ", not ready yet" };
    let draining = if is_draining { ", stopping" } else { "" };
    format!(
        "{held} held, {live} live, {creating} being made, a window of {window}, {free} free{ready}{draining}"
    )
}

/// What a controller remembers.
pub(crate) fn remembered(remembered: &Remembered) -> String {
    let Remembered { entries, objects, calls, timers, doors, events } = *remembered;
    let things = [
        (entries, "grant"),
        (objects, "object"),
        (calls, "call"),
        (timers, "timer"),
        (doors, "door"),
        (events, "event"),
    ];
    things.map(|(number, what)| count(number as u64, what)).join(", ")
}

/// Whose step an event was.
pub(crate) fn whose(what: Happening) -> String {
    match what {
        Happening::Controller(seat) => format!("controller {seat}"),
        Happening::Worker(task) => format!("the worker of {task}"),
        Happening::Cluster => "the cluster".to_owned(),
        Happening::Pod => "a pod".to_owned(),
        Happening::Scalr => "Scalr".to_owned(),
        Happening::User => "a user".to_owned(),
        Happening::Strike => "what goes wrong".to_owned(),
        Happening::Nobody => "nobody".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_end_as_they_are_said() {
        let said = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal);
        assert_eq!(said.join(" "), "1st 2nd 3rd 4th 11th 12th 13th 21st 102nd 111th");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|number| count(number, "task")).join(", "), "0 tasks, 1 task, 2 tasks");
    }
}
