//! Tells a grant's owner in good time of an end that refreshing cannot move.

use super::Engine;
use refreshd_core::duration::human;
use refreshd_core::grant::notice::notice;
use refreshd_core::grant::schedule::{reauthorize_before, refresh_token_over};
use refreshd_core::time::WallTime;
use std::time::Duration;

/// An end that moves by less is the same: some answers count down to it, each by
/// its own clock.
const SAME_END: Duration = Duration::from_secs(3600);

/// Whether the owner was not told yet.
fn is_news(told: Option<(WallTime, u64)>, end: WallTime, days: u64) -> bool {
    told.is_none_or(|(told, at_days)| {
        let moved = end.since(told).max(told.since(end));
        moved > SAME_END || days < at_days
    })
}

impl Engine {
    /// Announces what is to be announced about a grant, each thing once; returns
    /// when to look again.
    pub(super) fn announce(&mut self, index: u32, now: WallTime) -> Option<WallTime> {
        let entry = self.roster.entry_mut(index);
        let seat = entry.seat.as_ref()?;
        let (state, name) = (&entry.grant.state, &entry.grant.name);
        if let Some(died) = refresh_token_over(state, &seat.policy, now) {
            if entry.announced.replace((died, 0)) != Some((died, 0)) {
                let tried = state.refusal.is_some() || state.last_send.is_some_and(|at| at >= died);
                let next = match tried {
                    true => format!("{name} has to be authorized again"),
                    false => format!(
                        "It is tried once, in case a clock errs; then {name} has to be authorized again"
                    ),
                };
                let (died_at, ago) = (died.rfc3339(), human(now.since(died)));
                let lived = human(died.since(state.issued_at));
                tracing::error!(
                    grant = %name, refresh_token_expired_at = %died_at,
                    "{name}: its refresh token died at {died_at}, {ago} ago: it was issued at {} and lived {lived}. {next}",
                    state.issued_at.rfc3339()
                );
            }
            return None;
        }
        let end = reauthorize_before(state, &seat.policy)?;
        let notice = notice(end, now);
        if let Some(days) = notice
            .days
            .filter(|days| is_news(entry.announced, end, *days))
        {
            entry.announced = Some((end, days));
            let at = end.rfc3339();
            if days == 0 {
                tracing::error!(grant = %name, "{name}: it ended at {at} and cannot be refreshed; authorize it again");
            } else {
                let left = human(end.since(now));
                tracing::warn!(
                    grant = %name, reauthorize_before = %at,
                    "{name}: authorize it again before {at}, in {left}: refreshing does not move that end"
                );
            }
        }
        notice.changes_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_each_answer_counts_down_to_is_told_once() {
        let end = WallTime::from_secs(100 * 86_400);
        let a_little_later = end + Duration::from_millis(1300);
        assert!(is_news(None, end, 14));
        assert!(!is_news(Some((end, 14)), a_little_later, 14));
        assert!(!is_news(Some((a_little_later, 14)), end, 14));
        assert!(!is_news(Some((end, 7)), a_little_later, 14));
        assert!(is_news(Some((end, 14)), a_little_later, 7));
        let authorized_again = end + Duration::from_secs(86_400);
        assert!(is_news(Some((end, 14)), authorized_again, 14));
    }
}
