//! What the configuration and a person do to queue and limits.

use super::{Dispatch, Entry, Post, TakeOff};
use crate::grant::{Grant, GrantState};
use crate::limits::Effect;
use crate::time::WallTime;
use std::time::Duration;

impl<S: Post> Dispatch<S> {
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
        let numbers = |seat: &S| (seat.lane(), seat.client());
        let new = seat.as_ref().map(numbers);
        let entry = self.entry_mut(index);
        let old = entry.seat.as_ref().map(numbers);
        entry.seat = seat;
        if old == new {
            return Vec::new();
        }
        if let Some((lane, client)) = new {
            self.limits.enter(lane, client);
        }
        let left = old.map(|(lane, client)| self.limits.leave(lane, client, index, now));
        self.absorb(left.unwrap_or_default())
    }

    /// Somebody else committed a grant: what was wished for, and what the limits
    /// held against its old authorization, is over. It is to be aligned then.
    #[must_use]
    pub fn changed(&mut self, index: u32, grant: Grant, now: WallTime) -> Vec<Effect> {
        self.put(index, grant);
        let entry = self.entry_mut(index);
        entry.wished = None;
        match entry.in_flight {
            Some(_) => Vec::new(),
            None => self.seat(index, None, now),
        }
    }

    /// The flight that reads an answer once more by the description of now, where
    /// one is kept that could not be read.
    pub fn read_again(&mut self, index: u32) -> Option<TakeOff> {
        let entry = self.entry(index);
        let unread = entry.grant.state.doubt.as_ref().is_some_and(|d| d.unread);
        let reads = unread && entry.seat.is_some() && entry.in_flight.is_none();
        reads.then(|| self.take_off(index, false, None))
    }

    /// Ends a client's pauses: a changed secret may have mended what paused it.
    #[must_use]
    pub fn resume(&mut self, client: u32) -> Vec<Effect> {
        let effects = self.limits.resume(client);
        self.absorb(effects)
    }

    /// A clock is accepted that was set back by so much: waits and wishes move along.
    /// The states to commit; all grants are [scheduled](Dispatch::schedule) anew then.
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
