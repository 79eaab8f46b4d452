//! What a provider sends back to the redirect URI (RFC 6749 §4.1.2, RFC 9207).
//! All of it comes from outside: nothing here is believed but what it is compared with.

use crate::provider::answer::without_tokens;
use crate::secret::Secret;
use crate::text::printable;
use url::form_urlencoded;

/// The longest query that is read.
pub const LONGEST: usize = 16 * 1024;
/// The longest authorization code that is taken.
pub const LONGEST_CODE: usize = 4096;
/// As much of a provider's words is shown.
const SHOWN: usize = 300;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// `state`, where there was one.
    pub state: Option<String>,
    /// `iss` (RFC 9207), where there was one.
    pub iss: Option<String>,
    /// A code, or why there is none, printable and cut to length.
    pub result: Result<Secret, Denied>,
}

/// The provider's error (RFC 6749 §4.1.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// `error`, printable.
    pub error: String,
    /// `error_description`, printable and cut to length; may be empty.
    pub description: String,
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.error)?;
        if !self.description.is_empty() {
            write!(f, ": {}", self.description)?;
        }
        Ok(())
    }
}

/// A redirect that cannot be taken for an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// RFC 6749 §3.1: parameters are not to be included more than once.
    #[error("the redirect has the parameter {0} more than once")]
    Repeated(&'static str),
    /// Neither a code nor an error.
    #[error("the redirect has neither a code nor an error in it")]
    Neither,
    /// Both.
    #[error("the redirect has both a code and an error in it")]
    Both,
    /// It is too long.
    #[error("the redirect is longer than {LONGEST} bytes")]
    TooLong,
    /// The code cannot be one.
    #[error(
        "the code is empty, longer than {LONGEST_CODE} bytes, or has characters that no code may have (RFC 6749 appendix A.11)"
    )]
    Code,
}

/// Reads the query of a redirect.
///
/// # Errors
/// When it is not an answer of the protocol.
pub fn read(query: &str) -> Result<Callback, CallbackError> {
    if query.len() > LONGEST {
        return Err(CallbackError::TooLong);
    }
    let code = one(query, "code")?;
    let error = one(query, "error")?;
    let result = match (code, error) {
        (Some(_), Some(_)) => return Err(CallbackError::Both),
        (None, None) => return Err(CallbackError::Neither),
        (Some(code), None) => Ok(check_code(&code)?),
        (None, Some(error)) => Err(Denied {
            error: shown(&error),
            description: shown(&one(query, "error_description")?.unwrap_or_default()),
        }),
    };
    Ok(Callback {
        state: one(query, "state")?,
        iss: one(query, "iss")?,
        result,
    })
}

/// What a redirect says of an error, whoever sent it: also one that is no answer of the
/// protocol. Printable, cut to length, and without what looks like a token; `None`: nothing.
#[must_use]
pub fn words(query: &str) -> Option<String> {
    // Facebook's and others' names beside those of the RFC.
    const NAMES: [&str; 6] = [
        "error",
        "error_code",
        "error_reason",
        "error_description",
        "error_message",
        "error_subtype",
    ];
    if query.len() > LONGEST {
        return None;
    }
    let said = NAMES.iter().filter_map(|name| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let (_, value) = pairs.find(|(known, value)| known == name && !value.trim().is_empty())?;
        Some(shown(value.trim()))
    });
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| said.join(": "))
}

/// The parameters of a form that [`read`] reads, as a query; nothing else of it.
#[must_use]
pub fn query_of(form: &str) -> Secret {
    const READ: [&str; 5] = ["code", "state", "iss", "error", "error_description"];
    let pairs = form_urlencoded::parse(form.as_bytes());
    let pairs = pairs.filter(|(name, _)| READ.contains(&name.as_ref()));
    let mut query = form_urlencoded::Serializer::new(String::new());
    Secret::new(query.extend_pairs(pairs).finish())
}

/// Whether this can be an authorization code: printable ASCII (RFC 6749 appendix A.11).
///
/// # Errors
/// When it cannot.
pub fn check_code(code: &str) -> Result<Secret, CallbackError> {
    let visible = code.bytes().all(|b| (0x20..=0x7e).contains(&b));
    if visible && !code.trim().is_empty() && code.len() <= LONGEST_CODE {
        Ok(Secret::new(code))
    } else {
        Err(CallbackError::Code)
    }
}

fn one(query: &str, name: &'static str) -> Result<Option<String>, CallbackError> {
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    let first = values.next().map(|(_, value)| value.into_owned());
    match values.next() {
        Some(_) => Err(CallbackError::Repeated(name)),
        None => Ok(first),
    }
}

fn shown(text: &str) -> String {
    let text = without_tokens(text);
    let cut: String = text.chars().take(SHOWN).collect();
    let mut shown = printable(&cut);
    if cut.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_comes_with_its_state_and_issuer() {
        let got = read("code=a%2Fb&state=s&iss=https%3A%2F%2Fas.example").unwrap();
        assert_eq!(got.result, Ok(Secret::new("a/b")));
        assert_eq!(got.state.as_deref(), Some("s"));
        assert_eq!(got.iss.as_deref(), Some("https://as.example"));
    }

    #[test]
    fn an_error_s_words_are_found_in_what_is_no_answer() {
        let of = |query: &str| words(query).unwrap_or_default();
        assert_eq!(
            of("error=access_denied&error_description=No%1b%5b2J+way"),
            "access_denied: No\\u{1b}[2J way"
        );
        // Without a state, with a code as well, twice, or in names of their own.
        assert_eq!(of("error=a&error=b&code=c&state=x"), "a");
        assert_eq!(
            of("error_code=190&error_reason=user_denied"),
            "190: user_denied"
        );
        assert_eq!(
            of("error_description=bad+token+4f9c1b2e7a6d5c3b2a19"),
            "bad token …"
        );
        assert!(of(&format!("error={}", "x ".repeat(900))).chars().count() <= 202);
        for nothing in ["", "code=c&state=s", "error=&error_description=+"] {
            assert_eq!(words(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_is_said_twice_or_not_at_all_is_refused() {
        assert_eq!(read("code=a&code=b"), Err(CallbackError::Repeated("code")));
        assert_eq!(
            read("code=a&state=x&state=y"),
            Err(CallbackError::Repeated("state"))
        );
        assert_eq!(read("code=a&error=b"), Err(CallbackError::Both));
        assert_eq!(read("state=x"), Err(CallbackError::Neither));
        assert_eq!(read("code="), Err(CallbackError::Code));
        assert_eq!(read("code=a%00b"), Err(CallbackError::Code));
        assert_eq!(read("code=%FF%FE"), Err(CallbackError::Code));
        assert_eq!(read(&"x".repeat(LONGEST + 1)), Err(CallbackError::TooLong));
    }

    #[test]
    fn a_form_becomes_a_query_of_what_is_read() {
        let form = "id_token=e30&code=a%2Bb+c&state=s&session_state=x";
        let query = query_of(form);
        assert_eq!(query.expose(), "code=a%2Bb+c&state=s");
        assert_eq!(read(query.expose()), read(form));
    }

    #[test]
    fn errors_are_shown_escaped_and_cut() {
        let long = "z".repeat(5000);
        let got = read(&format!(
            "error=access_denied&error_description=%1B[2J{long}&state=s"
        ));
        let denied = got.unwrap().result.unwrap_err();
        assert_eq!(denied.error, "access_denied");
        assert!(!denied.description.contains('\u{1b}'), "{denied}");
        assert!(denied.description.chars().count() < 400, "{denied}");
    }
}
