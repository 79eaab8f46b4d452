//! `refreshd reload`.

use super::{Context, block_on, output};
use crate::exit::{Exit, Failure};

/// `refreshd reload`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: refreshd reload")]
pub(super) struct Reload {}

impl Reload {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let control = context.running()?;
        let done = block_on(control.reload())?;
        output::line(&done.message);
        Ok(Exit::Ok)
    }
}
