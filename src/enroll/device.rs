//! The device flow (RFC 8628): the person types a code elsewhere, and we ask until
//! the provider says how it was decided.

use super::begin::config;
use super::{Begun, Enroller, Verdict, failed, id_text};
use crate::config::active::Seat;
use crate::exchange::registration;
use crate::exit::{Exit, Failure};
use refreshd_core::enroll::device;
use refreshd_core::enroll::device::pace::{Met, Pace};
use refreshd_core::enroll::{Enrollment, Secrets, Stage, Via};
use refreshd_core::exchange::Exchange;
use refreshd_core::exchange::authorization::OfAuthorization;
use refreshd_core::provider::{Ending, request};
use std::time::Duration;

impl Enroller {
    pub(super) async fn begin_device(
        &self,
        enrollment: Enrollment,
        seat: Seat,
    ) -> Result<Begun, Failure> {
        let description = &seat.client.description;
        let request = request::device_authorization(description, &registration(&seat), &seat.vars);
        let request = request.map_err(|e| config(e.to_string()))?;
        let clock = self.0.deck.clock.clone();
        let asked = self
            .0
            .deck
            .http
            .exchange(&seat.client, request, || clock.wall());
        let answer = match asked.await {
            Ending::Answered(answer) => answer,
            Ending::NotSent { text } | Ending::Lost { text } => {
                return Err(Failure::new(Exit::Unavailable, text));
            }
        };
        let code = device::read(&answer).map_err(|text| Failure::new(Exit::Unavailable, text))?;
        let enrollment = Enrollment {
            via: Via::Device,
            redirect_uri: None,
            expires_at: self.0.deck.clock.wall() + code.expires_in,
            ..enrollment
        };
        let begun = Begun::Type {
            id: id_text(enrollment.id),
            user_code: code.user_code,
            url: code.verification_uri,
            complete_url: code.verification_uri_complete,
            expires_at: enrollment.expires_at.rfc3339(),
        };
        let secrets = Secrets {
            code: Some(code.device_code),
            interval_ms: code.interval.as_millis().try_into().ok(),
            ..Secrets::default()
        };
        self.tidy().await;
        let store = &self.0.deck.store;
        let kept = store.begin_enrollment(enrollment.clone(), secrets.clone());
        kept.await.map_err(failed)?;
        self.poll_soon(enrollment, secrets, Pace::new(code.interval));
        Ok(begun)
    }

    /// Goes on after a restart.
    pub(super) fn poll_on(&self, enrollment: Enrollment, secrets: Secrets) {
        let interval = secrets.interval_ms.map(Duration::from_millis);
        let pace = Pace::resumed(interval.unwrap_or_default());
        self.poll_soon(enrollment, secrets, pace);
    }

    /// Polls in a task of its own until it is decided, or too late.
    pub(super) fn poll_soon(&self, enrollment: Enrollment, secrets: Secrets, pace: Pace) {
        let enroller = self.clone();
        tokio::spawn(async move {
            let code = enroller.code_of(&secrets);
            if enroller.busy().insert(code) {
                enroller.poll(enrollment, secrets, pace).await;
                enroller.busy().remove(&code);
            }
        });
    }

    async fn poll(&self, enrollment: Enrollment, secrets: Secrets, mut pace: Pace) {
        let Some(code) = secrets.code.clone() else {
            return;
        };
        let name = enrollment.grant.clone().unwrap_or_default();
        let mut met = Met::Pending;
        loop {
            let left = enrollment.expires_at.since(self.0.deck.clock.wall());
            let pause = pace.pause(met, left);
            tokio::time::sleep(pause.unwrap_or(left)).await;
            let store = &self.0.deck.store;
            match store.enrollment(enrollment.id).await {
                Ok(Some((now, _))) if now.stage == Stage::Open => {}
                Ok(_) => return,
                Err(e) => {
                    tracing::warn!("{e}");
                    met = Met::Nothing(None);
                    continue;
                }
            }
            if pause.is_none() || self.0.deck.clock.wall() >= enrollment.expires_at {
                let text = format!(
                    "nobody approved in time; begin again with `refreshd authorize {name} --device`"
                );
                return self.end(enrollment, Stage::Expired, text).await;
            }
            let begun = self.terms(&enrollment).and_then(|(seat, terms)| {
                let description = &seat.client.description;
                let request =
                    request::device_code(description, &registration(&seat), &seat.vars, &code);
                Ok((seat, terms, request.map_err(|e| e.to_string())?))
            });
            let (seat, terms, request) = match begun {
                Ok(begun) => begun,
                Err(text) => return self.end(enrollment, Stage::Refused, text).await,
            };
            let Ok(_counted) = self.count() else {
                return;
            };
            let intent = self.intent(&enrollment, &code, &seat);
            let authorization = (enrollment.clone(), secrets.clone());
            let exchange = Exchange::<OfAuthorization>::new(intent, authorization, terms, 0);
            met = match self.fly(&seat, exchange, request).await {
                Verdict::NotStarted { text } => {
                    tracing::warn!(grant = %name, "{name}: {text}");
                    Met::Nothing(None)
                }
                Verdict::Pending { met, text } => {
                    if let Some(text) = text {
                        tracing::warn!(grant = %name, "{name}: {text}");
                    }
                    met
                }
                verdict => return self.conclude(&name, verdict).await,
            };
        }
    }
}
