//! When a refresh token in doubt may be presented again.
//!
//! An exchange whose answer is not known may have rotated the refresh token.
//! Whether presenting it again is harmless, useless or ruinous is the
//! provider's doing, described by `[rotation]`; hope does not come into it.

use super::schedule::{Why, gap};
use super::state::{Doubt, GrantState};
use crate::mutation::{self, Mutation};
use crate::provider::description::{OldValid, Reuse, Rotation};
use crate::time::WallTime;
use std::time::Duration;

/// The limit on connecting to a token endpoint.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// An exchange that takes longer than this is in doubt, though still read.
pub const EXCHANGE_LIMIT: Duration = Duration::from_secs(30);
/// The last presentation comes so long before expiry that an answer fits.
const LAST_CHANCE: Duration = Duration::from_secs(10 + 30 + 5);

/// When to present the refresh token next; `None`: not as long as an answer is kept that
/// may hold the token which takes its place, for presenting the old one could revoke
/// that. `now` is needed because a window that has passed while nobody looked is over.
#[must_use]
pub fn next(
    doubt: &Doubt,
    state: &GrantState,
    rotation: &Rotation,
    now: WallTime,
) -> Option<(WallTime, Why)> {
    let earliest = last_sent(doubt, state) + spacing(state, rotation);
    // In the time that a restore has lost, what followed may have been used.
    let used = rotation.old_valid() == OldValid::UntilUsed && doubt.relic;
    if (harmless(doubt, rotation, earliest.max(now)) && !used)
        || rotation.reuse == Reuse::Error
        || mutation::is(Mutation::HoldIgnored)
    {
        return Some((earliest, Why::Doubt));
    }
    if doubt.unread && !mutation::is(Mutation::KeptAnswerRisked) {
        return None;
    }
    if state.access_dead {
        return Some((earliest, Why::Doubt));
    }
    let last_chance = last_chance(state);
    let held = if doubt.last_sent < last_chance {
        earliest.max(last_chance)
    } else {
        earliest.max(state.expires_at)
    };
    Some((held, Why::Hold))
}

/// Whether a refresh token in doubt is held back because presenting it could
/// cost something that is still alive. That includes the time in which the last
/// presentation may still be on its way: overtaken by another, and by the use of
/// what that brings, it would arrive as a void token.
#[must_use]
pub fn is_held(state: &GrantState, rotation: &Rotation, now: WallTime) -> bool {
    state.doubt.as_ref().is_some_and(|doubt| {
        let Some((at, why)) = next(doubt, state, rotation, now) else {
            return true;
        };
        let could_cost =
            rotation.reuse == Reuse::Revokes && rotation.old_valid() != OldValid::Forever;
        let under_way = now < last_sent(doubt, state) + spacing(state, rotation);
        now < at && (why == Why::Hold || (under_way && could_cost))
    })
}

/// Until when presenting a refresh token again, that was first sent then and is
/// harmless now, stays so; `None`: there is no such end, or the window is over and
/// something else allows it. Between the decision and the first byte a disk that hangs, a
/// slow connection or a machine that sleeps may take the rest of a window.
#[must_use]
pub fn harmless_until(
    first_sent: WallTime,
    rotation: &Rotation,
    now: WallTime,
) -> Option<WallTime> {
    let end = first_sent + window(rotation)? / 2;
    (rotation.reuse == Reuse::Revokes && now < end).then_some(end)
}

/// When it was last sent: a doubt that a restart found may be about a request that
/// never left, before one that did.
fn last_sent(doubt: &Doubt, state: &GrantState) -> WallTime {
    doubt
        .last_sent
        .max(state.last_send.unwrap_or(doubt.last_sent))
}

/// The least time between two presentations of a token in doubt: an eighth of
/// its window where it has one, so that several fit in.
#[must_use]
pub fn spacing(state: &GrantState, rotation: &Rotation) -> Duration {
    match window(rotation) {
        Some(window) if !window.is_zero() => (window / 8).max(Duration::from_secs(1)),
        _ => gap(state.lifetime()),
    }
}

/// Whether a presentation at that moment falls into the time in which the old
/// refresh token is still good. Windows count from the first send, and are used
/// to half: the clocks are not the same, and the answer takes time.
fn harmless(doubt: &Doubt, rotation: &Rotation, at: WallTime) -> bool {
    window(rotation).is_none_or(|window| at < doubt.first_sent + window / 2)
}

/// Whether the time in which the old refresh token is good runs, and will run out.
pub(crate) fn in_window(doubt: &Doubt, rotation: &Rotation, now: WallTime) -> bool {
    window(rotation).is_some() && harmless(doubt, rotation, now)
}

/// How long a presented refresh token stays good; `None`: without end.
fn window(rotation: &Rotation) -> Option<Duration> {
    match rotation.old_valid() {
        OldValid::For(duration) => Some(duration),
        OldValid::UntilUsed => rotation.old_valid_max,
        OldValid::Forever => None,
    }
}

/// The moment for the one presentation that is made while the access token
/// still lives: as late as an answer can come in time, but no earlier than the
/// last quarter of its life.
fn last_chance(state: &GrantState) -> WallTime {
    state.expires_at - LAST_CHANCE.min(state.lifetime() / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::description::Rotates;
    use crate::secret::Fingerprint;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000;

    fn state() -> GrantState {
        GrantState {
            generation: 3,
            expires_at: WallTime(HOUR),
            ..GrantState::default()
        }
    }

    fn doubt(first: i64, last: i64) -> Doubt {
        Doubt {
            first_sent: WallTime(first),
            last_sent: WallTime(last),
            presents: Fingerprint([7; 16]),
            presentations: 1,
            unread: false,
            relic: false,
        }
    }

    fn rotation(old_valid: OldValid, reuse: Reuse) -> Rotation {
        Rotation {
            old_valid,
            reuse,
            ..Rotation::default()
        }
    }

    fn ask(doubt: &Doubt, rotation: &Rotation, now: i64) -> (i64, Why) {
        let (at, why) = next(doubt, &state(), rotation, WallTime(now)).expect("it is presented");
        (at.0, why)
    }

    #[test]
    fn within_half_a_window_it_is_presented_again() {
        let grace = rotation(OldValid::For(Duration::from_secs(600)), Reuse::Revokes);
        assert_eq!(ask(&doubt(0, 0), &grace, 0), (75_000, Why::Doubt));
        assert_eq!(
            ask(&doubt(0, 200_000), &grace, 200_000),
            (275_000, Why::Doubt)
        );
        // The next one would fall into the second half: held.
        assert_eq!(
            ask(&doubt(0, 275_000), &grace, 275_000),
            (HOUR - 45_000, Why::Hold)
        );
    }

    #[test]
    fn what_is_harmless_now_is_not_so_for_ever() {
        let until = |rotation: &Rotation, now| {
            harmless_until(WallTime(7), rotation, WallTime(now)).map(|at| at.0)
        };
        let window = OldValid::For(Duration::from_secs(600));
        let grace = rotation(window, Reuse::Revokes);
        assert_eq!(until(&grace, 299_000), Some(300_007));
        assert_eq!(until(&grace, 300_007), None, "it is over already");
        // Presented after its window it costs nothing, or there is no end to that.
        assert_eq!(until(&rotation(window, Reuse::Error), 8), None);
        let forever = rotation(OldValid::Forever, Reuse::Revokes);
        assert_eq!(until(&forever, 8), None);
        let mut used = rotation(OldValid::UntilUsed, Reuse::Revokes);
        assert_eq!(until(&used, 8), None);
        used.old_valid_max = Some(Duration::from_secs(80));
        assert_eq!(until(&used, 8), Some(40_007));
    }

    #[test]
    fn a_window_that_passed_while_nobody_looked_is_over() {
        let grace = rotation(OldValid::For(Duration::from_secs(600)), Reuse::Revokes);
        assert_eq!(ask(&doubt(0, 0), &grace, 900_000).1, Why::Hold);
    }

    #[test]
    fn without_a_window_it_waits_for_its_last_chance_and_then_for_the_end() {
        let worst = Rotation::default();
        assert_eq!(ask(&doubt(0, 0), &worst, 0), (HOUR - 45_000, Why::Hold));
        assert_eq!(
            ask(&doubt(0, HOUR - 45_000), &worst, HOUR - 44_000),
            (HOUR, Why::Hold)
        );
        // Dead: with the ordinary gap, until a definite refusal.
        assert_eq!(
            ask(&doubt(0, HOUR), &worst, HOUR),
            (HOUR + 30_000, Why::Hold)
        );
    }

    #[test]
    fn an_error_costs_nothing() {
        let error = rotation(OldValid::default(), Reuse::Error);
        assert_eq!(ask(&doubt(0, 0), &error, HOUR / 2), (30_000, Why::Doubt));
    }

    #[test]
    fn forever_and_until_used_are_harmless() {
        for old_valid in [OldValid::Forever, OldValid::UntilUsed] {
            assert_eq!(
                ask(&doubt(0, 0), &rotation(old_valid, Reuse::Revokes), HOUR / 2),
                (30_000, Why::Doubt)
            );
        }
        let mut bounded = rotation(OldValid::UntilUsed, Reuse::Revokes);
        bounded.old_valid_max = Some(Duration::from_secs(80));
        assert_eq!(ask(&doubt(0, 0), &bounded, 0), (10_000, Why::Doubt));
        assert_eq!(ask(&doubt(0, 0), &bounded, 41_000).1, Why::Hold);
    }

    #[test]
    fn a_refresh_token_that_never_rotates_is_never_void() {
        let never = Rotation {
            rotates: Rotates::Never,
            ..Rotation::default()
        };
        assert_eq!(ask(&doubt(0, 0), &never, 0), (30_000, Why::Doubt));
        let undated = Doubt::of_lost_time(Fingerprint([7; 16]), None);
        let next = next(&undated, &state(), &never, WallTime(0));
        assert_eq!(next.map(|next| next.1), Some(Why::Doubt));
        let mut doubted = state();
        doubted.doubt = Some(doubt(0, 0));
        assert!(!is_held(&doubted, &never, WallTime(1)));
    }

    #[test]
    fn what_a_restore_brought_back_may_have_been_used_up() {
        let until_used = rotation(OldValid::UntilUsed, Reuse::Revokes);
        let doubt = Doubt::of_lost_time(Fingerprint([7; 16]), None);
        let ask =
            |rotation: &Rotation| next(&doubt, &state(), rotation, WallTime(0)).map(|next| next.1);
        assert_eq!(ask(&until_used), Some(Why::Hold));
        let forever = rotation(OldValid::Forever, Reuse::Revokes);
        assert_eq!(ask(&forever), Some(Why::Doubt));
    }

    #[test]
    fn a_later_send_counts_though_the_doubt_is_about_an_earlier_one() {
        let mut later = state();
        later.last_send = Some(WallTime(10_000));
        let error = rotation(OldValid::default(), Reuse::Error);
        let next = next(&doubt(0, 0), &later, &error, WallTime(0));
        assert_eq!(next, Some((WallTime(40_000), Why::Doubt)));
    }

    #[test]
    fn a_dead_access_token_has_nothing_to_lose() {
        let mut dead = state();
        dead.access_dead = true;
        let next = next(&doubt(0, 0), &dead, &Rotation::default(), WallTime(0));
        assert_eq!(next, Some((WallTime(30_000), Why::Doubt)));
    }

    /// At the last chance, after the end, and where the access token is dead as well: the
    /// kept answer is worth more than all of these.
    #[test]
    fn while_a_kept_answer_may_hold_its_successor_the_old_one_is_not_presented() {
        let kept = Doubt {
            unread: true,
            ..doubt(0, 0)
        };
        let dead = GrantState {
            access_dead: true,
            ..state()
        };
        let ask = |state: &GrantState, rotation: &Rotation, now| {
            next(&kept, state, rotation, WallTime(now)).map(|next| next.1)
        };
        let worst = Rotation::default();
        for now in [0, HOUR - 45_000, HOUR, 100 * HOUR] {
            assert_eq!(ask(&state(), &worst, now), None);
            assert_eq!(ask(&dead, &worst, now), None);
            let doubtful = GrantState {
                doubt: Some(kept.clone()),
                ..state()
            };
            assert!(is_held(&doubtful, &worst, WallTime(now)));
        }
        // Where that cannot revoke, it is: at once, and as long as its window is open.
        for (old_valid, reuse) in [
            (OldValid::default(), Reuse::Error),
            (OldValid::Forever, Reuse::Revokes),
            (OldValid::UntilUsed, Reuse::Revokes),
        ] {
            let rotation = rotation(old_valid, reuse);
            assert_eq!(ask(&state(), &rotation, HOUR), Some(Why::Doubt));
        }
        let grace = rotation(OldValid::For(Duration::from_secs(600)), Reuse::Revokes);
        assert_eq!(ask(&state(), &grace, 0), Some(Why::Doubt));
        assert_eq!(ask(&state(), &grace, 301_000), None);
    }

    proptest! {
        /// While the access token lives, a token whose reuse revokes is presented
        /// outside the window at most once.
        #[test]
        fn at_most_one_presentation_outside_the_window(life in 2u64..1_000_000, window in 0u64..10_000, first in 0i64..1_000_000) {
            let state = GrantState { generation: 1, expires_at: WallTime::from_secs(i64::try_from(life).unwrap()), ..GrantState::default() };
            let rotation = rotation(OldValid::For(Duration::from_secs(window)), Reuse::Revokes);
            let mut doubt = doubt(first, first);
            let mut outside = 0;
            for _ in 0..50 {
                let next = next(&doubt, &state, &rotation, doubt.last_sent);
                let (at, _) = next.expect("nothing is kept");
                if at >= state.expires_at {
                    break;
                }
                prop_assert!(at > doubt.last_sent);
                outside += u32::from(!harmless(&doubt, &rotation, at));
                doubt.last_sent = at;
            }
            prop_assert!(outside <= 1, "{outside} presentations outside the window");
        }
    }
}
