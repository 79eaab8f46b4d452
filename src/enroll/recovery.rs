//! Exchanges of authorizations that the last run did not finish.

use super::Enroller;
use crate::config::Client;
use crate::config::active::Seat;
use crate::exchange::{adopt, leave};
use crate::state::{Recovered, StoreError};
use refreshd_core::enroll::{Enrollment, EnrollmentId, Secrets, Stage, Via};
use refreshd_core::exchange::Exchange;
use refreshd_core::exchange::authorization::{OfAuthorization, Terms};
use refreshd_core::flight::Intent;
use refreshd_core::grant::Presents;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An authorization with what its exchange goes by, where that is known.
type Found = ((Enrollment, Secrets), Result<(Seat, Terms), String>);

impl Enroller {
    /// Settles what was under way of authorizations: an answer is taken in; a code
    /// whose answer never came was presented, and is not presented again.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn finish(&self, recovered: Vec<Recovered>) -> Result<(), StoreError> {
        let mut recovered = recovered;
        // One that brought something decides; another record of its code does not undo it.
        recovered.sort_by_key(|recovered| recovered.answer.is_none());
        for found in recovered {
            let Some((authorization, terms)) = self.authorization_of(&found).await? else {
                leave(&self.0.deck, found.intent.flight).await;
                continue;
            };
            // What it brought may be asked about, which nothing waits for; the rest is
            // settled before anything else begins.
            if found.answer.is_none() || terms.is_err() {
                self.adopt(found, authorization, terms).await;
                continue;
            }
            let (id, Presents::Code(code)) = (authorization.0.id, found.intent.presents) else {
                continue;
            };
            // From now on: the codes that wait are looked through next, and the store does
            // not say yet that this one has been presented.
            let taken = self.busy().insert(code);
            let enroller = self.clone();
            let settling = async move {
                let counted = enroller.count();
                enroller.adopt(found, authorization, terms).await;
                drop(counted);
                if taken {
                    enroller.busy().remove(&code);
                    // If its code was not used, it waits again.
                    enroller.exchange_soon(id);
                }
            };
            tokio::spawn(settling);
        }
        Ok(())
    }

    async fn adopt(
        &self,
        found: Recovered,
        authorization: (Enrollment, Secrets),
        terms: Result<(Seat, Terms), String>,
    ) {
        let Recovered { intent, answer } = found;
        let deck = &self.0.deck;
        let now = deck.clock.stamp();
        let intent = match deck.store.fence() {
            Some(_) => intent.in_restored_store(&now),
            None => intent,
        };
        let name = self.name_of(&authorization.0).unwrap_or_default();
        let (seat, terms) = match terms {
            Ok((seat, terms)) => (Some(seat), Ok(terms)),
            Err(text) => (None, Err(text)),
        };
        let client = seat.as_ref().map(|seat| &seat.client);
        let kept = answer.clone();
        let found =
            Exchange::<OfAuthorization>::recovered(intent, answer, authorization, terms, &now);
        let verdict = adopt(deck, client, found, kept.as_ref(), &|_| ()).await;
        self.conclude(&name, verdict).await;
    }

    /// The authorization of an exchange. `None`: there is none, and nothing to lose.
    async fn authorization_of(&self, found: &Recovered) -> Result<Option<Found>, StoreError> {
        let intent = &found.intent;
        let Presents::Code(code) = intent.presents else {
            return Ok(None);
        };
        let Some(authorization) = self.0.deck.store.enrollment_of_code(code).await? else {
            return Ok(found.answer.as_ref().map(|_| self.unknown(intent)));
        };
        let terms = match self.terms(&authorization.0) {
            Ok((seat, terms)) => Ok((seat, self.as_recorded(terms, intent).await?)),
            Err(text) => Err(text),
        };
        Ok(Some((authorization, terms)))
    }

    /// An authorization that the store does not know, since it was put back to a time
    /// before: its answer may hold the only copy of a refresh token, and is held.
    fn unknown(&self, intent: &Intent) -> Found {
        // The exchange's own number, so that it is not held twice after a kill in between.
        let id = EnrollmentId(intent.flight.0);
        let short = intent.flight.short();
        let known = self.client_of(intent);
        let text = match &known {
            Some(_) => format!(
                "the store was put back to a time before this authorization: its token set waits. Take it with `refreshd authorize --accept {}`, or authorize again",
                id.hex()
            ),
            None => format!(
                "the store was put back to a time before this authorization, and its client is not configured: its answer is kept. Look at it with `refreshd answers show {short}`, and take it in with `refreshd answers read {short} --provider NAME`, or authorize again"
            ),
        };
        let (client, provider) = known.unwrap_or_default();
        let unknown = Enrollment {
            id,
            grant: Some(intent.name.clone()).filter(|name| !name.is_empty()),
            client,
            provider,
            via: Via::Redirect,
            redirect_uri: None,
            vars: BTreeMap::new(),
            begun_at: intent.sent.wall,
            expires_at: self.0.deck.clock.wall(),
            stage: Stage::InDoubt,
            text: String::new(),
            configured: false,
            sent: None,
            account: None,
            generation: None,
            asked: None,
            code: Default::default(),
        };
        ((unknown, Secrets::default()), Err(text))
    }

    /// The client that an intent's code was presented for, with its provider: by its
    /// description, which the configuration may have changed since, by its grant, or by
    /// whom what it brings is bound to.
    fn client_of(&self, intent: &Intent) -> Option<(String, String)> {
        let config = self.0.reloader.config();
        let bound = |client: &Client| {
            let id = Some(client.client_id.as_str());
            id == intent.binding.as_ref().map(|to| to.client_id.as_str())
        };
        let mut clients = config.clients.values();
        let of_grant = config.grants.get(&intent.name);
        let found = clients
            .find(|client| client.hash == intent.description)
            .or_else(|| of_grant.and_then(|grant| config.clients.get(&grant.client)))
            .or_else(|| config.clients.values().find(|client| bound(client)))?;
        Some((found.name.clone(), found.description.name.clone()))
    }

    /// The terms with the description by which the request was made.
    async fn as_recorded(&self, terms: Terms, intent: &Intent) -> Result<Terms, StoreError> {
        let stored = self.0.deck.store.description(&intent.description).await?;
        let mut terms = terms;
        if let Some(description) = stored.and_then(|text| serde_json::from_str(&text).ok()) {
            terms.rules.description = Arc::new(description);
        }
        Ok(terms)
    }
}
