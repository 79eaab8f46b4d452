//! What every change keeps, whatever the entry is.

use super::fallback;
use super::import::{Import, import};
use super::restore::{self, Restored};
use super::settle::{Settle, settle};
use super::*;
use crate::flight::{Intent, Settlement, Stamp, Standing};
use crate::grant::Presents;
use crate::grant::state::Refusal;
use crate::secret::{Fingerprinter, Secret};
use crate::time::BootTime;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const NOW: WallTime = WallTime(9_000_000);

fn prints() -> Fingerprinter {
    Fingerprinter::new([7; 32])
}

fn token(number: u8) -> Secret {
    Secret::new(format!("refresh-token-{number}"))
}

fn tokens(number: u8) -> TokenSet {
    TokenSet {
        access_token: Secret::new(format!("access-token-{number}")),
        refresh_token: Some(token(number)),
        ..TokenSet::none()
    }
}

fn refusal() -> Refusal {
    Refusal {
        provisional: false,
        interaction: false,
        at: WallTime(1),
        times: 1,
        text: String::new(),
    }
}

fn answer() -> Answer {
    Answer {
        status: 200,
        headers: Vec::new(),
        body: b"<html>".to_vec(),
        complete: true,
        received: NOW,
    }
}

fn candidate(number: u8, base_generation: u64) -> Candidate {
    Candidate {
        flight: ExchangeId([number; 16]),
        base_generation,
        tokens: Some(tokens(number)),
        answer: None,
        description: Some(DescriptionHash("d".to_owned())),
        refused: false,
        binding: None,
        at: WallTime(i64::from(number)),
    }
}

fn entry(candidates: Vec<Candidate>) -> Entry {
    Entry {
        grant: Grant {
            id: GrantId("g".to_owned()),
            name: "g".to_owned(),
            client: "c".to_owned(),
            vars: BTreeMap::new(),
            redirect_uri: None,
            revision: 5,
            state: GrantState {
                generation: 3,
                presents: Some(prints().of(&token(1))),
                refusal: Some(refusal()),
                ..GrantState::default()
            },
        },
        tokens: Some(tokens(1)),
        candidates,
    }
}

fn facts(owner: Option<&str>) -> Facts {
    Facts {
        owner: owner.map(|name| Owner {
            id: GrantId(name.to_owned()),
            name: name.to_owned(),
        }),
        fresh: ExchangeId([0xff; 16]),
    }
}

fn event() -> Event {
    Event {
        at: NOW,
        kind: "success".to_owned(),
        text: String::new(),
    }
}

fn intent(entry: &Entry, presented: u8) -> Intent {
    let sent = Stamp {
        wall: NOW,
        boot: BootTime(0),
        boot_id: String::new(),
    };
    let presents = Presents::RefreshToken(prints().of(&token(presented)));
    let description = DescriptionHash("d".to_owned());
    Intent::new(
        ExchangeId([0xee; 16]),
        &entry.grant,
        presents,
        sent,
        description,
        0,
    )
}

/// The refresh tokens that an entry holds.
fn held(entry: &Entry) -> BTreeSet<String> {
    let beside = entry.candidates.iter().filter_map(|c| c.tokens.as_ref());
    let all = beside.chain(&entry.tokens);
    all.filter_map(|tokens| tokens.refresh_token.as_ref())
        .map(|token| token.expose().to_owned())
        .collect()
}

/// As a store writes them.
fn written(entry: &Entry, changes: &Changes) -> Entry {
    let mut after = entry.clone();
    if let Some(grant) = &changes.grant {
        assert_eq!(grant.revision, entry.grant.revision + 1);
        after.grant = grant.clone();
    }
    after.tokens = changes.tokens.clone().or(after.tokens);
    let stays = |kept: &Candidate| !changes.forget.contains(&kept.flight);
    after.candidates.retain(stays);
    after.candidates.extend(changes.keep.iter().cloned());
    after
}

fn settlement(entry: &Entry, brings: Option<u8>) -> Settlement {
    let rise = u64::from(brings.is_some());
    let presents = brings.map(|number| prints().of(&token(number)));
    Settlement {
        state: GrantState {
            generation: entry.grant.state.generation + rise,
            presents: presents.or(entry.grant.state.presents),
            refusal: None,
            ..entry.grant.state.clone()
        },
        tokens: brings.map(tokens),
        unread: None,
        sent: None,
    }
}

#[test]
fn an_answer_that_nobody_could_read_is_no_fallback_and_stays() {
    let unread = Candidate {
        tokens: None,
        answer: Some(answer()),
        ..candidate(9, 5)
    };
    let before = entry(vec![unread.clone(), candidate(4, 3)]);
    let changes = fallback::take(&before, &facts(None), 5, &prints(), NOW).expect("one is tried");
    let after = written(&before, &changes);
    assert!(after.candidates.contains(&unread));
    let current = after.tokens.and_then(|tokens| tokens.refresh_token);
    assert_eq!(current, Some(token(4)));
    // Alone it changes nothing.
    let alone = entry(vec![unread]);
    assert_eq!(
        fallback::take(&alone, &facts(None), 5, &prints(), NOW),
        None
    );
}

#[test]
fn an_answer_that_nobody_could_read_hides_no_newer_refresh_token() {
    let unread = Candidate {
        tokens: None,
        answer: Some(answer()),
        ..candidate(9, 8)
    };
    let mut before = entry(vec![unread, candidate(4, 4)]);
    before.grant.state.refusal = None;
    let restored = Restored {
        published: 6,
        may_be_rotated: true,
        at: NOW,
    };
    let changes = restore::accept(&before, &facts(None), restored, &prints());
    let after = written(&before, &changes);
    assert_eq!(after.tokens.and_then(|t| t.refresh_token), Some(token(4)));
    // Above what was published, and above what the answer follows on.
    assert_eq!(after.grant.state.generation, 10);
}

#[test]
fn what_another_grant_has_had_is_taken_and_told() {
    let before = entry(Vec::new());
    let (settlement, intent) = (settlement(&before, Some(2)), intent(&before, 1));
    let command = Settle {
        base_revision: 5,
        settlement: &settlement,
        intent: Some(&intent),
        event: &event(),
        identity: Some(prints().of(&token(2))),
    };
    let (standing, changes) = settle(&before, &facts(Some("other")), &command).unwrap();
    assert_eq!((standing, changes.claim), (Standing::Current, None));
    let state = &changes.grant.as_ref().unwrap().state;
    assert_eq!(state.shared_with.as_deref(), Some("other"));
    let (told, _) = changes.event.unwrap();
    assert!(
        told.text.contains("grant other has had too"),
        "{}",
        told.text
    );
    // Its own is claimed again, with the new generation.
    let (_, changes) = settle(&before, &facts(Some("g")), &command).unwrap();
    assert_eq!(changes.claim.map(|claim| claim.generation), Some(4));
    assert_eq!(changes.grant.unwrap().state.shared_with, None);
}

#[test]
fn generations_rise_by_one() {
    let before = entry(Vec::new());
    let mut jump = settlement(&before, None);
    jump.state.generation = 3;
    let event = event();
    let of = |settlement: &Settlement| {
        let command = Settle {
            base_revision: 5,
            settlement,
            intent: None,
            event: &event,
            identity: None,
        };
        settle(&before, &facts(None), &command).map(|(standing, _)| standing)
    };
    assert_eq!(of(&jump), Ok(Standing::Current));
    // Another generation is another exchange's, which came too late or too early.
    jump.state.generation = 5;
    assert_eq!(of(&jump), Ok(Standing::Superseded));
}

proptest! {
    /// Promise 1, as far as rows go: no change loses a refresh token that was never
    /// exchanged, generations never fall, and the revision rises by one.
    #[test]
    fn no_change_loses_a_refresh_token(
        bases in prop::collection::vec((2_u8..8, 0_u64..6, any::<bool>()), 0..4),
        brings in prop::option::of(2_u8..10),
        presented in 1_u8..4,
        late in 0_u64..3,
        refused in any::<bool>(),
        command in 0..4,
    ) {
        let candidates = bases.iter().enumerate().map(|(at, (number, base, refused))| Candidate {
            flight: ExchangeId([u8::try_from(at).unwrap(); 16]),
            refused: *refused,
            ..candidate(*number, *base)
        });
        let mut before = entry(candidates.collect());
        before.grant.state.refusal = before.grant.state.refusal.filter(|_| refused);
        let (mut exchanged, mut brought) = (None, None);
        let changes = match command {
            0 => {
                let mut settlement = settlement(&before, brings);
                settlement.state.generation -= late.min(settlement.base_generation());
                let intent = intent(&before, presented);
                let known = brings.filter(|number| bases.iter().any(|(b, ..)| b == number));
                // What the grant has had before is not tried again, and is kept where it was.
                let facts = facts(known.map(|_| "g"));
                exchanged = Some(token(presented)).filter(|_| brings.is_some());
                brought = brings.filter(|_| known.is_none());
                let command = Settle {
                    base_revision: 5,
                    settlement: &settlement,
                    intent: Some(&intent),
                    event: &event(),
                    identity: brings.map(|number| prints().of(&token(number))),
                };
                settle(&before, &facts, &command).unwrap().1
            }
            1 => fallback::take(&before, &facts(None), 5, &prints(), NOW).unwrap_or_default(),
            2 => {
                let restored = Restored { published: late, may_be_rotated: true, at: NOW };
                restore::accept(&before, &facts(None), restored, &prints())
            }
            _ => {
                brought = brings;
                let request = Import {
                    name: "g".to_owned(),
                    client: "c".to_owned(),
                    vars: BTreeMap::new(),
                    redirect_uri: None,
                    tokens: tokens(brings.unwrap_or(1)),
                    state: GrantState::default(),
                    obtained_at: None,
                    now: NOW,
                    replace: true,
                    authorized: true,
                };
                let identity = prints().of(request.tokens.identity());
                let id = before.grant.id.clone();
                import(Some(&before), &facts(None), &request, identity, id).unwrap().1
            }
        };
        let after = written(&before, &changes);
        prop_assert!(after.grant.state.generation >= before.grant.state.generation);
        let left = held(&after);
        for one in held(&before) {
            let gone = exchanged.as_ref().is_some_and(|token| token.expose() == one);
            prop_assert!(left.contains(&one) || gone, "{one} is lost by {changes:?}");
        }
        if let Some(number) = brought {
            prop_assert!(left.contains(token(number).expose()), "{number} is lost");
        }
    }
}
