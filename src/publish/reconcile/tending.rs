//! How often an output is mended that somebody else writes too: at once at first, and
//! ever more seldom while that goes on, since two writers that fight serve nobody.

use std::time::{Duration, Instant};

/// So many times it is mended as soon as it is seen.
const AT_ONCE: u32 = 3;
/// The first pause after that; each is twice the last.
const PAUSE: Duration = Duration::from_secs(60);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(3600);
/// An output that nobody has touched for this long, or for twice the last pause, is
/// left alone by now.
const CALM: Duration = Duration::from_secs(600);

/// What others did to an output of late.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tending {
    times: u32,
    last: Option<Instant>,
}

impl Tending {
    /// How many times others were at it of late.
    pub(super) fn times(&self) -> u32 {
        self.times
    }

    /// Somebody was at it; after how long it is to be mended.
    pub(super) fn disturbed(&mut self, now: Instant) -> Duration {
        self.times = self.times.saturating_add(1);
        self.last = Some(now);
        pause(self.times)
    }

    /// It looked so, and was not.
    pub(super) fn was_nothing(&mut self) {
        self.times = self.times.saturating_sub(1);
    }

    /// Whether what went on has ended just now.
    pub(super) fn ends(&mut self, now: Instant) -> bool {
        let Some(last) = self.last else {
            return false;
        };
        let calm = CALM.max(pause(self.times) * 2);
        let over = now.saturating_duration_since(last) >= calm;
        let told = self.times > 0;
        if over {
            *self = Tending::default();
        }
        over && told
    }
}

fn pause(times: u32) -> Duration {
    match times.checked_sub(AT_ONCE + 1) {
        None => Duration::ZERO,
        Some(more) => LONGEST.min(PAUSE.saturating_mul(2_u32.saturating_pow(more))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_again_and_again_is_not_fought() {
        let (start, mut tending) = (Instant::now(), Tending::default());
        let pauses: Vec<u64> = (0..11)
            .map(|_| tending.disturbed(start).as_secs())
            .collect();
        let expected = [0, 0, 0, 60, 120, 240, 480, 960, 1920, 3600, 3600];
        assert_eq!(pauses, expected);
        assert!(!tending.ends(start + Duration::from_secs(7199)));
        assert!(tending.ends(start + Duration::from_secs(7200)));
        assert_eq!(tending.disturbed(start), Duration::ZERO, "it begins anew");
    }

    #[test]
    fn what_was_nothing_counts_for_nothing() {
        let (start, mut tending) = (Instant::now(), Tending::default());
        for _ in 0..10 {
            assert_eq!(tending.disturbed(start), Duration::ZERO);
            tending.was_nothing();
        }
        assert_eq!(tending.times(), 0);
        assert!(
            !tending.ends(start + CALM),
            "nothing was told, so nothing is over"
        );
    }
}
