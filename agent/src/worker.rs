//! The worker: does one task with Scalr's tokens in its hands, and runs none of the user's code itself.
//!
//! The [`shell`] carries the Supervisor's effects out, the [`workbench`] has the runner, the files and the
//! console in hand. The other modules are what the workbench works with.

pub mod shell;
pub mod workbench;

pub mod paths;
pub mod podinfo;

pub mod beneath;
pub mod commands;
pub mod configuration;
pub mod declared;
pub mod environment;
pub mod plan_json;
pub mod tools;
pub mod uploads;
pub mod variables;

pub mod console;
pub mod masking;
pub mod runner_link;
pub mod spool;

use std::{io, path::Path, process::ExitCode};

use anyhow::Context;
use bytes::Bytes;
use scalr_core::supervisor::{Supervisor, options::TaskOptions};
use scalr_protocol::{
    agent::{Mode, Register},
    id::InstanceId,
};
use tokio::sync::mpsc;
use url::Url;

use self::{
    console::Console,
    masking::Masker,
    paths::RunPaths,
    podinfo::Podinfo,
    shell::{ConsoleBytes, Identity, Ports},
    spool::SpoolReader,
    workbench::WorkOptions,
};
use crate::{
    clock::BootClock,
    options::{WorkerArgs, inherited_environment},
    process,
    scalr::{HttpScalr, connect},
};

/// How many orders and reports may wait between shell and workbench. Orders are at most one for each answer
/// of the console's and a few for each stage, so the shell never waits for a workbench that waits for it.
const ORDERS_MAX: usize = 1_024;
const REPORTS_MAX: usize = 64;

/// The largest bundle of authorities that a runner is told of, in bytes: what a message to it has room for.
/// The bundles of systems have a third of it; with a larger one the runner trusts whom its own system does.
const AUTHORITIES_BYTES_MAX: usize = 1 << 20;

/// Does the task that the pod is for, to its end.
pub async fn run(args: WorkerArgs) -> anyhow::Result<ExitCode> {
    let stops = process::stops(args.task.worker_grace.as_ms())?;
    let Podinfo { task, fence } = Podinfo::read(&args.podinfo)?;
    let (url, source) = process::server(&args.scalr)?;
    let client = connect::client(&url, args.scalr.ca_cert.as_deref())?;
    let downloads = connect::download_client(&url, args.scalr.ca_cert.as_deref())?;
    let pool_token = source.read().ok();
    let scalr = HttpScalr::new(client, &url, source)
        .context("the token file can't be read (SCALR_AGENT_TOKEN_FILE)")?;
    let name = process::agent_name(args.scalr.name.as_deref())?;
    let register = Register {
        name,
        instance_id: InstanceId::new(&process::random_id())?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        os: process::os(),
        driver: args.driver.as_str().to_owned(),
        mode: Mode::Worker,
        capacity: 0,
        task: Some(task.clone()),
        fence: Some(fence),
    };
    let private = private_folder(&args.task.data_dir)?;
    let console = console(private.path())?;
    let reader = console.reader();
    let authorities = args.scalr.ca_cert.as_deref().map(connect::authorities).transpose()?;
    let authorities = authorities.filter(|pem| pem.len() <= AUTHORITIES_BYTES_MAX);
    let options =
        WorkOptions { authorities, pool_token, ..work_options(&args, url, private.path(), downloads) };
    let task_options = task_options(&args);
    let (orders, order_mail) = mpsc::channel(ORDERS_MAX);
    let (report_mail, reports) = mpsc::channel(REPORTS_MAX);
    let task_api = scalr.task();
    let bench = workbench::start(options, task_api.clone(), console, order_mail, report_mail);
    let ports = Ports { scalr, task_api, clock: BootClock, console: reader };
    let identity = Identity { register, task, fence, key: process::random_id() };
    let code = shell::run(Supervisor::new(task_options), ports, identity, orders, reports, stops).await;
    // The shell's end of the orders is gone, so the bench ends by itself; the runner is let go by then.
    if let Err(error) = bench.await {
        tracing::error!(%error, "the workbench failed");
    }
    Ok(ExitCode::from(code))
}

fn task_options(args: &WorkerArgs) -> TaskOptions {
    TaskOptions {
        stop_timeout_ms: args.task.stop_timeout.as_ms(),
        runner_wait_ms: args.runner_wait.as_ms(),
        seed: process::seed(),
        ..TaskOptions::default()
    }
}

fn work_options(args: &WorkerArgs, url: Url, private: &Path, client: connect::Client) -> WorkOptions {
    let data = &args.task.data_dir;
    let cache = args.task.cache_dir.as_ref().unwrap_or(data);
    let paths = match &args.run_dir {
        Some(run) => RunPaths::local(run, cache),
        None => RunPaths::kubernetes(data, cache),
    };
    let text = |text: std::ffi::OsString| text.into_string().ok();
    let inherited =
        inherited_environment().into_iter().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
    WorkOptions {
        url,
        paths,
        private: private.to_owned(),
        socket: args.socket.clone(),
        runner_wait_ms: args.runner_wait.as_ms(),
        grace_ms: args.task.worker_grace.as_ms(),
        tool_paths: args.task.tool_paths.iter().map(|tool| (tool.name.clone(), tool.path.clone())).collect(),
        client,
        authorities: None,
        pool_token: None,
        inherited: inherited.collect(),
    }
}

/// A folder that no runner sees, gone with the process.
fn private_folder(data: &Path) -> anyhow::Result<tempfile::TempDir> {
    let make = || {
        std::fs::create_dir_all(data)?;
        tempfile::Builder::new().prefix("worker-").tempdir_in(data)
    };
    make().with_context(|| {
        format!(
            "`{}` can't be used; it must be a folder that is writable (SCALR_AGENT_DATA_DIR)",
            data.display()
        )
    })
}

fn console(private: &Path) -> anyhow::Result<Console> {
    let nothing: [&str; 0] = [];
    let masker = Masker::new(nothing).context("the console can't be masked")?;
    Console::create(&private.join("console"), masker).context("the console can't be spooled")
}

impl ConsoleBytes for SpoolReader {
    fn read(&self, from: u64, bytes: usize) -> io::Result<Bytes> {
        SpoolReader::read(self, from, bytes).map(Bytes::from)
    }
}
