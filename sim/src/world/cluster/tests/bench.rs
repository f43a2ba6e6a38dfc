//! A bench: the cluster, a heap for its own events, processes that end when a test says so or when they are
//! killed, and a line of text for everything that it says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use scalr_core::{
    clock::Millis,
    cluster::{
        Consistency, Container, Job, JobEnd, JobSpec, Kind, Listing, Object, Pod, Uid, Version, WatchEvent,
    },
    controller::{effect::ClusterCall, input::Answer},
    op::Op,
};
use scalr_protocol::{
    agent::{Action, Presets},
    id::{AccountId, EnvironmentId, Fence, RunId, TaskId, WorkspaceId},
};

use super::super::{
    ClientId, ClusterFault, ClusterModel, ClusterSetup, Internal, PodKey, Reaction, Role, Stimulus,
};
use crate::{luck::Luck, world::setup::TaskNumber};

/// What is to come.
#[derive(Clone, Debug)]
enum Due {
    Cluster(Internal),
    Exit(PodKey, Role, i32),
    Answer(Op, Answer),
    Watched(Op, WatchEvent),
}

/// The cluster and somebody who plays with it. Everything that is said becomes text.
#[derive(Clone, Debug)]
pub(super) struct Bench {
    pub(super) cluster: ClusterModel,
    pub(super) now: Millis,
    luck: Luck,
    due: BTreeMap<(Millis, u64), Due>,
    filed: u64,
    ops: u64,
    client: ClientId,
    /// Processes that run, and those that ran.
    pub(super) running: BTreeSet<(PodKey, Role)>,
    ended: BTreeSet<(PodKey, Role)>,
    /// Whether they listen to no SIGTERM.
    pub(super) is_deaf: bool,
    /// How long they run, if they end by themselves.
    pub(super) lasts_ms: Option<u64>,
    pub(super) text: String,
    pub(super) is_silent: bool,
    pub(super) is_checked: bool,
    pub(super) answers: BTreeMap<Op, Answer>,
    pub(super) events: Vec<(Op, WatchEvent)>,
    pub(super) steps: u64,
}

/// A task's place in the workload.
pub(super) const fn number(run: u32) -> TaskNumber {
    TaskNumber { run, action: Action::Plan }
}

fn spec(run: u32, fence: u64) -> JobSpec {
    let name = if fence > 1 { format!("job-{run}-{fence}") } else { format!("job-{run}") };
    JobSpec {
        name: name.as_str().into(),
        task: TaskId::new(&format!("t{run}")).expect("an id"),
        fence: Fence(fence),
        action: Action::Plan,
        stage: "plan".to_owned(),
        run: RunId::new(&format!("run-{run}")).expect("an id"),
        workspace: WorkspaceId::new("ws-1").expect("an id"),
        workspace_name: "network".to_owned(),
        environment: EnvironmentId::new("env-1").expect("an id"),
        environment_name: "production".to_owned(),
        account: AccountId::new("acc-1").expect("an id"),
        account_name: "example".to_owned(),
        presets: Presets::default(),
    }
}

impl Bench {
    pub(super) fn new(setup: &ClusterSetup) -> Self {
        Self::with_seed(setup, 1)
    }

    pub(super) fn with_seed(setup: &ClusterSetup, seed: u64) -> Self {
        Self {
            cluster: ClusterModel::new(setup),
            now: Millis(0),
            luck: Luck::new(seed),
            due: BTreeMap::new(),
            filed: 0,
            ops: 0,
            client: crate::world::process::ProcessId(1),
            running: BTreeSet::new(),
            ended: BTreeSet::new(),
            is_deaf: false,
            lasts_ms: None,
            text: String::new(),
            is_silent: false,
            is_checked: true,
            answers: BTreeMap::new(),
            events: Vec::new(),
            steps: 0,
        }
    }

    fn push(&mut self, after_ms: u64, due: Due) {
        self.filed += 1;
        self.due.insert((self.now + after_ms, self.filed), due);
    }

    pub(super) fn say(&mut self, line: &str) {
        if self.is_silent {
            return;
        }
        let _ = writeln!(self.text, "{} {line}", self.now);
    }

    pub(super) fn feel(&mut self, stimulus: Stimulus) {
        let mut out = Vec::new();
        self.cluster.react(self.now, &self.luck, stimulus, &mut out);
        if self.is_checked
            && let Some(fault) = self.cluster.faults_in_books()
        {
            panic!("{}: {fault}\n{}", self.now, self.text);
        }
        for reaction in out {
            self.take(reaction);
        }
    }

    fn take(&mut self, reaction: Reaction) {
        match reaction {
            Reaction::Answer { op, answer, after_ms, .. } => self.push(after_ms, Due::Answer(op, answer)),
            Reaction::Watched { op, event, after_ms, .. } => self.push(after_ms, Due::Watched(op, event)),
            Reaction::Later { after_ms, event } => self.push(after_ms, Due::Cluster(event)),
            Reaction::Run { pod, role, node, job } => {
                self.say(&format!(
                    "run {pod} {role:?} of {} fence {} on {node}",
                    job.task.as_str(),
                    job.fence.0
                ));
                assert!(!self.ended.contains(&(pod, role)), "{pod} {role:?} ran already");
                assert!(self.running.insert((pod, role)), "{pod} {role:?} runs already");
                if let Some(lasts_ms) = self.lasts_ms {
                    self.push(lasts_ms, Due::Exit(pod, role, 0));
                }
            }
            Reaction::Terminate { pod, grace_ms } => {
                self.say(&format!("terminate {pod} within {grace_ms}"));
                for role in Role::ALL {
                    if !self.is_deaf && self.running.contains(&(pod, role)) {
                        self.push(500, Due::Exit(pod, role, 143));
                    }
                }
            }
            Reaction::Kill { pod, role } => {
                self.say(&format!("kill {pod} {role:?}"));
                assert!(self.running.contains(&(pod, role)), "{pod} {role:?} does not run");
                self.push(0, Due::Exit(pod, role, 137));
            }
            Reaction::Cut { pod, is_cut } => {
                self.say(&format!("{pod} {}", if is_cut { "is cut from Scalr" } else { "reaches Scalr" }));
            }
        }
    }

    /// The next thing that is due, if it is due by then.
    pub(super) fn step(&mut self, until: Millis) -> bool {
        let Some((&(at, number), _)) = self.due.first_key_value() else { return false };
        if at > until {
            return false;
        }
        let due = self.due.remove(&(at, number)).expect("it is there");
        self.now = at;
        self.steps += 1;
        match due {
            Due::Cluster(internal) => {
                let filed = self.filed;
                self.feel(Stimulus::Internal(internal));
                self.check_stale(internal, filed);
            }
            Due::Exit(pod, role, exit_code) => self.exit(pod, role, exit_code),
            Due::Answer(op, answer) => {
                self.say(&format!("{op} {}", answer_text(&answer)));
                self.answers.insert(op, answer);
            }
            Due::Watched(op, event) => {
                self.say(&format!("{op} {}", event_text(&event)));
                self.events.push((op, event));
            }
        }
        true
    }

    /// An event that has come already does nothing the second time, unless it was asked for again.
    fn check_stale(&self, internal: Internal, filed: u64) {
        let is_asked_again = self.due.range((self.now, filed)..=(self.now, u64::MAX)).next().is_some();
        if !self.is_checked || is_asked_again || internal == Internal::Recover {
            return;
        }
        let mut cluster = self.cluster.clone();
        let mut out = Vec::new();
        cluster.react(self.now, &self.luck, Stimulus::Internal(internal), &mut out);
        assert_eq!(out, [], "{internal:?} came twice");
        assert!(cluster == self.cluster, "{internal:?} came twice");
    }

    pub(super) fn exit(&mut self, pod: PodKey, role: Role, exit_code: i32) {
        if self.running.remove(&(pod, role)) {
            self.ended.insert((pod, role));
            self.feel(Stimulus::Exited { pod, role, exit_code, is_oom: false });
        }
    }

    /// Lets so much time pass.
    pub(super) fn pass(&mut self, ms: u64) {
        let until = self.now + ms;
        while self.step(until) {}
        self.now = until;
    }

    /// Lets time pass until nothing is to come, or too much has come.
    pub(super) fn settle(&mut self, steps_max: u64) {
        let before = self.steps;
        while self.step(Millis::NEVER) {
            assert!(self.steps - before < steps_max, "it does not settle\n{}", self.text);
        }
    }

    pub(super) fn ask(&mut self, call: ClusterCall) -> Op {
        self.ops += 1;
        let op = Op(self.ops);
        let client = self.client;
        self.feel(Stimulus::Call { client, op, call });
        op
    }

    pub(super) fn abandon(&mut self, op: Op) {
        let client = self.client;
        self.feel(Stimulus::Abandon { client, op });
    }

    /// A Job for the plan of a run, under a fence.
    pub(super) fn job(&mut self, run: u32, fence: u64) -> JobSpec {
        let spec = spec(run, fence);
        self.cluster.introduce(&spec.task, number(run));
        spec
    }

    pub(super) fn create(&mut self, run: u32) -> Op {
        let spec = self.job(run, 1);
        self.ask(ClusterCall::Create(Box::new(spec)))
    }

    /// The Job that a creation has made.
    pub(super) fn made(&mut self, op: Op) -> Job {
        self.pass(1_000);
        let answer = &self.answers[&op];
        let Answer::Created(Ok(job)) = answer else { panic!("{op} made no Job: {answer:?}") };
        job.clone()
    }

    pub(super) fn delete(&mut self, job: &Job) -> Op {
        self.ask(ClusterCall::Delete(job.name.clone(), job.uid.clone()))
    }

    pub(super) fn watch(&mut self, kind: Kind, after: u64) -> Op {
        self.ask(ClusterCall::Watch(kind, Version(after)))
    }

    /// A list as it is answered.
    pub(super) fn list(&mut self, kind: Kind, consistency: Consistency) -> Listing {
        let op = self.ask(ClusterCall::List(kind, consistency));
        self.pass(100);
        match self.answers.remove(&op) {
            Some(Answer::Listed(Ok(listing))) => listing,
            other => panic!("{op} lists nothing: {other:?}"),
        }
    }

    pub(super) fn strike(&mut self, fault: ClusterFault) {
        self.say(&format!("-- {fault:?}"));
        self.feel(Stimulus::Fault(fault));
    }

    /// Every process ends with this.
    pub(super) fn exit_all(&mut self, exit_code: i32) {
        for (pod, role) in self.running.clone() {
            self.exit(pod, role, exit_code);
        }
    }

    /// How everything looks in the API server.
    pub(super) fn look(&mut self) {
        let jobs: Vec<String> = self.cluster.jobs().map(job_text).collect();
        let pods: Vec<String> = self.cluster.pods().map(|(_, pod)| pod_text(pod)).collect();
        for line in jobs.iter().chain(&pods) {
            self.say(&format!("   {line}"));
        }
    }

    pub(super) fn take_text(&mut self) -> String {
        std::mem::take(&mut self.text)
    }
}

pub(super) fn uid(object: &Object) -> &Uid {
    match object {
        Object::Job(job) => &job.uid,
        Object::Pod(pod) => &pod.uid,
    }
}

pub(super) fn version(object: &Object) -> Version {
    match object {
        Object::Job(job) => job.version,
        Object::Pod(pod) => pod.version,
    }
}

fn job_text(job: &Job) -> String {
    let end = match &job.end {
        None => String::new(),
        Some(JobEnd::Complete) => " complete".to_owned(),
        Some(JobEnd::Failed { reason }) => format!(" failed: {reason}"),
    };
    let deleting = if job.is_deleting { " deleting" } else { "" };
    format!("{} {}@{}{deleting}{end}", job.name, job.uid, job.version.0)
}

fn pod_text(pod: &Pod) -> String {
    let container = |container: &Container| match container {
        Container::Waiting => "waiting".to_owned(),
        Container::Running => "running".to_owned(),
        Container::Terminated { exit_code, is_oom } => {
            format!("exit {exit_code}{}", if *is_oom { " oom" } else { "" })
        }
    };
    let mut text = format!("{} @{}", pod.name, pod.version.0);
    if let Some(node) = &pod.node {
        let _ = write!(text, " on {node}");
    }
    if pod.is_deleting {
        text.push_str(" deleting");
    }
    let _ = write!(text, " {}/{}", container(&pod.worker), container(&pod.runner));
    if let Some(trouble) = &pod.trouble {
        let _ = write!(text, " {:?}", trouble.kind);
    }
    if let Some(disruption) = &pod.disruption {
        let _ = write!(text, " {disruption:?}");
    }
    text
}

fn object_text(object: &Object) -> String {
    match object {
        Object::Job(job) => job_text(job),
        Object::Pod(pod) => pod_text(pod),
    }
}

fn event_text(event: &WatchEvent) -> String {
    match event {
        WatchEvent::Seen(object) => format!("seen {}", object_text(object)),
        WatchEvent::Gone(object) => format!("gone {}", object_text(object)),
        WatchEvent::Bookmark(version) => format!("bookmark {}", version.0),
        WatchEvent::Ended(end) => format!("ended {end:?}"),
    }
}

fn answer_text(answer: &Answer) -> String {
    if let Answer::Listed(Ok(listing)) = answer {
        let objects: Vec<String> = listing.objects.iter().map(object_text).collect();
        format!("listed @{}: [{}]", listing.version.0, objects.join("; "))
    } else if let Answer::Watching(result) = answer {
        format!("watching {result:?}")
    } else if let Answer::Created(Ok(job)) = answer {
        format!("created {}", job_text(job))
    } else if let Answer::Deleted(Ok(())) = answer {
        "deleted".to_owned()
    } else {
        format!("{answer:?}")
    }
}
