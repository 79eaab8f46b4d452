//! Exponential back-off with full jitter, also at the cap: many that failed
//! together do not come back together.

use std::time::Duration;

/// A wait drawn evenly from 1 ms up to `min(cap, base * 2^attempt)`, by a random
/// number of 64 bits.
#[must_use]
pub fn full_jitter(attempt: u32, base: Duration, cap: Duration, roll: u64) -> Duration {
    let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
    let ceiling = base.saturating_mul(factor).min(cap);
    let ceiling = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
    // The high half of the product is even over 0..ceiling, without a division's bias.
    let drawn = (u128::from(roll) * u128::from(ceiling)) >> 64;
    Duration::from_millis(1 + u64::try_from(drawn).unwrap_or(u64::MAX - 1))
        .min(Duration::from_millis(ceiling.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: Duration = Duration::from_secs(1);
    const CAP: Duration = Duration::from_secs(300);

    #[test]
    fn the_ends_of_the_range() {
        let waits = |attempt, roll| full_jitter(attempt, BASE, CAP, roll).as_millis();
        for (attempt, ceiling) in [
            (0, 1000),
            (1, 2000),
            (8, 256_000),
            (9, 300_000),
            (40, 300_000),
            (u32::MAX, 300_000),
        ] {
            assert_eq!((waits(attempt, 0), waits(attempt, u64::MAX)), (1, ceiling));
            assert_eq!(waits(attempt, u64::MAX / 2 + 1), 1 + ceiling / 2);
        }
        assert_eq!(
            full_jitter(0, Duration::ZERO, CAP, 7),
            Duration::from_millis(1)
        );
        let longest = full_jitter(u32::MAX, Duration::MAX, Duration::MAX, u64::MAX);
        assert_eq!(longest, Duration::from_millis(u64::MAX));
    }

    proptest! {
        #[test]
        fn within_bounds_and_even(attempt in 0_u32..100, rolls in prop::collection::vec(any::<u64>(), 256)) {
            let ceiling = BASE.saturating_mul(1 << attempt.min(20)).min(CAP);
            let waits: Vec<Duration> = rolls.iter().map(|roll| full_jitter(attempt, BASE, CAP, *roll)).collect();
            prop_assert!(waits.iter().all(|w| !w.is_zero() && *w <= ceiling));
            // Each quarter has some of 256 draws, at the cap too (1 - 4 * 0.75^256).
            for quarter in 0..4_u32 {
                let (from, to) = (ceiling * quarter / 4, ceiling * (quarter + 1) / 4);
                prop_assert!(waits.iter().any(|w| *w > from && *w <= to), "quarter {}", quarter);
            }
        }
    }
}
