//! A refused grant tries the refresh tokens that late answers brought, before a person is
//! asked. What an import replaced is not among them: it may be another account's.

use super::{Candidate, Changes, Entry, Event, Facts};
use crate::grant::candidate::second_chances;
use crate::grant::{Grant, TokenSet};
use crate::secret::Fingerprinter;
use crate::time::WallTime;

/// Whether a candidate may be tried at all.
#[must_use]
pub fn may_be_tried(candidate: &Candidate) -> bool {
    let tokens = candidate.tokens.as_ref();
    candidate.kept().by_flight
        && !candidate.refused
        && tokens.is_some_and(|tokens| tokens.refresh_token.is_some())
}

/// Puts the newest untried refresh token of a late answer in the place of the refused one,
/// which is kept, marked. `None`: there is none, or the grant has moved on.
#[must_use]
pub fn take(
    entry: &Entry,
    facts: &Facts,
    base_revision: u64,
    fingerprinter: &Fingerprinter,
    at: WallTime,
) -> Option<Changes> {
    let grant = &entry.grant;
    if grant.revision != base_revision || grant.state.refusal.is_none() {
        return None;
    }
    let current = entry.tokens.as_ref()?;
    let kept = entry.kept();
    // An answer that nobody could read yet is none, and stays.
    let chances = second_chances(&kept, &grant.state).into_iter();
    let chances = chances.map(|chance| (&entry.candidates[chance], &kept[chance]));
    let mut forget = Vec::new();
    for (candidate, kept) in chances.filter(|(candidate, _)| may_be_tried(candidate)) {
        forget.push(candidate.flight);
        let Some(token) = candidate.refresh_token_beside(current) else {
            continue;
        };
        let refused = Candidate {
            refused: true,
            ..Candidate::replaced(grant, current, facts.fresh, at)
        };
        let event = Event {
            at,
            kind: "second-chance".to_owned(),
            text: "the refresh token was refused; one that a late answer brought is tried"
                .to_owned(),
        };
        return Some(Changes {
            grant: Some(Grant {
                revision: grant.revision + 1,
                state: grant.state.trying(fingerprinter.of(token), kept),
                ..grant.clone()
            }),
            tokens: Some(TokenSet {
                refresh_token: Some(token.clone()),
                ..current.clone()
            }),
            keep: vec![refused],
            forget,
            event: Some((event, None)),
            ..Changes::default()
        });
    }
    // They hold what the grant has, and are of no use.
    (!forget.is_empty()).then(|| Changes {
        forget,
        ..Changes::default()
    })
}
