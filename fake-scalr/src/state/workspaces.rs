//! Workspaces: their settings, their lock, their variables, and every other change through the public API.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use scalr_protocol::{
    error::{ApiError, ErrorCode},
    id::{RunId, WorkspaceId},
    task::{Hook, Tool, Variable, VariableCategory},
};
use serde::{Deserialize, Serialize};

use super::{
    Now, PublicCall, Reply, State,
    command::WorkspaceChange,
    ids::{ConfigurationVersionId, VariableId, fixed},
    locks::StateBox,
    tokens::not_found,
    views::WorkspaceLockView,
};

/// The longest name of a workspace or a variable.
const NAME_CHARS_MAX: usize = 128;

/// A workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Workspace {
    pub(super) name: String,
    pub(super) auto_apply: bool,
    pub(super) working_directory: String,
    pub(super) var_files: Vec<String>,
    pub(super) tool: Tool,
    pub(super) hooks: Vec<Hook>,
    pub(super) operation_timeout_ms: u64,
    pub(super) lock: Option<WorkspaceLockView>,
    pub(super) variables: BTreeMap<VariableId, Variable>,
    pub(super) latest_configuration: Option<ConfigurationVersionId>,
    /// The one run that may write.
    pub(super) current_run: Option<RunId>,
    /// Those that wait for it, and dry ones that wait for the lock, the oldest first.
    pub(super) pending: BTreeSet<(u64, RunId)>,
    pub(super) pending_dry: BTreeSet<(u64, RunId)>,
    pub(super) state: StateBox,
    pub(super) created_at: Timestamp,
}

impl Workspace {
    pub(super) fn pending_of(&mut self, is_dry: bool) -> &mut BTreeSet<(u64, RunId)> {
        if is_dry { &mut self.pending_dry } else { &mut self.pending }
    }

    fn change(&mut self, change: WorkspaceChange) {
        let WorkspaceChange { auto_apply, working_directory, var_files, tool, hooks, operation_timeout_ms } =
            change;
        self.auto_apply = auto_apply.unwrap_or(self.auto_apply);
        self.operation_timeout_ms = operation_timeout_ms.unwrap_or(self.operation_timeout_ms);
        if let Some(working_directory) = working_directory {
            self.working_directory = working_directory;
        }
        if let Some(var_files) = var_files {
            self.var_files = var_files;
        }
        if let Some(tool) = tool {
            self.tool = tool;
        }
        if let Some(hooks) = hooks {
            self.hooks = hooks;
        }
    }
}

impl State {
    pub(super) fn public_call(&mut self, now: Now, who: &str, call: PublicCall) -> Result<Reply, ApiError> {
        match call {
            PublicCall::CreateWorkspace { name, settings } => self.create_workspace(now, name, settings),
            PublicCall::UpdateWorkspace { workspace, settings } => {
                self.workspace_at(&workspace)?;
                refuse_settings(&settings)?;
                self.change_workspace(&workspace, |workspace| workspace.change(settings));
                Ok(Reply::Workspace(workspace))
            }
            PublicCall::LockWorkspace { workspace, reason } => {
                self.lock_workspace(now, who, workspace, reason)
            }
            PublicCall::UnlockWorkspace { workspace } => self.unlock_workspace(now, workspace),
            PublicCall::ForceUnlockState { workspace, spare_running } => {
                self.workspace_at(&workspace)?;
                if spare_running {
                    self.refuse_running_holder(now, &workspace)?;
                }
                Ok(self.force_unlock_state(&workspace))
            }
            PublicCall::CreateVariable { workspace, variable } => {
                self.create_variable(now, &workspace, variable)
            }
            PublicCall::DeleteVariable { variable } => self.delete_variable(&variable),
            PublicCall::CreateConfigurationVersion { workspace } => self.create_configuration(now, workspace),
            PublicCall::ConfigurationUploaded { configuration_version, bytes, sha256 } => {
                self.configuration_uploaded(configuration_version, bytes, sha256)
            }
            PublicCall::CreateRun(new) => self.create_run(now, new),
            PublicCall::ConfirmRun { run } => self.confirm_run(now, &run),
            PublicCall::DiscardRun { run } => self.discard_run(now, &run),
            PublicCall::CancelRun { run, force } => self.cancel_run(now, &run, force),
            PublicCall::CreatePoolToken { description } => Ok(self.issue_pool_token(now, description, None)),
            PublicCall::RevokePoolToken { token } => self.revoke_pool_token(&token),
        }
    }

    pub(super) fn workspace_at(&self, id: &WorkspaceId) -> Result<&Workspace, ApiError> {
        self.workspaces.get(id).ok_or_else(|| not_found("workspace", id.as_str()))
    }

    /// Changes a workspace that was looked up.
    pub(super) fn change_workspace<T>(
        &mut self,
        id: &WorkspaceId,
        change: impl FnOnce(&mut Workspace) -> T,
    ) -> T {
        self.touch_and_wake();
        match self.workspaces.get_mut(id) {
            Some(workspace) => change(workspace),
            None => unreachable!("who changes a workspace has looked it up, and none is ever forgotten"),
        }
    }

    fn create_workspace(
        &mut self,
        now: Now,
        name: String,
        settings: WorkspaceChange,
    ) -> Result<Reply, ApiError> {
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
        if name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX || !name.chars().all(is_name) {
            let detail = format!(
                "`{}` is no name: 1 to {NAME_CHARS_MAX} letters, digits, spaces, '-', '_' or '.'",
                name.chars().take(NAME_CHARS_MAX).collect::<String>()
            );
            return Err(ApiError::new(ErrorCode::Invalid, detail).at("/data/attributes/name"));
        }
        if let Some(taken) = self.workspace_names.get(&name) {
            let detail = format!("`{name}` is taken by {taken}: choose another name");
            return Err(ApiError::new(ErrorCode::Invalid, detail).at("/data/attributes/name"));
        }
        refuse_settings(&settings)?;
        let id = fixed(WorkspaceId::new(&self.new_id(now, "ws")));
        let mut workspace = Workspace {
            name: name.clone(),
            auto_apply: false,
            working_directory: String::new(),
            var_files: Vec::new(),
            tool: self.settings.tool.clone(),
            hooks: Vec::new(),
            operation_timeout_ms: self.settings.operation_timeout_ms,
            lock: None,
            variables: BTreeMap::new(),
            latest_configuration: None,
            current_run: None,
            pending: BTreeSet::new(),
            pending_dry: BTreeSet::new(),
            state: StateBox::default(),
            created_at: now.wall,
        };
        workspace.change(settings);
        self.workspaces.insert(id.clone(), workspace);
        self.workspace_names.insert(name, id.clone());
        self.touch_and_wake();
        Ok(Reply::Workspace(id))
    }

    fn lock_workspace(
        &mut self,
        now: Now,
        who: &str,
        id: WorkspaceId,
        reason: String,
    ) -> Result<Reply, ApiError> {
        if let Some(lock) = &self.workspace_at(&id)?.lock {
            let detail = format!("{} locked it at {}: unlock it first", lock.by, lock.at);
            return Err(ApiError::new(ErrorCode::Conflict, detail));
        }
        let lock = WorkspaceLockView { by: who.to_owned(), reason, at: now.wall };
        self.change_workspace(&id, |workspace| workspace.lock = Some(lock));
        Ok(Reply::Workspace(id))
    }

    fn unlock_workspace(&mut self, now: Now, id: WorkspaceId) -> Result<Reply, ApiError> {
        if self.workspace_at(&id)?.lock.is_none() {
            return Err(ApiError::new(ErrorCode::Conflict, "it is not locked"));
        }
        self.change_workspace(&id, |workspace| workspace.lock = None);
        self.advance(now, &id);
        Ok(Reply::Workspace(id))
    }

    fn create_variable(&mut self, now: Now, id: &WorkspaceId, variable: Variable) -> Result<Reply, ApiError> {
        let workspace = self.workspace_at(id)?;
        refuse_variable(&variable, "/data/attributes")?;
        let is_taken = |other: &Variable| other.key == variable.key && other.category == variable.category;
        if workspace.variables.values().any(is_taken) {
            let detail = format!("`{}` is there already: delete it first", variable.key);
            return Err(ApiError::new(ErrorCode::Invalid, detail).at("/data/attributes/key"));
        }
        let variable_id = VariableId::new(&self.new_id(now, "var"));
        self.variable_owners.insert(variable_id.clone(), id.clone());
        self.change_workspace(id, |workspace| workspace.variables.insert(variable_id.clone(), variable));
        Ok(Reply::Variable(variable_id))
    }

    fn delete_variable(&mut self, id: &VariableId) -> Result<Reply, ApiError> {
        let owner = self.variable_owners.remove(id).ok_or_else(|| not_found("variable", id.as_str()))?;
        self.change_workspace(&owner, |workspace| workspace.variables.remove(id));
        Ok(Reply::Done)
    }
}

/// Paths stay inside the configuration; the worker checks again, with the files at hand.
fn refuse_settings(settings: &WorkspaceChange) -> Result<(), ApiError> {
    let leaves = |path: &str| path.starts_with('/') || path.split('/').any(|part| part == "..");
    if let Some(directory) = settings.working_directory.as_ref().filter(|directory| leaves(directory)) {
        let detail = format!("`{directory}` leaves the configuration: name a folder inside it");
        return Err(ApiError::new(ErrorCode::Invalid, detail).at("/data/attributes/working-directory"));
    }
    if let Some(file) =
        settings.var_files.iter().flatten().find(|file| file.is_empty() || file.starts_with('/'))
    {
        let detail = format!("`{file}` is no path relative to the working directory");
        return Err(ApiError::new(ErrorCode::Invalid, detail).at("/data/attributes/var-files"));
    }
    if settings.operation_timeout_ms == Some(0) {
        let detail = "0 leaves no time: give at least one millisecond";
        return Err(ApiError::new(ErrorCode::Invalid, detail).at("/data/attributes/operation-timeout-ms"));
    }
    Ok(())
}

/// A key that neither a shell nor a configuration could name is refused here, where its author still is.
pub(super) fn refuse_variable(variable: &Variable, pointer: &str) -> Result<(), ApiError> {
    let key = &variable.key;
    let may_have_dash = variable.category == VariableCategory::Terraform;
    let is_key = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || (c == '-' && may_have_dash))
        && key.chars().next().is_some_and(|c| !c.is_ascii_digit() && c != '-')
        && key.len() <= NAME_CHARS_MAX;
    if !is_key {
        let shown: String = key.chars().take(NAME_CHARS_MAX).collect();
        let detail = format!("`{shown}` is no name of a variable: letters, digits and '_', no digit first");
        return Err(ApiError::new(ErrorCode::Invalid, detail).at(&format!("{pointer}/key")));
    }
    if variable.value.expose().contains('\0') {
        let detail = format!("the value of `{key}` has a NUL character");
        return Err(ApiError::new(ErrorCode::Invalid, detail).at(&format!("{pointer}/value")));
    }
    Ok(())
}
