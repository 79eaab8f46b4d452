//! A code is presented, once: the intent is durable before a byte leaves, the answer
//! before it is acted upon, and what it brought is taken in by one transaction.

use super::Enroller;
use super::conclude::in_doubt;
use crate::config::active::{Seat, binding_of};
use crate::exchange::{Patience, registration};
use crate::random;
use crate::state::Landing;
use refreshd_core::enroll::code::{self, Unused};
use refreshd_core::enroll::{Enrollment, EnrollmentId, Secrets, Stage};
use refreshd_core::flight::{FlightId, Intent};
use refreshd_core::grant::{GrantId, Presents};
use refreshd_core::kept::KeptAnswer;
use refreshd_core::provider::request::{self, TokenRequest};
use refreshd_core::provider::{Answer, Ending};
use refreshd_core::secret::Secret;
use refreshd_core::time::WallTime;
use std::collections::HashSet;
use std::time::Duration;

/// A code that waits is looked at so often: the clock may have been set.
const LOOK: Duration = Duration::from_secs(5);

/// Counted as under way until it is dropped.
pub(super) struct Counted(Enroller);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.under_way.send_modify(|count| *count -= 1);
    }
}

/// An exchange on its way: what it is for, and where it is written down.
pub(super) struct Under {
    pub(super) enrollment: Enrollment,
    pub(super) secrets: Secrets,
    /// When the request was sent; `None`: nobody knows how long ago that was.
    pub(super) sent: Option<WallTime>,
    /// For the next generation's jitter.
    pub(super) roll: u64,
    /// Its flight; `None`: it has been committed before.
    pub(super) landing: Landing,
}

impl Under {
    /// Its answer, as it is kept where it cannot be taken in.
    pub(super) fn kept(&self, answer: Answer) -> KeptAnswer {
        KeptAnswer {
            flight: self.landing.unwrap_or_else(|| FlightId(random::bytes())),
            answer,
        }
    }

    /// What its intent says of a flight.
    pub(super) fn of(enrollment: Enrollment, secrets: Secrets, intent: &Intent) -> Self {
        Under {
            enrollment,
            secrets,
            sent: Some(intent.sent.wall),
            roll: intent.roll,
            landing: Some(intent.flight),
        }
    }
}

/// A code that is as good as before, and why.
pub(super) struct Spared {
    pub(super) unused: Unused,
    pub(super) text: String,
    /// Its flight, if there was one.
    pub(super) landing: Landing,
}

impl Spared {
    fn not_sent(text: impl std::fmt::Display) -> Self {
        Spared {
            unused: Unused::NotSent,
            text: text.to_string(),
            landing: None,
        }
    }
}

impl Enroller {
    /// Has a received code exchanged, in a task of its own: whoever asked may go away.
    pub(super) fn exchange_soon(&self, id: EnrollmentId) {
        let enroller = self.clone();
        tokio::spawn(async move {
            if enroller.busy().insert(id) {
                enroller.exchange(id).await;
                enroller.busy().remove(&id);
            }
        });
    }

    pub(super) fn busy(&self) -> std::sync::MutexGuard<'_, HashSet<EnrollmentId>> {
        self.0
            .busy
            .lock()
            .expect("nothing panics while it holds the set")
    }

    /// Presents a code, and again for as long as it was not used and lives. What is left
    /// at a stop waits in the store.
    async fn exchange(&self, id: EnrollmentId) {
        let (mut tries, mut again_at) = (0, None);
        let mut patience = Patience::default();
        while !self.is_stopping() {
            let found = match self.0.deck.store.enrollment(id).await {
                Ok(found) => found,
                Err(e) => {
                    tracing::error!("a code that waits to be presented cannot be read: {e}");
                    patience.wait().await;
                    continue;
                }
            };
            let waits = |(enrollment, _): &(Enrollment, _)| enrollment.stage == Stage::Received;
            let Some((enrollment, secrets)) = found.filter(waits) else {
                return;
            };
            again_at = again_at.max(enrollment.code.again_at);
            let left = again_at.map(|at: WallTime| at.since(self.0.deck.clock.wall()));
            if let Some(left) = left.filter(|left| !left.is_zero()) {
                tokio::time::sleep(left.min(LOOK)).await;
                continue;
            }
            let Err(spared) = self.present_code(enrollment.clone(), secrets).await else {
                return;
            };
            if self.is_stopping() {
                return self.leave(spared.landing).await;
            }
            again_at = self.spare(enrollment, spared, tries).await;
            tries += 1;
        }
    }

    /// Presents the code of an enrolment.
    ///
    /// # Errors
    /// Why it may be presented again.
    async fn present_code(&self, enrollment: Enrollment, secrets: Secrets) -> Result<(), Spared> {
        let _counted = self.count().map_err(Spared::not_sent)?;
        let Some(code) = secrets.code.clone() else {
            let text = "its code is not there any more; authorize again".to_owned();
            self.end(enrollment, Stage::Refused, text, None).await;
            return Ok(());
        };
        let name = self.name_of(&enrollment).map_err(Spared::not_sent)?;
        let seat = self.seat(&enrollment, &name).map_err(Spared::not_sent)?;
        let request = request::authorization_code(
            &seat.client.description,
            &registration(&seat),
            &seat.vars,
            &code,
            secrets.verifier.as_ref(),
        );
        let request = request.map_err(Spared::not_sent)?;
        let flown = self.fly(&enrollment, secrets, &code, &seat, request);
        let (under, ending) = flown.await.map_err(Spared::not_sent)?;
        match ending {
            Ending::NotSent { text } => Err(Spared {
                unused: Unused::NotSent,
                text,
                landing: under.landing,
            }),
            Ending::Lost { text } => {
                self.end_flight(under, Stage::InDoubt, in_doubt(&text), None)
                    .await;
                Ok(())
            }
            Ending::Answered(answer) => self.conclude_code(under, &seat, answer).await,
        }
    }

    /// Keeps a code that was not used until it is presented again; when that is. `None`:
    /// it is over by then, and so is its enrolment.
    pub(super) async fn spare(
        &self,
        enrollment: Enrollment,
        spared: Spared,
        tries: u32,
    ) -> Option<WallTime> {
        let Spared {
            unused,
            text,
            landing,
        } = spared;
        let config = self.0.reloader.config();
        let client = config.clients.get(&enrollment.client);
        let ends = enrollment.code_ends_at(client.map(|client| &*client.description));
        let now = self.0.deck.clock.wall();
        let Some(at) = code::again(now, ends, tries, &unused) else {
            let text = over(&unused, &text, ends, now);
            self.end_with(enrollment, Stage::Refused, text, None, landing)
                .await;
            return None;
        };
        let text = waiting(&unused, &text, at, ends);
        let name = self.name_of(&enrollment).unwrap_or_default();
        tracing::warn!(grant = %name, "{name}: {text}");
        let mut kept = Enrollment { text, ..enrollment };
        kept.code.again_at = Some(at);
        let store = &self.0.deck.store;
        let kept = store.turn_enrollment(&[Stage::Received], kept, None, landing);
        match kept.await {
            Ok(_) => {
                if let Some(flight) = landing {
                    self.0.deck.unsettled.settled(flight);
                }
            }
            Err(e) => {
                tracing::warn!("how a code waits could not be written down: {e}");
                self.leave(landing).await;
            }
        }
        self.turned();
        Some(at)
    }

    /// One exchange: intent, send, answer; each durable before the next.
    ///
    /// # Errors
    /// Why nothing was sent.
    pub(super) async fn fly(
        &self,
        enrollment: &Enrollment,
        secrets: Secrets,
        code: &Secret,
        seat: &Seat,
        request: TokenRequest,
    ) -> Result<(Under, Ending), String> {
        let deck = &self.0.deck;
        let pass = self.0.passes.take(enrollment.via).await;
        let _pass = pass.map_err(|e| e.to_string())?;
        let intent = self.intent(enrollment, code, seat);
        let recorded = deck.store.record_intent(&intent).await;
        recorded.map_err(|e| e.to_string())?;
        let clock = deck.clock.clone();
        let ending = deck
            .http
            .exchange(&seat.client, request, || clock.wall())
            .await;
        if let Ending::Answered(answer) = &ending {
            deck.unsettled.put(&intent, answer);
            // Whose account it is may be asked before it is taken in.
            match deck.store.keep_answer(&intent, answer).await {
                Ok(()) => deck.unsettled.settled(intent.flight),
                Err(e) => {
                    tracing::error!(grant = %intent.name, "{}: the answer could not be kept before it is read: {e}", intent.name);
                }
            }
        }
        let under = Under::of(enrollment.clone(), secrets, &intent);
        Ok((under, ending))
    }

    /// Counts an exchange, which a stop then waits for.
    ///
    /// # Errors
    /// When the daemon stops: nothing more is presented.
    pub(super) fn count(&self) -> Result<Counted, String> {
        let counted = Counted(self.clone());
        self.0.under_way.send_modify(|count| *count += 1);
        match self.is_stopping() {
            true => Err("refreshd is stopping".to_owned()),
            false => Ok(counted),
        }
    }

    fn intent(&self, enrollment: &Enrollment, code: &Secret, seat: &Seat) -> Intent {
        let sent = self.0.deck.clock.stamp();
        Intent {
            flight: FlightId(random::bytes()),
            grant: GrantId(String::new()),
            name: enrollment.grant.clone().unwrap_or_default(),
            revision: 0,
            generation: 0,
            attempt: 1,
            first_sent: sent.wall,
            sent,
            presents: Presents::Code(self.0.deck.fingerprinter.of(code)),
            description: seat.client.hash.clone(),
            roll: u64::from_le_bytes(random::bytes()),
            binding: binding_of(seat).ok(),
        }
    }
}

/// What a person is told while a code waits.
fn waiting(unused: &Unused, text: &str, at: WallTime, ends: WallTime) -> String {
    let (at, ends) = (at.rfc3339(), ends.rfc3339());
    match unused {
        Unused::NotSent => {
            format!("the code could not be presented: {text}; trying again until {ends}")
        }
        Unused::Answered(_) => format!(
            "the provider asks to wait ({text}), and has not used the code; it is presented again at {at}, and is good until {ends}"
        ),
    }
}

/// What a person is told when a code has ended without having been used.
fn over(unused: &Unused, text: &str, ends: WallTime, now: WallTime) -> String {
    let ends = ends.rfc3339();
    match unused {
        Unused::NotSent => format!(
            "the code could not be presented in its lifetime, until {ends}: {text}; authorize again"
        ),
        Unused::Answered(None) => format!(
            "the provider asked to wait ({text}) until the code was over, at {ends}; authorize again later"
        ),
        Unused::Answered(Some(asked)) => format!(
            "the provider asks to wait until {} ({text}), and the code is good until {ends}; authorize again after that",
            (now + *asked).rfc3339()
        ),
    }
}
