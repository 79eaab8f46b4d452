//! A code is presented, once: the intent is durable before a byte leaves, the answer
//! before it is read, and what it brought is taken in by one transaction.

use super::Enroller;
use crate::engine::message::Message;
use crate::engine::perform::{self, Patience, registration};
use crate::engine::roster::{Seat, binding_of};
use crate::random;
use crate::state::{
    ImportRefusal, ImportRequest, JournalError, Landing, SlotRef, StoreError, TakenIn, Wanted,
};
use refreshd_core::enroll::account::Account;
use refreshd_core::enroll::business;
use refreshd_core::enroll::code::{self, Unused};
use refreshd_core::enroll::{Enrollment, EnrollmentId, Secrets, Stage, Via};
use refreshd_core::flight::{Answer, FlightId, Intent};
use refreshd_core::grant::settle::{self, Ending};
use refreshd_core::grant::{GrantId, Presents};
use refreshd_core::name;
use refreshd_core::provider::answer::{self, Outcome, Success};
use refreshd_core::provider::request::{self, TokenRequest};
use refreshd_core::secret::{Fingerprint, Secret};
use refreshd_core::time::WallTime;
use std::collections::HashSet;
use std::time::Duration;

/// A code that waits is looked at so often: the clock may have been set.
const LOOK: Duration = Duration::from_secs(5);
/// A slot of the journal is waited for so long: flights give theirs back all the time.
const SLOT_PATIENCE: Duration = Duration::from_secs(30);

/// What an exchange that brought nothing may end.
const UNDECIDED: &[Stage] = &[Stage::Open, Stage::Received, Stage::Expired, Stage::InDoubt];
/// What an answer may be kept for: it may hold the only copy of a refresh token, also
/// where somebody has given it up meanwhile.
const NOT_DONE: &[Stage] = &[
    Stage::Open,
    Stage::Received,
    Stage::Expired,
    Stage::InDoubt,
    Stage::Refused,
    Stage::Held,
];

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
    /// What its intent says of a flight.
    pub(super) fn of(
        enrollment: Enrollment,
        secrets: Secrets,
        intent: &Intent,
        slot: SlotRef,
    ) -> Self {
        Under {
            enrollment,
            secrets,
            sent: Some(intent.sent.wall),
            roll: intent.roll,
            landing: Some((intent.flight, slot)),
        }
    }
}

/// A code that is as good as before, and why.
pub(super) struct Spared {
    unused: Unused,
    text: String,
    /// Its flight, if there was one.
    landing: Landing,
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

    /// Reads the answer to a code, which is durable, and commits what it says.
    ///
    /// # Errors
    /// Where it says that nothing was done: the code may be presented again.
    pub(super) async fn conclude_code(
        &self,
        under: Under,
        seat: &Seat,
        answer: Answer,
    ) -> Result<(), Spared> {
        match code::unused(&seat.client.description, &answer) {
            Some((unused, text)) => Err(Spared {
                unused,
                text,
                landing: under.landing,
            }),
            None => {
                self.conclude(under, seat, answer).await;
                Ok(())
            }
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
            self.free(landing);
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
            Ok(_) => self.free(landing),
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
        let mut slot = self.record_intent(&intent).await?;
        let clock = deck.clock.clone();
        let ending = deck
            .http
            .exchange(&seat.client, request, || clock.wall())
            .await;
        if let Ending::Answered(answer) = &ending {
            match deck
                .journal
                .record_answer(Some(slot), &intent, answer)
                .await
            {
                Ok(written) => slot = written,
                Err(e) => {
                    slot = e.place().unwrap_or(slot);
                    tracing::error!(grant = %intent.name, "{}: the answer could not be written to the journal: {e}", intent.name);
                }
            }
        }
        let under = Under::of(enrollment.clone(), secrets, &intent, slot);
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

    async fn record_intent(&self, intent: &Intent) -> Result<SlotRef, String> {
        let until = tokio::time::Instant::now() + SLOT_PATIENCE;
        loop {
            match self.0.deck.journal.record_intent(intent).await {
                Ok(slot) => return Ok(slot),
                Err(JournalError::NoSlot) if tokio::time::Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(e) => {
                    if let Some(place) = e.place() {
                        perform::leave(&self.0.deck, intent.flight, place).await;
                    }
                    return Err(e.to_string());
                }
            }
        }
    }

    /// Reads an answer that is durable, and commits what it says.
    pub(super) async fn conclude(&self, under: Under, seat: &Seat, answer: Answer) {
        let outcome = answer::read(&seat.client.description, &answer);
        let body = Secret::new(String::from_utf8_lossy(&answer.body));
        let (stage, text) = match outcome {
            Outcome::Success(success) => {
                let wanted = Wanted::ByExchange;
                return self.take_in(under, seat, *success, body, wanted).await;
            }
            Outcome::Lost { text, .. } => (Stage::InDoubt, in_doubt(&text)),
            Outcome::Unread { text, .. } => {
                let text = format!(
                    "{text}; the answer is kept. Mend the provider's description, then take it with `refreshd authorize --accept {}`",
                    super::id_text(under.enrollment.id)
                );
                self.end_flight(under, Stage::Held, text, Some(body)).await;
                return;
            }
            Outcome::InvalidGrant { text } => (
                Stage::Refused,
                format!(
                    "the provider does not take the code: {text}; it may have been too old, or used already: authorize again"
                ),
            ),
            Outcome::InvalidClient { text } => (
                Stage::Refused,
                format!(
                    "the provider does not take the client: {text}; see client_id and client_secret of client {}",
                    seat.client.name
                ),
            ),
            Outcome::AskedToWait { text, .. }
            | Outcome::InteractionRequired { text }
            | Outcome::TooEarly { text }
            | Outcome::Refused { text } => (
                Stage::Refused,
                format!("the provider refused: {text}; authorize again"),
            ),
        };
        self.end_flight(under, stage, text, None).await;
    }

    /// Takes the token set in, for as long as it takes: it may be the only copy.
    pub(super) async fn take_in(
        &self,
        under: Under,
        seat: &Seat,
        success: Success,
        answer: Secret,
        wanted: Wanted,
    ) {
        // Who it was is learned when the answer comes: later its access token may be over.
        let who = match wanted {
            Wanted::ByOperator => Ok(None),
            Wanted::ByExchange => {
                let nonce = under.secrets.nonce.as_ref();
                self.account(seat, &success, nonce).await
            }
        };
        let who = match who {
            Ok(who) => who,
            Err(text) => {
                let text =
                    format!("{text}: the answer is not ours, and is not used; authorize again");
                return self.end_flight(under, Stage::Refused, text, None).await;
            }
        };
        let identity = who.as_ref().map(Account::identity);
        let who = who.map(|who| refreshd_core::text::printable(&who.subject));
        let account = identity.map(|identity| self.0.deck.fingerprinter.of(&identity));
        let account = account.or(under.enrollment.account);
        let (request, missing_refresh) = match self.import(&under, seat, success, account) {
            Ok(request) => request,
            Err(text) => {
                return self
                    .end_flight(under, Stage::Held, text, Some(answer))
                    .await;
            }
        };
        let enrollment = Enrollment {
            text: match missing_refresh {
                true => no_refresh_token(seat, &request),
                false => String::new(),
            },
            grant: Some(request.name.clone()),
            ..under.enrollment.clone()
        };
        let landing = under.landing;
        let mut patience = Patience::default();
        let taken = loop {
            let store = &self.0.deck.store;
            let (to, set, kept) = (enrollment.clone(), request.clone(), answer.clone());
            let who = who.clone();
            match store.take_in(to, set, kept, wanted, who, landing).await {
                Ok(taken) => break taken,
                // The grant's own record is damaged: trying again would not help.
                Err(ImportRefusal::Store(
                    e @ (StoreError::Seal(_) | StoreError::Record { .. }),
                )) => {
                    let under = Under {
                        enrollment,
                        ..under
                    };
                    return self
                        .end_flight(under, Stage::Held, e.to_string(), Some(answer))
                        .await;
                }
                Err(ImportRefusal::Store(e)) => {
                    tracing::error!(
                        "what an authorization brought could not be saved; it is kept in memory and tried again: {e}"
                    );
                }
                Err(refusal) => {
                    let under = Under {
                        enrollment,
                        ..under
                    };
                    return self
                        .end_flight(under, Stage::Held, refusal.to_string(), Some(answer))
                        .await;
                }
            }
            patience.wait().await;
        };
        self.free(landing);
        match taken {
            TakenIn::Current(imported) => self.published(imported.grant().clone()).await,
            TakenIn::Held(why) => tracing::warn!(grant = %request.name, "{}: {why}", request.name),
            TakenIn::Gone => {}
        }
        self.turned();
    }

    async fn published(&self, grant: refreshd_core::Grant) {
        tracing::info!(grant = %grant.name, "{}: authorized, generation {}, expires {}", grant.name, grant.state.generation, grant.state.expires_at.rfc3339());
        self.0.engine.tell(Message::Changed(Box::new(grant)));
        self.0.reloader.retarget(&self.0.engine).await;
    }

    /// The grant as it would be taken in; and whether it could not be refreshed,
    /// though its provider's grants are.
    fn import(
        &self,
        under: &Under,
        seat: &Seat,
        success: Success,
        account: Option<Fingerprint>,
    ) -> Result<(ImportRequest, bool), String> {
        let deck = &self.0.deck;
        let name = self.name_of(&under.enrollment)?;
        let code = under.secrets.code.clone();
        let import = settle::Import {
            success,
            obtained_at: under.sent,
            code: code.filter(|_| seat.client.description.refresh_wants_code()),
            binding: binding_of(seat)?,
            roll: under.roll,
        };
        let rules = perform::rules(deck, &seat.client, seat.policy.clone());
        let now = deck.clock.wall();
        let (mut state, tokens) = settle::import(&rules, import, now);
        state.configured = self.0.reloader.config().grants.contains_key(&name);
        state.account = account;
        let bare = tokens.refresh_token.is_none()
            && seat.policy.with == refreshd_core::provider::description::With::RefreshToken
            && !seat.policy.asks_anew();
        let request = ImportRequest {
            name,
            client: seat.client.name.clone(),
            vars: under.enrollment.vars.clone(),
            redirect_uri: under.enrollment.redirect_uri.clone(),
            tokens,
            state,
            obtained_at: under.sent,
            now,
            replace: false,
            authorized: true,
        };
        Ok((request, bare))
    }

    /// The name of the grant: its own, or the business's.
    pub(super) fn name_of(&self, enrollment: &Enrollment) -> Result<String, String> {
        let named = enrollment.grant.clone();
        let business = || enrollment.vars.get(business::VARIABLE).cloned();
        let name = named
            .or_else(business)
            .ok_or("it is not known which grant it is for")?;
        match name::is_valid(&name) {
            true => Ok(name),
            false => Err(format!(
                "{:?} cannot name a grant; {}",
                refreshd_core::text::printable(&name),
                name::RULE
            )),
        }
    }

    pub(super) async fn end_flight(
        &self,
        under: Under,
        stage: Stage,
        text: String,
        answer: Option<Secret>,
    ) {
        let landing = under.landing;
        self.end_with(under.enrollment, stage, text, answer, landing)
            .await;
        self.free(landing);
    }

    /// Gives back the slot of an exchange after which all is as it was.
    pub(super) async fn leave(&self, landing: Landing) {
        if let Some((flight, slot)) = landing {
            perform::leave(&self.0.deck, flight, slot).await;
        }
    }

    fn free(&self, landing: Landing) {
        if let Some((_, slot)) = landing {
            self.0.deck.journal.free(slot);
        }
    }

    pub(super) async fn end(
        &self,
        enrollment: Enrollment,
        stage: Stage,
        text: String,
        answer: Option<Secret>,
    ) {
        self.end_with(enrollment, stage, text, answer, None).await;
    }

    /// A link is good until it is spent, which it is by a success.
    fn stage_after(&self, enrollment: &Enrollment, stage: Stage, kept: bool) -> Stage {
        let failed = matches!(stage, Stage::Refused | Stage::InDoubt) && !kept;
        let in_time = self.0.deck.clock.wall() < enrollment.expires_at;
        match enrollment.via {
            Via::Link if failed && in_time => Stage::Open,
            _ => stage,
        }
    }

    async fn end_with(
        &self,
        enrollment: Enrollment,
        stage: Stage,
        text: String,
        answer: Option<Secret>,
        landing: Landing,
    ) {
        let name = enrollment
            .grant
            .clone()
            .unwrap_or_else(|| enrollment.client.clone());
        tracing::warn!(grant = %name, "{name}: not authorized: {text}");
        let ended = Enrollment {
            stage: self.stage_after(&enrollment, stage, answer.is_some()),
            text,
            ..enrollment
        };
        let from = match answer {
            Some(_) => NOT_DONE,
            None => UNDECIDED,
        };
        let mut patience = Patience::default();
        while let Err(e) = self
            .0
            .deck
            .store
            .turn_enrollment(from, ended.clone(), answer.clone(), landing)
            .await
        {
            tracing::error!(
                "how an authorization ended could not be written down; it is tried again: {e}"
            );
            patience.wait().await;
        }
        self.turned();
    }
}

/// What a person is told where nothing can be refreshed, and what would help.
fn no_refresh_token(seat: &Seat, request: &ImportRequest) -> String {
    let authorize = seat.client.description.authorize.as_ref();
    let asks = |name: &str| authorize.is_some_and(|a| a.params.contains_key(name));
    let google = authorize.is_some_and(|a| a.url.contains(".google.com/"));
    let offline = seat.client.scopes.iter().any(|s| s == "offline_access");
    let remedy = if google && !(asks("access_type") && asks("prompt")) {
        "Google gives one if the provider's [authorize] params have access_type = \"offline\" and prompt = \"consent\""
    } else if !offline {
        "many providers give one for the scope offline_access, some for prompt = \"consent\" or access_type = \"offline\" in [authorize] params"
    } else {
        "see the provider's documents for what it wants to be asked with"
    };
    format!(
        "the answer has no refresh token, so {} cannot be refreshed: a person must authorize again before {}. {remedy}; then `refreshd reload`, and authorize again",
        request.name,
        request.state.expires_at.rfc3339()
    )
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

pub(super) fn in_doubt(text: &str) -> String {
    format!(
        "whether the provider took the code is not known ({text}); a code is presented once: authorize again"
    )
}
