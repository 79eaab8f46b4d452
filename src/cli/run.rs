//! `refreshd run`.

use super::{Context, output};
use crate::config;
use crate::daemon::signals::Signals;
use crate::exit::{Exit, Failure};
use crate::logging::{self, LogFormat};
use std::io;
use tracing::Level;

/// `refreshd run`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: refreshd run --config /etc/refreshd/refreshd.toml")]
pub(super) struct Run {
    /// How log lines look; what is logged is set by $REFRESHD_LOG, as in REFRESHD_LOG=debug
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

impl Run {
    /// Whatever goes wrong is logged: standard error may be full, or stopped.
    pub(super) fn run(
        self,
        context: &Context,
        signals: io::Result<Signals>,
    ) -> Result<Exit, Failure> {
        let _flush = logging::start(self.log_format);
        match run(context, signals) {
            Ok(()) => Ok(Exit::Ok),
            Err(failure) => {
                logging::say(Level::ERROR, &output::shown(&failure.message));
                Ok(failure.exit)
            }
        }
    }
}

fn run(context: &Context, signals: io::Result<Signals>) -> Result<(), Failure> {
    let internal = |e: io::Error| Failure::new(Exit::Internal, e.to_string());
    let mut signals = signals.map_err(internal)?;
    let loaded = config::load(&context.sources);
    let text = config::render(&loaded.problems);
    let Some(config) = loaded.config else {
        return Err(Failure::new(Exit::Config, text));
    };
    logging::say(Level::WARN, &text);
    if let Some(name) = signals.stop_so_far() {
        tracing::info!("{name} while starting: stopping");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(internal)?;
    let sources = context.sources.clone();
    let result = runtime.block_on(crate::daemon::run(config, sources, signals));
    // An exchange that was given up at the drain limit must not hold up the end.
    runtime.shutdown_background();
    result
}
