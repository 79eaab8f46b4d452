//! The process, as `src/engine` is: it takes what is due, launches flights, and
//! keeps queue and limits in step. Synchronous, one happening at a time.

use crate::audit::{Check, Violation, ensure};
use crate::flight::Aloft;
use crate::rng::millis;
use crate::setup::{Config, HEALING};
use crate::transactions::Job;
use crate::world::{Happening, Inside, World};
use refreshd_core::grant::outcome::OutcomeKind;
use refreshd_core::grant::schedule::Urgency;
use refreshd_core::grant::{Grant, GrantId, GrantState, Policy, TokenSet, candidate};
use refreshd_core::limits::{Caps, Effect, Route};
use refreshd_core::scheduler::{
    Declined, Granted, Landed, Landing, Next, Post, Scheduler, TakeOff,
};
use refreshd_core::time::{Clock, WallTime};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Where a grant stands.
pub(crate) struct Seat {
    policy: Rc<Policy>,
    lane: u32,
}

impl Post for Seat {
    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn route(&self) -> Route {
        Route {
            host: self.lane,
            client: self.lane,
            template: None,
        }
    }
}

pub(crate) struct Process {
    pub(crate) clock: Clock,
    pub(crate) last_now: WallTime,
    /// The configuration in force.
    pub(crate) config: Config,
    went_back: bool,
    pub(crate) scheduler: Scheduler<Seat>,
    pub(crate) aloft: BTreeMap<u64, Aloft>,
    /// What the store is asked for.
    pub(crate) jobs: Vec<Job>,
    pub(crate) transacting: bool,
    /// A failed intent may stand in the log: nothing begins before another commit.
    pub(crate) begins_in_doubt: bool,
    /// Flights that are over, whose end is not written down yet.
    pub(crate) ending: usize,
    /// When the timer rings next.
    wakes_at: i64,
    launches: u64,
    /// How many late answers of each grant have come.
    arrivals: BTreeMap<u32, u64>,
}

impl Process {
    pub(crate) fn new(clock: Clock, caps: Caps, config: Config, grants: Vec<Grant>) -> Self {
        let mut scheduler = Scheduler::new(caps);
        for grant in grants {
            scheduler.add(grant);
        }
        Process {
            clock,
            last_now: WallTime(i64::MIN),
            config,
            went_back: false,
            scheduler,
            aloft: BTreeMap::new(),
            jobs: Vec::new(),
            transacting: false,
            begins_in_doubt: false,
            ending: 0,
            wakes_at: i64::MAX,
            launches: 0,
            arrivals: BTreeMap::new(),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.aloft.is_empty()
    }

    /// A late answer of a grant has come.
    pub(crate) fn arrives(&mut self, index: u32) {
        *self.arrivals.entry(index).or_default() += 1;
    }

    /// How many have come.
    pub(crate) fn arrived(&self, index: u32) -> u64 {
        self.arrivals.get(&index).copied().unwrap_or(0)
    }

    pub(crate) fn is_retired(&self, index: u32) -> bool {
        self.scheduler.entry(index).seat.is_none()
    }

    /// Takes in what is known of a grant by a newer revision.
    pub(crate) fn put(&mut self, index: u32, grant: Grant) {
        let _told = self.scheduler.put(index, grant);
    }

    /// The clients that are not accepted, as far as is known.
    pub(crate) fn rejected_clients(&self) -> Vec<u32> {
        self.scheduler.limits().rejected_clients().collect()
    }
}

/// Whether a late answer of a grant is being written down, or settled.
fn in_hand(aloft: &BTreeMap<u64, Aloft>, grant: &GrantId) -> bool {
    let index = grant.0.parse().expect("a grant's number");
    aloft.values().any(|aloft| aloft.has_in_hand(index))
}

impl World {
    pub(crate) fn process(&mut self) -> &mut Process {
        self.process
            .as_mut()
            .expect("something happens in a living process")
    }

    /// The time that the process goes by.
    pub(crate) fn trusted(&mut self) -> Option<WallTime> {
        let reading = self.reading();
        let process = self.process.as_mut()?;
        let now = process.clock.observe(reading).wall;
        process.went_back |= now < process.last_now;
        process.last_now = now;
        Some(now)
    }

    pub(crate) fn time(&mut self) -> WallTime {
        self.trusted()
            .expect("something happens in a living process")
    }

    /// The wall clock was set: the timer rings at once.
    pub(crate) fn wake_now(&mut self) {
        if self.process.is_some() {
            self.inside(0, Inside::Wake);
        }
    }

    /// Launches what may start now, and sets the timer.
    pub(crate) fn tick(&mut self) -> Check {
        let Some(now) = self.trusted() else {
            return Ok(());
        };
        let process = self.process();
        ensure(!process.went_back, "time-never-goes-back", || {
            format!("{now:?}")
        })?;
        if process.aloft.is_empty() && process.ending == 0 {
            let left = self.store.intents();
            ensure(left == 0, "ended-is-gone", || {
                format!("{left} intents are there, and no flight is under way")
            })?;
        }
        loop {
            let process = self.process();
            let aloft = &process.aloft;
            match process.scheduler.poll(now, |grant| in_hand(aloft, grant)) {
                Next::TakeOff(flight) => {
                    self.check_order(flight, now)?;
                    self.fly(flight)?;
                }
                Next::Stay { .. } => {}
                Next::GiveUp { flight, .. } => self.give_up(flight),
                Next::Wait(until) => {
                    self.set_timer(now, until);
                    return Ok(());
                }
            }
        }
    }

    fn set_timer(&mut self, now: WallTime, until: Option<WallTime>) {
        let at = self.now;
        let process = self.process();
        let Some(due) = until else {
            return;
        };
        let wait = millis(due.since(now)).max(1);
        if process.wakes_at <= at || process.wakes_at > at + wait {
            process.wakes_at = at + wait;
            self.inside(wait, Inside::Wake);
        }
    }

    /// Of what is ready at a host, the living go first, by expiry; then the expired, by expiry.
    fn check_order(&mut self, flight: TakeOff, now: WallTime) -> Check {
        let (index, lanes) = (flight.index, self.lanes());
        let process = self.process();
        process.launches += 1;
        if flight.taken || flight.wished.is_some() {
            return Ok(());
        }
        if process.scheduler.entries().len() > 100 && !process.launches.is_multiple_of(64) {
            return Ok(());
        }
        let rank = |expires_at: WallTime| (expires_at <= now, expires_at);
        let taken = rank(process.scheduler.entry(index).grant.state.expires_at);
        for other in process.scheduler.indices() {
            let Some(expires_at) = process.scheduler.queue().in_line(other) else {
                continue;
            };
            let sooner = rank(expires_at) < taken && other % lanes == index % lanes;
            ensure(!sooner, "living-first-by-expiry", || {
                format!(
                    "grant {index} before {other}: {taken:?} before {:?}",
                    rank(expires_at)
                )
            })?;
        }
        Ok(())
    }

    /// Somebody wishes a refresh; why it comes to nothing.
    pub(crate) fn wish(
        &mut self,
        index: u32,
        urgency: Urgency,
        generation: Option<u64>,
    ) -> Result<Option<Declined>, Violation> {
        let Some(now) = self.trusted() else {
            return Ok(None);
        };
        let process = self.process();
        let asked = process.scheduler.wish(index, urgency, generation, now);
        let suspected = process
            .scheduler
            .suspected(index, urgency, asked.as_ref().err().copied());
        if let Some(state) = suspected {
            self.report.count("suspected");
            self.commit_state(index, state);
            self.schedule_grant(index);
        }
        if asked == Ok(Granted::Starts) {
            match generation {
                Some(generation) => drop(self.named.insert(index, generation)),
                None => drop(self.named.remove(&index)),
            }
            let process = self.process();
            let aloft = &process.aloft;
            let late = |grant: &GrantId| in_hand(aloft, grant);
            if let Next::TakeOff(flight) = process.scheduler.start(index, now, late) {
                self.fly(flight)?;
            }
        }
        self.wake_now();
        Ok(asked.err())
    }

    /// Commits a state outside of a flight, if the store takes it.
    pub(crate) fn commit_state(&mut self, index: u32, state: GrantState) {
        if self.store.full {
            return self.cannot_write();
        }
        let revision = self.process().scheduler.entry(index).grant.revision;
        self.store.update(index, revision, state);
        let grant = self.store.rows[index as usize].grant.clone();
        self.process().put(index, grant);
    }

    /// A commit has failed: nothing takes off until one works.
    pub(crate) fn cannot_write(&mut self) {
        let process = self.process();
        if !process.scheduler.is_unwritable() {
            process.scheduler.set_unwritable(true);
            self.inside(1000, Inside::Probe);
        }
    }

    /// A flight is over.
    pub(crate) fn landed(&mut self, ticket: u64, index: u32, landing: Landing) -> Check {
        if let Landing::Settled {
            kind: Some(_),
            grant,
        } = &landing
        {
            let stored = &self.store.rows[index as usize].grant;
            let is_durable = grant.revision < stored.revision || **grant == *stored;
            ensure(is_durable, "verdict-is-durable", || {
                format!("{grant:?} against {stored:?}")
            })?;
        }
        let now = self.time();
        let superseded = matches!(landing, Landing::Settled { kind: None, .. });
        let process = self.process();
        let landed = process.scheduler.landed(index, ticket, landing, now);
        let state = &process.scheduler.entry(index).grant.state;
        if candidate::came_late(superseded, state) {
            self.second_chance(index)?;
        }
        self.touched(index, landed)
    }

    /// The doubt is committed; the flight gives back its place and is read on.
    pub(crate) fn overdue(&mut self, number: u64, index: u32, grant: Grant) -> Check {
        let now = self.time();
        let process = self.process();
        let ticket = process.aloft[&number].ticket;
        let landed = process.scheduler.overdue(index, ticket, grant, now);
        self.touched(index, landed)
    }

    /// What follows when a flight has given back its place.
    fn touched(&mut self, index: u32, landed: Landed) -> Check {
        if landed.kind == Some(OutcomeKind::InvalidClient) {
            let lane = self.lane(index);
            self.audit.secret_stands(lane, self.now);
            self.inside(HEALING, Inside::Heal);
        }
        if landed.second_chance {
            self.second_chance(index)?;
        }
        self.publish(index);
        if landed.align {
            self.align(index)?;
        }
        self.apply(landed.effects);
        Ok(())
    }

    pub(crate) fn publish(&mut self, index: u32) {
        let wait = self.rng.millis(1, 20);
        self.inside(wait, Inside::Publish(index));
    }

    /// Arms a grant for when it is due.
    pub(crate) fn schedule_grant(&mut self, index: u32) {
        let now = self.time();
        self.process().scheduler.schedule(index, now);
    }

    pub(crate) fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Braked { proven, .. } => {
                    self.report.count(match proven {
                        true => "brake proven",
                        false => "brake began",
                    });
                }
                Effect::Freed { .. } => self.report.count("brake over"),
                Effect::ManyRefused { .. } => self.report.count("many refused"),
                Effect::FewRefused { .. } => {}
            }
        }
    }

    pub(crate) fn second_chance(&mut self, index: u32) -> Check {
        // What is newest is not known before the restore is accepted.
        let fenced = self.process().scheduler.fenced().is_some();
        if fenced {
            return Ok(());
        }
        if self.store.full {
            self.cannot_write();
            return Ok(());
        }
        let now = self.time();
        if !self.store.take_second_chance(index, now) {
            return Ok(());
        }
        self.report.count("second chances");
        let grant = self.store.rows[index as usize].grant.clone();
        self.audit.afresh(index, grant.state.last_send);
        self.process().put(index, grant);
        self.align(index)?;
        self.schedule_grant(index);
        Ok(())
    }

    /// The process may have ended between a refusal and its second chance.
    pub(crate) fn recall_second_chances(&mut self) -> Check {
        for index in 0..self.size.grants {
            let state = &self.store.rows[index as usize].grant.state;
            if state.refusal.is_some() {
                self.second_chance(index)?;
            }
        }
        Ok(())
    }

    /// What a new process does before the first tick.
    pub(crate) fn load(&mut self) -> Check {
        self.note_descriptions();
        for index in 0..self.size.grants {
            self.align(index)?;
        }
        self.recall_second_chances()?;
        for index in 0..self.size.grants {
            self.publish(index);
        }
        Ok(())
    }

    /// Which forms of answers are read, as a configuration begins or ends to be in force.
    /// While the store takes no commits, nothing is read again.
    pub(crate) fn note_descriptions(&mut self) {
        let Some(process) = self.process.as_ref().filter(|_| !self.store.full) else {
            return;
        };
        for index in 0..self.size.grants {
            let form = process.config.clients[self.lane(index) as usize].form;
            let busy = process.aloft.values().any(|it| it.keeps_busy(index));
            if !process.config.retired.contains(&index) && !busy {
                self.audit.is_described(index, form, self.now);
            }
        }
    }

    /// A new configuration.
    pub(crate) fn reload(&mut self) -> Check {
        if self.process.is_none() {
            return Ok(());
        }
        self.note_descriptions();
        self.process().config = self.config.clone();
        self.note_descriptions();
        let now = self.time();
        self.process().scheduler.secrets_changed(|_| true, now);
        for index in 0..self.size.grants {
            self.align(index)?;
        }
        self.wake_now();
        Ok(())
    }

    /// A grant is taken out of the configuration, or brought back into it.
    pub(crate) fn retire(&mut self, index: u32) -> Check {
        if !self.config.retired.remove(&index) {
            self.config.retired.insert(index);
        }
        self.reload()
    }

    /// Brings a grant in line with the configuration.
    pub(crate) fn align(&mut self, index: u32) -> Check {
        let now = self.time();
        if !self.process().scheduler.may_align(index) {
            return Ok(());
        }
        self.align_state(index);
        let lane = self.lane(index);
        let policy = Rc::clone(&self.server(index).policy);
        let retired = self.process().config.retired.contains(&index);
        let seat = (!retired).then_some(Seat { policy, lane });
        let effects = self.process().scheduler.seat(index, seat, now);
        self.apply(effects);
        self.schedule_grant(index);
        match self.process().scheduler.read_again(index, now) {
            Some(flight) => self.read_again(flight),
            None => Ok(()),
        }
    }

    /// A person authorizes again and imports the result.
    pub(crate) fn reauthorize(&mut self, index: u32) -> Check {
        if self.store.full {
            return Ok(());
        }
        self.report.count("authorized again");
        let (state, tokens) = self.authorize(index);
        self.bring(index, state, &tokens, true)?;
        Ok(())
    }

    /// A token set is imported; `meant`: by somebody who insists.
    pub(crate) fn bring(
        &mut self,
        index: u32,
        state: GrantState,
        tokens: &TokenSet,
        meant: bool,
    ) -> Check {
        if self.process.is_none() {
            self.look_at_fence();
        }
        let now = self.wall();
        match self.store.import(index, state, tokens, meant, now) {
            true => self.taken_in(index, tokens),
            false => Ok(()),
        }
    }

    fn taken_in(&mut self, index: u32, tokens: &TokenSet) -> Check {
        self.audit.durable(tokens);
        let grant = self.store.rows[index as usize].grant.clone();
        self.audit.brought(index, grant.state.generation)?;
        self.audit.counts_anew(index);
        self.audit.afresh(index, None);
        let Some(now) = self.trusted() else {
            return Ok(());
        };
        let effects = self.process().scheduler.changed(index, grant, now);
        self.apply(effects);
        self.align(index)?;
        self.publish(index);
        self.wake_now();
        Ok(())
    }

    /// A later start, since the disk or the store is not ready.
    pub(crate) fn start_later(&mut self) {
        let wait = self.rng.millis(500, 10_000);
        self.schedule(wait, Happening::Start);
    }
}
