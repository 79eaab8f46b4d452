//! What a token endpoint's answer means (RFC 6749 §5.1, §5.2, and what real
//! servers make of them). The first match wins; what is not certain is
//! [`Outcome::Lost`], for the refresh token may have been rotated all the same.

mod date;
mod error;
mod formats;
mod holding;
mod import;
mod lenient;
mod members;
mod own;
mod place;
mod retry_after;
mod text;
mod told;
mod value;
mod words;

pub use formats::{Brought, ImportFormat, read_import_from};
pub use import::{ImportError, read_import};
pub use members::Unreadable;
pub use told::redirect;
pub(crate) use words::without_tokens;

use crate::provider::description::Response;
use crate::provider::{Answer, Description};
use crate::secret::Secret;
use crate::text::printable;
use crate::time::WallTime;
use error::{Kind, Said};
use holding::Known;
use own::{Body, Members};
use std::collections::BTreeMap;
use std::time::Duration;
use zeroize::Zeroizing;

/// What came of a request that was answered. `text` is for people: status,
/// code and description, printable, with nothing in it that looks like a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new token set.
    Success(Box<Success>),
    /// A success that cannot be read, or another answer that holds a token. Its bytes are
    /// kept until it is read or an operator drops it.
    Unread {
        /// What came.
        text: String,
        /// Not again before, at most a day.
        retry_after: Option<Duration>,
        /// It may hold the only copy of a newer refresh token.
        may_hold: bool,
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
    /// A person has to do something at the provider; the refresh token may be good still.
    InteractionRequired {
        /// What came.
        text: String,
    },
    /// The access token is too young to be replaced.
    TooEarly {
        /// What came.
        text: String,
    },
    /// The provider cannot for now, and did nothing.
    Unavailable {
        /// What came.
        text: String,
        /// Not again before, at most a day.
        retry_after: Option<Duration>,
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
    read_knowing(description, answer, &[])
}

/// The same, where these tokens are known already: a server that repeats one has not
/// given it.
#[must_use]
pub fn read_knowing(description: &Description, answer: &Answer, known: &[&Secret]) -> Outcome {
    let known: Vec<&str> = known.iter().map(|token| token.expose()).collect();
    let retry_after = retry_after::of(answer);
    let mut reading = Reading {
        description,
        answer,
        retry_after,
        known: &known,
        damaged: false,
        words: told::redirected(answer),
    };
    if !reading.is_success() && redirects_with_token(answer, &known) {
        return reading.unread("a token in the address that it redirects to", true);
    }
    if answer.body.is_empty() {
        return reading.without_tokens(None);
    }
    let text = match text::of(answer) {
        Ok(text) => text,
        // It may hold anything.
        Err(why) if reading.is_success() => return reading.unread(why, true),
        Err(_) => return reading.without_tokens(None),
    };
    match own::sniff(&text.text, text.cut, &description.response) {
        Body::Own(members) => {
            let said = error::find(&members, &description.errors, Some(answer.status));
            let said = said.filter(|_| !members.cut);
            reading.take_words(&members);
            let members = place::place(members, &description.response);
            reading.damaged = text.damaged;
            reading.own(members, said)
        }
        Body::Unclear(why) => reading.unread(why, true),
        Body::Foreign if reading.is_success() => {
            let words = words::of_page(text.text.as_bytes(), false);
            reading.words = reading.words.or(words);
            let why = match text.cut {
                true => "the body broke off, and what came of it is no token answer",
                false => "this is no token answer",
            };
            reading.unread(why, holding::in_text(&text.text) || text.damaged)
        }
        Body::Foreign if holding::assigned(&text.text, &known) => {
            reading.unread("it seems to hold a token", true)
        }
        Body::Foreign => {
            let said = reading.foreign(text.text.as_bytes());
            reading.without_tokens(said)
        }
    }
}

/// The members of a body that is in a provider's own format, for other endpoints than
/// the token endpoint.
pub(crate) fn object_of(answer: &Answer) -> Option<serde_json::Map<String, serde_json::Value>> {
    let text = text::of(answer).ok()?;
    match own::sniff(&text.text, text.cut, &Response::default()) {
        Body::Own(members) => {
            let pairs = members.iter();
            Some(
                pairs
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
            )
        }
        Body::Unclear(_) | Body::Foreign => None,
    }
}

/// The text of a body, unpacked and decoded.
///
/// # Errors
/// Why there is none, for people.
pub fn text_of(answer: &Answer) -> Result<Zeroizing<String>, &'static str> {
    text::of(answer).map(|text| text.text)
}

/// Whether an answer may hold a token of any kind, by whatever description. Only what is
/// plainly none is let pass.
#[must_use]
pub fn may_hold_token(answer: &Answer) -> bool {
    if redirects_with_token(answer, &[]) {
        return true;
    }
    let Ok(text) = text::of(answer) else {
        return true;
    };
    if text.damaged {
        return true;
    }
    match own::sniff(&text.text, text.cut, &Response::default()) {
        Body::Own(members) => {
            holding::in_members(&members, &[])
                || holding::by_name(&members, &[])
                || holding::within(&members, &[])
        }
        Body::Unclear(_) => true,
        Body::Foreign => holding::in_text(&text.text) || holding::assigned(&text.text, &[]),
    }
}

/// Whether an answer has a token under its own name, at whatever depth.
pub(crate) fn names_token(answer: &Answer) -> bool {
    let members = object_of(answer).map(Members::new);
    members.is_some_and(|it| holding::by_name(&it, &[]) || holding::within(&it, &[]))
}

fn redirects_with_token(answer: &Answer, known: Known<'_>) -> bool {
    let location = header(answer, "location");
    location.is_some_and(|location| holding::assigned(location, known))
}

/// How long an answer asks to wait (RFC 9110 §10.2.3), at most a day.
pub(crate) fn retry_after_of(answer: &Answer) -> Option<Duration> {
    retry_after::of(answer)
}

/// An answer, while it is read.
struct Reading<'a> {
    description: &'a Description,
    answer: &'a Answer,
    retry_after: Option<Duration>,
    known: Known<'a>,
    /// Some of its bytes could not be unpacked.
    damaged: bool,
    /// What can be shown of it, if it is no error in the provider's own format.
    words: Option<String>,
}

impl Reading<'_> {
    /// What can be shown of members that are no tokens.
    fn take_words(&mut self, members: &Members) {
        let errors = &self.description.errors;
        let words = match self.is_success() {
            // The members' names are told with why they are not read.
            true if members.token("access_token").is_some() => None,
            true => error::words(members, errors),
            false => Some(error::unknown(members, errors)),
        };
        self.words = self.words.take().or(words);
    }

    /// An array of errors, or words alone.
    fn foreign(&mut self, body: &[u8]) -> Option<Said> {
        let errors = &self.description.errors;
        let members = error::of_other_json(body);
        let (said, words) = match &members {
            Some(members) => (
                error::find(members, errors, Some(self.answer.status)),
                error::words(members, errors),
            ),
            None => (None, words::of_page(body, self.answer.status >= 400)),
        };
        self.words = self.words.take().or(words);
        said
    }

    /// What is told of it.
    fn told(&self) -> String {
        let about = describe(self.answer);
        match &self.words {
            Some(words) => format!("{about}: {words}"),
            None => about,
        }
    }

    /// By its status; without a status line nobody knows.
    fn is_success(&self) -> bool {
        matches!(self.answer.status, 0 | 200..=299)
    }

    fn may_be_success(&self, members: &Members) -> bool {
        self.answer.status == 0 && holding::in_members(members, self.known)
    }

    /// A body in the provider's own format.
    fn own(&self, members: Members, said: Option<Said>) -> Outcome {
        let by_name =
            holding::by_name(&members, self.known) || holding::within(&members, self.known);
        match said {
            // Both at once is neither: the token may be the only copy, so the bytes are kept.
            Some(said) if by_name => {
                let why = format!("a token beside an error ({})", said.text);
                self.unread(&why, true)
            }
            Some(said) => self.without_tokens(Some(said)),
            None if matches!(self.answer.status, 200..=299) => self.success(members),
            None if by_name || self.may_be_success(&members) => {
                self.unread("a token in what is no success", true)
            }
            None => self.without_tokens(None),
        }
    }

    fn success(&self, members: Members) -> Outcome {
        let names = names(&members);
        let may_hold = self.damaged || holding::in_members(&members, self.known);
        // A text ends with its quote, so what is there is whole. But a rotated refresh
        // token may have stood behind the cut.
        if members.cut && members.token("refresh_token").is_none() {
            let why = format!("the body broke off before its refresh_token{names}");
            return self.unread(&why, may_hold);
        }
        match members::read(members, &self.description.lifetime) {
            Ok(success) => Outcome::Success(Box::new(Success {
                clocks: Some(clocks(self.answer)),
                ..success
            })),
            Err(why) => self.unread(&format!("{why}{names}"), may_hold),
        }
    }

    /// An answer that brings no token.
    fn without_tokens(&self, said: Option<Said>) -> Outcome {
        let retry_after = self.retry_after;
        let lost = |text| Outcome::Lost { text, retry_after };
        match (self.answer.status, said) {
            (429, said) => Outcome::AskedToWait {
                retry_after,
                text: said.map_or_else(|| self.told(), |said| said.text),
            },
            (200..=299 | 400..=499, Some(said)) => by_code(said, retry_after),
            // A gateway may word its failures like the provider; these it does not invent.
            (500..=599, Some(said)) if said.kind.is_definite() => by_code(said, retry_after),
            (_, Some(said)) => lost(said.text),
            (_, None) => lost(self.told()),
        }
    }

    fn unread(&self, why: &str, may_hold: bool) -> Outcome {
        Outcome::Unread {
            text: match &self.words {
                Some(words) => format!("{}: {why}; {words}", describe(self.answer)),
                None => format!("{}: {why}", describe(self.answer)),
            },
            retry_after: self.retry_after,
            may_hold,
        }
    }
}

/// The members that came, by their names: they tell a person what came in place of a token.
fn names(members: &Members) -> String {
    const SHOWN: usize = 8;
    let names: Vec<String> = (members.iter().take(SHOWN))
        .map(|(name, _)| words::redacted(name))
        .collect();
    let more = if members.iter().count() > SHOWN {
        ", …"
    } else {
        ""
    };
    match names.is_empty() {
        true => "; it has no members".to_owned(),
        false => format!("; its members: {}{more}", names.join(", ")),
    }
}

fn by_code(said: Said, retry_after: Option<Duration>) -> Outcome {
    let text = said.text;
    match said.kind {
        Kind::RateLimited => Outcome::AskedToWait { retry_after, text },
        Kind::TooEarly => Outcome::TooEarly { text },
        Kind::InvalidGrant => Outcome::InvalidGrant { text },
        Kind::InvalidClient => Outcome::InvalidClient { text },
        Kind::Person => Outcome::InteractionRequired { text },
        Kind::Unavailable { .. } => Outcome::Unavailable { text, retry_after },
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
    let status = match answer.status {
        0 => "an answer without a status line".to_owned(),
        status => format!("HTTP {status}"),
    };
    let broke_off = if answer.complete {
        ""
    } else {
        " before it broke off"
    };
    format!("{status}, {}, {bytes} bytes{broke_off}", printable(kind))
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let mut headers = answer.headers.iter();
    headers
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests;
