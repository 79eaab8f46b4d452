//! `refreshd status`.

use super::{Context, grant_name, history, output, tell_broken};
use crate::control::client::Control;
use crate::exit::{Exit, Failure, no_such_grant};
use crate::history::HistoryLine;
use crate::incidents::report::IncidentReport;
use crate::opening::Access;
use crate::report::{outputs, status, table};
use refreshd_core::incident::Kind;
use refreshd_core::name::is_valid;

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
        let events = if self.history { history::SHOWN } else { 0 };
        let mut status = fetch(context, &self.grants, events)?;
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
            let clients = status.grants.iter().map(|report| report.client.clone());
            let clients: Vec<String> = clients.collect();
            status.incidents.retain(|incident| match &incident.grant {
                Some(grant) => self.grants.contains(grant),
                None => is_theirs(incident, &clients),
            });
            status = status.summed_up();
        }
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

/// What is wrong with all of it, or with one of these clients.
fn is_theirs(incident: &IncidentReport, clients: &[String]) -> bool {
    match &incident.subject {
        Some(client) if incident.about == "client" => clients.contains(client),
        Some(_) => false,
        None => true,
    }
}

/// The status; of the grants that are named with their last closed incidents, what they may
/// do, and their last events.
pub(super) fn fetch(
    context: &Context,
    grants: &[String],
    events: u32,
) -> Result<status::Status, Failure> {
    let config = context.sound_config()?;
    let names = grants.iter().map(String::as_str);
    let names: Vec<&str> = names.filter(|name| is_valid(name)).collect();
    let status = context.ask(Access::Look, async |control: &Control| {
        let mut status = control.status(&names).await?;
        let known = |name: &str| status.grants.iter().any(|report| report.grant == name);
        let known: Vec<&str> = names.iter().copied().filter(|name| known(name)).collect();
        for name in known {
            let closed = control.closed_incidents(name).await?;
            status.closed_incidents.extend(closed);
            let scopes = control.scopes(name).await?;
            let scopes = scopes.map(|scopes| (name.to_owned(), scopes));
            status.scopes.extend(scopes);
            if events > 0 {
                let lines = control.history(name, events).await?;
                status.history.insert(name.to_owned(), lines);
            }
        }
        Ok(status)
    })?;
    if status.running {
        tell_broken(&config, "the daemon goes on with the one that it has read");
    }
    Ok(status)
}
