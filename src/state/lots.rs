//! What concerns all grants is done by lots, in the order of their keys: a transaction that
//! holds all of them would keep everyone else waiting, and its log would be as large as
//! they are. What it guards is lifted with the last lot, so that a walk which was cut short
//! begins again.

use super::error::StoreError;
use super::store::Store;
use super::writer::Session;
use refreshd_core::grant::Grant;

/// Grants in one transaction.
pub(super) const LOT: usize = 1000;

/// What became of a lot.
pub(super) struct Lot<T> {
    /// What came of its grants, where anything did.
    pub(super) done: Vec<T>,
    /// The key of its last grant; `None`: there are no more.
    pub(super) last: Option<i64>,
}

impl<T> Lot<T> {
    /// Does something with the grants behind this key.
    pub(super) fn each(
        s: &Session<'_>,
        after: Option<i64>,
        mut change: impl FnMut(Grant) -> Result<Option<T>, StoreError>,
    ) -> Result<Lot<T>, StoreError> {
        let grants = s.grants_after(after, LOT)?;
        let full = grants.len() == LOT;
        let last = grants.last().map(|(key, _)| *key).filter(|_| full);
        let changed = grants.into_iter().map(|(_, grant)| change(grant));
        let done: Result<Vec<Option<T>>, _> = changed.collect();
        Ok(Lot {
            done: done?.into_iter().flatten().collect(),
            last,
        })
    }
}

impl Store {
    /// Runs `lot` for one lot after another, each in a transaction of its own.
    pub(super) async fn in_lots<T, F>(&self, lot: F) -> Result<Vec<T>, StoreError>
    where
        T: Send + 'static,
        F: Fn(&Session<'_>, Option<i64>) -> Result<Lot<T>, StoreError> + Clone + Send + 'static,
    {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let lot = lot.clone();
            let done = self.write(move |s| lot(s, after)).await?;
            all.extend(done.done);
            after = done.last;
            if after.is_none() {
                return Ok(all);
            }
        }
    }
}
