//! `refreshd remove`.

use super::confirm::confirm;
use super::{Context, grant_name, output};
use crate::control::client::Control;
use crate::exit::{Exit, Failure};
use crate::service::api::Operation;

/// `refreshd remove`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: refreshd remove surveys\n\n\
    Deletes a grant's tokens and history and withdraws its outputs. Take it out of the configuration first. The\n\
    provider is not told: for that there is `refreshd revoke`, before.")]
pub(super) struct Remove {
    /// The grant
    #[arg(value_name = "GRANT")]
    grant: String,
    /// Do not ask first
    #[arg(long)]
    yes: bool,
}

impl Remove {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let grant = grant_name(&self.grant)?.to_owned();
        let done = context.ask_daemon(async |control: &Control| {
            if !self.yes {
                confirm(&control.remove(&Operation::asked(&grant)).await?.message)?;
            }
            control.remove(&Operation::confirmed(&grant)).await
        })?;
        output::line(&done.message);
        Ok(Exit::Ok)
    }
}
