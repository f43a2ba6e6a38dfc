//! Options, then what they say, then how it ended.

use std::{io::Write, process::ExitCode};

use fake_scalr::{
    commands::{self, Failure},
    options::{EXIT_USAGE, NotRun, Options},
};

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::of_process() {
        Ok(options) => options,
        Err(NotRun::Asked(text)) => {
            commands::say(&text);
            return ExitCode::SUCCESS;
        }
        Err(NotRun::Mistake(line)) => return fail(&line, EXIT_USAGE),
    };

    tracing_subscriber::fmt()
        .with_env_filter(options.log.filter())
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();

    match commands::run(options.command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Mistake(line)) => fail(&line, EXIT_USAGE),
        Err(Failure::Failed(line)) => fail(&line, 1),
    }
}

fn fail(line: &str, status: u8) -> ExitCode {
    // Nobody is left to tell when stderr is closed.
    drop(writeln!(std::io::stderr(), "fake-scalr: {line}"));
    ExitCode::from(status)
}
