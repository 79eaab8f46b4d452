//! The driver of exchanges: it performs what their machine asks for
//! ([`refreshd_core::exchange`]), whether they are for a grant or for an authorization,
//! and in both entrances. It waits and retries; it decides nothing.

mod driver;
mod late_answers;
mod of_authorization;
mod of_grant;
mod patience;
mod unsettled;

pub(crate) use driver::{Late, Midway, Teller, adopt, fly};
pub(crate) use late_answers::PendingAnswer;
pub(crate) use patience::Patience;

use crate::clock::SharedClock;
use crate::config::Client;
use crate::config::active::Seat;
use crate::http::Http;
use crate::state::{Store, StoreError};
use late_answers::LateAnswers;
use refreshd_core::flight::ExchangeId;
use refreshd_core::flight::settle::Rules;
use refreshd_core::grant::Policy;
use refreshd_core::provider::request::Registration;
use refreshd_core::secret::Fingerprinter;
use std::sync::Arc;
pub use unsettled::Unsettled;

/// What every exchange needs.
#[derive(Clone)]
pub struct Deck {
    /// Where token sets live.
    pub store: Store,
    /// Sends requests.
    pub http: Http,
    /// The time.
    pub clock: SharedClock,
    /// Makes fingerprints.
    pub fingerprinter: Fingerprinter,
    /// Answers that came late.
    pub late_answers: LateAnswers,
    /// Answers that are not settled yet.
    pub unsettled: Unsettled,
}

/// Who the client is, for requests of a grant.
#[must_use]
pub fn registration(seat: &Seat) -> Registration<'_> {
    let client = &seat.client;
    Registration {
        client_id: &client.client_id,
        client_secret: client.client_secret.as_ref(),
        redirect_uri: seat
            .redirect_uri
            .as_deref()
            .or(client.redirect_uri.as_deref()),
        scopes: &client.scopes,
        unencoded: false,
    }
}

/// What settling goes by for a client.
#[must_use]
pub fn rules(deck: &Deck, client: &Client, policy: Policy) -> Rules {
    Rules {
        description: Arc::clone(&client.description),
        policy,
        fingerprinter: deck.fingerprinter.clone(),
    }
}

/// Ends an exchange that has nothing more to commit. Where the store does not take that, it
/// is tried again in the background; a process that stops before leaves a doubt that is
/// known already.
pub async fn leave(deck: &Deck, flight: ExchangeId) {
    let Err(e) = deck.store.end(flight).await else {
        return;
    };
    tracing::warn!("the end of an exchange could not be written down; it is tried again: {e}");
    let deck = deck.clone();
    tokio::spawn(async move {
        let mut patience = Patience::default();
        loop {
            patience.wait().await;
            match deck.store.end(flight).await {
                Ok(()) | Err(StoreError::Closed) => return,
                Err(e) => tracing::debug!("the end of an exchange could not be written down: {e}"),
            }
        }
    });
}
