//! `refreshd run`.

use super::Context;
use crate::exit::{Exit, Failure};
use crate::logging::{self, LogFormat};

/// `refreshd run`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: refreshd run --config /etc/refreshd/refreshd.toml")]
pub(super) struct Run {
    /// How log lines look; what is logged is set by $REFRESHD_LOG, as in REFRESHD_LOG=debug
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

impl Run {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        logging::start(self.log_format);
        let config = context.config()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|e| Failure::new(Exit::Internal, e.to_string()))?;
        let result = runtime.block_on(crate::daemon::run(config, context.sources.clone()));
        // An exchange that was given up at the drain limit must not hold up the end.
        runtime.shutdown_background();
        result.map(|()| Exit::Ok)
    }
}
