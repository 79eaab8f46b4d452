//! What the end of a flight does to limits, queue, and whoever waits.

use super::{Post, Scheduler};
use crate::backoff::Backoff;
use crate::grant::Grant;
use crate::grant::outcome::OutcomeKind;
use crate::grant::schedule::{RETRY_CAP, gap};
use crate::limits::{Asking, Effect, Route, Sign, Trouble};
use crate::provider::description::Reuse;
use crate::time::WallTime;

/// Where an exchange could not begin.
const GROUNDED: Backoff = Backoff::new(std::time::Duration::from_secs(10), RETRY_CAP);

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
    /// grant [scheduled](Scheduler::schedule) anew.
    pub second_chance: bool,
    /// How many flights in a row could not begin before this one could not.
    pub grounded: Option<u32>,
    /// The grant is to be brought in line with the configuration.
    pub align: bool,
    /// What the limits ask for besides.
    pub effects: Vec<Effect>,
}

impl<S: Post> Scheduler<S> {
    /// A flight is over.
    pub fn landed(&mut self, index: u32, flight: u64, landing: Landing, now: WallTime) -> Landed {
        self.aloft -= 1;
        // Another may be under way by now.
        let counted = self.entry(index).in_flight == Some(flight);
        let (kind, grounded) = match landing {
            Landing::Idle => (None, false),
            Landing::Grounded => (None, true),
            Landing::Settled { kind, grant } => {
                let bound = self.entry(index).grant.state.binding.clone();
                self.replace(index, *grant);
                let entry = self.entry_mut(index);
                entry.grounded = 0;
                // What came is bound to whom it was asked of: they may have been left since.
                entry.recheck |= entry.grant.state.binding != bound;
                entry.freed = false;
                (kind, false)
            }
        };
        let effects = self.settle_limits(index, flight, kind, counted, now);
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
            effects,
        }
    }

    /// A flight's doubt is committed and its answer still waited for: it gives
    /// back its place.
    pub fn overdue(&mut self, index: u32, flight: u64, grant: Grant, now: WallTime) -> Landed {
        debug_assert_eq!(self.entry(index).in_flight, Some(flight));
        self.replace(index, grant);
        let last = self.entry(index).grant.state.last_outcome.as_ref();
        let at_stake = last.is_none_or(|last| last.kind != OutcomeKind::Unanswered.word());
        let kind = Some(match at_stake {
            true => OutcomeKind::InDoubt,
            false => OutcomeKind::Unanswered,
        });
        let route = self.limits.route_of(flight);
        let effects = self.limits.overdue(flight, &self.asking(index, now), now);
        self.place_freed(route);
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
            effects,
        }
    }

    /// Tells the limits what a flight came to. `counted`: it still had its place.
    fn settle_limits(
        &mut self,
        index: u32,
        flight: u64,
        kind: Option<OutcomeKind>,
        counted: bool,
        now: WallTime,
    ) -> Vec<Effect> {
        let asking = self.asking(index, now);
        let state = &self.entry(index).grant.state;
        let sign = kind.map(|kind| Sign::of(kind, state));
        // The doubt was told when it became overdue.
        let known = |sign: &Sign| {
            let lossy = Trouble::Lossy;
            !counted && matches!(sign, Sign::Failed { trouble, .. } if *trouble == lossy)
        };
        let sign = sign.filter(|sign| !known(sign));
        let route = self.limits.route_of(flight);
        let (mut effects, freed) = self.limits.ended(flight, sign, &asking, now);
        if let Some(next) = freed {
            self.queue.arm(next, now);
        }
        self.place_freed(route);
        match kind {
            Some(OutcomeKind::InvalidGrant) => effects.extend(self.refused(index, flight, now)),
            Some(OutcomeKind::Success) => {}
            _ => self.put_off_refused(index, now),
        }
        effects
    }

    /// The grant as the limits see it.
    pub(super) fn asking(&self, index: u32, now: WallTime) -> Asking {
        let entry = self.entry(index);
        let seat = entry.seat.as_ref();
        seat.map_or_else(Asking::nothing, |seat| {
            Asking::of(&entry.grant.state, seat.policy(), now)
        })
    }

    /// A refusal may not have been meant: the token is presented once more when another
    /// grant of the client has shown that the provider works, and where reuse revokes
    /// not before the access token's last moment.
    fn refused(&mut self, index: u32, flight: u64, now: WallTime) -> Option<Effect> {
        let entry = self.entry(index);
        let seat = entry.seat.as_ref()?;
        let (route, policy) = (seat.route(), seat.policy());
        let state = &entry.grant.state;
        let refusal = state.refusal.as_ref().filter(|_| !policy.asks_anew())?;
        let spaced = state.last_send.unwrap_or(refusal.at) + gap(state.lifetime());
        let last = match policy.rotation.reuse {
            Reuse::Revokes => Asking::of(state, policy, now).last_moment(),
            Reuse::Error => None,
        };
        let again = refusal
            .provisional
            .then_some(last.unwrap_or(spaced).max(spaced));
        let at = refusal.at;
        self.limits.refused(route, index, flight, again, at)
    }

    /// The limits remember nothing over a restart, and nothing of a grant that had no seat.
    pub(super) fn recall_refusal(&mut self, index: u32, now: WallTime) -> Option<Effect> {
        self.entry(index).grant.state.refusal.as_ref()?;
        self.refused(index, 0, now)
    }

    pub(super) fn recall_success(&mut self, index: u32, route: Route) -> Vec<Effect> {
        let state = &self.entry(index).grant.state;
        match state.generation {
            0 => Vec::new(),
            _ => self.limits.recall_success(route, index, state.issued_at),
        }
    }

    /// The limits remember nothing over a restart: where many fail, they do not all ask at
    /// once when it starts again.
    pub(super) fn recall_failure(&mut self, index: u32, now: WallTime) -> Vec<Effect> {
        let entry = self.entry(index);
        let Some(seat) = &entry.seat else {
            return Vec::new();
        };
        let (state, route) = (&entry.grant.state, seat.route());
        let last = state.last_outcome.as_ref().filter(|_| state.failures > 0);
        let asking = Asking::of(state, seat.policy(), now);
        // What it was refused for: the exchange in doubt had been carried out, and its answer lost.
        let lost = state.doubt.as_ref().filter(|_| state.refusal.is_some());
        if let Some(doubt) = lost {
            let sign = Sign::Failed {
                trouble: Trouble::Lossy,
                overloaded: false,
                told: None,
            };
            let at = doubt.last_sent;
            let effects = self.limits.recall(route, index, sign, &asking, at, now);
            self.limits.leave_brakes(route, index);
            return effects;
        }
        let sign = last.and_then(|last| {
            let sign = Sign::of(OutcomeKind::of_word(&last.kind)?, state);
            Some((sign, state.last_send.unwrap_or(last.at)))
        });
        match sign {
            Some((sign @ Sign::Failed { .. }, at)) => {
                self.limits.recall(route, index, sign, &asking, at, now)
            }
            _ => Vec::new(),
        }
    }

    /// It was to be presented once more, and nothing was sent.
    fn put_off_refused(&mut self, index: u32, now: WallTime) {
        let entry = self.entry(index);
        if let Some(seat) = &entry.seat {
            let route = seat.route();
            self.limits.put_off(route, index, now + RETRY_CAP);
        }
    }

    /// A flight that could not begin is tried again later; how many could not before it.
    fn ground(&mut self, index: u32, now: WallTime) -> u32 {
        let entry = self.entry_mut(index);
        let before = entry.grounded;
        entry.grounded += 1;
        self.queue.arm(index, now + GROUNDED.wait(before));
        before
    }

    /// The exchange, or its end, has given a place back.
    fn place_freed(&mut self, route: Option<Route>) {
        if let Some(route) = route {
            self.queue
                .set_load(route.host, self.limits.load(route.host));
            self.queue.unpark();
        }
    }
}
