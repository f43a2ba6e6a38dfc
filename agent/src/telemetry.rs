//! Log lines, on standard error. Never a token: those are of a type that prints as `[redacted]`.

use tracing_subscriber::{EnvFilter, fmt};

use crate::options::{LogArgs, LogFormat};

/// Begins to log. Once a process.
pub fn begin(options: &LogArgs) {
    let level = if options.debug { "debug" } else { "info" };
    // The libraries below say at `debug` what would drown ours.
    let filter = EnvFilter::new(format!("warn,scalr_agent={level},scalr_core={level}"));
    // A log that can't be written is nobody's business but the log's: told on standard error, which is where
    // it was to go, it would end the process that had it to say.
    let lines = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .log_internal_errors(false);
    // A second subscriber is refused; the first one goes on, which is what a test wants.
    let _already_begun = match options.log_format {
        LogFormat::Plain => lines.with_ansi(false).try_init(),
        LogFormat::Dev => lines.with_ansi(true).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
}
