//! When a store does not refresh because it was put back to an earlier state:
//! the tokens in it may have been replaced since. And how it goes on once a
//! person has accepted that.

use crate::grant::candidate::{Kept, highest};
use crate::grant::state::Doubt;
use crate::grant::{Grant, GrantId, GrantState};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why the store is fenced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Fenced {
    /// The stamp has seen a later commit.
    #[error(
        "the store stands at commit {store}, but had come to {stamp}: it was put back to an earlier state"
    )]
    StampAhead {
        /// The store's `commit_seq`.
        store: u64,
        /// The stamp's.
        stamp: u64,
    },
    /// A backup was put in the place of the database.
    #[error(
        "this state was restored from the backup of {}, and refresh tokens in it may have been replaced since", taken.rfc3339()
    )]
    Restored {
        /// When the backup was made.
        taken: WallTime,
    },
    /// The state directory was copied here.
    #[error(
        "this state belongs to another machine: it was copied or moved here, and if that machine goes on refreshing, each would cut the other off; make sure that refreshd is stopped there for good"
    )]
    OtherMachine,
    /// An output holds a later generation.
    #[error(
        "generation {published} of grant {grant} has been published, but the store knows {store}: it was put back to an earlier state"
    )]
    PublishedAhead {
        /// The grant's name.
        grant: String,
        /// The generation in the output's metadata.
        published: u64,
        /// The store's.
        store: u64,
    },
}

/// What a store is found with as it is opened.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The fence that it remembers.
    pub fenced: Option<Fenced>,
    /// It is a backup that was put in place, made then.
    pub backup_of: Option<WallTime>,
    /// How many commits it has seen.
    pub commit_seq: u64,
    /// How many the stamp beside it has seen.
    pub stamp: Option<u64>,
}

/// Whether a store is fenced as it is opened. What is found here is to be
/// remembered in it, so that the fence outlives what showed it.
#[must_use]
pub fn at_start(found: &Found) -> Option<Fenced> {
    if let Some(before) = &found.fenced {
        return Some(before.clone());
    }
    let restored = found.backup_of.map(|taken| Fenced::Restored { taken });
    let store = found.commit_seq;
    let ahead = found.stamp.filter(|stamp| *stamp > store);
    restored.or(ahead.map(|stamp| Fenced::StampAhead { store, stamp }))
}

/// Whether a generation has been published that the store does not know.
#[must_use]
pub fn published_ahead<'a>(
    grants: impl IntoIterator<Item = &'a Grant>,
    published: &BTreeMap<GrantId, u64>,
) -> Option<Fenced> {
    grants.into_iter().find_map(|grant| {
        let published = *published.get(&grant.id)?;
        let store = grant.state.generation;
        (published > store).then(|| Fenced::PublishedAhead {
            grant: grant.name.clone(),
            published,
            store,
        })
    })
}

/// The state of a grant once its operator has accepted that the store was put
/// back: its generation goes above every one that was published or is `kept`
/// beside it, and a refresh token that may have been rotated since is in doubt, its
/// windows over.
#[must_use]
pub fn accepted(
    state: &GrantState,
    published: u64,
    kept: &[Kept],
    may_be_rotated: bool,
) -> GrantState {
    // What exchanges brought that the store knows nothing of is not to be newer than
    // what comes from now on.
    let published = highest(published, kept);
    let mut state = state.clone();
    if state.generation > 0 || published > 0 {
        let highest = state.generation.max(published);
        state.renamed_from.get_or_insert(state.generation);
        state.generation = highest + 1;
    }
    if let Some(presents) = state.presents.filter(|_| may_be_rotated) {
        let lost = Doubt::of_lost_time(presents, state.last_send);
        let doubt = state.doubt.get_or_insert(lost);
        doubt.first_sent = WallTime(0);
        doubt.presentations = doubt.presentations.max(1);
        doubt.relic = true;
        // And so may have been what is kept beside it, in second chances.
        state.doubts_before = state.generation;
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Fingerprint;

    #[test]
    fn what_it_remembers_comes_first_then_the_mark_then_the_stamp() {
        let mut found = Found {
            commit_seq: 7,
            stamp: Some(7),
            ..Found::default()
        };
        assert_eq!(at_start(&found), None);
        found.stamp = Some(8);
        let ahead = Fenced::StampAhead { store: 7, stamp: 8 };
        assert_eq!(at_start(&found), Some(ahead));
        let taken = WallTime(5);
        found.backup_of = Some(taken);
        assert_eq!(at_start(&found), Some(Fenced::Restored { taken }));
        found.fenced = Some(Fenced::OtherMachine);
        assert_eq!(at_start(&found), Some(Fenced::OtherMachine));
    }

    #[test]
    fn generations_go_on_above_every_published_one_and_tokens_are_in_doubt() {
        let state = GrantState {
            generation: 3,
            presents: Some(Fingerprint([1; 16])),
            ..GrantState::default()
        };
        let behind = accepted(&state, 9, &[], true);
        assert_eq!(behind.generation, 10);
        let doubt = behind.doubt.as_ref();
        let doubt = doubt.map(|d| (d.first_sent, d.presentations));
        assert_eq!(doubt, Some((WallTime(0), 1)));
        assert_eq!(behind.doubts_before, 10);
        // However often: its token set is the one that it had then.
        assert_eq!(behind.renamed_from, Some(3));
        assert_eq!(accepted(&behind, 12, &[], true).renamed_from, Some(3));
        let alone = accepted(&state, 0, &[], false);
        assert_eq!((alone.generation, alone.doubt), (4, None));
        let late = Kept {
            base_generation: 11,
            at: WallTime(0),
            refused: true,
            by_flight: true,
            binding: None,
        };
        let since = Kept {
            base_generation: 13,
            ..late.clone()
        };
        let kept = std::slice::from_ref(&late);
        assert_eq!(accepted(&state, 9, kept, true).generation, 13);
        let refused = accepted(&state, 9, kept, true);
        let (old, new) = (Fingerprint([2; 16]), Fingerprint([3; 16]));
        let second = refused
            .trying(old, &late)
            .doubt
            .expect("it may have been used");
        assert_eq!((second.first_sent, second.presents), (WallTime(0), old));
        assert!(second.relic);
        assert_eq!(refused.trying(new, &since).doubt, None);
        let pending = accepted(&GrantState::default(), 0, &[], true);
        assert_eq!(pending, GrantState::default());
    }
}
