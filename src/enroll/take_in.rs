//! A token set that an authorization brought becomes its grant's.

use super::Enroller;
use super::exchange::Under;
use crate::config::active::{Seat, binding_of};
use crate::engine::message::Message;
use crate::exchange::{self, Patience};
use crate::history::short_id;
use crate::state::{ImportRefusal, ImportRequest, StoreError, TakenIn, Wanted};
use refreshd_core::enroll::account::Account;
use refreshd_core::enroll::{Enrollment, Stage};
use refreshd_core::flight::settle;
use refreshd_core::kept::KeptAnswer;
use refreshd_core::provider::answer::Success;
use refreshd_core::secret::Fingerprint;

impl Enroller {
    /// Takes the token set in, for as long as it takes: it may be the only copy.
    pub(super) async fn take_in(
        &self,
        under: Under,
        seat: &Seat,
        success: Success,
        answer: KeptAnswer,
        wanted: Wanted,
    ) {
        // Who it was is learned when the answer comes: later its access token may be over.
        let who = match wanted {
            Wanted::ByOperator => Ok(None),
            Wanted::ByExchange => {
                let nonce = under.secrets.nonce.as_ref();
                self.account(seat, &success, nonce).await
            }
        };
        let who = match who {
            Ok(who) => who,
            Err(text) => {
                let text = format!(
                    "{text}: the answer is not ours, and is not used; it is kept (`refreshd answers show {}`). Authorize again",
                    short_id(answer.flight)
                );
                return self
                    .end_flight(under, Stage::Refused, text, Some(answer))
                    .await;
            }
        };
        let identity = who.as_ref().map(Account::identity);
        let who = who.map(|who| refreshd_core::text::printable(&who.subject));
        let account = identity.map(|identity| self.0.deck.fingerprinter.of(&identity));
        let account = account.or(under.enrollment.account);
        let (request, missing_refresh) = match self.import(&under, seat, success, account) {
            Ok(request) => request,
            Err(text) => {
                return self
                    .end_flight(under, Stage::Held, text, Some(answer))
                    .await;
            }
        };
        let enrollment = Enrollment {
            text: match missing_refresh {
                true => no_refresh_token(seat, &request),
                false => String::new(),
            },
            grant: Some(request.name.clone()),
            ..under.enrollment.clone()
        };
        let landing = under.landing;
        let mut patience = Patience::default();
        let taken = loop {
            let store = &self.0.deck.store;
            let (to, set, kept) = (enrollment.clone(), request.clone(), answer.clone());
            let who = who.clone();
            match store.take_in(to, set, kept, wanted, who, landing).await {
                Ok(taken) => break taken,
                // The grant's own record is damaged: trying again would not help.
                Err(ImportRefusal::Store(
                    e @ (StoreError::Seal(_) | StoreError::Record { .. }),
                )) => {
                    let under = Under {
                        enrollment,
                        ..under
                    };
                    return self
                        .end_flight(under, Stage::Held, e.to_string(), Some(answer))
                        .await;
                }
                Err(ImportRefusal::Store(e)) => {
                    tracing::error!(
                        "what an authorization brought could not be saved; it is kept in memory and tried again: {e}"
                    );
                }
                Err(refusal) => {
                    let under = Under {
                        enrollment,
                        ..under
                    };
                    return self
                        .end_flight(under, Stage::Held, refusal.to_string(), Some(answer))
                        .await;
                }
            }
            patience.wait().await;
        };
        if let Some(flight) = landing {
            self.0.deck.unsettled.settled(flight);
        }
        match taken {
            TakenIn::Current(imported) => self.published(imported.grant().clone()).await,
            TakenIn::Held(why) => tracing::warn!(grant = %request.name, "{}: {why}", request.name),
            TakenIn::Gone => {}
        }
        self.turned();
    }

    async fn published(&self, grant: refreshd_core::Grant) {
        tracing::info!(grant = %grant.name, "{}: authorized, generation {}, expires {}", grant.name, grant.state.generation, grant.state.expires_at.rfc3339());
        self.0.engine.tell(Message::Changed(Box::new(grant)));
        self.0.reloader.retarget(&self.0.engine).await;
    }

    /// The grant as it would be taken in; and whether it could not be refreshed,
    /// though its provider's grants are.
    fn import(
        &self,
        under: &Under,
        seat: &Seat,
        success: Success,
        account: Option<Fingerprint>,
    ) -> Result<(ImportRequest, bool), String> {
        let deck = &self.0.deck;
        let name = self.name_of(&under.enrollment)?;
        let code = under.secrets.code.clone();
        let import = settle::Import {
            success,
            obtained_at: under.sent,
            code: code.filter(|_| seat.client.description.refresh_wants_code()),
            binding: binding_of(seat)?,
            roll: under.roll,
        };
        let rules = exchange::rules(deck, &seat.client, seat.policy.clone());
        let now = deck.clock.wall();
        let (mut state, tokens) = settle::import(&rules, import, now);
        state.configured = self.0.reloader.config().grants.contains_key(&name);
        state.account = account;
        let bare = tokens.refresh_token.is_none()
            && seat.policy.with == refreshd_core::provider::description::With::RefreshToken
            && !seat.policy.asks_anew();
        let request = ImportRequest {
            name,
            client: seat.client.name.clone(),
            vars: under.enrollment.vars.clone(),
            redirect_uri: under.enrollment.redirect_uri.clone(),
            tokens,
            state,
            obtained_at: under.sent,
            now,
            replace: false,
            authorized: true,
        };
        Ok((request, bare))
    }
}

/// What a person is told where nothing can be refreshed, and what would help.
fn no_refresh_token(seat: &Seat, request: &ImportRequest) -> String {
    let authorize = seat.client.description.authorize.as_ref();
    let asks = |name: &str| authorize.is_some_and(|a| a.params.contains_key(name));
    let google = authorize.is_some_and(|a| a.url.contains(".google.com/"));
    let offline = seat.client.scopes.iter().any(|s| s == "offline_access");
    let remedy = if google && !(asks("access_type") && asks("prompt")) {
        "Google gives one if the provider's [authorize] params have access_type = \"offline\" and prompt = \"consent\""
    } else if !offline {
        "many providers give one for the scope offline_access, some for prompt = \"consent\" or access_type = \"offline\" in [authorize] params"
    } else {
        "see the provider's documents for what it wants to be asked with"
    };
    format!(
        "the answer has no refresh token, so {} cannot be refreshed: a person must authorize again before {}. {remedy}; then `refreshd reload`, and authorize again",
        request.name,
        request.state.expires_at.rfc3339()
    )
}
