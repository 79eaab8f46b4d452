//! `refreshd status`.

use super::{Context, block_on, grant_name, output};
use crate::control::api;
use crate::exit::{Exit, Failure, no_such_grant};
use crate::report::{outputs, table};
use crate::rest::Rest;
use refreshd_core::name::is_valid;
use std::sync::Arc;

/// `refreshd status`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: refreshd status --json")]
pub(super) struct Status {
    /// Only these grants
    #[arg(value_name = "GRANT")]
    grants: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut status = fetch(context, &self.grants)?;
        if !self.grants.is_empty() {
            for name in &self.grants {
                if !status
                    .grants
                    .iter()
                    .any(|report| report.grant == *grant_name(name).unwrap_or_default())
                {
                    return Err(no_such_grant(name));
                }
            }
            status
                .grants
                .retain(|report| self.grants.contains(&report.grant));
            status.incidents.retain(|incident| {
                (incident.grant.as_ref()).is_some_and(|grant| self.grants.contains(grant))
            });
        }
        if self.json {
            output::json(&status);
        } else {
            output::raw(&table(&status.grants));
            if !self.grants.is_empty() {
                output::raw(&outputs(&status.grants));
            }
            let incidents = status.incidents.iter().chain(&status.closed_incidents);
            incidents.for_each(|incident| output::line(&incident.line()));
            for notice in &status.notices {
                output::note(notice);
            }
        }
        Ok(Exit::Ok)
    }
}

/// The status, from the daemon or from the state at rest, with the last closed
/// incidents of some grants.
pub(super) fn fetch(context: &Context, grants: &[String]) -> Result<api::Status, Failure> {
    let config = context.sound_config()?;
    block_on(async {
        match context.control(&config)? {
            Some(control) => {
                let mut status = control.status().await?;
                for name in grants.iter().filter(|name| is_valid(name)) {
                    let closed = control.closed_incidents(name).await?;
                    status.closed_incidents.extend(closed);
                }
                Ok(status)
            }
            None => {
                let rest = Rest::open(Arc::new(config)).await?;
                let mut status = rest.status().await?;
                for name in grants {
                    let closed = rest.closed_incidents(name).await?;
                    status.closed_incidents.extend(closed);
                }
                rest.close().await?;
                Ok(status)
            }
        }
    })
}
