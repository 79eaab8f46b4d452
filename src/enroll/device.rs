//! The device flow (RFC 8628): the person types a code elsewhere, and we ask until
//! the provider says how it was decided.

use super::begin::config;
use super::{Begun, Enroller, failed, id_text};
use crate::engine::perform::registration;
use crate::engine::roster::Seat;
use crate::exit::{Exit, Failure};
use refreshd_core::enroll::device::{self, Poll};
use refreshd_core::enroll::{Enrollment, Secrets, Stage, Via};
use refreshd_core::flight::Answer;
use refreshd_core::grant::settle::Ending;
use refreshd_core::provider::answer::{self, Outcome};
use refreshd_core::provider::{Description, request};
use std::time::Duration;

/// `slow_down` adds so much (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// The longest pause that failures lead to.
const SLOWEST: Duration = Duration::from_secs(120);

/// RFC 8628 §3.5: after a failure, ask less often.
fn longer(interval: Duration) -> Duration {
    (interval * 2).min(SLOWEST).max(interval)
}

/// Whether a poll's answer says that the person has not decided.
pub(super) fn is_pending(answer: &Answer) -> bool {
    device::poll(answer) != Poll::Other
}

/// Whether a poll's answer decides nothing: a gateway's error, say, or too many
/// requests. The device code is as good as before.
pub(super) fn decides_nothing(description: &Description, answer: &Answer) -> bool {
    matches!(
        answer::read(description, answer),
        Outcome::Lost { .. } | Outcome::AskedToWait { .. }
    )
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
        self.poll_soon(enrollment, secrets, code.interval);
        Ok(begun)
    }

    /// Goes on after a restart. What `slow_down` added is not kept, so once is added.
    pub(super) fn poll_on(&self, enrollment: Enrollment, secrets: Secrets) {
        let interval = secrets.interval_ms.map(Duration::from_millis);
        let interval = interval.unwrap_or(SLOWER) + SLOWER;
        self.poll_soon(enrollment, secrets, interval);
    }

    /// Polls in a task of its own until it is decided, or too late.
    pub(super) fn poll_soon(&self, enrollment: Enrollment, secrets: Secrets, interval: Duration) {
        let enroller = self.clone();
        tokio::spawn(async move {
            let id = enrollment.id;
            if enroller.busy().insert(id) {
                enroller.poll(enrollment, secrets, interval).await;
                enroller.busy().remove(&id);
            }
        });
    }

    async fn poll(&self, enrollment: Enrollment, secrets: Secrets, mut interval: Duration) {
        let Some(code) = secrets.code.clone() else {
            return;
        };
        let name = enrollment.grant.clone().unwrap_or_default();
        loop {
            tokio::time::sleep(interval).await;
            let store = &self.0.deck.store;
            match store.enrollment(enrollment.id).await {
                Ok(Some((now, _))) if now.stage == Stage::Open => {}
                Ok(_) => return,
                Err(e) => {
                    tracing::warn!("{e}");
                    continue;
                }
            }
            if self.0.deck.clock.wall() >= enrollment.expires_at {
                let text = "nobody typed the code in time; begin again".to_owned();
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
                    continue;
                }
            };
            match ending {
                Ending::Answered(answer) => match device::poll(&answer) {
                    Poll::Pending => self.leave(under.landing).await,
                    Poll::SlowDown => {
                        self.leave(under.landing).await;
                        interval += SLOWER;
                    }
                    Poll::Other if decides_nothing(description, &answer) => {
                        self.leave(under.landing).await;
                        interval = longer(interval);
                    }
                    Poll::Other => return self.conclude(under, &seat, answer).await,
                },
                Ending::NotSent { .. } | Ending::Lost { .. } => {
                    self.leave(under.landing).await;
                    interval = longer(interval);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_never_shrink() {
        let secs = Duration::from_secs;
        let after = |interval| longer(secs(interval)).as_secs();
        assert_eq!([after(5), after(100), after(300)], [10, 120, 300]);
    }
}
