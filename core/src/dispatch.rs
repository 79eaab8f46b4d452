//! What is under way for which grant, and what may be next. State in, decisions
//! out: the shell tells what happened and performs what comes back, in the
//! daemon as in the simulation, so that neither has rules of its own.
//!
//! - [`Dispatch::poll`]: what takes off now, or when to look again
//! - [`Dispatch::wish`]: what somebody wishes, and why it is declined
//! - [`Dispatch::landed`], [`Dispatch::overdue`]: what a flight's end does to limits and queue
//! - [`Dispatch::seat`], [`Dispatch::changed`], [`Dispatch::resume`]: what the configuration does

mod landing;
mod seats;
mod wishes;

use crate::grant::notice::look_again;
use crate::grant::schedule::{Plan, Policy, RETRY_BASE, Urgency, plan, wish};
use crate::grant::{Grant, GrantId, GrantState};
use crate::limits::{self, Caps, Limits};
use crate::mischief::{self, Mischief};
use crate::queue::Queue;
use crate::time::WallTime;
use std::collections::BTreeSet;
use std::time::Duration;

pub use landing::{Landed, Landing};
pub use wishes::{Declined, Granted};

/// No wait is longer: machines sleep, and clocks are set.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// Where a grant stands by the configuration.
pub trait Post {
    /// Its schedule.
    fn policy(&self) -> &Policy;
    /// The number of its endpoint, in queue and limits.
    fn lane(&self) -> u32;
    /// The number of its client, in the limits.
    fn client(&self) -> u32;
}

/// A flight that somebody wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wished {
    /// How much.
    pub urgency: Urgency,
    /// From when on.
    pub at: WallTime,
    /// Which generation is to be replaced; `None`: whatever there is.
    pub generation: Option<u64>,
}

impl Wished {
    /// Whether what was to be replaced has been.
    fn is_fulfilled(&self, state: &GrantState) -> bool {
        let stale = self
            .generation
            .is_some_and(|wished| wished < state.generation);
        stale && !mischief::is(Mischief::StaleWishGranted)
    }
}

/// A grant and what is going on with it.
#[derive(Debug)]
pub struct Entry<S> {
    /// As last committed.
    pub grant: Grant,
    /// `None`: retired, or its client is not configured.
    pub seat: Option<S>,
    /// The flight that is under way and not overdue. Overdue ones may land besides.
    pub in_flight: Option<u64>,
    /// Somebody wishes the next flight.
    pub wished: Option<Wished>,
    /// Somebody waits for the next landing.
    pub awaited: bool,
    /// How many flights in a row could not begin.
    pub grounded: u32,
    /// Its operator took it away: its index is not given to another.
    pub removed: bool,
    /// Flights that have given back their places and may still land.
    overdue: u32,
    /// The configuration changed during a flight; look again when it lands.
    recheck: bool,
    /// Its refusal meant nothing, and stands until a commit takes it back.
    rearmed: bool,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This flight takes off.
    TakeOff(TakeOff),
    /// A grant had its turn and does not take off; it is armed anew.
    Stay {
        /// Which.
        index: u32,
        /// Why the wish for it comes to nothing.
        declined: Option<Declined>,
    },
    /// Nothing until then; `None`: until something happens.
    Wait(Option<WallTime>),
}

/// Why nothing is sent for a grant whose schedule is not what holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nothing is sent at all: see [`Dispatch::fenced`].
    Fenced,
    /// The store takes no commits.
    Unwritable,
    /// The daemon ends.
    Draining,
    /// Its client is paused, or many grants of it were refused, but for one probe at a
    /// time; the next one not before this.
    Client(Option<WallTime>),
    /// Its endpoint fails: one probe at a time, the next one not before this.
    Endpoint(Option<WallTime>),
    /// Its endpoint asked to wait until then.
    Asked(WallTime),
}

/// A flight that takes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakeOff {
    /// The grant.
    pub index: u32,
    /// The flight's number.
    pub flight: u64,
    /// It was due by itself.
    pub due: bool,
    /// The wish that it fulfils.
    pub wished: Option<Wished>,
}

impl TakeOff {
    /// Whether it is an operator's wish, or a probe, that passes what only automatic sends obey.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        self.wished.is_some_and(|wished| wished.urgency.is_forced())
    }
}

/// What becomes of a grant's turn.
enum Turn {
    TakeOff(TakeOff),
    Stay(Option<Declined>),
    /// Something stands in the way; it is armed for when that ends.
    Later,
}

/// All grants, by small index, with queue and limits.
#[derive(Debug)]
pub struct Dispatch<S> {
    entries: Vec<Entry<S>>,
    queue: Queue,
    limits: Limits,
    /// Why nothing is refreshed at all.
    fenced: Option<String>,
    /// The store takes no commits.
    unwritable: bool,
    draining: bool,
    /// Flights that have not landed, overdue ones included.
    aloft: usize,
    /// How many have taken off; the number of the last one.
    flights: u64,
    /// Clients that wait for their operator or their provider.
    paused_clients: BTreeSet<u32>,
}

impl<S: Post> Dispatch<S> {
    /// No grants, nothing under way.
    #[must_use]
    pub fn new(caps: Caps) -> Self {
        Dispatch {
            entries: Vec::new(),
            queue: Queue::default(),
            limits: Limits::new(caps),
            fenced: None,
            unwritable: false,
            draining: false,
            aloft: 0,
            flights: 0,
            paused_clients: BTreeSet::new(),
        }
    }

    /// Takes a grant in, without a seat; its index.
    ///
    /// # Panics
    /// When there are more than four thousand million.
    pub fn add(&mut self, grant: Grant) -> u32 {
        let index =
            u32::try_from(self.entries.len()).expect("fewer than four thousand million grants");
        self.entries.push(Entry {
            grant,
            seat: None,
            in_flight: None,
            wished: None,
            awaited: false,
            grounded: 0,
            removed: false,
            overdue: 0,
            recheck: false,
            rearmed: false,
        });
        index
    }

    /// Replaces what is known of a grant by a newer revision.
    pub fn put(&mut self, index: u32, grant: Grant) {
        let entry = self.entry_mut(index);
        if entry.removed {
            return;
        }
        if entry.grant.id != grant.id || entry.grant.revision <= grant.revision {
            entry.grant = grant;
        }
    }

    /// The entry of an index.
    #[must_use]
    pub fn entry(&self, index: u32) -> &Entry<S> {
        &self.entries[index as usize]
    }

    fn entry_mut(&mut self, index: u32) -> &mut Entry<S> {
        &mut self.entries[index as usize]
    }

    /// Whether an exchange of the grant may still bring an answer.
    #[must_use]
    pub fn is_aloft(&self, index: u32) -> bool {
        let entry = self.entry(index);
        entry.in_flight.is_some() || entry.overdue > 0
    }

    /// All entries, by index; those of removed grants too.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry<S>> {
        self.entries.iter()
    }

    /// The indices of all grants that there are.
    pub fn indices(&self) -> impl Iterator<Item = u32> + use<S> {
        let there = |(index, entry): (u32, &Entry<S>)| (!entry.removed).then_some(index);
        let there: Vec<u32> = (0..).zip(&self.entries).filter_map(there).collect();
        there.into_iter()
    }

    /// How many flights have not landed, overdue ones included.
    #[must_use]
    pub fn aloft(&self) -> usize {
        self.aloft
    }

    /// Why nothing is refreshed at all.
    #[must_use]
    pub fn fenced(&self) -> Option<&str> {
        self.fenced.as_deref()
    }

    /// Refreshes nothing for this reason; `None`: the fence is lifted.
    pub fn set_fenced(&mut self, why: Option<String>) {
        self.fenced = why;
    }

    /// Whether the store takes no commits.
    #[must_use]
    pub fn is_unwritable(&self) -> bool {
        self.unwritable
    }

    /// A refresh that could not be saved is not started.
    pub fn set_unwritable(&mut self, unwritable: bool) {
        self.unwritable = unwritable;
    }

    /// Nothing takes off any more.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Other caps; what is under way above them ends by itself.
    pub fn set_caps(&mut self, caps: Caps) {
        self.limits.set_caps(caps);
    }

    /// The queue, to be looked at.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The limits, to be looked at.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The clients that wait for their operator or their provider.
    pub fn paused_clients(&self) -> impl Iterator<Item = u32> {
        self.paused_clients.iter().copied()
    }

    /// What keeps a grant waiting beyond its own schedule, for `status`. That all
    /// places are taken is no reason: the next one to land frees one.
    #[must_use]
    pub fn hold(&self, index: u32, now: WallTime) -> Option<Hold> {
        if self.fenced.is_some() {
            return Some(Hold::Fenced);
        }
        if self.unwritable {
            return Some(Hold::Unwritable);
        }
        if self.draining {
            return Some(Hold::Draining);
        }
        let seat = self.entry(index).seat.as_ref()?;
        let (lane, client) = (seat.lane(), seat.client());
        let blocked = self.limits.held_up(lane, client, index, now)?;
        match (blocked.why, blocked.until) {
            (limits::Why::ClientPaused | limits::Why::Refused, until) => Some(Hold::Client(until)),
            (limits::Why::LanePaused | limits::Why::NotAccepted, Some(until)) => {
                Some(Hold::Asked(until))
            }
            (limits::Why::LaneOpen, until) => Some(Hold::Endpoint(until)),
            _ => None,
        }
    }

    /// Whether the grant's client is accepted for others, and not for it.
    #[must_use]
    pub fn is_own_trouble(&self, index: u32) -> bool {
        let seat = self.entry(index).seat.as_ref();
        seat.is_some_and(|seat| self.limits.is_own_trouble(seat.client(), index))
    }

    /// Whether anything may take off at all.
    fn is_open(&self) -> bool {
        let fenced = self.fenced.is_some() && !mischief::is(Mischief::FenceIgnored);
        !self.draining && !fenced && !self.unwritable
    }

    /// What is to be done now; to be asked until there is nothing. `has_slot`: the
    /// journal can take another flight. `in_hand`: whether a late answer of a grant
    /// is being written down, or settled.
    pub fn poll(
        &mut self,
        now: WallTime,
        has_slot: bool,
        in_hand: impl Fn(&GrantId) -> bool,
    ) -> Next {
        if !self.is_open() {
            return Next::Wait(None);
        }
        self.queue.release(now);
        let mut blocked: Option<WallTime> = None;
        loop {
            let limits = &self.limits;
            let free = |lane| match limits.lane_may_start(lane, now) {
                Ok(()) => true,
                Err(why) => {
                    let until = why.until.unwrap_or(WallTime::NEVER);
                    blocked = Some(blocked.map_or(until, |earlier| earlier.min(until)));
                    false
                }
            };
            let popped = has_slot.then(|| self.queue.pop(now, free)).flatten();
            let Some(index) = popped else { break };
            match self.launch(index, now, &in_hand) {
                Turn::TakeOff(flight) => return Next::TakeOff(flight),
                Turn::Stay(declined) => return Next::Stay { index, declined },
                Turn::Later => {}
            }
        }
        let due = [self.queue.next_due(), blocked].into_iter().flatten().min();
        Next::Wait(due.filter(|due| *due != WallTime::NEVER))
    }

    /// A grant has its turn. What was due or wished for when it was queued is
    /// asked anew: much may have happened since.
    fn launch(&mut self, index: u32, now: WallTime, in_hand: impl Fn(&GrantId) -> bool) -> Turn {
        let entry = &mut self.entries[index as usize];
        let Some(seat) = &entry.seat else {
            return Turn::Later;
        };
        let (state, policy) = (&entry.grant.state, seat.policy());
        let due = matches!(plan(state, policy, now), Plan::At { at, .. } if at <= now);
        let wished = entry.wished.take_if(|wished| wished.at <= now);
        let asked = wished.map(|wished| match wished.is_fulfilled(state) {
            true => Err(Declined::Fulfilled),
            false => wish(state, policy, wished.urgency, now).map_err(Declined::Denied),
        });
        let granted = due || matches!(asked, Some(Ok(())));
        let busy = entry.in_flight.is_some() && !mischief::is(Mischief::TwoFlights);
        let (lane, client) = (seat.lane(), seat.client());
        if busy || !granted {
            if matches!(asked, Some(Err(Declined::Denied(_)))) {
                let next = self.limits.held(client, index, now);
                let _armed = self.absorb(next.into_iter().collect());
            }
            self.schedule(index, now);
            return Turn::Stay(asked.and_then(Result::err));
        }
        if in_hand(&entry.grant.id) {
            // Its landing schedules anew; this is for a store that takes its time.
            entry.wished = wished.or(entry.wished);
            self.queue.arm(index, now + RETRY_BASE);
            return Turn::Later;
        }
        let forced = wished.is_some_and(|wished| wished.urgency.is_forced());
        match self.limits.may_start(lane, client, index, now) {
            Err(blocked) if blocked.why.is_full() || !forced => {
                entry.wished = wished.or(entry.wished);
                // Where all places are taken, the next one to land frees one: the queue sees to that.
                let wait = match blocked.why.is_full() {
                    true => Duration::ZERO,
                    false => MAX_WAIT,
                };
                self.queue.arm(index, blocked.until.unwrap_or(now + wait));
                Turn::Later
            }
            _ => Turn::TakeOff(self.take_off(index, due, wished)),
        }
    }

    fn take_off(&mut self, index: u32, due: bool, wished: Option<Wished>) -> TakeOff {
        self.flights += 1;
        self.aloft += 1;
        let flight = self.flights;
        let entry = &mut self.entries[index as usize];
        entry.in_flight = Some(flight);
        let seat = entry.seat.as_ref().expect("who takes off has a seat");
        self.limits.started(seat.lane(), seat.client(), index);
        TakeOff {
            index,
            flight,
            due,
            wished,
        }
    }

    /// Arms a grant for when it is due or wished for, or its owner is to be told
    /// of an end. A flight's landing schedules anew, so nothing is missed meanwhile.
    pub fn schedule(&mut self, index: u32, now: WallTime) {
        let entry = &self.entries[index as usize];
        let Some(seat) = &entry.seat else {
            return self.queue.remove(index);
        };
        let (state, policy) = (&entry.grant.state, seat.policy());
        let due = match plan(state, policy, now) {
            Plan::At { at, .. } if entry.in_flight.is_none() => at,
            _ => WallTime::NEVER,
        };
        let wished = entry.wished.map_or(WallTime::NEVER, |wished| wished.at);
        let told = look_again(state, policy, now).unwrap_or(WallTime::NEVER);
        self.queue.insert(index, seat.lane(), state.expires_at);
        self.queue.arm(index, due.min(wished).min(told));
    }
}

#[cfg(test)]
mod tests;
