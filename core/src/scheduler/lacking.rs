//! Grants that wait for a place and whose access tokens are over: each is looked at when its
//! token ends, so that its owner is told, and whatever takes up the places.

use crate::grant::GrantState;
use crate::incident::lacks_token_at;
use crate::time::WallTime;
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    /// Who is looked at, and when.
    looks: BTreeSet<(WallTime, u32)>,
    /// Of each that waits, the end that it is looked at for: once is enough.
    ends: BTreeMap<u32, WallTime>,
}

impl Lacking {
    /// A grant is ready, and its access token is over.
    pub(super) fn add(&mut self, index: u32, state: &GrantState, now: WallTime) {
        let end = state.expires_at;
        if self.ends.insert(index, end) == Some(end) {
            return;
        }
        let lacks = lacks_token_at(state).filter(|_| state.failures == 0);
        self.looks.insert((lacks.unwrap_or(now).max(now), index));
    }

    /// It does not wait any more.
    pub(super) fn remove(&mut self, index: u32) {
        self.ends.remove(&index);
    }

    /// The next one that is to be looked at by now.
    pub(super) fn take(&mut self, now: WallTime) -> Option<u32> {
        let (at, index) = *self.looks.first()?;
        (at <= now).then(|| {
            self.looks.pop_first();
            index
        })
    }

    /// When the next one is looked at.
    pub(super) fn next_at(&self) -> Option<WallTime> {
        self.looks.first().map(|(at, _)| *at)
    }
}
