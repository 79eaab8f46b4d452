//! Wall time and boot time as different types, and the clock that is trusted.
//!
//! Expiry is a matter of wall time: tokens outlive reboots. Waiting is a matter
//! of boot time, which counts suspend and never steps. [`Clock`] joins the two:
//! it hands out a wall time that never runs backwards.

use crate::mutation::{self, Mutation};
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

/// A moment, so that a later process can tell how long ago it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Trusted wall time.
    pub wall: WallTime,
    /// Boot time.
    pub boot: BootTime,
    /// The kernel's boot id: boot times of other boots do not compare.
    pub boot_id: String,
}

impl Stamp {
    /// The time of that boot at which at least so much has passed since this
    /// moment; `None` where the machine has been started anew since.
    fn reckoned(&self, boot: BootTime, boot_id: &str) -> Option<WallTime> {
        let same = self.boot_id == boot_id && !boot_id.is_empty() && self.boot <= boot;
        let passed = boot.0.saturating_sub(self.boot.0).unsigned_abs();
        same.then(|| self.wall + Duration::from_millis(passed))
    }

    /// This moment by the clock of `now`, which may have been set back since, and that
    /// accepted: the boot clock tells how long ago it was. `None`: it was in an earlier
    /// boot, though by its own clock it would have been in this one, so that nobody
    /// knows how long ago.
    #[must_use]
    pub fn by_clock_of(&self, now: &Stamp) -> Option<WallTime> {
        let known = !self.boot_id.is_empty() && !now.boot_id.is_empty();
        let same = known && self.boot_id == now.boot_id;
        let passed = if same {
            now.boot.0.saturating_sub(self.boot.0)
        } else {
            now.boot.0
        };
        let passed = Duration::from_millis(passed.max(0).unsigned_abs());
        let latest = now.wall - passed;
        if !known || self.wall <= latest + Clock::TOLERANCE {
            Some(self.wall)
        } else {
            same.then_some(latest)
        }
    }

    /// The latest moment that is remembered: the store's, or that of a flight which
    /// began after it. One that the store has seen pass in the same boot does not
    /// count: if it seems later, its clock has been set back and accepted since.
    #[must_use]
    pub fn latest(stored: Option<Stamp>, sent: impl Iterator<Item = Stamp>) -> Option<Stamp> {
        let passed = |sent: &Stamp| {
            stored.as_ref().is_some_and(|seen| {
                let same = seen.boot_id == sent.boot_id && !seen.boot_id.is_empty();
                same && sent.boot <= seen.boot
            })
        };
        let later: Vec<Stamp> = sent.filter(|sent| !passed(sent)).collect();
        stored.into_iter().chain(later).max_by_key(|seen| seen.wall)
    }
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
    lost_time: bool,
}

impl Clock {
    /// Steps back of up to this much are smoothed over without a word.
    pub const TOLERANCE: Duration = Duration::from_secs(2);

    /// Starts from a first reading. `last_seen` is the latest moment that the
    /// store remembers from before; the boot clock tells how long ago it was, if
    /// the machine still runs. A wall clock before that is not trusted.
    #[must_use]
    pub fn new(reading: Now, boot_id: &str, last_seen: Option<&Stamp>) -> Self {
        let reckoned = last_seen.and_then(|seen| seen.reckoned(reading.boot, boot_id));
        let least = reckoned.or(last_seen.map(|seen| seen.wall));
        let least = least.unwrap_or(reading.wall);
        let trusted = least <= reading.wall + Self::TOLERANCE;
        Clock {
            last: Now {
                wall: reading.wall.max(least),
                ..reading
            },
            trusted,
            lost_time: !trusted && reckoned.is_none(),
        }
    }

    /// Whether it started in another boot than the last moment that is remembered,
    /// with a wall clock before that: how long ago it was, nobody knows.
    #[must_use]
    pub fn lost_time(&self) -> bool {
        self.lost_time
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
        let wall = if mutation::is(Mutation::ClockStepTrusted) {
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
            lost_time: false,
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
        let mut clock = Clock::new(at(1_000_000, 0), "b", None);
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
        let mut clock = Clock::new(at(1_000_000, 0), "b", None);
        clock.observe(at(1_010_000, 10_000));
        assert_eq!(
            clock.observe(at(1_009_500, 10_500)).wall,
            WallTime(1_010_000)
        );
        assert!(clock.is_trusted());
    }

    #[test]
    fn the_store_remembers_a_later_time() {
        let seen = stamp(900_000, 500_000, "another boot");
        let mut clock = Clock::new(at(1_000, 0), "b", Some(&seen));
        assert!(!clock.is_trusted() && clock.lost_time());
        assert_eq!(clock.observe(at(2_000, 1_000)).wall, WallTime(901_000));
        clock.accept(at(2_000, 1_000));
        assert_eq!(clock.observe(at(3_000, 2_000)).wall, WallTime(3_000));
    }

    fn stamp(wall: i64, boot: i64, boot_id: &str) -> Stamp {
        Stamp {
            wall: WallTime(wall),
            boot: BootTime(boot),
            boot_id: boot_id.to_owned(),
        }
    }

    #[test]
    fn a_moment_is_no_later_than_the_boot_clock_has_it() {
        let then = stamp(5_000_000, 100_000, "b");
        let of = |now| then.by_clock_of(&now);
        assert_eq!(of(stamp(5_010_000, 110_000, "b")), Some(then.wall));
        // What is smoothed over, and a step ahead, leave it as it was.
        assert_eq!(of(stamp(5_008_500, 110_000, "b")), Some(then.wall));
        assert_eq!(of(stamp(9_000_000, 110_000, "b")), Some(then.wall));
        // Set back by an hour, which was accepted.
        assert_eq!(
            of(stamp(1_410_000, 110_000, "b")),
            Some(WallTime(1_400_000))
        );
        // Another boot: before that began, or nobody knows when.
        assert_eq!(of(stamp(5_060_000, 50_000, "c")), Some(then.wall));
        assert_eq!(of(stamp(5_020_000, 50_000, "c")), None);
        assert_eq!(of(stamp(5_020_000, 50_000, "")), Some(then.wall));
    }

    #[test]
    fn what_the_store_has_seen_pass_is_not_the_latest_moment() {
        let stored = Some(stamp(1_000_000, 50_000, "b"));
        let of = |sent: Stamp| Stamp::latest(stored.clone(), [sent].into_iter());
        let later = stamp(1_010_000, 60_000, "b");
        assert_eq!(of(later.clone()), Some(later));
        let bygone = stamp(9_000_000, 40_000, "b");
        assert_eq!(of(bygone), stored);
        let other = stamp(9_000_000, 40_000, "c");
        assert_eq!(of(other.clone()), Some(other));
    }

    #[test]
    fn the_boot_clock_tells_how_long_nobody_counted() {
        // Set back by 700 s while no process ran, for 1000 s: later than the last one seen.
        let seen = stamp(2_000_000, 50_000, "b");
        let mut clock = Clock::new(at(2_300_000, 1_050_000), "b", Some(&seen));
        assert!(!clock.is_trusted() && !clock.lost_time());
        let now = clock.observe(at(2_301_000, 1_051_000));
        assert_eq!(now.wall, WallTime(3_001_000));
        // Another boot, and an unknown one, tell nothing.
        for (boot_id, known) in [("b", "c"), ("", "")] {
            let seen = stamp(2_000_000, 50_000, known);
            let clock = Clock::new(at(2_300_000, 1_050_000), boot_id, Some(&seen));
            assert!(clock.is_trusted() && !clock.lost_time());
            let clock = Clock::new(at(1_300_000, 1_050_000), boot_id, Some(&seen));
            assert!(!clock.is_trusted() && clock.lost_time());
        }
        // Nor does time go back by what is smoothed over.
        let mut clock = Clock::new(at(2_999_000, 1_050_000), "b", Some(&seen));
        assert!(clock.is_trusted());
        assert_eq!(
            clock.observe(at(2_999_001, 1_050_001)).wall,
            WallTime(3_000_000)
        );
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
