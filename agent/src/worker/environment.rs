//! The environment that a run's commands get: all of it, since the runner adds nothing.
//!
//! No token but the run's own is ever in it, and nothing of the agent's own environment that is not named
//! here. The user's shell variables win over what the agent sets, except where the state depends on it.

use std::{collections::BTreeMap, fmt, path::Path};

use scalr_protocol::{
    BASE_PATH,
    id::WorkspaceId,
    secret::Secret,
    task::{Payload, RunMode},
};
use url::Url;

use super::{
    paths::RunPaths,
    variables::{ENVIRONMENT_VALUE_BYTES_MAX, Variables, is_shell_name},
};

#[cfg(test)]
mod tests;

/// All names and values together. Linux takes a quarter of the stack limit, 2 MiB as a rule, for arguments
/// and environment; half of it is left for the hooks' own.
const ENVIRONMENT_BYTES_MAX: usize = 1 << 20;

/// What is taken over from the runner's image and the agent's options: how to reach the network, and where
/// programs are. Everything else there is the agent's own business.
pub const INHERITED: [&str; 14] = [
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
];

/// Where programs are when the image does not say.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Tools make sockets in `TMPDIR`, and the name of a socket has 108 bytes: their own part takes up to 40. A
/// longer folder is not announced; they then use `/tmp`.
const TMPDIR_BYTES_MAX: usize = 64;

/// How the `http` backend tries again by itself, where the runner can't put a relay between it and Scalr:
/// pauses of 1, 2, 4, 8, 16 and then 30 s, four and a half minutes in all. So an outage of minutes interrupts
/// nobody. In a stop the tool goes through them once for each operation that was under way and three times
/// more, which may be longer than the stop: that is what the relay is for, which sets them anew.
const STATE_RETRIES: [(&str, &str); 3] =
    [("TF_HTTP_RETRY_MAX", "13"), ("TF_HTTP_RETRY_WAIT_MIN", "1"), ("TF_HTTP_RETRY_WAIT_MAX", "30")];

/// What the environment is made of.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The task.
    pub payload: &'a Payload,
    /// The host name of Scalr, with the port where it is not the usual one.
    pub hostname: &'a str,
    /// Where the workspace's state is, an absolute URL. The runner's relay may put another in its place.
    pub state_address: &'a str,
    /// What the user's code may use.
    pub run_token: &'a Secret,
    /// The run's folder.
    pub paths: &'a RunPaths,
    /// The folder of the tool's binary as the runner sees it, put first in `PATH`.
    pub tool_folder: &'a Path,
    /// The tool's own configuration file as the runner sees it. It must exist, or every command warns.
    pub cli_config: &'a Path,
    /// From the runner's image and the agent's options; only the names of [`INHERITED`] are used.
    pub inherited: &'a BTreeMap<String, String>,
}

/// The command for which an environment is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// `init`, and the hooks before it.
    Init,
    /// `plan`, and the hooks round it.
    Plan,
    /// `apply`, and the hooks round it.
    Apply,
}

impl Operation {
    /// As it stands in `SCALR_TERRAFORM_OPERATION`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Plan => "plan",
            Self::Apply => "apply",
        }
    }
}

/// The host name of a server as users know it, with the port where it is not the usual one.
pub fn hostname(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Where a server has the state of a workspace.
pub fn state_address(url: &Url, workspace: &WorkspaceId) -> String {
    format!("{}{BASE_PATH}/workspaces/{workspace}/state", url.as_str().trim_end_matches('/'))
}

/// Names and values. Its `Debug` shows names only.
#[derive(Clone, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// The names and values themselves, for the command.
    pub fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }

    /// One value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// For the hooks after a command: also says how it ended, as 0 or 1.
    #[must_use]
    pub fn after(mut self, succeeded: bool) -> Self {
        let code = if succeeded { "0" } else { "1" };
        self.0.insert("SCALR_TERRAFORM_EXIT_CODE".to_owned(), code.to_owned());
        self
    }

    /// For a command whose output a program reads: without what makes the tool log or add arguments.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.0.retain(|key, _| !key.starts_with("TF_LOG") && !key.starts_with("TF_CLI_ARGS"));
        self
    }
}

/// Why there is no usable environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// A provider configuration has a name that can't be one.
    #[error(
        "provider configuration {provider:?} sets {key:?}, which can't be set in an environment; rename it"
    )]
    Name {
        /// The provider.
        provider: String,
        /// The name, cut to 64 characters.
        key: String,
    },
    /// A value has a NUL or is too long.
    #[error(
        "provider configuration {provider:?} sets {key:?} to a value with a NUL, or of over {bytes_max} bytes"
    )]
    Value {
        /// The provider.
        provider: String,
        /// The name.
        key: String,
        /// The limit.
        bytes_max: usize,
    },
    /// All together are too much for the system.
    #[error("the variables have {bytes} bytes in all, the limit is {bytes_max}; put large values in files")]
    TooLarge {
        /// All names and values.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

/// Makes the environment of one operation. `declared` is what the configuration declares: of the run's facts,
/// those become variables of the configuration too.
pub fn environment(
    surroundings: &Surroundings<'_>,
    operation: Operation,
    variables: &Variables,
    declared: &std::collections::BTreeSet<String>,
) -> Result<Environment, EnvironmentError> {
    let mut all = basics(surroundings);
    let facts = facts(surroundings, operation);
    // A saved plan keeps the values of its variables, and the tool warns when an apply comes with another:
    // so of all facts the operation is not given to an apply.
    let given = facts
        .iter()
        .filter(|(name, _)| operation != Operation::Apply || *name != "SCALR_TERRAFORM_OPERATION");
    for (name, value) in given {
        // Names of variables are small letters as a rule, so both are taken.
        for declared in
            [(*name).to_owned(), name.to_lowercase()].iter().filter(|name| declared.contains(*name))
        {
            all.insert(format!("TF_VAR_{declared}"), value.clone());
        }
    }
    all.extend(facts.into_iter().map(|(name, value)| (name.to_owned(), value)));
    all.insert("SCALR_TOKEN".to_owned(), surroundings.run_token.expose().to_owned());
    provider_configurations(surroundings.payload, operation, &mut all)?;
    for (key, value) in &variables.environment {
        all.insert(key.clone(), value.expose().to_owned());
    }
    // The tool is found first, whatever a variable makes of the rest.
    let rest = all.get("PATH").map_or(PATH_DEFAULT, String::as_str);
    let path = format!("{}:{rest}", surroundings.tool_folder.display());
    all.insert("PATH".to_owned(), path);
    state(surroundings, &mut all);
    let bytes = all.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
    if bytes > ENVIRONMENT_BYTES_MAX {
        return Err(EnvironmentError::TooLarge { bytes, bytes_max: ENVIRONMENT_BYTES_MAX });
    }
    Ok(Environment(all))
}

fn basics(surroundings: &Surroundings<'_>) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = (surroundings.inherited.iter())
        .filter(|(key, value)| INHERITED.contains(&key.as_str()) && !value.is_empty())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let tmp = surroundings.paths.runner.tmp.display().to_string();
    if tmp.len() <= TMPDIR_BYTES_MAX {
        all.insert("TMPDIR".to_owned(), tmp.clone());
    }
    let own = [
        ("HOME", tmp),
        ("CHECKPOINT_DISABLE", "1".to_owned()),
        ("TF_CLI_CONFIG_FILE", surroundings.cli_config.display().to_string()),
        ("TF_IN_AUTOMATION", "1".to_owned()),
        ("TF_INPUT", "0".to_owned()),
    ];
    all.extend(own.map(|(key, value)| (key.to_owned(), value)));
    all
}

/// What the documentation of Scalr promises about a run, but for the token: a value that a plan file keeps
/// is no place for one. Source: docs.scalr.io, "Run environment".
fn facts(surroundings: &Surroundings<'_>, operation: Operation) -> Vec<(&'static str, String)> {
    let Payload { run, workspace, environment, account, .. } = surroundings.payload;
    let stage = match operation {
        Operation::Apply => "apply",
        Operation::Init | Operation::Plan => stage(surroundings.payload),
    };
    let mut facts = vec![
        ("SCALR_RUN_ID", run.id.to_string()),
        ("SCALR_HOSTNAME", surroundings.hostname.to_owned()),
        ("SCALR_TERRAFORM_OPERATION", operation.as_str().to_owned()),
        ("SCALR_RUN_IS_DESTROY", if run.is_destroy { "1" } else { "0" }.to_owned()),
        ("SCALR_RUN_MODE", mode(run.mode, run.is_dry).to_owned()),
        ("SCALR_RUN_SOURCE", run.source.clone()),
        ("SCALR_RUN_PHASE", stage.to_owned()),
        ("SCALR_RUN_CONTENT_ROOT", surroundings.paths.runner.config.display().to_string()),
        ("SCALR_WORKSPACE_ID", workspace.id.to_string()),
        ("SCALR_WORKSPACE_NAME", workspace.name.clone()),
        ("SCALR_ENVIRONMENT_ID", environment.id.to_string()),
        ("SCALR_ENVIRONMENT_NAME", environment.name.clone()),
        ("SCALR_ACCOUNT_ID", account.id.to_string()),
    ];
    if let Some(vcs) = &run.vcs {
        facts.push(("SCALR_RUN_VCS_BRANCH", vcs.branch.clone()));
        facts.push(("SCALR_RUN_VCS_COMMIT", vcs.commit.clone()));
    }
    for (_, value) in &mut facts {
        // No name of Scalr's has one, but an environment with one can't be passed at all.
        value.retain(|letter| letter != '\0');
    }
    facts
}

fn stage(payload: &Payload) -> &'static str {
    use scalr_protocol::agent::Action;
    if payload.action == Action::Apply { "apply" } else { "plan" }
}

fn mode(mode: RunMode, is_dry: bool) -> &'static str {
    match mode {
        RunMode::Apply if is_dry => "dry",
        RunMode::Apply => "apply",
        RunMode::Dry => "dry",
        RunMode::Refresh => "refresh",
        RunMode::SkipRefresh => "skip_refresh",
    }
}

fn provider_configurations(
    payload: &Payload,
    operation: Operation,
    all: &mut BTreeMap<String, String>,
) -> Result<(), EnvironmentError> {
    // An `init` of an apply task is part of the apply.
    let applies = operation == Operation::Apply || stage(payload) == "apply";
    for configuration in &payload.provider_configurations {
        if configuration.apply_only && !applies {
            continue;
        }
        for argument in &configuration.environment {
            let (key, value) = (&argument.key, argument.value.expose());
            let provider = || configuration.provider_name.chars().take(64).collect();
            if !is_shell_name(key) || key.starts_with("TF_HTTP_") {
                let key = key.chars().take(64).collect();
                return Err(EnvironmentError::Name { provider: provider(), key });
            }
            if value.contains('\0') || value.len() > ENVIRONMENT_VALUE_BYTES_MAX {
                let bytes_max = ENVIRONMENT_VALUE_BYTES_MAX;
                return Err(EnvironmentError::Value { provider: provider(), key: key.clone(), bytes_max });
            }
            all.insert(key.clone(), value.to_owned());
        }
    }
    Ok(())
}

/// The `http` backend's settings: here and not in a file, so that no token enters a plan file.
fn state(surroundings: &Surroundings<'_>, all: &mut BTreeMap<String, String>) {
    all.retain(|key, _| !key.starts_with("TF_HTTP_"));
    for key in ["TF_HTTP_ADDRESS", "TF_HTTP_LOCK_ADDRESS", "TF_HTTP_UNLOCK_ADDRESS"] {
        all.insert(key.to_owned(), surroundings.state_address.to_owned());
    }
    let run = &surroundings.payload.run.id;
    all.insert("TF_HTTP_USERNAME".to_owned(), run.to_string());
    all.insert("TF_HTTP_PASSWORD".to_owned(), surroundings.run_token.expose().to_owned());
    all.extend(STATE_RETRIES.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

/// Nothing but shell variables, for the tests of those who look at an environment.
#[cfg(test)]
pub(super) fn of_variables(variables: &Variables) -> Environment {
    let values = variables.environment.iter();
    Environment(values.map(|(key, value)| (key.clone(), value.expose().to_owned())).collect())
}
