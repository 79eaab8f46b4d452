//! A code without an address around it.

use super::super::callback::check_code;
use super::words::{self, Word};
use super::{Asked, Params, PasteError};
use crate::secret::Secret;
use crate::text::printable;

/// A word of letters alone may be one of some language up to this length.
const LONGEST_WORD: usize = 20;
/// Shorter codes are not believed.
const SHORTEST: usize = 6;

/// Reads a code that stands alone, over several lines, or behind the word "code"; with its
/// state behind a `#`, as some pages show it.
pub(super) fn read(words: &[Word<'_>], asked: Option<Asked<'_>>) -> Result<Secret, PasteError> {
    let alone = words.len() == 1 || words.iter().all(Word::is_a_line);
    let text = match alone {
        true => words.iter().map(|word| word.text).collect::<String>(),
        false => behind_code(words).ok_or(PasteError::Neither)?.to_owned(),
    };
    let text = words::without_tail(&text);
    let said = text.strip_prefix("code=");
    let text = said.unwrap_or(text);
    let (code, state) = match text.split_once('#') {
        Some((code, state)) => (code, Some(state)),
        None => (text, None),
    };
    // The rest of a query, copied from behind `code=`.
    let (code, state) = match code.split_once("&state=") {
        Some((code, rest)) => (code, rest.split('&').next()),
        None => (code.split('&').next().unwrap_or_default(), state),
    };
    if let (Some(state), Some(asked)) = (state, asked)
        && state != asked.state
    {
        return Err(PasteError::OtherAttempt);
    }
    // People copy it out of the address bar, where it is encoded.
    let code = words::percent_decoded(code);
    if asked.is_some_and(|asked| code == asked.state) || looks_like_a_host(&code) {
        return Err(PasteError::NoCode);
    }
    if said.is_none() && !is_plausible(&code) {
        return Err(PasteError::Implausible(printable(&code)));
    }
    check_code(&code)?;
    let params = Params {
        state: state.map(str::to_owned),
        ..Params::default()
    };
    Ok(params.query(&code))
}

/// "Your code is: 4/0Ab…", "Code: 4/0Ab…".
fn behind_code<'a>(words: &[Word<'a>]) -> Option<&'a str> {
    let says_code = |word: &Word<'_>| {
        let word = word.text.trim_end_matches([':', '=']);
        word.eq_ignore_ascii_case("code")
    };
    let at = words.iter().rposition(says_code)?;
    let mut behind = words[at + 1..].iter().map(|word| word.text);
    let code = behind.find(|word| !matches!(*word, "is" | "is:" | ":" | "="))?;
    // More than one word behind it is a sentence.
    behind.next().is_none().then_some(code)
}

fn looks_like_a_host(text: &str) -> bool {
    let starts = ["localhost", "127.0.0.1", "[::1]", "www.", "http:", "https:"];
    starts.iter().any(|start| text.starts_with(start))
}

/// Long enough, and no word of a language: a digit, another character, or a capital within.
fn is_plausible(code: &str) -> bool {
    let letters = code.chars().all(char::is_alphabetic);
    let capitals = code.chars().skip(1).any(char::is_uppercase);
    let shouted = code.chars().all(char::is_uppercase);
    let is_word = letters && (!capitals || shouted) && code.len() < LONGEST_WORD;
    // A parameter's name and value are a piece of an address; padding stands at the end.
    let is_piece = code.trim_end_matches('=').contains('=');
    code.len() >= SHORTEST && !is_word && !is_piece
}
