//! What is open while no daemon runs: what the rows say, in step with what a crash
//! left. Nothing is written, so that the next daemon announces it.

use crate::config::active::{has_broken_client, seat_of};
use crate::state::{Store, StoreError};
use refreshd_core::Grant;
use refreshd_core::incident::{Book, Incident, Kinds, Subject, over};
use refreshd_core::time::WallTime;

/// What is open, the oldest first.
///
/// # Errors
/// When the store cannot be read.
pub async fn open_incidents(
    store: &Store,
    grants: &[Grant],
    config: &crate::config::Config,
    now: WallTime,
) -> Result<Vec<Incident>, StoreError> {
    let (open, last_id) = store.open_incidents().await?;
    let mut book = Book::recalled(open, last_id);
    // Of a broken client's grants the rows are all there is to go by.
    for grant in grants
        .iter()
        .filter(|grant| !has_broken_client(grant, config))
    {
        let (subject, state) = (Subject::Grant(grant.name.clone()), &grant.state);
        let wrong = seat_of(grant, config).map_or(Kinds::NONE, |seat| {
            Kinds::of_grant(state, &seat.policy, now)
        });
        for kind in book.kinds(&subject).without(wrong).iter() {
            book.close(&subject, kind, || over(kind, state), now);
        }
        let last = state.last_outcome.as_ref().filter(|l| l.is_failure());
        for kind in wrong.iter() {
            let text = || last.map_or_else(String::new, |last| last.text.clone());
            book.raise(&subject, kind, None, text, now);
        }
    }
    let mut open: Vec<Incident> = book.open().cloned().collect();
    open.sort_by_key(|incident| incident.id);
    Ok(open)
}
