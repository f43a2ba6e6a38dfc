//! Commands to the server's state, and what follows from each: facts, ends, new tasks, and another look for
//! those who wait.

use fake_scalr::state::{AgentCall, Command, PublicCall, Reply, TaskCall, status::TaskStatus};
use scalr_protocol::{
    agent::{Action, Messages, ReleaseReason},
    blob::BlobKind,
    error::{ApiError, ErrorCode},
    id::{AgentId, Fence, RunId, TaskId},
    task::Signals,
};

use super::super::{
    World,
    event::{Call, Came},
    setup::TaskNumber,
    snag::CallKind,
    truth::FactKind,
};

impl World {
    /// Applies the command of a call.
    pub(super) fn apply_call(&mut self, call: &Call, command: Command) -> Came {
        let touched = touched_by(&command).cloned();
        let said = Said::of(&command);
        match self.apply(command, touched.as_ref()) {
            Ok(reply) => {
                self.note_reply(call, said, &reply);
                Came::Reply(reply)
            }
            Err(error) => {
                let retry_after_ms = (error.code == ErrorCode::Unavailable).then_some(1_000);
                Came::Refused(error, retry_after_ms)
            }
        }
    }

    fn note_reply(&mut self, call: &Call, said: Said, reply: &Reply) {
        let process = call.process;
        match (said, reply) {
            (Said::Acquire { agent }, Reply::Acquired(acquired)) => {
                for grant in &acquired.tasks {
                    if let Some(number) = self.truth.number_of(&grant.id) {
                        let (agent, fence) = (agent.clone(), grant.fence);
                        self.note(number, FactKind::Granted { agent, process, fence });
                    }
                }
            }
            (Said::Release { fence, reason }, Reply::Done) => {
                if let Some(number) = call.task {
                    self.note(number, FactKind::Released { process, fence, reason });
                }
            }
            (Said::LaunchFailed { fence }, Reply::Done) => {
                if let Some(number) = call.task {
                    self.note(number, FactKind::LaunchFailed { process, fence });
                }
            }
            (Said::Upload { kind }, Reply::BlobStored { .. }) => {
                if let Some(number) = call.task {
                    self.note(number, FactKind::Uploaded { process, kind });
                }
            }
            (Said::Start { fence }, Reply::Started(_)) => {
                if let Some(number) = call.task {
                    self.note(number, FactKind::Claimed { process, fence });
                }
            }
            (Said::Lease { fence }, Reply::Lease(_)) if call.kind == CallKind::Confirm => {
                if let Some(number) = call.task
                    && !self.truth.is_confirmed(number, process)
                {
                    self.note(number, FactKind::Confirmed { process, fence });
                    // What it has printed before is of the console too.
                    let shell = self.processes.get(&process).and_then(|process| process.worker());
                    let bytes = shell.map_or(0, |shell| shell.spooled);
                    self.truth.spooled(number, process, bytes);
                }
            }
            (
                Said::Acquire { .. }
                | Said::Release { .. }
                | Said::LaunchFailed { .. }
                | Said::Upload { .. }
                | Said::Start { .. }
                | Said::Lease { .. }
                | Said::Else,
                _,
            ) => {}
        }
    }

    /// Applies a command, and lets follow what follows.
    #[expect(clippy::result_large_err, reason = "an answer is as large as a refusal")]
    pub(in super::super) fn apply(
        &mut self,
        command: Command,
        touched: Option<&TaskId>,
    ) -> Result<Reply, ApiError> {
        let stamp = self.scalr.stamp(self.now);
        let mut changed: Vec<TaskId> = Vec::new();
        if self.scalr.state.next_deadline_ms().is_some_and(|due_ms| due_ms <= stamp.now_ms) {
            changed.extend(self.scalr.state.due_tasks(stamp.now_ms).cloned());
        }
        changed.extend(touched.cloned());
        let reply = self.scalr.state.apply(&stamp, command);
        self.after_command(&changed);
        reply
    }

    /// A command of a user.
    #[expect(clippy::result_large_err, reason = "an answer is as large as a refusal")]
    pub(in super::super) fn apply_as_user(
        &mut self,
        call: PublicCall,
        touched: Option<&TaskId>,
    ) -> Result<Reply, ApiError> {
        let command = Command::Public { bearer: self.scalr.user.clone(), key: None, call };
        self.apply(command, touched)
    }

    fn after_command(&mut self, changed: &[TaskId]) {
        for id in changed {
            self.look_at(id);
        }
        // A new task is something that others wait for.
        if self.scalr.state.wake() != self.scalr.wake {
            self.scalr.wake = self.scalr.state.wake();
            self.meet_new_tasks();
            let mut polls: Vec<u64> =
                changed.iter().filter_map(|id| self.scalr.signal_polls.get(id)).flatten().copied().collect();
            polls.extend_from_slice(&self.scalr.agent_polls);
            self.look_again(&polls);
        }
        self.file_tick();
    }

    fn meet_new_tasks(&mut self) {
        let fresh = self.scalr.state.tasks_after(self.scalr.last_task.as_ref());
        let fresh: Vec<_> = fresh.map(|(id, run, action)| (id.clone(), run.clone(), action)).collect();
        for (id, run, action) in fresh {
            self.task_is_new(&id, &run, action);
            self.scalr.last_task = Some(id);
        }
    }

    fn task_is_new(&mut self, id: &TaskId, run: &RunId, action: Action) {
        let Some(run) = self.users.number_of(run) else { return };
        let number = TaskNumber { run, action };
        self.truth.queued(self.now, number, id);
        self.cluster.introduce(id, number);
        self.note(number, FactKind::Queued);
    }

    /// Whether a task has ended by now.
    fn look_at(&mut self, id: &TaskId) {
        let (Some(number), Some(glance)) = (self.truth.number_of(id), self.scalr.state.glance(id)) else {
            return;
        };
        let is_over = matches!(glance.status, TaskStatus::Finished | TaskStatus::Lost);
        let known = self.truth.task(number).and_then(|task| task.end);
        match (known, glance.late) {
            (None, _) if is_over => {
                let (status, outcome) = (glance.status, glance.outcome);
                self.note(number, FactKind::Ended { status, outcome, was_confirmed: glance.is_confirmed });
                self.task_ended(number, outcome);
            }
            (Some(end), Some(outcome)) if end.late.is_none() => {
                self.note(number, FactKind::Late { outcome });
            }
            (None | Some(_), _) => {}
        }
    }
}

/// What of a command matters once its answer is known.
enum Said {
    Acquire { agent: AgentId },
    Release { fence: Fence, reason: ReleaseReason },
    LaunchFailed { fence: Fence },
    Upload { kind: BlobKind },
    Start { fence: Fence },
    Lease { fence: Fence },
    Else,
}

impl Said {
    fn of(command: &Command) -> Self {
        match command {
            Command::Agent { call: AgentCall::Acquire { agent, .. }, .. } => {
                Self::Acquire { agent: agent.clone() }
            }
            Command::Agent { call: AgentCall::Release { release, .. }, .. } => {
                Self::Release { fence: release.fence, reason: release.reason }
            }
            Command::Agent { call: AgentCall::LaunchFailed { failure, .. }, .. } => {
                Self::LaunchFailed { fence: failure.fence }
            }
            Command::Task { call: TaskCall::BlobPut(blob), .. } => Self::Upload { kind: blob.kind },
            Command::Agent { call: AgentCall::Start { start, .. }, .. } => Self::Start { fence: start.fence },
            Command::Task { call: TaskCall::Lease(lease), .. } => Self::Lease { fence: lease.fence },
            Command::Agent { .. }
            | Command::Task { .. }
            | Command::Tick
            | Command::Restart
            | Command::IssueUserToken { .. }
            | Command::IssuePoolToken { .. }
            | Command::State { .. }
            | Command::Public { .. } => Self::Else,
        }
    }
}

/// The command of a poll, with what is left of its wait.
pub(super) fn with_wait(command: &Command, left_ms: u64) -> Command {
    let mut command = command.clone();
    if let Command::Agent { call: AgentCall::Acquire { ask, .. }, .. } = &mut command {
        ask.wait_ms = left_ms;
    }
    command
}

/// What an adapter makes of 204: a poll that brought nothing goes on with the number that it asked for.
pub(super) fn no_content(command: &Command, reply: Reply) -> Reply {
    match (command, reply) {
        (Command::Agent { call: AgentCall::Messages { after, .. }, .. }, Reply::Messages(messages))
            if messages.hints.is_empty() =>
        {
            Reply::Messages(Messages { last: *after, ..messages })
        }
        (Command::Task { call: TaskCall::Signals { after }, .. }, Reply::Signals(signals))
            if signals.signals.is_empty() =>
        {
            Reply::Signals(Signals { last: *after, ..signals })
        }
        (_, reply) => reply,
    }
}

/// The task whose phase a command may change.
fn touched_by(command: &Command) -> Option<&TaskId> {
    match command {
        Command::Task { task, .. }
        | Command::Agent {
            call: AgentCall::Release { task, .. } | AgentCall::LaunchFailed { task, .. },
            ..
        } => Some(task),
        Command::Agent { .. }
        | Command::Tick
        | Command::Restart
        | Command::IssueUserToken { .. }
        | Command::IssuePoolToken { .. }
        | Command::State { .. }
        | Command::Public { .. } => None,
    }
}
