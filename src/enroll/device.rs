//! The device flow (RFC 8628): the person types a code elsewhere, and we ask until
//! the provider says how it was decided.

use super::begin::config;
use super::{Begun, Enroller, failed, id_text};
use crate::config::active::Seat;
use crate::exchange::registration;
use crate::exit::{Exit, Failure};
use refreshd_core::enroll::device::pace::{Met, Pace};
use refreshd_core::enroll::device::{self, Poll};
use refreshd_core::enroll::{Enrollment, Secrets, Stage, Via};
use refreshd_core::provider::answer::{self, Outcome};
use refreshd_core::provider::{Answer, Description, Ending, request};
use std::time::Duration;

/// Whether a poll's answer says that the person has not decided.
pub(super) fn is_pending(answer: &Answer) -> bool {
    matches!(device::poll(answer), Poll::Pending | Poll::SlowDown)
}

/// What a poll's answer comes to.
pub(super) enum Polled {
    /// Nothing is decided: the person waits, or a gateway has trouble.
    Nothing(Met),
    /// Nothing is decided by a success that is no token answer, and in which nothing may be
    /// a token: a page of a portal, say. It is kept, and the device code is as good as before.
    Odd(String, Option<Duration>),
    /// It is over, for a person.
    Over(Stage, String),
    /// It brought something, or the provider refused.
    Brought,
}

/// Reads a poll's answer. What may hold a token ends the polling: some servers revoke what a
/// device code brought when that comes again, as RFC 6749 §4.1.2 wants it of other codes.
pub(super) fn polled(description: &Description, answer: &Answer, name: &str) -> Polled {
    let outcome = answer::read(description, answer);
    let said = |outcome: Outcome| match outcome {
        Outcome::Refused { text }
        | Outcome::Unavailable { text, .. }
        | Outcome::InvalidGrant { text }
        | Outcome::InteractionRequired { text } => text,
        _ => format!("HTTP {}", answer.status),
    };
    let again = format!("begin again with `refreshd authorize {name} --device`");
    match (device::poll(answer), outcome) {
        (Poll::Pending, _) => Polled::Nothing(Met::Pending),
        (Poll::SlowDown, _) => Polled::Nothing(Met::SlowDown),
        (Poll::Denied, outcome) => Polled::Over(
            Stage::Refused,
            format!(
                "the approval was declined at the provider ({}); {again}",
                said(outcome)
            ),
        ),
        (Poll::Expired, outcome) => Polled::Over(
            Stage::Expired,
            format!(
                "the code has expired before anybody approved it ({}); {again}",
                said(outcome)
            ),
        ),
        (Poll::Trouble, _)
        | (
            Poll::Other,
            Outcome::Lost { .. } | Outcome::AskedToWait { .. } | Outcome::Unavailable { .. },
        ) => Polled::Nothing(Met::Nothing(device::retry_after(answer))),
        (
            Poll::Other,
            Outcome::Unread {
                text,
                retry_after,
                may_hold: false,
            },
        ) => Polled::Odd(
            format!(
                "{text}; nothing in it looks like a token. The answer is kept, and the provider is asked again"
            ),
            retry_after,
        ),
        (Poll::Other, _) => Polled::Brought,
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
                Ending::Answered(answer) => match polled(description, &answer, &name) {
                    Polled::Nothing(met) => met,
                    Polled::Odd(text, retry_after) => {
                        tracing::warn!(grant = %name, "{name}: {text}");
                        self.keep_beside(under, text, answer).await;
                        met = Met::Nothing(retry_after);
                        continue;
                    }
                    Polled::Over(stage, text) => {
                        return self.end_flight(under, stage, text, None).await;
                    }
                    Polled::Brought => return self.conclude(under, &seat, answer).await,
                },
            };
            self.leave(under.landing).await;
        }
    }
}
