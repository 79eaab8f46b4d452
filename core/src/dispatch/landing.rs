//! What the end of a flight does to limits, queue, and whoever waits.

use super::{Dispatch, Entry, Post, Wished};
use crate::grant::schedule::{RETRY_BASE, RETRY_CAP, Urgency};
use crate::grant::settle::OutcomeKind;
use crate::grant::{Grant, GrantState};
use crate::limits::{self, Effect};
use crate::time::WallTime;
use std::time::Duration;

/// Refusals older than this say nothing about the provider's health today.
const REFUSALS_RECALLED: Duration = Duration::from_secs(86_400);

/// How a flight ended.
#[derive(Clone, Debug)]
pub enum Landing {
    /// There was nothing to do after all.
    Idle,
    /// It could not begin: nothing was spent.
    Grounded,
    /// It was committed.
    Settled {
        /// What it came to; `None`: another authorization came first.
        kind: Option<OutcomeKind>,
        /// The grant after it.
        grant: Box<Grant>,
    },
}

/// What follows from a landing. The grant is armed anew already.
#[derive(Debug)]
#[must_use]
pub struct Landed {
    /// What it came to.
    pub kind: Option<OutcomeKind>,
    /// It still had its place: whoever waits is answered. An overdue flight has
    /// given it back, and answered them then.
    pub counted: bool,
    /// The refresh token was refused: what a late answer brought is tried, and the
    /// grant [scheduled](Dispatch::schedule) anew.
    pub second_chance: bool,
    /// How many flights in a row could not begin before this one could not.
    pub grounded: Option<u32>,
    /// The grant is to be brought in line with the configuration.
    pub align: bool,
    /// What the limits ask for besides.
    pub effects: Vec<Effect>,
}

impl<S: Post> Dispatch<S> {
    /// A flight is over. `roll` is a random number.
    pub fn landed(
        &mut self,
        index: u32,
        flight: u64,
        landing: Landing,
        now: WallTime,
        roll: u64,
    ) -> Landed {
        self.aloft -= 1;
        // Another may be under way by now.
        let counted = self.entry(index).in_flight == Some(flight);
        let (kind, grounded) = match landing {
            Landing::Idle => (None, false),
            Landing::Grounded => (None, true),
            Landing::Settled { kind, grant } => {
                let bound = self.entry(index).grant.state.binding.clone();
                self.put(index, *grant);
                let entry = self.entry_mut(index);
                entry.grounded = 0;
                // What came is bound to whom it was asked of: they may have been left since.
                entry.recheck |= entry.grant.state.binding != bound;
                // Another verdict than the one that meant nothing.
                entry.rearmed &= kind != Some(OutcomeKind::InvalidGrant);
                (kind, false)
            }
        };
        let effects = self.settle_limits(index, kind, counted, now, roll);
        let entry = self.entry_mut(index);
        if counted {
            entry.in_flight = None;
            entry.awaited = false;
        } else {
            entry.overdue = entry.overdue.saturating_sub(1);
            // What came late is bound to where the grant was when it was asked for.
            entry.recheck = true;
        }
        let grounded = grounded.then(|| self.ground(index, now));
        if grounded.is_none() {
            self.schedule(index, now);
        }
        Landed {
            kind,
            counted,
            second_chance: kind == Some(OutcomeKind::InvalidGrant),
            grounded,
            align: std::mem::take(&mut self.entry_mut(index).recheck),
            effects: self.absorb(effects),
        }
    }

    /// A flight's doubt is committed and its answer still waited for: it gives
    /// back its place.
    pub fn overdue(
        &mut self,
        index: u32,
        flight: u64,
        grant: Grant,
        now: WallTime,
        roll: u64,
    ) -> Landed {
        debug_assert_eq!(self.entry(index).in_flight, Some(flight));
        self.put(index, grant);
        let last = self.entry(index).grant.state.last_outcome.as_ref();
        let at_stake = last.is_none_or(|last| last.kind != OutcomeKind::Unanswered.word());
        let kind = Some(match at_stake {
            true => OutcomeKind::InDoubt,
            false => OutcomeKind::Unanswered,
        });
        let effects = self.settle_limits(index, kind, true, now, roll);
        let entry = self.entry_mut(index);
        entry.in_flight = None;
        entry.overdue += 1;
        entry.awaited = false;
        self.schedule(index, now);
        Landed {
            kind,
            counted: true,
            second_chance: false,
            grounded: None,
            align: std::mem::take(&mut self.entry_mut(index).recheck),
            effects: self.absorb(effects),
        }
    }

    /// Tells the limits what a flight came to. `counted`: it still has its place.
    fn settle_limits(
        &mut self,
        index: u32,
        kind: Option<OutcomeKind>,
        counted: bool,
        now: WallTime,
        roll: u64,
    ) -> Vec<Effect> {
        let entry = &self.entries[index as usize];
        let Some(seat) = &entry.seat else {
            return Vec::new();
        };
        let (lane, client) = (seat.lane(), seat.client());
        let (state, policy) = (&entry.grant.state, seat.policy());
        let kind = kind.map(|kind| limits::OutcomeKind::of(kind, state, policy, now));
        let limits = &mut self.limits;
        match (kind, counted) {
            (Some(kind), true) => limits.ended(lane, client, index, kind, now, roll),
            // The doubt was told when it became overdue.
            (Some(limits::OutcomeKind::Lost), false) | (None, false) => Vec::new(),
            (Some(kind), false) => limits.observed(lane, client, index, kind, now, roll),
            (None, true) => {
                limits.abandoned(lane, client, index);
                // A probe that could not begin gives its turn to the next.
                limits.held(client, index, now).into_iter().collect()
            }
        }
    }

    /// A flight that could not begin is tried again later; how many could not before it.
    fn ground(&mut self, index: u32, now: WallTime) -> u32 {
        let entry = self.entry_mut(index);
        let before = entry.grounded;
        let wait = (RETRY_BASE * 10).saturating_mul(1 << before.min(8));
        entry.grounded += 1;
        self.queue.arm(index, now + wait.min(RETRY_CAP));
        before
    }

    /// Does what the limits ask for, as far as nobody has to be told and nothing
    /// committed; the rest is the shell's.
    pub(super) fn absorb(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let mut rest = effects;
        rest.retain(|effect| match effect {
            // A refused refresh token is presented once more; a hold in doubt still holds.
            Effect::Probe { grant, at, .. } => {
                self.entry_mut(*grant).wished = Some(Wished {
                    urgency: Urgency::Force,
                    at: *at,
                    generation: None,
                });
                self.queue.arm(*grant, *at);
                false
            }
            Effect::ClientPaused { client, .. } => {
                self.paused_clients.insert(*client);
                true
            }
            Effect::ClientResumed { client, rearm } => {
                self.paused_clients.remove(client);
                for index in rearm {
                    let entry = self.entry_mut(*index);
                    // A probe that is still to come has nothing left to find out.
                    entry.wished.take_if(|_| !entry.awaited);
                    entry.rearmed = true;
                }
                true
            }
            Effect::RefusalsStand { client, .. } => {
                self.paused_clients.remove(client);
                true
            }
            _ => true,
        });
        rest
    }

    /// The provider was broken, not the grants: their refusals meant nothing. The
    /// states to commit, until that has worked; each grant is
    /// [scheduled](Dispatch::schedule) anew then. To be asked after
    /// [`Effect::ClientResumed`], and once the store can be written again.
    #[must_use]
    pub fn rearmed(&mut self) -> Vec<(u32, GrantState)> {
        let forget = |(index, entry): (u32, &mut Entry<S>)| {
            let state = &entry.grant.state;
            let stands = entry.rearmed && state.refusal.is_some();
            entry.rearmed = stands;
            let state = stands.then(|| GrantState {
                refusal: None,
                ..state.clone()
            });
            Some((index, state?))
        };
        (0..).zip(&mut self.entries).filter_map(forget).collect()
    }

    /// The limits remember nothing over a restart: they are told of the refusals
    /// of the last day, so that a provider that is still broken is seen as such.
    #[must_use]
    pub fn recall_refusals(&mut self, now: WallTime) -> Vec<Effect> {
        let recent = |(index, entry): (u32, &Entry<S>)| {
            let (state, seat) = (&entry.grant.state, entry.seat.as_ref()?);
            let at = state.refusal.as_ref().filter(|r| !r.interaction)?.at;
            let counts = at + REFUSALS_RECALLED > now && !limits::is_expected(state, seat.policy());
            counts.then_some((at, index))
        };
        let mut refused: Vec<_> = (0..).zip(&self.entries).filter_map(recent).collect();
        refused.sort_unstable();
        let mut effects = Vec::new();
        for (at, index) in refused {
            let Some(seat) = &self.entry(index).seat else {
                continue;
            };
            let (lane, client) = (seat.lane(), seat.client());
            let kind = limits::OutcomeKind::InvalidGrant;
            let asked = self.limits.observed(lane, client, index, kind, at, 0);
            effects.extend(self.absorb(asked));
        }
        effects
    }
}
