//! What `systemctl status` shows of it, on a line: how many are well, who needs a person,
//! what comes next.

use crate::engine::EngineHandle;
use crate::engine::message::{Message, WhichGrants};
use crate::reload::Reloader;
use crate::report::{GrantReport, Urgency};
use crate::systemd::notify;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// It is looked again so often …
const AGAIN: Duration = Duration::from_secs(5);
/// … unless that would take more of the engine's time than one part in this many.
const SHARE: u32 = 200;
/// So many are named.
const NAMED: usize = 3;

/// Keeps the line as things are, where somebody reads it.
pub(super) async fn keep(engine: EngineHandle, reloader: Arc<Reloader>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let mut told = String::new();
    loop {
        let begun = Instant::now();
        let Ok(grants) = engine
            .ask(|reply| Message::Status(WhichGrants::All, reply))
            .await
        else {
            return;
        };
        let line = line(&notices(&reloader), &grants);
        if line != told {
            notify(&[NotifyState::Status(&line)]);
            told = line;
        }
        tokio::time::sleep(AGAIN.max(begun.elapsed() * SHARE)).await;
    }
}

/// What concerns all grants, in a few words.
fn notices(reloader: &Reloader) -> Vec<String> {
    let broken = reloader.broken();
    let broken = broken.map(|broken| {
        format!(
            "the configuration is broken, the one of {} is in force",
            broken.since()
        )
    });
    let fenced = reloader.deck.store.fence();
    let fenced = fenced.map(|_| "nothing is refreshed: see refreshd doctor".to_owned());
    broken.into_iter().chain(fenced).collect()
}

fn line(notices: &[String], grants: &[GrantReport]) -> String {
    let counted: Vec<&GrantReport> = grants
        .iter()
        .filter(|report| report.urgency != Urgency::Ended)
        .collect();
    let fresh = counted.iter().filter(|report| report.state == "fresh");
    let mut parts = notices.to_vec();
    parts.push(match counted.len() {
        0 => "no grants".to_owned(),
        all => format!("{} of {all} fresh", fresh.count()),
    });
    for (urgency, one, many) in [
        (Urgency::Person, "needs a person", "need a person"),
        (Urgency::Trouble, "is in trouble", "are in trouble"),
        (Urgency::Soon, "needs a person soon", "need a person soon"),
    ] {
        let those = counted.iter().filter(|report| report.urgency == urgency);
        let names: Vec<&str> = those.map(|report| report.grant.as_str()).collect();
        if !names.is_empty() {
            let verb = if names.len() == 1 { one } else { many };
            parts.push(format!("{} {verb} ({})", names.len(), listed(&names)));
        }
    }
    let next = counted.iter().filter_map(|r| r.next_refresh_at.as_deref());
    if let Some(next) = next.min() {
        parts.push(format!("next refresh {}", clock(next)));
    }
    parts.join(", ")
}

fn listed(names: &[&str]) -> String {
    let shown = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// `2026-01-02T12:03:04Z` as `2026-01-02 12:03 UTC`.
fn clock(rfc3339: &str) -> String {
    match (rfc3339.get(..10), rfc3339.get(11..16)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => rfc3339.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(name: &str, state: &str, urgency: &str, next: Option<&str>) -> GrantReport {
        let report = json!({
            "grant": name, "client": "c", "provider": "p", "state": state, "generation": 1,
            "why": "", "refreshing": false, "output_errors": [], "urgency": urgency,
            "next_refresh_at": next,
        });
        serde_json::from_value(report).unwrap()
    }

    #[test]
    fn counts_names_and_what_comes_next() {
        let grants = [
            report("a", "fresh", "well", Some("2026-01-02T12:03:04Z")),
            report("b", "fresh", "well", Some("2026-01-02T12:09:00Z")),
            report("old", "retired", "ended", None),
            report("shop-3", "refused", "person", None),
        ];
        assert_eq!(
            line(&[], &grants),
            "2 of 3 fresh, 1 needs a person (shop-3), next refresh 2026-01-02 12:03 UTC"
        );
        let broken = ["the configuration is broken".to_owned()];
        assert_eq!(
            line(&broken, &grants[..1]),
            "the configuration is broken, 1 of 1 fresh, next refresh 2026-01-02 12:03 UTC"
        );
        assert_eq!(line(&[], &[]), "no grants");
    }

    #[test]
    fn of_many_some_are_named() {
        let grants: Vec<GrantReport> = (0..5)
            .map(|i| report(&format!("g{i}"), "expired", "trouble", None))
            .collect();
        let line = line(&[], &grants);
        assert_eq!(
            line,
            "0 of 5 fresh, 5 are in trouble (g0, g1, g2 and 2 more)"
        );
    }
}
