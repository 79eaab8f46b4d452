//! `refreshd refresh`.

use super::{Context, grant_name, output};
use crate::control::client::Control;
use crate::engine::message::Wish;
use crate::exit::{Exit, Failure};
use crate::opening::Access;
use refreshd_core::grant::schedule::Urgency;

/// `refreshd refresh`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: refreshd refresh surveys\n\n\
    Without --force this is a wish: it keeps to the provider's rules and says until when it has to wait.")]
pub(super) struct Refresh {
    /// The grant
    #[arg(value_name = "GRANT")]
    grant: String,
    /// The access token was refused (a 401): it is dead, whatever its expiry says
    #[arg(long, conflicts_with = "force")]
    rejected: bool,
    /// Do not keep to gap, back-off and least age; try a refused refresh token once more
    #[arg(long)]
    force: bool,
    /// With --force: present a refresh token in doubt even where that may revoke the whole grant
    #[arg(long, requires = "force")]
    accept_risk: bool,
    /// The generation to be replaced: when a newer one is there already, nothing is done
    #[arg(long, value_name = "N")]
    generation: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Refresh {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let urgency = match (self.force, self.accept_risk) {
            (_, true) => Urgency::AcceptRisk,
            (true, false) => Urgency::Force,
            (false, false) if self.rejected => Urgency::Rejected,
            (false, false) => Urgency::Wish,
        };
        let wish = Wish {
            grant: grant_name(&self.grant)?.to_owned(),
            urgency,
            generation: self.generation,
        };
        let ask = async |control: &Control| control.refresh(&wish).await;
        let refreshed = context.ask(Access::Look, ask)?;
        if self.json {
            output::json(&refreshed);
        } else {
            output::line(&format!(
                "{}: generation {} until {}",
                refreshed.grant, refreshed.generation, refreshed.expires_at
            ));
        }
        Ok(Exit::Ok)
    }
}
