//! How grants follow the configuration.

use super::*;
use crate::config::{Sources, load};
use refreshd_core::grant::{GrantId, GrantState};
use refreshd_core::secret::Fingerprint;
use refreshd_core::time::WallTime;

/// A configuration with the grant `one` at a client of this id and provider.
fn config(provider: &str, id: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("refreshd.toml");
    let vars = match provider {
        "blynk" => "vars = { server_address = \"blynk.cloud\" }",
        _ => "",
    };
    let text = format!(
        "[daemon]\nstate_dir = \"/x/s\"\nruntime_dir = \"/x/r\"\n\
         [clients.c]\nprovider = \"{provider}\"\nclient_id = \"{id}\"\nclient_secret = {{ env = \"S\" }}\nredirect_uri = \"https://a/\"\n\
         [grants.one]\nclient = \"c\"\n{vars}\n"
    );
    std::fs::write(&file, text).unwrap();
    let sources = Sources {
        file: Some(file),
        env: [("S".to_owned(), "s".to_owned())].into(),
        ..Sources::default()
    };
    load(&sources).config.unwrap()
}

fn grant(state: GrantState) -> Grant {
    Grant {
        id: GrantId("g".to_owned()),
        name: "one".to_owned(),
        client: "c".to_owned(),
        vars: BTreeMap::new(),
        redirect_uri: None,
        revision: 1,
        state,
    }
}

/// The grant as it is once the configuration says so.
fn align(grant: &Grant, config: &Config) -> Grant {
    let seat = seat_of(grant, config).unwrap();
    let state = aligned(grant, &seat, config).map(|change| change.state);
    self::grant(state.unwrap_or_else(|| grant.state.clone()))
}

fn authorized(config: &Config, own: bool) -> Grant {
    let state = GrantState {
        generation: 3,
        presents: Some(Fingerprint([1; 16])),
        not_before: Some(WallTime::from_secs(9000)),
        own,
        ..GrantState::default()
    };
    align(&grant(state), config)
}

#[test]
fn a_person_s_authorization_is_not_given_up_for_a_slip() {
    let (theirs, other) = (config("reteno", "id"), config("blynk", "id"));
    let before = authorized(&theirs, false);
    let mut moved = align(&before, &other);
    for _ in 0..2 {
        assert!(moved.state.pause.is_some(), "until its operator confirms");
        assert_eq!(moved.state.presents, before.state.presents);
        moved = align(&moved, &other);
    }
    let back = align(&moved, &theirs);
    assert_eq!(back.state, before.state);
}

#[test]
fn the_client_s_own_token_set_is_replaced_where_it_is_bound_now() {
    let (before, after) = (config("blynk", "id"), config("blynk", "other"));
    let moved = align(&authorized(&before, true), &after);
    assert!(moved.state.pause.is_none() && moved.state.expiry_unknown);
    assert_eq!((moved.state.presents, moved.state.not_before), (None, None));
    assert_eq!(moved.state.binding.unwrap().client_id, "other");
}

#[test]
fn before_the_first_token_set_there_is_nothing_to_confirm() {
    let begun = align(&grant(GrantState::default()), &config("blynk", "id"));
    let moved = align(&begun, &config("reteno", "id"));
    assert_eq!(moved.state.pause, None);
    assert!(moved.state.binding.unwrap().origin.contains("reteno"));
}
