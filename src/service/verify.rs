//! `refreshd verify`: one harmless request that tells whether an access token works.

use super::Service;
use super::api::VerifyRequest;
use crate::config::active::{Seat, seat_of};
use crate::engine::message::Wish;
use crate::exchange::Deck;
use crate::exit::{Exit, Failure, internal};
use refreshd_core::grant::replay::EXCHANGE_LIMIT;
use refreshd_core::grant::schedule::Urgency;
use refreshd_core::provider::answer::redirect;
use refreshd_core::provider::request::verify_url;
use refreshd_core::provider::{Answer, Ending};
use refreshd_core::{Grant, TokenSet};
use serde::{Deserialize, Serialize};

/// What the provider made of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was taken.
    Works,
    /// It is not good any more (RFC 6750 §3.1).
    Refused,
    /// The answer says nothing about it.
    Unclear,
    /// There was no answer.
    Unreachable,
}

impl Verdict {
    /// How the command ends.
    #[must_use]
    pub fn exit(self) -> Exit {
        match self {
            Verdict::Works => Exit::Ok,
            Verdict::Refused => Exit::NoPermission,
            Verdict::Unclear => Exit::TempFail,
            Verdict::Unreachable => Exit::Unavailable,
        }
    }
}

/// An access token that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The grant.
    pub grant: String,
    /// The generation that was tried.
    pub generation: u64,
    /// What came of it.
    pub verdict: Verdict,
    /// The same for a person.
    pub text: String,
}

impl Service {
    /// `refreshd verify`.
    ///
    /// # Errors
    /// When there is nothing to try, or nowhere to; or it is refused, and is not replaced
    /// as was asked for.
    pub async fn verify(&self, request: &VerifyRequest) -> Result<Verified, Failure> {
        if request.refresh {
            self.daemon()?;
        }
        let name = &request.grant;
        let grant = self.look(name).await?.grant;
        let seat = seat_of(&grant, &self.config()).ok_or_else(|| {
            let text = format!(
                "{name}: something is wrong with its client in the configuration; see `refreshd check`"
            );
            Failure::new(Exit::Config, text)
        })?;
        let loaded = self.deck.store.load(&grant.id).await.map_err(internal)?;
        let (grant, tokens) = loaded.unwrap_or((grant, None));
        let verified = verify(&self.deck, &seat, &grant, tokens.as_ref()).await?;
        match verified.verdict == Verdict::Refused && request.refresh {
            true => self.replace(verified).await,
            false => Ok(verified),
        }
    }

    /// Has the token that was refused replaced.
    async fn replace(&self, refused: Verified) -> Result<Verified, Failure> {
        let Verified { grant, text, .. } = &refused;
        let wish = Wish {
            grant: grant.clone(),
            urgency: Urgency::Rejected,
            generation: Some(refused.generation),
        };
        let refreshed = self.refresh_within(wish, 2 * EXCHANGE_LIMIT).await;
        let refreshed = refreshed.map_err(|e| {
            let text = format!("{grant}: {text}, and it was not replaced: {}", e.message);
            Failure::new(e.exit, text)
        })?;
        Ok(Verified {
            generation: refreshed.generation,
            verdict: Verdict::Works,
            text: format!(
                "{text}; it was replaced: generation {} until {}",
                refreshed.generation, refreshed.expires_at
            ),
            grant: refused.grant,
        })
    }
}

/// Tries the access token at the provider's verify URL. Nothing is changed by it.
async fn verify(
    deck: &Deck,
    seat: &Seat,
    grant: &Grant,
    tokens: Option<&TokenSet>,
) -> Result<Verified, Failure> {
    let (name, client) = (&grant.name, &seat.client);
    let description = &client.description;
    let url = verify_url(description, &seat.vars).map_err(|e| {
        let text = format!("{name}: verify.url cannot be used: {e}");
        Failure::new(Exit::Config, text)
    })?;
    let Some(url) = url else {
        let text = format!(
            "{name}: provider {} has no verify URL; write [verify] url = \"https://…\" into its file, a URL that takes a GET with the access token and changes nothing",
            description.name
        );
        return Err(Failure::new(Exit::Config, text));
    };
    let tokens = tokens.filter(|tokens| !tokens.access_token.is_empty());
    let tokens = tokens.ok_or_else(|| {
        let text = format!("{name}: it has no access token yet");
        Failure::new(Exit::TempFail, text)
    })?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let asked = deck.http.verify(client, url, tokens, || deck.clock.wall());
    let ending = tokio::time::timeout(EXCHANGE_LIMIT, asked).await;
    let (verdict, text) = match ending {
        Ok(Ending::Answered(answer)) => judge(&answer, &host),
        Ok(Ending::NotSent { text } | Ending::Lost { text }) => (Verdict::Unreachable, text),
        Err(_) => (
            Verdict::Unreachable,
            format!(
                "{host} did not answer within {} s",
                EXCHANGE_LIMIT.as_secs()
            ),
        ),
    };
    Ok(Verified {
        grant: name.clone(),
        generation: grant.state.generation,
        verdict,
        text,
    })
}

fn judge(answer: &Answer, host: &str) -> (Verdict, String) {
    let status = answer.status;
    match status {
        200..=299 => (
            Verdict::Works,
            format!("it works: {host} answered HTTP {status}"),
        ),
        401 => (
            Verdict::Refused,
            format!("it is refused: {host} answered HTTP 401"),
        ),
        // It may lack a scope, and be good for everything else.
        403 => (
            Verdict::Unclear,
            format!("{host} answered HTTP 403: the token may lack a scope, or the account a right"),
        ),
        300..=399 => (
            Verdict::Unclear,
            format!(
                "{host} answered HTTP {status}, a redirect{}, which is not followed with a token; look at verify.url",
                redirect(answer).map_or_else(String::new, |place| format!(" to {place}"))
            ),
        ),
        _ => (
            Verdict::Unclear,
            format!("{host} answered HTTP {status}, which says nothing about the token"),
        ),
    }
}
