//! `refreshd status`.

use super::{Context, block_on, grant_name, output};
use crate::control::api;
use crate::control::server::no_such_grant;
use crate::exit::{Exit, Failure};
use crate::report::{outputs, table};
use crate::rest::Rest;
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
        let mut status = fetch(context)?;
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
        }
        if self.json {
            output::json(&status);
        } else {
            output::raw(&table(&status.grants));
            if !self.grants.is_empty() {
                output::raw(&outputs(&status.grants));
            }
            for notice in &status.notices {
                output::note(notice);
            }
        }
        Ok(Exit::Ok)
    }
}

/// The status, from the daemon or from the state at rest.
pub(super) fn fetch(context: &Context) -> Result<api::Status, Failure> {
    let config = context.config()?;
    block_on(async {
        match context.control(&config)? {
            Some(control) => control.status().await,
            None => {
                let rest = Rest::open(Arc::new(config)).await?;
                let status = rest.status().await?;
                rest.close().await?;
                Ok(status)
            }
        }
    })
}
