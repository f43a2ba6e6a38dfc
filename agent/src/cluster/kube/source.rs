//! Follows the task template: what is known of it now, for whoever makes a Job next. A template that changes
//! changes no Job that was made.
//!
//! A cluster that does not answer for a while takes away nothing that was known.

use std::{sync::Arc, time::Duration};

use rand::RngExt as _;
use tokio::sync::watch as channel;

use super::{
    Shared,
    api::{Line, Page},
    error::{CallError, Refusal},
    template::{Known, Template, TemplateView},
    wire::{Lines, Resource, Select},
};

/// Pauses between attempts that fail double up to this; each is drawn between nothing and its bound.
const PAUSE_MS_MAX: u64 = 30_000;
const PAUSE_MS: u64 = 500;
/// A watch of one object says something once a minute at least, its bookmarks. After so long without a word
/// it is taken for dead: five minutes are its own length.
const SILENCE_MS: u64 = 300_000;
/// Dispatch pauses while the template has this annotation with the value `true`.
pub(super) const PAUSED: &str = "scalr.io/paused";

/// What is seen of the template.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sight {
    /// Whether it can be used.
    pub(super) known: Known,
    /// The object itself, where there is one.
    pub(super) subject: Option<Subject>,
}

/// The custom resource, but for the template in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Subject {
    /// Its UID.
    pub(super) uid: String,
    /// Of its specification.
    pub(super) generation: i64,
    /// Of all of it.
    pub(super) version: String,
    /// Its status, as it was last seen.
    pub(super) status: serde_json::Value,
    /// What Jobs' names begin with.
    pub(super) basename: Option<String>,
    /// Whether dispatch is to pause.
    pub(super) is_paused: bool,
}

/// Follows the template for as long as somebody listens.
pub(super) async fn follow(shared: Arc<Shared>, sight: channel::Sender<Sight>) {
    let options = &shared.options;
    let (namespace, plural) = (&options.namespace, options.template_kind.plural());
    let resource = Resource::at(format!("/apis/scalr.io/v1/namespaces/{namespace}/{plural}"));
    let fields = format!("metadata.name={}", options.template);
    let mut failures: u32 = 0;
    while !sight.is_closed() {
        match read(&shared, &resource, &fields, &sight).await {
            Ok(version) => match watch(&shared, &resource, &fields, version, &sight).await {
                Ok(()) => failures = 0,
                Err(error) => failures = failed(&sight, plural, &error, failures),
            },
            Err(error) => failures = failed(&sight, plural, &error, failures),
        }
        let pause_ms = (PAUSE_MS << failures.min(8)).min(PAUSE_MS_MAX);
        let pause_ms = rand::rng().random_range(PAUSE_MS.min(pause_ms)..=pause_ms);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// Reads it as it is now.
async fn read(
    shared: &Shared,
    resource: &Resource,
    fields: &str,
    sight: &channel::Sender<Sight>,
) -> Result<String, CallError> {
    let select = Select { fields: Some(fields), ..Select::default() };
    let page: Page<TemplateView> = shared.wire.list(resource, &select).await?;
    let view = page.items.into_iter().find(|view| view.metadata.name == shared.options.template);
    show(sight, view.map_or(missing(), |view| seen(view, shared.options.deadline_s)));
    Ok(page.metadata.resource_version)
}

/// Follows it until the watch ends, as watches do, or says why it broke.
async fn watch(
    shared: &Shared,
    resource: &Resource,
    fields: &str,
    mut version: String,
    sight: &channel::Sender<Sight>,
) -> Result<(), CallError> {
    // Watches of one list follow each other without another list, as long as none of them breaks.
    loop {
        let mut lines = shared.wire.watch(resource, None, Some(fields), &version).await?;
        let mut is_fruitless = true;
        while let Some(line) = next(&mut lines).await? {
            is_fruitless = false;
            let line = serde_json::from_slice::<Line<TemplateView>>(&line)
                .map_err(|error| CallError::Nothing(format!("a line of the watch can't be read: {error}")))?;
            match line {
                Line::Added(view) | Line::Modified(view) => {
                    version.clone_from(&view.metadata.resource_version);
                    show(sight, seen(view, shared.options.deadline_s));
                }
                Line::Deleted(view) => {
                    version = view.metadata.resource_version;
                    show(sight, missing());
                }
                Line::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                // The history is gone: list again, and soon.
                Line::Error(status) => {
                    let refusal = Refusal::told(status);
                    return if refusal.is_gone() { Ok(()) } else { Err(CallError::Said(refusal)) };
                }
            }
        }
        if is_fruitless || sight.is_closed() {
            return Ok(());
        }
    }
}

async fn next(lines: &mut Lines) -> Result<Option<bytes::Bytes>, CallError> {
    let line = tokio::time::timeout(Duration::from_millis(SILENCE_MS), lines.next()).await;
    line.unwrap_or(None).transpose()
}

fn seen(view: TemplateView, deadline_s_min: u64) -> Sight {
    let known = match Template::read(&view.spec.job_template, deadline_s_min) {
        Ok(template) => Known::Valid(Arc::new(template)),
        Err(misses) => Known::Invalid(misses),
    };
    let meta = view.metadata;
    let is_paused = meta.annotations.get(PAUSED).is_some_and(|value| value == "true");
    let subject = Subject {
        uid: meta.uid,
        generation: meta.generation,
        version: meta.resource_version,
        status: view.status,
        basename: view.spec.basename,
        is_paused,
    };
    Sight { known, subject: Some(subject) }
}

fn missing() -> Sight {
    Sight { known: Known::Missing, subject: None }
}

/// Shows what is new, and says it once.
fn show(sight: &channel::Sender<Sight>, new: Sight) {
    sight.send_if_modified(|old| {
        if *old == new {
            return false;
        }
        if old.known != new.known {
            match &new.known {
                Known::Valid(_) if matches!(old.known, Known::Valid(_)) => {
                    tracing::info!("the task template has changed: new Jobs are made of it");
                }
                Known::Valid(_) => tracing::info!("the task template is valid"),
                Known::Missing => tracing::warn!("the task template does not exist: tasks are held"),
                Known::Invalid(misses) => {
                    tracing::warn!(
                        misses = misses.join("; "),
                        "the task template is not valid: tasks are held"
                    );
                }
                Known::Unreadable(why) => {
                    tracing::warn!(why, "the task template can't be read: tasks are held");
                }
                Known::Unread => {}
            }
        }
        *old = new;
        true
    });
}

/// What a failure takes away: nothing, unless the API itself says that there is nothing for us to read.
fn failed(sight: &channel::Sender<Sight>, plural: &str, error: &CallError, failures: u32) -> u32 {
    let why = match error {
        CallError::Said(refusal) if refusal.code == 404 => {
            format!("the resource `{plural}.scalr.io` is not installed: `scalr-agent crd apply` does it")
        }
        CallError::Said(_) | CallError::Nothing(_) => error.detail(),
    };
    tracing::debug!(why, failures, "the task template can't be followed");
    let is_final = matches!(error, CallError::Said(refusal) if matches!(refusal.code, 401 | 403 | 404));
    let is_known = matches!(sight.borrow().known, Known::Valid(_) | Known::Invalid(_) | Known::Missing);
    if is_final || !is_known {
        show(sight, Sight { known: Known::Unreadable(why), subject: None });
    }
    failures.saturating_add(1)
}
