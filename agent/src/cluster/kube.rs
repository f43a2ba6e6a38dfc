//! Jobs of a Kubernetes namespace. A thin map: each call is made once, with a bound, and its answer is put
//! into our nouns; what follows from it is decided in the brains.
//!
//! It never makes an object in two steps, never repeats a call, never touches what does not carry its own
//! labels, and never deletes by name alone.
//!
//! # What it asks of the API
//!
//! All in the agent's own namespace. A simulated API server has to serve this much, and a role has to allow
//! it; without what is marked *optional* it says so once and does without.
//!
//! - `jobs` of `batch/v1`: list, watch, get, create, delete. Lists with `labelSelector`, and with `limit` and
//!   `continue`, or `resourceVersion=0`; watches with `labelSelector`, `resourceVersion`, `timeoutSeconds`
//!   and `allowWatchBookmarks`. A get by name follows a 409 `AlreadyExists`. A deletion has
//!   `preconditions.uid` and `propagationPolicy` in its body.
//! - `pods` of `v1`: list, watch; as Jobs.
//! - `atasks` (or `agenttasktemplates`) of `scalr.io/v1`: list, watch; `fieldSelector=metadata.name=`.
//! - `atasks/status` (or `agenttasktemplates/status`): patch, *optional*. A merge patch with
//!   `metadata.resourceVersion`, which a newer one refuses with 409.
//! - `events` of `v1`: list, *optional*; `fieldSelector=involvedObject.uid=`, of pods that do not start and
//!   of Jobs that get no pod.
//! - `events` of `v1`: create, *optional*; with `metadata.generateName`.
//!
//! `scalr-agent crd apply` also patches (server-side apply) `customresourcedefinitions` of
//! `apiextensions.k8s.io/v1`.

pub mod access;
pub mod crd;

mod api;
mod error;
mod event;
mod eyes;
mod job;
mod pod;
mod quantity;
mod seen;
mod source;
mod status;
mod tally;
mod template;
mod watch;
mod wire;
mod yaml;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use scalr_core::cluster::{
    Cluster, ClusterError, Consistency, Job, JobName, JobSpec, Kind, Listing, Object, Pod, Uid, Version,
};
use tokio::{sync::watch as channel, task::JoinHandle, time::Instant};
use url::Url;

pub use self::watch::KubeWatch;
use self::{
    api::{EventView, JobView, Page, PodView},
    error::{CallError, cut},
    eyes::Eyes,
    job::Ends,
    source::Sight,
    tally::Tally,
    template::{Known, Template},
    wire::{Resource, Select, Wire},
};
use crate::{clock::wall, cluster::marks};

/// The label that says which server's tasks a Job is for.
const SERVER: &str = "scalr.io/server";
/// The label that says of which template a Job was made.
const TEMPLATE: &str = "scalr.io/template";
/// How many pages a list has at most: some ten times what etcd bears of Jobs.
const PAGES_MAX: usize = 1_000;
/// How long a creation waits for the first sight of the template: a controller that has just begun makes no
/// task wait for a repeat.
const TEMPLATE_WAIT_MS: u64 = 5_000;

/// The kinds of custom resource that hold a task template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateKind {
    /// `atasks.scalr.io`.
    AgentTask,
    /// `agenttasktemplates.scalr.io`, as later versions of the public chart have it.
    AgentTaskTemplate,
}

impl TemplateKind {
    /// As `kind` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AgentTask => "AgentTask",
            Self::AgentTaskTemplate => "AgentTaskTemplate",
        }
    }

    /// As paths have it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::AgentTask => "atasks",
            Self::AgentTaskTemplate => "agenttasktemplates",
        }
    }
}

/// What the driver has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeOptions {
    /// Where Jobs, pods and the template are.
    pub namespace: String,
    /// What kind of resource the template is.
    pub template_kind: TemplateKind,
    /// Its name.
    pub template: String,
    /// Whose tasks the Jobs are for: a label's value, see [`server_label`].
    pub server: String,
    /// How long a finished Job stays where the template does not say, in seconds.
    pub ttl_s: u64,
    /// The last ceiling of a Job's life, in seconds: what a task may take in all. A template may have a
    /// larger one, not a smaller one.
    pub deadline_s: u64,
}

impl KubeOptions {
    /// The labels that all of ours have, so that controllers of two servers or two templates in one namespace
    /// don't take each other's Jobs for lost ones of their own.
    fn own(&self) -> [(&'static str, String); 2] {
        [(SERVER, self.server.clone()), (TEMPLATE, self.template.clone())]
    }

    /// What selects ours.
    fn selector(&self) -> String {
        self.own().map(|(key, value)| format!("{key}={value}")).join(",")
    }
}

/// A server as a label's value: its host and port, or a digest of them where they are none.
pub fn server_label(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let text = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}_{port}"));
    if !text.is_empty() && marks::is_label(&text) {
        return text;
    }
    // FNV-1a, as Jobs' names have it: two servers of one digest would be an accident that nobody sees.
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

/// Jobs of a Kubernetes namespace. Clones are the same cluster.
#[derive(Clone, Debug)]
pub struct KubeCluster {
    shared: Arc<Shared>,
    sight: channel::Receiver<Sight>,
    _tasks: Arc<[Ending; 2]>,
}

/// What the cluster and its watches share.
#[derive(Debug)]
struct Shared {
    wire: Wire,
    options: KubeOptions,
    selector: String,
    jobs: Resource,
    pods: Resource,
    events: Resource,
    podless: Mutex<Eyes<Job>>,
    starting: Mutex<Eyes<Pod>>,
    tally: Mutex<Tally>,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn podless(&self) -> MutexGuard<'_, Eyes<Job>> {
        self.podless.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn starting(&self) -> MutexGuard<'_, Eyes<Pod>> {
        self.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A Job with what its events have told, unless it can't be read: then it is nobody's.
    fn see_job(&self, view: &JobView) -> Option<Object> {
        let name = &view.metadata.name;
        let job = seen::job(view)
            .inspect_err(|error| {
                tracing::warn!(job = name, "a Job that has our labels is passed over: {error}");
            })
            .ok()?;
        self.tally().seen(&job);
        Some(Object::Job(self.podless().seen(Instant::now(), job, seen::is_podless(view))))
    }

    /// A pod with what its events have told, unless it can't be read.
    fn see_pod(&self, view: &PodView) -> Option<Object> {
        let name = &view.metadata.name;
        let pod = pod::pod(view)
            .inspect_err(|error| {
                tracing::warn!(pod = name, "a pod that has our labels is passed over: {error}");
            })
            .ok()?;
        let is_starting = pod::is_starting(&pod);
        Some(Object::Pod(self.starting().seen(Instant::now(), pod, is_starting)))
    }

    /// An object is gone.
    fn gone(&self, object: &Object) {
        match object {
            Object::Pod(pod) => self.starting().forget(&pod.uid),
            Object::Job(job) => {
                self.tally().gone(&job.uid);
                self.podless().forget(&job.uid);
            }
        }
    }

    /// The events of an object: one page of them, since what matters is said again and again.
    async fn events_of(&self, uid: &Uid) -> Result<Vec<EventView>, CallError> {
        let fields = format!("involvedObject.uid={uid}");
        let select = Select { fields: Some(&fields), ..Select::default() };
        let page: Page<EventView> = self.wire.list(&self.events, &select).await?;
        Ok(page.items)
    }
}

/// A task that ends when this is dropped.
#[derive(Debug)]
struct Ending(JoinHandle<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl KubeCluster {
    /// Speaks to the cluster of a client, and begins to watch the template. Wants a tokio runtime.
    pub fn open(client: ::kube::Client, options: KubeOptions) -> Self {
        let wire = Wire::new(client);
        let namespace = &options.namespace;
        let shared = Arc::new(Shared {
            jobs: Resource::at(format!("/apis/batch/v1/namespaces/{namespace}/jobs")),
            pods: Resource::at(format!("/api/v1/namespaces/{namespace}/pods")),
            events: Resource::at(format!("/api/v1/namespaces/{namespace}/events")),
            podless: Mutex::new(Eyes::new(Instant::now())),
            starting: Mutex::new(Eyes::new(Instant::now())),
            tally: Mutex::default(),
            selector: options.selector(),
            wire: wire.clone(),
            options,
        });
        let (sender, sight) = channel::channel(Sight::default());
        let source = tokio::spawn(source::follow(Arc::clone(&shared), sender));
        let status = tokio::spawn(status::keep(Arc::clone(&shared), sight.clone()));
        Self { shared, sight, _tasks: Arc::new([Ending(source), Ending(status)]) }
    }

    /// What the template says that Jobs' names begin with, once it is read; nothing, if that takes long.
    pub async fn basename(&self) -> Option<String> {
        self.first_sight().await.subject?.basename.filter(|basename| !basename.is_empty())
    }

    /// Whether the template asks to launch nothing, whenever that changes. Wants a tokio runtime.
    pub fn pauses(&self) -> channel::Receiver<bool> {
        let (sender, receiver) = channel::channel(false);
        let mut sight = self.sight.clone();
        tokio::spawn(async move {
            sight.mark_changed();
            while sight.changed().await.is_ok() && !sender.is_closed() {
                let is_paused = sight.borrow_and_update().subject.as_ref().is_some_and(|s| s.is_paused);
                sender.send_if_modified(|known| std::mem::replace(known, is_paused) != is_paused);
            }
        });
        receiver
    }

    /// What is known of the template, waiting for the first sight of it for a while.
    async fn first_sight(&self) -> Sight {
        let mut sight = self.sight.clone();
        let seen = sight.wait_for(|sight| sight.known != Known::Unread);
        match tokio::time::timeout(Duration::from_millis(TEMPLATE_WAIT_MS), seen).await {
            Ok(Ok(sight)) => sight.clone(),
            // It takes long, or its source is gone.
            Ok(Err(_)) | Err(_) => self.sight.borrow().clone(),
        }
    }

    /// The template, if it can be used.
    async fn template(&self) -> Result<Arc<Template>, ClusterError> {
        let known = self.first_sight().await.known;
        let (kind, name) = (self.shared.options.template_kind.as_str(), &self.shared.options.template);
        let unusable =
            |what: String| Err(ClusterError::Template { detail: format!("{kind} `{name}` {what}") });
        match known {
            Known::Valid(template) => Ok(template),
            Known::Unread => unusable("has not been read yet".to_owned()),
            Known::Unreadable(why) => unusable(format!("can't be read: {why}")),
            Known::Missing => unusable("does not exist".to_owned()),
            Known::Invalid(misses) => unusable(format!("is not valid: {}", cut(&misses.join("; ")))),
        }
    }

    /// What has the name that was asked for.
    async fn found(&self, spec: &JobSpec) -> Result<Job, ClusterError> {
        let view: JobView = match self.shared.wire.get(&self.shared.jobs, spec.name.as_str()).await {
            Ok(view) => view,
            Err(error) if error.is_not_found() => {
                let detail = "the name was taken by a Job that is gone already".to_owned();
                return Err(ClusterError::Unreachable { detail });
            }
            Err(error) => return Err(error::of_read(error)),
        };
        let is_own = self
            .shared
            .options
            .own()
            .iter()
            .all(|(key, value)| view.metadata.labels.get(*key) == Some(value));
        match seen::job(&view) {
            Ok(job) if is_own && job.task == spec.task && job.fence == spec.fence => {
                if job.is_deleting || job.end.is_some() { Err(ClusterError::Over) } else { Ok(job) }
            }
            Ok(_) | Err(_) => Err(ClusterError::NameTaken),
        }
    }

    /// Every page of a list.
    async fn pages<T>(
        &self,
        of: &Resource,
        consistency: Consistency,
        read: impl Fn(T) -> Option<Object>,
    ) -> Result<Listing, ClusterError>
    where
        T: serde::de::DeserializeOwned,
    {
        let (mut objects, mut more) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let select = Select {
                labels: Some(&self.shared.selector),
                is_cached: consistency == Consistency::Cached,
                more: (!more.is_empty()).then_some(&*more),
                ..Select::default()
            };
            let page: Page<T> = self.shared.wire.list(of, &select).await.map_err(error::of_read)?;
            objects.extend(page.items.into_iter().filter_map(&read));
            more = page.metadata.more;
            if more.is_empty() {
                // All pages are of one moment, and say so.
                let version = version(&page.metadata.resource_version)?;
                return Ok(Listing { version, objects });
            }
        }
        Err(ClusterError::Unreachable { detail: format!("the list has more than {PAGES_MAX} pages") })
    }
}

fn version(text: &str) -> Result<Version, ClusterError> {
    seen::version(text).map_err(|error| ClusterError::Unreachable { detail: format!("a list: {error}") })
}

fn uid(object: &Object) -> &Uid {
    match object {
        Object::Job(job) => &job.uid,
        Object::Pod(pod) => &pod.uid,
    }
}

impl Cluster for KubeCluster {
    type Watch = KubeWatch;

    async fn list(&self, kind: Kind, consistency: Consistency) -> Result<Listing, ClusterError> {
        let shared = &self.shared;
        let listing = match kind {
            Kind::Jobs => self.pages(&shared.jobs, consistency, |view| shared.see_job(&view)).await?,
            Kind::Pods => self.pages(&shared.pods, consistency, |view| shared.see_pod(&view)).await?,
        };
        let listed = listing.objects.iter().map(|object| uid(object).clone()).collect();
        match kind {
            Kind::Jobs => {
                shared.tally().keep(&listed);
                shared.podless().keep(&listed);
            }
            Kind::Pods => shared.starting().keep(&listed),
        }
        Ok(listing)
    }

    async fn watch(&self, kind: Kind, after: Version) -> Result<KubeWatch, ClusterError> {
        let shared = &self.shared;
        let of = match kind {
            Kind::Jobs => &shared.jobs,
            Kind::Pods => &shared.pods,
        };
        let lines = shared.wire.watch(of, Some(&shared.selector), None, &after.0.to_string()).await;
        Ok(KubeWatch::new(kind, Arc::clone(shared), lines.map_err(error::of_read)?))
    }

    async fn create(&self, spec: &JobSpec) -> Result<Job, ClusterError> {
        let template = self.template().await?;
        let options = &self.shared.options;
        let ends = Ends { ttl_s: options.ttl_s, deadline_s: options.deadline_s };
        let object = job::job(&template, spec, &options.namespace, &options.own(), ends);
        let answer = match self.shared.wire.create::<JobView>(&self.shared.jobs, &object).await {
            Ok(view) => seen::job(&view).map_err(|error| ClusterError::Unreachable {
                detail: format!("the Job that was made can't be read: {error}"),
            }),
            Err(CallError::Said(refusal)) if refusal.is_taken() => self.found(spec).await,
            Err(error) => Err(error::of_create(error, !spec.presets.is_empty())),
        };
        self.shared.tally().offered(&answer, wall());
        answer
    }

    async fn delete(&self, name: &JobName, uid: &Uid) -> Result<(), ClusterError> {
        let deleted = self.shared.wire.delete(&self.shared.jobs, name.as_str(), uid.as_str()).await;
        deleted.or_else(error::of_delete)
    }
}

#[cfg(test)]
mod tests;
