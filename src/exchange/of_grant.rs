//! Exchanges for grants, as the store takes them.

use super::Deck;
use super::driver::{How, Stored};
use crate::state::{Commit as StoreCommit, Committed as StoreCommitted, Event, StoreError};
use refreshd_core::exchange::Exchange;
use refreshd_core::exchange::grant::{Commit, Committed, OfGrant};
use refreshd_core::flight::Intent;
use refreshd_core::grant::{GrantId, TokenSet};

impl Stored for OfGrant {
    async fn commit(
        deck: &Deck,
        exchange: &Exchange<Self>,
        commit: &Commit,
        how: How,
    ) -> Result<Committed, StoreError> {
        let settled = &commit.settled;
        let committed = deck.store.commit(StoreCommit {
            base: exchange.subject().grant().clone(),
            settlement: settled.settlement.clone(),
            event: Event {
                at: deck.clock.wall(),
                kind: settled.kind.word().to_owned(),
                text: settled.text.clone(),
            },
            intent: Some(exchange.intent().clone()),
            ends: how.ends,
            was_kept: how.was_kept,
        });
        Ok(match committed.await? {
            StoreCommitted::Applied(grant) => Committed::Applied(Box::new(grant)),
            StoreCommitted::Stale(grant) => Committed::Superseded(Box::new(grant)),
        })
    }

    async fn load(deck: &Deck, intent: &Intent) -> Result<Option<Self::Loaded>, StoreError> {
        let loaded = deck.store.load(&intent.grant).await?;
        Ok(loaded.map(|(grant, tokens)| {
            let tokens = tokens.unwrap_or_else(TokenSet::none);
            (Box::new(grant), Box::new(tokens))
        }))
    }

    /// Of the same generation it is settled again, and the intent must last until then.
    fn has_ended(intent: &Intent, committed: &Committed) -> bool {
        match committed {
            Committed::Applied(_) => true,
            Committed::Superseded(grant) => intent.generation != grant.state.generation,
        }
    }

    fn grant(intent: &Intent) -> Option<&GrantId> {
        Some(&intent.grant)
    }

    fn name(&self, intent: &Intent) -> String {
        intent.name.clone()
    }
}
