//! `refreshd doctor`.

use super::{Context, output, status};
use crate::control::client::Control;
use crate::engine::message::Accept;
use crate::exit::{Exit, Failure};
use crate::opening::{Access, Make};
use crate::report::{GrantReport, Urgency, table};
use crate::service::api::StatusQuery;
use crate::state;

/// `refreshd doctor`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: refreshd doctor\n          refreshd doctor --accept-binding surveys\n\n\
    Ends with 0 if nothing is wrong, 69 if refreshd is not running, 75 for what may pass by itself, 77 if a person has\n\
    to do something."
)]
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
    /// There is no state, and a new one is to be made, although an earlier one has published
    /// tokens: the refresh tokens that it held are given up
    #[arg(long)]
    accept_new_state: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        if self.accept_new_state {
            return begin_anew(context);
        }
        let accepted = [
            self.accept_binding.map(Accept::Binding),
            self.accept_clock.then_some(Accept::Clock),
            self.accept_restore.then_some(Accept::Restore),
        ];
        let accepted: Vec<Accept> = accepted.into_iter().flatten().collect();
        if accepted.is_empty() {
            return examine(context, self.json);
        }
        context.ask_daemon(async |control: &Control| {
            for what in &accepted {
                output::line(&control.accept(what).await?.message);
            }
            Ok(Exit::Ok)
        })
    }
}

/// Makes a state where there is none.
fn begin_anew(context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    let dir = config.daemon.state_dir.clone();
    let shown = dir.display();
    if state::exists(&dir) {
        output::line(&format!("there is a state in {shown}; nothing was made"));
        return Ok(Exit::Ok);
    }
    let offline = |config| Ok((config, Access::Write(Make::Anew)));
    context.ask_by(config, offline, async |_: &Control| Ok(()))?;
    output::line(&format!(
        "a new state is in {shown}; start refreshd, and authorize or import what the earlier one held"
    ));
    Ok(Exit::Ok)
}

/// Everything that needs a person, and nothing else.
fn examine(context: &Context, json: bool) -> Result<Exit, Failure> {
    let mut status = status::fetch(context, &StatusQuery::default())?;
    let well = |report: &GrantReport| matches!(report.urgency, Urgency::Well | Urgency::Ended);
    status.grants.retain(|report| !well(report));
    if json {
        output::json(&status);
    } else {
        let lines = status.summary.lines();
        lines.iter().for_each(|line| output::line(line));
        if !status.grants.is_empty() {
            output::raw(&table(&status.grants));
        }
        for incident in &status.incidents {
            output::line(&incident.line());
        }
    }
    Ok(status.summary.exit())
}
