//! `refreshd doctor`.

use super::{Context, block_on, output, status};
use crate::engine::message::Accept;
use crate::exit::{Exit, Failure};

/// `refreshd doctor`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: refreshd doctor --accept-binding surveys")]
pub(super) struct Doctor {
    /// The refresh token of this grant may go to the client and endpoint that are now configured
    #[arg(long, value_name = "GRANT")]
    accept_binding: Option<String>,
    /// The system's wall clock is right, although it was set back
    #[arg(long)]
    accept_clock: bool,
    /// The state was restored from an older copy: go on above every published generation
    #[arg(long)]
    accept_restore: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let accepted = [
            self.accept_binding.map(Accept::Binding),
            self.accept_clock.then_some(Accept::Clock),
            self.accept_restore.then_some(Accept::Restore),
        ];
        let accepted: Vec<Accept> = accepted.into_iter().flatten().collect();
        if accepted.is_empty() {
            return examine(context, self.json);
        }
        let control = context.running()?;
        for what in &accepted {
            output::line(&block_on(control.accept(what))?.message);
        }
        Ok(Exit::Ok)
    }
}

/// Everything that needs a person, and nothing else.
fn examine(context: &Context, json: bool) -> Result<Exit, Failure> {
    let mut status = status::fetch(context, &[])?;
    status.grants.retain(|report| {
        let ended = report.state == "revoked" && report.needs.is_none();
        !(matches!(report.state.as_str(), "fresh" | "retired") || ended)
            || report.reauthorize_before.is_some()
            || !report.output_errors.is_empty()
    });
    if json {
        output::json(&status);
    } else if status.grants.is_empty() && status.notices.is_empty() && status.incidents.is_empty() {
        output::line("nothing needs a person");
    } else {
        status
            .notices
            .iter()
            .for_each(|notice| output::line(notice));
        output::raw(&crate::report::table(&status.grants));
        for incident in &status.incidents {
            output::line(&incident.line());
        }
    }
    Ok(Exit::Ok)
}
