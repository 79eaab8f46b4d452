//! Goes on at a start with what waits: codes that were kept and not presented,
//! device codes that are not decided; and what an operator takes in after all.

use super::receive::refused;
use super::{Enroller, Report, failed};
use crate::exchange::adopt;
use crate::exit::{Exit, Failure};
use crate::history::short_id;
use refreshd_core::enroll::{EnrollmentId, Stage, Via};
use refreshd_core::exchange::Exchange;
use refreshd_core::exchange::authorization::OfAuthorization;
use refreshd_core::ledger::authorization::restored;
use refreshd_core::provider::answer::{self, Outcome};
use refreshd_core::secret::Secret;
use refreshd_core::time::WallTime;
use std::time::Duration;

impl Enroller {
    /// Presents the codes that wait, and polls on. In a store that was put back,
    /// what waited then may have been presented since: nothing of it is.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn resume(&self) -> Result<(), Failure> {
        self.tidy().await;
        tokio::spawn(self.clone().keep_tidy());
        let fenced = self.0.deck.store.fence().is_some();
        for enrollment in self.0.deck.store.enrollments().await.map_err(failed)? {
            if let Some(turn) = restored(&enrollment).filter(|_| fenced) {
                let found = self.0.deck.store.enrollment(enrollment.id).await;
                let code = found
                    .map_err(failed)?
                    .map(|(_, secrets)| self.code_of(&secrets));
                // Its answer is being taken in.
                if code.is_some_and(|code| self.busy().contains(&code)) {
                    continue;
                }
                let name = self.name_of(&enrollment).unwrap_or_default();
                tracing::warn!(grant = %name, "{name}: not authorized: {}", turn.to.text);
                self.write_down(turn).await;
                continue;
            }
            match (enrollment.stage, enrollment.via) {
                (Stage::Received, _) => self.exchange_soon(enrollment.id),
                (Stage::Open, Via::Device) if !fenced => {
                    let found = self.0.deck.store.enrollment(enrollment.id).await;
                    if let Some((enrollment, secrets)) = found.map_err(failed)? {
                        self.poll_on(enrollment, secrets);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives up an enrolment for which nothing has come.
    ///
    /// # Errors
    /// When there is none, or it cannot be given up any more.
    pub async fn cancel(&self, id: EnrollmentId) -> Result<Report, Failure> {
        const GIVEN_UP: &[Stage] = &[Stage::Open, Stage::Quarantined, Stage::Held];
        let enrollment = self.find(id).await?;
        let before = enrollment.stage;
        let text = match before {
            Stage::Held => "given up; what is kept of it is listed by `refreshd answers`",
            _ => "given up",
        };
        match self.turn(GIVEN_UP, enrollment, text.to_owned()).await? {
            true => self.wait(id, Duration::ZERO).await,
            false if before.is_over() => self.wait(id, Duration::ZERO).await,
            false => Err(refused(
                "its code is being exchanged and cannot be called back; what comes of it is shown by `refreshd authorize --list`",
            )),
        }
    }

    /// Takes in a token set that is held: an operator says that it is meant.
    ///
    /// # Errors
    /// When none is held there, or it still cannot be taken in.
    pub async fn accept(&self, id: EnrollmentId) -> Result<Report, Failure> {
        let found = self.0.deck.store.enrollment(id).await.map_err(failed)?;
        let Some((enrollment, secrets)) = found.filter(|(e, _)| e.stage == Stage::Held) else {
            return Err(refused(
                "no token set is held there; see `refreshd authorize --list`",
            ));
        };
        if secrets.answers.is_empty() {
            return Err(refused("its answer is not there any more; authorize again"));
        }
        let name = self.name_of(&enrollment).map_err(|text| refused(&text))?;
        let (seat, terms) = self
            .terms(&enrollment)
            .map_err(|text| Failure::new(Exit::Config, text))?;
        // Of several, the last that can be read: it is what the provider goes on with.
        let read = secrets.answers.iter().rev().find_map(|kept| {
            // Whatever it was sent with: its operator wants it read.
            let mut answer = kept.answer.clone();
            answer.status = 200;
            match answer::read(&seat.client.description, &answer) {
                Outcome::Success(_) => Some((kept.flight, answer)),
                _ => None,
            }
        });
        let Some((flight, answer)) = read else {
            let last = secrets.answers.last();
            let id = last.map_or_else(String::new, |kept| short_id(kept.flight));
            return Err(refused(&format!(
                "its answer cannot be read by the provider's description; see it with `refreshd answers show {id}`, or take its tokens by hand with `refreshd answers take {id}`"
            )));
        };
        let code = secrets.code.clone().unwrap_or_else(|| Secret::new(""));
        let now = self.0.deck.clock.stamp();
        let mut intent = self.intent(&enrollment, &code, &seat);
        intent.flight = flight;
        intent.sent.wall = enrollment.sent.unwrap_or(now.wall);
        intent.first_sent = enrollment.sent.unwrap_or(WallTime(0));
        let authorization = (enrollment, secrets);
        let found =
            Exchange::<OfAuthorization>::accepted(intent, answer, authorization, terms, &now);
        let verdict = adopt(&self.0.deck, None, found, None, &|_| ()).await;
        self.conclude(&name, verdict).await;
        self.wait(id, Duration::ZERO).await
    }
}
