//! `refreshd revoke`.

use super::confirm::confirm;
use super::{Context, grant_name, output};
use crate::control::client::Control;
use crate::exit::{Exit, Failure};
use crate::service::api::Operation;

/// `refreshd revoke`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: refreshd revoke surveys\n\n\
    The provider is told that the authorization is over (RFC 7009). The grant is not refreshed any more, its outputs\n\
    follow when_dead, its history stays. Authorizing or importing it again begins anew.")]
pub(super) struct Revoke {
    /// The grant
    #[arg(value_name = "GRANT")]
    grant: String,
    /// Do not ask first
    #[arg(long)]
    yes: bool,
}

impl Revoke {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let grant = grant_name(&self.grant)?.to_owned();
        let done = context.ask_daemon(async |control: &Control| {
            if !self.yes {
                confirm(&control.revoke(&Operation::asked(&grant)).await?.message)?;
            }
            control.revoke(&Operation::confirmed(&grant)).await
        })?;
        output::line(&done.message);
        Ok(Exit::Ok)
    }
}
