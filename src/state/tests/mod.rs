//! The state as a whole, through its public face.

mod begin;
mod commits;
mod copies;
mod enrollments;
mod files;
mod imports;
mod incidents;
mod intents;
mod keys;
mod opening;
mod poisoned;
mod restores;
mod second_chances;
mod takeover;

use super::*;
use refreshd_core::flight::{ExchangeId, Intent, Sent, Settlement, Stamp};
use refreshd_core::grant::{Grant, GrantId, GrantState, TokenSet};
use refreshd_core::provider::Answer;
use refreshd_core::provider::description::DescriptionHash;
use refreshd_core::secret::Secret;
use refreshd_core::time::{BootTime, WallTime};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tempfile::TempDir;

/// A state directory with its key beside it.
struct House {
    root: TempDir,
    key: KeySource,
}

impl House {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let key = KeySource::File(root.path().join("keys/seal.key"));
        House { root, key }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("state")
    }

    fn database(&self) -> PathBuf {
        self.dir().join(db::FILE)
    }

    fn try_open(&self) -> Result<State, OpenError> {
        State::open(&OpenOptions {
            state_dir: &self.dir(),
            key: &self.key,
            may_make: true,
        })
    }

    fn open(&self) -> State {
        self.try_open().unwrap()
    }
}

fn tokens(number: u32) -> TokenSet {
    TokenSet {
        access_token: Secret::new(format!("access-token-{number}")),
        refresh_token: Some(Secret::new(format!("refresh-token-{number}"))),
        token_type: None,
        scope: Some("read".to_owned()),
        extra: BTreeMap::new(),
        code: None,
    }
}

fn request(name: &str, number: u32) -> ImportRequest {
    ImportRequest {
        name: name.to_owned(),
        client: "retm".to_owned(),
        vars: BTreeMap::from([("business_id".to_owned(), name.to_owned())]),
        redirect_uri: None,
        tokens: tokens(number),
        state: GrantState {
            issued_at: WallTime(1_000_000),
            expires_at: WallTime(5_000_000),
            ..GrantState::default()
        },
        obtained_at: None,
        now: WallTime(1_000_500),
        replace: false,
        authorized: false,
    }
}

async fn created(store: &Store, name: &str, number: u32) -> Grant {
    match store.import(request(name, number)).await.unwrap() {
        Imported::Created(grant) => grant,
        other => panic!("{other:?}"),
    }
}

fn event(kind: &str) -> Event {
    Event {
        at: WallTime(2_000_000),
        kind: kind.to_owned(),
        text: String::new(),
    }
}

/// A refresh of `grant` that brought the token set `number`.
fn success(grant: &Grant, number: u32) -> Commit {
    Commit {
        base: grant.clone(),
        settlement: Settlement {
            state: GrantState {
                generation: grant.state.generation + 1,
                ..grant.state.clone()
            },
            tokens: Some(tokens(number)),
            unread: None,
            sent: None,
        },
        event: event("success"),
        intent: None,
        ends: true,
        was_kept: false,
    }
}

fn intent(store: &Store, grant: &Grant, flight: u8) -> Intent {
    Intent {
        flight: ExchangeId([flight; 16]),
        grant: grant.id.clone(),
        name: grant.name.clone(),
        revision: grant.revision,
        generation: grant.state.generation,
        attempt: 1,
        first_sent: WallTime(2_000_000),
        sent: Stamp {
            wall: WallTime(2_000_000),
            boot: BootTime(1),
            boot_id: String::new(),
        },
        presents: refreshd_core::grant::Presents::RefreshToken(
            store.fingerprinter().of(&Secret::new("refresh-token-1")),
        ),
        description: DescriptionHash("d1".to_owned()),
        roll: 0,
        binding: None,
    }
}

fn answer(body: &str) -> Answer {
    Answer {
        status: 200,
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
        complete: true,
        received: WallTime(2_000_100),
    }
}

fn applied(committed: Committed) -> Grant {
    match committed {
        Committed::Applied(grant) => grant,
        Committed::Stale(grant) => panic!("stale: {grant:?}"),
    }
}
