//! What is due next. Grants wait for their due time in one heap; what is due
//! moves to the ready heap of its lane (one lane a host, so that a blocked host holds
//! up no other). Ready grants go in this order: those whose
//! access token lives, by expiry; then the expired ones, by expiry. `due` only
//! arms them: after an outage, first come first served lets more tokens die.

mod heap;
mod slot;

use crate::mutation::{self, Mutation};
use crate::time::WallTime;
use heap::{Entry, Heap};
use slot::{Place, Slot};
use std::collections::BTreeSet;

/// Where a lane stands among the lanes: the one with the least under way first, so that no
/// host's grants wait for another's; then living before expired, then by expiry.
type Rank = (u32, bool, i64, u32);

/// Grants by small index, when they are due, and which goes next.
#[derive(Debug, Default)]
pub struct Queue {
    slots: Vec<Slot>,
    armed: Heap,
    lanes: Vec<Lane>,
    /// Each lane with a ready grant, by its best one, but for the parked.
    ranks: BTreeSet<Rank>,
    /// Each lane with a ready grant that lives, by the first to expire.
    living: BTreeSet<(i64, u32)>,
    /// Lanes that were not let through.
    parked: Vec<u32>,
    /// Ready grants whose access tokens are over, since that was last asked for.
    over: Vec<u32>,
    ready: usize,
    len: usize,
}

#[derive(Debug, Default)]
struct Lane {
    living: Heap,
    expired: Heap,
    rank: Option<Rank>,
    first_living: Option<i64>,
    /// How many exchanges it has under way.
    load: u32,
    parked: bool,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a grant in, or gives one that is in another lane or expiry. It is
    /// neither armed nor ready then. Lanes are numbered from 0, closely, and
    /// there are at most 2^30 of them.
    pub fn insert(&mut self, index: u32, lane: u32, expires_at: WallTime) {
        self.remove(index);
        let at = index as usize;
        if self.slots.len() <= at {
            self.slots.resize(at + 1, Slot::default());
        }
        if self.lanes.len() <= lane as usize {
            self.lanes.resize_with(lane as usize + 1, Lane::default);
        }
        self.slots[at].occupy(lane, expires_at);
        self.len += 1;
    }

    /// Takes a grant out. One that is not in is let pass.
    pub fn remove(&mut self, index: u32) {
        if self.slot(index).is_some() {
            self.withdraw(index);
            self.slots[index as usize].vacate();
            self.len -= 1;
        }
    }

    /// Makes a grant due at a time, instead of what it was armed for or its
    /// readiness. [`WallTime::NEVER`] disarms. One that is not in is let pass.
    pub fn arm(&mut self, index: u32, due: WallTime) {
        if self.slot(index).is_none() {
            return;
        }
        self.withdraw(index);
        if due != WallTime::NEVER {
            let version = self.slots[index as usize].enter(Place::Armed);
            self.armed.push(Entry {
                time: due.0,
                index,
                version,
            });
        }
    }

    /// The ready grants whose access tokens are over, or were when they became ready, since
    /// this was last asked for.
    pub fn take_over(&mut self, now: WallTime) -> Vec<u32> {
        self.bury_expired(now);
        std::mem::take(&mut self.over)
    }

    /// When the next access token of a ready grant ends.
    #[must_use]
    pub fn next_end(&self) -> Option<WallTime> {
        self.living.first().map(|(time, _)| WallTime(*time))
    }

    /// Whether a grant is ready, and waits to be taken.
    #[must_use]
    pub fn is_ready(&self, index: u32) -> bool {
        self.slot(index)
            .is_some_and(|slot| matches!(slot.place(), Place::Living | Place::Expired))
    }

    /// When the next armed grant is due.
    #[must_use]
    pub fn next_due(&self) -> Option<WallTime> {
        self.armed.first().map(|entry| WallTime(entry.time))
    }

    /// Makes ready what is due; returns how many that were.
    pub fn release(&mut self, now: WallTime) -> usize {
        let mut released = 0;
        while self.armed.first().is_some_and(|entry| entry.time <= now.0) {
            let Some(entry) = self.armed.take(&self.slots) else {
                break;
            };
            self.make_ready(entry.index, now);
            released += 1;
        }
        released
    }

    /// Takes the grant that goes next among the lanes that `allowed` lets through; each
    /// lane is asked at most once, the best first, and one that is not let through is
    /// parked. The grant stays in the queue, neither armed nor ready.
    pub fn pop(&mut self, now: WallTime, mut allowed: impl FnMut(u32) -> bool) -> Option<u32> {
        self.bury_expired(now);
        let lane = loop {
            let lane = self.ranks.first()?.3;
            if allowed(lane) {
                break lane;
            }
            self.lanes[lane as usize].parked = true;
            self.parked.push(lane);
            self.rank(lane);
        };
        let Lane {
            living, expired, ..
        } = &mut self.lanes[lane as usize];
        let entry = living
            .take(&self.slots)
            .or_else(|| expired.take(&self.slots))?;
        self.slots[entry.index as usize].leave();
        self.ready -= 1;
        self.rank(lane);
        Some(entry.index)
    }

    /// All lanes are asked again: a place is free.
    pub fn unpark(&mut self) {
        for lane in std::mem::take(&mut self.parked) {
            self.lanes[lane as usize].parked = false;
            self.rank(lane);
        }
    }

    /// A lane has so many exchanges under way.
    pub fn set_load(&mut self, lane: u32, load: u32) {
        if let Some(found) = self.lanes.get_mut(lane as usize) {
            found.load = load;
            self.rank(lane);
        }
    }

    /// How many lanes have grants ready that were not turned away.
    #[must_use]
    pub fn lanes_ready(&self) -> usize {
        self.ranks.len()
    }

    /// The expiry by which a grant that is ready stands in line; `None`: it is not.
    #[must_use]
    pub fn in_line(&self, index: u32) -> Option<WallTime> {
        let slot = self.slot(index)?;
        let ready = matches!(slot.place(), Place::Living | Place::Expired);
        ready.then_some(WallTime(slot.expires_at))
    }

    /// How many grants are in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no grant is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many grants are ready.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// Bytes that the queue holds on the heap, by the capacities of its parts.
    #[must_use]
    pub fn memory(&self) -> usize {
        let lanes = self.lanes.iter();
        self.slots.capacity() * size_of::<Slot>()
            + self.lanes.capacity() * size_of::<Lane>()
            + lanes
                .map(|l| l.living.memory() + l.expired.memory())
                .sum::<usize>()
            + self.armed.memory()
            + self.ranks.len() * size_of::<Rank>()
            + self.living.len() * size_of::<(i64, u32)>()
    }

    fn slot(&self, index: u32) -> Option<Slot> {
        let slot = self.slots.get(index as usize).copied();
        slot.filter(|slot| slot.place() != Place::Absent)
    }

    /// Takes a grant out of the heap it is in. Its entry there becomes stale.
    fn withdraw(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        let (place, lane) = (slot.place(), slot.lane());
        slot.leave();
        match place {
            Place::Absent | Place::Idle => {}
            Place::Armed => self.armed.forget(&self.slots),
            Place::Living => {
                self.lanes[lane as usize].living.forget(&self.slots);
                self.no_longer_ready(lane);
            }
            Place::Expired => {
                self.lanes[lane as usize].expired.forget(&self.slots);
                self.no_longer_ready(lane);
            }
        }
    }

    fn no_longer_ready(&mut self, lane: u32) {
        self.ready -= 1;
        self.rank(lane);
    }

    fn make_ready(&mut self, index: u32, now: WallTime) {
        let slot = &mut self.slots[index as usize];
        let (mut time, lane) = (slot.expires_at, slot.lane());
        let lives = time > now.0;
        if mutation::is(Mutation::FirstComeFirstServed) {
            time = now.0;
        }
        let version = slot.enter(if lives { Place::Living } else { Place::Expired });
        let entry = Entry {
            time,
            index,
            version,
        };
        let heaps = &mut self.lanes[lane as usize];
        if lives {
            heaps.living.push(entry);
        } else {
            heaps.expired.push(entry);
            self.over.push(index);
        }
        self.ready += 1;
        self.rank(lane);
    }

    /// Moves what has expired while it was ready behind what still lives.
    fn bury_expired(&mut self, now: WallTime) {
        while let Some(&(time, lane)) = self.living.first() {
            if time > now.0 {
                break;
            }
            let heaps = &mut self.lanes[lane as usize];
            while heaps
                .living
                .first()
                .is_some_and(|entry| entry.time <= now.0)
            {
                let Some(mut entry) = heaps.living.take(&self.slots) else {
                    break;
                };
                entry.version = self.slots[entry.index as usize].enter(Place::Expired);
                self.over.push(entry.index);
                heaps.expired.push(entry);
            }
            self.rank(lane);
        }
    }

    /// Brings a lane's rank up to date.
    fn rank(&mut self, number: u32) {
        let lane = &mut self.lanes[number as usize];
        let living = lane.living.first().map(|entry| entry.time);
        let expired = lane.expired.first().map(|entry| entry.time);
        let first = living.map(|time| (false, time));
        let first = first.or(expired.map(|time| (true, time)));
        let rank = first.map(|(expired, time)| (lane.load, expired, time, number));
        let rank = rank.filter(|_| !lane.parked);
        if lane.first_living != living {
            if let Some(old) = std::mem::replace(&mut lane.first_living, living) {
                self.living.remove(&(old, number));
            }
            self.living.extend(living.map(|time| (time, number)));
        }
        if lane.rank != rank {
            if let Some(old) = std::mem::replace(&mut lane.rank, rank) {
                self.ranks.remove(&old);
            }
            self.ranks.extend(rank);
        }
    }
}

#[cfg(test)]
mod tests;
