//! What a token endpoint's answer means (RFC 6749 §5.1, §5.2, and what real
//! servers make of them). The first match wins; what is not certain is
//! [`Outcome::Lost`], for the refresh token may have been rotated all the same.

mod date;
mod error;
mod formats;
mod import;
mod members;
mod own;
mod place;
mod retry_after;
mod value;

pub use formats::{Brought, ImportFormat, read_import_from};
pub use import::{ImportError, read_import};
pub use members::Unreadable;

use crate::flight::Answer;
use crate::provider::Description;
use crate::secret::Secret;
use crate::text::printable;
use crate::time::WallTime;
use error::{Kind, Said};
use own::Body;
use std::collections::BTreeMap;
use std::time::Duration;

/// What came of a request that was answered. `text` is for people: status,
/// code and description, printable, with nothing in it that looks like a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new token set.
    Success(Box<Success>),
    /// A success by its form, but no access token can be read from it. The
    /// bytes are worth keeping: they may hold the only copy of a refresh token.
    Unread {
        /// What came.
        text: String,
    },
    /// Too many requests.
    AskedToWait {
        /// For how long, at most a day.
        retry_after: Option<Duration>,
        /// What came.
        text: String,
    },
    /// The presented refresh token is void: a definite answer.
    InvalidGrant {
        /// What came.
        text: String,
    },
    /// The client is not accepted; the grant is not to blame.
    InvalidClient {
        /// What came.
        text: String,
    },
    /// The access token is too young to be replaced.
    TooEarly {
        /// What came.
        text: String,
    },
    /// Another error in the provider's own format.
    Refused {
        /// What came.
        text: String,
    },
    /// The answer tells nothing: the request may have been carried out.
    Lost {
        /// What came.
        text: String,
        /// Not again before, at most a day.
        retry_after: Option<Duration>,
    },
}

/// Two clocks at the same moment, but for the way of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// The provider's: the answer's `Date`, in whole seconds; `None`: it has none.
    pub theirs: Option<WallTime>,
    /// Ours.
    pub ours: WallTime,
}

/// A token set as an answer states it. Times are as the provider sent them;
/// what to make of them is for [`crate::grant::schedule`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    /// The access token: not blank, no control characters.
    pub access_token: Secret,
    /// The refresh token; `None`: keep the one there is.
    pub refresh_token: Option<Secret>,
    /// As the provider wrote it.
    pub token_type: Option<String>,
    /// Scopes, separated by single spaces.
    pub scope: Option<String>,
    /// Seconds; may be zero, negative or absurdly large.
    pub expires_in: Option<i64>,
    /// An absolute expiry.
    pub expires_at: Option<WallTime>,
    /// When the provider says that it made the token.
    pub created_at: Option<WallTime>,
    /// `exp` of an access token that is a JWT. Not verified: a hint.
    pub jwt_exp: Option<WallTime>,
    /// Its `iat`.
    pub jwt_iat: Option<WallTime>,
    /// What the provider's clock said when the answer left, and ours when it came.
    pub clocks: Option<Clocks>,
    /// How long the refresh token lives; never zero.
    pub refresh_expires_in: Option<Duration>,
    /// When the refresh token ends.
    pub refresh_expires_at: Option<WallTime>,
    /// Other members, each in its JSON text, bounded in number and size.
    pub extra: BTreeMap<String, Secret>,
    /// Oddities, for the log; without values.
    pub notes: Vec<String>,
}

/// Reads an answer by the description that its request was built from.
#[must_use]
pub fn read(description: &Description, answer: &Answer) -> Outcome {
    let retry_after = retry_after::of(answer);
    let lost = |text| Outcome::Lost { text, retry_after };
    if !answer.complete {
        return lost(format!("{}, and the body broke off", describe(answer)));
    }
    let body = own::sniff(&answer.body);
    let said = match &body {
        Body::Own(members) => error::find(members, &description.errors, Some(answer.status)),
        Body::Broken | Body::Foreign => None,
    };
    let body = match body {
        Body::Own(members) => Body::Own(place::place(members, &description.response)),
        other => other,
    };
    match (answer.status, said) {
        (429, said) => Outcome::AskedToWait {
            retry_after,
            text: said.map_or_else(|| describe(answer), |said| said.text),
        },
        (200..=299, said) => read_success(description, answer, body, said, retry_after),
        (400..=499, Some(said)) => by_code(said, retry_after),
        // A gateway may word its failures like the provider; these two it does not invent.
        (500..=599, Some(said)) if said.kind.is_definite() => by_code(said, retry_after),
        (_, Some(said)) => lost(said.text),
        (_, None) => lost(describe(answer)),
    }
}

/// The members of a body that is in a provider's own format, for other endpoints than
/// the token endpoint.
pub(crate) fn object_of(body: &[u8]) -> Option<serde_json::Map<String, serde_json::Value>> {
    match own::sniff(body) {
        Body::Own(members) => {
            let pairs = members.iter();
            Some(
                pairs
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
            )
        }
        Body::Broken | Body::Foreign => None,
    }
}

/// How long an answer asks to wait (RFC 9110 §10.2.3), at most a day.
pub(crate) fn retry_after_of(answer: &Answer) -> Option<Duration> {
    retry_after::of(answer)
}

fn read_success(
    description: &Description,
    answer: &Answer,
    body: Body,
    said: Option<Said>,
    retry_after: Option<Duration>,
) -> Outcome {
    let unread = |why: &dyn std::fmt::Display| Outcome::Unread {
        text: format!("{}: {why}", describe(answer)),
    };
    match (body, said) {
        // Both at once is neither: the token may be the only copy, so the bytes are kept.
        (Body::Own(members), Some(said)) if members.has_access_token() => {
            unread(&format!("an access token beside an error ({})", said.text))
        }
        (Body::Own(_), Some(said)) => by_code(said, retry_after),
        (Body::Own(members), None) => match members::read(members, &description.lifetime) {
            Ok(success) => Outcome::Success(Box::new(Success {
                clocks: Some(clocks(answer)),
                ..success
            })),
            Err(why) => unread(&why),
        },
        (Body::Broken, _) => unread(&"it begins like JSON but cannot be read as such"),
        (Body::Foreign, _) => Outcome::Lost {
            text: format!("{}: this is no token answer", describe(answer)),
            retry_after,
        },
    }
}

fn by_code(said: Said, retry_after: Option<Duration>) -> Outcome {
    let text = said.text;
    match said.kind {
        Kind::RateLimited => Outcome::AskedToWait { retry_after, text },
        Kind::TooEarly => Outcome::TooEarly { text },
        Kind::InvalidGrant => Outcome::InvalidGrant { text },
        Kind::InvalidClient => Outcome::InvalidClient { text },
        Kind::Other => Outcome::Refused { text },
    }
}

fn clocks(answer: &Answer) -> Clocks {
    let date = header(answer, "date");
    Clocks {
        theirs: date.and_then(|date| date::http(date.trim())),
        ours: answer.received,
    }
}

/// Status, content type and size: what may be told of any answer.
fn describe(answer: &Answer) -> String {
    let kind = header(answer, "content-type").map_or("no content type", |value| {
        value.split(';').next().unwrap_or_default().trim()
    });
    let bytes = answer.body.len();
    format!("HTTP {}, {}, {bytes} bytes", answer.status, printable(kind))
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let mut headers = answer.headers.iter();
    headers
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests;
