//! Logs go to standard error: for people on a terminal, with priorities to the
//! journal, as JSON on request. `REFRESHD_LOG` sets what is logged, as in `debug` or
//! `refreshd=debug`. Nothing here waits for standard error but one thread of its own.

mod destination;
mod queue;

use clap::ValueEnum;
use destination::{Destination, Lines};
use queue::Queue;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing::Level;
use tracing_subscriber::EnvFilter;

/// An end waits so long for what is still queued.
const FLUSH: Duration = Duration::from_secs(1);

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A sentence a line, with its fields behind it.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Writes what is still queued when it is dropped, within a second.
#[derive(Debug)]
#[must_use = "dropping it flushes the log"]
pub struct Flush(());

impl Drop for Flush {
    fn drop(&mut self) {
        if let Some((queue, _)) = LOG.get() {
            queue.flush(FLUSH);
        }
    }
}

static LOG: OnceLock<(Arc<Queue>, Destination)> = OnceLock::new();

/// Starts logging, once for the process. Panics are logged from then on.
pub fn start(format: LogFormat) -> Flush {
    let destination = Destination::of_stderr(format);
    let (queue, destination) = LOG.get_or_init(|| {
        (
            Queue::start(move |lost| destination.loss(lost)),
            destination,
        )
    });
    let filter = EnvFilter::try_from_env("REFRESHD_LOG")
        .unwrap_or_else(|_| EnvFilter::new("warn,refreshd=info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Lines::new(queue.clone(), *destination))
        .with_target(false)
        // They would go to standard error too, by way of a panic where that is full or gone.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    // A second start (tests in one process) keeps the first.
    let first = match (format, destination.is_journal()) {
        (LogFormat::Json, _) => subscriber.json().flatten_event(true).try_init(),
        // The journal has its own time stamps.
        (LogFormat::Text, true) => subscriber.without_time().try_init(),
        (LogFormat::Text, false) => subscriber.try_init(),
    };
    if first.is_ok() {
        std::panic::set_hook(Box::new(panicked));
    }
    Flush(())
}

/// Text for people, of one or many lines, as it is; a message where the log is JSON.
pub fn say(level: Level, text: &str) {
    let text = text.trim_end();
    match LOG.get() {
        _ if text.is_empty() => {}
        Some((queue, destination)) if !destination.is_json() => {
            queue.push(destination.marked(level, format!("{text}\n").as_bytes()));
        }
        _ if level == Level::ERROR => tracing::error!("{text}"),
        _ if level == Level::WARN => tracing::warn!("{text}"),
        _ => tracing::info!("{text}"),
    }
}

/// The standard hook would wait for standard error on the thread that panics.
fn panicked(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    let place = info.location().map(ToString::to_string);
    let place = place.as_deref().unwrap_or("an unknown place");
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = text.unwrap_or("no message");
    tracing::error!("thread '{name}' panicked at {place}: {message}");
    let backtrace = std::backtrace::Backtrace::capture();
    if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        say(Level::ERROR, &backtrace.to_string());
    }
}
