//! How things stand: what the daemon says, what the servers counted, and what
//! the consumers met, each grant's together.

use super::consumer::Tally;
use super::faults::{FAMILY_REVOKED, REVOKED};
use super::providers::{Grant, Provider};
use refreshd::control::client::Control;
use refreshd::report::GrantReport;
use refreshd::service::api::StatusQuery;
use sandbox::Presentation;
use std::collections::BTreeMap;

/// What the daemon said last of each grant, by name.
pub(super) type Reports = BTreeMap<String, GrantReport>;

/// What `refreshd status --json` would say now. What was known stays where the
/// daemon does not answer.
pub(super) async fn ask(control: Option<&Control>, reports: &mut Reports) {
    let Some(control) = control else { return };
    if let Ok(status) = control.status(&StatusQuery::default()).await {
        let named = status.grants.into_iter().map(|r| (r.grant.clone(), r));
        reports.extend(named);
    }
}

/// Faults by kind.
pub(super) type Faults = BTreeMap<String, u64>;

/// A grant and everything that is known of it.
#[derive(Debug)]
pub(super) struct GrantView<'a> {
    pub(super) provider: &'a Provider,
    pub(super) grant: &'a Grant,
    pub(super) report: Option<&'a GrantReport>,
    pub(super) tally: Tally,
    /// The faults that it met.
    pub(super) faults: Faults,
    /// Old refresh tokens that were presented though they were void.
    pub(super) reuses: u64,
}

/// All grants as they stand.
pub(super) fn views<'a>(
    providers: &'a [Provider],
    reports: &'a Reports,
    tallies: &BTreeMap<String, Tally>,
) -> Vec<GrantView<'a>> {
    let mut views = Vec::new();
    for provider in providers {
        for grant in &provider.grants {
            let server = provider.server_of(grant);
            let counted = server.stats().grants.remove(&grant.known_as);
            let reuses = counted.map_or(0, |counted| counted.reuses);
            let mut faults = met(&server.presentations(), &grant.known_as);
            if grant.name == REVOKED && reuses > 0 {
                faults.insert(FAMILY_REVOKED.to_owned(), reuses);
            }
            views.push(GrantView {
                provider,
                grant,
                report: reports.get(&grant.name),
                tally: tallies.get(&grant.name).copied().unwrap_or_default(),
                faults,
                reuses,
            });
        }
    }
    views
}

impl GrantView<'_> {
    /// The state in a word.
    pub(super) fn state(&self) -> &str {
        self.report.map_or("pending", |report| &report.state)
    }

    pub(super) fn generation(&self) -> u64 {
        self.report.map_or(0, |report| report.generation)
    }

    /// How many faults it met, but for one that it has not come through yet.
    pub(super) fn survived(&self) -> u64 {
        if self.provider.doomed {
            return 0;
        }
        let met: u64 = self.faults.values().sum();
        met.saturating_sub(u64::from(self.state() != "fresh"))
    }

    /// What the daemon says of a grant that cannot be kept.
    pub(super) fn verdict(&self) -> String {
        let last = self.report.and_then(|report| report.last_outcome.as_ref());
        let last = last.filter(|last| !last.text.is_empty());
        let last = last.map_or(String::new(), |l| format!(", {}: {}", l.kind, l.text));
        format!("{}: {}{last}", self.grant.name, self.state())
    }
}

fn met(presentations: &[Presentation], grant: &str) -> Faults {
    let mut faults = Faults::new();
    let its = presentations
        .iter()
        .filter(|p| p.grant.as_deref() == Some(grant));
    for fault in its.filter_map(|p| p.fault.as_ref()) {
        *faults.entry(fault.clone()).or_default() += 1;
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_met_by_the_grant_that_presents() {
        let presentation = |grant: &str, fault: Option<&str>| Presentation {
            grant: Some(grant.to_owned()),
            fault: fault.map(str::to_owned),
            ..Presentation::default()
        };
        let all = [
            presentation("a", Some("slow")),
            presentation("a", None),
            presentation("b", Some("slow")),
            presentation("a", Some("slow")),
        ];
        assert_eq!(met(&all, "a"), Faults::from([("slow".to_owned(), 2)]));
        assert!(met(&all, "c").is_empty());
    }
}
