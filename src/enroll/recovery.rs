//! Exchanges that the last run did not finish: what the journal holds of them.

use super::exchange::{Under, in_doubt};
use super::{Enroller, device, id_text};
use crate::engine::roster::Seat;
use crate::state::{Recovered, SlotRef, StoreError};
use refreshd_core::enroll::{Enrollment, EnrollmentId, Secrets, Stage, Via};
use refreshd_core::flight::{Answer, Intent};
use refreshd_core::grant::Presents;
use refreshd_core::secret::Secret;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Enroller {
    /// Settles what the journal holds of enrolments: an answer is taken in; a code
    /// whose answer never came was presented, and is not presented again.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn finish(&self, recovered: Vec<Recovered>) -> Result<(), StoreError> {
        let mut recovered = recovered;
        // One that brought something decides; another record of its code does not undo it.
        recovered.sort_by_key(|recovered| recovered.answer.is_none());
        for Recovered {
            slot,
            intent,
            answer,
        } in recovered
        {
            let landing = Some((intent.flight, slot));
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
                self.hold_unknown(&intent, slot, answer).await?;
                continue;
            }
            let Some((enrollment, secrets)) = found.filter(|(e, _)| !done(e)) else {
                self.leave(landing).await;
                continue;
            };
            let polled = enrollment.via == Via::Device;
            let name = self.name_of(&enrollment).unwrap_or_default();
            let seat = self.seat(&enrollment, &name);
            let mut under = Under::of(enrollment, secrets, &intent, slot);
            // As with any recovered flight: what time was lost, nobody knows.
            let fenced = self.0.deck.store.fence().is_some();
            let now = self.0.deck.clock.stamp();
            under.sent = intent.sent.by_clock_of(&now).filter(|_| !fenced);
            match (answer, seat) {
                (Some(answer), _) if polled && device::is_pending(&answer) => {
                    self.leave(landing).await;
                }
                (Some(answer), Ok(seat))
                    if polled && device::decides_nothing(&seat.client.description, &answer) =>
                {
                    self.leave(landing).await;
                }
                (Some(answer), Ok(seat)) => {
                    let seat = self.as_recorded(seat, &intent).await?;
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
                    let body = Secret::new(String::from_utf8_lossy(&answer.body));
                    self.end_flight(under, Stage::Held, text, Some(body)).await;
                }
                // A device code may be presented again.
                (None, _) if polled => self.leave(landing).await,
                (None, _) => {
                    let text = in_doubt("refreshd stopped before the answer was written down");
                    self.end_flight(under, Stage::InDoubt, text, None).await;
                }
            }
        }
        Ok(())
    }

    /// Keeps an answer of an authorization that the store does not know, since it was put
    /// back to a time before: it may hold the only copy of a refresh token. Where the
    /// client is not known either, it stays in the journal.
    async fn hold_unknown(
        &self,
        intent: &Intent,
        slot: SlotRef,
        answer: &Answer,
    ) -> Result<(), StoreError> {
        let landing = Some((intent.flight, slot));
        if !(200..300).contains(&answer.status) {
            self.leave(landing).await;
            return Ok(());
        }
        let config = self.0.reloader.config();
        let mut clients = config.clients.values();
        let Some(client) = clients.find(|client| client.hash == intent.description) else {
            tracing::error!(
                "the journal holds what an authorization brought that neither the store nor the configuration knows ({}); it stays there. Configure its client as it was, and restart refreshd",
                intent.name
            );
            return Ok(());
        };
        // The flight's own number, so that it is not held twice after a kill in between.
        let id = EnrollmentId(intent.flight.0);
        let text = format!(
            "the store was put back to a time before this authorization: its token set waits. Take it with `refreshd authorize --accept {}`, or authorize again",
            id_text(id)
        );
        let now = self.0.deck.clock.wall();
        let held = Enrollment {
            id,
            grant: Some(intent.name.clone()).filter(|name| !name.is_empty()),
            client: client.name.clone(),
            provider: client.description.name.clone(),
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
            answer: Some(Secret::new(String::from_utf8_lossy(&answer.body))),
            ..Secrets::default()
        };
        if self.0.deck.store.enrollment(id).await?.is_none() {
            tracing::warn!(grant = %intent.name, "{}: {}", intent.name, held.text);
            self.0.deck.store.begin_enrollment(held, secrets).await?;
        }
        self.leave(landing).await;
        Ok(())
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
