//! Exchanges that the last run did not finish.

use super::conclude::in_doubt;
use super::device::{self, Polled};
use super::exchange::Under;
use super::{Enroller, id_text};
use crate::config::Client;
use crate::config::active::Seat;
use crate::history::short_id;
use crate::state::{Recovered, StoreError};
use refreshd_core::enroll::{Enrollment, EnrollmentId, Secrets, Stage, Via};
use refreshd_core::flight::Intent;
use refreshd_core::grant::Presents;
use refreshd_core::kept::KeptAnswer;
use refreshd_core::provider::answer::{self, Outcome, may_hold_token};
use refreshd_core::provider::{Answer, Description};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Enroller {
    /// Settles what was under way of enrolments: an answer is taken in; a code
    /// whose answer never came was presented, and is not presented again.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn finish(&self, recovered: Vec<Recovered>) -> Result<(), StoreError> {
        let mut recovered = recovered;
        // One that brought something decides; another record of its code does not undo it.
        recovered.sort_by_key(|recovered| recovered.answer.is_none());
        for Recovered { intent, answer } in recovered {
            let landing = Some(intent.flight);
            let Presents::Code(code) = intent.presents else {
                continue;
            };
            let found = self.0.deck.store.enrollment_of_code(code).await?;
            let done = |e: &Enrollment| match answer {
                // What came for one that was given up is held, and not dropped.
                Some(_) => matches!(e.stage, Stage::Done | Stage::Held),
                None => e.stage.is_over(),
            };
            if let (None, Some(answer)) = (&found, &answer) {
                self.hold_unknown(&intent, answer).await?;
                continue;
            }
            let Some((enrollment, secrets)) = found else {
                self.leave(landing).await;
                continue;
            };
            if done(&enrollment) {
                match answer {
                    Some(answer) if self.is_worth_keeping(&intent, &answer).await? => {
                        let under = Under::of(enrollment, secrets, &intent);
                        self.keep_beside(under, String::new(), answer).await;
                    }
                    _ => self.leave(landing).await,
                }
                continue;
            }
            let polled = enrollment.via == Via::Device;
            let name = self.name_of(&enrollment).unwrap_or_default();
            let seat = self.seat(&enrollment, &name);
            let mut under = Under::of(enrollment, secrets, &intent);
            // As with any recovered flight: what time was lost, nobody knows.
            let fenced = self.0.deck.store.fence().is_some();
            let now = self.0.deck.clock.stamp();
            under.sent = intent.sent.by_clock_of(&now).filter(|_| !fenced);
            match (answer, seat) {
                (Some(answer), _) if polled && device::is_pending(&answer) => {
                    self.leave(landing).await;
                }
                (Some(answer), Ok(seat)) => {
                    let seat = self.as_recorded(seat, &intent).await?;
                    if polled {
                        match device::polled(&seat.client.description, &answer, &name) {
                            Polled::Nothing(_) => {
                                self.leave(landing).await;
                                continue;
                            }
                            Polled::Odd(text, _) => {
                                self.keep_beside(under, text, answer).await;
                                continue;
                            }
                            Polled::Over(..) | Polled::Brought => {}
                        }
                    }
                    let (enroller, enrollment) = (self.clone(), under.enrollment.clone());
                    // From now on: the codes that wait are looked through next, and the
                    // store does not say yet that this one has been presented.
                    let taken = self.busy().insert(enrollment.id);
                    // It may ask the provider whose account it is: nothing waits for that.
                    tokio::spawn(async move {
                        let counted = enroller.count();
                        let concluded = enroller.conclude_code(under, &seat, answer).await;
                        drop(counted);
                        let id = enrollment.id;
                        if let Err(spared) = concluded {
                            enroller.spare(enrollment, spared, 0).await;
                        }
                        if taken {
                            enroller.busy().remove(&id);
                            // If it was not used, it waits again.
                            enroller.exchange_soon(id);
                        }
                    });
                }
                (Some(answer), Err(text)) => {
                    let kept = under.kept(answer);
                    self.end_flight(under, Stage::Held, text, Some(kept)).await;
                }
                // A device code may be presented again.
                (None, _) if polled => self.leave(landing).await,
                (None, _) => {
                    let text = in_doubt("refreshd stopped before the answer was saved");
                    self.end_flight(under, Stage::InDoubt, text, None).await;
                }
            }
        }
        Ok(())
    }

    /// Keeps an answer of an authorization that the store does not know, since it was put
    /// back to a time before: it may hold the only copy of a refresh token.
    async fn hold_unknown(&self, intent: &Intent, answer: &Answer) -> Result<(), StoreError> {
        let landing = Some(intent.flight);
        if !self.is_worth_keeping(intent, answer).await? {
            self.leave(landing).await;
            return Ok(());
        }
        // The flight's own number, so that it is not held twice after a kill in between.
        let id = EnrollmentId(intent.flight.0);
        let short = short_id(intent.flight);
        let known = self.client_of(intent);
        let text = match &known {
            Some(_) => format!(
                "the store was put back to a time before this authorization: its token set waits. Take it with `refreshd authorize --accept {}`, or authorize again",
                id_text(id)
            ),
            None => format!(
                "the store was put back to a time before this authorization, and its client is not configured: its answer is kept. Look at it with `refreshd answers show {short}`, and take it in with `refreshd answers read {short} --provider NAME`, or authorize again"
            ),
        };
        let (client, provider) = known.unwrap_or_default();
        let now = self.0.deck.clock.wall();
        let held = Enrollment {
            id,
            grant: Some(intent.name.clone()).filter(|name| !name.is_empty()),
            client,
            provider,
            via: Via::Redirect,
            redirect_uri: None,
            vars: BTreeMap::new(),
            begun_at: intent.sent.wall,
            expires_at: now,
            stage: Stage::Held,
            text,
            configured: false,
            sent: None,
            account: None,
            generation: None,
            asked: None,
            code: Default::default(),
        };
        let secrets = Secrets {
            answers: vec![KeptAnswer {
                flight: intent.flight,
                answer: answer.clone(),
            }],
            ..Secrets::default()
        };
        if self.0.deck.store.enrollment(id).await?.is_none() {
            tracing::warn!(grant = %intent.name, "{}: {}", intent.name, held.text);
            self.0.deck.store.begin_enrollment(held, secrets).await?;
        }
        self.leave(landing).await;
        Ok(())
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

    /// Whether an answer brought something, or may have: by the description by which its
    /// request was made, where that is known.
    async fn is_worth_keeping(&self, intent: &Intent, answer: &Answer) -> Result<bool, StoreError> {
        let stored = self.0.deck.store.description(&intent.description).await?;
        let description: Option<Description> =
            stored.and_then(|text| serde_json::from_str(&text).ok());
        Ok(match description {
            Some(description) => matches!(
                answer::read(&description, answer),
                Outcome::Success(_) | Outcome::Unread { .. }
            ),
            None => (200..300).contains(&answer.status) || may_hold_token(answer),
        })
    }

    /// The seat with the description by which the request was made.
    async fn as_recorded(&self, seat: Seat, intent: &Intent) -> Result<Seat, StoreError> {
        let stored = self.0.deck.store.description(&intent.description).await?;
        let Some(description) = stored.and_then(|text| serde_json::from_str(&text).ok()) else {
            return Ok(seat);
        };
        let mut client = (*seat.client).clone();
        client.description = Arc::new(description);
        Ok(Seat {
            client: Arc::new(client),
            ..seat
        })
    }
}
