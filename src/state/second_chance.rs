//! A refused grant tries the refresh tokens that late answers brought, before a
//! person is asked. What an import replaced is not among them: it may be another
//! account's.

use super::error::StoreError;
use super::history::{self, Event};
use super::kept;
use super::writer::Session;
use refreshd_core::grant::candidate::{Kept, second_chances};
use refreshd_core::grant::{Grant, GrantId, TokenSet};
use refreshd_core::time::WallTime;

/// The grants that have something to try.
pub(super) fn grants(s: &Session<'_>) -> Result<Vec<GrantId>, StoreError> {
    let mut statement = s.conn.prepare_cached(
        "SELECT DISTINCT grant_id FROM candidates
         WHERE refused = 0 AND description IS NOT NULL AND tokens IS NOT NULL",
    )?;
    let ids = statement.query_map([], |row| Ok(GrantId(row.get(0)?)))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Puts the newest untried refresh token of a late answer in the place of the
/// refused one, which is kept, marked. `None`: there is none, or the grant has
/// moved on.
pub(super) fn take(
    s: &Session<'_>,
    grant: &GrantId,
    base_revision: u64,
    at: WallTime,
) -> Result<Option<Grant>, StoreError> {
    let mut grant = s.grant(grant)?;
    if grant.revision != base_revision || grant.state.refusal.is_none() {
        return Ok(None);
    }
    let Some(current) = s.tokens(&grant)? else {
        return Ok(None);
    };
    let mut candidates = kept::candidates(s, &grant.id)?;
    let kept: Vec<Kept> = candidates.iter().map(|c| c.kept()).collect();
    for chance in second_chances(&kept, &grant.state) {
        let candidate = &mut candidates[chance];
        kept::forget(s, "candidates", candidate.flight)?;
        let token = candidate
            .tokens
            .take()
            .and_then(|tokens| tokens.refresh_token);
        let Some(token) = token.filter(|token| Some(token) != current.refresh_token.as_ref())
        else {
            continue;
        };
        kept::keep_refused(s, &grant, &current, at)?;
        let fingerprint = s.fingerprints.of(&token);
        grant.state = grant.state.trying(fingerprint, &kept[chance]);
        grant.revision += 1;
        let tokens = TokenSet {
            refresh_token: Some(token),
            ..current
        };
        s.write_grant(&grant, Some(&tokens))?;
        let event = Event {
            at,
            kind: "second-chance".to_owned(),
            text: "the refresh token was refused; one that a late answer brought is tried"
                .to_owned(),
        };
        history::record(s, &grant, None, &event)?;
        return Ok(Some(grant));
    }
    Ok(None)
}
