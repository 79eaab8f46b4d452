//! The one back-off: waits that double with each failure up to a cap, and what chance takes
//! off them, so that many who fail together do not try again together.

use std::time::Duration;

/// Waits that double from a base up to a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// # Panics
    /// When the base is above the cap; in a constant, when it is compiled.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Backoff {
        assert!(base.as_nanos() <= cap.as_nanos());
        Backoff { base, cap }
    }

    /// The same, with a cap that is lower for this time.
    #[must_use]
    pub fn capped(self, cap: Duration) -> Backoff {
        let cap = self.cap.min(cap);
        Backoff { cap, ..self }
    }

    /// The wait after so many failures before the last one: the base after none.
    #[must_use]
    pub fn wait(self, failures: u32) -> Duration {
        let grown = self.base.saturating_mul(1 << failures.min(31));
        grown.min(self.cap)
    }

    /// Full jitter: anything from zero to the wait.
    #[must_use]
    pub fn full(self, failures: u32, roll: u64) -> Duration {
        share(self.wait(failures), roll)
    }

    /// Equal jitter: at least half of the wait.
    #[must_use]
    pub fn half(self, failures: u32, roll: u64) -> Duration {
        half(self.wait(failures), roll)
    }
}

/// The share of `limit` that a roll gives: uniform from zero to it.
#[must_use]
pub fn share(limit: Duration, roll: u64) -> Duration {
    let millis = u128::from(roll) * limit.as_millis() / u128::from(u64::MAX);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// At least half of a wait, up to all of it.
#[must_use]
pub fn half(wait: Duration, roll: u64) -> Duration {
    wait / 2 + share(wait / 2, roll)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_chance_takes_its_share() {
        let (base, cap) = (Duration::from_secs(1), Duration::from_secs(60));
        let backoff = Backoff::new(base, cap);
        let waits: Vec<u64> = (0..8).map(|n| backoff.wait(n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.wait(u32::MAX), cap);
        assert_eq!(backoff.capped(base * 5).wait(9), base * 5);
        assert_eq!(backoff.capped(cap * 9).wait(9), cap);
        for roll in [0, u64::MAX / 3, u64::MAX] {
            let (full, half) = (backoff.full(3, roll), backoff.half(3, roll));
            assert!(full <= base * 8 && half >= base * 4 && half <= base * 8);
        }
        assert_eq!(backoff.full(9, u64::MAX), cap);
        assert_eq!(backoff.full(9, 0), Duration::ZERO);
    }
}
