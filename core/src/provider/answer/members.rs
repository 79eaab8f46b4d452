//! The members of a success (RFC 6749 §5.1), under the names and in the forms
//! that real servers give them.

use super::Success;
use super::lenient::WRONG;
use super::own::Members;
use super::value::{self, Span};
use crate::provider::description::{ExpiresIn, Lifetime};
use crate::secret::Secret;
use crate::time::WallTime;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use zeroize::Zeroizing;

/// Bounds of what is kept of members that we do not know.
const EXTRA_MEMBERS: usize = 32;
const EXTRA_BYTES: usize = 16 * 1024;
/// A lifetime so many times as long as the description's counts milliseconds.
const MILLISECONDS: std::ops::RangeInclusive<u64> = 900..=1100;

/// Why a token response holds no tokens that are fit to be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No `access_token`, or an empty one.
    #[error("it has no access_token")]
    NoAccessToken,
    /// `access_token` is an object or the like.
    #[error("its access_token is not a text")]
    NotText,
    /// A line feed or another control character: it would split headers and files.
    #[error(
        "its access_token holds a line break or another control character; a token is one line without them"
    )]
    ControlCharacter,
    /// Bytes that are no character, or half of one: what the server meant is not known.
    #[error("its {0} holds something that is no character")]
    WrongCharacter(&'static str),
    /// `refresh_token` is an object or the like; without it the answer is only half read.
    #[error("its refresh_token is not a text")]
    RefreshToken,
}

/// An access token that is a JSON number has so many digits at the least: a shorter one is
/// a code or an id, and readers go on with the token that they have.
const LEAST_DIGITS: usize = 16;

/// `lifetime` says what the numbers count.
pub(super) fn read(members: Members, lifetime: &Lifetime) -> Result<Success, Unreadable> {
    let mut reader = Reader {
        members,
        lifetime,
        notes: Vec::new(),
    };
    let access_token = reader.access_token()?;
    let refresh_token = reader.refresh_token()?;
    for oddity in std::mem::take(&mut reader.members.oddities) {
        reader.note(oddity);
    }
    let access = reader.life(
        &["expires_in", "expires"],
        &["expires_at", "access_token_expiration", "expires_on"],
    );
    let access = reader.believable(access);
    let jwt = jwt(&access_token);
    let refresh = reader.refresh_life();
    let success = Success {
        jwt_exp: jwt.exp,
        jwt_iat: jwt.iat,
        clocks: None,
        token_type: reader.token_type(),
        scope: reader.scope(),
        expires_in: access.secs,
        expires_at: access.at,
        created_at: reader.moment("created_at"),
        refresh_expires_in: refresh.secs.map(|s| Duration::from_secs(s.unsigned_abs())),
        refresh_expires_at: refresh.at,
        extra: reader.extra(),
        notes: reader.notes,
        access_token,
        refresh_token,
    };
    Ok(success)
}

/// A lifetime, relative, absolute or both.
#[derive(Default)]
struct Life {
    secs: Option<i64>,
    at: Option<WallTime>,
}

struct Reader<'l> {
    members: Members,
    lifetime: &'l Lifetime,
    notes: Vec<String>,
}

impl Reader<'_> {
    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn access_token(&mut self) -> Result<Secret, Unreadable> {
        match self.members.take("access_token") {
            None | Some(Value::Null) => Err(Unreadable::NoAccessToken),
            Some(Value::String(token)) => self.usable(Secret::new(token)),
            Some(Value::Number(number)) => {
                let digits = Secret::new(number.to_string());
                if digits.expose().len() < LEAST_DIGITS {
                    return Err(Unreadable::NotText);
                }
                self.note("access_token is a number; its digits are kept");
                Ok(digits)
            }
            Some(_) => Err(Unreadable::NotText),
        }
    }

    /// An access token goes into headers and files of one line (RFC 6749 A.12): a line
    /// break at its end is the server's slip, one within it is not ours to mend.
    fn usable(&mut self, token: Secret) -> Result<Secret, Unreadable> {
        let trimmed = token.expose().trim_matches(char::is_control);
        if trimmed.trim().is_empty() {
            return Err(Unreadable::NoAccessToken);
        }
        if trimmed.chars().any(char::is_control) {
            return Err(Unreadable::ControlCharacter);
        }
        if trimmed.contains(WRONG) {
            return Err(Unreadable::WrongCharacter("access_token"));
        }
        if trimmed.len() == token.expose().len() {
            return Ok(token);
        }
        self.note("access_token had a line break or another control character at its end, which was taken off");
        Ok(Secret::new(trimmed))
    }

    /// Kept to the character, a line break at its end too: it is presented as it came.
    fn refresh_token(&mut self) -> Result<Option<Secret>, Unreadable> {
        match self.members.take("refresh_token") {
            None | Some(Value::Null | Value::Bool(false)) => Ok(None),
            Some(Value::String(token)) => {
                let token = Secret::new(token);
                if token.expose().contains(WRONG) {
                    return Err(Unreadable::WrongCharacter("refresh_token"));
                }
                Ok((!token.expose().trim().is_empty()).then_some(token))
            }
            Some(Value::Number(number)) => {
                self.note("refresh_token is a number; its digits are kept");
                Ok(Some(Secret::new(number.to_string())))
            }
            Some(_) => Err(Unreadable::RefreshToken),
        }
    }

    fn token_type(&mut self) -> Option<String> {
        let value = self.members.take("token_type")?;
        if value::is_blank(&value) {
            return None;
        }
        // It goes into `Authorization` headers in front of the token.
        let fit = |text: &str| text.len() <= 64 && text.bytes().all(|b| (b' '..=b'~').contains(&b));
        let text = value.as_str().map(str::trim).filter(|text| fit(text));
        if text.is_none() {
            self.note("token_type is not fit to be used; Bearer is assumed");
        }
        text.map(str::to_owned)
    }

    /// Scopes as an array, or with commas or spaces between them.
    fn scope(&mut self) -> Option<String> {
        let value = self.members.take("scope")?;
        let all = match &value {
            Value::String(text) => text.clone(),
            Value::Array(scopes) => {
                let texts: Vec<&str> = scopes.iter().filter_map(Value::as_str).collect();
                texts.join(" ")
            }
            Value::Null => return None,
            _ => {
                self.note("scope is neither a text nor an array");
                return None;
            }
        };
        let words = all.split(|c: char| c == ',' || c.is_whitespace() || c.is_control());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }

    fn life(&mut self, relative: &[&str], absolute: &[&str]) -> Life {
        let mut life = Life::default();
        for name in relative {
            let found = self.relative(name);
            life.secs = life.secs.or(found.secs);
            life.at = life.at.or(found.at);
        }
        for name in absolute {
            let found = self.moment(name);
            life.at = life.at.or(found);
        }
        life
    }

    /// A member that should hold a lifetime; some hold a moment.
    fn relative(&mut self, name: &str) -> Life {
        let Some(value) = self.members.take(name).filter(|v| !value::is_blank(v)) else {
            return Life::default();
        };
        match value::span(&value, self.lifetime.expires_in) {
            Some(Span::Moment(at)) => {
                self.note(format!("{name} is a point in time, not a duration"));
                Life {
                    secs: None,
                    at: Some(at),
                }
            }
            Some(Span::Secs(secs)) => {
                if secs < 0 {
                    self.note(format!("{name} is negative"));
                }
                Life {
                    secs: Some(secs),
                    at: None,
                }
            }
            Some(Span::Absurd) => {
                self.note(format!(
                    "{name} says more than a thousand years; it counts as absent"
                ));
                Life::default()
            }
            None => {
                let at = self.as_moment(name, &value);
                Life { secs: None, at }
            }
        }
    }

    /// What an answer says of the access token's end, unless the description says that it
    /// means nothing; in milliseconds where it can be nothing else.
    fn believable(&mut self, life: Life) -> Life {
        let lifetime = self.lifetime;
        let Some(access) = lifetime.access else {
            return life;
        };
        if lifetime.expires_in == ExpiresIn::Unused {
            return Life::default();
        }
        let times = life
            .secs
            .and_then(|secs| u64::try_from(secs).ok())
            .unwrap_or(0)
            / access.as_secs().max(1);
        if lifetime.expires_in != ExpiresIn::Seconds || !MILLISECONDS.contains(&times) {
            return life;
        }
        self.note(
            "expires_in is a thousand times the description's [lifetime] access, so it is read as milliseconds; \
             write [lifetime] expires_in = \"milliseconds\"",
        );
        Life {
            secs: life.secs.map(|millis| millis / 1000),
            ..life
        }
    }

    fn moment(&mut self, name: &str) -> Option<WallTime> {
        let value = self.members.take(name)?;
        // Zero says "never" or "not known".
        if value::is_blank(&value) || value::integer(&value) == Some(0) {
            return None;
        }
        self.as_moment(name, &value)
    }

    fn as_moment(&mut self, name: &str, value: &Value) -> Option<WallTime> {
        let moment = value::moment(value);
        if moment.is_none() {
            self.note(format!("{name} cannot be read; it counts as absent"));
        } else if value::lacks_offset(value) {
            self.note(format!("{name} has no UTC offset; UTC is assumed"));
        }
        moment
    }

    /// The refresh token's life. Where several are stated (Intuit sends a
    /// sliding and a hard one), the shortest; zero means that it does not end.
    fn refresh_life(&mut self) -> Life {
        let names = [
            "refresh_token_expires_in",
            "refresh_expires_in",
            "x_refresh_token_expires_in",
            "x_refresh_token_hard_expires_in",
        ];
        let lives = names.map(|name| self.relative(name));
        let moments = [
            "refresh_token_expires_at",
            "refresh_expires_at",
            "refresh_token_expiration",
        ];
        let moments = moments.map(|name| self.moment(name));
        let secs = lives.iter().filter_map(|life| life.secs);
        let stated = lives.iter().filter_map(|life| life.at);
        Life {
            secs: secs.filter(|secs| *secs > 0).min(),
            at: stated.chain(moments.into_iter().flatten()).min(),
        }
    }

    fn extra(&mut self) -> BTreeMap<String, Secret> {
        let mut extra = BTreeMap::new();
        let mut bytes = 0;
        let mut left_out = 0;
        let known = ["error", "error_description", "error_uri"];
        for (name, value) in self.members.iter() {
            if value.is_null() || known.contains(&name.as_str()) {
                continue;
            }
            let text = Zeroizing::new(value.to_string());
            let size = name.len() + text.len();
            if extra.len() < EXTRA_MEMBERS && bytes + size <= EXTRA_BYTES {
                bytes += size;
                extra.insert(name.clone(), Secret::new(text.as_str()));
            } else {
                left_out += 1;
            }
        }
        if left_out > 0 {
            self.note(format!(
                "{left_out} further members are too many or too large to keep"
            ));
        }
        extra
    }
}

/// What a JWT says of its time.
#[derive(Default)]
struct Claims {
    exp: Option<WallTime>,
    iat: Option<WallTime>,
}

/// `exp` and `iat` of a signed JWT (RFC 7519 §4.1.4, §4.1.6). Nothing is verified: it is
/// the provider's own word, over TLS, about its own token.
fn jwt(token: &Secret) -> Claims {
    claims(token).unwrap_or_default()
}

fn claims(token: &Secret) -> Option<Claims> {
    let mut parts = token.expose().split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let payload = Zeroizing::new(payload);
    let claims: serde_json::Map<String, Value> = serde_json::from_slice(&payload).ok()?;
    let moment = |name| {
        let claim = claims.get(name).filter(|claim| claim.is_number());
        claim.and_then(value::moment)
    };
    Some(Claims {
        exp: moment("exp"),
        iat: moment("iat"),
    })
}
