//! Whether a client is still accepted, where one of its grants was told that it is not. Nobody
//! is refreshed early to find out, but for one grant an hour that loses nothing by it.

use crate::time::WallTime;
use std::collections::BTreeSet;
use std::collections::hash_map::{Entry, HashMap};
use std::time::Duration;

/// So long after one grant was asked early another may be.
pub const EARLY_EVERY: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug)]
struct Suspicion {
    /// The exchange that cast it.
    flight: u64,
    /// When a grant is asked early.
    asks_at: WallTime,
}

/// The suspected clients, each at a host.
#[derive(Debug, Default)]
pub(super) struct Suspicions {
    of: HashMap<(u32, u32), Suspicion>,
    timers: BTreeSet<(WallTime, (u32, u32))>,
}

impl Suspicions {
    /// That exchange was told that the client is not accepted there.
    pub(super) fn begin(&mut self, key: (u32, u32), flight: u64, now: WallTime) {
        let asks_at = now;
        if let Entry::Vacant(vacant) = self.of.entry(key) {
            vacant.insert(Suspicion { flight, asks_at });
            self.timers.insert((asks_at, key));
        }
    }

    /// The client was accepted there in that exchange.
    pub(super) fn refute(&mut self, key: (u32, u32), flight: u64) {
        if self.of.get(&key).is_some_and(|s| s.flight < flight) {
            self.end(key);
        }
    }

    /// It is known, or there is nobody to ask.
    pub(super) fn end(&mut self, key: (u32, u32)) {
        if let Some(suspicion) = self.of.remove(&key) {
            self.timers.remove(&(suspicion.asks_at, key));
        }
    }

    /// One for which a grant may be asked early now.
    pub(super) fn take(&mut self, now: WallTime) -> Option<(u32, u32)> {
        let (at, key) = *self.timers.first().filter(|(at, _)| *at <= now)?;
        self.timers.remove(&(at, key));
        let suspicion = self.of.get_mut(&key)?;
        suspicion.asks_at = now + EARLY_EVERY;
        self.timers.insert((suspicion.asks_at, key));
        Some(key)
    }

    pub(super) fn next_at(&self) -> Option<WallTime> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(super) fn bring_back(&mut self, by: Duration) {
        for suspicion in self.of.values_mut() {
            suspicion.asks_at = suspicion.asks_at - by;
        }
        let timers = self.timers.iter().map(|(at, key)| (*at - by, *key));
        self.timers = timers.collect();
    }
}
