//! Refresh tokens that came too late to be current: tried before a grant is
//! given up.

use super::Engine;
use crate::state::Event as HistoryEvent;
use crate::state::{Candidate, Commit, Committed};
use refreshd_core::flight::Settlement;
use refreshd_core::grant::settle::with_candidate;
use refreshd_core::{Grant, TokenSet};

impl Engine {
    /// Puts the newest candidate in the place of a refused refresh token;
    /// whether there was one.
    pub(super) async fn try_candidate(&mut self, grant: &Grant) -> bool {
        match self.next_candidate(grant).await {
            Ok(Some((tokens, candidate))) => self.adopt_candidate(grant, &tokens, candidate).await,
            Ok(None) => false,
            Err(e) => {
                tracing::error!(grant = %grant.name, "{}: its candidates cannot be read: {e}", grant.name);
                false
            }
        }
    }

    async fn next_candidate(
        &self,
        grant: &Grant,
    ) -> Result<Option<(TokenSet, Candidate)>, crate::state::StoreError> {
        let store = &self.deck.store;
        let Some((_, Some(tokens))) = store.load(&grant.id).await? else {
            return Ok(None);
        };
        let candidates = store.candidates(&grant.id).await?;
        let brings_another = |candidate: &Candidate| {
            let refresh_token = candidate
                .tokens
                .as_ref()
                .and_then(|t| t.refresh_token.as_ref());
            refresh_token.is_some_and(|token| {
                Some(self.deck.fingerprinter.of(token)) != grant.state.presents
            })
        };
        let newest = candidates.into_iter().rev().find(brings_another);
        Ok(newest.map(|candidate| (tokens, candidate)))
    }

    async fn adopt_candidate(
        &mut self,
        grant: &Grant,
        tokens: &TokenSet,
        candidate: Candidate,
    ) -> bool {
        let Some(brought) = &candidate.tokens else {
            return false;
        };
        let (state, tokens) =
            with_candidate(&self.deck.fingerprinter, &grant.state, tokens, brought);
        let text = "the refresh token was refused; one that a late answer brought is tried";
        let commit = Commit {
            grant: grant.id.clone(),
            base_revision: grant.revision,
            settlement: Settlement {
                state,
                tokens: Some(tokens),
                unread: None,
            },
            event: HistoryEvent {
                at: self.deck.clock.wall(),
                kind: "candidate".to_owned(),
                text: text.to_owned(),
            },
            flight: None,
            description: None,
        };
        match self.deck.store.commit(commit).await {
            Ok(Committed::Applied(changed) | Committed::Stale(changed)) => {
                tracing::warn!(grant = %grant.name, "{}: {text}", grant.name);
                self.roster.put(changed);
                let forgotten = self.deck.store.forget_candidate(candidate.flight).await;
                forgotten.is_ok()
            }
            Err(e) => {
                tracing::error!(grant = %grant.name, "{}: a candidate could not be taken: {e}", grant.name);
                false
            }
        }
    }
}
