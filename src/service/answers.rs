//! What is kept of providers' answers beside the tokens in use: answers that could not be
//! read, what came too late, what another token set took the place of. It is listed,
//! handed to its owner, and dropped here; what is read of it goes the way of an import.

use super::api::Done;
use super::{Host, Service};
use crate::enroll::id_text;
use crate::exit::{Failure, internal};
use crate::history::id_of;
use crate::state::{
    Candidate, Committed, Event, OfAuthorization, Recovered, Store, StoreError, Unread,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use refreshd_core::enroll::business;
use refreshd_core::flight::ExchangeId;
use refreshd_core::grant::{Grant, Presents, TokenSet};
use refreshd_core::provider::Answer;
use refreshd_core::provider::answer::{Outcome, Success, may_hold_token, read, text_of};
use refreshd_core::provider::description::Description;
use refreshd_core::secret::Secret;
use refreshd_core::time::WallTime;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Something that is kept, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What to call it by; any beginning that is its alone will do.
    pub id: String,
    /// The grant.
    pub grant: String,
    /// The grant's client.
    pub client: String,
    /// When it came, RFC 3339.
    pub at: String,
    /// The generation that it followed on.
    pub generation: u64,
    /// HTTP status of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Bytes of its body.
    pub bytes: usize,
    /// Whether the body came whole.
    pub whole: bool,
    /// Why it is kept, for people.
    pub why: String,
    /// The authorization that keeps it; `None`: a refresh brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<String>,
    /// Refreshd stopped before it was read, and reads it when it starts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
}

/// The same with what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptInFull {
    /// Without its secrets.
    #[serde(flatten)]
    pub kept: Kept,
    /// Headers that are kept.
    pub headers: Vec<(String, Secret)>,
    /// The body, in base64.
    pub body: Secret,
    /// When it was received, in milliseconds since 1970.
    pub received_ms: i64,
    /// The code that began the grant, where its provider wants that with every refresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Secret>,
    /// Values of the provider's variables that it was authorized with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, String>,
    /// The redirect URI that it was authorized with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
}

impl KeptInFull {
    /// The answer, as it came.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let owned = |(name, value): &(String, Secret)| (name.clone(), value.expose().to_owned());
        Answer {
            status: self.kept.status.unwrap_or(200),
            headers: self.headers.iter().map(owned).collect(),
            body: STANDARD.decode(self.body.expose()).unwrap_or_default(),
            complete: self.kept.whole,
            received: WallTime(self.received_ms),
        }
    }

    /// The body's text, unpacked and decoded.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub fn text(&self) -> Result<Zeroizing<String>, &'static str> {
        text_of(&self.answer())
    }

    /// A token response (RFC 6749 §5.1) of what this description reads in it.
    ///
    /// # Errors
    /// Why it cannot be read, for people.
    pub fn response(&self, description: &Description) -> Result<serde_json::Value, String> {
        let mut answer = self.answer();
        // Whatever it was sent with: its owner wants it read.
        answer.status = 200;
        match read(description, &answer) {
            Outcome::Success(success) => Ok(response(&success, answer.received)),
            Outcome::Unread { text, .. }
            | Outcome::Lost { text, .. }
            | Outcome::AskedToWait { text, .. }
            | Outcome::Unavailable { text, .. }
            | Outcome::InvalidGrant { text }
            | Outcome::InvalidClient { text }
            | Outcome::InteractionRequired { text }
            | Outcome::TooEarly { text }
            | Outcome::Refused { text } => Err(text),
        }
    }
}

fn response(success: &Success, received: WallTime) -> serde_json::Value {
    let mut response = json!({ "access_token": success.access_token.expose() });
    let ends = success
        .expires_in
        .map(|secs| WallTime::from_secs(received.secs().saturating_add(secs)));
    let texts = [
        (
            "refresh_token",
            success
                .refresh_token
                .as_ref()
                .map(|t| t.expose().to_owned()),
        ),
        ("token_type", success.token_type.clone()),
        ("scope", success.scope.clone()),
        (
            "expires_at",
            ends.or(success.expires_at).map(WallTime::rfc3339),
        ),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            response[name] = text.into();
        }
    }
    response
}

impl Service {
    /// `refreshd answers`, in full: whoever may ask owns the state.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn answers(&self, grant: Option<&str>) -> Result<Vec<KeptInFull>, Failure> {
        let store = &self.deck.store;
        let mut found = all(store, grant).await.map_err(internal)?;
        let waiting = match &self.host {
            Host::Daemon(_) => &[][..],
            Host::Command(offline) => &offline.waiting,
        };
        for recovered in waiting {
            let kept = of_waiting(store, recovered).await.map_err(internal)?;
            let wanted = |kept: &KeptInFull| grant.is_none_or(|name| name == kept.kept.grant);
            found.extend(kept.filter(wanted));
        }
        Ok(found)
    }

    /// `refreshd answers drop`; `became`: the generation that was taken out of it by hand.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn drop_answer(&self, id: &str, became: Option<u64>) -> Result<Done, Failure> {
        let (store, now) = (&self.deck.store, self.deck.clock.wall());
        let changed = forget(store, id, became, now).await.map_err(internal)?;
        self.changed(changed);
        Ok(Done::told(format!("{id}: dropped")))
    }
}

/// All that is kept, or what is kept of one grant and its authorizations; the latest first.
async fn all(store: &Store, grant: Option<&str>) -> Result<Vec<KeptInFull>, StoreError> {
    let mut found = Vec::new();
    for it in store.grants().await? {
        if grant.is_some_and(|name| name != it.name) {
            continue;
        }
        let (unread, candidates) = (store.unread(&it.id).await?, store.candidates(&it.id).await?);
        if unread.is_empty() && candidates.is_empty() {
            continue;
        }
        let tokens = store.load(&it.id).await?.and_then(|(_, tokens)| tokens);
        let code = tokens.and_then(|tokens| tokens.code);
        found.extend(unread.iter().map(|kept| of_unread(&it, kept, code.clone())));
        found.extend(
            candidates
                .iter()
                .map(|kept| of_candidate(&it, kept, code.clone())),
        );
    }
    for kept in store.answers_of_enrollments().await? {
        let kept = of_authorization(kept);
        if grant.is_none_or(|name| name == kept.kept.grant) {
            found.push(kept);
        }
    }
    found.sort_by_key(|kept| std::cmp::Reverse(kept.received_ms));
    Ok(found)
}

/// What is kept of an authorization that was answered, while no daemon reads it;
/// `None`: nothing that is worth anything.
async fn of_waiting(
    store: &Store,
    recovered: &Recovered,
) -> Result<Option<KeptInFull>, StoreError> {
    let intent = &recovered.intent;
    let (Some(answer), Presents::Code(code)) = (&recovered.answer, intent.presents) else {
        return Ok(None);
    };
    if !(200..300).contains(&answer.status) && !may_hold_token(answer) {
        return Ok(None);
    }
    let known = store.enrollment_of_code(code).await?;
    let known = known.map(|(enrollment, _)| enrollment);
    let subject = Subject {
        grant: intent.name.clone(),
        client: known
            .as_ref()
            .map_or_else(String::new, |e| e.client.clone()),
        generation: 0,
        vars: BTreeMap::new(),
        redirect_uri: None,
    };
    let why = "an authorization brought it, and refreshd stopped before it was read: that is done at the next start";
    let mut found = of_answer(subject, id_of(intent.flight), answer, why, None);
    found.kept.authorization = Some(known.map_or_else(String::new, |e| id_text(e.id)));
    found.kept.waits = true;
    Ok(Some(found))
}

/// Lets go of one; `became`: the generation that was taken out of it by hand. Returns the
/// grant where it has changed: nothing is kept any more that may hold its refresh token.
async fn forget(
    store: &Store,
    id: &str,
    became: Option<u64>,
    now: WallTime,
) -> Result<Option<Grant>, StoreError> {
    let Some(flight) = flight_of(id) else {
        return Ok(None);
    };
    store.forget_answer_of_enrollment(flight, became).await?;
    store.forget_candidate(flight).await?;
    for grant in store.grants().await? {
        let unread = store.unread(&grant.id).await?;
        if unread.iter().any(|kept| kept.flight == flight) {
            store.forget_unread(flight).await?;
            return release(store, grant, now).await;
        }
    }
    Ok(None)
}

/// Ends the hold of a grant where nothing is kept any more that may be its next token set.
/// Its last exchange is as doubtful as before.
async fn release(store: &Store, grant: Grant, now: WallTime) -> Result<Option<Grant>, StoreError> {
    let mut grant = grant;
    loop {
        let generation = grant.state.generation;
        let unread = store.unread(&grant.id).await?;
        let mut left = unread.iter().filter(|kept| kept.generation == generation);
        let holds = left.any(|kept| may_hold_token(&kept.answer));
        let mut state = grant.state.clone();
        let doubt = state.doubt.as_mut().filter(|doubt| doubt.unread && !holds);
        let Some(doubt) = doubt else {
            return Ok(None);
        };
        doubt.unread = false;
        let event = Event {
            at: now,
            kind: "answer-dropped".to_owned(),
            text: "an operator dropped what was kept of an answer".to_owned(),
        };
        match store.update_state(&grant, state, event).await? {
            Committed::Applied(grant) => return Ok(Some(grant)),
            Committed::Stale(now) => grant = now,
        }
    }
}

fn flight_of(id: &str) -> Option<ExchangeId> {
    let bytes = (0..16).map(|at| u8::from_str_radix(id.get(2 * at..2 * at + 2)?, 16).ok());
    let bytes: Option<Vec<u8>> = bytes.collect();
    Some(ExchangeId(bytes?.try_into().ok()?))
}

fn of_unread(grant: &Grant, unread: &Unread, code: Option<Secret>) -> KeptInFull {
    let why = match unread.generation == grant.state.generation {
        true => "it could not be read",
        false => "it could not be read, and the grant has another token set by now",
    };
    let id = id_of(unread.flight);
    let subject = Subject::of(grant, unread.generation);
    of_answer(subject, id, &unread.answer, why, code)
}

fn of_authorization(of: OfAuthorization) -> KeptInFull {
    let OfAuthorization {
        enrollment,
        kept,
        code,
    } = of;
    let business = || enrollment.vars.get(business::VARIABLE).cloned();
    let grant = enrollment.grant.clone().or_else(business);
    let subject = Subject {
        grant: grant.unwrap_or_default(),
        client: enrollment.client,
        generation: 0,
        vars: enrollment.vars,
        redirect_uri: enrollment.redirect_uri,
    };
    // What to do about it is told where it is shown.
    let said = enrollment.text.split(';').next().unwrap_or_default();
    let why = match said {
        "" => "an authorization brought it".to_owned(),
        said => format!("an authorization brought it: {said}"),
    };
    let id = id_of(kept.flight);
    let mut found = of_answer(subject, id, &kept.answer, &why, code);
    found.kept.authorization = Some(id_text(enrollment.id));
    found
}

fn of_candidate(grant: &Grant, candidate: &Candidate, code: Option<Secret>) -> KeptInFull {
    let id = id_of(candidate.flight);
    let subject = Subject::of(grant, candidate.base_generation);
    if let Some(answer) = &candidate.answer {
        let why = "it came too late to be current, and could not be read";
        return of_answer(subject, id, answer, why, code);
    }
    let why = match (candidate.refused, &candidate.description) {
        (true, _) => "a token set whose refresh token the provider refused",
        (false, Some(_)) => {
            "a token set that came too late to be current; it is tried if the present one is refused"
        }
        (false, None) => "a token set that an import or another authorization took the place of",
    };
    let body = candidate.tokens.as_ref().map(document).unwrap_or_default();
    let answer = Answer {
        status: 200,
        headers: Vec::new(),
        body,
        complete: true,
        received: candidate.at,
    };
    let mut kept = of_answer(subject, id, &answer, why, code);
    kept.kept.status = None;
    kept
}

fn document(tokens: &TokenSet) -> Vec<u8> {
    let mut document = json!({
        "access_token": tokens.access_token.expose(),
        "token_type": tokens.token_type,
        "scope": tokens.scope,
    });
    if let Some(token) = &tokens.refresh_token {
        document["refresh_token"] = token.expose().into();
    }
    document.to_string().into_bytes()
}

/// What an answer was for.
struct Subject {
    grant: String,
    client: String,
    generation: u64,
    vars: BTreeMap<String, String>,
    redirect_uri: Option<String>,
}

impl Subject {
    fn of(grant: &Grant, generation: u64) -> Self {
        Subject {
            grant: grant.name.clone(),
            client: grant.client.clone(),
            generation,
            vars: grant.vars.clone(),
            redirect_uri: grant.redirect_uri.clone(),
        }
    }
}

fn of_answer(
    subject: Subject,
    id: String,
    answer: &Answer,
    why: &str,
    code: Option<Secret>,
) -> KeptInFull {
    let sealed = |(name, value): &(String, String)| (name.clone(), Secret::new(value.as_str()));
    KeptInFull {
        kept: Kept {
            id,
            grant: subject.grant,
            client: subject.client,
            at: answer.received.rfc3339(),
            generation: subject.generation,
            status: Some(answer.status),
            bytes: answer.body.len(),
            whole: answer.complete,
            why: why.to_owned(),
            authorization: None,
            waits: false,
        },
        headers: answer.headers.iter().map(sealed).collect(),
        body: Secret::new(STANDARD.encode(&answer.body)),
        received_ms: answer.received.0,
        code,
        vars: subject.vars,
        redirect_uri: subject.redirect_uri,
    }
}
