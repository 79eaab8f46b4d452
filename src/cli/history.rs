//! `refreshd history`.

use super::{Context, Service, Work, block_on, grant_name, output};
use crate::exit::{Exit, Failure};
use crate::history::HistoryLine;

/// Events that are shown where nobody says how many.
pub(super) const SHOWN: u32 = 20;

/// `refreshd history`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: refreshd history surveys\n          refreshd history surveys --limit 200 --json\n\n\
    Newest first: when, the generation after it, the exchange, what came of it. `refreshd answers show EXCHANGE` shows\n\
    what is kept of an answer that could not be read. [daemon] history says how long events are kept."
)]
pub(super) struct History {
    /// The grant
    #[arg(value_name = "GRANT")]
    grant: String,
    /// How many events
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = SHOWN, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl History {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let lines = fetch(context, grant_name(&self.grant)?, self.limit)?;
        if self.json {
            output::json(&lines);
        } else {
            lines.iter().for_each(|line| output::line(&line.line()));
        }
        Ok(Exit::Ok)
    }
}

/// What happened to a grant, from the daemon or from the state at rest.
pub(super) fn fetch(
    context: &Context,
    name: &str,
    limit: u32,
) -> Result<Vec<HistoryLine>, Failure> {
    let config = context.sound_config()?;
    block_on(async {
        match context.service(config, Work::Look).await? {
            Service::Running(control) => control.history(name, limit).await,
            Service::AtRest(rest) => {
                let lines = rest.history(name, limit).await;
                rest.close().await?;
                lines
            }
        }
    })
}
