//! Tells a grant's owner in good time of an end that refreshing cannot move.

use super::Engine;
use refreshd_core::duration::human;
use refreshd_core::grant::notice::notice;
use refreshd_core::grant::schedule::{reauthorize_before, refresh_token_over};
use refreshd_core::time::WallTime;

impl Engine {
    /// Announces what is to be announced about a grant, each thing once; returns
    /// when to look again.
    pub(super) fn announce(&mut self, index: u32, now: WallTime) -> Option<WallTime> {
        let entry = self.roster.entry_mut(index);
        let seat = entry.seat.as_ref()?;
        let (state, name) = (&entry.grant.state, &entry.grant.name);
        if let Some(died) = refresh_token_over(state, &seat.policy, now) {
            if entry.announced.replace((died, 0)) != Some((died, 0)) {
                let (died_at, ago) = (died.rfc3339(), human(now.since(died)));
                let lived = human(died.since(state.issued_at));
                tracing::error!(
                    grant = %name, refresh_token_expired_at = %died_at,
                    "{name}: its refresh token died at {died_at}, {ago} ago: it was issued at {} and lived {lived}. \
                     It is tried once, in case a clock errs; then {name} has to be authorized again",
                    state.issued_at.rfc3339()
                );
            }
            return None;
        }
        let end = reauthorize_before(state, &seat.policy)?;
        let notice = notice(end, now);
        if let Some(days) = notice.days
            && entry.announced.replace((end, days)) != Some((end, days))
        {
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
