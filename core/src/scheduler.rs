//! What is under way for which grant, and what may be next. State in, decisions
//! out: the shell tells what happened and performs what comes back, in the
//! daemon as in the simulation, so that neither has rules of its own.
//!
//! - [`Scheduler::poll`]: what takes off now, or when to look again
//! - [`Scheduler::wish`]: what somebody wishes, and why it is declined
//! - [`Scheduler::landed`], [`Scheduler::overdue`]: what a flight's end does to limits and queue
//! - [`Scheduler::seat`], [`Scheduler::changed`], [`Scheduler::resume`]: what the configuration does

mod config;
mod lacking;
mod landing;
mod requests;

use crate::grant::notice::look_again;
use crate::grant::schedule::{Denied, Plan, RETRY_BASE, Urgency, gap, plan, wish};
use crate::grant::{Grant, GrantId, GrantState, Policy};
use crate::incident::lacks_token_at;
use crate::limits::{
    Asking, Blocked, Caps, Effect, Full, Limits, RECALLED, Route, Scope, Taken, Trouble,
};
use crate::mutation::{self, Mutation};
use crate::queue::Queue;
use crate::time::WallTime;
use lacking::Lacking;
use std::borrow::Cow;
use std::time::Duration;

pub use landing::{Landed, Landing};
pub use requests::{Declined, Granted};

/// No wait is longer: machines sleep, and clocks are set.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// For so long an exchange is read on before its grant is asked again, where that can do
/// harm and its host answers nobody.
const READ_ALONE: Duration = Duration::from_secs(90);

/// Where a grant stands by the configuration.
pub trait Post {
    /// Its schedule.
    fn policy(&self) -> &Policy;
    /// Where it is asked, and as whose.
    fn route(&self) -> Route;
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
    /// Nobody wishes it: a refusal may not have been meant, or a client may not be accepted any
    /// more. Brakes hold it.
    pub probe: bool,
}

impl Wished {
    /// Whether it passes brakes: an operator's does.
    fn passes(&self) -> bool {
        self.urgency.is_forced() && !self.probe
    }

    /// Whether what was to be replaced has been.
    fn is_fulfilled(&self, state: &GrantState) -> bool {
        let stale = self
            .generation
            .is_some_and(|wished| wished < state.generation);
        stale && !mutation::is(Mutation::StaleWishGranted)
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
    /// A brake under which it failed is over: its own back-off counts no longer.
    freed: bool,
}

impl<S: Post> Entry<S> {
    /// Its state as the schedule sees it: of a grant that was freed no more than the least
    /// time between two tries is left of its own back-off, and what its provider asked for.
    fn state(&self) -> Cow<'_, GrantState> {
        let state = &self.grant.state;
        let excused = self.freed && state.not_before.is_some();
        if !excused {
            return Cow::Borrowed(state);
        }
        let tried = state
            .last_outcome
            .as_ref()
            .map(|last| last.at + gap(state.lifetime()));
        Cow::Owned(GrantState {
            not_before: state.not_before.min(tried.max(state.asked_until)),
            ..state.clone()
        })
    }
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
    /// So many exchanges are read on that this overdue one is not any more: whatever it
    /// still brings is not waited for. Its end is to be told all the same.
    GiveUp {
        /// The grant.
        index: u32,
        /// The flight's number.
        flight: u64,
    },
    /// Nothing until then; `None`: until something happens.
    Wait(Option<WallTime>),
}

/// Why nothing is sent for a grant whose schedule is not what holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nothing is sent at all: see [`Scheduler::fenced`].
    Fenced,
    /// The store takes no commits.
    Unwritable,
    /// The daemon ends.
    Draining,
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
    /// It waited under a brake.
    pub taken: bool,
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
pub struct Scheduler<S> {
    entries: Vec<Entry<S>>,
    queue: Queue,
    limits: Limits,
    /// Why nothing is refreshed at all.
    fenced: Option<String>,
    /// The store takes no commits.
    unwritable: bool,
    draining: bool,
    /// Those who wait for a place without a living token.
    lacking: Lacking,
    /// Flights that have not landed, overdue ones included.
    aloft: usize,
    /// How many have taken off; the number of the last one.
    flights: u64,
}

impl<S: Post> Scheduler<S> {
    /// No grants, nothing under way.
    #[must_use]
    pub fn new(caps: Caps) -> Self {
        Scheduler {
            entries: Vec::new(),
            queue: Queue::default(),
            limits: Limits::new(caps),
            fenced: None,
            unwritable: false,
            draining: false,
            lacking: Lacking::default(),
            aloft: 0,
            flights: RECALLED,
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
            freed: false,
        });
        index
    }

    /// Replaces what is known of a grant by a newer revision.
    #[must_use]
    pub fn put(&mut self, index: u32, grant: Grant) -> Option<Effect> {
        let was_refused = self.entry(index).grant.state.refusal.is_some();
        self.replace(index, grant);
        let entry = &self.entries[index as usize];
        let unrefused = was_refused && entry.grant.state.refusal.is_none();
        let seat = entry.seat.as_ref().filter(|_| unrefused)?;
        self.limits.unrefused(seat.route(), index)
    }

    fn replace(&mut self, index: u32, grant: Grant) {
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
        let entry = self.entry(index);
        let seat = entry.seat.as_ref()?;
        let asking = Asking::of(&entry.grant.state, seat.policy(), now);
        self.braked(seat.route(), &asking, now)
    }

    /// Which brake holds a grant, and until when.
    fn braked(&self, route: Route, asking: &Asking, now: WallTime) -> Option<Hold> {
        let blocked = self.limits.braked(route, asking, false, now)?;
        let (by, until) = match blocked {
            Blocked::Held { by, until } => (by, Some(until)),
            Blocked::Waits { by } => {
                let again = asking
                    .last_moment()
                    .filter(|at| asking.sends < 2 && *at > now);
                (by, again)
            }
            Blocked::Full(_) => return None,
        };
        let (trouble, _, chain_at) = self.limits.brake(by)?;
        Some(Hold::Braked {
            by,
            trouble,
            until: until.or(chain_at),
        })
    }

    /// Whether anything may take off at all.
    fn is_open(&self) -> bool {
        let fenced = self.fenced.is_some() && !mutation::is(Mutation::FenceIgnored);
        !self.draining && !fenced && !self.unwritable
    }

    /// What is to be done now; to be asked until there is nothing. `in_hand`: whether a
    /// late answer of a grant is being settled.
    pub fn poll(&mut self, now: WallTime, in_hand: impl Fn(&GrantId) -> bool) -> Next {
        if !self.is_open() {
            return Next::Wait(None);
        }
        self.queue.release(now);
        self.give_places(now);
        if let Some((flight, index)) = self.limits.give_up(now) {
            self.queue.unpark();
            return Next::GiveUp { index, flight };
        }
        while let Some((index, turn)) = self.next_turn(now, &in_hand) {
            match turn {
                Turn::TakeOff(flight) => return Next::TakeOff(flight),
                Turn::Stay(declined) => return Next::Stay { index, declined },
                Turn::Later => {}
            }
        }
        if let Some(index) = self.lacks_token(now) {
            return Next::Stay {
                index,
                declined: None,
            };
        }
        let due = [
            self.queue.next_due(),
            self.limits.next_at(now),
            self.queue.next_end(),
            self.lacking.next_at(),
        ];
        Next::Wait(due.into_iter().flatten().min())
    }

    /// The next grant that waits for a place and whose owner may have to be told that its
    /// access token is over.
    fn lacks_token(&mut self, now: WallTime) -> Option<u32> {
        for index in self.queue.take_over(now) {
            let state = &self.entries[index as usize].grant.state;
            self.lacking.add(index, state, now);
        }
        while let Some(index) = self.lacking.take(now) {
            if self.queue.is_ready(index) {
                return Some(index);
            }
        }
        None
    }

    /// Slow exchanges give their places to other hosts.
    fn give_places(&mut self, now: WallTime) {
        let hosts = self.limits.give_places(now);
        for host in &hosts {
            self.queue.set_load(*host, self.limits.load(*host));
        }
        if !hosts.is_empty() {
            self.queue.unpark();
        }
    }

    /// Who has its turn: first those who waited under a brake, then who is due.
    fn next_turn(
        &mut self,
        now: WallTime,
        in_hand: impl Fn(&GrantId) -> bool,
    ) -> Option<(u32, Turn)> {
        let entries = &self.entries;
        let host_of = |index: u32| Some(entries[index as usize].seat.as_ref()?.route().host);
        let (index, taken) = match self.limits.take(now, host_of) {
            Some(Taken::Waited { grant, freed, .. }) => {
                self.entry_mut(grant).freed |= freed;
                (grant, true)
            }
            Some(Taken::Refused(grant)) => {
                self.entry_mut(grant).wished = Some(Wished {
                    urgency: Urgency::Force,
                    at: now,
                    generation: None,
                    probe: true,
                });
                (grant, false)
            }
            Some(Taken::Early(grant)) => {
                if !self.ask_early(grant, now) {
                    return Some((grant, Turn::Later));
                }
                (grant, false)
            }
            None => (self.pop(now)?, false),
        };
        Some((index, self.launch(index, now, taken, in_hand)))
    }

    /// Wishes a refresh for a grant before it is due, if it loses nothing by it; whether it does.
    fn ask_early(&mut self, index: u32, now: WallTime) -> bool {
        let entry = self.entry(index);
        let Some(seat) = entry.seat.as_ref().filter(|_| entry.wished.is_none()) else {
            return false;
        };
        let (state, policy) = (&entry.grant.state, seat.policy());
        let asking = Asking::of(state, policy, now);
        let schedule = &policy.schedule;
        let is_free = schedule.min_age.is_none() && schedule.max_per_window.is_none();
        let brake = self.limits.braked(seat.route(), &asking, false, now);
        let asks =
            asking.fresh && asking.harmless && asking.outlasts_loss && is_free && brake.is_none();
        if asks {
            self.entry_mut(index).wished = Some(Wished {
                urgency: Urgency::Wish,
                at: now,
                generation: None,
                probe: true,
            });
        }
        asks
    }

    /// The grant that is ready, and goes next.
    fn pop(&mut self, now: WallTime) -> Option<u32> {
        if self.limits.is_full() {
            return None;
        }
        let limits = &self.limits;
        // How many lanes have grants ready does not change by asking them.
        let lanes = self.queue.lanes_ready();
        self.queue
            .pop(now, |host| limits.host_may_start(host, lanes > 1).is_ok())
    }

    /// A grant has its turn. What was due or wished for when it was queued is
    /// asked anew: much may have happened since. `taken`: it waited under a brake.
    fn launch(
        &mut self,
        index: u32,
        now: WallTime,
        taken: bool,
        in_hand: impl Fn(&GrantId) -> bool,
    ) -> Turn {
        let entry = &mut self.entries[index as usize];
        let Some(seat) = &entry.seat else {
            return Turn::Later;
        };
        let (route, policy) = (seat.route(), seat.policy());
        let wished = entry.wished.take_if(|wished| wished.at <= now);
        let (due, asked, mut asking) = {
            let state = entry.state();
            let due = matches!(plan(&state, policy, now), Plan::At { at, .. } if at <= now);
            let asked = wished.map(|wished| match wished.is_fulfilled(&state) {
                true => Err(Declined::Fulfilled),
                false if wished.probe => present_again(&state, policy, now),
                false => wish(&state, policy, wished.urgency, now).map_err(Declined::Denied),
            });
            (due, asked, Asking::of(&state, policy, now))
        };
        asking.wished = wished.is_some_and(|wished| !wished.probe) && !due;
        let granted = due || matches!(asked, Some(Ok(())));
        let busy = entry.in_flight.is_some() && !mutation::is(Mutation::TwoFlights);
        if busy || !granted {
            if let (Some(wished), Some(Err(denied))) = (wished, asked)
                && wished.probe
            {
                self.put_off(index, route, denied, now);
                self.schedule(index, now);
                return Turn::Later;
            }
            self.schedule(index, now);
            return Turn::Stay(asked.and_then(Result::err));
        }
        let passes = wished.is_some_and(|wished| wished.passes());
        // Overtaken by another, the one that is read on may arrive as a void token: a host
        // that hangs may have both in its queue.
        let last_chance = entry.overdue == 1 && asking.ends_at.is_some();
        let sent = entry.grant.state.last_send.unwrap_or(WallTime(0));
        let read_on = entry.overdue > 0 && now < sent + READ_ALONE;
        let read_on = read_on && self.limits.hangs(route.host);
        let read_on = read_on && !asking.harmless && !last_chance && !passes && !taken;
        if in_hand(&entry.grant.id) || read_on {
            // Its landing schedules anew; the rest is for a store that takes its time.
            entry.wished = wished.or(entry.wished);
            let again = match read_on {
                true => self.told_at(index, now).min(sent + READ_ALONE),
                false => now + RETRY_BASE,
            };
            self.queue.arm(index, again);
            return match read_on {
                true => Turn::Stay(None),
                false => Turn::Later,
            };
        }
        let may = match passes {
            true => self.limits.has_place(route, index, &asking),
            false => self.limits.may_start(route, index, &asking, taken, now),
        };
        match may {
            Err(blocked) => {
                entry.wished = wished.or(entry.wished);
                self.limits.wait(route, index, blocked, &asking, now);
                self.arm_blocked(index, blocked, &asking, now);
                match blocked {
                    Blocked::Full(Full::All | Full::Host | Full::Hanging) => Turn::Later,
                    // It is looked at: its token may have ended meanwhile.
                    _ => Turn::Stay(None),
                }
            }
            Ok(()) => Turn::TakeOff(self.take_off(index, due, wished, &asking, taken, now)),
        }
    }

    /// A refused grant was to be presented again, and its schedule is against it.
    fn put_off(&mut self, index: u32, route: Route, declined: Declined, now: WallTime) {
        let until = match declined {
            Declined::Denied(Denied::NotBefore { at, .. }) => at.max(now + RETRY_BASE),
            _ => now + MAX_WAIT,
        };
        self.limits.put_off(route, index, until);
    }

    /// One that may not go is looked at again when that may change by itself: at its last
    /// moment, at its token's end, or when its owner is to be told something.
    fn arm_blocked(&mut self, index: u32, blocked: Blocked, asking: &Asking, now: WallTime) {
        let overwritten = mutation::is(Mutation::EndTimerOverwritten);
        let at = match blocked {
            // The next exchange to end frees a place.
            Blocked::Full(Full::All | Full::Host | Full::Hanging) => now,
            _ => {
                let moments = [
                    asking.last_moment(),
                    asking.ends_at.filter(|_| !overwritten),
                ];
                let later = moments.into_iter().flatten().filter(|at| *at > now);
                later.min().unwrap_or(WallTime::NEVER)
            }
        };
        let told = match overwritten {
            true => WallTime::NEVER,
            false => self.told_at(index, now),
        };
        self.queue.arm(index, at.min(told));
    }

    /// When a grant's owner is to be told something.
    fn told_at(&self, index: u32, now: WallTime) -> WallTime {
        let entry = self.entry(index);
        let Some(seat) = &entry.seat else {
            return WallTime::NEVER;
        };
        let state = &entry.grant.state;
        let told = look_again(state, seat.policy(), now).unwrap_or(WallTime::NEVER);
        let ends_at = Some(state.expires_at).filter(|_| state.generation > 0);
        let lacks = [ends_at, lacks_token_at(state)].into_iter().flatten();
        let lacks = lacks.filter(|at| *at > now).min();
        told.min(lacks.unwrap_or(WallTime::NEVER))
    }

    fn take_off(
        &mut self,
        index: u32,
        due: bool,
        wished: Option<Wished>,
        asking: &Asking,
        taken: bool,
        now: WallTime,
    ) -> TakeOff {
        self.lacking.remove(index);
        self.flights += 1;
        self.aloft += 1;
        let flight = self.flights;
        let entry = &mut self.entries[index as usize];
        entry.in_flight = Some(flight);
        let route = entry
            .seat
            .as_ref()
            .expect("who takes off has a seat")
            .route();
        self.limits
            .started(flight, route, index, asking, taken, now);
        self.queue
            .set_load(route.host, self.limits.load(route.host));
        TakeOff {
            index,
            flight,
            due,
            wished,
            taken,
        }
    }

    /// Arms a grant for when it is due or wished for, or its owner is to be told
    /// of an end. A flight's landing schedules anew, so nothing is missed meanwhile.
    pub fn schedule(&mut self, index: u32, now: WallTime) {
        let entry = &self.entries[index as usize];
        let Some(seat) = &entry.seat else {
            return self.queue.remove(index);
        };
        let (route, state) = (seat.route(), entry.state());
        let due = match plan(&state, seat.policy(), now) {
            Plan::At { at, .. } if entry.in_flight.is_none() => at,
            _ => WallTime::NEVER,
        };
        let wished = entry.wished.map_or(WallTime::NEVER, |wished| wished.at);
        let (expires_at, told) = (state.expires_at, self.told_at(index, now));
        self.limits.leave_line(index);
        self.queue.insert(index, route.host, expires_at);
        self.queue.arm(index, due.min(wished).min(told));
    }
}

/// Whether a refused grant may be presented once more now, by all but its refusal.
fn present_again(state: &GrantState, policy: &Policy, now: WallTime) -> Result<(), Declined> {
    let state = GrantState {
        refusal: None,
        ..state.clone()
    };
    wish(&state, policy, Urgency::Wish, now).map_err(Declined::Denied)
}

#[cfg(test)]
mod tests;
