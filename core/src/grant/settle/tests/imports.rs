//! The first token set, brought by a person.

use super::*;
use crate::grant::schedule::{Plan, Why, plan};
use crate::provider::answer::read_import;

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
