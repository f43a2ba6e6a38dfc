//! What each stage is made of: work of the worker's own, or commands for the runner.

use std::{
    collections::BTreeSet,
    io::{BufReader, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use scalr_core::{
    supervisor::{
        effect::Stage,
        input::{StageEnd, StageFacts},
    },
    task_api::{BlobBytes, TaskApi, TaskError},
};
use scalr_protocol::{
    agent::Action,
    blob::{BlobKind, BlobRef, Digest},
    secret::Secret,
    task::{HookPhase, Payload, RunMode, Started, TaskErrorCode, VariableCategory},
};
use sha2::{Digest as _, Sha256};

use super::{
    Command, CommandKind, Commands, ERRORED_STATE, Folder, Kind, Masker, Variables, WorkOptions,
    WorkingDirectory,
};
use crate::worker::{
    commands::{self, Lock, Place, place},
    configuration::{self, Limits},
    declared,
    environment::{Environment, Operation, Surroundings, environment, hostname, state_address},
    plan_json,
    runner_link::StateOrder,
    tools::{ToolError, Tools},
    uploads::{Upload, bytes_max},
    variables,
};

/// How many entries of an earlier task's folder are removed at most: what an archive may hold, and what a
/// tool and its providers add, many times over.
const OLD_ENTRIES_MAX: usize = 5_000_000;
/// The tool's own configuration file, in the data folder: empty, since settings come by the environment.
const CLI_CONFIG: &str = "cli.tfrc";

/// A command of a stage.
pub(super) struct Planned {
    pub(super) command: Command,
    /// What the console says before it.
    pub(super) before: Option<String>,
    /// Where its output goes, if not to the console.
    pub(super) captured: Option<PathBuf>,
    /// Whether exit code 2 only says that there are changes.
    pub(super) says_changes_by_2: bool,
}

/// The configuration, unpacked and looked at.
#[derive(Debug)]
pub(super) struct Prepared {
    config: Folder,
    data: Folder,
    directory: WorkingDirectory,
    declared: BTreeSet<String>,
    variables: Variables,
}

impl Prepared {
    /// Whether the tool has left a state that it could not push. Only looked at, never followed.
    pub(super) fn has_errored_state(&self) -> bool {
        let path = self.directory.path().join(ERRORED_STATE);
        matches!(self.config.kind(&path), Ok(Some(Kind::File)))
    }
}

/// The tool's binary, as the runner sees it.
#[derive(Clone, Debug)]
pub(super) struct Found(PathBuf);

/// The end of a stage of the worker's own, and what it found out.
pub(super) struct StageDone {
    pub(super) end: StageEnd,
    pub(super) line: Option<String>,
    pub(super) uploaded: Option<BlobRef>,
    pub(super) prepared: Option<Prepared>,
    pub(super) tool: Option<Found>,
}

impl StageDone {
    pub(super) fn of(end: StageEnd) -> Self {
        Self { end, line: None, uploaded: None, prepared: None, tool: None }
    }

    fn done() -> Self {
        Self::of(StageEnd::Done(StageFacts::default()))
    }
}

/// Everything that a stage works with.
pub(super) struct Work<T> {
    pub(super) options: Arc<WorkOptions>,
    pub(super) api: T,
    pub(super) started: Arc<Started>,
    pub(super) prepared: Option<Arc<Prepared>>,
    pub(super) tool: Option<Found>,
    pub(super) masker: Masker,
}

impl<T: TaskApi> Work<T> {
    /// Does a stage of the worker's own.
    pub(super) async fn own(&self, stage: Stage) -> StageDone {
        let done = match stage {
            Stage::Configuration => self.configuration().await,
            Stage::SavedPlan => self.saved_plan().await,
            Stage::Tool => self.tool().await,
            Stage::Upload(kind) => self.upload(kind).await,
            Stage::Hooks(_) | Stage::Init | Stage::Plan | Stage::Show | Stage::Apply | Stage::PushState => {
                unreachable!("user code runs in the runner")
            }
        };
        done.unwrap_or_else(|end| {
            let line = match &end {
                StageEnd::Failed { message, .. } => Some(self.masker.mask(&format!("Error: {message}"))),
                StageEnd::Done(_) | StageEnd::Unreachable { .. } => None,
            };
            StageDone { line, ..StageDone::of(end) }
        })
    }

    async fn configuration(&self) -> Result<StageDone, StageEnd> {
        let invalid = |error: &dyn std::fmt::Display| self.failed(TaskErrorCode::ConfigurationInvalid, error);
        let (config, data) =
            self.fresh_folders().map_err(|error| self.failed(TaskErrorCode::Internal, &error))?;
        let archive = self.options.private.join("configuration.tar.gz");
        self.fetch(BlobKind::ConfigurationVersion, &archive)
            .await?
            .ok_or_else(|| invalid(&"the run has no configuration; upload one and try again"))?;
        let unpacked = blocking(move || {
            let file = std::fs::File::open(&archive).map_err(|error| error.to_string())?;
            let done = configuration::unpack(BufReader::new(file), &config, &Limits::default());
            // It is the worker's own file; the runner has what was in it.
            let _removed = std::fs::remove_file(&archive);
            done.map(|_| config).map_err(|error| error.to_string())
        });
        let config = unpacked.await.map_err(|error| invalid(&error))?;
        let payload = &self.started.payload;
        let setting = |error: &dyn std::fmt::Display| self.failed(TaskErrorCode::SettingInvalid, error);
        let directory =
            WorkingDirectory::find(&config, &payload.workspace).map_err(|error| setting(&error))?;
        let removed = directory.prepare(&config).map_err(|error| setting(&error))?;
        directory.check_var_files(&config, &payload.workspace).map_err(|error| setting(&error))?;
        let declared = declared::variables(&config, directory.path()).map_err(|error| invalid(&error))?;
        let variables = variables::sort(&payload.variables, &declared).map_err(|error| setting(&error))?;
        variables.write(&config, directory.path()).map_err(|error| setting(&error))?;
        let line = (!removed.is_empty()).then(|| {
            format!(
                "The configuration brought {}, which a remote run does not use: left out.",
                removed.join(", ")
            )
        });
        let prepared = Prepared { config, data, directory, declared, variables };
        Ok(StageDone { line, prepared: Some(prepared), ..StageDone::done() })
    }

    /// Makes the run's folders, and empties what an earlier task of the run has left.
    fn fresh_folders(&self) -> Result<(Folder, Folder), String> {
        let side = &self.options.paths.worker;
        let make = |path: &Path| {
            std::fs::create_dir_all(path)
                .map_err(|error| format!("`{}` can't be made: {error}", path.display()))?;
            let folder = Folder::open(path).map_err(|error| error.to_string())?;
            folder.remove_all(OLD_ENTRIES_MAX).map_err(|error| error.to_string())?;
            Ok::<_, String>(folder)
        };
        make(&side.providers)?;
        make(&side.tmp)?;
        let (config, data) = (make(&side.config)?, make(&side.data)?);
        data.write(Path::new(CLI_CONFIG), b"", 0o644).map_err(|error| error.to_string())?;
        Ok((config, data))
    }

    async fn saved_plan(&self) -> Result<StageDone, StageEnd> {
        let prepared = self.prepared()?;
        for kind in [BlobKind::PlanFile, BlobKind::LockFile] {
            let kept = self.options.private.join(kind.as_str());
            if self.fetch(kind, &kept).await?.is_none() {
                // A configuration without providers has no lock file; a run without a plan can't be applied.
                if kind == BlobKind::PlanFile {
                    return Err(
                        self.failed(TaskErrorCode::ConfigurationInvalid, &"the run has no saved plan")
                    );
                }
                continue;
            }
            let (folder, path) = prepared.place(kind);
            let copied = copy(&kept, folder, &path);
            let _removed = std::fs::remove_file(&kept);
            copied.map_err(|error| self.failed(TaskErrorCode::Internal, &error))?;
        }
        Ok(StageDone::done())
    }

    async fn tool(&self) -> Result<StageDone, StageEnd> {
        let WorkOptions { paths, tool_paths, client, .. } = &*self.options;
        let tool = &self.started.payload.tool;
        let found = Tools { paths, configured: tool_paths, client }.find(tool).await;
        let found = found.map_err(|error| match &error {
            ToolError::Unreachable { .. } => {
                StageEnd::Unreachable { detail: error.to_string(), retry_after_ms: 0 }
            }
            ToolError::Unknown { .. } | ToolError::Nowhere { .. } => {
                self.failed(TaskErrorCode::ToolUnavailable, &error)
            }
        })?;
        let line = Some(found.line(tool));
        Ok(StageDone { line, tool: Some(Found(found.binary)), ..StageDone::done() })
    }

    async fn upload(&self, kind: BlobKind) -> Result<StageDone, StageEnd> {
        let failed = |error: &dyn std::fmt::Display| self.failed(TaskErrorCode::UploadFailed, error);
        let prepared = self.prepared()?;
        let plan_json = plan_json(&self.options);
        let upload = blocking(move || {
            if kind == BlobKind::PlanJson {
                let file = std::fs::File::open(plan_json).map_err(|error| error.to_string())?;
                return Upload::from_file(file, kind).map(Some).map_err(|error| error.to_string());
            }
            let (folder, path) = prepared.place(kind);
            Upload::from_folder(folder, &path, kind).map_err(|error| error.to_string())
        });
        let Some(Upload { blob, file }) = upload.await.map_err(|error| failed(&error))? else {
            return if kind == BlobKind::PlanFile {
                Err(failed(&"the plan file is gone"))
            } else {
                Ok(StageDone::done())
            };
        };
        match self.api.put_blob(&self.started.payload.task, &blob, file).await {
            Ok(()) => Ok(StageDone { uploaded: Some(blob), ..StageDone::done() }),
            Err(error) => Err(self.call_failed(TaskErrorCode::UploadFailed, &error)),
        }
    }

    /// Fetches a blob into a file of the worker's own; none where there is no such blob.
    async fn fetch(&self, kind: BlobKind, path: &Path) -> Result<Option<()>, StageEnd> {
        let code = TaskErrorCode::ConfigurationInvalid;
        let Some(expected) = self.started.payload.blobs.iter().find(|blob| blob.kind == kind) else {
            return Ok(None);
        };
        let mut bytes = match self.api.blob(&self.started.payload.task, kind).await {
            Ok(bytes) => bytes,
            Err(TaskError::NotFound) => return Ok(None),
            Err(error) => return Err(self.call_failed(code, &error)),
        };
        let io = |error: std::io::Error| {
            self.failed(TaskErrorCode::Internal, &format!("the {kind} can't be kept: {error}"))
        };
        let mut file = std::fs::File::create(path).map_err(io)?;
        let (mut hash, mut length) = (Sha256::new(), 0);
        while let Some(piece) = bytes.next().await.map_err(|error| self.call_failed(code, &error))? {
            length += piece.len() as u64;
            // The rest of what is no longer what was announced is not worth its room on the disk.
            if length > expected.bytes.min(bytes_max(kind)) {
                let error = format!("the {kind} has more than the {} bytes announced", expected.bytes);
                return Err(self.failed(code, &error));
            }
            hash.update(&piece);
            file.write_all(&piece).map_err(io)?;
        }
        if Digest(hash.finalize().into()) == expected.sha256 {
            Ok(Some(()))
        } else if length < expected.bytes {
            // Cut on its way: another try may bring it whole.
            let detail = format!("{length} bytes of the {kind} came, {} were announced", expected.bytes);
            Err(self.call_failed(code, &TaskError::Unreachable { detail }))
        } else {
            // It came whole, so it is what the server keeps: another try brings the same.
            Err(self.failed(code, &format!("the {kind} does not match its digest")))
        }
    }

    fn prepared(&self) -> Result<Arc<Prepared>, StageEnd> {
        let missing = || self.failed(TaskErrorCode::Internal, &"the configuration is not there yet");
        self.prepared.clone().ok_or_else(missing)
    }

    fn failed(&self, code: TaskErrorCode, error: &dyn std::fmt::Display) -> StageEnd {
        super::failed(code, &self.masker.mask(&error.to_string()))
    }

    fn call_failed(&self, code: TaskErrorCode, error: &TaskError) -> StageEnd {
        if let TaskError::Unreachable { detail } = error {
            return StageEnd::Unreachable { detail: detail.clone(), retry_after_ms: 0 };
        }
        if let TaskError::RateLimited { retry_after_ms } = error {
            return StageEnd::Unreachable { detail: error.to_string(), retry_after_ms: *retry_after_ms };
        }
        self.failed(code, error)
    }

    /// The commands of a stage that runs user code.
    pub(super) fn commands(&self, stage: Stage, exit_code: Option<i32>) -> Result<Vec<Planned>, StageEnd> {
        let prepared = self.prepared()?;
        let payload = &self.started.payload;
        let nowhere = PathBuf::new();
        let tool = self.tool.as_ref().map_or(&nowhere, |found| &found.0);
        let commands = Commands::new(tool, &self.options.paths, &prepared.directory);
        let operation = operation(stage, payload.action);
        let ordered = state_order(&self.options, payload);
        let plain = |command: commands::Command, environment: Environment| Planned {
            command: complete(command, environment, CommandKind::Tool, &ordered),
            before: None,
            captured: None,
            says_changes_by_2: false,
        };
        let base = self.environment(&prepared, tool, operation)?;
        let setting = |error: &dyn std::fmt::Display| self.failed(TaskErrorCode::SettingInvalid, error);
        Ok(match stage {
            Stage::Init => {
                let lock = if payload.action == Action::Apply && prepared.has_lock() {
                    Lock::FromPlan
                } else {
                    Lock::Free
                };
                vec![plain(commands.init(lock), base)]
            }
            Stage::Plan => {
                let saved =
                    commands.plan(&payload.run, &payload.workspace).map_err(|error| setting(&error))?;
                let says_changes_by_2 = commands::plan_succeeded(2, &base);
                vec![Planned { says_changes_by_2, ..plain(saved, base) }]
            }
            Stage::Show => {
                let mut show = plain(commands.show(), base.quiet());
                // A program reads its output: no line of a relay's may be among it. It needs no state.
                (show.command.state, show.captured) = (None, Some(plan_json(&self.options)));
                vec![show]
            }
            Stage::Apply => vec![plain(commands.apply(), base)],
            Stage::PushState => vec![plain(commands.push_errored_state(), base)],
            Stage::Hooks(phase) => {
                let base = match phase {
                    HookPhase::PostPlan | HookPhase::PostApply => base.after(exit_code == Some(0)),
                    HookPhase::PreInit | HookPhase::PrePlan | HookPhase::PreApply => base,
                };
                let hooks = payload.hooks.iter().filter(|hook| hook.phase == phase);
                let planned = hooks.map(|hook| Planned {
                    command: complete(commands.hook(hook), base.clone(), CommandKind::Hook, &ordered),
                    before: Some(commands::hook_begins(hook)),
                    captured: None,
                    says_changes_by_2: false,
                });
                planned.collect()
            }
            Stage::Configuration | Stage::SavedPlan | Stage::Tool | Stage::Upload(_) => {
                unreachable!("the worker does it itself")
            }
        })
    }

    fn environment(
        &self,
        prepared: &Prepared,
        tool: &Path,
        operation: Operation,
    ) -> Result<Environment, StageEnd> {
        let WorkOptions { url, paths, inherited, .. } = &*self.options;
        let payload = &self.started.payload;
        let surroundings = Surroundings {
            payload,
            hostname: &hostname(url),
            state_address: &state_address(url, &payload.workspace.id),
            run_token: &self.started.run_token,
            paths,
            tool_folder: tool.parent().unwrap_or(Path::new("/")),
            cli_config: &paths.runner.data.join(CLI_CONFIG),
            inherited,
        };
        environment(&surroundings, operation, &prepared.variables, &prepared.declared)
            .map_err(|error| self.failed(TaskErrorCode::SettingInvalid, &error))
    }
}

impl Prepared {
    fn place(&self, kind: BlobKind) -> (&Folder, PathBuf) {
        match place(kind) {
            Some((Place::Data, name)) => (&self.data, name.into()),
            Some((Place::WorkingDirectory, name)) => (&self.config, self.directory.path().join(name)),
            None => unreachable!("no command of protocol 0.1 touches a {kind}"),
        }
    }

    fn has_lock(&self) -> bool {
        let (folder, path) = self.place(BlobKind::LockFile);
        matches!(folder.kind(&path), Ok(Some(Kind::File)))
    }
}

fn operation(stage: Stage, action: Action) -> Operation {
    if matches!(stage, Stage::Init | Stage::Hooks(HookPhase::PreInit)) {
        return Operation::Init;
    }
    match action {
        Action::Apply => Operation::Apply,
        // The others are refused before a stage begins; what a plan may do is the least that there is.
        Action::Plan | Action::PolicyCheck | Action::CostEstimate | Action::Checkov | Action::Unknown => {
            Operation::Plan
        }
    }
}

fn complete(
    command: commands::Command,
    environment: Environment,
    kind: CommandKind,
    state: &StateOrder,
) -> Command {
    let commands::Command { argv, cwd } = command;
    Command { argv, env: environment.into_map(), cwd, kind, state: Some(state.clone()) }
}

fn state_order(options: &WorkOptions, payload: &Payload) -> StateOrder {
    StateOrder {
        run: payload.run.id.to_string(),
        upstream: state_address(&options.url, &payload.workspace.id),
        spool: options.paths.runner.tmp.display().to_string(),
        authorities: options.authorities.clone(),
    }
}

/// What must not appear in the console: tokens, sensitive variables, credentials, and what Scalr names.
pub(super) fn secrets(started: &Started) -> Vec<Secret> {
    let payload = &started.payload;
    let sensitive = payload.variables.iter().filter(|variable| {
        variable.sensitive
            && matches!(variable.category, VariableCategory::Terraform | VariableCategory::Shell)
    });
    let credentials = payload
        .provider_configurations
        .iter()
        .flat_map(|provider| &provider.environment)
        .map(|argument| argument.value.clone());
    [started.task_token.clone(), started.run_token.clone()]
        .into_iter()
        .chain(sensitive.map(|variable| variable.value.clone()))
        .chain(credentials)
        .chain(payload.secrets.iter().cloned())
        .collect()
}

/// Where the plan's JSON is kept: the worker's own, so that no user code can change it before the upload.
pub(super) fn plan_json(options: &WorkOptions) -> PathBuf {
    options.private.join("plan.json")
}

/// Counts a captured plan.
pub(super) async fn summarize(path: PathBuf, mode: RunMode) -> StageEnd {
    let counted = blocking(move || {
        let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
        plan_json::summarize(file, mode).map_err(|error| error.to_string())
    });
    match counted.await {
        Ok(summary) => StageEnd::Done(StageFacts { summary: Some(summary), ..StageFacts::default() }),
        Err(error) => super::failed(TaskErrorCode::PlanFailed, &error),
    }
}

/// How a failed command is classed, and what people call it.
pub(super) fn failure(stage: Stage) -> (TaskErrorCode, String) {
    match stage {
        Stage::Init => (TaskErrorCode::InitFailed, "init".to_owned()),
        Stage::Plan => (TaskErrorCode::PlanFailed, "plan".to_owned()),
        Stage::Show => (TaskErrorCode::PlanFailed, "showing the plan".to_owned()),
        Stage::Apply => (TaskErrorCode::ApplyFailed, "apply".to_owned()),
        Stage::PushState => (TaskErrorCode::StatePushFailed, "pushing the state".to_owned()),
        Stage::Hooks(phase) => (TaskErrorCode::HookFailed, format!("the {} hook", phase.as_str())),
        Stage::Configuration | Stage::SavedPlan | Stage::Tool | Stage::Upload(_) => {
            unreachable!("the worker does it itself")
        }
    }
}

fn copy(from: &Path, folder: &Folder, path: &Path) -> Result<(), String> {
    let mut from = std::fs::File::open(from).map_err(|error| error.to_string())?;
    let mut to = folder.create(path, 0o600).map_err(|error| error.to_string())?;
    std::io::copy(&mut from, &mut to).map(drop).map_err(|error| error.to_string())
}

/// Runs what blocks on a thread of its own.
async fn blocking<A: Send + 'static>(
    work: impl FnOnce() -> Result<A, String> + Send + 'static,
) -> Result<A, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(error.to_string()),
    }
}
