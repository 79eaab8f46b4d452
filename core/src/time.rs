//! Wall time and boot time as different types, and the clock that is trusted.
//!
//! Expiry is a matter of wall time: tokens outlive reboots. Waiting is a matter
//! of boot time, which counts suspend and never steps. [`Clock`] joins the two:
//! it hands out a wall time that never runs backwards.

use crate::mischief::{self, Mischief};
use serde::{Deserialize, Serialize};
use std::ops::{Add, Sub};
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WallTime(pub i64);

/// Milliseconds since the machine booted, suspend included (`CLOCK_BOOTTIME`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BootTime(pub i64);

/// One reading of both clocks. `wall` is the trusted one, see [`Clock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Trusted wall time.
    pub wall: WallTime,
    /// Boot time.
    pub boot: BootTime,
}

impl WallTime {
    /// The far end of what is scheduled: nothing is ever due after it.
    pub const NEVER: WallTime = WallTime(i64::MAX);

    /// From whole seconds since 1970, as providers send them; saturates.
    #[must_use]
    pub fn from_secs(secs: i64) -> Self {
        WallTime(secs.saturating_mul(1000))
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: WallTime) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// Like `2026-11-21T02:00:00Z`; out-of-range times print as their number.
    #[must_use]
    pub fn rfc3339(self) -> String {
        chrono::DateTime::from_timestamp_millis(self.0).map_or_else(
            || self.0.to_string(),
            |t| t.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        )
    }

    /// Reads RFC 3339, with or without a fraction; a missing offset means UTC.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let text = text.trim();
        chrono::DateTime::parse_from_rfc3339(text)
            .map(|t| t.timestamp_millis())
            .or_else(|_| {
                text.parse::<chrono::NaiveDateTime>()
                    .map(|t| t.and_utc().timestamp_millis())
            })
            .ok()
            .map(WallTime)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Add<Duration> for WallTime {
    type Output = WallTime;
    fn add(self, duration: Duration) -> WallTime {
        WallTime(self.0.saturating_add(millis(duration)))
    }
}

impl Sub<Duration> for WallTime {
    type Output = WallTime;
    fn sub(self, duration: Duration) -> WallTime {
        WallTime(self.0.saturating_sub(millis(duration)))
    }
}

impl Add<Duration> for BootTime {
    type Output = BootTime;
    fn add(self, duration: Duration) -> BootTime {
        BootTime(self.0.saturating_add(millis(duration)))
    }
}

/// A wall clock that never runs backwards.
///
/// While the system's wall clock is before the latest time this clock has
/// handed out (by more than [`Clock::TOLERANCE`]), it is not trusted: the boot
/// clock carries on from there. It is trusted again once it has caught up, or
/// when an operator accepts it.
#[derive(Clone, Debug)]
pub struct Clock {
    /// The latest time handed out, and the boot time of that moment.
    last: Now,
    trusted: bool,
}

impl Clock {
    /// Steps back of up to this much are smoothed over without a word.
    pub const TOLERANCE: Duration = Duration::from_secs(2);

    /// Starts from a first reading. `last_seen` is the latest wall time that
    /// the store remembers from before; a wall clock before it is not trusted.
    #[must_use]
    pub fn new(reading: Now, last_seen: Option<WallTime>) -> Self {
        match last_seen {
            Some(seen) if reading.wall + Self::TOLERANCE < seen => Clock {
                last: Now {
                    wall: seen,
                    boot: reading.boot,
                },
                trusted: false,
            },
            _ => Clock {
                last: reading,
                trusted: true,
            },
        }
    }

    /// Takes a reading of the system's clocks and returns the time to go by.
    pub fn observe(&mut self, reading: Now) -> Now {
        let elapsed = Duration::from_millis(
            reading
                .boot
                .0
                .saturating_sub(self.last.boot.0)
                .max(0)
                .unsigned_abs(),
        );
        let carried = self.last.wall + elapsed;
        self.trusted = if self.trusted {
            reading.wall + Self::TOLERANCE >= carried
        } else {
            reading.wall >= carried
        };
        let wall = if mischief::is(Mischief::ClockStepTrusted) {
            reading.wall
        } else if self.trusted {
            reading.wall.max(self.last.wall)
        } else {
            carried
        };
        self.last = Now {
            wall,
            boot: reading.boot,
        };
        self.last
    }

    /// Whether the system's wall clock is being followed.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Follows the system's wall clock again, even if that is a step back.
    pub fn accept(&mut self, reading: Now) {
        *self = Clock {
            last: reading,
            trusted: true,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: i64, boot: i64) -> Now {
        Now {
            wall: WallTime(wall),
            boot: BootTime(boot),
        }
    }

    #[test]
    fn a_step_back_is_not_followed_until_caught_up() {
        let mut clock = Clock::new(at(1_000_000, 0), None);
        assert_eq!(
            clock.observe(at(1_010_000, 10_000)).wall,
            WallTime(1_010_000)
        );
        // NTP sets the clock back by 100 s: the boot clock carries on.
        assert_eq!(clock.observe(at(915_000, 15_000)).wall, WallTime(1_015_000));
        assert!(!clock.is_trusted());
        // The wall clock catches up by a second step.
        assert_eq!(
            clock.observe(at(1_020_500, 20_000)).wall,
            WallTime(1_020_500)
        );
        assert!(clock.is_trusted());
    }

    #[test]
    fn a_small_step_back_is_smoothed() {
        let mut clock = Clock::new(at(1_000_000, 0), None);
        clock.observe(at(1_010_000, 10_000));
        assert_eq!(
            clock.observe(at(1_009_500, 10_500)).wall,
            WallTime(1_010_000)
        );
        assert!(clock.is_trusted());
    }

    #[test]
    fn the_store_remembers_a_later_time() {
        let mut clock = Clock::new(at(1_000, 0), Some(WallTime(900_000)));
        assert!(!clock.is_trusted());
        assert_eq!(clock.observe(at(2_000, 1_000)).wall, WallTime(901_000));
        clock.accept(at(2_000, 1_000));
        assert_eq!(clock.observe(at(3_000, 2_000)).wall, WallTime(3_000));
    }

    #[test]
    fn rfc3339_both_ways() {
        let t = WallTime::parse_rfc3339("2026-11-21T02:00:00.148Z").expect("RFC 3339");
        assert_eq!(t.rfc3339(), "2026-11-21T02:00:00Z");
        assert_eq!(
            WallTime::parse_rfc3339("2026-11-21T02:00:00"),
            Some(WallTime::from_secs(t.secs()))
        );
        assert_eq!(
            WallTime::parse_rfc3339("2026-11-21T04:00:00+02:00"),
            Some(WallTime::from_secs(t.secs()))
        );
    }
}
