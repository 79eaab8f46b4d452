//! Exchanges for authorizations, as the store takes them.

use super::Deck;
use super::driver::{How, Stored};
use crate::state::{ImportRefusal, StoreError, TakenIn};
use refreshd_core::exchange::Exchange;
use refreshd_core::exchange::authorization::{Commit, Committed, OfAuthorization};
use refreshd_core::flight::Intent;
use refreshd_core::grant::GrantId;

impl Stored for OfAuthorization {
    async fn commit(
        deck: &Deck,
        exchange: &Exchange<Self>,
        commit: &Commit,
        how: How,
    ) -> Result<Committed, StoreError> {
        let ends = how.ends.then_some(exchange.intent().flight);
        match commit {
            Commit::Turn(turn) => {
                let turned = deck.store.turn_enrollment((**turn).clone(), ends);
                turned.await.map(|_applied| Committed::Turned)
            }
            Commit::TakeIn(it) => match deck.store.take_in((**it).clone(), ends).await {
                Ok(TakenIn::Current(imported)) => {
                    Ok(Committed::Current(Box::new(imported.grant().clone())))
                }
                Ok(TakenIn::Held(why)) => Ok(Committed::Held(why)),
                Ok(TakenIn::Gone) => Ok(Committed::Gone),
                // The grant's own record is damaged: trying again would not help.
                Err(ImportRefusal::Store(
                    e @ (StoreError::Seal(_) | StoreError::Record { .. }),
                )) => Ok(Committed::Refused(e.to_string())),
                Err(ImportRefusal::Store(e)) => Err(e),
                Err(refusal) => Ok(Committed::Refused(refusal.to_string())),
            },
        }
    }

    async fn load(_: &Deck, _: &Intent) -> Result<Option<()>, StoreError> {
        Ok(Some(()))
    }

    fn has_ended(_: &Intent, committed: &Committed) -> bool {
        !matches!(committed, Committed::Refused(_))
    }

    fn grant(_: &Intent) -> Option<&GrantId> {
        None
    }

    fn name(&self, _: &Intent) -> String {
        let enrollment = self.enrollment();
        enrollment
            .grant
            .clone()
            .unwrap_or_else(|| enrollment.client.clone())
    }
}
