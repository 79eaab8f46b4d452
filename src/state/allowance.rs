//! Allows for what nobody knows any more: time that was lost, exchanges of which the
//! record is gone. Whatever a grant could lose by that counts as the worse.

use super::error::StoreError;
use super::ledger;
use super::writer::Session;
use refreshd_core::GrantState;
use refreshd_core::ledger::{Entry, Event, allow};

/// Changes each grant that could lose by it, and deletes the row of `meta` that said what
/// is not known, in one transaction. How many grants those are.
pub(super) fn allow_for(
    s: &Session<'_>,
    row: &str,
    event: &Event,
    after: impl Fn(&GrantState) -> Option<GrantState>,
) -> Result<usize, StoreError> {
    let mut changed = 0;
    for grant in s.all_grants()? {
        let entry = Entry::of(grant, None);
        if let Some(changes) = allow(&entry, event, &after) {
            ledger::write(s, Some(&entry.grant), &changes)?;
            changed += 1;
        }
    }
    s.conn.execute("DELETE FROM meta WHERE key = ?1", [row])?;
    Ok(changed)
}
