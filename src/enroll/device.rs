//! The device flow (RFC 8628): the person types a code elsewhere, and we ask until
//! the provider says how it was decided.

use super::begin::config;
use super::{Begun, Enroller, failed, id_text};
use crate::engine::perform::registration;
use crate::engine::roster::Seat;
use crate::exit::{Exit, Failure};
use refreshd_core::enroll::device::pace::{Met, Pace};
use refreshd_core::enroll::device::{self, Poll};
use refreshd_core::enroll::{Enrollment, Secrets, Stage, Via};
use refreshd_core::flight::Answer;
use refreshd_core::grant::settle::Ending;
use refreshd_core::provider::answer::{self, Outcome};
use refreshd_core::provider::{Description, request};
use std::time::Duration;

/// Whether a poll's answer says that the person has not decided.
pub(super) fn is_pending(answer: &Answer) -> bool {
    matches!(device::poll(answer), Poll::Pending | Poll::SlowDown)
}

/// Whether a poll's answer decides nothing: a gateway's error, say, or too many
/// requests. The device code is as good as before.
pub(super) fn decides_nothing(description: &Description, answer: &Answer) -> bool {
    device::poll(answer) == Poll::Trouble
        || matches!(
            answer::read(description, answer),
            Outcome::Lost { .. } | Outcome::AskedToWait { .. }
        )
}

/// What a poll's answer says for good, in words; `None`: it brought something else.
fn decided(description: &Description, answer: &Answer, name: &str) -> Option<(Stage, String)> {
    let said = || match answer::read(description, answer) {
        Outcome::Refused { text }
        | Outcome::InvalidGrant { text }
        | Outcome::InteractionRequired { text } => text,
        _ => format!("HTTP {}", answer.status),
    };
    let again = format!("begin again with `refreshd authorize {name} --device`");
    match device::poll(answer) {
        Poll::Denied => Some((
            Stage::Refused,
            format!(
                "the approval was declined at the provider ({}); {again}",
                said()
            ),
        )),
        Poll::Expired => Some((
            Stage::Expired,
            format!(
                "the code has expired before anybody approved it ({}); {again}",
                said()
            ),
        )),
        _ => None,
    }
}

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
            let id = enrollment.id;
            if enroller.busy().insert(id) {
                enroller.poll(enrollment, secrets, pace).await;
                enroller.busy().remove(&id);
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
                return self.end(enrollment, Stage::Expired, text, None).await;
            }
            let seat = match self.seat(&enrollment, &name) {
                Ok(seat) => seat,
                Err(text) => return self.end(enrollment, Stage::Refused, text, None).await,
            };
            let description = &seat.client.description;
            let request =
                request::device_code(description, &registration(&seat), &seat.vars, &code);
            let request = match request {
                Ok(request) => request,
                Err(e) => {
                    return self
                        .end(enrollment, Stage::Refused, e.to_string(), None)
                        .await;
                }
            };
            let Ok(_counted) = self.count() else {
                return;
            };
            let flown = self.fly(&enrollment, secrets.clone(), &code, &seat, request);
            let (under, ending) = match flown.await {
                Ok(flown) => flown,
                Err(text) => {
                    tracing::warn!(grant = %name, "{name}: {text}");
                    met = Met::Nothing(None);
                    continue;
                }
            };
            met = match ending {
                Ending::NotSent { .. } | Ending::Lost { .. } => Met::Nothing(None),
                Ending::Answered(answer) => match device::poll(&answer) {
                    Poll::Pending => Met::Pending,
                    Poll::SlowDown => Met::SlowDown,
                    _ if decides_nothing(description, &answer) => {
                        Met::Nothing(device::retry_after(&answer))
                    }
                    _ => match decided(description, &answer, &name) {
                        Some((stage, text)) => {
                            return self.end_flight(under, stage, text, None).await;
                        }
                        None => return self.conclude(under, &seat, answer).await,
                    },
                },
            };
            self.leave(under.landing).await;
        }
    }
}
