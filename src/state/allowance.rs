//! Allows for what nobody knows any more: time that was lost, exchanges of which the
//! record is gone. Whatever a grant could lose by that counts as the worse.

use super::error::StoreError;
use super::ledger;
use super::lots::Lot;
use super::writer::Session;
use refreshd_core::GrantState;
use refreshd_core::ledger::{Entry, Event, allow};

/// Changes each grant of a lot that could lose by it. With the last lot the row of `meta`
/// goes that says what is not known.
pub(super) fn allow_for(
    s: &Session<'_>,
    row: &str,
    event: &Event,
    state_after: impl Fn(&GrantState) -> Option<GrantState>,
    after: Option<i64>,
) -> Result<Lot<()>, StoreError> {
    let lot = Lot::each(s, after, |grant| {
        let entry = Entry::of(grant, None);
        let changes = allow(&entry, event, &state_after);
        let write = |changes| ledger::write(s, Some(&entry.grant), &changes).map(drop);
        changes.map(write).transpose()
    })?;
    if lot.last.is_none() {
        s.conn.execute("DELETE FROM meta WHERE key = ?1", [row])?;
    }
    Ok(lot)
}
