//! What a person types. Each command speaks to a server as any client does, but `serve`, which is one.
//!
//! Results go to stdout, what happens meanwhile to stderr, and every failure is one line.

use std::{
    io::{self, Write},
    sync::OnceLock,
};

use tokio::signal::unix::{SignalKind, signal};

use crate::{client::ClientError, commands::pack::PackError, options::Command};

mod decide;
mod follow;
mod list;
mod lock;
pub mod pack;
mod serve;
mod submit;

/// Why a command failed, in one line.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// What was asked for makes no sense: exit 64.
    Mistake(String),
    /// It went wrong: exit 1.
    Failed(String),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<PackError> for Failure {
    fn from(error: PackError) -> Self {
        match error {
            PackError::Io { .. } => Self::Failed(error.to_string()),
            PackError::NoFolder { .. }
            | PackError::NoConfiguration { .. }
            | PackError::LinkOutside { .. }
            | PackError::Special { .. } => Self::Mistake(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Does what a command says.
pub async fn run(command: Command) -> Result<(), Failure> {
    if let Command::Serve(options) = command {
        return serve::serve(options).await;
    }
    // A process without a handler ignores SIGTERM when it is a container's first.
    let stop = stop_signal()?;
    let submitted = OnceLock::new();
    tokio::select! {
        done = ask(command, &submitted) => done,
        () = stop => Err(Failure::Failed(match submitted.get() {
            Some(run) => {
                format!("interrupted; what was submitted goes on (`fake-scalr cancel {run}` ends it)")
            }
            None => "interrupted; what was asked for already goes on".to_owned(),
        })),
    }
}

/// `submitted` is told the run that the command made.
async fn ask(command: Command, submitted: &OnceLock<String>) -> Result<(), Failure> {
    match command {
        Command::Serve(_) => unreachable!("it is served above"),
        Command::Submit(options) => submit::submit(*options, submitted).await,
        Command::Runs(options) => list::runs(options).await,
        Command::Agents(options) => list::agents(options).await,
        Command::Approve(options) => decide::approve(options).await,
        Command::Discard(options) => decide::discard(options).await,
        Command::Cancel(options) => decide::cancel(options).await,
        Command::Logs(options) => decide::logs(options).await,
        Command::Lock(options) => lock::lock(options).await,
        Command::Unlock(options) => lock::unlock(options).await,
    }
}

/// Ends with the first SIGTERM or SIGINT from now on.
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// Says something on stdout, as it is. Nobody is left to tell when stdout is closed.
pub fn say(text: &str) {
    drop(io::stdout().write_all(text.as_bytes()));
}

/// Writes bytes to stdout at once; whether anybody is left to read them.
fn write_out(bytes: &[u8]) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Says a line on stderr.
fn note(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}
