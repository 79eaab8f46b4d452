//! What goes wrong from outside, and what people do.

use crate::audit::Check;
use crate::rng::Rng;
use crate::server::Mood;
use crate::world::{Happening, World};
use refreshd_core::grant::schedule::Urgency;

/// How bad a world is: some have one kind of trouble, some all.
pub(crate) struct Temper {
    /// Of a process, at each happening in it, in 100,000.
    pub(crate) deaths: u64,
    /// Between two troubles, in milliseconds.
    every: i64,
    kinds: Vec<Trouble>,
    pub(crate) flights: u32,
    pub(crate) spare_slots: u16,
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    Mood(Mood),
    ClockStep,
    Suspend,
    DiskFull,
    BadSyncs,
    BadWrites,
    /// The process ends in the middle of the journal's next batch.
    DiesWriting,
    Reload,
    Retire,
    Reauthorize,
    ImportAgain,
    Wish(Urgency),
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
    Trouble::BadSyncs,
    Trouble::BadWrites,
    Trouble::DiesWriting,
    Trouble::DiesWriting,
    Trouble::Reload,
    Trouble::Retire,
    Trouble::Reauthorize,
    Trouble::ImportAgain,
    Trouble::Wish(Urgency::Wish),
    Trouble::Wish(Urgency::Force),
];

impl Temper {
    pub(crate) fn draw(rng: &mut Rng, scale: i64) -> Self {
        let share = rng.pick(&[15, 40, 100]);
        let kinds = ALL.iter().copied().filter(|_| rng.percent(share)).collect();
        Temper {
            deaths: rng.pick(&[0, 100, 400, 1500]),
            every: scale / 2 * rng.pick(&[1, 3, 10]),
            kinds,
            flights: rng.pick(&[1, 2, 8]),
            spare_slots: rng.pick(&[0, 1, 4]),
        }
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
        self.note(|_| format!("trouble: {kind:?}"));
        let grant = u32::try_from(self.rng.below(u64::from(self.size.grants))).expect("a grant");
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
                self.asleep_until = self.now + lasts * self.rng.pick(&[1, 2]);
            }
            Trouble::DiskFull => {
                self.disk.set_full(true);
                self.store.full = true;
                self.schedule(lasts, Happening::Freed);
            }
            Trouble::BadSyncs => {
                let syncs = self.rng.pick(&[1, 1, 2, 5]);
                self.disk.fail(syncs, 0);
            }
            Trouble::BadWrites => {
                let writes = self.rng.pick(&[1, 1, 2, 5]);
                self.disk.fail(0, writes);
            }
            Trouble::DiesWriting => {
                let operations = self.rng.pick(&[0, 0, 1, 1, 2, 3, 5, 9]);
                self.disk.die_in(operations);
            }
            Trouble::Reload => self.reload(),
            Trouble::Retire => self.retire(grant),
            Trouble::Reauthorize => return self.reauthorize(grant),
            // A first form that was seen before is known by its fingerprint: nothing is done.
            Trouble::ImportAgain => self.report.count("imported again"),
            Trouble::Wish(urgency) => return self.wish(grant, urgency),
        }
        Ok(())
    }
}
