//! When to tell a grant's owner that an end is near which refreshing cannot move.

use super::policy::Policy;
use super::schedule::{reauthorize_before, refresh_token_over};
use super::state::GrantState;
use crate::time::WallTime;
use std::time::Duration;

/// So many days ahead the owner is told.
pub const DAYS_AHEAD: [u64; 4] = [14, 7, 3, 1];

const DAY: Duration = Duration::from_secs(86_400);

/// Which notice stands, and when the next one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The notice that stands: the fewest of [`DAYS_AHEAD`] that are still left,
    /// 0 once it is over; `None` while the end is far.
    pub days: Option<u64>,
    /// When that changes; `None` once it is over.
    pub changes_at: Option<WallTime>,
}

/// The notice about an end.
#[must_use]
pub fn notice(end: WallTime, now: WallTime) -> Notice {
    let begins = |days: u64| end - DAY * u32::try_from(days).unwrap_or(u32::MAX);
    let all = || DAYS_AHEAD.into_iter().chain([0]);
    Notice {
        days: all().rfind(|days| begins(*days) <= now),
        changes_at: all().map(begins).find(|at| *at > now),
    }
}

/// When the next notice about a grant is due. Of a refresh token that is over,
/// its owner has been told.
#[must_use]
pub fn look_again(state: &GrantState, policy: &Policy, now: WallTime) -> Option<WallTime> {
    if refresh_token_over(state, policy, now).is_some() {
        return None;
    }
    notice(reauthorize_before(state, policy)?, now).changes_at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const END: WallTime = WallTime(100 * 86_400_000);

    fn days_before(days: i64) -> WallTime {
        WallTime(END.0 - days * 86_400_000)
    }

    #[test]
    fn two_weeks_one_three_days_one_and_over() {
        let days = |now| notice(END, now).days;
        assert_eq!(days(days_before(15)), None);
        assert_eq!(days(days_before(14)), Some(14));
        assert_eq!(days(days_before(8)), Some(14));
        assert_eq!(days(days_before(7)), Some(7));
        assert_eq!(days(days_before(2)), Some(3));
        assert_eq!(days(days_before(1)), Some(1));
        assert_eq!(days(END), Some(0));
        assert_eq!(notice(END, END).changes_at, None);
    }

    proptest! {
        /// Waking at `changes_at` each time shows every notice once, in order.
        #[test]
        fn none_is_missed(start in 0i64..99 * 86_400_000) {
            let mut now = WallTime(start);
            let mut shown = Vec::new();
            while let Some(at) = notice(END, now).changes_at {
                prop_assert!(at > now && at <= END);
                now = at;
                shown.extend(notice(END, now).days);
            }
            prop_assert!(shown.is_sorted_by(|a, b| a > b), "{shown:?}");
            prop_assert_eq!(shown.last(), Some(&0));
        }
    }
}
