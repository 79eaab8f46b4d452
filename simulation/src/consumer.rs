//! Those who use the tokens: they find one that is published, or ask for one, and
//! say so when it does not work.

use crate::audit::{Check, ensure};
use crate::server::TokenId;
use crate::world::World;
use refreshd_core::grant::schedule::{Denied, Never, Plan, Urgency, Why, plan};
use refreshd_core::grant::state::Status;
use refreshd_core::mutation::{self, Mutation};
use refreshd_core::scheduler::Declined;
use refreshd_core::time::WallTime;

/// What a reader finds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    pub(crate) generation: u64,
    pub(crate) access: TokenId,
    pub(crate) ends: WallTime,
}

impl World {
    /// The reconciler brings an output up to date. A store that is fenced overwrites
    /// nothing that is newer.
    pub(crate) fn bring_out(&mut self, index: u32) -> Check {
        let row = &self.store.rows[index as usize];
        let found = Published {
            generation: row.grant.state.generation,
            access: TokenId::of(row.tokens.access_token.expose()),
            ends: row.grant.state.expires_at,
        };
        let generation = found.generation;
        let newer =
            self.published[index as usize].is_some_and(|before| before.generation > generation);
        if newer && self.process().scheduler.fenced().is_some() {
            return Ok(());
        }
        let dead = self.published[index as usize]
            .replace(found)
            .map(|p| p.access);
        if dead != Some(found.access)
            && let Some(until) = self.audit.promptly.remove(&index)
        {
            let now = self.now;
            ensure(now <= until, "dead-token-replaced", || {
                format!("grant {index}: {now} is after {until}")
            })?;
        }
        self.audit.publishes(index, generation, generation)
    }

    /// Somebody uses a published token; where it does not work they say so.
    pub(crate) fn consume(&mut self, index: u32) -> Check {
        let Some(now) = self.trusted() else {
            return Ok(());
        };
        self.check_served(index, now)?;
        let Some(found) = self.published[index as usize] else {
            return Ok(());
        };
        if self.server(index).lives(found.access, self.now) || found.ends <= now {
            return Ok(());
        }
        self.report.count("dead tokens met");
        if let Some(until) = self.audit.promptly.get(&index) {
            let (at, until) = (self.now, *until);
            ensure(at <= until, "dead-token-replaced", || {
                format!("grant {index}: {at} is after {until}")
            })?;
        }
        let declined = self.wish(index, Urgency::Rejected, Some(found.generation))?;
        self.check_heeded(index, now, declined)
    }

    /// What `get` gives works, as far as anyone can know.
    fn check_served(&mut self, index: u32, now: WallTime) -> Check {
        let scheduler = &self.process().scheduler;
        let state = scheduler.entry(index).grant.state.clone();
        let waits = scheduler.is_suspect(index) && !mutation::is(Mutation::SuspectServed);
        let sure = scheduler.fenced().is_none() && state.doubt.is_none() && !state.expiry_unknown;
        let told = matches!(state.status(now), Status::Fresh | Status::Retrying);
        if !told || waits || !sure || self.process().is_retired(index) {
            return Ok(());
        }
        let access = TokenId::of(self.store.rows[index as usize].tokens.access_token.expose());
        let server = self.server(index);
        // Its time may be over earlier than was told, or a request may have been late on its way.
        let over = self.now >= server.end_of(access);
        let excused = self.audit.is_excused(access) || over;
        let works = excused || self.server(index).lives(access, self.now);
        ensure(works, "get-serves-living", || {
            format!("{access:?}, {state:?}")
        })
    }

    /// Once a consumer has said that its token is dead, nothing is held back.
    fn check_heeded(&mut self, index: u32, now: WallTime, declined: Option<Declined>) -> Check {
        let never = matches!(
            declined,
            Some(
                Declined::Fenced
                    | Declined::Unwritable
                    | Declined::Retired
                    | Declined::Fulfilled
                    | Declined::Denied(Denied::Never(_))
            )
        );
        if never || self.store.full || self.process.is_none() {
            return Ok(());
        }
        let policy = self.server(index).policy.clone();
        let entry = self.process().scheduler.entry(index);
        let state = &entry.grant.state;
        if entry.in_flight.is_some() || state.doubt.is_none() || policy.asks_anew() {
            return Ok(());
        }
        let planned = plan(state, &policy, now);
        let held = match planned {
            Plan::At { why, .. } => why == Why::Hold,
            Plan::Never(why) => why == Never::NothingToRefresh,
        };
        ensure(!held && state.access_dead, "suspect-is-not-held", || {
            format!("grant {index}: {planned:?}, {declined:?}, {state:?}")
        })
    }
}
