//! The wiring of `scalr-agent controller`: adapters from options, then the shell.

use std::{
    ffi::{OsStr, OsString},
    process::ExitCode,
};

use anyhow::{Context, bail};
use scalr_core::{
    cluster::Cluster,
    controller::{Controller, ControllerOptions, effect::ControllerExit, input::Input},
    scheduler::{self, SchedulerOptions},
};
use scalr_protocol::{agent::Action, id::InstanceId, secret::Secret};
use tokio::sync::{mpsc, watch};
use url::Url;

use crate::{
    clock::BootClock,
    cluster::{
        Driver, KubeCluster, KubeOptions, access, is_label,
        local::{LocalCluster, LocalOptions},
        server_label,
    },
    controller::{self, Ports},
    instance,
    options::{BadOption, ControllerArgs, inherited_environment},
    process,
    scalr::{HttpScalr, TokenSource, connect},
};

/// What Jobs' names begin with where neither an option nor the template says it.
const BASENAME: &str = "scalr-agent";
/// How long a task may take to start, whatever is coming: six hours, for clusters that order machines.
const STARTUP_MAX_MS: u64 = 6 * 3_600_000;
/// The longest timeout that an operation can have in Scalr: 720 minutes.
const OPERATION_MAX_MS: u64 = 720 * 60_000;
/// How long a worker may go on delivering what Scalr has not taken.
const DELIVERY_MAX_MS: u64 = 24 * 3_600_000;
/// What a runner needs after it has killed its tool.
const RUNNER_END_MS: u64 = 30_000;

/// Polls the agent pool and launches Jobs, until told to stop.
pub async fn run(args: ControllerArgs) -> anyhow::Result<ExitCode> {
    let stops = process::stops(args.drain_timeout.as_ms())?;
    let (url, source) = process::server(&args.scalr)?;
    let client = connect::client(&url, args.scalr.ca_cert.as_deref())?;
    let scalr = HttpScalr::new(client, &url, source.clone())
        .context("the token file can't be read (SCALR_AGENT_TOKEN_FILE)")?;
    let (instance, _lock) = instance::take(&args.task.data_dir).await?;
    match args.driver {
        Driver::Local => {
            let cluster = LocalCluster::open(local_options(&args, &url, &source)?).with_context(|| {
                format!("`{}` can't be used (SCALR_AGENT_DATA_DIR)", args.task.data_dir.display())
            })?;
            let options = controller_options(&args, None, instance)?;
            let (sender, inputs) = mpsc::channel(1);
            forward(sender, stops, args.paused, None);
            dispatch(options, &url, Ports { scalr, cluster, clock: BootClock }, inputs).await
        }
        Driver::KubernetesJob => {
            let cluster = kube_cluster(&args, &url).await?;
            let options = controller_options(&args, cluster.basename().await, instance)?;
            let (sender, inputs) = mpsc::channel(1);
            forward(sender, stops, args.paused, Some(cluster.pauses()));
            dispatch(options, &url, Ports { scalr, cluster, clock: BootClock }, inputs).await
        }
    }
}

async fn dispatch<C: Cluster + 'static>(
    options: ControllerOptions,
    url: &Url,
    ports: Ports<HttpScalr, C, BootClock>,
    inputs: mpsc::Receiver<Input>,
) -> anyhow::Result<ExitCode> {
    let (driver, scheduler) = (&options.driver, &options.scheduler);
    tracing::info!(agent = options.name, %url, driver, scheduler, "controller began");
    let brain = Controller::new(options);
    match controller::run(brain, ports, inputs).await {
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

/// The cluster that the options name.
async fn kube_cluster(args: &ControllerArgs, url: &Url) -> anyhow::Result<KubeCluster> {
    let kubernetes = &args.kubernetes;
    let (template_kind, template) = kubernetes.template();
    if template.is_empty() || !is_label(template) {
        let line = format!(
            "`{template}` can't be the task template's name (SCALR_AGENT_KUBERNETES_JOB_TEMPLATE): \
             it becomes a label, so it has 1 to 63 letters, digits, '-' or '.'"
        );
        return Err(BadOption(line).into());
    }
    let (client, own_namespace) = access::connect(kubernetes.kubeconfig.as_deref()).await?;
    let namespace = kubernetes.namespace.clone().unwrap_or(own_namespace);
    let life_ms = [STARTUP_MAX_MS, OPERATION_MAX_MS, args.task.stop_timeout.as_ms(), DELIVERY_MAX_MS];
    let options = KubeOptions {
        namespace,
        template_kind,
        template: template.to_owned(),
        server: server_label(url),
        ttl_s: args.job_ttl.as_ms().div_ceil(1_000),
        deadline_s: life_ms.iter().sum::<u64>().div_ceil(1_000),
    };
    tracing::info!(namespace = options.namespace, template, kind = template_kind.as_str(), "Kubernetes");
    Ok(KubeCluster::open(client, options))
}

fn controller_options(
    args: &ControllerArgs,
    template_basename: Option<String>,
    instance: InstanceId,
) -> anyhow::Result<ControllerOptions> {
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
        basename: args.basename.clone().or(template_basename).unwrap_or_else(|| BASENAME.to_owned()),
        startup_timeout_ms: args.startup_timeout.as_ms(),
        startup_max_ms: STARTUP_MAX_MS,
        // What the worker of this version can do.
        actions: vec![Action::Plan, Action::Apply],
        scheduler: args.scheduler.clone(),
        scheduler_options: SchedulerOptions(scheduler_options),
        seed: process::seed(),
        ..ControllerOptions::new(&name, instance)
    })
}

/// What comes from outside: the signals, and whether dispatch is to pause, by an option or by the template.
fn forward(
    inputs: mpsc::Sender<Input>,
    mut stops: mpsc::Receiver<u64>,
    is_paused: bool,
    mut pauses: Option<watch::Receiver<bool>>,
) {
    tokio::spawn(async move {
        if is_paused && inputs.send(Input::Paused(true)).await.is_err() {
            return;
        }
        loop {
            let input = tokio::select! {
                stop = stops.recv() => match stop {
                    Some(grace_ms) => Input::Stop { grace_ms },
                    None => return,
                },
                pause = next_pause(&mut pauses) => Input::Paused(is_paused || pause),
            };
            if inputs.send(input).await.is_err() {
                return;
            }
        }
    });
}

/// What the template says next; never, where nothing says anything any more.
async fn next_pause(pauses: &mut Option<watch::Receiver<bool>>) -> bool {
    if let Some(receiver) = pauses {
        if receiver.changed().await.is_ok() {
            return *receiver.borrow_and_update();
        }
        *pauses = None;
    }
    std::future::pending().await
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
