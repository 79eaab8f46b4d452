//! What somebody wishes, and why it is declined.

use super::{Hold, Next, Post, Scheduler, Turn, Wished};
use crate::grant::schedule::{Denied, Urgency, wish};
use crate::grant::{GrantId, GrantState};
use crate::limits::{Asking, Scope, Trouble};
use crate::mutation::{self, Mutation};
use crate::time::WallTime;

/// Why a wish comes to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// A newer generation than the one to be replaced is there already.
    Fulfilled,
    /// Nothing is refreshed: see [`Scheduler::fenced`].
    Fenced,
    /// The store takes no commits.
    Unwritable,
    /// The configuration does not have it any more.
    Retired,
    /// Its schedule is against it.
    Denied(Denied),
    /// A brake is on.
    Braked {
        /// Whose.
        by: Scope,
        /// How exchanges fail.
        trouble: Trouble,
        /// When it is asked at the latest, or when the next one is that waits.
        until: Option<WallTime>,
    },
}

/// What a wish comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// A flight is under way, which does.
    Joins,
    /// It is to be [started](Scheduler::start).
    Starts,
}

impl<S: Post> Scheduler<S> {
    /// Somebody wishes a refresh of `generation`, or of whatever there is, and
    /// waits for it.
    ///
    /// # Errors
    /// Why it comes to nothing.
    pub fn wish(
        &mut self,
        index: u32,
        urgency: Urgency,
        generation: Option<u64>,
        now: WallTime,
    ) -> Result<Granted, Declined> {
        self.ask(index, urgency, generation, now)?;
        let entry = self.entry_mut(index);
        entry.awaited = true;
        if entry.in_flight.is_some() && !mutation::is(Mutation::TwoFlights) {
            return Ok(Granted::Joins);
        }
        entry.wished = Some(Wished {
            urgency,
            at: now,
            generation,
            probe: false,
        });
        Ok(Granted::Starts)
    }

    /// What is to be committed since a consumer says that its access token is dead:
    /// where the last exchange is in doubt and the old one dies at a refresh, that
    /// ends the hold, now or, where the wish was `declined` for the moment, as soon
    /// as may be. The grant is [scheduled](Scheduler::schedule) anew then.
    #[must_use]
    pub fn suspected(
        &self,
        index: u32,
        urgency: Urgency,
        declined: Option<Declined>,
    ) -> Option<GrantState> {
        let entry = self.entry(index);
        let (state, policy) = (&entry.grant.state, entry.seat.as_ref()?.policy());
        let heeded = match declined {
            None => entry.in_flight.is_none(),
            Some(Declined::Denied(Denied::NotBefore { .. }) | Declined::Braked { .. }) => {
                policy.rotation.revokes_old_access
            }
            Some(_) => false,
        };
        let news = heeded
            && urgency == Urgency::Rejected
            && state.doubt.is_some()
            && !state.access_dead
            && !mutation::is(Mutation::RejectionForgotten);
        news.then(|| GrantState {
            access_dead: true,
            ..state.clone()
        })
    }

    fn ask(
        &self,
        index: u32,
        urgency: Urgency,
        generation: Option<u64>,
        now: WallTime,
    ) -> Result<(), Declined> {
        let entry = self.entry(index);
        let state = &entry.grant.state;
        let stale = generation.is_some_and(|generation| generation < state.generation);
        if stale && !mutation::is(Mutation::StaleWishGranted) {
            return Err(Declined::Fulfilled);
        }
        if entry.in_flight.is_some() && !mutation::is(Mutation::TwoFlights) {
            return Ok(());
        }
        if self.fenced.is_some() && !mutation::is(Mutation::FenceIgnored) {
            return Err(Declined::Fenced);
        }
        if self.unwritable {
            return Err(Declined::Unwritable);
        }
        let seat = entry.seat.as_ref().ok_or(Declined::Retired)?;
        wish(state, seat.policy(), urgency, now).map_err(Declined::Denied)?;
        let mut asking = Asking::of(state, seat.policy(), now);
        asking.wished = true;
        match self.braked(seat.route(), &asking, now) {
            Some(Hold::Braked { by, trouble, until }) if !urgency.is_forced() => {
                Err(Declined::Braked { by, trouble, until })
            }
            _ => Ok(()),
        }
    }

    /// Starts what was wished for: at once where it is forced, since the queue
    /// would hold it back with its endpoint; else in its turn.
    pub fn start(&mut self, index: u32, now: WallTime, in_hand: impl Fn(&GrantId) -> bool) -> Next {
        let wished = self.entry(index).wished;
        let forced = wished.is_some_and(|wished| wished.urgency.is_forced());
        if forced && self.is_open() {
            return match self.launch(index, now, false, in_hand) {
                Turn::TakeOff(flight) => Next::TakeOff(flight),
                Turn::Stay(declined) => Next::Stay { index, declined },
                Turn::Later => Next::Wait(None),
            };
        }
        self.queue.arm(index, now);
        Next::Wait(None)
    }

    /// Whether an exchange is under way at which the old access token dies: what
    /// could be handed out would be dead a moment later.
    #[must_use]
    pub fn is_suspect(&self, index: u32) -> bool {
        let entry = self.entry(index);
        let revokes = |seat: &S| seat.policy().rotation.revokes_old_access;
        entry.in_flight.is_some() && entry.seat.as_ref().is_some_and(revokes)
    }

    /// Nobody wishes it any more.
    pub fn withdraw_wish(&mut self, index: u32) {
        self.entry_mut(index).wished = None;
    }

    /// Whoever waited has been answered otherwise.
    pub fn answered(&mut self, index: u32) {
        self.entry_mut(index).awaited = false;
    }

    /// The grants for whose next flight somebody waits, though none begins for now:
    /// they are to be told so. What they wished is withdrawn.
    #[must_use]
    pub fn withdraw_wishes(&mut self) -> Vec<u32> {
        let mut withdrawn = Vec::new();
        for (index, entry) in (0..).zip(&mut self.entries) {
            if entry.awaited && entry.in_flight.is_none() {
                entry.wished = None;
                withdrawn.push(index);
            }
        }
        withdrawn
    }

    /// Whether who waits for a grant waits for nothing: it was retired, paused or
    /// authorized again meanwhile.
    #[must_use]
    pub fn waits_in_vain(&self, index: u32) -> bool {
        let entry = self.entry(index);
        entry.awaited && entry.in_flight.is_none() && entry.wished.is_none()
    }
}
