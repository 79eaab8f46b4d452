//! `refreshd status`.

use super::{Context, Service, Work, block_on, grant_name, history, output, tell_broken};
use crate::exit::{Exit, Failure, no_such_grant};
use crate::history::HistoryLine;
use crate::incidents::report::IncidentReport;
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
            let clients = status.grants.iter().map(|report| report.client.clone());
            let clients: Vec<String> = clients.collect();
            status.incidents.retain(|incident| match &incident.grant {
                Some(grant) => self.grants.contains(grant),
                None => is_theirs(incident, &clients),
            });
            status = status.summed_up();
        }
        for name in self.grants.iter().filter(|_| self.history) {
            let lines = history::fetch(context, grant_name(name)?, history::SHOWN)?;
            status.history.insert(name.clone(), lines);
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

/// The status, from the daemon or from the state at rest, with the last closed
/// incidents of some grants.
pub(super) fn fetch(context: &Context, grants: &[String]) -> Result<status::Status, Failure> {
    let config = context.sound_config()?;
    block_on(async {
        match context.service(config.clone(), Work::Look).await? {
            Service::Running(control) => {
                tell_broken(&config, "the daemon goes on with the one that it has read");
                let names = grants.iter().map(String::as_str);
                let names: Vec<&str> = names.filter(|name| is_valid(name)).collect();
                let mut status = control.status(&names).await?;
                for name in names {
                    let closed = control.closed_incidents(name).await?;
                    status.closed_incidents.extend(closed);
                    let scopes = control.scopes(name).await?;
                    status
                        .scopes
                        .extend(scopes.map(|scopes| (name.to_owned(), scopes)));
                }
                Ok(status)
            }
            Service::AtRest(rest) => {
                let mut status = rest.status().await?;
                for name in grants {
                    let closed = rest.closed_incidents(name).await?;
                    status.closed_incidents.extend(closed);
                    let scopes = rest.scopes(name).await?;
                    status
                        .scopes
                        .extend(scopes.map(|scopes| (name.clone(), scopes)));
                }
                rest.close().await?;
                Ok(status)
            }
        }
    })
}
