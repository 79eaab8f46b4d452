//! All that `status` says.

use super::{GrantReport, Summary};
use crate::descriptors::Count;
use crate::history::HistoryLine;
use crate::incidents::report::IncidentReport;
use refreshd_core::grant::scopes::Scopes;
use refreshd_core::incident::Kind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Answer to `GET /v1/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether the daemon runs; if not, this comes from the state at rest.
    pub running: bool,
    /// The most urgent things, and how many grants are in which state.
    #[serde(default)]
    pub summary: Summary,
    /// The daemon's process id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// File descriptors, while the daemon runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<Count>,
    /// What holds for all grants: a fence, a clock that is not trusted.
    #[serde(default)]
    pub notices: Vec<String>,
    /// What is not healthy, the oldest first.
    #[serde(default)]
    pub incidents: Vec<IncidentReport>,
    /// What was not healthy with the grants that were asked for, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closed_incidents: Vec<IncidentReport>,
    /// What the grants that were asked for may do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scopes: BTreeMap<String, Scopes>,
    /// What happened to the grants that were asked for, newest first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub history: BTreeMap<String, Vec<HistoryLine>>,
    /// The grants, by name.
    pub grants: Vec<GrantReport>,
}

impl Status {
    /// With the summary of what it says.
    #[must_use]
    pub fn summed_up(mut self) -> Self {
        self.summary = Summary::of(&self);
        self
    }

    /// Whether an incident of that kind is open.
    #[must_use]
    pub fn has_incident(&self, kind: Kind) -> bool {
        let is_it = |incident: &IncidentReport| Kind::from_word(&incident.kind) == Some(kind);
        self.incidents.iter().any(is_it)
    }
}
