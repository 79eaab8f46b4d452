//! What goes wrong from outside, and what people do.

use crate::audit::{Check, ensure};
use crate::rng::Rng;
use crate::server::Mood;
use crate::world::{Happening, World};
use refreshd_core::grant::GrantState;
use refreshd_core::grant::schedule::Urgency;
use refreshd_core::limits::Scope;
use refreshd_core::time::WallTime;
use std::time::Duration;

/// How bad a world is: some have one kind of trouble, some all.
pub(crate) struct Temper {
    /// Of a process, at each happening in it, in 100,000.
    pub(crate) deaths: u64,
    /// Between two troubles, in milliseconds.
    every: i64,
    kinds: Vec<Trouble>,
    pub(crate) flights: u32,
    /// So many more exchanges may be read on.
    pub(crate) read_on: u16,
}

/// What goes wrong from outside, or what somebody does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    Mood(Mood),
    ClockStep,
    Suspend,
    DiskFull,
    /// Commits of the store fail, and may count all the same after a kill.
    BadCommits,
    /// The process ends in the middle of the store's next transaction.
    DiesCommitting,
    /// The disk hangs over the next intent.
    Hangs,
    Reload,
    Retire,
    Reauthorize,
    /// A first form, or what is there, is imported once more.
    ImportAgain,
    /// What one grant has is imported for another.
    ImportTwin,
    Wish(Urgency),
    /// A consumer whose token has been replaced already says that it is dead.
    StaleWish,
    NewSecret,
    NewForm,
    NewHome,
    Backup,
    Restore,
    AcceptClock,
}

const ALL: &[Trouble] = &[
    Trouble::Mood(Mood::Unreachable),
    Trouble::Mood(Mood::Failing),
    Trouble::Mood(Mood::Throttling),
    Trouble::Mood(Mood::Slow),
    Trouble::Mood(Mood::BadClient),
    Trouble::Mood(Mood::Refusing),
    Trouble::ClockStep,
    Trouble::Suspend,
    Trouble::DiskFull,
    Trouble::BadCommits,
    Trouble::BadCommits,
    Trouble::DiesCommitting,
    Trouble::DiesCommitting,
    Trouble::Hangs,
    Trouble::Reload,
    Trouble::Retire,
    Trouble::Reauthorize,
    Trouble::ImportAgain,
    Trouble::Wish(Urgency::Wish),
    Trouble::Wish(Urgency::Force),
    Trouble::ImportTwin,
    Trouble::StaleWish,
    Trouble::NewSecret,
    Trouble::NewForm,
    Trouble::NewHome,
    Trouble::Backup,
    Trouble::Restore,
    Trouble::AcceptClock,
];

impl Trouble {
    /// Whether it is a person's or a program's doing on a machine that is awake.
    fn needs_the_machine(self) -> bool {
        match self {
            Trouble::Reload
            | Trouble::Retire
            | Trouble::Reauthorize
            | Trouble::ImportAgain
            | Trouble::Wish(_)
            | Trouble::ImportTwin
            | Trouble::StaleWish
            | Trouble::NewHome
            | Trouble::Backup
            | Trouble::Restore
            | Trouble::AcceptClock => true,
            Trouble::Mood(_)
            | Trouble::ClockStep
            | Trouble::Suspend
            | Trouble::DiskFull
            | Trouble::BadCommits
            | Trouble::DiesCommitting
            | Trouble::Hangs
            | Trouble::NewSecret
            | Trouble::NewForm => false,
        }
    }
}

impl Temper {
    pub(crate) fn draw(rng: &mut Rng, scale: i64) -> Self {
        let share = rng.pick(&[15, 40, 100]);
        let kinds = ALL.iter().copied().filter(|_| rng.percent(share)).collect();
        Temper {
            deaths: rng.pick(&[0, 100, 400, 1500]),
            every: scale / 2 * rng.pick(&[1, 3, 10]),
            kinds,
            // Where lives are short, a single place would not do even on the best of days, and
            // the living go first for ever.
            flights: rng.pick(if scale < 60_000 { &[3, 8] } else { &[1, 2, 8] }),
            read_on: rng.pick(&[0, 1, 4]),
        }
    }

    /// These kinds of trouble alone, and often: what only several in a row bring about.
    #[cfg(feature = "mutation")]
    pub(crate) fn dwell_on(&mut self, kinds: &[Trouble]) {
        self.kinds = kinds.to_vec();
        self.every = (self.every / 4).max(1);
    }

    pub(crate) fn pause(&self, rng: &mut Rng) -> i64 {
        rng.millis(1, 2 * self.every)
    }
}

impl World {
    pub(crate) fn trouble(&mut self) -> Check {
        if self.calm || self.temper.kinds.is_empty() {
            return Ok(());
        }
        let wait = self.temper.pause(&mut self.rng);
        self.schedule(wait, Happening::Trouble);
        let index = self.rng.index(self.temper.kinds.len());
        let kind = self.temper.kinds[index];
        // These leave little else to happen.
        let rare = matches!(
            kind,
            Trouble::NewSecret | Trouble::NewForm | Trouble::NewHome | Trouble::Restore
        );
        if rare && self.rng.percent(60) {
            return Ok(());
        }
        if kind.needs_the_machine() && self.now < self.asleep_until {
            return Ok(());
        }
        let grant = u32::try_from(self.rng.below(u64::from(self.size.grants))).expect("a grant");
        self.note(|_| format!("trouble: {kind:?}, grant {grant}"));
        let life = self.server(grant).facts.life;
        let lasts = self.rng.millis(100, life.min(7 * 86_400_000));
        match kind {
            Trouble::Mood(mood) => {
                let until = self.now + lasts;
                let server = self.server_mut(grant);
                server.mood = mood;
                server.mood_until = until;
            }
            Trouble::ClockStep => {
                let step = self.rng.millis(-2 * life, 2 * life);
                let step = self.rng.pick(&[step, step / 100, step / 3000]);
                self.wall_offset += step;
                self.audit.smoothed += (-step).clamp(0, 2000);
                self.wake_now();
            }
            Trouble::Suspend => {
                self.audit.promptly.clear();
                self.asleep_until = self.now + lasts * self.rng.pick(&[1, 2]);
            }
            Trouble::DiskFull => {
                self.audit.promptly.clear();
                self.store.full = true;
                self.schedule(lasts, Happening::Freed);
            }
            Trouble::BadCommits => {
                self.audit.promptly.clear();
                self.failing_commits = self.rng.pick(&[1, 1, 2, 3, 5, 9]);
            }
            Trouble::DiesCommitting => self.dies_committing = true,
            Trouble::Hangs => self.hangs_for = lasts.min(120_000),
            Trouble::Reload => return self.reload(),
            Trouble::Retire => return self.retire(grant),
            Trouble::Reauthorize => return self.reauthorize(grant),
            Trouble::ImportAgain => return self.import_again(grant),
            Trouble::ImportTwin => return self.import_twin(grant),
            Trouble::Wish(urgency) => return self.wish(grant, urgency, None).map(drop),
            Trouble::StaleWish => {
                let generation = self.store.rows[grant as usize].grant.state.generation;
                let before = Some(generation - 1);
                return self.wish(grant, Urgency::Rejected, before).map(drop);
            }
            Trouble::NewSecret => self.change_secret(self.lane(grant), lasts),
            Trouble::NewForm => self.change_form(self.lane(grant), lasts),
            Trouble::NewHome => return self.move_home(self.lane(grant), lasts),
            Trouble::Backup => self.copy_away(),
            Trouble::Restore => return self.put_back(lasts),
            Trouble::AcceptClock => return self.trust_clock(),
        }
        Ok(())
    }
}

impl World {
    /// Nothing comes of it: the grant has had that refresh token.
    fn import_again(&mut self, index: u32) -> Check {
        if self.store.full {
            return Ok(());
        }
        self.report.count("imported again");
        let row = &self.store.rows[index as usize];
        let seed = self.seeds.get(&index).filter(|_| self.rng.percent(50));
        let tokens = seed.unwrap_or(&row.tokens).clone();
        let state = row.grant.state.clone();
        let generation = state.generation;
        self.bring(index, state, &tokens, false)?;
        let now = self.store.rows[index as usize].grant.state.generation;
        ensure(now == generation, "import-again-does-nothing", || {
            format!("grant {index}: generation {generation} was, {now} is")
        })
    }

    /// It is refused: a refresh token belongs to one grant.
    fn import_twin(&mut self, index: u32) -> Check {
        let other = (index + self.lanes()) % self.size.grants;
        if self.store.full || other == index || self.lane(other) != self.lane(index) {
            return Ok(());
        }
        self.report.count("twins refused");
        let row = &self.store.rows[index as usize];
        let (state, tokens) = (row.grant.state.clone(), row.tokens.clone());
        self.bring(other, state, &tokens, true)?;
        let held = |index: u32| self.store.rows[index as usize].tokens.refresh_token.clone();
        ensure(held(other) != held(index), "one-owner", || {
            format!("grants {index} and {other} have one refresh token")
        })
    }

    /// `refreshd doctor --accept-clock`.
    fn trust_clock(&mut self) -> Check {
        let Some(before) = self.trusted() else {
            return Ok(());
        };
        let reading = self.reading();
        if self.process().clock.is_trusted() || self.store.full {
            return Ok(());
        }
        self.report.count("clocks accepted");
        let process = self.process();
        process.clock.accept(reading);
        let now = process.clock.observe(reading).wall;
        process.last_now = now;
        let by = before.since(now);
        self.audit.clock_accepted(by);
        for aloft in self.process().aloft.values_mut() {
            aloft.bring_back(by);
        }
        for exchange in self.exchanges.values_mut() {
            exchange.base = exchange.base.brought_back(by);
            exchange.sent = exchange.sent - by;
        }
        (self.store.last_seen, self.store.last_seen_at) = (Some(self.stamp(now)), self.now);
        self.store.accepted = Some(self.stamp(now));
        let states: Vec<GrantState> = self.states().collect();
        let waits = self.lane_waits(before);
        for (index, state) in self.process().scheduler.bring_back(by) {
            self.commit_state(index, state);
        }
        for index in 0..self.size.grants {
            self.schedule_grant(index);
        }
        for found in self.published.iter_mut().flatten() {
            found.ends = found.ends - by;
        }
        self.check_ages(&states, before, now)?;
        let after = self.lane_waits(now);
        ensure(waits == after, "ages-stay", || {
            format!("lanes waited {waits:?}, and {after:?} once the clock was accepted")
        })?;
        self.wake_now();
        Ok(())
    }

    /// For how long each host's chain waits.
    fn lane_waits(&self, now: WallTime) -> Vec<Option<Duration>> {
        let scheduler = &self.process.as_ref().expect("it lives").scheduler;
        let chain_at = |lane| scheduler.limits().brake(Scope::Host(lane))?.2;
        let chains = (0..self.lanes()).map(chain_at);
        chains.map(|at| at.map(|at| at.since(now))).collect()
    }

    fn states(&self) -> impl Iterator<Item = GrantState> {
        self.store.rows.iter().map(|row| row.grant.state.clone())
    }

    /// Tokens are as old as they were, and nothing waits any longer.
    fn check_ages(&self, states: &[GrantState], before: WallTime, now: WallTime) -> Check {
        let age = |state: &GrantState, now: WallTime| {
            let sent = state.last_send.map(|at| now.0 - at.0);
            (now.0 - state.issued_at.0, now.0 - state.expires_at.0, sent)
        };
        for (was, is) in states.iter().zip(self.states()) {
            ensure(age(was, before) == age(&is, now), "ages-stay", || {
                format!("{now:?} after {before:?}, {is:?}")
            })?;
        }
        Ok(())
    }
}
