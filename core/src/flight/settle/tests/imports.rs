//! The first token set, brought by a person.

use super::*;
use crate::grant::schedule::{Plan, Why, plan};
use crate::provider::answer::{ImportFormat, read_import, read_import_from};

fn import_of(members: Value, obtained_at: Option<WallTime>) -> (GrantState, TokenSet) {
    let mut response = json!({ "access_token": "at-1" });
    for (name, value) in members.as_object().expect("an object") {
        response[name] = value.clone();
    }
    let rules = rules();
    let import_ = Import {
        success: read_import(&rules.description, &response).expect("a token response"),
        obtained_at,
        code: Some(Secret::new("code")),
        binding: Binding {
            client_id: "client".to_owned(),
            origin: "https://as.example".to_owned(),
        },
        roll: 0,
    };
    let (mut state, tokens) = import(&rules, import_, FIRST);
    state.generation = 1;
    (state, tokens)
}

fn why(state: &GrantState) -> Why {
    match plan(state, &rules().policy, FIRST) {
        Plan::At { why, .. } => why,
        Plan::Never(never) => panic!("never: {never:?}"),
    }
}

#[test]
fn with_obtained_at_its_life_counts_from_there() {
    let members = json!({ "refresh_token": "rt-1", "expires_in": 7200 });
    let (state, tokens) = import_of(members, Some(ISSUED));
    assert_eq!((state.issued_at, state.login_at), (ISSUED, ISSUED));
    assert_eq!(state.expires_at, ISSUED + secs(7200));
    assert!(!state.expiry_unknown);
    assert_eq!(why(&state), Why::Lead);
    assert_eq!(state.presents, Some(print_of("rt-1")));
    assert_eq!(tokens.code, Some(Secret::new("code")));
}

#[test]
fn a_moment_to_come_is_not_believed() {
    let members = json!({ "refresh_token": "rt-1", "expires_in": 7200 });
    let (state, _) = import_of(members, Some(AGAIN));
    assert_eq!(state.expires_at, FIRST + secs(7200));
}

#[test]
fn without_obtained_at_an_end_of_its_own_counts() {
    let exp = FIRST + secs(900);
    for members in [
        json!({ "refresh_token": "rt-1", "expires_in": 7200, "expires_at": exp.secs() }),
        json!({ "refresh_token": "rt-1", "expires_in": 7200, "access_token": jwt(exp) }),
    ] {
        let (state, _) = import_of(members, None);
        assert_eq!(state.expires_at, exp);
        assert!(!state.expiry_unknown);
    }
}

#[test]
fn without_either_it_is_due_now() {
    let (state, _) = import_of(json!({ "refresh_token": "rt-1", "expires_in": 7200 }), None);
    assert!(state.expiry_unknown);
    let due = plan(&state, &rules().policy, FIRST);
    assert!(
        matches!(due, Plan::At { at, why: Why::Overdue } if at <= FIRST),
        "{due:?}"
    );
}

#[test]
fn with_nothing_to_refresh_it_is_taken_at_its_word() {
    let (state, _) = import_of(json!({ "expires_in": 7200 }), None);
    assert!(!state.expiry_unknown && state.presents.is_none());
    assert_eq!(state.expires_at, FIRST + secs(7200));
}

#[test]
fn without_an_access_token_it_is_over_and_due_at_once() {
    let document = json!({
        "type": "authorized_user", "client_id": "client", "client_secret": "secret",
        "refresh_token": "rt-1",
    });
    let mut rules = rules();
    rules.policy.schedule.min_age = Some(secs(570));
    let google = ImportFormat::GoogleAuthorizedUser;
    let brought = read_import_from(google, &rules.description, &document).expect("reads");
    let import_ = Import {
        success: brought.success,
        obtained_at: None,
        code: None,
        binding: Binding {
            client_id: "client".to_owned(),
            origin: "https://as.example".to_owned(),
        },
        roll: 0,
    };
    let (mut state, tokens) = import(&rules, import_, FIRST);
    state.generation = 3;
    assert!(tokens.access_token.is_empty() && state.access.is_none());
    assert!(!state.is_alive(FIRST));
    assert_eq!(state.presents, Some(print_of("rt-1")));
    match plan(&state, &rules.policy, FIRST) {
        Plan::At { at, why } => assert_eq!((at <= FIRST, why), (true, Why::Overdue)),
        Plan::Never(never) => panic!("never: {never:?}"),
    }
}
