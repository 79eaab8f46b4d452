//! `refreshd check`.

use super::{Context, output};
use crate::config::{self, Loaded, Secrets, Severity};
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
            config,
            mut problems,
            ..
        } = config::load_with(&context.sources, Secrets::Look);
        let mut exit = Exit::Config;
        if let Some(config) = &config {
            let around = config::survey(&context.sources, config);
            let works = around.iter().all(|p| p.severity == Severity::Warning);
            exit = if works { Exit::Ok } else { Exit::CannotCreate };
            problems.extend(around);
        }
        if self.json {
            output::json(&problems);
            return Ok(exit);
        }
        output::note(&config::render(&problems));
        if let Some(config) = config {
            let verdict = match exit {
                Exit::Ok => "the configuration is sound",
                _ => "the configuration can be read, but not every output can be written here",
            };
            output::line(&format!(
                "{verdict}: {}, {}",
                counted(config.clients.len(), "client"),
                counted(config.grants.len(), "grant")
            ));
        }
        Ok(exit)
    }
}
