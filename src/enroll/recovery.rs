//! Exchanges that the last run did not finish: what the journal holds of them.

use super::exchange::{Under, in_doubt};
use super::{Enroller, device};
use crate::engine::roster::Seat;
use crate::state::{Recovered, StoreError};
use refreshd_core::enroll::{Enrollment, Stage, Via};
use refreshd_core::flight::Intent;
use refreshd_core::grant::Presents;
use refreshd_core::secret::Secret;
use std::sync::Arc;

/// Whether the journal's record is an enrolment's.
pub(crate) fn is_enrolment(recovered: &Recovered) -> bool {
    matches!(recovered.intent.presents, Presents::Code(_))
}

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
                    let enroller = self.clone();
                    // It may ask the provider whose account it is: nothing waits for that.
                    tokio::spawn(async move {
                        let _counted = enroller.count();
                        enroller.conclude(under, &seat, answer).await;
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
