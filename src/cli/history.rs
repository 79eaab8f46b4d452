//! `refreshd history`.

use super::{Context, grant_name, output};
use crate::control::client::Control;
use crate::exit::{Exit, Failure};
use crate::opening::Access;

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
        let name = grant_name(&self.grant)?;
        let ask = async |control: &Control| control.history(name, self.limit).await;
        let lines = context.ask(Access::Look, ask)?;
        if self.json {
            output::json(&lines);
        } else {
            lines.iter().for_each(|line| output::line(&line.line()));
        }
        Ok(Exit::Ok)
    }
}
