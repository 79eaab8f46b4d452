//! Incidents as `status` shows them.

use refreshd_core::incident::{Incident, Subject};
use refreshd_core::time::WallTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// So many of a grant's incidents that are over are shown.
pub const CLOSED_SHOWN: u32 = 5;

/// One incident, for people and programs. Times are RFC 3339.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentReport {
    /// Its number in this store.
    pub id: u64,
    /// What is wrong, in a word: `in-doubt`, `output-failing`, …
    pub kind: String,
    /// With what: `daemon`, `client`, `endpoint`, `grant` or `output`.
    pub about: String,
    /// Which of them; `null` for the daemon.
    pub subject: Option<String>,
    /// The grant that it is about, or whose output.
    pub grant: Option<String>,
    /// What is wrong, as of its opening.
    pub text: String,
    /// When it was announced.
    pub opened_at: String,
    /// An end that it warns of.
    pub ends_at: Option<String>,
    /// When it was last announced again.
    pub reminded_at: Option<String>,
    /// How many times it was announced again.
    pub reminders: u32,
    /// When it was over; `null` while it is open.
    pub closed_at: Option<String>,
    /// Why it was over.
    pub closed_because: Option<String>,
}

impl From<&Incident> for IncidentReport {
    fn from(incident: &Incident) -> Self {
        let name = incident.subject.name();
        let (closed_at, closed_because) = incident.closed.clone().unzip();
        IncidentReport {
            id: incident.id,
            kind: incident.kind.word().to_owned(),
            about: incident.subject.word().to_owned(),
            subject: (incident.subject != Subject::Daemon).then(|| name.to_owned()),
            grant: incident.subject.grant().map(str::to_owned),
            text: incident.text.clone(),
            opened_at: incident.opened_at.rfc3339(),
            ends_at: incident.ends_at.map(WallTime::rfc3339),
            reminded_at: incident.reminded_at.map(WallTime::rfc3339),
            reminders: incident.reminders,
            closed_at: closed_at.map(WallTime::rfc3339),
            closed_because,
        }
    }
}

impl IncidentReport {
    /// Reports of these.
    #[must_use]
    pub fn of(incidents: &[Incident]) -> Vec<IncidentReport> {
        incidents.iter().map(IncidentReport::from).collect()
    }

    /// Whether it is about one of these grants, one of these clients, or all.
    #[must_use]
    pub fn concerns(&self, grants: &BTreeSet<String>, clients: &BTreeSet<String>) -> bool {
        match (&self.grant, &self.subject) {
            (Some(grant), _) => grants.contains(grant),
            (None, Some(client)) => self.about == "client" && clients.contains(client),
            (None, None) => true,
        }
    }

    /// A line for a person; of a grant, whose table tells the rest, without the text.
    #[must_use]
    pub fn line(&self) -> String {
        let (id, kind, opened) = (self.id, &self.kind, &self.opened_at);
        let who = match (&self.grant, &self.subject) {
            (Some(grant), _) => format!("{grant}: "),
            (None, Some(subject)) => format!("{} {subject}: ", self.about),
            (None, None) => String::new(),
        };
        let text = match self.about.as_str() {
            "grant" | "output" => String::new(),
            _ => format!(": {}", self.text),
        };
        match (&self.closed_at, &self.closed_because) {
            (Some(at), Some(why)) => {
                format!("{who}incident {id}, {kind}, from {opened} to {at}: {why}")
            }
            _ => format!("{who}incident {id}, {kind}, since {opened}{text}"),
        }
    }
}
