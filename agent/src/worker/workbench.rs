//! The workbench: carries out the Supervisor's orders with the runner, the files and the console in hand.
//!
//! One task owns all of it and takes one thing at a time: an order, a word of the runner, the end of a
//! stage of its own. It decides nothing: what stands next is an order.

mod capture;
mod stage;

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Duration};

use scalr_core::{
    op::Op,
    supervisor::{
        effect::{Stage, StopSignal},
        input::{StageEnd, StageFacts},
    },
    task_api::TaskApi,
};
use scalr_protocol::{
    blob::BlobRef,
    secret::Secret,
    task::{LogDigest, Started, TaskErrorCode},
};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};
use url::Url;

use self::{
    capture::Capture,
    stage::{Found, Prepared, StageDone},
};
use super::{
    beneath::{Folder, Kind},
    commands::{Commands, ERRORED_STATE, WorkingDirectory},
    console::{Console, RETRY_MS},
    masking::Masker,
    paths::RunPaths,
    runner_link::{
        Command, CommandKind, Ended, Exited, LinkError, RunnerEvent, RunnerEvents, RunnerLink, Signal,
    },
    shell::{Order, Report},
    variables::Variables,
};
use crate::scalr::connect::Client;

/// What a workbench needs.
#[derive(Clone, Debug)]
pub struct WorkOptions {
    /// Where the server is, for the run's own calls.
    pub url: Url,
    /// The run's folder from both sides.
    pub paths: RunPaths,
    /// The worker's own folder, which no runner sees.
    pub private: PathBuf,
    /// The runner's socket.
    pub socket: PathBuf,
    /// How long to wait for the runner.
    pub runner_wait_ms: u64,
    /// How long the Job may live after it was told to stop, where the runner does not know.
    pub grace_ms: u64,
    /// Programs by tool.
    pub tool_paths: BTreeMap<String, PathBuf>,
    /// What downloads tools.
    pub client: Client,
    /// The authorities that the options name, as PEM.
    pub authorities: Option<String>,
    /// The worker's own token. No user code is told it; with the local driver it could find it, and the
    /// console must not show it.
    pub pool_token: Option<Secret>,
    /// What the run's environment takes over from this process's.
    pub inherited: BTreeMap<String, String>,
}

/// Starts a workbench with an empty console. It ends when it is dismissed or nobody gives orders.
pub fn start<T: TaskApi + Clone + 'static>(
    options: WorkOptions,
    api: T,
    console: Console,
    orders: mpsc::Receiver<Order>,
    reports: mpsc::Sender<Report>,
) -> JoinHandle<()> {
    let (ended, ends) = mpsc::channel(1);
    let bench = Workbench {
        options: Arc::new(options),
        api,
        console,
        lines: 0,
        reports,
        ended,
        runner: None,
        run: None,
        active: None,
        is_draining: false,
    };
    tokio::spawn(bench.work(orders, ends))
}

struct Workbench<T> {
    options: Arc<WorkOptions>,
    api: T,
    console: Console,
    /// How many lines of the brain's own are in the console.
    lines: u32,
    reports: mpsc::Sender<Report>,
    /// Where stages of the worker's own say that they have ended.
    ended: mpsc::Sender<(Op, Box<StageDone>)>,
    runner: Option<RunnerLink>,
    run: Option<Run>,
    active: Option<Active>,
    is_draining: bool,
}

/// What is known of the run once it is claimed; later parts come as stages end.
struct Run {
    started: Arc<Started>,
    masker: Masker,
    prepared: Option<Arc<Prepared>>,
    tool: Option<Found>,
}

/// The stage in progress.
struct Active {
    op: Op,
    stage: Stage,
    kind: ActiveKind,
}

enum ActiveKind {
    /// The worker's own work.
    Own(JoinHandle<()>),
    /// A command in the runner.
    Command(Running),
}

/// Commands of one stage, one after the other.
struct Running {
    /// The runner's name for the command that runs.
    id: u64,
    capture: Option<Capture>,
    says_changes_by_2: bool,
    /// Those to come, the next one last.
    rest: Vec<stage::Planned>,
}

/// One thing that the workbench takes up.
enum Turn {
    /// Nothing came, and the console is still full.
    Retry,
    Order(Option<Order>),
    Runner(RunnerEvent),
    Ended(Op, Box<StageDone>),
}

impl<T: TaskApi + Clone + 'static> Workbench<T> {
    async fn work(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        mut ends: mpsc::Receiver<(Op, Box<StageDone>)>,
    ) {
        let connecting = RunnerLink::connect(&self.options.socket, self.options.runner_wait_ms);
        let mut events = match connecting.await {
            Ok((runner, events)) => {
                self.runner = Some(runner);
                self.report(Report::RunnerReady).await;
                Some(events)
            }
            Err(error) => {
                let detail = match error {
                    LinkError::Gone(gone) => gone.to_string(),
                    error @ (LinkError::NoRunner { .. } | LinkError::Busy | LinkError::DoesNotFit(_)) => {
                        error.to_string()
                    }
                };
                self.report(Report::RunnerGone { detail }).await;
                None
            }
        };
        loop {
            let turn = tokio::select! {
                biased;
                order = orders.recv() => Turn::Order(order),
                Some((op, done)) = ends.recv() => Turn::Ended(op, done),
                event = listen(&mut events), if !self.console.is_full() => Turn::Runner(event),
                () = sleep(Duration::from_millis(RETRY_MS)), if self.console.is_full() => Turn::Retry,
            };
            match turn {
                Turn::Order(Some(Order::Dismiss) | None) => break,
                Turn::Order(Some(order)) => self.obey(order).await,
                Turn::Retry => self.spool(Console::retry).await,
                Turn::Ended(op, done) => self.own_stage_ended(op, *done).await,
                Turn::Runner(event) => {
                    if matches!(event, RunnerEvent::Gone(_)) {
                        events = None;
                    }
                    self.runner_said(event).await;
                }
            }
        }
        if let Some(runner) = self.runner.take()
            && let Err(error) = runner.bye().await
        {
            tracing::debug!(%error, "the runner had gone already");
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Claimed(started) => self.claimed(started).await,
            Order::Begin { op, stage, exit_code } => self.begin(op, stage, exit_code).await,
            Order::Signal { op, signal } => self.signal(op, signal).await,
            Order::Drain => self.drain().await,
            Order::Print(line) => {
                let masked = self.run.as_ref().map_or_else(|| line.clone(), |run| run.masker.mask(&line));
                self.lines = self.lines.saturating_add(1);
                self.spool(|console| console.print(&masked)).await;
            }
            Order::Acknowledged(bytes) => self.spool(|console| console.acknowledge(bytes)).await,
            Order::Dismiss => unreachable!("a dismissal ends the loop"),
        }
    }

    async fn claimed(&mut self, started: Box<Started>) {
        let secrets = stage::secrets(&started);
        let secrets = secrets.iter().chain(&self.options.pool_token);
        match Masker::new(secrets.map(Secret::expose)) {
            Ok(masker) => {
                let stream = masker.fresh();
                self.run = Some(Run { started: Arc::from(started), masker, prepared: None, tool: None });
                self.spool(|console| console.mask(stream)).await;
            }
            // Without a masker nothing may run: every stage will say so.
            Err(error) => tracing::error!(%error, "the secrets can't be masked"),
        }
    }

    /// Changes the console, and tells its new length.
    async fn spool(&mut self, change: impl FnOnce(&mut Console) -> io::Result<()>) {
        let before = self.console.bytes();
        if let Err(error) = change(&mut self.console) {
            // It is tried again; what can't be spooled for long is lost to the log, not to the run.
            tracing::warn!(%error, "failed to spool the console");
        }
        if self.console.bytes() != before {
            let log = LogDigest { bytes: self.console.bytes(), sha256: self.console.sha256() };
            self.report(Report::Spooled { log, lines: self.lines }).await;
        }
    }

    async fn report(&self, report: Report) {
        // The shell is gone only when the process is done.
        let _done = self.reports.send(report).await;
    }

    async fn drain(&mut self) {
        self.is_draining = true;
        self.spool(Console::drop_from_now).await;
        if let (Some(Active { kind: ActiveKind::Command(running), .. }), Some(runner)) =
            (&self.active, &mut self.runner)
            && let Err(error) = runner.drain(running.id).await
        {
            tracing::warn!(%error, "failed to tell the runner to drain");
        }
    }

    async fn signal(&mut self, op: Op, signal: StopSignal) {
        let Some(active) = self.active.as_ref().filter(|active| active.op == op) else { return };
        match &active.kind {
            ActiveKind::Own(work) => {
                work.abort();
                self.end(failed(TaskErrorCode::Canceled, "stopped")).await;
            }
            ActiveKind::Command(running) => {
                let signal = match signal {
                    StopSignal::Interrupt => Signal::Interrupt,
                    StopSignal::Terminate => Signal::Terminate,
                    StopSignal::Kill => Signal::Kill,
                };
                if let Some(runner) = &mut self.runner
                    && let Err(error) = runner.signal(running.id, signal).await
                {
                    tracing::warn!(%error, "failed to signal the command");
                }
            }
        }
    }

    async fn begin(&mut self, op: Op, stage: Stage, exit_code: Option<i32>) {
        let Some(run) = &self.run else {
            self.active = Some(Active { op, stage, kind: ActiveKind::Own(tokio::spawn(async {})) });
            self.end(failed(
                TaskErrorCode::Internal,
                "there is nothing to do it with: the claim brought no payload",
            ))
            .await;
            return;
        };
        let work = stage::Work {
            options: Arc::clone(&self.options),
            api: self.api.clone(),
            started: Arc::clone(&run.started),
            prepared: run.prepared.clone(),
            tool: run.tool.clone(),
            masker: run.masker.clone(),
        };
        if stage.is_user_code() {
            match work.commands(stage, exit_code) {
                Ok(mut planned) => {
                    planned.reverse();
                    let running = Running { id: 0, capture: None, says_changes_by_2: false, rest: planned };
                    self.active = Some(Active { op, stage, kind: ActiveKind::Command(running) });
                    self.next_command().await;
                }
                Err(end) => {
                    self.active = Some(Active { op, stage, kind: ActiveKind::Own(tokio::spawn(async {})) });
                    self.end(end).await;
                }
            }
        } else {
            let ended = self.ended.clone();
            let own = tokio::spawn(async move {
                let done = work.own(stage).await;
                // The workbench is gone only when the process is done.
                let _done = ended.send((op, Box::new(done))).await;
            });
            self.active = Some(Active { op, stage, kind: ActiveKind::Own(own) });
        }
    }

    async fn own_stage_ended(&mut self, op: Op, done: StageDone) {
        if self.active.as_ref().is_none_or(|active| active.op != op) {
            return;
        }
        let StageDone { end, line, uploaded, prepared, tool } = done;
        if let Some(line) = line {
            self.spool(|console| console.print(line.trim_end())).await;
        }
        if let Some(run) = &mut self.run {
            run.prepared = prepared.map(Arc::new).or(run.prepared.take());
            run.tool = tool.or(run.tool.take());
        }
        self.end_with(end, uploaded).await;
    }

    /// Starts the next command of the stage, or ends it.
    async fn next_command(&mut self) {
        let Some(Active { stage, kind: ActiveKind::Command(running), .. }) = &mut self.active else { return };
        let stage = *stage;
        let Some(planned) = running.rest.pop() else {
            let facts = self.facts(stage, false);
            self.end(StageEnd::Done(facts)).await;
            return;
        };
        let stage::Planned { command, before, captured, says_changes_by_2 } = planned;
        let capture = match captured.map(|path| Capture::create(&path)).transpose() {
            Ok(capture) => capture,
            Err(error) => {
                let message = format!("failed to keep what the tool says: {error}");
                self.end(failed(TaskErrorCode::Internal, &message)).await;
                return;
            }
        };
        if let Some(line) = before {
            let line = self.run.as_ref().map_or_else(|| line.clone(), |run| run.masker.mask(&line));
            self.spool(|console| console.print(line.trim_end())).await;
        }
        match self.exec(command).await {
            Ok(started) => {
                if let Some(Active { kind: ActiveKind::Command(running), .. }) = &mut self.active {
                    running.id = started;
                    running.capture = capture;
                    running.says_changes_by_2 = says_changes_by_2;
                }
                if self.is_draining {
                    self.drain().await;
                }
            }
            Err(error) => self.end(failed(TaskErrorCode::RunnerLost, &error.to_string())).await,
        }
    }

    async fn exec(&mut self, command: Command) -> Result<u64, LinkError> {
        match &mut self.runner {
            Some(runner) => runner.exec(command).await,
            None => Err(LinkError::Gone(super::runner_link::Gone::Closed)),
        }
    }

    async fn runner_said(&mut self, event: RunnerEvent) {
        match event {
            RunnerEvent::Output { id: _, bytes } => self.output(&bytes).await,
            RunnerEvent::Exited(exited) => self.command_ended(exited).await,
            RunnerEvent::Failed { id: _, code, message } => {
                let message = format!("the command could not be started: {message}");
                self.spool(|console| console.print(&message)).await;
                self.command_failed(code, StageFacts::default()).await;
            }
            RunnerEvent::Stopping { grace_ms } => {
                self.report(Report::Stopping { grace_ms: grace_ms.unwrap_or(self.options.grace_ms) }).await;
            }
            RunnerEvent::Gone(gone) => {
                self.runner = None;
                self.spool(Console::end_of_output).await;
                self.report(Report::RunnerGone { detail: gone.to_string() }).await;
                if matches!(&self.active, Some(Active { kind: ActiveKind::Command(_), .. })) {
                    self.end(failed(TaskErrorCode::RunnerLost, &gone.to_string())).await;
                }
            }
        }
    }

    async fn output(&mut self, bytes: &[u8]) {
        let Some(Active { kind: ActiveKind::Command(Running { capture: Some(capture), .. }), .. }) =
            &mut self.active
        else {
            self.spool(|console| console.write(bytes)).await;
            return;
        };
        if let Err(error) = capture.write(bytes) {
            // What is missing at its end will not be readable: the stage fails then.
            tracing::error!(%error, "failed to keep what the tool says");
        }
    }

    async fn command_ended(&mut self, exited: Exited) {
        self.spool(Console::end_of_output).await;
        let Some(Active { stage, op, kind: ActiveKind::Command(running) }) = &mut self.active else { return };
        let code = match exited.ended {
            Ended::Code(code) => code,
            Ended::Signal(signal) => 128 + signal,
        };
        let succeeded = code == 0 || (code == 2 && running.says_changes_by_2);
        let (stage, op, captured) = (*stage, *op, running.capture.take().is_some());
        if let Stage::Hooks(_) = stage {
            let line = super::commands::hook_ended(code);
            self.spool(|console| console.print(line.trim_end())).await;
        }
        // A child that was killed for its memory, while the tool itself went on, is told by the tool.
        let is_oom = exited.ended == Ended::Signal(9) && exited.oom_kills.is_some_and(|kills| kills > 0);
        if !succeeded {
            let facts = self.facts(stage, is_oom);
            self.command_failed(code, facts).await;
        } else if captured {
            self.summarize(op);
        } else {
            self.next_command().await;
        }
    }

    /// Reads the captured plan in a task of its own, since it may be large.
    fn summarize(&mut self, op: Op) {
        let Some(run) = &self.run else { return };
        let (path, mode, ended) =
            (stage::plan_json(&self.options), run.started.payload.run.mode, self.ended.clone());
        let own = tokio::spawn(async move {
            let end = stage::summarize(path, mode).await;
            let _done = ended.send((op, Box::new(StageDone::of(end)))).await;
        });
        self.active = Some(Active { op, stage: Stage::Show, kind: ActiveKind::Own(own) });
    }

    async fn command_failed(&mut self, code: i32, facts: StageFacts) {
        let Some(Active { stage, .. }) = &self.active else { return };
        let (class, what) = stage::failure(*stage);
        let facts = StageFacts { has_errored_state: self.facts(*stage, false).has_errored_state, ..facts };
        let message = format!("{what} failed with exit code {code}");
        self.end(StageEnd::Failed { code: class, message, exit_code: Some(code), facts }).await;
    }

    /// What can be seen after a command.
    fn facts(&self, stage: Stage, is_oom: bool) -> StageFacts {
        let has_errored_state = stage == Stage::Apply
            && self
                .run
                .as_ref()
                .and_then(|run| run.prepared.as_ref())
                .is_some_and(|prepared| prepared.has_errored_state());
        StageFacts { summary: None, has_errored_state, is_oom }
    }

    async fn end(&mut self, end: StageEnd) {
        self.end_with(end, None).await;
    }

    async fn end_with(&mut self, end: StageEnd, uploaded: Option<BlobRef>) {
        if let Some(Active { op, .. }) = self.active.take() {
            self.report(Report::StageEnded { op, end, uploaded }).await;
        }
    }
}

/// The next word of the runner; none will come once it is gone.
async fn listen(events: &mut Option<RunnerEvents>) -> RunnerEvent {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

fn failed(code: TaskErrorCode, message: &str) -> StageEnd {
    StageEnd::Failed { code, message: message.to_owned(), exit_code: None, facts: StageFacts::default() }
}
