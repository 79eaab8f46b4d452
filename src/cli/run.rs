//! `refreshd run`.

use super::{Context, output};
use crate::config::standby::{Boot, Broken};
use crate::config::{self, LastSound, Secrets, Sources};
use crate::daemon::signals::{self, Signals};
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
    /// End with 78 where the configuration is broken, rather than serve by the last sound one
    #[arg(long)]
    strict: bool,
}

impl Run {
    /// Whatever goes wrong is logged: standard error may be full, or stopped.
    pub(super) fn run(
        self,
        context: &Context,
        signals: io::Result<Signals>,
    ) -> Result<Exit, Failure> {
        let _flush = logging::start(self.log_format);
        match run(context, signals, self.strict) {
            Ok(()) => Ok(Exit::Ok),
            Err(failure) => {
                logging::say(Level::ERROR, &output::shown(&failure.message));
                Ok(failure.exit)
            }
        }
    }
}

fn run(context: &Context, signals: io::Result<Signals>, strict: bool) -> Result<(), Failure> {
    let internal = |e: io::Error| Failure::new(Exit::Internal, e.to_string());
    let mut signals = signals.map_err(internal)?;
    if let Some(remark) = signals::remark() {
        tracing::warn!("{remark}");
    }
    let boot = boot(&context.sources, strict)?;
    if let Some(name) = signals.stop_so_far() {
        tracing::info!("{name} while starting: stopping");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(internal)?;
    let result = runtime.block_on(crate::daemon::run(boot, context.sources.clone(), signals));
    // An exchange that was given up at the drain limit must not hold up the end.
    runtime.shutdown_background();
    result
}

/// What to begin with: the configuration, or the last that was sound.
fn boot(sources: &Sources, strict: bool) -> Result<Boot, Failure> {
    let loaded = config::load(sources);
    let text = config::render(&loaded.problems);
    if let Some(config) = loaded.config.clone() {
        logging::say(Level::WARN, &text);
        return Ok(Boot {
            config,
            loaded: Some(loaded),
            broken: None,
        });
    }
    let failure = |why: String| Err(Failure::new(Exit::Config, why));
    let last = LastSound::find(sources).filter(|_| !strict);
    let Some(last) = last else {
        return failure(text);
    };
    let at = last.at.clone();
    let past = last.load(sources, Secrets::Read);
    let past_text = config::render(&past.problems);
    let Some(config) = past.config else {
        return failure(format!(
            "{}\nThe last sound configuration, of {at}, cannot be used either:\n{past_text}",
            text.trim_end()
        ));
    };
    logging::say(Level::ERROR, &text);
    logging::say(Level::WARN, &past_text);
    let broken = Some(Broken::new(&loaded.problems, at));
    Ok(Boot {
        config,
        loaded: None,
        broken,
    })
}
