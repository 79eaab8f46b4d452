//! Links: somebody else may approve, in a browser of their own. A link names an
//! enrolment and is good until it is spent; each browser that begins gets a secret of
//! its own, from which its state and verifier follow, so that nothing is written down
//! until a code comes back.

use super::begin::{config, random_text, takes_nonce, takes_pkce};
use super::receive::refused;
use super::{Begin, Enroller, Report};
use crate::config::active::Seat;
use crate::exit::{Exit, Failure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use refreshd_core::enroll::callback::{self, Callback};
use refreshd_core::enroll::{Enrollment, EnrollmentId, Secrets, Stage, Via, state};
use refreshd_core::secret::Secret;
use refreshd_core::text::printable;
use std::time::Duration;

/// What a link is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The grant.
    pub grant: String,
    /// The client.
    pub client: String,
    /// The provider.
    pub provider: String,
    /// Until when it is good, RFC 3339.
    pub expires_at: String,
    /// What became of the last try, if there was one.
    pub text: String,
}

/// A browser has begun.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The enrolment.
    pub id: EnrollmentId,
    /// What the browser keeps, and must bring back.
    pub cookie: Secret,
    /// Where it is sent.
    pub url: String,
}

/// Why what a browser was sent back with is not taken.
enum NotTaken {
    /// Nothing proves that it belongs to this browser.
    Foreign(String),
    /// It was taken before: how that ended.
    Again(Box<Report>),
    /// It cannot be taken now.
    Failed(Failure),
}

/// A browser waits so long for the exchange; it goes on.
const PATIENCE: Duration = Duration::from_secs(15);

impl Enroller {
    /// What a link is for; nothing is begun by asking.
    ///
    /// # Errors
    /// When it is not ours, spent or too old.
    pub async fn offer(&self, link: &str) -> Result<Offer, Failure> {
        let enrollment = self.linked(link).await?;
        Ok(Offer {
            grant: enrollment.grant.unwrap_or_default(),
            client: enrollment.client,
            provider: enrollment.provider,
            expires_at: enrollment.expires_at.rfc3339(),
            text: enrollment.text,
        })
    }

    /// Begins an attempt.
    ///
    /// # Errors
    /// As for [`Enroller::offer`], or when the configuration does not allow it any more.
    pub async fn attempt(&self, link: &str) -> Result<Attempt, Failure> {
        let enrollment = self.linked(link).await?;
        let name = enrollment.grant.clone().unwrap_or_default();
        let seat = self.seat(&enrollment, &name).map_err(config)?;
        let cookie = random_text();
        let secrets = self.derived(&enrollment, &seat, &cookie);
        let state = state::of_attempt(&enrollment, &cookie, &self.0.deck.fingerprinter);
        Ok(Attempt {
            id: enrollment.id,
            url: self.authorize_url(&seat, &state, &secrets)?,
            cookie,
        })
    }

    /// Takes what a browser was sent back with. `cookie` finds what the browser keeps
    /// for an enrolment, and `begun` are those for which it keeps something.
    ///
    /// # Errors
    /// When it is not ours, not this browser's, or came too late; with an error's words.
    pub async fn called_back(
        &self,
        query: &str,
        begun: &[EnrollmentId],
        cookie: impl FnOnce(EnrollmentId) -> Option<Secret>,
    ) -> Result<Report, Failure> {
        match self.genuine_of_link(query, cookie).await {
            Ok(genuine) => {
                let (enrollment, callback, with) = *genuine;
                self.decide(enrollment, callback, with, PATIENCE).await
            }
            Err(NotTaken::Again(report)) => Ok(*report),
            Err(NotTaken::Failed(failure)) => Err(failure),
            Err(NotTaken::Foreign(text)) => Err(self.unproven(query, begun, &text).await),
        }
    }

    /// What a browser was sent back with, where its state and cookie prove what it is for;
    /// with what its code is presented with.
    async fn genuine_of_link(
        &self,
        query: &str,
        cookie: impl FnOnce(EnrollmentId) -> Option<Secret>,
    ) -> Result<Box<(Enrollment, Callback, Secrets)>, NotTaken> {
        let callback = callback::read(query).map_err(|e| NotTaken::Foreign(e.to_string()))?;
        let foreign = || {
            NotTaken::Foreign("this browser has not begun what it was sent back with: open the link again, and approve in this browser".to_owned())
        };
        let key = &self.0.deck.fingerprinter;
        let claim = callback.state.as_deref();
        let claim = claim
            .and_then(|text| state::read(text, key))
            .ok_or_else(foreign)?;
        let Some(cookie) = cookie(claim.id) else {
            let told = self.told_again(claim.id, &callback).await;
            return Err(told.map_or_else(foreign, |told| NotTaken::Again(Box::new(told))));
        };
        let enrollment = self.find(claim.id).await.map_err(|_| foreign())?;
        if enrollment.via != Via::Link || !claim.proves_attempt(&enrollment, &cookie, key) {
            return Err(foreign());
        }
        let name = enrollment.grant.clone().unwrap_or_default();
        let seat = self.seat(&enrollment, &name);
        let seat = seat.map_err(|text| NotTaken::Failed(config(text)))?;
        let with = self.derived(&enrollment, &seat, &cookie);
        Ok(Box::new((enrollment, callback, with)))
    }

    /// Shows an error's words where nothing proves whose they are, also to those who wait
    /// for what this browser has begun. Nothing ends by them.
    async fn unproven(&self, query: &str, begun: &[EnrollmentId], text: &str) -> Failure {
        let Some(words) = callback::words(query) else {
            return refused(text);
        };
        for id in begun {
            let Ok(enrollment) = self.find(*id).await else {
                continue;
            };
            let told = format!(
                "a browser that had opened the link came back without our state. It says {words:?}, which proves nothing; the link is good still"
            );
            let waits = enrollment.via == Via::Link && enrollment.stage == Stage::Open;
            if waits
                && enrollment.text != told
                && let Err(failure) = self.tell(enrollment, told).await
            {
                tracing::warn!("what a callback said could not be written down: {failure}");
            }
        }
        refused(&format!(
            "{text}. It says {words:?}, which proves nothing, since every website can send it"
        ))
    }

    /// What a form that was posted says, as the query of a callback, and for which
    /// enrolment; `None`: it does not carry a state of ours.
    #[must_use]
    pub fn posted(&self, form: &str) -> Option<(EnrollmentId, Secret)> {
        let callback = callback::read(form).ok()?;
        let claim = state::read(callback.state.as_deref()?, &self.0.deck.fingerprinter)?;
        Some((claim.id, callback::query_of(form)))
    }

    /// What came of a code, told to a browser that loads the last page again: its cookie
    /// went with the success. The code that was presented is all that is asked for, and
    /// all that is told is that it is well.
    async fn told_again(&self, id: EnrollmentId, callback: &Callback) -> Option<Report> {
        let code = callback.result.as_ref().ok()?;
        let code = self.0.deck.fingerprinter.of(code);
        let found = self.0.deck.store.enrollment_of_code(code).await;
        let (enrollment, _) = found.ok()??;
        let well = matches!(enrollment.stage, Stage::Done | Stage::Received);
        let same = enrollment.id == id && enrollment.via == Via::Link;
        match well && same {
            true => Some(self.report(enrollment).await),
            false => None,
        }
    }

    /// The enrolment of a link that is good.
    async fn linked(&self, link: &str) -> Result<Enrollment, Failure> {
        let unknown = || {
            let text = "this link is not known here; ask for a new one";
            Failure::new(Exit::NoGrant, text)
        };
        let key = &self.0.deck.fingerprinter;
        let claim = state::read(link, key).ok_or_else(unknown)?;
        let enrollment = self.find(claim.id).await.map_err(|_| unknown())?;
        if enrollment.via != Via::Link || !claim.proves(&enrollment, key) {
            return Err(unknown());
        }
        let late = self.0.deck.clock.wall() >= enrollment.expires_at;
        match enrollment.stage {
            Stage::Open if !late => Ok(enrollment),
            Stage::Open | Stage::Expired => Err(refused("this link is too old; ask for a new one")),
            Stage::Done => Err(refused(
                "this link has been used: what it was for is authorized",
            )),
            _ => Err(refused(
                "this link has been used, and cannot be used again; ask for a new one if it is needed",
            )),
        }
    }

    /// Verifier and nonce of an attempt: they follow from our key and from what the
    /// browser keeps, so that neither alone tells them.
    fn derived(&self, enrollment: &Enrollment, seat: &Seat, attempt: &Secret) -> Secrets {
        let derive = |purpose: &str| {
            let from = [&enrollment.id.0, attempt.expose().as_bytes()].concat();
            let key = &self.0.deck.fingerprinter;
            let halves =
                ["first", "second"].map(|half| key.mac(&format!("{purpose} {half}"), &from));
            Secret::new(URL_SAFE_NO_PAD.encode(halves.concat()))
        };
        Secrets {
            verifier: takes_pkce(seat).then(|| derive("link verifier")),
            nonce: takes_nonce(seat).then(|| derive("link nonce")),
            ..Secrets::default()
        }
    }

    /// The seat with our own callback as redirect URI, which is what a link needs.
    pub(super) fn link_seat(
        &self,
        enrollment: &mut Enrollment,
        begin: &Begin,
        seat: Seat,
    ) -> Result<Seat, Failure> {
        self.check_listens()?;
        let conf = self.0.reloader.config();
        let ours = conf.enroll.public("callback").ok_or_else(|| {
            config("a link needs [enroll] public_url: the address at which an https proxy passes requests on to [enroll] listen".to_owned())
        })?;
        let grant = enrollment.grant.as_deref().unwrap_or_default();
        let configured = conf.redirect_uri_of(grant, &seat.client);
        match begin.redirect_uri.clone().or(configured) {
            Some(other) if other != ours => Err(config(format!(
                "a browser that opens a link is sent back to {ours}, but the redirect_uri is {}: register {ours} with the provider and configure it, or take redirect_uri out",
                printable(&other)
            ))),
            _ => {
                enrollment.redirect_uri = Some(ours.clone());
                Ok(Seat {
                    redirect_uri: Some(ours),
                    ..seat
                })
            }
        }
    }

    /// The link itself. That the provider can be asked is found out now, and not by
    /// whoever opens it.
    pub(super) fn link_url(&self, enrollment: &Enrollment, seat: &Seat) -> Result<String, Failure> {
        if enrollment.grant.is_none() {
            let text = "a link is for one grant: name it";
            return Err(Failure::new(Exit::Usage, text));
        }
        self.authorize_url(seat, "", &Secrets::default())?;
        let state = state::of(enrollment, &self.0.deck.fingerprinter);
        let conf = self.0.reloader.config();
        let link = conf.enroll.public(&format!("authorize/{state}"));
        link.ok_or_else(|| config("a link needs [enroll] public_url".to_owned()))
    }

    pub(super) fn check_listens(&self) -> Result<(), Failure> {
        match self.0.reloader.config().enroll.listen {
            Some(_) => Ok(()),
            None => Err(config(
                "refreshd itself has to be reached for this: set [enroll] listen (and public_url), and restart it".to_owned(),
            )),
        }
    }
}
