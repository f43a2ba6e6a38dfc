//! What every cluster must do for a controller.
//!
//! Each function is one clause. It takes a fresh [`Bench`], drives the seam, and panics with what was
//! expected where an implementation differs. A clause that waits does so on a watch; its caller bounds it.

use std::{future::poll_fn, pin::pin, task::Poll};

use scalr_protocol::{
    agent::{Action, Presets},
    id::{AccountId, EnvironmentId, Fence, RunId, TaskId, WorkspaceId},
};

use crate::cluster::{
    Cluster, ClusterError, Consistency, Job, JobEnd, JobSpec, Kind, Object, Pod, Uid, Version, Watch,
    WatchEnd, WatchEvent,
};

/// What a test must supply of the implementation under test: a fresh cluster, and hands to move it.
///
/// A Job's worker and runner stay up until [`finish`](Self::finish) or until the Job is deleted.
pub trait Bench: Send {
    /// A client of the cluster.
    type Cluster: Cluster;

    /// A client of the cluster; each is one of its own, as two controllers have.
    fn cluster(&mut self) -> impl Future<Output = Self::Cluster> + Send;

    /// A Job to make.
    fn spec(&mut self, task: &str, fence: u64, name: &str) -> JobSpec {
        spec(task, fence, name)
    }

    /// Lets worker and runner of a Job exit with 0.
    fn finish(&mut self, job: &Job) -> impl Future<Output = ()> + Send;
}

/// A bench that can also cut the wire.
pub trait WireBench: Bench {
    /// Loses the answer to this client's next write, after its effect.
    fn lose_next_answer(&mut self, cluster: &Self::Cluster) -> impl Future<Output = ()> + Send;
}

/// A Job for the plan of a run, all made up.
pub fn spec(task: &str, fence: u64, name: &str) -> JobSpec {
    JobSpec {
        name: name.into(),
        task: TaskId::new(task).expect("an id"),
        fence: Fence(fence),
        action: Action::Plan,
        stage: "plan".to_owned(),
        run: RunId::new("run-1").expect("an id"),
        workspace: WorkspaceId::new("ws-1").expect("an id"),
        workspace_name: "network".to_owned(),
        environment: EnvironmentId::new("env-1").expect("an id"),
        environment_name: "production".to_owned(),
        account: AccountId::new("acc-1").expect("an id"),
        account_name: "example".to_owned(),
        presets: Presets::default(),
    }
}

/// A Job that was acknowledged is in every quorum list that is sent after that, with its pod or without.
pub async fn a_created_job_is_in_the_next_quorum_list<B: Bench>(mut bench: B) {
    let (one, other) = (bench.cluster().await, bench.cluster().await);
    assert_eq!(jobs(&one).await.1, [], "a fresh cluster is empty");
    let made = create(&one, &bench.spec("atask-1", 1, "job-1")).await;
    for cluster in [&one, &other] {
        let (version, listed) = jobs(cluster).await;
        let [job] = &listed[..] else { panic!("one Job, not {listed:?}") };
        assert_eq!((&job.name, &job.uid), (&made.name, &made.uid));
        assert_eq!((job.task.as_str(), job.fence), ("atask-1", Fence(1)));
        assert_eq!((job.is_deleting, &job.end), (false, &None));
        assert!(job.version <= version, "an object is not newer than the list that holds it");
    }
}

/// A second creation for the same task and fence finds the first, by whomever it was.
pub async fn creating_the_same_again_is_success<B: Bench>(mut bench: B) {
    let (one, other) = (bench.cluster().await, bench.cluster().await);
    let spec = bench.spec("atask-1", 1, "job-1");
    let made = create(&one, &spec).await;
    assert_eq!(create(&one, &spec).await.uid, made.uid);
    assert_eq!(create(&other, &spec).await.uid, made.uid);
    assert_eq!(jobs(&one).await.1.len(), 1);
}

/// A name that stands for another task or fence is not taken over.
pub async fn a_name_taken_for_something_else_is_refused<B: Bench>(mut bench: B) {
    let cluster = bench.cluster().await;
    let made = create(&cluster, &bench.spec("atask-1", 1, "job-1")).await;
    for other in [bench.spec("atask-1", 2, "job-1"), bench.spec("atask-2", 1, "job-1")] {
        assert_eq!(cluster.create(&other).await, Err(ClusterError::NameTaken));
    }
    let listed = jobs(&cluster).await.1;
    assert_eq!(listed.iter().map(|job| &job.uid).collect::<Vec<_>>(), [&made.uid]);
}

/// Two clients that create one Job at once get the same one.
pub async fn two_that_race_for_a_name_get_one_job<B: Bench>(mut bench: B) {
    let (one, other) = (bench.cluster().await, bench.cluster().await);
    for n in 1..=8 {
        let spec = bench.spec(&format!("atask-{n}"), 1, &format!("job-{n}"));
        let (first, second) = both(create(&one, &spec), create(&other, &spec)).await;
        assert_eq!(first.uid, second.uid);
    }
    assert_eq!(jobs(&one).await.1.len(), 8);
}

/// A Job whose containers exit with 0 completes, and its pod is the proof.
pub async fn a_finished_job_is_complete_and_its_pod_proves_it<B: Bench>(mut bench: B) {
    let cluster = bench.cluster().await;
    let made = create(&cluster, &bench.spec("atask-1", 1, "job-1")).await;
    let mut pods = Follower::begin(&cluster, Kind::Pods).await;
    let pod = pods.pod(|pod| pod.worker == crate::cluster::Container::Running).await;
    assert_eq!((&pod.job, &pod.job_uid, pod.fence), (&made.name, &made.uid, Fence(1)));
    assert!(!pod.is_proved_over() && pod.node.is_some());
    bench.finish(&made).await;
    pods.pod(Pod::is_proved_over).await;
    let mut jobs = Follower::begin(&cluster, Kind::Jobs).await;
    assert_eq!(jobs.job(|job| job.end.is_some()).await.end, Some(JobEnd::Complete));
}

/// A finished Job is not begun again by creating it again.
pub async fn a_finished_job_is_over<B: Bench>(mut bench: B) {
    let cluster = bench.cluster().await;
    let spec = bench.spec("atask-1", 1, "job-1");
    let made = create(&cluster, &spec).await;
    let mut jobs = Follower::begin(&cluster, Kind::Jobs).await;
    bench.finish(&made).await;
    jobs.job(|job| job.end.is_some()).await;
    assert_eq!(cluster.create(&spec).await, Err(ClusterError::Over));
    let other = bench.spec("atask-1", 2, "job-1");
    assert_eq!(cluster.create(&other).await, Err(ClusterError::NameTaken));
}

/// A Job that is being deleted is over; once it is gone its name is free for another.
pub async fn a_deleted_job_is_over_or_gone<B: Bench>(mut bench: B) {
    let cluster = bench.cluster().await;
    let spec = bench.spec("atask-1", 1, "job-1");
    let made = create(&cluster, &spec).await;
    let mut jobs = Follower::begin(&cluster, Kind::Jobs).await;
    assert_eq!(cluster.delete(&made.name, &made.uid).await, Ok(()));
    match cluster.create(&spec).await {
        Err(ClusterError::Over) => {}
        Ok(job) => assert_ne!(job.uid, made.uid, "a Job that is being deleted is no success"),
        Err(error) => panic!("expected the Job to be over, not: {error}"),
    }
    jobs.gone(&made.uid).await;
    assert_ne!(create(&cluster, &spec).await.uid, made.uid);
}

/// Only the Job with the very UID is deleted.
pub async fn another_uid_deletes_nothing<B: Bench>(mut bench: B) {
    let cluster = bench.cluster().await;
    let made = create(&cluster, &bench.spec("atask-1", 1, "job-1")).await;
    assert_eq!(cluster.delete(&made.name, &Uid::from("another")).await, Ok(()));
    let listed = jobs(&cluster).await.1;
    assert_eq!(
        listed.iter().map(|job| (&job.uid, job.is_deleting)).collect::<Vec<_>>(),
        [(&made.uid, false)]
    );
}

/// To delete what is not there, or not any more, is success.
pub async fn deleting_what_is_gone_is_success<B: Bench>(mut bench: B) {
    let cluster = bench.cluster().await;
    assert_eq!(cluster.delete(&"job-1".into(), &Uid::from("never-was")).await, Ok(()));
    let made = create(&cluster, &bench.spec("atask-1", 1, "job-1")).await;
    let mut jobs = Follower::begin(&cluster, Kind::Jobs).await;
    assert_eq!(cluster.delete(&made.name, &made.uid).await, Ok(()));
    assert_eq!(cluster.delete(&made.name, &made.uid).await, Ok(()));
    jobs.gone(&made.uid).await;
    assert_eq!(cluster.delete(&made.name, &made.uid).await, Ok(()));
}

/// A deleted Job goes, and its pods with it.
pub async fn a_deleted_job_takes_its_pods_along<B: Bench>(mut bench: B) {
    let cluster = bench.cluster().await;
    let made = create(&cluster, &bench.spec("atask-1", 1, "job-1")).await;
    let kept = create(&cluster, &bench.spec("atask-2", 1, "job-2")).await;
    let mut pods = Follower::begin(&cluster, Kind::Pods).await;
    let pod = pods.pod(|pod| pod.job_uid == made.uid).await;
    assert_eq!(cluster.delete(&made.name, &made.uid).await, Ok(()));
    pods.gone(&pod.uid).await;
    let mut watched = Follower::begin(&cluster, Kind::Jobs).await;
    if watched.known.iter().any(|object| uid(object) == &made.uid) {
        watched.gone(&made.uid).await;
    }
    let listed = jobs(&cluster).await.1;
    assert_eq!(listed.iter().map(|job| &job.uid).collect::<Vec<_>>(), [&kept.uid]);
}

/// A watch from a list's version tells all that came after it, and nothing that the list had.
pub async fn a_watch_goes_on_where_its_list_ended<B: Bench>(mut bench: B) {
    let cluster = bench.cluster().await;
    let before = create(&cluster, &bench.spec("atask-1", 1, "job-1")).await;
    let (version, listed) = jobs(&cluster).await;
    assert_eq!(listed.len(), 1);
    // Made before the watch begins: that is when things get lost.
    let after = create(&cluster, &bench.spec("atask-2", 1, "job-2")).await;
    let mut watch = cluster.watch(Kind::Jobs, version).await.expect("the version is fresh");
    let mut told = Vec::new();
    let seen = loop {
        match watch.next().await {
            WatchEvent::Seen(Object::Job(job)) if job.uid == after.uid => break job,
            WatchEvent::Seen(Object::Job(job)) => told.push(job.version),
            WatchEvent::Bookmark(version) => told.push(version),
            other @ (WatchEvent::Seen(Object::Pod(_)) | WatchEvent::Gone(_) | WatchEvent::Ended(_)) => {
                panic!("expected the second Job, not {other:?}")
            }
        }
    };
    assert!(told.iter().all(|told| *told >= version), "{told:?} is older than the list's {version:?}");
    assert!(seen.version > version && seen.version > before.version);
    assert!(after.version >= seen.version, "what a creation answers is not older than its first sight");
}

/// The life of a Job is told in order, with versions that grow.
pub async fn a_jobs_life_is_told_in_order<B: Bench>(mut bench: B) {
    let cluster = bench.cluster().await;
    let mut watched = Follower::begin(&cluster, Kind::Jobs).await;
    let made = create(&cluster, &bench.spec("atask-1", 1, "job-1")).await;
    let born = watched.job(|job| job.uid == made.uid).await;
    bench.finish(&made).await;
    let ended = watched.job(|job| job.end.is_some()).await;
    assert_eq!(cluster.delete(&made.name, &made.uid).await, Ok(()));
    let gone = watched.gone(&made.uid).await;
    assert!(born.version < ended.version && ended.version < gone, "{born:?} {ended:?} {gone:?}");
    let (version, listed) = jobs(&cluster).await;
    assert!(version >= gone && listed.is_empty());
}

/// After a creation of which no answer came, the same again finds what it made.
pub async fn a_creation_without_an_answer_is_repeated<B: WireBench>(mut bench: B) {
    let cluster = bench.cluster().await;
    let spec = bench.spec("atask-1", 1, "job-1");
    bench.lose_next_answer(&cluster).await;
    let lost = cluster.create(&spec).await;
    assert!(matches!(lost, Err(ClusterError::Unreachable { .. })), "{lost:?}");
    let (_, listed) = jobs(&cluster).await;
    assert_eq!(listed.iter().map(|job| &job.uid).collect::<Vec<_>>(), [&create(&cluster, &spec).await.uid]);
}

async fn create<C: Cluster>(cluster: &C, spec: &JobSpec) -> Job {
    match cluster.create(spec).await {
        Ok(job) => job,
        Err(error) => panic!("expected {} to be made: {error}", spec.name),
    }
}

async fn jobs<C: Cluster>(cluster: &C) -> (Version, Vec<Job>) {
    let listing = cluster.list(Kind::Jobs, Consistency::Quorum).await.expect("a list");
    let job = |object| match object {
        Object::Job(job) => job,
        Object::Pod(pod) => panic!("a pod in a list of Jobs: {pod:?}"),
    };
    (listing.version, listing.objects.into_iter().map(job).collect())
}

fn uid(object: &Object) -> &Uid {
    match object {
        Object::Job(job) => &job.uid,
        Object::Pod(pod) => &pod.uid,
    }
}

fn version(object: &Object) -> Version {
    match object {
        Object::Job(job) => job.version,
        Object::Pod(pod) => pod.version,
    }
}

/// Lists one kind and follows it, as a controller does.
struct Follower<'a, C: Cluster> {
    cluster: &'a C,
    kind: Kind,
    /// What the list had and was not asked for yet.
    known: Vec<Object>,
    version: Version,
    watch: C::Watch,
}

impl<'a, C: Cluster> Follower<'a, C> {
    async fn begin(cluster: &'a C, kind: Kind) -> Self {
        let listing = cluster.list(kind, Consistency::Quorum).await.expect("a list");
        let watch = cluster.watch(kind, listing.version).await.expect("the version is fresh");
        Self { cluster, kind, known: listing.objects, version: listing.version, watch }
    }

    /// The next thing that is told, in the order of versions.
    async fn next(&mut self) -> WatchEvent {
        loop {
            let event = self.watch.next().await;
            let now = match &event {
                WatchEvent::Seen(object) | WatchEvent::Gone(object) => {
                    assert!(version(object) > self.version, "{object:?} comes after {:?}", self.version);
                    version(object)
                }
                WatchEvent::Bookmark(version) => {
                    assert!(
                        *version >= self.version,
                        "a bookmark at {version:?} comes after {:?}",
                        self.version
                    );
                    *version
                }
                WatchEvent::Ended(WatchEnd::Eof) => {
                    self.watch =
                        self.cluster.watch(self.kind, self.version).await.expect("the version is fresh");
                    continue;
                }
                WatchEvent::Ended(end @ (WatchEnd::Gone | WatchEnd::Error { .. })) => {
                    panic!("the watch broke: {end:?}")
                }
            };
            self.version = now;
            return event;
        }
    }

    async fn object(&mut self, fits: impl Fn(&Object) -> bool) -> Object {
        if let Some(at) = self.known.iter().position(&fits) {
            return self.known.remove(at);
        }
        loop {
            match self.next().await {
                WatchEvent::Seen(object) if fits(&object) => return object,
                WatchEvent::Gone(object) => assert!(!fits(&object), "{object:?} went before it was seen"),
                WatchEvent::Seen(_) | WatchEvent::Bookmark(_) => {}
                WatchEvent::Ended(_) => unreachable!("`next` follows on"),
            }
        }
    }

    async fn job(&mut self, fits: impl Fn(&Job) -> bool) -> Job {
        match self.object(|object| matches!(object, Object::Job(job) if fits(job))).await {
            Object::Job(job) => job,
            Object::Pod(_) => unreachable!("it was asked for a Job"),
        }
    }

    async fn pod(&mut self, fits: impl Fn(&Pod) -> bool) -> Pod {
        match self.object(|object| matches!(object, Object::Pod(pod) if fits(pod))).await {
            Object::Pod(pod) => pod,
            Object::Job(_) => unreachable!("it was asked for a pod"),
        }
    }

    /// Waits until the object is gone; the version of its end.
    async fn gone(&mut self, which: &Uid) -> Version {
        loop {
            match self.next().await {
                WatchEvent::Gone(object) if uid(&object) == which => return version(&object),
                WatchEvent::Seen(_) | WatchEvent::Gone(_) | WatchEvent::Bookmark(_) => {}
                WatchEvent::Ended(_) => unreachable!("`next` follows on"),
            }
        }
    }
}

/// Runs both at once, as far as one thread can.
async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut from_a, mut from_b) = (None, None);
    poll_fn(|context| {
        if from_a.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(context)
        {
            from_a = Some(value);
        }
        if from_b.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(context)
        {
            from_b = Some(value);
        }
        if from_a.is_some() && from_b.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    match (from_a, from_b) {
        (Some(a), Some(b)) => (a, b),
        (None, _) | (_, None) => unreachable!("both were waited for"),
    }
}
