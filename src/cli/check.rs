//! `refreshd check`.

use super::{Context, output};
use crate::config::{self, Loaded, Secrets};
use crate::exit::{Exit, Failure};
use refreshd_core::text::counted;

/// `refreshd check`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: refreshd check --config ./refreshd.toml")]
pub(super) struct Check {
    /// Print the problems as JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Loaded {
            config, problems, ..
        } = config::load_with(&context.sources, Secrets::Look);
        let exit = if config.is_some() {
            Exit::Ok
        } else {
            Exit::Config
        };
        if self.json {
            output::json(&problems);
            return Ok(exit);
        }
        output::note(&config::render(&problems));
        if let Some(config) = config {
            output::line(&format!(
                "the configuration is sound: {}, {}",
                counted(config.clients.len(), "client"),
                counted(config.grants.len(), "grant")
            ));
        }
        Ok(exit)
    }
}
