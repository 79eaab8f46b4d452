//! What a person pastes: the address that the browser was sent to, a part of it, or the
//! code, with whatever terminals, mails and chats have done to it on the way.
//!
//! An approval is dear, and a wrong code spends it, so each reading of a text is tried
//! against the state that was sent, and what stays doubtful is asked for again.

mod bare;
mod words;

use super::callback::{CallbackError, LONGEST, check_code};
use crate::secret::Secret;
use crate::text::printable;
use url::form_urlencoded;
use words::Word;

/// The longest text that is looked at: an address may stand in a whole mail.
pub const LONGEST_TEXT: usize = 4 * LONGEST;

/// So many bytes are parsed of one text, however it is put together.
const EFFORT: usize = 16 << 20;

/// What the person was asked with, which tells a right paste from a wrong one.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `state`, as it was sent.
    pub state: &'a str,
}

/// Why a pasted text is not used. Nothing is spent by any of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasteError {
    /// Nothing, or blanks alone.
    #[error("nothing was pasted")]
    Empty,
    /// It is too long.
    #[error("this is longer than {LONGEST_TEXT} bytes; paste the address alone")]
    TooLong,
    /// The address that the person was sent to in the first place.
    #[error(
        "this is the address where you approve, not the one that you are sent to afterwards: open it in a browser, approve, and paste the address that the browser shows then"
    )]
    AuthorizeUrl,
    /// It has another state.
    #[error(
        "this address belongs to another attempt (its state is not ours): use the browser tab that was opened with the address above"
    )]
    OtherAttempt,
    /// The provider's error; the words are printable.
    #[error(
        "the provider did not approve: {0}. Open the address above again to approve, and paste what comes then"
    )]
    Denied(String),
    /// An address with a code and without the state that was sent: cut off, most likely.
    #[error(
        "this address has a code but no state, so it seems to be cut off: paste all of it. If this is all there is, paste it once more"
    )]
    NoState(Secret),
    /// An address with neither code nor error.
    #[error(
        "this address has no code in it: approve first, and paste the address that the browser shows then"
    )]
    NoCode,
    /// It is not clear where the code ends.
    #[error("it is not clear where the code ends: paste the address alone, on one line")]
    WhereItEnds,
    /// A word that no server would choose for a code.
    #[error("{0:?} does not look like a code; if it is one, paste it as code={0}")]
    Implausible(String),
    /// Tokens.
    #[error("this holds an access token, not a code: `refreshd import` takes tokens")]
    Token,
    /// The code cannot be one.
    #[error(transparent)]
    Code(#[from] CallbackError),
    /// Bytes that are no text.
    #[error("this is not UTF-8, or was garbled on the way: paste it again")]
    Garbled,
    /// Neither an address nor a code.
    #[error("this is neither the address that the browser was sent to nor a code")]
    Neither,
}

/// Finds the one redirect in a text, and returns its parameters as a query for
/// [`super::callback::read`]: `code`, and `state` and `iss` where it has them.
///
/// # Errors
/// Why nothing of it is used.
pub fn read(text: &str, asked: Option<Asked<'_>>) -> Result<Secret, PasteError> {
    if text.len() > LONGEST_TEXT {
        return Err(PasteError::TooLong);
    }
    let text = words::plain(text);
    if text.trim().is_empty() {
        return Err(PasteError::Empty);
    }
    let mut first = None;
    for reading in words::readings(&text) {
        match found(&words::split(&reading), asked) {
            Ok(query) => return Ok(query),
            Err(error) => first = first.or(Some(error)),
        }
    }
    // What tells most is what the text says as it stands.
    let read = match first {
        Some(PasteError::Neither) | None => bare::read(&words::split(&text), asked),
        Some(error) => Err(error),
    };
    let garbled = text.contains(char::REPLACEMENT_CHARACTER);
    read.map_err(|error| match error {
        PasteError::Neither | PasteError::Implausible(_) | PasteError::Code(_) if garbled => {
            PasteError::Garbled
        }
        error => error,
    })
}

/// The parameters of a redirect that count.
#[derive(Clone, Debug, Default)]
struct Params {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    /// It asks, so it is no answer.
    asks: bool,
    token: bool,
    /// The code stands at the end.
    code_is_last: bool,
}

/// Whether a redirect is the one that is waited for.
enum Fit {
    Yes(Secret),
    /// Its code cannot be one.
    Bad(CallbackError),
    No,
}

impl Params {
    /// Of an address with a query or a fragment, or of a query alone.
    fn of(text: &str, asked: Option<Asked<'_>>) -> Params {
        let (query, fragment) = match text.split_once('?') {
            Some((_, rest)) => rest.split_once('#').unwrap_or((rest, "")),
            None => match text.split_once('#') {
                Some((head, fragment)) if !head.contains('=') => ("", fragment),
                Some((query, fragment)) => (query, fragment),
                None => (text, ""),
            },
        };
        // A link to a link, once it is decoded, has the redirect in its own query.
        let inner = query.rsplit_once('?').map_or("", |(_, inner)| inner);
        let mut params = Params::default();
        let pairs = [inner, query, fragment].into_iter();
        for (name, value) in pairs.flat_map(|part| form_urlencoded::parse(part.as_bytes())) {
            let slot = match &*name {
                "code" => &mut params.code,
                "state" => &mut params.state,
                "iss" => &mut params.iss,
                "error" => &mut params.error,
                "error_description" => {
                    let words = printable(&value);
                    params.error = params.error.map(|error| format!("{error}: {words}"));
                    continue;
                }
                "response_type" | "client_id" => {
                    params.asks = true;
                    continue;
                }
                "access_token" => {
                    params.token = true;
                    continue;
                }
                _ => continue,
            };
            *slot = Some(value.into_owned());
            params.code_is_last = name == "code";
        }
        let last = text.rsplit(['?', '#', '&']).next().unwrap_or_default();
        params.code_is_last &= last.starts_with("code=");
        params.tidy(fragment, asked);
        params
    }

    /// Takes off what clings to the last parameter, and a second encoding.
    fn tidy(&mut self, fragment: &str, asked: Option<Asked<'_>>) {
        self.error = self.error.as_deref().map(printable);
        if let Some(code) = &mut self.code {
            if self.code_is_last {
                code.truncate(words::without_tail(code).len());
            }
            if let Some(decoded) = words::decoded_again(code) {
                *code = decoded;
            }
        }
        let Some(asked) = asked else {
            return;
        };
        if self.state.is_none() && fragment == asked.state {
            self.state = Some(fragment.to_owned());
        }
        let clings = |state: &String| {
            let rest = state.strip_prefix(asked.state);
            rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(words::is_tail))
        };
        if self.state.as_ref().is_some_and(clings) {
            self.state = Some(asked.state.to_owned());
        }
    }

    fn is_ours(&self, asked: Option<Asked<'_>>) -> bool {
        asked.is_none_or(|asked| self.state.as_deref() == Some(asked.state))
    }

    fn fits(&self, asked: Option<Asked<'_>>) -> Fit {
        match &self.code {
            Some(code) if self.error.is_none() && self.is_ours(asked) => match check_code(code) {
                Ok(_) => Fit::Yes(self.query(code)),
                Err(e) => Fit::Bad(e),
            },
            _ => Fit::No,
        }
    }

    /// Whether its state is of another attempt, and not ours cut off.
    fn has_another_state(&self, asked: Option<Asked<'_>>) -> bool {
        let is_cut = |state: &str| asked.is_some_and(|asked| asked.state.starts_with(state));
        self.state.as_deref().is_some_and(|state| !is_cut(state))
    }

    fn query(&self, code: &str) -> Secret {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("code", code);
        for (name, value) in [("state", &self.state), ("iss", &self.iss)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        Secret::new(query.finish())
    }
}

/// The last redirect of ours in the words; else what they hold instead.
fn found(words: &[Word<'_>], asked: Option<Asked<'_>>) -> Result<Secret, PasteError> {
    let mut ours = None;
    let mut bad = None;
    let mut start = 0;
    let mut effort = EFFORT;
    while start < words.len() {
        match from(&words[start..], asked, &mut effort)? {
            Some((Fit::Yes(query), taken)) => {
                ours = Some(query);
                start += taken;
                continue;
            }
            Some((Fit::Bad(error), _)) => bad = bad.or(Some(error)),
            Some((Fit::No, _)) | None => {}
        }
        start += 1;
    }
    match (ours, bad) {
        (Some(query), _) => Ok(query),
        (None, Some(error)) => Err(error.into()),
        (None, None) => Err(instead(words, asked)),
    }
}

/// Puts words together until they are a redirect of ours, and as long as they go on;
/// how many they were.
fn from(
    words: &[Word<'_>],
    asked: Option<Asked<'_>>,
    effort: &mut usize,
) -> Result<Option<(Fit, usize)>, PasteError> {
    let mut joined = String::new();
    let mut best = None;
    for (i, word) in words.iter().enumerate() {
        if let Some((Fit::Yes(_), _, code_is_last)) = &best {
            match word.goes_on(*code_is_last) {
                words::GoesOn::Yes => {}
                words::GoesOn::No => break,
                words::GoesOn::Unclear => return Err(PasteError::WhereItEnds),
            }
        }
        joined.push_str(word.text);
        let left = effort.checked_sub(joined.len());
        let Some(left) = left.filter(|_| joined.len() <= LONGEST) else {
            break;
        };
        *effort = left;
        let params = Params::of(&joined, asked);
        match params.fits(asked) {
            Fit::No => {}
            fit => best = Some((fit, i + 1, params.code_is_last)),
        }
    }
    Ok(best.map(|(fit, taken, _)| (fit, taken)))
}

/// What the words hold, where no redirect of ours is among them.
fn instead(words: &[Word<'_>], asked: Option<Asked<'_>>) -> PasteError {
    let mut said = PasteError::Neither;
    let rank = |error: &PasteError| match error {
        PasteError::Denied(_) => 6,
        PasteError::OtherAttempt => 5,
        PasteError::NoState(_) => 4,
        PasteError::Token => 3,
        PasteError::AuthorizeUrl => 2,
        PasteError::NoCode => 1,
        _ => 0,
    };
    let mut effort = EFFORT;
    for start in 0..words.len() {
        if effort == 0 {
            break;
        }
        let first = words[start].text;
        let lines = words[start + 1..]
            .iter()
            .take_while(|word| word.is_a_line());
        let whole: String = std::iter::once(first)
            .chain(lines.map(|word| word.text))
            .collect();
        for text in [first, &whole] {
            effort = effort.saturating_sub(text.len());
            let is_address = text.contains("://") || text.contains('?');
            let params = Params::of(text, asked);
            let error = match (&params.code, &params.error) {
                _ if params.token => PasteError::Token,
                (None, Some(words)) => PasteError::Denied(words.clone()),
                (Some(_), _) if params.has_another_state(asked) => PasteError::OtherAttempt,
                (Some(code), _) if is_address => PasteError::NoState(params.query(code)),
                _ if params.asks => PasteError::AuthorizeUrl,
                _ if is_address => PasteError::NoCode,
                _ => continue,
            };
            if rank(&error) > rank(&said) {
                said = error;
            }
        }
    }
    said
}

#[cfg(test)]
mod tests;
