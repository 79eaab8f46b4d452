//! What the configuration and a person do to queue and limits.

use super::{Entry, Post, Scheduler, TakeOff};
use crate::grant::{Grant, GrantState};
use crate::limits::{Asking, Effect};
use crate::time::WallTime;
use std::time::Duration;

impl<S: Post> Scheduler<S> {
    /// Whether a grant can be brought in line with the configuration now. One in
    /// flight waits: the limits must see it land in the lane that it took off from.
    pub fn may_align(&mut self, index: u32) -> bool {
        let entry = self.entry_mut(index);
        entry.recheck |= entry.in_flight.is_some();
        entry.in_flight.is_none()
    }

    /// A grant is gone from the store: nothing takes off for it any more. Its index
    /// stays, empty. None of its flights may be aloft.
    #[must_use]
    pub fn remove(&mut self, index: u32, now: WallTime) -> Vec<Effect> {
        debug_assert!(!self.is_aloft(index), "its answer would have no grant");
        let effects = self.seat(index, None, now);
        self.schedule(index, now);
        let entry = self.entry_mut(index);
        entry.wished = None;
        entry.removed = true;
        effects
    }

    /// Moves a grant from one lane and client to another, as far as limits go.
    #[must_use]
    pub fn seat(&mut self, index: u32, seat: Option<S>, now: WallTime) -> Vec<Effect> {
        let new = seat.as_ref().map(Post::route);
        let entry = self.entry_mut(index);
        let old = entry.seat.as_ref().map(Post::route);
        entry.seat = seat;
        if old == new {
            return Vec::new();
        }
        let left = old.map(|route| self.limits.leave(route, index));
        let mut effects = left.unwrap_or_default();
        if let Some(route) = new {
            self.limits.enter(route);
            effects.extend(self.recall_success(index, route));
            effects.extend(self.recall_refusal(index, now));
            effects.extend(self.recall_failure(index, now));
        }
        effects
    }

    /// Somebody else committed a grant: what was wished for, and what the limits
    /// held against its old authorization, is over. It is to be aligned then.
    #[must_use]
    pub fn changed(&mut self, index: u32, grant: Grant, now: WallTime) -> Vec<Effect> {
        let mut effects: Vec<Effect> = self.put(index, grant).into_iter().collect();
        let entry = self.entry_mut(index);
        entry.wished = None;
        entry.freed = false;
        if entry.in_flight.is_none() {
            effects.extend(self.seat(index, None, now));
        }
        effects
    }

    /// The flight that reads an answer once more by the description of now, where
    /// one is kept that could not be read.
    pub fn read_again(&mut self, index: u32, now: WallTime) -> Option<TakeOff> {
        let entry = self.entry(index);
        let unread = entry.grant.state.doubt.as_ref().is_some_and(|d| d.unread);
        let reads = unread && entry.seat.is_some() && entry.in_flight.is_none();
        reads.then(|| self.take_off(index, false, None, &Asking::nothing(), true, now))
    }

    /// The secrets of these clients may have been changed, which may mend why they were not
    /// accepted: what their brakes hold is tried at once, and who was not accepted is asked again.
    pub fn secrets_changed(&mut self, of: impl Fn(u32) -> bool, now: WallTime) {
        for index in self.limits.secrets_changed(of, now) {
            self.entry_mut(index).freed = true;
            self.schedule(index, now);
        }
    }

    /// A clock is accepted that was set back by so much: waits and wishes move along.
    /// The states to commit; all grants are [scheduled](Scheduler::schedule) anew then.
    #[must_use]
    pub fn bring_back(&mut self, by: Duration) -> Vec<(u32, GrantState)> {
        self.limits.bring_back(by);
        for wished in self.entries.iter_mut().filter_map(|e| e.wished.as_mut()) {
            wished.at = wished.at - by;
        }
        let back = |(index, entry): (u32, &Entry<S>)| {
            let state = entry.grant.state.brought_back(by);
            (!entry.removed && state != entry.grant.state).then_some((index, state))
        };
        (0..).zip(&self.entries).filter_map(back).collect()
    }
}
