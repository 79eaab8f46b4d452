//! `refreshd verify`.

use super::{Context, grant_name, output};
use crate::control::client::Control;
use crate::exit::{Exit, Failure};
use crate::opening::Access;
use crate::service::api::VerifyRequest;

/// `refreshd verify`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: refreshd verify surveys\n\n\
    Sends one GET with the access token to the provider's verify URL. Ends with 0 if it works, 77 if it is refused,\n\
    75 if the answer does not tell, 69 if there is none.")]
pub(super) struct Verify {
    /// The grant
    #[arg(value_name = "GRANT")]
    grant: String,
    /// If it is refused, have it replaced, as `refreshd refresh --rejected` does
    #[arg(long)]
    refresh: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let request = VerifyRequest {
            grant: grant_name(&self.grant)?.to_owned(),
            refresh: self.refresh,
        };
        let config = context.sound_config_with_secrets()?;
        let offline = |config| Ok((config, Access::Look));
        let ask = async |control: &Control| control.verify(&request).await;
        let verified = context.ask_by(config, offline, ask)?;
        if self.json {
            output::json(&verified);
        } else {
            let text = format!(
                "{}: generation {}: {}",
                verified.grant, verified.generation, verified.text
            );
            match verified.verdict.exit() {
                Exit::Ok => output::line(&text),
                _ => output::error(&text),
            }
        }
        Ok(verified.verdict.exit())
    }
}
