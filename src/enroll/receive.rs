//! The provider's word has come: whether it is for us, and what it says.

use super::{Enroller, Report, failed};
use crate::exit::{Exit, Failure};
use crate::state::Received;
use refreshd_core::enroll::callback::Callback;
use refreshd_core::enroll::{Enrollment, EnrollmentId, Secrets, Stage, Via, state};
use refreshd_core::ledger::authorization::Turn;
use refreshd_core::secret::Secret;
use refreshd_core::text::printable;
use std::time::Duration;

/// What a redirect brought, and what is known of it.
#[derive(Clone, Debug)]
pub struct Word {
    /// What came.
    pub callback: Callback,
    /// For which enrolment it was waited; `None`: its state tells.
    pub expected: Option<EnrollmentId>,
    /// A person brought it by hand, and so knows what it belongs to: a code alone,
    /// without its state, is taken.
    pub by_hand: bool,
}

/// An exchange is waited for so long; it goes on.
const PATIENCE: Duration = Duration::from_secs(60);

impl Enroller {
    /// Takes a redirect's parameters, and returns what came of the exchange.
    ///
    /// # Errors
    /// When it is not ours, came too late or a second time. The enrolment that was
    /// waited for is open still.
    pub async fn receive(&self, word: Word) -> Result<Report, Failure> {
        let enrollment = self.genuine(&word).await?;
        self.decide(enrollment, word.callback, Secrets::default(), PATIENCE)
            .await
    }

    /// What a redirect that is genuine comes to; a code is presented `with` more.
    pub(super) async fn decide(
        &self,
        enrollment: Enrollment,
        callback: Callback,
        with: Secrets,
        patience: Duration,
    ) -> Result<Report, Failure> {
        // Servers that say whom a code is from leave it out of errors, and an error with
        // our state ends nothing but this enrolment.
        if callback.result.is_ok() || callback.iss.is_some() {
            self.check_issuer(&enrollment, callback.iss.as_deref())?;
        }
        let late = self.0.deck.clock.wall() >= enrollment.expires_at;
        if matches!(enrollment.stage, Stage::Open | Stage::Expired) && late {
            self.tidy().await;
            return Err(refused(
                "it came too late; begin again with `refreshd authorize`",
            ));
        }
        let id = enrollment.id;
        match callback.result {
            Ok(code) => {
                self.received(enrollment, code, with).await?;
                self.exchanged(id, patience).await
            }
            Err(denied) if enrollment.stage == Stage::Open => {
                let text = format!("the provider said no: {denied}");
                let turned = match enrollment.via {
                    // A link is good until it is spent.
                    Via::Link => self.tell(enrollment, text).await?,
                    _ => self.turn(&[Stage::Open], enrollment, text).await?,
                };
                match turned {
                    true => self.wait(id, Duration::ZERO).await,
                    false => Err(decided()),
                }
            }
            Err(_) => Err(decided()),
        }
    }

    /// The enrolment that it is for, which its state proves.
    async fn genuine(&self, word: &Word) -> Result<Enrollment, Failure> {
        let foreign = || {
            refused(
                "its state is not ours: it does not belong to this authorization, and is ignored",
            )
        };
        let Some(state) = &word.callback.state else {
            // PKCE, or the person's own hands, tie a code to it that comes alone.
            return match word.expected.filter(|_| word.by_hand) {
                Some(id) => match self.find(id).await? {
                    enrollment if enrollment.via == Via::Link => {
                        Err(refused("a link is finished by the browser that opened it"))
                    }
                    enrollment => Ok(enrollment),
                },
                None => Err(foreign()),
            };
        };
        let key = &self.0.deck.fingerprinter;
        let claim = state::read(state, key).ok_or_else(foreign)?;
        let enrollment = self.find(claim.id).await.map_err(|_| foreign())?;
        if !claim.proves(&enrollment, key) || enrollment.via != Via::Redirect {
            return Err(foreign());
        }
        match word.expected.filter(|expected| *expected != claim.id) {
            Some(expected) if !self.is_as_good(&enrollment, expected, word).await? => {
                Err(foreign())
            }
            _ => Ok(enrollment),
        }
    }

    /// Whether the code of another authorization does for the one that is waited for: the
    /// person has approved an earlier one of the same grant, which is open still. A
    /// browser brings it only where both were to come back to the same redirect URI.
    async fn is_as_good(
        &self,
        other: &Enrollment,
        expected: EnrollmentId,
        word: &Word,
    ) -> Result<bool, Failure> {
        let waited = self.find(expected).await?;
        let same_grant = other.grant.is_some() && other.grant == waited.grant;
        let same_client = (&other.client, &other.provider) == (&waited.client, &waited.provider);
        let same_place = word.by_hand || other.redirect_uri == waited.redirect_uri;
        let is_open = other.stage == Stage::Open && word.callback.result.is_ok();
        Ok(is_open && same_grant && same_client && same_place)
    }

    /// RFC 9207: a redirect that says whom it is from must say it is from whom we asked.
    fn check_issuer(&self, enrollment: &Enrollment, iss: Option<&str>) -> Result<(), Failure> {
        let name = enrollment.grant.clone().unwrap_or_default();
        let seat = self.seat(enrollment, &name).map_err(super::begin::config)?;
        let authorize = seat.client.description.authorize.as_ref();
        let Some(issuer) = authorize.and_then(|a| a.issuer.as_deref()) else {
            return Ok(());
        };
        match iss {
            Some(iss) if iss == issuer => Ok(()),
            Some(other) => Err(refused(&format!(
                "it comes from {}, and was asked of {issuer} (RFC 9207): two providers have been mixed up, and the code is not used",
                printable(&other.chars().take(200).collect::<String>())
            ))),
            None => Err(refused(&format!(
                "it does not say whom it comes from, and {issuer} always does (RFC 9207); the code is not used"
            ))),
        }
    }

    /// Keeps a code, durably, and has it exchanged; whoever brought it may go away.
    pub(super) async fn received(
        &self,
        enrollment: Enrollment,
        code: Secret,
        with: Secrets,
    ) -> Result<(), Failure> {
        let (store, now) = (self.0.deck.store.clone(), self.0.deck.clock.wall());
        let keeping = async move { store.receive_code(enrollment, code, with, now).await };
        let kept = self.kept(keeping, |kept| kept.as_ref().ok()?.to_present());
        match kept.await?.map_err(failed)? {
            Received::New(_) => Ok(()),
            // A page that is loaded again says what it said before.
            Received::Again(known) if known.stage != Stage::Open => Ok(()),
            Received::Again(_) | Received::Spent(_) => Err(refused(
                "this authorization has had its code already; another one is not used. If it failed, begin again",
            )),
        }
    }

    /// Waits until a code is kept, and has it exchanged if it is to be; also when
    /// whoever brought it does not wait any more.
    pub(super) async fn kept<T: Send + 'static>(
        &self,
        keeping: impl Future<Output = T> + Send + 'static,
        to_present: fn(&T) -> Option<&Enrollment>,
    ) -> Result<T, Failure> {
        let enroller = self.clone();
        let kept = tokio::spawn(async move {
            let kept = keeping.await;
            if let Some(enrollment) = to_present(&kept) {
                enroller.turned();
                enroller.exchange_soon(enrollment.id);
            }
            kept
        });
        let failed = |e: tokio::task::JoinError| Failure::new(Exit::Internal, e.to_string());
        kept.await.map_err(failed)
    }

    /// Writes down what came of a try that ends nothing.
    pub(super) async fn tell(&self, enrollment: Enrollment, text: String) -> Result<bool, Failure> {
        let to = Enrollment { text, ..enrollment };
        self.turn_from(&[Stage::Open], to).await
    }

    /// Ends it by a person's word, if it is at one of these stages still.
    pub(super) async fn turn(
        &self,
        from: &'static [Stage],
        enrollment: Enrollment,
        text: String,
    ) -> Result<bool, Failure> {
        let to = Enrollment {
            stage: Stage::Refused,
            text,
            ..enrollment
        };
        self.turn_from(from, to).await
    }

    async fn turn_from(&self, from: &'static [Stage], to: Enrollment) -> Result<bool, Failure> {
        let answer = None;
        let turn = Turn { from, to, answer };
        let turned = self.0.deck.store.turn_enrollment(turn, None).await;
        let turned = turned.map_err(failed)?;
        self.turned();
        Ok(turned)
    }
}

fn decided() -> Failure {
    refused("this authorization has been decided already")
}

pub(super) fn refused(text: &str) -> Failure {
    Failure::new(Exit::Data, text)
}
