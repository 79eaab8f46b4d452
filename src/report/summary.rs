//! The most urgent things first, in a few lines, whatever the number of grants.

use super::{GrantReport, Urgency};
use crate::exit::Exit;
use crate::incidents::report::IncidentReport;
use crate::report::status::Status;
use refreshd_core::incident::Kind;
use refreshd_core::text::counted;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// So many grants are named in a line; `status` has the rest as rows.
const NAMED: usize = 3;
/// The words of the counts, in this order.
const STATES: [&str; 10] = [
    "fresh", "retrying", "pending", "in-doubt", "suspect", "expired", "refused", "paused",
    "revoked", "retired",
];

/// How all of it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The most urgent thing, in a sentence.
    pub headline: String,
    /// How urgent that is.
    pub urgency: Urgency,
    /// What `status --check` ends with: 0 all well, 69 refreshd is not running, 75
    /// something is wrong that may pass, 77 a person has to do something.
    pub exit: u8,
    /// What is wrong, the most urgent first; the headline is the first of them.
    pub urgent: Vec<Urgent>,
    /// How many grants there are.
    pub grants: usize,
    /// How many of them are in each state.
    pub states: BTreeMap<String, usize>,
}

/// Something that is wrong: of all of it, of a client or an endpoint, or of grants that
/// need the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Urgent {
    /// How urgent it is.
    pub urgency: Urgency,
    /// A sentence.
    pub text: String,
    /// The grants that it is about, where it is about some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
}

impl Summary {
    /// Of what `status` shows.
    #[must_use]
    pub fn of(status: &Status) -> Summary {
        let mut urgent: Vec<Urgent> = Vec::new();
        if !status.running {
            let text = "refreshd is not running: nothing is refreshed; start it with `refreshd run`, or `systemctl start refreshd`";
            urgent.push(Urgent::new(Urgency::Person, text));
        }
        urgent.extend(of_all(status));
        for urgency in [Urgency::Person, Urgency::Trouble, Urgency::Soon] {
            urgent.extend(of_grants(&status.grants, urgency));
        }
        // What concerns all comes before what concerns some, where it is as urgent.
        urgent.sort_by_key(|urgent| urgent.urgency);
        let mut states: BTreeMap<String, usize> = BTreeMap::new();
        for report in &status.grants {
            *states.entry(report.state.clone()).or_default() += 1;
        }
        let most = urgent.first();
        Summary {
            headline: most.map_or_else(|| calm(&status.grants), |most| most.text.clone()),
            urgency: most.map_or(Urgency::Well, |most| most.urgency),
            exit: exit(status.running, most.map(|most| most.urgency), &urgent) as u8,
            grants: status.grants.len(),
            urgent,
            states,
        }
    }

    /// The lines above the table.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.headline.clone()];
        lines.extend(self.urgent.iter().skip(1).map(|urgent| urgent.text.clone()));
        if self.grants > 0 {
            lines.push(self.counts());
        }
        lines
    }

    /// What `status --check` and `doctor` end with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self.exit {
            0 => Exit::Ok,
            69 => Exit::Unavailable,
            77 => Exit::NoPermission,
            _ => Exit::TempFail,
        }
    }

    /// How many grants are in which state: `3 grants: 2 fresh, 1 expired`.
    #[must_use]
    pub fn counts(&self) -> String {
        let known = STATES
            .iter()
            .filter_map(|state| self.states.get_key_value(*state));
        let other = |state: &&String| !STATES.contains(&state.as_str());
        let others = self.states.iter().filter(|(state, _)| other(state));
        let parts = known
            .chain(others)
            .map(|(state, count)| format!("{count} {state}"));
        let parts: Vec<String> = parts.collect();
        format!("{}: {}", counted(self.grants, "grant"), parts.join(", "))
    }
}

impl Urgent {
    fn new(urgency: Urgency, text: impl Into<String>) -> Urgent {
        Urgent {
            urgency,
            text: text.into(),
            grants: Vec::new(),
        }
    }
}

/// A person comes first: trouble may pass, what needs a person does not.
fn exit(running: bool, most: Option<Urgency>, urgent: &[Urgent]) -> Exit {
    let person = |urgent: &Urgent| matches!(urgent.urgency, Urgency::Person | Urgency::Soon);
    match most {
        _ if !running => Exit::Unavailable,
        None => Exit::Ok,
        Some(_) if urgent.iter().any(person) => Exit::NoPermission,
        Some(_) => Exit::TempFail,
    }
}

/// The first line where nothing is wrong.
fn calm(grants: &[GrantReport]) -> String {
    let busy = |report: &&GrantReport| report.urgency == Urgency::Busy;
    match (grants.len(), grants.iter().filter(busy).count()) {
        (0, _) => "no grants are configured; `refreshd init` adds one".to_owned(),
        (_, 0) => "all is well: nothing needs a person".to_owned(),
        (_, busy) => format!(
            "nothing needs a person; {} tried again by refreshd",
            match busy {
                1 => "1 grant is being".to_owned(),
                _ => format!("{busy} grants are being"),
            }
        ),
    }
}

/// What holds for all grants, or for those of a client or an endpoint.
fn of_all(status: &Status) -> Vec<Urgent> {
    let notices = status.notices.iter();
    let notices = notices.map(|notice| Urgent::new(Urgency::Person, notice.as_str()));
    let told = status.incidents.iter().filter(|incident| {
        // These two are notices as well.
        let kind = Kind::from_word(&incident.kind);
        let noticed = matches!(kind, Some(Kind::Fenced | Kind::ClockDistrusted));
        incident.grant.is_none() && (!noticed || status.notices.is_empty())
    });
    notices
        .chain(told.map(|told| of_incident(told, &status.grants)))
        .collect()
}

fn of_incident(incident: &IncidentReport, grants: &[GrantReport]) -> Urgent {
    let waiting = |report: &&GrantReport| {
        incident.about == "client" && incident.subject.as_ref() == Some(&report.client)
    };
    let text = match grants.iter().filter(waiting).count() {
        0 => incident.text.clone(),
        count => format!("{} ({} of it)", incident.text, counted(count, "grant")),
    };
    Urgent::new(urgency_of(&incident.kind), text)
}

/// Whether what concerns more than a grant passes by itself.
fn urgency_of(kind: &str) -> Urgency {
    match Kind::from_word(kind) {
        Some(Kind::EndpointFailing | Kind::MassRefusal) => Urgency::Trouble,
        Some(kind) if !kind.is_grave() => Urgency::Trouble,
        _ => Urgency::Person,
    }
}

/// The grants that are that urgent, in one line.
fn of_grants(grants: &[GrantReport], urgency: Urgency) -> Option<Urgent> {
    let those: Vec<&GrantReport> = grants
        .iter()
        .filter(|report| report.urgency == urgency)
        .collect();
    let names: Vec<String> = those.iter().map(|report| report.grant.clone()).collect();
    let subject = counted(those.len(), "grant");
    let verb = |one, many| if those.len() == 1 { one } else { many };
    let begins = match urgency {
        Urgency::Person => format!("{subject} {} a person", verb("needs", "need")),
        Urgency::Soon => format!("{subject} {} a person soon", verb("needs", "need")),
        _ => format!("{subject} {} in trouble", verb("is", "are")),
    };
    let mut named: Vec<String> = those
        .iter()
        .take(NAMED)
        .map(|report| named(report))
        .collect();
    let rest = those.len().saturating_sub(NAMED);
    if rest > 0 {
        named.push(format!("and {rest} more"));
    }
    (!those.is_empty()).then(|| Urgent {
        urgency,
        text: format!("{begins}: {}", named.join(", ")),
        grants: names,
    })
}

/// A grant with its reason, and what to type: `surveys (refused; run refreshd authorize
/// surveys)`.
fn named(report: &GrantReport) -> String {
    let act = report.act.as_ref().map(|act| format!("; run {act}"));
    format!(
        "{} ({}{})",
        report.grant,
        report.reason,
        act.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests;
