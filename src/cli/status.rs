//! `refreshd status`.

use super::{Context, grant_name, history, output, tell_broken};
use crate::control::client::Control;
use crate::exit::{Exit, Failure};
use crate::history::HistoryLine;
use crate::opening::Access;
use crate::report::{outputs, status, table};
use crate::service::api::StatusQuery;
use refreshd_core::incident::Kind;

/// `refreshd status`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: refreshd status\n          refreshd status surveys      with its outputs and its last incidents\n          \
    refreshd status --check || mail -s refreshd ops@example.com\n\n\
    The first line is the most urgent thing, then come counts, then the grants, the most urgent first.\n\
    With --check: 0 all is well, 69 refreshd is not running, 75 something is wrong that may pass, 77 a person has to\n\
    do something."
)]
pub(super) struct Status {
    /// Only these grants
    #[arg(value_name = "GRANT")]
    grants: Vec<String>,
    /// End with 0 only if all is well: 77 where a person has to do something, 75 for trouble that may pass
    #[arg(long)]
    check: bool,
    /// With what happened to them, newest first; see `refreshd history`
    #[arg(long, requires = "grants")]
    history: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        for name in &self.grants {
            grant_name(name)?;
        }
        let query = StatusQuery {
            names: (!self.grants.is_empty()).then(|| self.grants.join(",")),
            history: if self.history { history::SHOWN } else { 0 },
        };
        let status = fetch(context, &query)?;
        if self.json {
            output::json(&status);
        } else {
            let mut lines = status.summary.lines();
            let short = status.descriptors.iter().filter_map(|d| d.short.clone());
            // It may be an incident already.
            lines.extend(short.filter(|_| !status.has_incident(Kind::DescriptorsScarce)));
            lines.iter().for_each(|line| output::line(line));
            if !status.grants.is_empty() {
                output::raw(&table(&status.grants));
            }
            if !self.grants.is_empty() {
                output::raw(&outputs(&status.grants));
            }
            for (name, scopes) in &status.scopes {
                for sentence in scopes.sentences() {
                    output::line(&format!("{name}: {sentence}"));
                }
            }
            let incidents = status.incidents.iter().chain(&status.closed_incidents);
            let of_grants = incidents.filter(|incident| incident.grant.is_some());
            of_grants.for_each(|incident| output::line(&incident.line()));
            for (name, lines) in &status.history {
                output::line(&format!("{name}, newest first:"));
                let lines = lines.iter().map(HistoryLine::line);
                lines.for_each(|line| output::line(&format!("  {line}")));
            }
        }
        Ok(if self.check {
            status.summary.exit()
        } else {
            Exit::Ok
        })
    }
}

/// The status, and a word where the configuration is broken that it does not go by.
pub(super) fn fetch(context: &Context, query: &StatusQuery) -> Result<status::Status, Failure> {
    let config = context.sound_config()?;
    let ask = async |control: &Control| control.status(query).await;
    let status = context.ask(Access::Look, ask)?;
    if status.running {
        tell_broken(&config, "the daemon goes on with the one that it has read");
    }
    Ok(status)
}
