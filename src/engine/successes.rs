//! How many successes the log tells one by one. Each has a line as long as they are few;
//! with hundreds a second the lines would cost more than what they tell.

use std::time::{Duration, Instant};

/// So many lines may come at once.
const AT_ONCE: u32 = 50;
/// And one more in each of these.
const EACH: Duration = Duration::from_secs(1);

/// What may be told.
#[derive(Debug)]
pub(super) struct Successes {
    left: u32,
    refilled: Instant,
    untold: u64,
}

impl Successes {
    pub(super) fn new(now: Instant) -> Self {
        Successes {
            left: AT_ONCE,
            refilled: now,
            untold: 0,
        }
    }

    /// Whether one more is told, and how many were not since the last that was.
    pub(super) fn tell(&mut self, now: Instant) -> Option<u64> {
        let gone = now.saturating_duration_since(self.refilled);
        let more = u32::try_from(gone.as_secs() / EACH.as_secs()).unwrap_or(AT_ONCE);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(AT_ONCE);
            self.refilled = now;
        }
        if self.left == 0 {
            self.untold += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_told_each_and_of_many_one_a_second() {
        let start = Instant::now();
        let mut successes = Successes::new(start);
        let told = |successes: &mut Successes, at: Duration| successes.tell(start + at);
        for _ in 0..AT_ONCE {
            assert_eq!(told(&mut successes, Duration::ZERO), Some(0));
        }
        for _ in 0..300 {
            assert_eq!(told(&mut successes, Duration::from_millis(900)), None);
        }
        assert_eq!(told(&mut successes, EACH), Some(300));
        assert_eq!(told(&mut successes, EACH), None);
        // After a while of calm each has its line again.
        let later = EACH * 1000;
        assert_eq!(told(&mut successes, later), Some(1));
        for _ in 1..AT_ONCE {
            assert_eq!(told(&mut successes, later), Some(0));
        }
        assert_eq!(told(&mut successes, later), None);
    }
}
