//! The commands of a run, as arguments and a folder, and what stands ready in that folder before them.
//!
//! It starts nothing and knows no secret: values go through files and the environment, never through
//! arguments. All paths in a [`Command`] are the runner's.

use std::path::{Path, PathBuf};

use scalr_protocol::{
    blob::BlobKind,
    task::{Hook, Run, RunMode, Workspace},
};

use super::{
    beneath::{self, BeneathError, Folder, Kind},
    declared::{self, MODULE_ENTRIES_MAX},
    paths::RunPaths,
};

#[cfg(test)]
mod tests;

/// What replaces the backend, or the `cloud` block, that the configuration names. Override files are merged
/// last, in the order of their names.
pub const OVERRIDE_FILE: &str = "zz_backend_override.tf.json";
/// An `http` backend whose every setting comes from the environment.
const OVERRIDE: &str = r#"{"terraform":{"backend":{"http":{}}}}"#;
/// The dependency lock file. Source: Terraform and `OpenTofu`.
pub const LOCK_FILE: &str = ".terraform.lock.hcl";
/// Where the tool saves a state that it could not push.
pub const ERRORED_STATE: &str = "errored.tfstate";
/// The saved plan, in the data folder.
pub const PLAN_FILE: &str = "plan.tfplan";

/// How long a command waits for the state's lock: as long as the unlock of a run that has just ended may
/// take. Runs of a workspace queue at Scalr, so whoever holds it longer is a person, and is named.
const LOCK_TIMEOUT: &str = "-lock-timeout=20s";

/// How many targets, replacements and variable files a run may have: they are arguments, of which Linux takes
/// 2 MiB with the environment.
const LIST_MAX: usize = 1000;
/// The longest address or path among them.
const ARGUMENT_BYTES_MAX: usize = 1024;

/// What an apply needs of its plan, and what a tool leaves, in a place where a configuration may have put
/// something else: a recorded backend or a local state makes `init` ask about a migration, a selected
/// workspace makes every command fail, and an old errored state would be taken for this run's.
const LEFTOVERS: [&str; 5] = [
    ".terraform/terraform.tfstate",
    ".terraform/environment",
    "terraform.tfstate",
    "terraform.tfstate.backup",
    ERRORED_STATE,
];

/// A setting of the run or the workspace that can't work; one line each.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The working directory leads out, or is no folder.
    #[error("working directory {path:?}: {problem}; set it to a folder of the configuration")]
    WorkingDirectory {
        /// As it is set.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// There is nothing to run in it.
    #[error("working directory {path:?} has no .tf file; set it to the folder of the root module")]
    NoModule {
        /// As it is set.
        path: String,
    },
    /// A variable file can't be used.
    #[error("variable file {path:?}: {problem}; it is looked for from the working directory")]
    VarFile {
        /// As it is set.
        path: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A target or a replacement is no address.
    #[error("{option} {address:?} is no resource address")]
    Address {
        /// `-target` or `-replace`.
        option: &'static str,
        /// As it is set, cut to 256 characters.
        address: String,
    },
    /// Too many of them.
    #[error("the run has {count} {what}, the limit is {LIST_MAX}")]
    TooMany {
        /// How many.
        count: usize,
        /// Of what.
        what: &'static str,
    },
    /// Settings that exclude each other.
    #[error("{first} and {second} can't be used together")]
    Conflict {
        /// The one.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// The folder can't be read or written.
    #[error("failed to prepare the working directory: {cause}")]
    Folder {
        /// What happened.
        cause: BeneathError,
    },
}

/// A command for the runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The folder it starts in, absolute.
    pub cwd: String,
}

/// The working directory: within the configuration, a folder, with a module in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkingDirectory {
    /// Relative to the configuration, without `.`; empty for its root.
    path: PathBuf,
}

impl WorkingDirectory {
    /// Finds it in the unpacked configuration.
    pub fn find(config: &Folder, workspace: &Workspace) -> Result<Self, SettingError> {
        let set = &workspace.working_directory;
        let wrong = |problem: String| SettingError::WorkingDirectory { path: cut(set), problem };
        if set.len() > ARGUMENT_BYTES_MAX || set.contains('\0') {
            return Err(wrong("is too long, or has a NUL".to_owned()));
        }
        let path: PathBuf = beneath::names(Path::new(set))
            .map_err(|_| wrong("leads out of the configuration".to_owned()))?
            .iter()
            .collect();
        let entries = config.entries(&path, MODULE_ENTRIES_MAX).map_err(|error| match error {
            BeneathError::Missing { .. } => wrong("is not in the configuration".to_owned()),
            BeneathError::Link { .. } => wrong("is a file, or goes through a link".to_owned()),
            other @ (BeneathError::Outside { .. }
            | BeneathError::Kind { .. }
            | BeneathError::TooLarge { .. }
            | BeneathError::TooMany { .. }
            | BeneathError::Io { .. }) => wrong(other.to_string()),
        })?;
        let is_module = |(name, kind): &(std::ffi::OsString, Kind)| {
            matches!(kind, Kind::File | Kind::Link) && declared::is_module_file(name)
        };
        if entries.iter().any(is_module) {
            Ok(Self { path })
        } else {
            Err(SettingError::NoModule { path: cut(set) })
        }
    }

    /// Relative to the configuration; empty for its root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes away what would confuse the tool, and writes the backend override. Says what it took away.
    pub fn prepare(&self, config: &Folder) -> Result<Vec<&'static str>, SettingError> {
        let failed = |cause| SettingError::Folder { cause };
        let mut removed = Vec::new();
        for leftover in LEFTOVERS {
            match config.remove_file(&self.path.join(leftover)) {
                Ok(true) => removed.push(leftover),
                // Where `.terraform` is a link, there is nothing of that name for the tool to trip over that
                // `init -reconfigure` does not settle.
                Ok(false) | Err(BeneathError::Link { .. }) => {}
                Err(cause) => return Err(failed(cause)),
            }
        }
        config.write(&self.path.join(OVERRIDE_FILE), OVERRIDE.as_bytes(), 0o644).map_err(failed)?;
        Ok(removed)
    }

    /// Checks the workspace's variable files: each must be a file of the configuration.
    pub fn check_var_files(&self, config: &Folder, workspace: &Workspace) -> Result<(), SettingError> {
        let files = &workspace.var_files;
        if files.len() > LIST_MAX {
            return Err(SettingError::TooMany { count: files.len(), what: "variable files" });
        }
        for file in files {
            let wrong = |problem| SettingError::VarFile { path: cut(file), problem };
            if file.is_empty() || file.len() > ARGUMENT_BYTES_MAX || file.contains('\0') {
                return Err(wrong("is empty, too long, or has a NUL"));
            }
            let path =
                join(&self.path, Path::new(file)).ok_or_else(|| wrong("leads out of the configuration"))?;
            match config.kind(&path) {
                // A link of the configuration leads to somewhere inside: that was checked when it was unpacked.
                Ok(Some(Kind::File | Kind::Link)) | Err(BeneathError::Link { .. }) => {}
                Ok(Some(Kind::Folder | Kind::Special)) => return Err(wrong("is no file")),
                Ok(None) => return Err(wrong("is not in the configuration")),
                Err(cause) => return Err(SettingError::Folder { cause }),
            }
        }
        Ok(())
    }
}

/// Goes on from a relative path by names, `.` and `..`; none where that leads out.
fn join(from: &Path, path: &Path) -> Option<PathBuf> {
    use std::path::Component;
    let mut reached = from.to_owned();
    for component in path.components() {
        match component {
            Component::Normal(name) => reached.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !reached.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(reached)
}

/// The tool's commands in one working directory.
#[derive(Clone, Debug)]
pub struct Commands {
    /// The tool's binary.
    tool: String,
    cwd: String,
    plan_file: String,
}

impl Commands {
    /// `tool` is the binary's path as the runner sees it.
    pub fn new(tool: &Path, paths: &RunPaths, directory: &WorkingDirectory) -> Self {
        let config = &paths.runner.config;
        let cwd =
            if directory.path.as_os_str().is_empty() { config.clone() } else { config.join(&directory.path) };
        Self {
            tool: tool.display().to_string(),
            cwd: cwd.display().to_string(),
            plan_file: paths.runner.data.join(PLAN_FILE).display().to_string(),
        }
    }

    fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let arguments = arguments.into_iter().map(str::to_owned);
        Command { argv: std::iter::once(self.tool.clone()).chain(arguments).collect(), cwd: self.cwd.clone() }
    }

    /// `init`. With the lock file of the plan in place, nothing may change it.
    pub fn init(&self, lock: Lock) -> Command {
        let lock = match lock {
            Lock::Free => None,
            Lock::FromPlan => Some("-lockfile=readonly"),
        };
        self.command(["init", "-input=false", "-reconfigure"].into_iter().chain(lock))
    }

    /// `plan`, saved to the plan file.
    pub fn plan(&self, run: &Run, workspace: &Workspace) -> Result<Command, SettingError> {
        let options = plan_options(run)?;
        let var_files = workspace.var_files.iter().map(|file| format!("-var-file={file}"));
        let out = format!("-out={}", self.plan_file);
        let fixed = ["plan", "-input=false", LOCK_TIMEOUT, &out].map(str::to_owned);
        let all: Vec<String> = fixed.into_iter().chain(options).chain(var_files).collect();
        Ok(self.command(all.iter().map(String::as_str)))
    }

    /// `show -json` of the plan file. Its output is for a program: see [`super::environment::Environment::quiet`].
    pub fn show(&self) -> Command {
        self.command(["show", "-json", "-no-color", &self.plan_file])
    }

    /// `apply` of the plan file, and of nothing else.
    pub fn apply(&self) -> Command {
        self.command(["apply", "-input=false", LOCK_TIMEOUT, &self.plan_file])
    }

    /// Pushes the state that an apply could not push. The tool itself refuses one of another lineage, or with
    /// a serial that is not newer.
    pub fn push_errored_state(&self) -> Command {
        self.command(["state", "push", LOCK_TIMEOUT, ERRORED_STATE])
    }

    /// A hook, in the working directory.
    pub fn hook(&self, hook: &Hook) -> Command {
        let argv = ["/bin/sh", "-c", &hook.command].map(str::to_owned).into();
        Command { argv, cwd: self.cwd.clone() }
    }
}

/// Whose dependency lock file an `init` finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// The configuration's, or none: `init` completes it.
    Free,
    /// The one that the plan was made with: `init` keeps to it or fails.
    FromPlan,
}

/// Where a blob lies that the run's commands read or leave: `(is it in the data folder, its path)`, else it is
/// relative to the working directory. None for what no command touches.
pub fn place(kind: BlobKind) -> Option<(Place, &'static str)> {
    match kind {
        BlobKind::PlanFile => Some((Place::Data, PLAN_FILE)),
        BlobKind::LockFile => Some((Place::WorkingDirectory, LOCK_FILE)),
        BlobKind::ErroredState => Some((Place::WorkingDirectory, ERRORED_STATE)),
        BlobKind::ConfigurationVersion
        | BlobKind::PlanJson
        | BlobKind::Policies
        | BlobKind::PolicyInput
        | BlobKind::PolicyResult
        | BlobKind::CostBreakdown => None,
    }
}

/// Which folder of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// What the agent adds.
    Data,
    /// Where the commands run.
    WorkingDirectory,
}

/// Whether a plan with this exit code succeeded. Without `-detailed-exitcode` 2 is a crash of the Go runtime;
/// with it, set by the user through `TF_CLI_ARGS_plan`, it means that there are changes.
pub fn plan_succeeded(exit_code: i32, environment: &super::environment::Environment) -> bool {
    let asked = || {
        let detailed = |key| environment.get(key).is_some_and(|value| value.contains("-detailed-exitcode"));
        detailed("TF_CLI_ARGS") || detailed("TF_CLI_ARGS_plan")
    };
    match exit_code {
        0 => true,
        2 => asked(),
        _ => false,
    }
}

fn plan_options(run: &Run) -> Result<Vec<String>, SettingError> {
    let conflict = |first, second| Err(SettingError::Conflict { first, second });
    let mut options = Vec::new();
    if run.is_destroy {
        options.push("-destroy".to_owned());
    }
    match run.mode {
        RunMode::Apply | RunMode::Dry => {}
        RunMode::Refresh if run.is_destroy => return conflict("destroy", "refresh only"),
        RunMode::Refresh => options.push("-refresh-only".to_owned()),
        RunMode::SkipRefresh => options.push("-refresh=false".to_owned()),
    }
    if !run.replace.is_empty() && (run.is_destroy || run.mode == RunMode::Refresh) {
        return conflict("replacing resources", if run.is_destroy { "destroy" } else { "refresh only" });
    }
    for (option, addresses, what) in
        [("-target", &run.targets, "targets"), ("-replace", &run.replace, "resources to replace")]
    {
        if addresses.len() > LIST_MAX {
            return Err(SettingError::TooMany { count: addresses.len(), what });
        }
        for address in addresses {
            let usable = !address.trim().is_empty() && !address.contains(char::is_control);
            if !usable || address.len() > ARGUMENT_BYTES_MAX {
                return Err(SettingError::Address { option, address: cut(address) });
            }
            options.push(format!("{option}={address}"));
        }
    }
    Ok(options)
}

/// What the console says before a hook.
pub fn hook_begins(hook: &Hook) -> String {
    format!("Executing {} hook...\n~$ {}\n", hook.phase.as_str(), hook.command)
}

/// What the console says after a hook.
pub fn hook_ended(exit_code: i32) -> String {
    format!("Exit code: {exit_code}\n")
}

fn cut(text: &str) -> String {
    text.chars().take(256).collect()
}
