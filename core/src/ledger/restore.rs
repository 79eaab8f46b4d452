//! Going on from a store that was put back to an earlier state, once a person has accepted
//! it.

use super::fallback::may_be_tried;
use super::{Candidate, Changes, Entry, Event, Facts};
use crate::fence;
use crate::grant::Grant;
use crate::grant::candidate::{Kept, newer};
use crate::secret::Fingerprinter;
use crate::time::WallTime;

/// What is known of the time that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The highest generation of the grant that was published.
    pub published: u64,
    /// Its refresh token may have been rotated since.
    pub may_be_rotated: bool,
    /// Now.
    pub at: WallTime,
}

/// The generation goes above every one that was published or is kept, a refresh token that
/// an exchange brought since takes the place of the store's own, and what may have been
/// rotated is in doubt.
#[must_use]
pub fn accept(
    entry: &Entry,
    facts: &Facts,
    restored: Restored,
    fingerprinter: &Fingerprinter,
) -> Changes {
    let (grant, at) = (&entry.grant, restored.at);
    let (mut state, mut tokens) = (grant.state.clone(), entry.tokens.clone());
    let (mut changes, mut text) = (Changes::default(), "");
    let newest = newest(entry);
    if let Some((current, newest)) = tokens.as_mut().zip(newest)
        && let Some(token) = newest.refresh_token_beside(current)
    {
        // The one in the backup has been exchanged for it: it is void.
        changes.keep.push(Candidate {
            refused: true,
            ..Candidate::replaced(grant, current, facts.fresh, at)
        });
        changes.forget.push(newest.flight);
        state = state.trying(fingerprinter.of(token), &newest.kept());
        current.refresh_token = Some(token.clone());
        text = ", with a newer refresh token that was found beside it";
    }
    let left = entry.candidates.iter();
    let left = left.filter(|candidate| !changes.forget.contains(&candidate.flight));
    let kept: Vec<Kept> = (left.chain(&changes.keep)).map(Candidate::kept).collect();
    state = fence::accepted(&state, restored.published, &kept, restored.may_be_rotated);
    let event = Event {
        at,
        kind: "restored".to_owned(),
        text: format!(
            "the store was put back; generations go on from {}{text}",
            state.generation
        ),
    };
    Changes {
        grant: Some(Grant {
            revision: grant.revision + 1,
            state,
            ..grant.clone()
        }),
        // Sealed anew: the generation is part of what is authenticated.
        tokens,
        event: Some((event, None)),
        ..changes
    }
}

/// The newest of what exchanges brought that the store knows nothing of.
fn newest(entry: &Entry) -> Option<&Candidate> {
    let candidates = entry.candidates.iter();
    let triable: Vec<&Candidate> = candidates.filter(|c| may_be_tried(c)).collect();
    let kept: Vec<Kept> = triable.iter().map(|candidate| candidate.kept()).collect();
    newer(&kept, &entry.grant.state).map(|newest| triable[newest])
}
