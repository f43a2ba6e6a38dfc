//! What users do: make workspaces and runs, approve, cancel, discard, through the server's public commands.
//! A user who finds the server away tries again.

use std::collections::BTreeMap;

use fake_scalr::state::{
    PublicCall, Reply,
    command::{NewRun, WorkspaceChange},
    status::RunStatus,
};
use scalr_core::clock::Millis;
use scalr_protocol::{
    agent::Action,
    id::{RunId, WorkspaceId},
    task::{Hook, Outcome, RunMode},
};

use super::{
    World,
    event::Event,
    process::made_up,
    setup::{Profile, RunSetup, TaskNumber},
};

/// How long a user waits before he tries again.
const TRY_AGAIN_MS: u64 = 1_000;

/// How long the archive of a made-up configuration is.
const CONFIGURATION_BYTES: u64 = 10_000;

/// What users have done.
#[derive(Clone, Debug, Default)]
pub(super) struct Users {
    runs: BTreeMap<u32, RunId>,
    numbers: BTreeMap<RunId, u32>,
    workspaces: BTreeMap<u32, WorkspaceId>,
    /// The run that is being made: the server names it before it answers.
    making: Option<u32>,
    /// Runs that are not over, or not yet made.
    pub(super) open: u32,
    is_over: Vec<bool>,
}

impl Users {
    pub(super) fn run_id(&self, run: u32) -> Option<&RunId> {
        self.runs.get(&run)
    }

    /// Which run of the setup the server means.
    pub(super) fn number_of(&mut self, id: &RunId) -> Option<u32> {
        if let Some(number) = self.numbers.get(id) {
            return Some(*number);
        }
        let number = self.making?;
        self.runs.insert(number, id.clone());
        self.numbers.insert(id.clone(), number);
        Some(number)
    }
}

impl World {
    pub(super) fn file_runs(&mut self) {
        let setup = std::sync::Arc::clone(&self.setup);
        self.users.open = u32::try_from(setup.runs.len()).unwrap_or(u32::MAX);
        self.users.is_over = vec![false; setup.runs.len()];
        for (run, at) in (0_u32..).zip(&setup.runs) {
            self.push(Millis(at.at_ms), u64::from(run), Event::CreateRun { run });
        }
    }

    /// How the tool of a task behaves.
    pub(super) fn profile(&self, number: TaskNumber) -> &Profile {
        let run = self.setup.runs.get(number.run as usize);
        let profile = run.and_then(|run| self.setup.profiles.get(run.profile as usize));
        profile.unwrap_or(&self.setup.profiles[0])
    }

    /// A user makes a run, and first what it needs.
    pub(super) fn create_run(&mut self, run: u32) {
        let Some(setup) = self.setup.runs.get(run as usize).cloned() else { return };
        if !self.is_scalr_up() {
            return self.push(self.now + TRY_AGAIN_MS, u64::from(run), Event::CreateRun { run });
        }
        let Some(workspace) = self.workspace(run, &setup) else { return };
        let new = NewRun {
            workspace,
            configuration_version: None,
            is_destroy: false,
            is_dry: setup.is_dry,
            mode: RunMode::Apply,
            auto_apply: Some(setup.approval_ms.is_none()),
            message: String::new(),
            source: "sim".to_owned(),
            vcs: None,
            variables: Vec::new(),
            targets: Vec::new(),
            replace: Vec::new(),
            priority: setup.priority,
        };
        self.users.making = Some(run);
        if let Ok(Reply::Run(id)) = self.apply_as_user(PublicCall::CreateRun(new), None) {
            self.users.number_of(&id);
        }
        self.users.making = None;
    }

    fn workspace(&mut self, run: u32, setup: &RunSetup) -> Option<WorkspaceId> {
        if let Some(id) = self.users.workspaces.get(&setup.workspace) {
            return Some(id.clone());
        }
        let profile = self.profile(TaskNumber { run, action: Action::Plan });
        let hook = |phase| Hook { phase, source: "workspace".to_owned(), command: "true".to_owned() };
        let settings = WorkspaceChange {
            hooks: Some(profile.hooks.iter().copied().map(hook).collect()),
            operation_timeout_ms: setup.operation_timeout_ms,
            ..WorkspaceChange::default()
        };
        let name = format!("workspace-{}", setup.workspace);
        let made = self.apply_as_user(PublicCall::CreateWorkspace { name, settings }, None);
        let Ok(Reply::Workspace(workspace)) = made else { return None };
        let call = PublicCall::CreateConfigurationVersion { workspace: workspace.clone() };
        let made = self.apply_as_user(call, None);
        let Ok(Reply::ConfigurationVersion(configuration_version)) = made else { return None };
        let sha256 = made_up(u64::from(setup.workspace), CONFIGURATION_BYTES);
        let call =
            PublicCall::ConfigurationUploaded { configuration_version, bytes: CONFIGURATION_BYTES, sha256 };
        self.apply_as_user(call, None).ok()?;
        self.users.workspaces.insert(setup.workspace, workspace.clone());
        Some(workspace)
    }

    /// A task is over at the server: the user looks at the run.
    pub(super) fn task_ended(&mut self, number: TaskNumber, outcome: Option<Outcome>) {
        let run = number.run;
        let approval_ms = self.setup.runs.get(run as usize).and_then(|setup| setup.approval_ms);
        if number.action == Action::Plan
            && outcome == Some(Outcome::Succeeded)
            && let Some(approval_ms) = approval_ms
        {
            self.push(self.now + approval_ms, u64::from(run), Event::Approve { run });
        }
        self.look_at_run(run);
    }

    fn look_at_run(&mut self, run: u32) {
        let is_over = self.run_status(run).is_some_and(RunStatus::is_terminal);
        if let Some(was_over) = self.users.is_over.get_mut(run as usize)
            && is_over
            && !*was_over
        {
            *was_over = true;
            self.users.open -= 1;
        }
    }

    /// A user approves a plan, if there is one to approve.
    pub(super) fn approve(&mut self, run: u32) {
        let Some(id) = self.users.run_id(run).cloned() else { return };
        if !self.is_scalr_up() {
            return self.push(self.now + TRY_AGAIN_MS, u64::from(run), Event::Approve { run });
        }
        if self.run_status(run) == Some(RunStatus::Planned) {
            // Looked at a moment ago: it can't be refused.
            let _done = self.apply_as_user(PublicCall::ConfirmRun { run: id }, None);
        }
    }

    /// A user gives a run up. Says whether there was anything to give up.
    pub(super) fn discard(&mut self, run: u32) -> bool {
        let Some(id) = self.users.run_id(run).cloned() else { return false };
        let is_done =
            self.is_scalr_up() && self.apply_as_user(PublicCall::DiscardRun { run: id }, None).is_ok();
        self.look_at_run(run);
        is_done
    }

    /// A user cancels a run. Says whether the server took it.
    pub(super) fn cancel(&mut self, run: u32, force: bool) -> bool {
        let Some(id) = self.users.run_id(run).cloned() else { return false };
        let task = self.scalr().run_task(&id).cloned();
        let is_done = self.is_scalr_up()
            && self.apply_as_user(PublicCall::CancelRun { run: id, force }, task.as_ref()).is_ok();
        self.look_at_run(run);
        is_done
    }
}
