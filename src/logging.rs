//! Logs go to standard error: for people on a terminal, as JSON on request.
//! `REFRESHD_LOG` sets what is logged, as in `debug` or `refreshd=debug`.

use clap::ValueEnum;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A sentence a line, with its fields behind it.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Starts logging, once for the process.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("REFRESHD_LOG")
        .unwrap_or_else(|_| EnvFilter::new("warn,refreshd=info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        // They would go to standard error too, by way of a panic where that is full or gone.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    // A second start (tests in one process) keeps the first.
    let _first = match format {
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        // The journal has its own time stamps.
        LogFormat::Text if std::env::var_os("JOURNAL_STREAM").is_some() => {
            subscriber.without_time().try_init()
        }
        LogFormat::Text => subscriber.try_init(),
    };
}
