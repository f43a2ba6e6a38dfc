//! A Controller, a clock and a script: everything that is done is one line of text.

use std::fmt::Write as _;

use expect_test::Expect;
use scalr_protocol::{
    agent::{
        Acquired, Action, Grant, HeartbeatAnswer, LaunchEvent, Messages, Presets, ReleaseReason, TaskAt,
        TaskVerdict, Verdict,
    },
    id::{AccountId, AgentId, EnvironmentId, Fence, InstanceId, RunId, TaskId, WorkspaceId},
};

use super::super::{
    Controller, ControllerOptions,
    effect::{ClusterCall, Effect, ScalrCall},
    input::{Answer, Input},
};
use crate::{
    clock::Millis,
    cluster::{
        ClusterError, Container, Job, JobEnd, JobName, Kind, Listing, Object, Pod, PodTrouble, TroubleKind,
        Version, WatchEvent,
    },
    op::Op,
    scalr::{Registration, ScalrError},
};

pub(super) fn options() -> ControllerOptions {
    ControllerOptions {
        capacity: 2,
        look_ahead: 5,
        basename: "agent".to_owned(),
        seed: 7,
        ..ControllerOptions::new("agent-0", InstanceId::new("pod-uid").unwrap())
    }
}

/// `t1@2` is the task `t1` under fence 2.
pub(super) fn key(text: &str) -> TaskAt {
    let (task, fence) = text.split_once('@').unwrap();
    TaskAt { id: TaskId::new(task).unwrap(), fence: Fence(fence.parse().unwrap()) }
}

pub(super) fn grant(text: &str) -> Grant {
    let TaskAt { id, fence } = key(text);
    let number = id.as_str().trim_start_matches('t').to_owned();
    Grant {
        run: RunId::new(&format!("run-{number}")).unwrap(),
        workspace: WorkspaceId::new(&format!("ws-{number}")).unwrap(),
        workspace_name: "network".to_owned(),
        environment: EnvironmentId::new("env-1").unwrap(),
        environment_name: "production".to_owned(),
        account: AccountId::new("acc-1").unwrap(),
        account_name: "acme".to_owned(),
        id,
        fence,
        ttl_ms: 60_000,
        action: Action::Plan,
        stage: "plan".to_owned(),
        queued_at: "2026-11-22T08:00:00Z".parse().unwrap(),
        queued_for_ms: 0,
        priority: 0,
        presets: Presets::default(),
    }
}

/// The Job `j-t1-2` of `t1@2`, with the UID `u-t1-2`.
pub(super) fn job(text: &str, version: u64) -> Job {
    let TaskAt { id, fence } = key(text);
    Job {
        name: JobName::from(format!("j-{id}-{fence}").as_str()),
        uid: format!("u-{id}-{fence}").as_str().into(),
        version: Version(version),
        task: id,
        fence,
        is_deleting: false,
        end: None,
        trouble: None,
    }
}

pub(super) fn ended(text: &str, version: u64, end: JobEnd) -> Job {
    Job { end: Some(end), ..job(text, version) }
}

pub(super) fn pod(text: &str, version: u64, worker: Container, runner: Container) -> Pod {
    let job = job(text, version);
    Pod {
        name: format!("p-{}-{}", job.task, job.fence).as_str().into(),
        uid: format!("pu-{}-{}", job.task, job.fence).as_str().into(),
        version: job.version,
        job: job.name,
        job_uid: job.uid,
        task: job.task,
        fence: job.fence,
        is_deleting: false,
        node: None,
        trouble: None,
        worker,
        runner,
        disruption: None,
    }
}

pub(super) fn waiting(text: &str, version: u64) -> Pod {
    pod(text, version, Container::Waiting, Container::Waiting)
}

pub(super) fn running(text: &str, version: u64) -> Pod {
    pod(text, version, Container::Running, Container::Running)
}

pub(super) fn exited(exit_code: i32) -> Container {
    Container::Terminated { exit_code, is_oom: false }
}

pub(super) fn troubled(text: &str, version: u64, kind: TroubleKind, message: &str) -> Pod {
    Pod { trouble: Some(PodTrouble { kind, message: message.to_owned() }), ..waiting(text, version) }
}

pub(super) fn unreachable() -> ScalrError {
    ScalrError::Unreachable { detail: "timed out".to_owned() }
}

pub(super) fn cut() -> ClusterError {
    ClusterError::Unreachable { detail: "timed out".to_owned() }
}

/// The tellable part of an effect; nothing of what is only for logs and clocks.
pub(super) fn render(effect: &Effect) -> Option<(Option<Op>, String)> {
    match effect {
        Effect::Scalr { op, call } => Some((Some(*op), render_scalr(call))),
        Effect::Cluster { op, call } => Some((
            Some(*op),
            match call {
                ClusterCall::List(kind, consistency) => format!("list {kind:?} {consistency:?}"),
                ClusterCall::Watch(kind, version) => format!("watch {kind:?} after {}", version.0),
                ClusterCall::Create(spec) => format!("create {} for {}@{}", spec.name, spec.task, spec.fence),
                ClusterCall::Delete(name, uid) => format!("delete {name} {uid}"),
            },
        )),
        Effect::Abandon { op } => Some((None, format!("abandon {op}"))),
        Effect::Exit(exit) => Some((None, format!("exit {exit:?}"))),
        Effect::WakeAt(_) | Effect::Log(_) => None,
    }
}

fn render_scalr(call: &ScalrCall) -> String {
    let names = |tasks: &[TaskAt]| {
        tasks.iter().map(|t| format!("{}@{}", t.id, t.fence)).collect::<Vec<_>>().join(" ")
    };
    match call {
        ScalrCall::Register(register) => format!("register {}", register.name),
        ScalrCall::Heartbeat(_, beat) => {
            let draining = if beat.draining { " draining" } else { "" };
            let error = beat.error_message.as_ref().map_or(String::new(), |e| format!(" error={e:?}"));
            format!("heartbeat slots={}{draining}{error} [{}]", beat.slots, names(&beat.tasks))
        }
        ScalrCall::Deregister(_) => "deregister".to_owned(),
        ScalrCall::Acquire(_, acquire) => {
            format!("acquire slots={} ahead={} wait={}", acquire.slots, acquire.ahead, acquire.wait_ms)
        }
        ScalrCall::Release(task, release) => {
            let reason = match release.reason {
                ReleaseReason::Drain => "drain",
                ReleaseReason::Rebalance => "rebalance",
            };
            format!("release {task}@{} {reason}", release.fence)
        }
        ScalrCall::LaunchEvents(_, events) => {
            let line = |e: &LaunchEvent| format!("{}@{} {:?}: {}", e.task, e.fence, e.kind, e.message);
            format!("events [{}]", events.events.iter().map(line).collect::<Vec<_>>().join("; "))
        }
        ScalrCall::LaunchFailed(task, failed) => {
            let retry = if failed.retryable { "retryable" } else { "for good" };
            format!("launch-failed {task}@{} {:?} {retry}: {}", failed.fence, failed.reason, failed.message)
        }
        ScalrCall::WorkerLost(task, lost) => format!(
            "worker-lost {task}@{} {:?} container={:?} exit={:?} ended={}",
            lost.fence, lost.reason, lost.container, lost.exit_code, lost.ended
        ),
        ScalrCall::Messages(_, after, _) => format!("messages after={after}"),
    }
}

/// What a quiet story leaves out.
const NOISE: [&str; 5] = ["messages", "events", "heartbeat", "acquire", "abandon"];

/// The script.
pub(super) struct Story {
    pub(super) brain: Controller,
    pub(super) now: Millis,
    wake_at: Option<Millis>,
    /// Every call so far.
    calls: Vec<(Op, String, Kind)>,
    text: String,
    /// Answers what only keeps things going by itself, and leaves it out.
    pub(super) is_quiet: bool,
    pub(super) verdicts: Vec<(TaskAt, Verdict)>,
    /// The brain before anything happened, and all that has, in order.
    #[cfg(feature = "mutants")]
    pub(super) first: Controller,
    #[cfg(feature = "mutants")]
    pub(super) script: Vec<(Millis, String, Input)>,
}

impl Story {
    /// Nothing has happened yet.
    pub(super) fn new(options: ControllerOptions) -> Self {
        let brain = Controller::new(options);
        Self {
            #[cfg(feature = "mutants")]
            first: brain.clone(),
            brain,
            now: Millis(1_000),
            wake_at: None,
            calls: Vec::new(),
            text: String::new(),
            is_quiet: false,
            verdicts: Vec::new(),
            #[cfg(feature = "mutants")]
            script: Vec::new(),
        }
    }

    /// Registered, everything listed at version 10, the first heartbeat answered; no word of it.
    pub(super) fn ready() -> Self {
        Self::ready_with(options(), vec![], vec![])
    }

    pub(super) fn ready_with(options: ControllerOptions, jobs: Vec<Job>, pods: Vec<Pod>) -> Self {
        let mut story = Self::new(options);
        story.input("began", Input::Began);
        story.register();
        story.list(jobs, pods);
        story.beat(&[]);
        story.text.clear();
        story
    }

    pub(super) fn register(&mut self) {
        let agent = AgentId::new("agent-1").unwrap();
        let registration = Registration { agent, heartbeat_ms: 10_000, wait_ms_max: 30_000 };
        self.answer("register", Answer::Registered(Ok(registration)));
    }

    pub(super) fn list(&mut self, jobs: Vec<Job>, pods: Vec<Pod>) {
        self.answer("list Jobs", listing(10, jobs.into_iter().map(Object::Job)));
        self.answer("list Pods", listing(10, pods.into_iter().map(Object::Pod)));
        self.answer("watch Jobs", Answer::Watching(Ok(())));
        self.answer("watch Pods", Answer::Watching(Ok(())));
    }

    /// Something happens, and what is done about it is written down.
    pub(super) fn input(&mut self, what: &str, input: Input) {
        #[cfg(feature = "mutants")]
        self.script.push((self.now, what.to_owned(), input.clone()));
        let mut out = Vec::new();
        self.brain.step(self.now, input, &mut out);
        let mut lines = String::new();
        for effect in &out {
            if let Effect::WakeAt(at) = effect {
                self.wake_at = Some(*at);
            }
            let Some((op, line)) = render(effect) else { continue };
            let kind = if line.contains("Pods") { Kind::Pods } else { Kind::Jobs };
            if let Some(op) = op {
                self.calls.push((op, line.clone(), kind));
            }
            let is_noise = NOISE.iter().any(|noise| line.starts_with(noise));
            if !(self.is_quiet && is_noise) {
                let line = line.replace("abandon op", "abandon #");
                writeln!(lines, "    {line}").unwrap();
            }
        }
        if !what.is_empty() || !lines.is_empty() {
            let what = if what.is_empty() { "…" } else { what };
            writeln!(self.text, "{} {what}\n{lines}", self.now).unwrap();
            self.text.pop();
        }
        if self.is_quiet {
            self.answer_noise();
        }
    }

    fn answer_noise(&mut self) {
        let open: Vec<(Op, String, Kind)> = self.calls.clone();
        for (op, line, _) in open {
            let answer = if line.starts_with("events") {
                Answer::LaunchEvents(Ok(()))
            } else if line.starts_with("heartbeat") {
                Answer::Heartbeat(Ok(Self::heartbeat_answer(&self.verdicts.clone())))
            } else {
                continue;
            };
            self.calls.retain(|(other, ..)| *other != op);
            self.input("", Input::Answer { op, answer });
        }
    }

    fn heartbeat_answer(verdicts: &[(TaskAt, Verdict)]) -> HeartbeatAnswer {
        let verdicts = verdicts
            .iter()
            .map(|(at, verdict)| TaskVerdict {
                id: at.id.clone(),
                fence: at.fence,
                verdict: *verdict,
                ttl_ms: (*verdict == Verdict::Held).then_some(60_000),
            })
            .collect();
        HeartbeatAnswer { wanted: 0, verdicts }
    }

    /// The op of the last open call that begins so.
    #[track_caller]
    pub(super) fn op(&self, begins: &str) -> Op {
        let found = self.calls.iter().rev().find(|(_, line, _)| line.starts_with(begins));
        found.unwrap_or_else(|| panic!("no call `{begins}` in {:?}\n{}", self.calls, self.text)).0
    }

    pub(super) fn has(&self, begins: &str) -> bool {
        self.calls.iter().any(|(_, line, _)| line.starts_with(begins))
    }

    /// The last open call that begins so is answered.
    #[track_caller]
    pub(super) fn answer(&mut self, begins: &str, answer: Answer) {
        let op = self.op(begins);
        self.calls.retain(|(other, line, _)| *other != op || line.starts_with("watch"));
        let what = tell(begins, &answer);
        self.input(&what, Input::Answer { op, answer });
    }

    /// The heartbeat under way is answered so; one is waited for if there is none.
    #[track_caller]
    pub(super) fn beat(&mut self, verdicts: &[(&str, Verdict)]) {
        self.beat_wanted(verdicts, 0);
    }

    #[track_caller]
    pub(super) fn beat_wanted(&mut self, verdicts: &[(&str, Verdict)], wanted: u32) {
        for _ in 0..40 {
            if self.has("heartbeat") {
                break;
            }
            self.advance(500);
        }
        let verdicts: Vec<_> = verdicts.iter().map(|(at, verdict)| (key(at), *verdict)).collect();
        let answer = HeartbeatAnswer { wanted, ..Self::heartbeat_answer(&verdicts) };
        self.answer("heartbeat", Answer::Heartbeat(Ok(answer)));
    }

    /// The acquire under way brings these.
    #[track_caller]
    pub(super) fn acquire(&mut self, tasks: &[&str]) {
        let tasks = tasks.iter().map(|task| grant(task)).collect();
        self.answer("acquire", Answer::Acquired(Ok(Acquired { tasks })));
    }

    /// The task is acquired, planned and its Job made at version `version`.
    #[track_caller]
    pub(super) fn launched(&mut self, task: &str, version: u64) {
        self.acquire(&[task]);
        self.advance(10);
        self.answer("create", Answer::Created(Ok(job(task, version))));
    }

    /// A watch shows a Job.
    pub(super) fn job(&mut self, job: Job) {
        let what = format!("watch: Job {} deleting={} end={:?}", job.name, job.is_deleting, job.end);
        let op = self.op("watch Jobs");
        let event = WatchEvent::Seen(Object::Job(job));
        self.input(&what, Input::Watched { op, kind: Kind::Jobs, event });
    }

    /// A watch shows that a Job is gone.
    pub(super) fn job_gone(&mut self, job: Job) {
        let what = format!("watch: Job {} gone", job.name);
        let op = self.op("watch Jobs");
        let event = WatchEvent::Gone(Object::Job(job));
        self.input(&what, Input::Watched { op, kind: Kind::Jobs, event });
    }

    /// A watch shows a pod.
    pub(super) fn pod(&mut self, pod: Pod) {
        let what = format!("watch: pod worker={:?} runner={:?}", pod.worker, pod.runner);
        let op = self.op("watch Pods");
        let event = WatchEvent::Seen(Object::Pod(pod));
        self.input(&what, Input::Watched { op, kind: Kind::Pods, event });
    }

    pub(super) fn pod_gone(&mut self, pod: Pod) {
        let op = self.op("watch Pods");
        let event = WatchEvent::Gone(Object::Pod(pod));
        self.input("watch: pod gone", Input::Watched { op, kind: Kind::Pods, event });
    }

    /// Time passes; the Controller is woken whenever it asked to be.
    pub(super) fn advance(&mut self, mut ms: u64) {
        while self.is_quiet && ms > 20_000 {
            self.advance_to(self.now + 20_000);
            ms -= 20_000;
            for (begins, answer) in [
                ("acquire", Answer::Acquired(Ok(Acquired::default()))),
                ("messages", Answer::Messages(Ok(Messages::default()))),
                ("watch Jobs", Answer::Watching(Ok(()))),
                ("watch Pods", Answer::Watching(Ok(()))),
            ] {
                if self.has(begins) {
                    let op = self.op(begins);
                    self.calls.retain(|(other, line, _)| *other != op || line.starts_with("watch"));
                    self.input("", Input::Answer { op, answer });
                }
            }
        }
        self.advance_to(self.now + ms);
    }

    fn advance_to(&mut self, end: Millis) {
        while let Some(at) = self.wake_at.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.wake_at = None;
            self.input("", Input::Wake);
        }
        self.now = end;
    }

    /// What was written since the last time.
    #[track_caller]
    pub(super) fn check(&mut self, expect: &Expect) {
        expect.assert_eq(&std::mem::take(&mut self.text));
    }

    /// Nothing that was written so far matters.
    pub(super) fn skip(&mut self) {
        self.text.clear();
    }
}

pub(super) fn listing(version: u64, objects: impl Iterator<Item = Object>) -> Answer {
    Answer::Listed(Ok(Listing { version: Version(version), objects: objects.collect() }))
}

fn tell(begins: &str, answer: &Answer) -> String {
    if let Answer::Acquired(Ok(acquired)) = answer {
        let tasks: Vec<_> = acquired.tasks.iter().map(|g| format!("{}@{}", g.id, g.fence)).collect();
        return format!("acquired [{}]", tasks.join(" "));
    }
    if let Answer::Heartbeat(Ok(answer)) = answer {
        let verdict = |v: &TaskVerdict| format!("{}@{} {:?}", v.id, v.fence, v.verdict);
        let verdicts: Vec<_> = answer.verdicts.iter().map(verdict).collect();
        let wanted = if answer.wanted > 0 { format!(" wanted {}", answer.wanted) } else { String::new() };
        return format!("verdicts [{}]{wanted}", verdicts.join(", "));
    }
    if let Answer::Listed(Ok(listing)) = answer {
        return format!("{begins}: {} at {}", listing.objects.len(), listing.version.0);
    }
    if let Answer::Created(Ok(_)) = answer {
        return "Job made".to_owned();
    }
    let text: String = format!("{answer:?}").chars().take(90).collect();
    format!("{begins}: {text}")
}
