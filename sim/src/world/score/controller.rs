//! What a Controller is told and what it wants, in words.

use scalr_core::{
    cluster::{Container, Job, JobEnd, Kind, Object, Pod, WatchEnd, WatchEvent},
    controller::{
        effect::{ClusterCall, ControllerExit, Effect, ScalrCall},
        input::{Answer, Input},
    },
    scalr::ScalrError,
};
use scalr_protocol::agent::{Heartbeat, HeartbeatAnswer, Hint, LaunchEvents};

use super::{Names, listed, word};

pub(super) fn input(input: &Input, names: Names<'_>) -> String {
    match input {
        Input::Began => "begins".to_owned(),
        Input::Wake => "wakes".to_owned(),
        Input::Answer { answer, .. } => self::answer(answer, names),
        Input::Watched { kind, event, .. } => watched(*kind, event, names),
        Input::Stop { grace_ms } => format!("is told to stop within {} s", grace_ms / 1_000),
        Input::Paused(true) => "is told to launch nothing".to_owned(),
        Input::Paused(false) => "is told to launch again".to_owned(),
    }
}

fn or_error<T>(call: &str, answer: &Result<T, ScalrError>, said: impl FnOnce(&T) -> String) -> String {
    match answer {
        Ok(answer) => said(answer),
        Err(error) => format!("{call} failed: {error}"),
    }
}

fn answer(answer: &Answer, names: Names<'_>) -> String {
    match answer {
        Answer::Registered(answer) => or_error("register", answer, |_| "is registered".to_owned()),
        Answer::Heartbeat(answer) => or_error("heartbeat", answer, |answer| verdicts(answer, names)),
        Answer::Deregistered(answer) => or_error("deregister", answer, |()| "is deregistered".to_owned()),
        Answer::Acquired(answer) => or_error("acquire", answer, |answer| {
            let tasks = answer.tasks.iter().map(|grant| names.at(&grant.id, grant.fence));
            format!("is granted {}", listed(tasks))
        }),
        Answer::Released(answer) => or_error("release", answer, |door| format!("released: {door:?}")),
        Answer::LaunchEvents(answer) => {
            or_error("launch-events", answer, |()| "launch events noted".to_owned())
        }
        Answer::LaunchFailed(answer) => {
            or_error("launch-failed", answer, |door| format!("launch-failed noted: {door:?}"))
        }
        Answer::WorkerLost(answer) => {
            or_error("worker-lost", answer, |answer| format!("worker-lost noted: {answer:?}"))
        }
        Answer::Messages(answer) => or_error("messages", answer, |answer| {
            let hints = answer.hints.iter().map(|hint| match hint {
                Hint::Work => "there is work".to_owned(),
                Hint::Cancel { task } => format!("{} was canceled", names.task(task)),
                Hint::Unknown => "something unknown".to_owned(),
            });
            format!("is hinted: {}", listed(hints))
        }),
        Answer::Listed(Ok(listing)) => {
            format!("lists {} objects at version {}", listing.objects.len(), listing.version.0)
        }
        Answer::Listed(Err(error)) => format!("list failed: {error}"),
        Answer::Watching(Ok(())) => "watches".to_owned(),
        Answer::Watching(Err(error)) => format!("watch failed: {error}"),
        Answer::Created(Ok(job)) => format!("Job of {} is made", names.at(&job.task, job.fence)),
        Answer::Created(Err(error)) => format!("create failed: {error}"),
        Answer::Deleted(Ok(())) => "Job is deleted".to_owned(),
        Answer::Deleted(Err(error)) => format!("delete failed: {error}"),
    }
}

fn verdicts(answer: &HeartbeatAnswer, names: Names<'_>) -> String {
    let verdicts = answer
        .verdicts
        .iter()
        .map(|verdict| format!("{} {}", names.at(&verdict.id, verdict.fence), word(&verdict.verdict)));
    let wanted = match answer.wanted {
        0 => String::new(),
        wanted => format!("; others have room for {wanted}"),
    };
    format!("heartbeat answered: {}{wanted}", listed(verdicts))
}

fn watched(kind: Kind, event: &WatchEvent, names: Names<'_>) -> String {
    match event {
        WatchEvent::Seen(Object::Job(job)) => {
            format!("sees Job of {}: {}", names.at(&job.task, job.fence), job_looks(job))
        }
        WatchEvent::Seen(Object::Pod(pod)) => {
            format!("sees pod of {}: {}", names.at(&pod.task, pod.fence), pod_looks(pod))
        }
        WatchEvent::Gone(Object::Job(job)) => {
            format!("sees that the Job of {} is gone", names.at(&job.task, job.fence))
        }
        WatchEvent::Gone(Object::Pod(pod)) => {
            format!("sees that the pod of {} is gone", names.at(&pod.task, pod.fence))
        }
        WatchEvent::Bookmark(version) => format!("bookmark {}", version.0),
        WatchEvent::Ended(end) => {
            let why = match end {
                WatchEnd::Gone => "the version is too old",
                WatchEnd::Eof => "as watches do",
                WatchEnd::Error { detail } => detail,
            };
            format!("the watch of {} ends: {why}", plural(kind))
        }
    }
}

fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Jobs => "Jobs",
        Kind::Pods => "pods",
    }
}

fn job_looks(job: &Job) -> String {
    let end = match &job.end {
        None => "live".to_owned(),
        Some(JobEnd::Complete) => "complete".to_owned(),
        Some(JobEnd::Failed { reason }) => format!("failed ({reason})"),
    };
    if job.is_deleting { format!("{end}, being deleted") } else { end }
}

fn pod_looks(pod: &Pod) -> String {
    let container = |name: &str, container: &Container| match container {
        Container::Waiting => format!(", {name} waits"),
        Container::Running => format!(", {name} runs"),
        Container::Terminated { exit_code, is_oom: false } => format!(", {name} ended with {exit_code}"),
        Container::Terminated { is_oom: true, .. } => format!(", {name} ran out of memory"),
    };
    let mut looks = match &pod.node {
        Some(node) => format!("on {node}"),
        None => "on no node".to_owned(),
    };
    looks.push_str(&container("worker", &pod.worker));
    looks.push_str(&container("runner", &pod.runner));
    if let Some(trouble) = &pod.trouble {
        looks.extend([", ", &trouble.message]);
    }
    if let Some(disruption) = &pod.disruption {
        looks.extend([", ", &word(disruption)]);
    }
    if pod.is_deleting {
        looks.push_str(", being deleted");
    }
    looks
}

/// Nothing of what says nothing: when it will wake.
pub(super) fn effect(effect: &Effect, names: Names<'_>) -> Option<String> {
    Some(match effect {
        Effect::Scalr { call, .. } => scalr(call, names),
        Effect::Cluster { call, .. } => match call {
            ClusterCall::List(kind, consistency) => format!("list {} ({consistency:?})", plural(*kind)),
            ClusterCall::Watch(kind, version) => format!("watch {} from {}", plural(*kind), version.0),
            ClusterCall::Create(job) => format!("create Job of {}", names.at(&job.task, job.fence)),
            ClusterCall::Delete(job, uid) => format!("delete Job {job} ({uid})"),
        },
        Effect::Abandon { .. } => "hang up".to_owned(),
        Effect::WakeAt(_) => return None,
        Effect::Log(note) => format!("say \"{}\"", note.message),
        Effect::Exit(exit) => match exit {
            ControllerExit::Stopped => "end".to_owned(),
            ControllerExit::Unauthorized { detail } => format!("end: the token is refused ({detail})"),
            ControllerExit::Refused { detail } => format!("end: refused ({detail})"),
        },
    })
}

fn scalr(call: &ScalrCall, names: Names<'_>) -> String {
    match call {
        ScalrCall::Register(_) => "register".to_owned(),
        ScalrCall::Heartbeat(_, beat) => heartbeat(beat, names),
        ScalrCall::Deregister(_) => "deregister".to_owned(),
        ScalrCall::Acquire(_, ask) => format!("acquire {} and {} ahead", ask.slots, ask.ahead),
        ScalrCall::Release(task, release) => {
            format!("release {} ({})", names.at(task, release.fence), word(&release.reason))
        }
        ScalrCall::LaunchEvents(_, events) => launch_events(events, names),
        ScalrCall::LaunchFailed(task, failed) => {
            let again = if failed.retryable { "" } else { ", for good" };
            let task = names.at(task, failed.fence);
            format!("launch-failed {task} ({}{again}): {}", word(&failed.reason), failed.message)
        }
        ScalrCall::WorkerLost(task, lost) => {
            let proof = if lost.ended { ", proved" } else { "" };
            format!("worker-lost {} ({}{proof})", names.at(task, lost.fence), word(&lost.reason))
        }
        ScalrCall::Messages(..) => "wait for hints".to_owned(),
    }
}

fn heartbeat(beat: &Heartbeat, names: Names<'_>) -> String {
    let tasks = beat.tasks.iter().map(|at| names.at(&at.id, at.fence));
    let draining = if beat.draining { ", draining" } else { "" };
    format!("heartbeat: {} free, has {}{draining}", beat.slots, listed(tasks))
}

fn launch_events(events: &LaunchEvents, names: Names<'_>) -> String {
    let events = events
        .events
        .iter()
        .map(|event| format!("{} {}", names.at(&event.task, event.fence), word(&event.kind)));
    format!("launch events: {}", listed(events))
}
