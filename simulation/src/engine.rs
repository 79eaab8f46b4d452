//! The process, as `src/engine` is: it takes what is due, launches flights, and
//! keeps queue and limits in step. Synchronous, one happening at a time.

use crate::audit::{Check, ensure};
use crate::disk::SimDisk;
use crate::flight::Aloft;
use crate::rng::millis;
use crate::world::{Happening, Inside, World};
use refreshd::state::journal::{Book, Record};
use refreshd_core::flight::Verdict;
use refreshd_core::grant::schedule::{Plan, RETRY_BASE, RETRY_CAP, Urgency, plan, wish};
use refreshd_core::grant::settle::OutcomeKind;
use refreshd_core::grant::{Grant, GrantState};
use refreshd_core::limits::{self, Effect, Limits};
use refreshd_core::mischief::{self, Mischief};
use refreshd_core::queue::Queue;
use refreshd_core::time::{Clock, WallTime};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) struct Entry {
    pub(crate) grant: Grant,
    pub(crate) in_flight: Option<u64>,
    wished: Option<Urgency>,
    grounded: u32,
    retired: bool,
    /// Taken out of, or brought back into, the configuration during a flight.
    recheck: Option<bool>,
    /// When it is due, and its expiry, as the queue knows them.
    armed: WallTime,
    queued_expiry: WallTime,
}

pub(crate) struct Process {
    pub(crate) clock: Clock,
    last_now: WallTime,
    went_back: bool,
    queue: Queue,
    limits: Limits,
    pub(crate) entries: Vec<Entry>,
    pub(crate) aloft: BTreeMap<u64, Aloft>,
    pub(crate) book: Book<SimDisk>,
    pub(crate) records: Vec<(u64, Record)>,
    pub(crate) syncing: bool,
    pub(crate) unwritable: bool,
    /// When the timer rings next.
    wakes_at: i64,
    slots: usize,
    launches: u64,
    /// How many late answers of each grant have come.
    arrivals: BTreeMap<u32, u64>,
}

impl Process {
    pub(crate) fn new(
        clock: Clock,
        limits: Limits,
        book: Book<SimDisk>,
        grants: Vec<Grant>,
        slots: u16,
    ) -> Self {
        let entry = |grant: Grant| Entry {
            grant,
            in_flight: None,
            wished: None,
            grounded: 0,
            retired: false,
            recheck: None,
            armed: WallTime::NEVER,
            queued_expiry: WallTime::NEVER,
        };
        Process {
            clock,
            last_now: WallTime(i64::MIN),
            went_back: false,
            queue: Queue::new(),
            limits,
            entries: grants.into_iter().map(entry).collect(),
            aloft: BTreeMap::new(),
            book,
            records: Vec::new(),
            syncing: false,
            unwritable: false,
            wakes_at: i64::MAX,
            slots: usize::from(slots),
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
        self.entries[index as usize].retired
    }

    pub(crate) fn entry(&mut self, index: u32) -> &mut Entry {
        &mut self.entries[index as usize]
    }

    /// Takes in what is known of a grant by a newer revision.
    pub(crate) fn put(&mut self, index: u32, grant: Grant) {
        let entry = self.entry(index);
        if entry.grant.revision <= grant.revision {
            entry.grant = grant;
        }
    }

    fn arm(&mut self, index: u32, at: WallTime) {
        self.queue.arm(index, at);
        self.entry(index).armed = at;
    }

    fn lane_is_free(&self, lane: u32, now: WallTime) -> bool {
        self.limits.lane_may_start(lane, now).is_ok()
    }
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
        let slots = self.process().slots;
        let process = self.process();
        ensure(!process.went_back, "time-never-goes-back", || {
            format!("{now:?}")
        })?;
        if process.aloft.is_empty() && process.book.is_open() {
            let free = process.book.free_slots();
            ensure(free == slots, "landed-is-free", || {
                format!("{free} of {slots} slots are free, and no flight is under way")
            })?;
        }
        if process.unwritable {
            return Ok(());
        }
        process.queue.release(now);
        let mut blocked: Option<WallTime> = None;
        while self.process().book.free_slots() > 0 {
            let Process { queue, limits, .. } = self.process();
            let next = queue.pop(now, |lane| match limits.lane_may_start(lane, now) {
                Ok(()) => true,
                Err(why) => {
                    let until = why.until.unwrap_or(WallTime::NEVER);
                    blocked = Some(blocked.map_or(until, |earlier| earlier.min(until)));
                    false
                }
            });
            let Some(index) = next else {
                break;
            };
            self.check_order(index, now)?;
            self.process().entry(index).armed = WallTime::NEVER;
            self.launch(index, now)?;
        }
        self.set_timer(now, blocked);
        Ok(())
    }

    fn set_timer(&mut self, now: WallTime, blocked: Option<WallTime>) {
        let at = self.now;
        let process = self.process();
        let due = [process.queue.next_due(), blocked]
            .into_iter()
            .flatten()
            .min();
        let Some(due) = due.filter(|due| *due != WallTime::NEVER) else {
            return;
        };
        let wait = millis(due.since(now)).max(1);
        if process.wakes_at <= at || process.wakes_at > at + wait {
            process.wakes_at = at + wait;
            self.inside(wait, Inside::Wake);
        }
    }

    /// Of what is ready, the living go first, by expiry; then the expired, by expiry.
    fn check_order(&mut self, index: u32, now: WallTime) -> Check {
        let lanes = u32::try_from(self.servers.len()).expect("a few");
        let process = self.process();
        process.launches += 1;
        if process.entries.len() > 100 && !process.launches.is_multiple_of(64) {
            return Ok(());
        }
        let rank = |entry: &Entry| (entry.queued_expiry <= now, entry.queued_expiry);
        let taken = rank(&process.entries[index as usize]);
        for (other, entry) in (0u32..).zip(&process.entries) {
            let ready = entry.armed <= now && !entry.retired && other != index;
            let sooner = ready && rank(entry) < taken;
            ensure(
                !sooner || !process.lane_is_free(other % lanes, now),
                "living-first-by-expiry",
                || {
                    format!(
                        "grant {index} before {other}: {taken:?} before {:?}",
                        rank(entry)
                    )
                },
            )?;
        }
        Ok(())
    }

    fn launch(&mut self, index: u32, now: WallTime) -> Check {
        let lane = self.lane(index);
        let policy = self.server(index).rules.policy.clone();
        let entry = self.process().entry(index);
        if entry.retired {
            return Ok(());
        }
        let state = &entry.grant.state;
        let due = matches!(plan(state, &policy, now), Plan::At { at, .. } if at <= now);
        let wished = entry.wished.take();
        let granted = wished.is_some_and(|urgency| wish(state, &policy, urgency, now).is_ok());
        let busy = entry.in_flight.is_some() && !mischief::is(Mischief::TwoFlights);
        if busy || !(due || granted) {
            if !busy && wished.is_some() {
                let effect = self.process().limits.held(lane, index, now);
                self.apply(effect.into_iter().collect());
            }
            self.arm_for_due(index);
            return Ok(());
        }
        let in_hand = |aloft: &Aloft| aloft.has_in_hand(index);
        if self.process().aloft.values().any(in_hand) {
            let process = self.process();
            process.entry(index).wished = wished;
            process.arm(index, now + RETRY_BASE);
            return Ok(());
        }
        let forced = wished.is_some_and(Urgency::is_forced);
        match self.process().limits.may_start(lane, lane, index, now) {
            Err(blocked) if blocked.why.is_full() || !forced => {
                let until = blocked.until.unwrap_or(now + Duration::from_secs(30));
                let process = self.process();
                process.entry(index).wished = wished;
                process.arm(index, until);
                Ok(())
            }
            _ => self.take_off(index, forced),
        }
    }

    fn take_off(&mut self, index: u32, forced: bool) -> Check {
        let lane = self.lane(index);
        self.flights += 1;
        let flight = self.flights;
        let process = self.process();
        process.entry(index).in_flight = Some(flight);
        process.limits.started(lane, lane, index);
        self.fly(flight, index, forced)
    }

    /// Somebody wishes a refresh.
    pub(crate) fn wish(&mut self, index: u32, urgency: Urgency) -> Check {
        let Some(now) = self.trusted() else {
            return Ok(());
        };
        let policy = self.server(index).rules.policy.clone();
        let process = self.process();
        let entry = process.entry(index);
        let busy = entry.in_flight.is_some() && !mischief::is(Mischief::TwoFlights);
        let denied = wish(&entry.grant.state, &policy, urgency, now).is_err();
        if busy || entry.retired || denied {
            return Ok(());
        }
        entry.wished = Some(urgency);
        if urgency.is_forced() && process.book.free_slots() > 0 {
            process.queue.arm(index, WallTime::NEVER);
            process.entry(index).armed = WallTime::NEVER;
            return self.launch(index, now);
        }
        process.arm(index, now);
        self.wake_now();
        Ok(())
    }

    /// A flight is over.
    pub(crate) fn landed(&mut self, flight: u64, index: u32, verdict: Verdict) -> Check {
        let aloft = self.process().aloft.remove(&flight).expect("it was aloft");
        let counted = self.process().entry(index).in_flight == Some(flight);
        let (kind, grant) = match verdict {
            Verdict::Landed { kind, grant, .. } => (Some(kind), Some(*grant)),
            Verdict::Superseded { grant } => {
                // Whatever it brought: the client may have been accepted.
                self.audit.client_accepted(self.lane(index), aloft.sent());
                (None, Some(*grant))
            }
            Verdict::NotStarted { .. } => (None, None),
        };
        let grounded = grant.is_none();
        if let Some(grant) = grant {
            let stored = &self.store.rows[index as usize].grant;
            let is_durable = grant.revision < stored.revision || grant == *stored;
            ensure(is_durable, "verdict-is-durable", || {
                format!("{grant:?} against {stored:?}")
            })?;
            self.process().put(index, grant);
        }
        let effects = self.settle_limits(index, kind, counted);
        if kind == Some(OutcomeKind::InvalidGrant) {
            self.second_chance(index);
        }
        if counted {
            self.process().entry(index).in_flight = None;
        }
        if grounded {
            self.ground(index);
        } else {
            self.process().entry(index).grounded = 0;
            self.arm_for_due(index);
        }
        self.touched(index, effects);
        Ok(())
    }

    /// The doubt is committed; the flight gives back its place and is read on.
    pub(crate) fn overdue(&mut self, index: u32, grant: Grant) {
        self.process().put(index, grant);
        let effects = self.settle_limits(index, Some(OutcomeKind::InDoubt), true);
        self.process().entry(index).in_flight = None;
        self.arm_for_due(index);
        self.touched(index, effects);
    }

    fn touched(&mut self, index: u32, effects: Vec<Effect>) {
        self.publish(index);
        if let Some(retired) = self.process().entry(index).recheck.take() {
            self.seat(index, retired);
        }
        self.apply(effects);
    }

    pub(crate) fn publish(&mut self, index: u32) {
        let wait = self.rng.millis(1, 20);
        self.inside(wait, Inside::Publish(index));
    }

    pub(crate) fn ground(&mut self, index: u32) {
        let now = self.time();
        let process = self.process();
        let entry = process.entry(index);
        let wait = (RETRY_BASE * 10).saturating_mul(1 << entry.grounded.min(8));
        entry.grounded += 1;
        process.arm(index, now + wait.min(RETRY_CAP));
    }

    /// Arms a grant for when it is due.
    pub(crate) fn arm_for_due(&mut self, index: u32) {
        let now = self.time();
        let lane = self.lane(index);
        let policy = self.server(index).rules.policy.clone();
        let process = self.process();
        let entry = process.entry(index);
        if entry.retired {
            return process.queue.remove(index);
        }
        let due = match plan(&entry.grant.state, &policy, now) {
            Plan::At { at, .. } if entry.in_flight.is_none() => at,
            _ => WallTime::NEVER,
        };
        let expires_at = entry.grant.state.expires_at;
        entry.queued_expiry = expires_at;
        process.queue.insert(index, lane, expires_at);
        process.arm(index, due);
    }

    fn settle_limits(
        &mut self,
        index: u32,
        kind: Option<OutcomeKind>,
        counted: bool,
    ) -> Vec<Effect> {
        let (now, lane, roll) = (self.time(), self.lane(index), self.rng.roll());
        match kind {
            Some(OutcomeKind::InvalidClient) => self.audit.client_refused(lane, now),
            Some(OutcomeKind::Success | OutcomeKind::InvalidGrant | OutcomeKind::TooEarly) => {
                let state = &self.process().entries[index as usize].grant.state;
                let sent = state.last_send.unwrap_or(now);
                self.audit.client_accepted(lane, sent);
            }
            _ => {}
        }
        let policy = self.server(index).rules.policy.clone();
        let process = self.process();
        let state = &process.entries[index as usize].grant.state;
        let kind = kind.map(|kind| limits::OutcomeKind::of(kind, state, &policy, now));
        let limits = &mut process.limits;
        match (kind, counted) {
            (Some(kind), true) => limits.ended(lane, lane, index, kind, now, roll),
            (Some(limits::OutcomeKind::Lost), false) | (None, false) => Vec::new(),
            (Some(kind), false) => limits.observed(lane, lane, index, kind, now, roll),
            (None, true) => {
                limits.abandoned(lane, lane, index);
                Vec::new()
            }
        }
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::LaneOpened { .. } => self.report.count("breaker opened"),
                Effect::LaneClosed { .. } => {}
                Effect::LanePaused { .. } => self.report.count("endpoint paused"),
                Effect::ClientPaused { .. } => self.report.count("client paused"),
                Effect::Probe { grant, at, .. } => {
                    let process = self.process();
                    process.entry(grant).wished = Some(Urgency::Force);
                    process.arm(grant, at);
                }
                Effect::ClientResumed { client, rearm } => {
                    self.audit.client_resumed(client);
                    self.forget_refusals(&rearm);
                }
                Effect::RefusalsStand { .. } => self.report.count("refusals stand"),
            }
        }
    }

    fn forget_refusals(&mut self, indices: &[u32]) {
        for &index in indices {
            let grant = self.process().entry(index).grant.clone();
            if grant.state.refusal.is_none() || self.store.full {
                continue;
            }
            let state = GrantState {
                refusal: None,
                ..grant.state
            };
            self.report.count("re-armed");
            self.store.update(index, grant.revision, state);
            let grant = self.store.rows[index as usize].grant.clone();
            self.process().put(index, grant);
            self.arm_for_due(index);
        }
    }

    pub(crate) fn second_chance(&mut self, index: u32) {
        let print = self.server(index).rules.fingerprinter.clone();
        if self.store.full || !self.store.take_second_chance(index, &print) {
            return;
        }
        self.report.count("second chances");
        let grant = self.store.rows[index as usize].grant.clone();
        self.audit.afresh(index, grant.state.last_send);
        self.process().put(index, grant);
    }

    /// What a new process does before the first tick.
    pub(crate) fn load(&mut self) {
        let now = self.time();
        for index in 0..self.size.grants {
            let lane = self.lane(index);
            self.process().limits.enter(lane, lane);
            if self.store.rows[index as usize]
                .grant
                .state
                .refusal
                .is_some()
            {
                self.second_chance(index);
            }
            self.arm_for_due(index);
            self.publish(index);
        }
        let mut refused: Vec<(WallTime, u32)> = Vec::new();
        for index in 0..self.size.grants {
            let state = &self.store.rows[index as usize].grant.state;
            let recent = state
                .refusal
                .as_ref()
                .map(|r| r.at)
                .filter(|at| *at + DAY > now);
            let counts = !limits::is_expected(state, &self.server(index).rules.policy);
            refused.extend(recent.filter(|_| counts).map(|at| (at, index)));
        }
        refused.sort_unstable();
        for (at, index) in refused {
            let lane = self.lane(index);
            let kind = limits::OutcomeKind::InvalidGrant;
            let limits = &mut self.process().limits;
            let effects = limits.observed(lane, lane, index, kind, at, 0);
            self.apply(effects);
        }
    }

    pub(crate) fn reload(&mut self) {
        if self.process.is_none() {
            return;
        }
        for lane in 0..u32::try_from(self.servers.len()).expect("a few") {
            let effect = self.process().limits.resume(lane);
            self.audit.client_resumed(lane);
            self.apply(effect);
        }
        for index in 0..self.size.grants {
            if self.process().entry(index).in_flight.is_none() {
                self.arm_for_due(index);
            }
        }
        self.wake_now();
    }

    /// A grant is taken out of the configuration, or brought back into it.
    pub(crate) fn retire(&mut self, index: u32) {
        if self.process.is_none() {
            return;
        }
        let entry = self.process().entry(index);
        let retired = !entry.retired;
        if entry.in_flight.is_some() {
            entry.recheck = Some(retired);
            return;
        }
        self.seat(index, retired);
        self.wake_now();
    }

    fn seat(&mut self, index: u32, retired: bool) {
        let (now, lane) = (self.time(), self.lane(index));
        let process = self.process();
        let before = std::mem::replace(&mut process.entry(index).retired, retired);
        let effects = match (before, retired) {
            (false, true) => process.limits.leave(lane, lane, index, now),
            (true, false) => {
                process.limits.enter(lane, lane);
                Vec::new()
            }
            _ => Vec::new(),
        };
        self.apply(effects);
        self.arm_for_due(index);
    }

    /// A person authorizes again and imports the result.
    pub(crate) fn reauthorize(&mut self, index: u32) -> Check {
        if self.store.full {
            return Ok(());
        }
        self.report.count("authorized again");
        let (state, tokens) = self.authorize(index);
        self.audit.durable(&tokens);
        self.store.reauthorize(index, state, tokens);
        let grant = self.store.rows[index as usize].grant.clone();
        self.audit.stored(index, grant.state.generation, true)?;
        self.audit.afresh(index, None);
        if self.process.is_none() {
            return Ok(());
        }
        self.process().put(index, grant);
        let entry = self.process().entry(index);
        entry.wished = None;
        if entry.in_flight.is_none() && !entry.retired {
            self.seat(index, true);
            self.seat(index, false);
        }
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

const DAY: Duration = Duration::from_secs(86_400);
