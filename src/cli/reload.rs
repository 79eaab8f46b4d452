//! `refreshd reload`.

use super::{Context, output};
use crate::control::client::Control;
use crate::exit::{Exit, Failure};

/// `refreshd reload`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: refreshd reload")]
pub(super) struct Reload {}

impl Reload {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let ask = async |control: &Control| control.reload().await;
        let done = context.ask_daemon(ask)?;
        output::line(&done.message);
        Ok(Exit::Ok)
    }
}
