//! What stands first, for states that operators meet.

use super::*;
use crate::report::urgency::unauthorized;

/// A grant in this state that is this urgent for this reason.
fn grant(name: &str, state: &str, urgency: Urgency, reason: &str) -> GrantReport {
    let mut report = GrantReport::pending(name, "retm", None);
    report.state = state.to_owned();
    report.urgency = urgency;
    report.reason = reason.to_owned();
    report.act = match urgency {
        Urgency::Person | Urgency::Soon => Some(format!("refreshd authorize {name}")),
        _ => None,
    };
    report
}

fn well(name: &str) -> GrantReport {
    grant(name, "fresh", Urgency::Well, "")
}

fn running(grants: Vec<GrantReport>) -> Status {
    Status {
        running: true,
        grants,
        ..Status::default()
    }
}

fn incident(kind: Kind, about: &str, subject: Option<&str>, text: &str) -> IncidentReport {
    IncidentReport {
        kind: kind.word().to_owned(),
        about: about.to_owned(),
        subject: subject.map(str::to_owned),
        text: text.to_owned(),
        ..IncidentReport::default()
    }
}

#[test]
fn all_is_well_and_ends_with_0() {
    let summary = Summary::of(&running(vec![well("a")]));
    assert_eq!(
        summary.lines(),
        ["all is well: nothing needs a person", "1 grant: 1 fresh"]
    );
    assert_eq!((summary.exit, summary.urgency), (0, Urgency::Well));
    assert!(summary.urgent.is_empty());
    let none = Summary::of(&running(Vec::new()));
    assert_eq!(none.lines().len(), 1);
    assert_eq!(
        none.headline,
        "no grants are configured; `refreshd init` adds one"
    );
}

#[test]
fn a_person_stands_before_trouble_and_trouble_before_what_has_time() {
    let mut grants: Vec<GrantReport> = (0..497).map(|i| well(&format!("f{i}"))).collect();
    grants.push(grant(
        "x",
        "expired",
        Urgency::Trouble,
        "its token has expired",
    ));
    grants.push(grant("s", "fresh", Urgency::Soon, "ends in 6d"));
    grants.push(grant("b", "retrying", Urgency::Busy, "the last try failed"));
    grants.push(grant(
        "surveys",
        "refused",
        Urgency::Person,
        "refused by the provider",
    ));
    grants.push(grant(
        "shop",
        "refused",
        Urgency::Person,
        "refused by the provider",
    ));
    let summary = Summary::of(&running(grants));
    assert_eq!(
        summary.lines(),
        [
            "2 grants need a person: surveys (refused by the provider; run refreshd authorize surveys), \
             shop (refused by the provider; run refreshd authorize shop)",
            "1 grant is in trouble: x (its token has expired)",
            "1 grant needs a person soon: s (ends in 6d; run refreshd authorize s)",
            "502 grants: 498 fresh, 1 retrying, 1 expired, 2 refused",
        ]
    );
    assert_eq!(summary.exit(), Exit::NoPermission);
    assert_eq!(summary.urgent[0].grants, ["surveys", "shop"]);
}

#[test]
fn trouble_alone_ends_with_75_and_a_retry_with_0() {
    let trouble = grant("x", "in-doubt", Urgency::Trouble, "in doubt");
    assert_eq!(Summary::of(&running(vec![trouble])).exit, 75);
    let busy = Summary::of(&running(vec![grant("b", "retrying", Urgency::Busy, "")]));
    assert_eq!(busy.exit, 0);
    let text = "nothing needs a person; 1 grant is being tried again by refreshd";
    assert_eq!(busy.headline, text);
    let soon = grant("s", "fresh", Urgency::Soon, "ends in 6d");
    assert_eq!(Summary::of(&running(vec![soon])).exit, 77);
}

#[test]
fn a_paused_client_stands_above_the_grants_that_wait_for_it() {
    let grants = (0..534).map(|i| grant(&format!("g{i}"), "retrying", Urgency::Busy, ""));
    let mut status = running(grants.collect());
    let text = "client retm is paused: the provider does not accept the client";
    let paused = incident(Kind::ClientNotAccepted, "client", Some("retm"), text);
    status.incidents = vec![paused];
    let summary = Summary::of(&status);
    assert_eq!(summary.headline, format!("{text} (534 grants of it)"));
    assert_eq!(summary.lines().len(), 2, "{:?}", summary.lines());
    assert_eq!(summary.exit, 77);
}

#[test]
fn what_ends_by_itself_comes_after_a_grant_that_needs_a_person() {
    let mut status = running(vec![grant("a", "refused", Urgency::Person, "refused")]);
    let text = "https://a/token: exchanges in a row got no answer";
    let failing = incident(
        Kind::EndpointFailing,
        "endpoint",
        Some("https://a/token"),
        text,
    );
    status.incidents = vec![failing];
    let lines = Summary::of(&status).lines();
    assert!(
        lines[0].starts_with("1 grant needs a person: a (refused"),
        "{lines:?}"
    );
    assert_eq!(lines[1], text);
}

#[test]
fn a_fence_is_told_once() {
    let mut status = running(vec![well("a")]);
    status.notices = vec!["fenced: it was restored".to_owned()];
    status.incidents = vec![incident(Kind::Fenced, "daemon", None, "fenced")];
    let summary = Summary::of(&status);
    assert_eq!(
        summary.lines(),
        ["fenced: it was restored", "1 grant: 1 fresh"]
    );
    assert_eq!(summary.exit, 77);
}

#[test]
fn a_daemon_that_does_not_run_comes_first() {
    let mut status = running(vec![grant("a", "refused", Urgency::Person, "refused")]);
    status.running = false;
    let summary = Summary::of(&status);
    assert!(
        summary.headline.starts_with("refreshd is not running"),
        "{summary:?}"
    );
    assert_eq!(summary.exit, 69);
    assert_eq!(summary.urgent.len(), 2);
}

#[test]
fn no_more_than_three_are_named() {
    let grants = ["a", "b", "c", "d", "e"].map(|name| {
        let mut report = grant(name, "pending", Urgency::Person, "");
        report.tell_need(unauthorized(name));
        report
    });
    let headline = Summary::of(&running(grants.to_vec())).headline;
    assert!(
        headline.starts_with(
            "5 grants need a person: a (never authorized; run refreshd authorize a), "
        ),
        "{headline}"
    );
    assert!(headline.ends_with(", and 2 more"), "{headline}");
}
