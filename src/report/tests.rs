//! What holds a grant, and until when.

use super::*;
use refreshd_core::GrantId;
use refreshd_core::grant::outcome::OutcomeKind;
use refreshd_core::grant::state::LastOutcome;
use refreshd_core::secret::Fingerprint;
use std::time::Duration;

const NOW: WallTime = WallTime(1_800_000_000_000);

fn at(secs: u64) -> WallTime {
    NOW + Duration::from_secs(secs)
}

/// A grant whose token of an hour ends then.
fn grant(expires_at: WallTime) -> Grant {
    Grant {
        id: GrantId("g".to_owned()),
        name: "one".to_owned(),
        client: "c".to_owned(),
        vars: [].into(),
        redirect_uri: None,
        revision: 1,
        state: GrantState {
            generation: 1,
            issued_at: expires_at - Duration::from_secs(3600),
            expires_at,
            presents: Some(Fingerprint([1; 16])),
            ..GrantState::default()
        },
    }
}

/// What is told of a grant under a brake.
fn braked(expires_at: WallTime, trouble: Trouble, until: Option<WallTime>) -> GrantReport {
    let policy = Policy::default();
    let mut report = GrantReport::new(&grant(expires_at), Some("p"), Some(&policy), NOW);
    let by = Scope::Host(7);
    let hold = Hold::Braked { by, trouble, until };
    let name_of = |scope| match scope {
        Scope::Host(7) => "as.example:8443".to_owned(),
        other => panic!("{other:?}"),
    };
    report.tell_hold(hold, name_of, NOW);
    report
}

fn next(report: &GrantReport) -> String {
    let table = table(std::slice::from_ref(report));
    let row = table.lines().nth(1).expect("a row");
    let cells: Vec<&str> = row.split_whitespace().collect();
    cells[5].to_owned()
}

/// `status` said NEXT `0s` and "that is early enough" while nothing was sent for minutes.
#[test]
fn next_is_when_something_is_sent_and_why_names_the_host() {
    // Due, and held until its last moment.
    let held = braked(at(100), Trouble::Down, Some(at(55)));
    assert_eq!(held.next_refresh_in, Some(55));
    assert_eq!(held.next_refresh_at, Some(at(55).rfc3339()));
    assert_eq!(held.waits_for.as_deref(), Some("endpoint"));
    assert_eq!(
        held.why,
        "as.example:8443: exchanges could not be sent; one grant at a time is asked"
    );
    assert_eq!(next(&held), "55s");
    // Another has its turn: nobody knows when this one's is.
    for until in [None, Some(at(0)), Some(NOW - Duration::from_secs(3))] {
        let waits = braked(at(100), Trouble::Lossy, until);
        assert_eq!(
            (waits.next_refresh_in, waits.next_refresh_at.as_ref()),
            (None, None)
        );
        assert_eq!(next(&waits), "endpoint", "{until:?}");
    }
    let client = braked(at(100), Trouble::Client, None);
    assert_eq!(client.waits_for.as_deref(), Some("client"));
}

#[test]
fn what_ends_before_a_grant_is_due_does_not_hold_it() {
    // Its lead is six minutes.
    for until in [None, Some(at(500)), Some(NOW - Duration::from_secs(3))] {
        let report = braked(at(3600), Trouble::Down, until);
        assert_eq!(report.waits_for, None, "{until:?}");
        assert!(report.next_refresh_in > Some(3000), "{until:?}");
    }
    let held = braked(at(3600), Trouble::Down, Some(at(3555)));
    assert_eq!(held.next_refresh_in, Some(3555));
}

/// That may be this grant's own affair, of which no incident of its client tells.
#[test]
fn a_grant_whose_client_is_not_accepted_says_so() {
    let policy = Policy::default();
    for (ends_in, urgency, reason) in [
        (60, Urgency::Busy, "the provider did not accept its client"),
        (
            0,
            Urgency::Trouble,
            "its token has expired, and the provider does not accept its client",
        ),
    ] {
        let mut grant = grant(at(ends_in));
        grant.state.failures = 1;
        grant.state.last_outcome = Some(LastOutcome {
            status: Some(401),
            at: NOW,
            kind: OutcomeKind::InvalidClient.word().to_owned(),
            text: "invalid_client".to_owned(),
        });
        let report = GrantReport::new(&grant, Some("p"), Some(&policy), NOW);
        assert_eq!((report.urgency, report.reason.as_str()), (urgency, reason));
    }
}
