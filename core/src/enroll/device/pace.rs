//! How long to wait between two polls of a device code (RFC 8628 §3.5).

use crate::backoff::Backoff;
use std::time::Duration;

/// `slow_down` adds so much.
const SLOWER: Duration = Duration::from_secs(5);
/// The longest pause that failures lead to.
const SLOWEST: Duration = Duration::from_secs(120);
/// The last poll comes at least so long before the code's end, and at most so long.
const LAST: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(5);

/// What the last poll came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// There was none yet, or the person has not decided.
    Pending,
    /// `slow_down`.
    SlowDown,
    /// Nothing was decided: no answer, a gateway's error, too many requests; with the
    /// `Retry-After` of the answer, where it has one.
    Nothing(Option<Duration>),
}

/// The pauses of one device code.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    interval: Duration,
    failures: u32,
}

impl Pace {
    /// Begins with the interval that the provider has stated.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Pace {
            interval,
            failures: 0,
        }
    }

    /// Goes on after a restart: what `slow_down` added is not known, so once is added.
    #[must_use]
    pub fn resumed(interval: Duration) -> Self {
        Pace::new(interval + SLOWER)
    }

    /// How long to wait before the next poll of a code that is good for `left` more;
    /// `None`: there is no time for another.
    ///
    /// A person's approval is worth a poll shortly before the code's end, whatever pause was
    /// asked for: no pause sleeps past it.
    #[must_use]
    pub fn pause(&mut self, met: Met, left: Duration) -> Option<Duration> {
        let pause = match met {
            Met::Pending => {
                self.failures = 0;
                self.interval
            }
            Met::SlowDown => {
                self.failures = 0;
                self.interval += SLOWER;
                self.interval
            }
            Met::Nothing(retry_after) => {
                self.failures = (self.failures + 1).min(16);
                let base = self.interval.min(SLOWEST);
                // An outage may end at any time: several polls fit into what is left.
                let backoff = Backoff::new(base, SLOWEST).capped(left / 4);
                let own = backoff.wait(self.failures).max(self.interval);
                retry_after.map_or(own, |asked| asked.max(own))
            }
        };
        let margin = (left / 10).clamp(*LAST.start(), *LAST.end());
        let last = left.checked_sub(margin).filter(|last| !last.is_zero())?;
        // A provider whose codes end long before its interval is not asked all the same.
        Some(pause.min(last)).filter(|pause| *pause >= self.interval / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn slow_down_adds_five_seconds_for_good() {
        let mut pace = Pace::new(secs(5));
        let left = secs(600);
        assert_eq!(pace.pause(Met::Pending, left), Some(secs(5)));
        assert_eq!(pace.pause(Met::SlowDown, left), Some(secs(10)));
        assert_eq!(pace.pause(Met::SlowDown, left), Some(secs(15)));
        assert_eq!(pace.pause(Met::Pending, left), Some(secs(15)));
        assert_eq!(
            Pace::resumed(secs(5)).pause(Met::Pending, left),
            Some(secs(10))
        );
    }

    #[test]
    fn failures_double_the_pause_and_an_answer_ends_that() {
        let mut pace = Pace::new(secs(5));
        let left = secs(86_400);
        let mut failed = || pace.pause(Met::Nothing(None), left).unwrap().as_secs();
        assert_eq!(
            [failed(), failed(), failed(), failed(), failed(), failed()],
            [10, 20, 40, 80, 120, 120]
        );
        assert_eq!(pace.pause(Met::Pending, left), Some(secs(5)));
        assert_eq!(
            Pace::new(secs(300)).pause(Met::Nothing(None), left),
            Some(secs(300))
        );
    }

    #[test]
    fn a_retry_after_is_kept_to() {
        let mut pace = Pace::new(secs(5));
        let asked = Met::Nothing(Some(secs(40)));
        assert_eq!(pace.pause(asked, secs(600)), Some(secs(40)));
        let less = Met::Nothing(Some(secs(1)));
        assert_eq!(
            pace.pause(less, secs(600)),
            Some(secs(20)),
            "never faster than without it"
        );
    }

    #[test]
    fn no_pause_sleeps_past_the_code_s_end() {
        for met in [
            Met::Pending,
            Met::SlowDown,
            Met::Nothing(None),
            Met::Nothing(Some(secs(3600))),
        ] {
            for left in [7, 15, 29, 60] {
                let mut pace = Pace::new(secs(3));
                let pause = pace.pause(met, secs(left)).unwrap();
                assert!(pause < secs(left), "{met:?} {left}: {pause:?}");
            }
            assert_eq!(Pace::new(secs(1)).pause(met, secs(1)), None);
        }
    }

    #[test]
    fn an_interval_beyond_the_code_s_end_is_kept_to() {
        let mut pace = Pace::new(secs(300));
        assert_eq!(pace.pause(Met::Pending, secs(2)), None);
        assert_eq!(
            Pace::new(secs(5)).pause(Met::Pending, secs(4)),
            Some(secs(3))
        );
    }

    #[test]
    fn an_outage_of_half_a_code_s_life_costs_no_approval() {
        // A code of 30 s; the server is down for the first 16.
        let (mut pace, mut at) = (Pace::new(secs(1)), secs(1));
        while at < secs(16) {
            at += pace.pause(Met::Nothing(None), secs(30) - at).unwrap();
        }
        assert!(at < secs(25), "{at:?}");
    }
}
