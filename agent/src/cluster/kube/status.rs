//! Keeps the status of the template: what is wrong with it, and what became of its Jobs.
//!
//! Several controllers write one status: each adds what it did since its own last word, under the version
//! that it has read, so that none is lost. Without the right to write, it says so once and is silent.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch as channel;

use super::{
    KubeOptions, Shared,
    crd::{Condition, Status},
    error::{CallError, cut},
    source::{Sight, Subject},
    tally::Tally,
    template::Known,
    wire::Resource,
};
use crate::clock::wall;

/// How often it is looked whether there is something to write: what people read is some seconds old.
const LOOK_MS: u64 = 5_000;

/// Keeps the status for as long as the template is followed.
pub(super) async fn keep(shared: Arc<Shared>, sight: channel::Receiver<Sight>) {
    let options = &shared.options;
    let (namespace, plural) = (&options.namespace, options.template_kind.plural());
    let resource = Resource::at(format!("/apis/scalr.io/v1/namespaces/{namespace}/{plural}"));
    let mut written = String::new();
    while sight.has_changed().is_ok() {
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        let seen = sight.borrow().clone();
        let Some(subject) = &seen.subject else { continue };
        // What was written has not been seen yet.
        if subject.version == written {
            continue;
        }
        let tally = shared.tally().clone();
        let now = wall();
        let Some(status) = next(&seen.known, subject, &tally, now) else { continue };
        let patch = json!({"metadata": {"resourceVersion": subject.version}, "status": status});
        match shared.wire.merge(&resource, &options.template, Some("status"), &patch).await {
            Ok(()) => {
                shared.tally().wrote(&tally);
                written.clone_from(&subject.version);
                // Whoever's word was taken says it aloud: once, however many controllers there are.
                for event in news(subject, &status, options, now) {
                    tell(&shared, &event).await;
                }
            }
            Err(error) if error.is_denied() => {
                let why = error.detail();
                return tracing::warn!(
                    why,
                    "the status of the task template can't be written: it stays as it is"
                );
            }
            // Somebody else was faster, or there is no such template any more.
            Err(CallError::Said(refusal)) if matches!(refusal.code, 404 | 409) => {
                written.clone_from(&subject.version);
            }
            Err(error) => {
                tracing::debug!(why = error.detail(), "the status can't be written: it is tried again");
            }
        }
    }
}

/// Adds an event. One that is lost is no loss: the status says the same.
async fn tell(shared: &Shared, event: &Value) {
    if let Err(error) = shared.wire.create::<Value>(&shared.events, event).await {
        tracing::debug!(why = error.detail(), "an event can't be written");
    }
}

/// The events of the conditions that are otherwise than they were. A template that was never looked at before
/// and is well is no news.
fn news(subject: &Subject, status: &Value, options: &KubeOptions, now: Timestamp) -> Vec<Value> {
    let read =
        |status: &Value| serde_json::from_value::<Status>(status.clone()).unwrap_or_default().conditions;
    let (old, new) = (read(&subject.status), read(status));
    let is_news = |condition: &&Condition| match old.iter().find(|old| old.kind == condition.kind) {
        Some(old) => old.status != condition.status || old.reason != condition.reason,
        None => is_bad(condition),
    };
    let event = |condition: &Condition| {
        let message = match &*condition.message {
            "" => format!("{} is {}", condition.kind, condition.status),
            message => message.to_owned(),
        };
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": format!("{}.", options.template), "namespace": options.namespace},
            "involvedObject": {
                "apiVersion": "scalr.io/v1",
                "kind": options.template_kind.as_str(),
                "name": options.template,
                "namespace": options.namespace,
                "uid": subject.uid,
            },
            "type": if is_bad(condition) { "Warning" } else { "Normal" },
            "reason": condition.reason,
            "message": message,
            "firstTimestamp": text(now),
            "lastTimestamp": text(now),
            "count": 1,
            "source": {"component": "scalr-agent"},
        })
    };
    new.iter().filter(is_news).map(event).collect()
}

/// Whether somebody should do something about it.
fn is_bad(condition: &Condition) -> bool {
    (condition.kind == "Stalled") == (condition.status == "True")
}

/// What is to be written, if it is something new.
fn next(known: &Known, subject: &Subject, tally: &Tally, now: Timestamp) -> Option<Value> {
    let old: Status = serde_json::from_value(subject.status.clone()).unwrap_or_default();
    let generation = Some(subject.generation);
    let conditions = conditions(known, subject, tally).map(|(kind, is_true, reason, message)| {
        let status = if is_true { "True" } else { "False" };
        let before = old.conditions.iter().find(|condition| condition.kind == kind);
        let since =
            before.filter(|before| before.status == status).map(|before| before.last_transition_time.clone());
        Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            observed_generation: generation,
            last_transition_time: since.unwrap_or_else(|| text(now)),
            reason: reason.to_owned(),
            message,
        }
    });
    let status = Status {
        observed_generation: generation,
        conditions: conditions.into(),
        in_flight: Some(tally.in_flight()),
        launched: Some(old.launched.unwrap_or(0) + tally.launched),
        failed: Some(old.failed.unwrap_or(0) + tally.failed),
        last_launch: tally.last_launch.map(text).max(old.last_launch.clone()),
    };
    if status == old { None } else { serde_json::to_value(status).ok() }
}

/// Kind, whether it holds, why in a word, why.
type Said = (&'static str, bool, &'static str, String);

fn conditions(known: &Known, subject: &Subject, tally: &Tally) -> [Said; 3] {
    let misses = match known {
        Known::Invalid(misses) => Some(cut(&misses.join("; "))),
        Known::Unread | Known::Unreadable(_) | Known::Missing | Known::Valid(_) => None,
    };
    let valid = match &misses {
        None => ("TemplateValid", true, "Valid", String::new()),
        Some(misses) => ("TemplateValid", false, "Incomplete", misses.clone()),
    };
    let stalled = match &tally.refused {
        None => ("Stalled", false, "JobsTaken", String::new()),
        Some(detail) => ("Stalled", true, "JobsRefused", detail.clone()),
    };
    let ready = if misses.is_some() {
        ("Ready", false, "TemplateInvalid", "tasks are held until the template is valid".to_owned())
    } else if subject.is_paused {
        ("Ready", false, "Paused", format!("dispatch is paused by the annotation {}", super::source::PAUSED))
    } else if stalled.1 {
        ("Ready", false, "JobsRefused", "the cluster refuses the Jobs that are made of it".to_owned())
    } else {
        ("Ready", true, "Dispatching", String::new())
    };
    [valid, ready, stalled]
}

/// As Kubernetes writes moments: by the second.
fn text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests;
