//! Grants that begin by themselves: the client asks for their first token set.

use super::error::StoreError;
use super::ledger;
use super::store::Store;
use super::writer::Session;
use refreshd_core::grant::{Grant, GrantState};
use refreshd_core::ledger::begin;
use refreshd_core::time::WallTime;

impl Store {
    /// Adds a grant that has no token set yet, since its client can ask for one.
    /// One of that name that is there already is returned as it is.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn begin(
        &self,
        name: &str,
        client: &str,
        state: GrantState,
        at: WallTime,
    ) -> Result<Grant, StoreError> {
        let (name, client) = (name.to_owned(), client.to_owned());
        self.write(move |s| begin(s, &name, &client, state, at))
            .await
    }
}

fn begin(
    s: &Session<'_>,
    name: &str,
    client: &str,
    state: GrantState,
    at: WallTime,
) -> Result<Grant, StoreError> {
    s.saw(at);
    match s.grant_named(name)? {
        Some(known) => Ok(known),
        None => {
            let changes = begin::begin(s.new_id()?, name, client, state, at);
            ledger::write(s, None, &changes)
        }
    }
}
