//! The refresh tokens of late answers, for grants whose own is refused.

use super::error::StoreError;
use super::ledger;
use super::store::Store;
use super::writer::Session;
use refreshd_core::grant::{Grant, GrantId};
use refreshd_core::ledger::fallback;
use refreshd_core::time::WallTime;

impl Store {
    /// The grants with a refresh token that a late answer brought and that has
    /// not been tried.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn second_chances(&self) -> Result<Vec<GrantId>, StoreError> {
        self.read(grants).await
    }

    /// Puts such a refresh token in the place of a refused one. `None`: there is
    /// none, or the grant has moved on.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn take_second_chance(
        &self,
        grant: &GrantId,
        base_revision: u64,
        at: WallTime,
    ) -> Result<Option<Grant>, StoreError> {
        let grant = grant.clone();
        self.write(move |s| take(s, &grant, base_revision, at))
            .await
    }
}

/// The grants that may have something to try.
fn grants(s: &Session<'_>) -> Result<Vec<GrantId>, StoreError> {
    let mut statement = s.conn.prepare_cached(
        "SELECT DISTINCT grant_id FROM candidates
         WHERE refused = 0 AND description IS NOT NULL AND tokens IS NOT NULL",
    )?;
    let ids = statement.query_map([], |row| Ok(GrantId(row.get(0)?)))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

fn take(
    s: &Session<'_>,
    grant: &GrantId,
    base_revision: u64,
    at: WallTime,
) -> Result<Option<Grant>, StoreError> {
    let entry = ledger::entry(s, s.grant(grant)?, true)?;
    let facts = ledger::facts(s, None)?;
    let Some(changes) = fallback::take(&entry, &facts, base_revision, s.fingerprints, at) else {
        return Ok(None);
    };
    let grant = ledger::write(s, Some(&entry.grant), &changes)?;
    Ok(changes.grant.map(|_| grant))
}
