//! Which push leaves the quarantine when it is full.
//!
//! Anybody can push without a state of ours, at the rate that is looked at; what they push
//! cannot be told from a merchant's. What can be told is that it comes in a burst. So the
//! push that stands closest to its neighbours in time gives way: a burst thins itself out,
//! and what came before or after it stays until it is approved or too old.

use crate::time::WallTime;

/// The place of the one that gives way, in a list that is sorted by the time of arrival.
/// `None`: the list is too short to have neighbours.
#[must_use]
pub fn gives_way(arrived: &[WallTime]) -> Option<usize> {
    let gap = |i: usize| arrived[i + 1].since(arrived[i]);
    let room = |i: usize| match (i.checked_sub(1), i + 1 < arrived.len()) {
        (Some(before), true) => gap(before) + gap(i),
        // At an end, the one neighbour counts twice.
        (Some(before), false) => gap(before) * 2,
        (None, _) => gap(i) * 2,
    };
    let all = 0..arrived.len();
    all.filter(|_| arrived.len() > 1).min_by_key(|&i| room(i))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 100;

    /// Lets pushes in at these seconds; those that stay.
    fn after(arrivals: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut waiting: Vec<WallTime> = Vec::new();
        for at in arrivals {
            waiting.push(WallTime::from_secs(at));
            if waiting.len() > MOST {
                let leaves = gives_way(&waiting).unwrap();
                waiting.remove(leaves);
            }
        }
        waiting.into_iter().map(WallTime::secs).collect()
    }

    #[test]
    fn a_flood_displaces_nothing_that_came_before_or_after_it() {
        let (before, after_it) = (0, 10_000);
        for flood in [100, 1_000, 6_000] {
            let flood = 3_600..3_600 + flood;
            let waiting = after(
                [before]
                    .into_iter()
                    .chain(flood)
                    .chain([after_it, after_it + 600]),
            );
            assert_eq!(waiting.len(), MOST);
            for real in [before, after_it, after_it + 600] {
                assert!(waiting.contains(&real), "{real} of {waiting:?}");
            }
        }
    }

    #[test]
    fn a_flood_of_a_day_keeps_no_place_from_what_comes_after_it() {
        let day = 86_400;
        let real: Vec<i64> = (1..20).map(|i| day + i * 1_800).collect();
        let waiting = after((0..day).chain(real.iter().copied()));
        assert!(real.iter().all(|at| waiting.contains(at)), "{waiting:?}");
    }

    #[test]
    fn bursts_at_one_moment_have_a_victim_too() {
        assert_eq!(gives_way(&[]), None);
        assert_eq!(gives_way(&[WallTime(0)]), None);
        assert!(gives_way(&[WallTime(0); 5]).is_some());
        assert_eq!(after(std::iter::repeat_n(7, 500)).len(), MOST);
    }
}
