//! The commands of a run, as arguments and a folder, and what stands ready in that folder before them.
//!
//! It starts nothing and knows no secret: values go through files and the environment, never through
//! arguments. All paths in a [`Command`] are the runner's.

use std::path::Path;

use scalr_protocol::{
    blob::BlobKind,
    task::{Hook, Run, RunMode, Workspace},
};

use super::{environment::Environment, paths::RunPaths};
pub use directory::{OVERRIDE_FILE, WorkingDirectory};
pub use error::SettingError;
use error::{ARGUMENT_BYTES_MAX, LIST_MAX, cut};

mod directory;
mod error;
#[cfg(test)]
mod tests;

/// The dependency lock file. Source: Terraform and `OpenTofu`.
pub const LOCK_FILE: &str = ".terraform.lock.hcl";
/// Where the tool saves a state that it could not push.
pub const ERRORED_STATE: &str = "errored.tfstate";
/// The saved plan, in the data folder.
pub const PLAN_FILE: &str = "plan.tfplan";

/// How long a command waits for the state's lock: as long as the unlock of a run that has just ended may
/// take. Runs of a workspace queue at Scalr, so whoever holds it longer is a person, and is named.
const LOCK_TIMEOUT: &str = "-lock-timeout=20s";

/// A command for the runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The folder it starts in, absolute.
    pub cwd: String,
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

    /// `show -json` of the plan file. Its output is for a program: see [`Environment::quiet`].
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

/// Where a blob lies that the run's commands read or leave: the folder, and its path there. None for what no
/// command touches.
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
pub fn plan_succeeded(exit_code: i32, environment: &Environment) -> bool {
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
