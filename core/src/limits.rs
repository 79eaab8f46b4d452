//! What may start now: caps on concurrency, a breaker for each lane (one lane an
//! endpoint), and pauses of clients. An exchange asks [`Limits::may_start`],
//! then reports [`Limits::started`] and [`Limits::ended`]; what else must happen
//! comes back as [`Effect`]s. Grants, lanes and clients go by small numbers, as
//! in the [queue](crate::queue).

pub mod backoff;
mod client;
mod effect;
mod lane;

use crate::grant::GrantState;
use crate::grant::schedule::{Policy, refresh_token_over};
use crate::grant::settle;
use crate::mischief::{self, Mischief};
use crate::time::WallTime;
use client::Client;
use lane::Lane;
use std::time::Duration;

pub use client::{CLIENT_PROBE_EVERY, REFUSED_AT_LEAST, REFUSED_WINDOW, UNREFUSED_PROBE_EVERY};
pub use effect::{Blocked, Effect, Why};
pub use lane::{PROBE_BASE, PROBE_CAP, THROTTLE_WINDOW, TRIP};

/// How many exchanges may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// In all; at least one.
    pub flights: u32,
    /// In each lane; `None`: as many as in all.
    pub lane: Option<u32>,
}

/// What an exchange came to, as far as limits go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeKind {
    /// A new token set.
    Success,
    /// Nothing was sent: no connection, no TLS.
    NotSent,
    /// No answer, or one that tells nothing (any gateway's 5xx).
    Lost,
    /// An answer that could not be read. The next would be no better.
    Unread,
    /// Too many requests.
    AskedToWait {
        /// For how long.
        retry_after: Option<Duration>,
    },
    /// The refresh token is void.
    InvalidGrant,
    /// The refresh token is void, as was to be expected of it: that says nothing
    /// about the other grants.
    ExpectedRefusal,
    /// The client is not accepted.
    InvalidClient,
    /// The access token is too young.
    TooEarly,
    /// Another error in the provider's own format.
    Refused,
}

impl OutcomeKind {
    /// What a settled exchange was, for the grant as it is after it. A refusal
    /// that says nothing about the provider's health is an expected one: the
    /// client asks anew, or the refresh token had outlived its life.
    #[must_use]
    pub fn of(
        kind: settle::OutcomeKind,
        state: &GrantState,
        policy: &Policy,
        now: WallTime,
    ) -> Self {
        match kind {
            settle::OutcomeKind::Success => OutcomeKind::Success,
            settle::OutcomeKind::NotSent => OutcomeKind::NotSent,
            settle::OutcomeKind::AskedToWait => OutcomeKind::AskedToWait {
                retry_after: state.not_before.map(|at| at.since(now)),
            },
            settle::OutcomeKind::InDoubt | settle::OutcomeKind::Unanswered => OutcomeKind::Lost,
            settle::OutcomeKind::Unread => OutcomeKind::Unread,
            settle::OutcomeKind::InvalidGrant if is_expected(state, policy) => {
                OutcomeKind::ExpectedRefusal
            }
            settle::OutcomeKind::InvalidGrant => OutcomeKind::InvalidGrant,
            // The client was accepted, and other grants' persons have nothing to do with it.
            settle::OutcomeKind::InteractionRequired => OutcomeKind::ExpectedRefusal,
            settle::OutcomeKind::InvalidClient => OutcomeKind::InvalidClient,
            settle::OutcomeKind::TooEarly => OutcomeKind::TooEarly,
            settle::OutcomeKind::Unavailable | settle::OutcomeKind::Refused => OutcomeKind::Refused,
        }
    }
}

/// Whether a refusal of the grant's refresh token was to be expected.
#[must_use]
pub fn is_expected(state: &GrantState, policy: &Policy) -> bool {
    let sent = state.last_send.unwrap_or(WallTime(0));
    policy.asks_anew() || refresh_token_over(state, policy, sent).is_some()
}

impl Why {
    /// Whether it is a matter of places alone, which nobody's force makes more of.
    #[must_use]
    pub fn is_full(self) -> bool {
        matches!(self, Why::Full | Why::LaneFull)
    }
}

/// All limits of one daemon.
#[derive(Debug)]
pub struct Limits {
    caps: Caps,
    flights: u32,
    lanes: Vec<Lane>,
    clients: Vec<Client>,
}

impl Limits {
    /// Nothing is under way and nothing is known.
    #[must_use]
    pub fn new(caps: Caps) -> Self {
        Limits {
            caps,
            flights: 0,
            lanes: Vec::new(),
            clients: Vec::new(),
        }
    }

    /// Changes the caps; what is under way above them ends by itself.
    pub fn set_caps(&mut self, caps: Caps) {
        self.caps = caps;
    }

    /// A grant joins a lane and a client. Shares of a client's grants are
    /// reckoned from this.
    pub fn enter(&mut self, lane: u32, client: u32) {
        self.lane_mut(lane).grants += 1;
        self.client_mut(client).grants += 1;
    }

    /// A grant leaves them.
    #[must_use]
    pub fn leave(&mut self, lane: u32, client: u32, grant: u32, now: WallTime) -> Vec<Effect> {
        self.lane_mut(lane).leave(grant);
        let mut effects = Vec::new();
        self.client_mut(client)
            .leave(client, grant, now, &mut effects);
        effects
    }

    /// Whether anything may start in the lane: the filter for
    /// [`Queue::pop`](crate::queue::Queue::pop).
    ///
    /// # Errors
    /// What stands in the way.
    pub fn lane_may_start(&self, lane: u32, now: WallTime) -> Result<(), Blocked> {
        let full = self.flights >= self.caps.flights.max(1);
        if full && !mischief::is(Mischief::CapIgnored) {
            return Err(Blocked {
                until: None,
                why: Why::Full,
            });
        }
        let lane = self.lanes.get(lane as usize);
        lane.map_or(Ok(()), |lane| lane.check(self.lane_cap(), now))
    }

    /// Whether this exchange may start.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn may_start(
        &self,
        lane: u32,
        client: u32,
        grant: u32,
        now: WallTime,
    ) -> Result<(), Blocked> {
        self.lane_may_start(lane, now)?;
        let client = self.clients.get(client as usize);
        client.map_or(Ok(()), |client| client.check(grant, now))
    }

    /// What but a want of places holds an exchange up: the client first, which only
    /// its operator mends.
    #[must_use]
    pub fn held_up(&self, lane: u32, client: u32, grant: u32, now: WallTime) -> Option<Blocked> {
        let client = self.clients.get(client as usize);
        let client = client.and_then(|client| client.check(grant, now).err());
        let lane = self.lanes.get(lane as usize);
        let lane = lane.and_then(|lane| lane.check(u32::MAX, now).err());
        client.or(lane).filter(|blocked| !blocked.why.is_full())
    }

    /// Whether the lane's next exchange is a probe, for which a grant is to be
    /// preferred that a lost answer cannot hurt.
    #[must_use]
    pub fn probe_preference(&self, lane: u32) -> bool {
        let lane = self.lanes.get(lane as usize);
        lane.is_some_and(Lane::is_open)
    }

    /// An exchange that was let through by [`Limits::may_start`] has started.
    pub fn started(&mut self, lane: u32, client: u32, grant: u32) {
        self.flights += 1;
        self.lane_mut(lane).started(grant);
        self.client_mut(client).started(grant);
    }

    /// It has ended, or has given back its place because its answer is long in
    /// coming (then as [`OutcomeKind::Lost`]). `roll` is a random number.
    #[must_use]
    pub fn ended(
        &mut self,
        lane: u32,
        client: u32,
        grant: u32,
        kind: OutcomeKind,
        now: WallTime,
        roll: u64,
    ) -> Vec<Effect> {
        debug_assert!(self.flights > 0, "an exchange ends that did not start");
        self.flights = self.flights.saturating_sub(1);
        self.lane_mut(lane).give_back();
        self.observed(lane, client, grant, kind, now, roll)
    }

    /// A probe of the refused is held in doubt: its grant's turn goes to the next.
    #[must_use]
    pub fn held(&mut self, client: u32, grant: u32, now: WallTime) -> Option<Effect> {
        self.client_mut(client).held(client, grant, now)
    }

    /// It has ended before anything was sent, or its outcome says nothing any
    /// more: it gives back its place and is no probe.
    pub fn abandoned(&mut self, lane: u32, client: u32, grant: u32) {
        debug_assert!(self.flights > 0, "an exchange ends that did not start");
        self.flights = self.flights.saturating_sub(1);
        let lane = self.lane_mut(lane);
        lane.give_back();
        lane.abandoned(grant);
        self.client_mut(client).abandoned(grant);
    }

    /// An answer came after its exchange had given back its place.
    #[must_use]
    pub fn observed(
        &mut self,
        lane: u32,
        client: u32,
        grant: u32,
        kind: OutcomeKind,
        now: WallTime,
        roll: u64,
    ) -> Vec<Effect> {
        let cap = self.lane_cap();
        let mut effects = Vec::new();
        let end = lane::End {
            grant,
            kind,
            now,
            roll,
        };
        effects.extend(self.lane_mut(lane).observe(lane, &end, cap));
        let state = self.client_mut(client);
        state.observe(client, grant, kind, now, &mut effects);
        effects
    }

    /// Pauses a client but for a probe every [`CLIENT_PROBE_EVERY`].
    #[must_use]
    pub fn pause(&mut self, client: u32, reason: &str, now: WallTime) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.client_mut(client)
            .pause(client, reason, now, &mut effects);
        effects
    }

    /// Whether the client is accepted for others of its grants, and not for this one.
    #[must_use]
    pub fn is_own_trouble(&self, client: u32, grant: u32) -> bool {
        let client = self.clients.get(client as usize);
        client.is_some_and(|client| client.is_own_trouble(grant))
    }

    /// Ends a client's pauses, whatever their reason.
    #[must_use]
    pub fn resume(&mut self, client: u32) -> Vec<Effect> {
        let effect = self.client_mut(client).resume(client);
        effect.into_iter().collect()
    }

    /// A clock that was set back by so much has been accepted: nothing waits any
    /// longer for that.
    pub fn bring_back(&mut self, by: Duration) {
        if mischief::is(Mischief::LimitsNotBroughtBack) {
            return;
        }
        self.lanes.iter_mut().for_each(|lane| lane.bring_back(by));
        let clients = self.clients.iter_mut();
        clients.for_each(|client| client.bring_back(by));
    }

    /// How many exchanges are under way.
    #[must_use]
    pub fn flights(&self) -> u32 {
        self.flights
    }

    fn lane_cap(&self) -> u32 {
        self.caps.lane.unwrap_or(self.caps.flights).max(1)
    }

    fn lane_mut(&mut self, lane: u32) -> &mut Lane {
        at(&mut self.lanes, lane)
    }

    fn client_mut(&mut self, client: u32) -> &mut Client {
        at(&mut self.clients, client)
    }
}

fn at<T: Default>(all: &mut Vec<T>, index: u32) -> &mut T {
    let index = index as usize;
    if all.len() <= index {
        all.resize_with(index + 1, T::default);
    }
    &mut all[index]
}

#[cfg(test)]
mod tests;
