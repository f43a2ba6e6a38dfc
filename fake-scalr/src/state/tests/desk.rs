//! Everybody who talks to the server in a test: it remembers their tokens, turns lines into commands, and
//! keeps the journal.

mod told;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use scalr_protocol::{
    agent::{
        Acquire, Action, AgentStatus, Heartbeat, LaunchEvent, LaunchEventKind, LaunchEvents, LaunchFailed,
        LaunchFailure, Mode, Register, Release, ReleaseReason, TaskAt, WorkerLoss, WorkerLost,
    },
    blob::{BlobKind, BlobRef, Digest},
    error::ApiError,
    id::{AgentId, Fence, InstanceId, RunId, TaskId, WorkspaceId},
    secret::Secret,
    state::LockInfo,
    task::{
        Finish, Lease, LogDigest, Outcome, RunMode, Start, Summary, TaskError, TaskErrorCode, Variable,
        VariableCategory,
    },
};

use told::told;

use crate::state::{
    AgentCall, Command, Key, PublicCall, Reply, Settings, Stamp, State, StateCall, TaskCall, Token,
    command::{NewRun, StatePost, WorkspaceChange},
    ids::PoolTokenId,
};

/// Everybody who talks to the server.
pub(super) struct Desk {
    pub(super) state: State,
    /// What changed something: what a server would have kept.
    pub(super) journal: Vec<(Stamp, Command)>,
    /// Everything.
    pub(super) all: Vec<(Stamp, Command)>,
    now_ms: u64,
    /// How long the server did not serve.
    away_ms: u64,
    stamps: u64,
    user: Token,
    pool: (PoolTokenId, Token),
    agents: BTreeMap<String, (AgentId, Token)>,
    /// By worker: its task token and its run token.
    claims: BTreeMap<String, (TaskId, Token, Token)>,
    runs: Vec<RunId>,
    workspaces: BTreeMap<String, WorkspaceId>,
    /// How often each task was confirmed.
    pub(super) confirms: BTreeMap<TaskId, u32>,
    pub(super) fences: BTreeMap<TaskId, Fence>,
}

pub(super) fn digest(text: &str) -> Digest {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    Digest(bytes)
}

impl Desk {
    /// A server with a user, a pool token, and workspaces `demo` and `other` that have a configuration.
    pub(super) fn new() -> Self {
        let mut desk = Self {
            state: State::new(Settings::default()),
            journal: Vec::new(),
            all: Vec::new(),
            now_ms: 0,
            away_ms: 0,
            stamps: 0,
            user: Token::new("user-token"),
            pool: (PoolTokenId::new(""), Token::new("")),
            agents: BTreeMap::new(),
            claims: BTreeMap::new(),
            runs: Vec::new(),
            workspaces: BTreeMap::new(),
            confirms: BTreeMap::new(),
            fences: BTreeMap::new(),
        };
        desk.apply(Command::IssueUserToken { name: "admin".to_owned(), text: Some(desk.user.clone()) })
            .unwrap();
        let pool =
            desk.apply(Command::IssuePoolToken { description: "first".to_owned(), text: None }).unwrap();
        let Reply::PoolToken { id, text } = pool else { panic!("{pool:?}") };
        desk.pool = (id, text);
        for name in ["demo", "other"] {
            desk.workspace(name);
        }
        desk
    }

    fn workspace(&mut self, name: &str) {
        let settings = WorkspaceChange::default();
        let made = self.public(PublicCall::CreateWorkspace { name: name.to_owned(), settings }).unwrap();
        let Reply::Workspace(workspace) = made else { panic!("{made:?}") };
        let call = PublicCall::CreateConfigurationVersion { workspace: workspace.clone() };
        let Reply::ConfigurationVersion(configuration_version) = self.public(call).unwrap() else { panic!() };
        let sha256 = digest("configuration");
        let call = PublicCall::ConfigurationUploaded { configuration_version, bytes: 13, sha256 };
        self.public(call).unwrap();
        self.workspaces.insert(name.to_owned(), workspace);
    }

    pub(super) fn demo(&self) -> &WorkspaceId {
        &self.workspaces["demo"]
    }

    pub(super) fn stamp(&mut self) -> Stamp {
        self.stamps += 1;
        let mut entropy = [0; 16];
        entropy[..8].copy_from_slice(&self.stamps.to_be_bytes());
        let start: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let wall = start + SignedDuration::from_millis(i64::try_from(self.now_ms + self.away_ms).unwrap());
        Stamp { now_ms: self.now_ms, wall, entropy }
    }

    pub(super) fn apply(&mut self, command: Command) -> Result<Reply, ApiError> {
        let stamp = self.stamp();
        let before = self.state.version();
        let reply = self.state.apply(&stamp, command.clone());
        if self.state.version() != before {
            self.journal.push((stamp.clone(), command.clone()));
        }
        self.all.push((stamp, command));
        reply
    }

    pub(super) fn public(&mut self, call: PublicCall) -> Result<Reply, ApiError> {
        let bearer = self.user.clone();
        self.apply(Command::Public { bearer, key: None, call })
    }

    pub(super) fn task(&self, name: &str) -> Option<TaskId> {
        let index: usize = name.strip_prefix('t')?.parse().ok()?;
        self.state.tasks.keys().nth(index.checked_sub(1)?).cloned()
    }

    pub(super) fn run(&self, name: &str) -> Option<RunId> {
        let index: usize = name.strip_prefix('r')?.parse().ok()?;
        self.runs.get(index.checked_sub(1)?).cloned()
    }

    /// One line: the second, then a command. Commands that name nothing known answer `?`.
    pub(super) fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let seconds: f64 = words[0].parse().expect("a line begins with a second");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a test's small numbers")]
        let now_ms = (seconds * 1000.0) as u64;
        self.now_ms = self.now_ms.max(now_ms);
        let answer = match self.words(&words[1..]) {
            None => "?".to_owned(),
            Some(text) => text,
        };
        self.named(&answer)
    }

    fn words(&mut self, words: &[&str]) -> Option<String> {
        let (verb, args) = words.split_first()?;
        let reply = match *verb {
            "tick" => self.apply(Command::Tick),
            "restart" => self.apply(Command::Restart),
            "away" => {
                self.away_ms += args.first()?.parse::<u64>().ok()? * 1_000;
                return Some("away".to_owned());
            }
            "show" => return self.show(args),
            "revoke" => {
                let token = self.pool.0.clone();
                self.public(PublicCall::RevokePoolToken { token })
            }
            "register" | "worker" => self.register(verb, args)?,
            "beat" | "leave" | "acquire" | "events" | "messages" => self.agent_verb(verb, args)?,
            "release" | "failed" | "loss" => self.door_verb(verb, args)?,
            "start" => self.start(args)?,
            "lease" | "signals" | "log" | "put" | "get" | "finish" => self.task_verb(verb, args)?,
            "state" | "lock" | "unlock" | "post" => self.state_verb(verb, args)?,
            "run" | "approve" | "discard" | "cancel" | "lock-workspace" | "unlock-workspace"
            | "take-lock" | "var" => self.public_verb(verb, args)?,
            verb => panic!("no such verb: {verb}"),
        };
        Some(told(reply))
    }

    fn register(&mut self, verb: &str, args: &[&str]) -> Option<Result<Reply, ApiError>> {
        let name = *args.first()?;
        let (mode, task, fence) = if verb == "worker" {
            (Mode::Worker, Some(self.task(args.get(1)?)?), Some(Fence(args.get(2)?.parse().ok()?)))
        } else {
            (Mode::Controller, None, None)
        };
        let register = Register {
            name: name.to_owned(),
            instance_id: InstanceId::new(option(args, "instance").unwrap_or(name)).unwrap(),
            version: "0.1.0".to_owned(),
            os: "linux/x86_64".to_owned(),
            driver: "local".to_owned(),
            mode,
            capacity: 5,
            task,
            fence,
        };
        let (bearer, key) = (self.pool.1.clone(), option(args, "key").map(Key::new));
        let reply = self.apply(Command::Agent { bearer, key, call: AgentCall::Register(register) });
        if let Ok(Reply::Registered { answer, .. }) = &reply {
            let token = Token::new(answer.session_token.expose());
            let name = option(args, "as").unwrap_or(name);
            self.agents.insert(name.to_owned(), (answer.agent.clone(), token));
        }
        Some(reply)
    }

    fn agent_call(&mut self, name: &str, args: &[&str], call: AgentCall) -> Option<Result<Reply, ApiError>> {
        let (_, bearer) = self.agents.get(name)?.clone();
        let key = option(args, "key").map(Key::new);
        Some(self.apply(Command::Agent { bearer, key, call }))
    }

    fn agent_verb(&mut self, verb: &str, args: &[&str]) -> Option<Result<Reply, ApiError>> {
        let name = *args.first()?;
        let agent = self.agents.get(option(args, "of").unwrap_or(name))?.0.clone();
        let call = match verb {
            "beat" => {
                let at = |word: &&str| {
                    let (task, fence) = word.split_once('@')?;
                    Some(TaskAt { id: self.task(task)?, fence: Fence(fence.parse().ok()?) })
                };
                let beat = Heartbeat {
                    status: AgentStatus::Idle,
                    error_message: None,
                    slots: number(args, "slots").unwrap_or(0),
                    draining: args.contains(&"draining"),
                    tasks: args.iter().filter_map(at).collect(),
                };
                AgentCall::Heartbeat { agent, beat }
            }
            "leave" => AgentCall::Deregister { agent },
            "acquire" => AgentCall::Acquire {
                agent,
                ask: Acquire {
                    slots: number(args, "slots").unwrap_or(1),
                    ahead: number(args, "ahead").unwrap_or(0),
                    actions: if args.contains(&"plans-only") {
                        vec![Action::Plan]
                    } else {
                        Action::ALL.to_vec()
                    },
                    wait_ms: number(args, "wait").unwrap_or(0),
                },
            },
            "events" => {
                let kind = match *args.get(3)? {
                    "held" => LaunchEventKind::Held,
                    "job-created" => LaunchEventKind::JobCreated,
                    "pulling" => LaunchEventKind::Pulling,
                    kind => panic!("no such event: {kind}"),
                };
                let event = LaunchEvent {
                    task: self.task(args.get(1)?)?,
                    fence: Fence(args.get(2)?.parse().ok()?),
                    ago_ms: 0,
                    kind,
                    message: args[4..].join(" "),
                };
                AgentCall::LaunchEvents { agent, events: LaunchEvents { events: vec![event] } }
            }
            "messages" => AgentCall::Messages { agent, after: args.get(1)?.parse().ok()? },
            verb => panic!("no such verb: {verb}"),
        };
        self.agent_call(name, args, call)
    }

    fn door_verb(&mut self, verb: &str, args: &[&str]) -> Option<Result<Reply, ApiError>> {
        let task = self.task(args.get(1)?)?;
        let fence = Fence(args.get(2)?.parse().ok()?);
        let call = match verb {
            "release" => {
                let reason =
                    if args.contains(&"rebalance") { ReleaseReason::Rebalance } else { ReleaseReason::Drain };
                AgentCall::Release { task, release: Release { fence, reason } }
            }
            "failed" => AgentCall::LaunchFailed {
                task,
                failure: LaunchFailed {
                    fence,
                    reason: LaunchFailure::ImagePull,
                    message: "no such image".to_owned(),
                    diagnostics: String::new(),
                    retryable: !args.contains(&"final"),
                },
            },
            "loss" => AgentCall::WorkerLost {
                task,
                loss: WorkerLost {
                    fence,
                    reason: WorkerLoss::OomKilled,
                    container: Some("runner".to_owned()),
                    exit_code: Some(137),
                    limit: None,
                    ended: args.contains(&"ended"),
                    diagnostics: String::new(),
                },
            },
            verb => panic!("no such verb: {verb}"),
        };
        self.agent_call(args[0], args, call)
    }

    fn start(&mut self, args: &[&str]) -> Option<Result<Reply, ApiError>> {
        let task = self.task(args.get(1)?)?;
        let start = Start { fence: Fence(args.get(2)?.parse().ok()?) };
        let reply = self.agent_call(args[0], args, AgentCall::Start { task: task.clone(), start })?;
        if let Ok(Reply::Started(started)) = &reply {
            let tokens = [&started.task_token, &started.run_token].map(|token| Token::new(token.expose()));
            let [task_token, run_token] = tokens;
            self.claims.insert(args[0].to_owned(), (task, task_token, run_token));
        }
        Some(reply)
    }

    /// The whole answer to a start.
    pub(super) fn start_reply(&mut self, worker: &str, task: &str, fence: u64) -> Reply {
        self.start(&[worker, task, &fence.to_string()]).unwrap().unwrap()
    }

    fn task_verb(&mut self, verb: &str, args: &[&str]) -> Option<Result<Reply, ApiError>> {
        let (task, bearer, _) = self.claims.get(*args.first()?)?.clone();
        let fence = number(args, "fence").map(Fence);
        let fence =
            fence.or_else(|| Some(self.state.tasks.get(&task)?.claim.as_ref()?.fence)).unwrap_or_default();
        let call = match verb {
            "lease" => TaskCall::Lease(Lease { fence, phase: "confirm".to_owned() }),
            "signals" => TaskCall::Signals { after: args.get(1)?.parse().ok()? },
            "log" => {
                TaskCall::LogAppend { first: args.get(1)?.parse().ok()?, bytes: args.get(2)?.parse().ok()? }
            }
            "put" => TaskCall::BlobPut(BlobRef {
                kind: args.get(1)?.parse().ok()?,
                bytes: 1,
                sha256: digest(args.get(2)?),
            }),
            "get" => TaskCall::BlobGet { kind: args.get(1)?.parse::<BlobKind>().ok()? },
            "finish" => TaskCall::Finish(finish(fence, args)?),
            verb => panic!("no such verb: {verb}"),
        };
        let before = self.state.tasks.get(&task).is_some_and(super::super::tasks::Task::is_confirmed);
        let reply = self.apply(Command::Task { bearer, task: task.clone(), call });
        if matches!(reply, Ok(Reply::Lease(_))) && !before {
            *self.confirms.entry(task).or_default() += 1;
        }
        Some(reply)
    }

    fn state_verb(&mut self, verb: &str, args: &[&str]) -> Option<Result<Reply, ApiError>> {
        let who = *args.first()?;
        let bearer = if who == "admin" { self.user.clone() } else { self.claims.get(who)?.2.clone() };
        let workspace = self.workspaces.get(option(args, "of").unwrap_or("demo"))?.clone();
        let lock_id = option(args, "id").map(str::to_owned);
        let call = match verb {
            "state" => StateCall::Get,
            "lock" => StateCall::Lock(LockInfo {
                id: lock_id?,
                operation: option(args, "operation").unwrap_or_default().to_owned(),
                who: who.to_owned(),
                ..LockInfo::default()
            }),
            "unlock" => StateCall::Unlock { id: lock_id },
            "post" => StateCall::Post(StatePost {
                lock_id,
                serial: args.get(1)?.parse().ok()?,
                lineage: option(args, "lineage").unwrap_or("line").to_owned(),
                bytes: 1,
                sha256: digest(args.get(2)?),
            }),
            verb => panic!("no such verb: {verb}"),
        };
        Some(self.apply(Command::State { bearer, workspace, call }))
    }

    fn public_verb(&mut self, verb: &str, args: &[&str]) -> Option<Result<Reply, ApiError>> {
        let workspace = self.workspaces.get(option(args, "of").unwrap_or("demo"))?.clone();
        let call = match verb {
            "run" => PublicCall::CreateRun(NewRun {
                workspace,
                configuration_version: None,
                is_destroy: args.contains(&"destroy"),
                is_dry: args.contains(&"dry"),
                mode: RunMode::Apply,
                auto_apply: args.contains(&"auto").then_some(true),
                message: String::new(),
                source: "cli".to_owned(),
                vcs: None,
                variables: Vec::new(),
                targets: Vec::new(),
                replace: Vec::new(),
                priority: number(args, "priority").unwrap_or(0),
            }),
            "approve" => PublicCall::ConfirmRun { run: self.run(args.first()?)? },
            "discard" => PublicCall::DiscardRun { run: self.run(args.first()?)? },
            "cancel" => {
                PublicCall::CancelRun { run: self.run(args.first()?)?, force: args.contains(&"force") }
            }
            "lock-workspace" => PublicCall::LockWorkspace { workspace, reason: "a freeze".to_owned() },
            "unlock-workspace" => PublicCall::UnlockWorkspace { workspace },
            "take-lock" => PublicCall::ForceUnlockState { workspace, spare_running: args.contains(&"spare") },
            "var" => {
                let (key, value) = args.first()?.split_once('=')?;
                let category = if args.contains(&"shell") {
                    VariableCategory::Shell
                } else {
                    VariableCategory::Terraform
                };
                let sensitive = args.contains(&"sensitive");
                let (key, value) = (key.to_owned(), Secret::new(value));
                let variable = Variable { key, value, category, hcl: false, sensitive };
                PublicCall::CreateVariable { workspace, variable }
            }
            verb => panic!("no such verb: {verb}"),
        };
        let key = option(args, "key").map(Key::new);
        let bearer = self.user.clone();
        let reply = self.apply(Command::Public { bearer, key, call });
        if let (Ok(Reply::Run(run)), "run") = (&reply, verb)
            && !self.runs.contains(run)
        {
            self.runs.push(run.clone());
        }
        Some(reply)
    }

    /// What can be read of a run, a task, or all agents.
    fn show(&mut self, args: &[&str]) -> Option<String> {
        self.apply(Command::Tick).unwrap();
        match *args.first()? {
            "agents" => {
                let lines =
                    self.state.agents().into_iter().map(|agent| format!("{} {:?}", agent.name, agent.status));
                Some(lines.collect::<Vec<_>>().join(", ").to_lowercase())
            }
            name if name.starts_with('r') => {
                let run = self.state.run(&self.run(name)?)?;
                let sentence = run.waiting_reason.or(run.error_message);
                let sentence = sentence.map(|sentence| format!(": {sentence}")).unwrap_or_default();
                Some(format!("{}{sentence}", run.status))
            }
            name => {
                let task = self.state.task(&self.task(name)?)?;
                Some(format!("{} at fence {}, {} bytes of log", task.status, task.fence, task.log_bytes))
            }
        }
    }

    /// Puts the text's names in the place of ids.
    fn named(&self, answer: &str) -> String {
        let tasks = self
            .state
            .tasks
            .keys()
            .enumerate()
            .map(|(index, id)| (id.to_string(), format!("t{}", index + 1)));
        let runs =
            self.runs.iter().enumerate().map(|(index, id)| (id.to_string(), format!("r{}", index + 1)));
        tasks.chain(runs).fold(answer.to_owned(), |text, (id, name)| text.replace(&id, &name))
    }
}

fn finish(fence: Fence, args: &[&str]) -> Option<Finish> {
    let outcome = match *args.get(1)? {
        "succeeded" => Outcome::Succeeded,
        "failed" => Outcome::Failed,
        "errored" => Outcome::Errored,
        "canceled" => Outcome::Canceled,
        outcome => panic!("no such outcome: {outcome}"),
    };
    let error = (outcome == Outcome::Failed)
        .then(|| TaskError { code: TaskErrorCode::PlanFailed, message: "no such resource type".to_owned() });
    let has_changes = !args.contains(&"unchanged");
    Some(Finish {
        fence,
        outcome,
        exit_code: None,
        error,
        summary: Some(Summary { has_changes, ..Summary::default() }),
        log: LogDigest { bytes: number(args, "log").unwrap_or(0), sha256: digest("log") },
        blobs: Vec::new(),
    })
}

/// The value of `name=…` among the words.
fn option<'a>(args: &[&'a str], name: &str) -> Option<&'a str> {
    args.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn number<T: std::str::FromStr>(args: &[&str], name: &str) -> Option<T> {
    option(args, name)?.parse().ok()
}
