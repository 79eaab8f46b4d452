//! Refusals that may not have been meant. A refresh token that was neither in doubt nor
//! past its life is presented once more, after another grant of its client and host has
//! succeeded in an exchange that began later; where no other one can, after an hour.

use crate::mutation::{self, Mutation};
use crate::time::WallTime;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Where no other grant can show that the provider works.
pub const ALONE_AFTER: Duration = Duration::from_secs(3600);

/// The refused grants of a client at a host.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// Those whose refusal is provisional.
    provisional: BTreeMap<u32, Provisional>,
    /// Those whose refusal stands.
    standing: BTreeSet<u32>,
    /// Others that failed when they were last asked: they vouch for nobody.
    failing: BTreeSet<u32>,
    /// Those that are presented once more, from then on, one at a time.
    vouched: BTreeSet<(WallTime, u32)>,
    /// Those that are presented again.
    asking: BTreeSet<u32>,
    budget: usize,
    /// When the next one is presented if there is no other grant that works.
    alone_at: Option<WallTime>,
}

#[derive(Clone, Copy, Debug)]
struct Provisional {
    /// The exchange that brought the refusal.
    flight: u64,
    /// It is not presented before.
    not_before: WallTime,
}

impl Refused {
    pub(super) fn is_idle(&self) -> bool {
        self.provisional.is_empty()
            && self.standing.is_empty()
            && self.vouched.is_empty()
            && self.asking.is_empty()
    }

    /// A grant was refused; `again`: not to be presented once more before that.
    /// `None`: the refusal stands.
    pub(super) fn refused(
        &mut self,
        grant: u32,
        flight: u64,
        again: Option<WallTime>,
        now: WallTime,
    ) {
        let second = self.asking.contains(&grant);
        self.leave(grant);
        if second {
            self.budget = 1;
        }
        match again.filter(|_| !second || mutation::is(Mutation::RefusedRetriedForEver)) {
            Some(not_before) => {
                // The hour counts from the first of those that wait for it.
                let alone_at = self.alone_at.filter(|_| !self.provisional.is_empty());
                self.alone_at = alone_at.or(Some(now + ALONE_AFTER));
                self.provisional
                    .insert(grant, Provisional { flight, not_before });
            }
            None => {
                self.standing.insert(grant);
            }
        }
    }

    /// An exchange failed, of a grant that may be none of the refused.
    pub(super) fn failed(&mut self, grant: u32) {
        let is_refused = self.provisional.contains_key(&grant)
            || self.standing.contains(&grant)
            || self.asking.contains(&grant)
            || self.vouched.iter().any(|(_, vouched)| *vouched == grant);
        if !is_refused {
            self.failing.insert(grant);
        }
    }

    /// A grant succeeded in that exchange: what was refused before it is presented once more.
    pub(super) fn succeeded(&mut self, grant: u32, flight: u64) {
        self.budget = match self.asking.contains(&grant) {
            true => self.budget.saturating_add(1),
            false => self.budget.max(1),
        };
        self.leave(grant);
        let vouched = |(_, refused): &(&u32, &Provisional)| refused.flight < flight;
        let vouched: Vec<u32> = (self.provisional.iter().filter(vouched))
            .map(|(grant, _)| *grant)
            .collect();
        for grant in vouched {
            self.vouch(grant);
        }
    }

    fn vouch(&mut self, grant: u32) {
        if let Some(refused) = self.provisional.remove(&grant) {
            self.vouched.insert((refused.not_before, grant));
        }
    }

    /// A grant is refused no longer, or gone.
    pub(super) fn leave(&mut self, grant: u32) {
        self.provisional.remove(&grant);
        self.standing.remove(&grant);
        self.failing.remove(&grant);
        self.vouched.retain(|(_, vouched)| *vouched != grant);
        self.asking.remove(&grant);
    }

    /// It was to be presented again, and could not be: another time.
    pub(super) fn put_off(&mut self, grant: u32, until: WallTime) {
        if self.asking.remove(&grant) {
            self.vouched.insert((until, grant));
        }
    }

    /// The next one that is presented again; `of`: how many grants the client has there.
    pub(super) fn take(&mut self, of: usize, now: WallTime) -> Option<u32> {
        if self.alone_at.is_some_and(|at| at <= now) {
            self.alone_at = Some(now + ALONE_AFTER).filter(|_| self.provisional.len() > 1);
            let refused = self.provisional.len() + self.standing.len() + self.failing.len();
            let alone = refused + self.vouched.len() + self.asking.len() >= of;
            if let Some(grant) = self.provisional.keys().next().copied().filter(|_| alone) {
                self.vouch(grant);
                self.budget = self.budget.max(1);
            } else if !self.provisional.is_empty() {
                self.alone_at = Some(now + ALONE_AFTER);
            }
        }
        let (at, grant) = *self.vouched.first()?;
        if self.asking.len() >= self.budget || at > now {
            return None;
        }
        self.vouched.pop_first();
        self.asking.insert(grant);
        Some(grant)
    }

    /// When [`Refused::take`] has something to do.
    pub(super) fn next_at(&self) -> Option<WallTime> {
        let free = self.asking.len() < self.budget;
        let vouched = self.vouched.first().filter(|_| free).map(|(at, _)| *at);
        let alone = self.alone_at.filter(|_| !self.provisional.is_empty());
        vouched.into_iter().chain(alone).min()
    }

    pub(super) fn bring_back(&mut self, by: Duration) {
        self.alone_at = self.alone_at.map(|at| at - by);
        for refused in self.provisional.values_mut() {
            refused.not_before = refused.not_before - by;
        }
        self.vouched = (self.vouched.iter())
            .map(|(at, grant)| (*at - by, *grant))
            .collect();
    }
}

/// So many grants of a client, refused within [`WITHIN`], are many.
pub const MANY: usize = 5;
/// They must have been refused within this.
const WITHIN: Duration = Duration::from_secs(600);

/// The refused grants of a client, for the one notice of many.
#[derive(Debug, Default)]
pub(super) struct ManyRefused {
    pub(super) grants: BTreeMap<u32, WallTime>,
    told: bool,
}

impl ManyRefused {
    /// How many were refused within a short time, if that is news.
    pub(super) fn add(&mut self, grant: u32, at: WallTime) -> Option<usize> {
        self.grants.entry(grant).or_insert(at);
        let recent = self
            .grants
            .values()
            .filter(|refused| **refused + WITHIN > at);
        let count = recent.count();
        let news = count >= MANY && !self.told;
        self.told |= news;
        news.then_some(count)
    }

    /// One is refused no longer; whether few are left of many that were told of.
    pub(super) fn remove(&mut self, grant: u32) -> bool {
        self.grants.remove(&grant);
        self.grants.len() < MANY && std::mem::take(&mut self.told)
    }
}
