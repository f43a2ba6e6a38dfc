//! The agent's program: options, log, adapters, run.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::{
    Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use scalr_agent::{
    alive,
    clock::BootClock,
    cluster::{access, crd},
    dispatch, install,
    options::{BadOption, Command, CrdCommand, EXIT_USAGE, Options},
    process, telemetry, worker,
};
use scalr_core::clock::Clock as _;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => return refuse(&error),
    };
    match run(options.command) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("{error:#}"));
            let is_usage = error.downcast_ref::<BadOption>().is_some();
            if is_usage { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    telemetry::begin(command.log());
    // Two threads carry thousands of waiting calls; a runner has one pipe and one socket.
    let threads = if matches!(command, Command::Controller(_) | Command::Worker(_)) { 2 } else { 1 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let ended = match command {
        Command::Controller(args) => runtime.block_on(dispatch::run(*args)),
        Command::Worker(args) => runtime.block_on(async {
            args.alive_file.clone().into_iter().for_each(alive::begin);
            worker::run(*args).await
        }),
        Command::Runner(args) => runtime.block_on(async {
            args.alive_file.clone().into_iter().for_each(alive::begin);
            scalr_agent::runner::run(args.into()).await
        }),
        Command::Install(args) => process::binary()
            .and_then(|program| install::run(&program, &args.folder))
            .map(|()| ExitCode::SUCCESS),
        Command::Probe(args) => match alive::look(&args.alive_file, BootClock.now(), args.within.as_ms()) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(why) => Err(anyhow::Error::msg(why)),
        },
        Command::Crd(args) => runtime.block_on(definition(args.command)),
        Command::Keeper(args) => Ok(runtime.block_on(scalr_agent::cluster::local::keeper::run(args.into()))),
    };
    // What still runs on a blocking thread is a file operation whose result nobody wants.
    runtime.shutdown_background();
    ended
}

/// Shows or applies the definition of the task template.
async fn definition(command: CrdCommand) -> anyhow::Result<ExitCode> {
    match command {
        CrdCommand::Print(args) => {
            let text = crd::text(args.kind.into());
            io::stdout().write_all(text.as_bytes()).context("standard output can't be written")?;
        }
        CrdCommand::Apply(args) => {
            let (client, _) = access::connect(args.kubeconfig.as_deref()).await?;
            crd::apply(client, args.kind.into()).await.map_err(anyhow::Error::msg)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Help and version go to standard output; a mistake is one line on standard error.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return if error.print().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        complain("nothing to do; be a `controller`, `worker` or `runner`; see --help");
        return ExitCode::from(EXIT_USAGE);
    }
    let text = without_credentials(error);
    let first = text.split("\n\n").next().unwrap_or_default();
    let line: Vec<&str> = first.split_whitespace().collect();
    complain(&format!("{}; see --help", line.join(" ").trim_start_matches("error: ")));
    ExitCode::from(EXIT_USAGE)
}

/// What is wrong, without a value that holds credentials: an address with a password in it.
fn without_credentials(error: &clap::Error) -> String {
    let text = error.to_string();
    match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) if value.contains('@') => text.replace(&format!("'{value}' "), ""),
        Some(_) | None => text,
    }
}

fn complain(line: &str) {
    // There is nowhere else to say that standard error is closed.
    let _unheard = writeln!(io::stderr(), "scalr-agent: {line}");
}
