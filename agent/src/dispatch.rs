//! The wiring of `scalr-agent controller`: adapters from options, then the shell.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{Read, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, bail};
use scalr_core::{
    controller::{Controller, ControllerOptions, effect::ControllerExit, input::Input},
    scheduler::{self, SchedulerOptions},
};
use scalr_protocol::{agent::Action, id::InstanceId, secret::Secret};
use tokio::sync::mpsc;
use url::Url;

use crate::{
    clock::BootClock,
    cluster::{
        Driver,
        local::{LocalCluster, LocalOptions},
    },
    controller::{self, Ports},
    options::{BadOption, ControllerArgs, inherited_environment},
    process,
    scalr::{HttpScalr, TokenSource, connect},
};

/// What a runner needs after it has killed its tool.
const RUNNER_END_MS: u64 = 30_000;

/// Polls the agent pool and launches Jobs, until told to stop.
pub async fn run(args: ControllerArgs) -> anyhow::Result<ExitCode> {
    let stops = process::stops(args.drain_timeout.as_ms())?;
    let (url, source) = process::server(&args.scalr)?;
    let client = connect::client(&url, args.scalr.ca_cert.as_deref())?;
    let scalr = HttpScalr::new(client, &url, source.clone())
        .context("the token file can't be read (SCALR_AGENT_TOKEN_FILE)")?;
    let (instance, _lock) = instance(&args.task.data_dir)?;
    let options = controller_options(&args, instance)?;
    let cluster = match args.driver {
        Driver::Local => LocalCluster::open(local_options(&args, &url, &source)?).with_context(|| {
            format!("`{}` can't be used (SCALR_AGENT_DATA_DIR)", args.task.data_dir.display())
        })?,
    };
    let inputs = inputs(stops, args.paused);
    tracing::info!(agent = options.name, %url, driver = options.driver, scheduler = options.scheduler, "controller began");
    let brain = Controller::new(options);
    match controller::run(brain, Ports { scalr, cluster, clock: BootClock }, inputs).await {
        ControllerExit::Stopped => {
            tracing::info!("controller stopped");
            Ok(ExitCode::SUCCESS)
        }
        ControllerExit::Unauthorized { detail } => {
            bail!("Scalr refused the agent pool token ({detail}); set SCALR_AGENT_TOKEN to one that is valid")
        }
        ControllerExit::Refused { detail } => bail!("Scalr refused this agent: {detail}"),
    }
}

fn controller_options(args: &ControllerArgs, instance: InstanceId) -> anyhow::Result<ControllerOptions> {
    let Some(policy) = scheduler::by_name(&args.scheduler) else {
        let names: Vec<_> = scheduler::names().collect();
        let line = format!(
            "`{}` is no scheduler; SCALR_AGENT_SCHEDULER may be {}",
            args.scheduler,
            names.join(", ")
        );
        return Err(BadOption(line).into());
    };
    if let Some(option) =
        args.scheduler_options.iter().find(|option| !policy.options().contains(&&*option.name))
    {
        let known = if policy.options().is_empty() { "none".to_owned() } else { policy.options().join(", ") };
        let line = format!(
            "`{}` is no option of the scheduler `{}`, which has {known}; check SCALR_AGENT_SCHEDULER_OPTIONS",
            option.name, args.scheduler
        );
        return Err(BadOption(line).into());
    }
    let name = process::agent_name(args.scalr.name.as_deref())?;
    let scheduler_options =
        args.scheduler_options.iter().map(|option| (option.name.clone(), option.value.clone())).collect();
    Ok(ControllerOptions {
        os: process::os(),
        driver: args.driver.as_str().to_owned(),
        capacity: args.concurrency,
        basename: args.basename.clone(),
        startup_timeout_ms: args.startup_timeout.as_ms(),
        // What the worker of this version can do.
        actions: vec![Action::Plan, Action::Apply],
        scheduler: args.scheduler.clone(),
        scheduler_options: SchedulerOptions(scheduler_options),
        seed: process::seed(),
        ..ControllerOptions::new(&name, instance)
    })
}

/// What comes from outside: the signals, and whether dispatch is paused from the begin.
fn inputs(mut stops: mpsc::Receiver<u64>, paused: bool) -> mpsc::Receiver<Input> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        if paused && sender.send(Input::Paused(true)).await.is_err() {
            return;
        }
        while let Some(grace_ms) = stops.recv().await {
            if sender.send(Input::Stop { grace_ms }).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// What the local driver has to know. The worker's environment is made here, whole: what it inherits, and
/// the options that it shares with this process, by their variables.
fn local_options(args: &ControllerArgs, url: &Url, source: &TokenSource) -> anyhow::Result<LocalOptions> {
    let task = &args.task;
    let data = process::absolute(&task.data_dir, "SCALR_AGENT_DATA_DIR")?;
    let cache = process::absolute(task.cache_dir.as_ref().unwrap_or(&data), "SCALR_AGENT_CACHE_DIR")?;
    let inherited = inherited_environment().into_iter().map(|(name, value)| (name, text(&value)));
    let tools: Vec<String> =
        task.tool_paths.iter().map(|tool| format!("{}={}", tool.name, tool.path.display())).collect();
    let mut environment: Vec<(OsString, Secret)> = inherited.collect();
    let mut set = |name: &str, value: String| environment.push((name.into(), Secret::new(value)));
    set("SCALR_URL", url.to_string());
    set("SCALR_AGENT_CACHE_DIR", text(cache.as_os_str()).expose().to_owned());
    set("SCALR_AGENT_STOP_TIMEOUT", format!("{}ms", task.stop_timeout.as_ms()));
    set("SCALR_AGENT_WORKER_GRACE_SHUTDOWN_TIMEOUT", format!("{}ms", task.worker_grace.as_ms()));
    set("SCALR_AGENT_DEBUG", args.log.debug.to_string());
    set("SCALR_AGENT_LOG_FORMAT", args.log.log_format.as_str().to_owned());
    if !tools.is_empty() {
        set("SCALR_AGENT_TOOL_PATHS", tools.join(","));
    }
    if let Some(ca_cert) = &args.scalr.ca_cert {
        set("SCALR_AGENT_CA_CERT", ca_cert.clone());
    }
    match source {
        TokenSource::Value(token) => set("SCALR_AGENT_TOKEN", token.expose().to_owned()),
        TokenSource::File(path) => {
            let path = process::absolute(path, "SCALR_AGENT_TOKEN_FILE")?;
            set("SCALR_AGENT_TOKEN_FILE", path.display().to_string());
        }
    }
    let defaults = LocalOptions::new(data, &process::binary()?);
    let mut runner_command = defaults.runner_command.clone();
    // The runner gets nothing of ours by its environment.
    runner_command.extend(["--stop-timeout".into(), format!("{}ms", task.stop_timeout.as_ms()).into()]);
    Ok(LocalOptions {
        worker_environment: environment,
        runner_command,
        ttl_ms: args.job_ttl.as_ms(),
        failed_ttl_ms: args.job_ttl.as_ms(),
        grace_ms: task.worker_grace.as_ms(),
        // The runner waits for its tool this long and kills it then; it needs a moment for that.
        runner_wait_ms: task.stop_timeout.as_ms().saturating_add(RUNNER_END_MS),
        ..defaults
    })
}

fn text(value: &OsStr) -> Secret {
    Secret::new(value.to_string_lossy().into_owned())
}

/// Who this process is, for the server: a restarted controller takes over from the one that was killed, at
/// once, if it works in the same folder. A second one beside it is somebody else.
fn instance(data: &Path) -> anyhow::Result<(InstanceId, Option<File>)> {
    let stranger = || anyhow::Ok((InstanceId::new(&process::random_id())?, None));
    let open = || {
        std::fs::create_dir_all(data)?;
        File::options().read(true).write(true).create(true).truncate(false).open(data.join("instance"))
    };
    let mut file =
        open().with_context(|| format!("`{}` can't be used (SCALR_AGENT_DATA_DIR)", data.display()))?;
    if file.try_lock().is_err() {
        return stranger();
    }
    let mut kept = String::new();
    file.read_to_string(&mut kept).context("the instance id can't be read")?;
    if let Ok(id) = InstanceId::new(kept.trim()) {
        return Ok((id, Some(file)));
    }
    let id = InstanceId::new(&process::random_id())?;
    file.set_len(0)
        .and_then(|()| file.write_all(id.as_str().as_bytes()))
        .context("the instance id can't be kept")?;
    Ok((id, Some(file)))
}
