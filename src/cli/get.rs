//! `refreshd get`.

use super::{Context, grant_name, output};
use crate::control::client::Control;
use crate::exit::{Exit, Failure};
use crate::opening::Access;
use crate::service::api::TokenQuery;
use refreshd_core::duration;
use std::time::Duration;

/// `refreshd get`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: curl -H \"Authorization: Bearer $(refreshd get surveys --min-valid 5m)\" …\n\n\
    A living token exits with 0. 75 means try again, 77 that a person must authorize again."
)]
pub(super) struct Get {
    /// The grant
    #[arg(value_name = "GRANT")]
    grant: String,
    /// The token must live at least this long; it is refreshed if it does not
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration::parse)]
    min_valid: Duration,
    /// How long to wait for a refresh
    #[arg(long, value_name = "DURATION", default_value = "45s", value_parser = duration::parse)]
    timeout: Duration,
    /// Print a JSON object with token, type, scope and expiry
    #[arg(long)]
    json: bool,
}

impl Get {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let name = grant_name(&self.grant)?;
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let query = TokenQuery {
            min_valid_ms: millis(self.min_valid),
            timeout_ms: millis(self.timeout),
        };
        let ask = async |control: &Control| control.token(name, query).await;
        let token = context.ask(Access::Look, ask)?;
        if self.json {
            output::json(&token);
        } else {
            output::line(token.access_token.expose());
        }
        Ok(Exit::Ok)
    }
}
